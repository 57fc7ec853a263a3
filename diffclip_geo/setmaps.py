"""The raster of conformal class sets: how many classes a pixel may have, and which."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .atomic import FileSet
from .categories import CLASS_NAMES_TAG
from .classes import ClassTable
from .grid import Grid
from .maps import MapWriter, probabilities_files

MOST_BITS = 32  # classes that fit into one band


def sets_path(map_path: Path) -> Path:
    """``map_sets.tif`` for ``map.tif``."""
    return map_path.with_name(f"{map_path.stem}_sets{map_path.suffix}")


def sets_files(path: Path, envi: bool = False) -> list[Path]:
    """The files that `SetsWriter` makes for ``map_sets.tif``."""
    return probabilities_files(path, envi)


def pack_sets(inside: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Bands of the raster from sets `[K, h, w]`: the size of the set, and up to 32 classes its members; uint32
    `[1 or 2, h, w]`.

    In the second band bit k − 1 (value 2^(k−1)) is set when class k of the map is in the set.
    """
    size = inside.sum(0, dtype=np.uint32)
    if len(inside) > MOST_BITS:
        return size[None]
    value = np.uint32(1) << np.arange(len(inside), dtype=np.uint32)
    return np.stack([size, (inside * value[:, None, None]).sum(0, dtype=np.uint32)])


class SetsWriter(MapWriter):
    """Writes class sets as `pack_sets` makes them, 0 for no data."""

    def __init__(
        self,
        path: Path,
        grid: Grid,
        classes: ClassTable,
        coverage: float,
        tags: Mapping[str, str] | None = None,
        overwrite: bool = False,
        *,
        files: FileSet | None = None,
        envi: bool = False,
    ) -> None:
        names = ["classes in the set", "classes as bits"][: 2 if len(classes) <= MOST_BITS else 1]
        definition = (
            f"conformal class sets that hold the true class of {coverage:.4g} of pixels drawn as the labels were"
        )
        if len(names) > 1:
            definition += "; in the second band bit k - 1 (value 2^(k-1)) stands for class k of the map"
        super().__init__(
            path,
            grid,
            count=len(names),
            dtype="uint32",
            nodata=0,
            descriptions=names,
            tags={
                "SETS": definition,
                "COVERAGE": f"{coverage:g}",
                CLASS_NAMES_TAG: json.dumps(classes.names, ensure_ascii=False),
                **(tags or {}),
            },
            overwrite=overwrite,
            files=files,
            envi=envi,
        )
