"""The pixel grid of a scene: shape, affine transform and coordinate system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.transform import array_bounds


@dataclass(frozen=True)
class Grid:
    """Where the pixels of a scene lie. Row 0, column 0 is the first pixel of the file; `transform` maps (column, row) of
    pixel corners to map coordinates, so a pixel's centre is at (column + ½, row + ½)."""

    height: int
    width: int
    transform: Affine
    crs: CRS | None

    @classmethod
    def of(cls, dataset: DatasetReader) -> Grid:
        """The grid of an open rasterio dataset (or WarpedVRT)."""
        return cls(dataset.height, dataset.width, dataset.transform, dataset.crs)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in map units; of the enclosing box when the grid is rotated."""
        return array_bounds(self.height, self.width, self.transform)

    @property
    def pixel_area(self) -> float:
        """Area of a pixel in squared map units."""
        return abs(self.transform.determinant)

    def pixel_of(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of the pixel in which each map point falls; may lie outside the grid."""
        column, row = ~self.transform * (np.asarray(x, float), np.asarray(y, float))
        return np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)

    def contains(self, row: NDArray[np.integer], column: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each pixel lies on the grid."""
        return (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)

    def centre_of(self, row: NDArray[np.integer], column: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Map coordinates (x, y) of pixel centres."""
        x, y = self.transform * (np.asarray(column) + 0.5, np.asarray(row) + 0.5)
        return x, y
