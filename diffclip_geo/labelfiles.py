"""What a file of labels holds, told without an image: for `info`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from .errors import LabelError
from .scenes import crs_name, natural
from .vectors import Features, read_features, read_fields


@dataclass(frozen=True)
class LabelFile:
    """A file of points and polygons: its fields, and its classes when it is clear which field holds them."""

    path: Path
    crs: str
    fields: tuple[tuple[str, str], ...]  # name, and what it holds in words
    problem: str  # why there are no classes
    class_field: str
    classes: tuple[tuple[str, int, int], ...]  # name, points, polygons
    bounds: tuple[float, float, float, float] | None  # left, bottom, right, top of what is usable
    remarks: tuple[str, ...]

    def to_text(self) -> str:
        """A few lines for people."""
        lines = [str(self.path), *([f"  system   {self.crs}"] if self.crs else [])]
        if self.bounds is not None:
            left, bottom, right, top = (
                f"{value:.6g}" if abs(value) <= 360 else f"{value:.1f}" for value in self.bounds
            )
            lines.append(f"  extent   x {left} … {right}, y {bottom} … {top}")
        lines += [f"  field    {name}: {what}" for name, what in self.fields]
        if self.problem:
            lines.append(f"  note     {self.problem}")
        lines += [f"  note     {remark}" for remark in self.remarks]
        if self.classes:
            width = max(len(name) for name in (self.class_field, *(one[0] for one in self.classes)))
            lines.append(f"  {self.class_field:<{width}}  points  polygons")
            lines += [f"  {name:<{width}}  {points:>6,}  {polygons:>8,}" for name, points, polygons in self.classes]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        return {
            "path": str(self.path),
            "crs": self.crs,
            "fields": dict(self.fields),
            "problem": self.problem,
            "class_field": self.class_field,
            "classes": [{"name": name, "points": points, "polygons": areas} for name, points, areas in self.classes],
            "bounds": self.bounds,
            "remarks": list(self.remarks),
        }


def describe_labels(path: Path, **options: Any) -> LabelFile:
    """Describe points and polygons; `options` are those of `vectors.read_features`.

    An unclear class field is told among the facts, since it is what the user came to find out.

    Raises
    ------
    LabelError
        The file cannot be read.
    """
    fields = tuple((name, _what(values)) for name, values in read_fields(path, options.get("layer")).items())
    try:
        features = read_features(path, **options)
    except LabelError as error:
        if not fields or options.get("class_field") or options.get("join"):
            raise
        return LabelFile(path, "", fields, f"{error.fault}; {error.remedy}", "", (), None, ())
    names = sorted(np.unique(features.name).tolist(), key=int if features.numeric else natural)
    is_point = shapely.get_type_id(features.parts) == 0
    classes = tuple(
        (name, int((is_point & (features.name == name)).sum()), int((~is_point & (features.name == name)).sum()))
        for name in names
    )
    left, bottom, right, top = shapely.total_bounds(features.parts).tolist()
    bounds = (left, bottom, right, top) if len(features.parts) else None
    crs = "none; taken as that of the scene" if features.crs is None else crs_name(features.crs)
    return LabelFile(path, crs, fields, "", features.field, classes, bounds, tuple(_remarks(features)))


def _remarks(features: Features) -> list[str]:
    counted = (
        (features.repaired, "{} features have an invalid geometry, which is repaired"),
        (features.empty, "{} features have no point or polygon"),
        (features.unlabelled, "{} features have no class"),
    )
    return [*features.notes, *(text.format(count) for count, text in counted if count)]


def _what(values: np.ndarray) -> str:
    """The kind of a field, and its values when they are few."""
    if values.dtype == object:
        present = [str(value) for value in values if value is not None]
        kind = "text"
    else:
        present = [str(value) for value in values.tolist()]
        kind = "whole numbers" if np.issubdtype(values.dtype, np.integer) else str(values.dtype)
    distinct = sorted(set(present), key=natural)
    listed = ", ".join(distinct[:8]) + (", …" if len(distinct) > 8 else "")
    return f"{kind}, {len(distinct)} distinct ({listed})" if distinct else f"{kind}, empty"
