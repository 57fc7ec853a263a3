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
    """Where the pixels of a scene lie.

    Row 0, column 0 is the first pixel of the file; `transform` maps (column, row) of pixel corners to map coordinates,
    so a pixel's centre is at (column + ½, row + ½).
    """

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

    def part(self, row: int, column: int, height: int, width: int) -> Grid:
        """The grid of a window of this one, which may reach beyond it."""
        x, y = self.to_map(np.array([column]), np.array([row]))
        here = self.transform
        place = Affine(here.a, here.b, float(x[0]), here.d, here.e, float(y[0]))
        return Grid(height, width, place, self.crs)

    def pixel_of(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of the pixel in which each map point falls; may lie outside the grid."""
        column, row = self.to_pixels(x, y)
        return np.floor(row).astype(np.int64), np.floor(column).astype(np.int64)

    def to_pixels(
        self, x: NDArray[np.floating], y: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Pixel coordinates (column, row) of map points; the first pixel spans 0…1 in both."""
        return _apply(~self.transform, x, y)

    def to_map(
        self, column: NDArray[np.floating], row: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Map coordinates (x, y) of pixel coordinates; inverse of `to_pixels`."""
        return _apply(self.transform, column, row)

    def contains(self, row: NDArray[np.integer], column: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Whether each pixel lies on the grid."""
        return (row >= 0) & (row < self.height) & (column >= 0) & (column < self.width)

    def centre_of(
        self, row: NDArray[np.integer], column: NDArray[np.integer]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Map coordinates (x, y) of pixel centres."""
        return self.to_map(np.asarray(column) + 0.5, np.asarray(row) + 0.5)

    def centre_in(
        self, crs: CRS | None, row: NDArray[np.integer], column: NDArray[np.integer]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The same in another coordinate system, infinite where it has no such place. Without one on either side the
        coordinates are taken as they are.
        """
        x, y = self.centre_of(row, column)
        if self.crs is None or crs is None or self.crs == crs:
            return x, y
        from rasterio.warp import transform  # takes a while to import

        moved = transform(self.crs, crs, x.ravel(), y.ravel())
        return np.asarray(moved[0], np.float64).reshape(x.shape), np.asarray(moved[1], np.float64).reshape(y.shape)


def _apply(
    transform: Affine, first: NDArray[np.floating], second: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """An affine transform of arrays, spelled out because Affine's own operator differs between its versions."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    return (
        transform.a * first + transform.b * second + transform.c,
        transform.d * first + transform.e * second + transform.f,
    )
