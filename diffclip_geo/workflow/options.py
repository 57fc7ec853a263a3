"""The options of `classify`, as given."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ..confidence import MEASURES
from ..engines import ENGINES, RUNTIMES
from ..errors import OptionError
from ..memory import default_ram, parse_size
from ..products import Products
from .plan import Effort


@dataclass(frozen=True)
class Options:
    """How a scene is mapped; `classify` says what each option means."""

    confidence: str = "max-prob"
    proba: bool = False
    min_confidence: float = 0.0
    sieve: int = 0
    polygons: str | PathLike[str] | None = None
    format: str = "cog"
    sets: float | None = None
    engine: str = "auto"
    runtime: str = "torch"
    accept_agreement: float | None = None
    ram: str | int | None = None
    tile: int | None = None
    workers: int | None = None
    scheduler: str = "threads"
    device: str = "auto"

    def check(self, label_path: Path) -> None:
        """Raise OptionError or OutputError for what can be told without looking at scene or workspace."""
        known = (
            ("confidence", self.confidence, MEASURES),
            ("engine", self.engine, ENGINES),
            ("runtime", self.runtime, RUNTIMES),
        )
        for name, value, values in known:
            if value not in values:
                raise OptionError(f"{name} {value!r}", "is not known", f"use one of {', '.join(values)}")
        if self.accept_agreement is not None and not 0 <= self.accept_agreement <= 1:
            raise OptionError("--accept-agreement", f"is {self.accept_agreement:g}", "give a share from 0 to 1")
        self.products.check(label_path)
        self.effort.check()

    @property
    def products(self) -> Products:
        """What is written."""
        polygons = None if self.polygons is None else Path(self.polygons)
        return Products(self.proba, self.min_confidence, self.sieve, polygons, self.format, self.sets)

    @property
    def effort(self) -> Effort:
        """What is spent."""
        ram = default_ram() if self.ram is None else parse_size(str(self.ram))
        return Effort(ram, self.tile, self.workers, self.scheduler)
