"""The classes of a map: names and colours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

UNCLASSIFIED = "unclassified"  # name of the value for pixels that a map leaves without a class


@dataclass(frozen=True)
class ClassTable:
    """Names and colours (red, green, blue, 0-255) of classes 1…K; class i + 1 is at index i."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.colors):
            raise ValueError(f"{len(self.names)} names and {len(self.colors)} colours")

    def __len__(self) -> int:
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {"names": list(self.names), "colors": [list(color) for color in self.colors]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClassTable:
        """Inverse of `to_dict`."""
        return cls(tuple(values["names"]), tuple((color[0], color[1], color[2]) for color in values["colors"]))
