"""What `classify` writes besides the label map and its confidence, and how."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import FileSet
from .classes import UNCLASSIFIED, ClassTable
from .errors import OptionError, OutputError
from .grid import Grid
from .maps import (
    ConfidenceWriter,
    LabelMapWriter,
    ProbabilitiesWriter,
    check_name,
    confidence_files,
    confidence_path,
    label_map_files,
    probabilities_files,
    probabilities_path,
)
from .setmaps import SetsWriter, sets_files, sets_path
from .tilework import TileResult

FORMATS = ("cog", "envi")
_GREY = (190, 190, 190)


@dataclass(frozen=True)
class Products:
    """What is written. With `min_confidence`, less sure pixels become "unclassified", which is a value of its own."""

    proba: bool = False
    min_confidence: float = 0.0
    sieve: int = 0
    polygons: Path | None = None
    format: str = "cog"
    sets: float | None = None  # coverage of conformal class sets

    def check(self, label_path: Path) -> None:
        """Raise OptionError or OutputError for options or names that cannot be used."""
        if self.format not in FORMATS:
            raise OptionError("--format", f"{self.format!r} is not known", f"use one of {', '.join(FORMATS)}")
        if not 0 <= self.min_confidence <= 1:
            raise OptionError("--min-confidence", f"is {self.min_confidence}", "give a number from 0 to 1")
        if self.sieve < 0:
            raise OptionError("--sieve", f"is {self.sieve}", "give a number of pixels")
        if self.sets is not None and not 0 < self.sets < 1:
            raise OptionError("--sets", f"is {self.sets:g}", "give a coverage between 0 and 1, such as 0.9")
        if self.polygons is not None and self.polygons.suffix.lower() != ".gpkg":
            raise OutputError(self.polygons, "is not the name of a GeoPackage", "let it end in .gpkg")
        check_name(label_path, self.envi)

    @property
    def envi(self) -> bool:
        """Whether rasters are ENVI images instead of Cloud-Optimised GeoTIFFs."""
        return self.format == "envi"

    def files(self, label_path: Path) -> list[Path]:
        """All rasters and their companions, and the polygons."""
        files = [*label_map_files(label_path, self.envi), *confidence_files(confidence_path(label_path), self.envi)]
        if self.proba:
            files += probabilities_files(probabilities_path(label_path), self.envi)
        if self.sets is not None:
            files += sets_files(sets_path(label_path), self.envi)
        return files if self.polygons is None else [*files, self.polygons]

    def classes(self, classes: ClassTable) -> ClassTable:
        """The classes of the map: those of the classifier, and "unclassified" when pixels may be left so."""
        if not self.min_confidence:
            return classes
        if UNCLASSIFIED in (name.strip().casefold() for name in classes.names):
            raise OptionError(
                "--min-confidence", "needs the name 'unclassified', which a class has", "rename the class"
            )
        return ClassTable((*classes.names, UNCLASSIFIED), (*classes.colors, _GREY))

    def to_dict(self) -> dict[str, Any]:
        """What shapes the map, for its provenance."""
        return {"min_confidence": self.min_confidence, "sieve": self.sieve, "format": self.format, "sets": self.sets}


class MapWriters:
    """The writers of one map, in a ``with`` block; the files appear with those of `files`."""

    def __init__(
        self,
        label_path: Path,
        grid: Grid,
        classes: ClassTable,
        products: Products,
        definition: str,
        tags: Mapping[str, str],
        confidence_tags: Mapping[str, str],
        files: FileSet,
    ) -> None:
        overwrite, envi = files.overwrite, products.envi
        self._known = len(classes)
        self._least = products.min_confidence
        self._labels = LabelMapWriter(
            label_path,
            grid,
            products.classes(classes),
            tags,
            overwrite,
            files=files,
            envi=envi,
            sieve=products.sieve,
        )
        self._confidence = ConfidenceWriter(
            confidence_path(label_path),
            grid,
            definition,
            {**tags, **confidence_tags},
            overwrite,
            files=files,
            envi=envi,
        )
        self._probabilities = (
            ProbabilitiesWriter(probabilities_path(label_path), grid, classes, tags, overwrite, files=files, envi=envi)
            if products.proba
            else None
        )
        self._sets = (
            SetsWriter(sets_path(label_path), grid, classes, products.sets, tags, overwrite, files=files, envi=envi)
            if products.sets is not None
            else None
        )

    def __enter__(self) -> MapWriters:
        with ExitStack() as stack:
            for writer in (self._labels, self._confidence, self._probabilities, self._sets):
                if writer is not None:
                    stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *failure: Any) -> None:
        self._stack.__exit__(*failure)

    @property
    def counts(self) -> tuple[int, ...]:
        """Pixels of each class, without the unclassified ones."""
        return tuple(self._labels.counts[: self._known].tolist())

    def write(self, row: int, column: int, pixels: TileResult) -> None:
        """Write a block whose first pixel is at (row, column)."""
        label = pixels.label
        if self._least:
            label = np.where((label > 0) & (pixels.confidence < self._least), self._known + 1, label)
        self._labels.write(row, column, label)
        self._confidence.write(row, column, pixels.confidence)
        if self._probabilities is not None and pixels.probabilities is not None:
            self._probabilities.write(row, column, pixels.probabilities)
        if self._sets is not None and pixels.sets is not None:
            self._sets.write(row, column, pixels.sets)
