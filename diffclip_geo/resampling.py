"""The image on the finer grid of a LiDAR raster: spectra interpolated between the image's own pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform as reproject_points
from rasterio.windows import Window

from .grid import Grid

Spectra = tuple[NDArray[np.float32], NDArray[np.bool_]]  # values [B, h, w], valid [h, w]


def crop_to(grid: Grid, image: Grid) -> Grid | None:
    """The part of `grid` that the image covers (its enclosing rows and columns); None when it covers nothing."""
    along = np.linspace(0, 1, 21)
    edge_column = np.concatenate([along, along, np.zeros(21), np.ones(21)]) * image.width
    edge_row = np.concatenate([np.zeros(21), np.ones(21), along, along]) * image.height
    column, row = pixels_on(image, grid, edge_column, edge_row)
    tiny = 1e-6  # of a pixel: an edge on the lattice must not take in the next pixel
    top, bottom = max(int(np.floor(row.min() + tiny)), 0), min(int(np.ceil(row.max() - tiny)), grid.height)
    left, right = max(int(np.floor(column.min() + tiny)), 0), min(int(np.ceil(column.max() - tiny)), grid.width)
    if top >= bottom or left >= right:
        return None
    return grid.part(top, left, bottom - top, right - left)


def interpolated(grid: Grid, image: Grid, window: Window, read: Callable[[Window], Spectra], count: int) -> Spectra:
    """Spectra of a window of `grid`, bilinear between the valid ones of the four nearest pixels of `image`.

    `read` gives a window of the image, `count` bands. A pixel is valid when the image pixel that it lies in is. It gets
    the same values whichever window it is in.
    """
    row, column = np.mgrid[: window.height, : window.width].astype(np.float64)
    column, row = pixels_on(grid, image, column + window.col_off + 0.5, row + window.row_off + 0.5)
    inside = (row >= 0) & (row < image.height) & (column >= 0) & (column < image.width)
    values = np.zeros((count, *inside.shape), np.float32)
    valid = np.zeros(inside.shape, bool)
    if not inside.any():
        return values, valid
    row, column = row[inside], column[inside]
    top, left = np.floor(row - 0.5).astype(np.int64), np.floor(column - 0.5).astype(np.int64)
    first_row, first_column = max(int(top.min()), 0), max(int(left.min()), 0)
    last_row, last_column = min(int(top.max()) + 2, image.height), min(int(left.max()) + 2, image.width)
    source, known = read(Window(first_column, first_row, last_column - first_column, last_row - first_row))
    part_down, part_right = row - 0.5 - top, column - 0.5 - left
    total, weights = np.zeros((count, row.size)), np.zeros(row.size)
    for down in (0, 1):
        for right in (0, 1):
            there_row = np.clip(top + down, 0, image.height - 1) - first_row
            there_column = np.clip(left + right, 0, image.width - 1) - first_column
            weight = (part_down if down else 1 - part_down) * (part_right if right else 1 - part_right)
            weight = weight * known[there_row, there_column]
            total += weight * source[:, there_row, there_column]
            weights += weight
    own = known[np.floor(row).astype(np.int64) - first_row, np.floor(column).astype(np.int64) - first_column]
    values[:, inside] = np.where(own, total / np.where(weights > 0, weights, 1), 0)
    valid[inside] = own
    return values, valid


def pixels_on(
    grid: Grid, other: Grid, column: NDArray[np.float64], row: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Pixel coordinates (column, row) on `other` of pixel coordinates on `grid`."""
    x, y = grid.to_map(column, row)
    if grid.crs is not None and other.crs is not None and grid.crs != other.crs:
        xs, ys = reproject_points(grid.crs, other.crs, x.ravel(), y.ravel())
        x, y = np.reshape(xs, x.shape), np.reshape(ys, y.shape)
    return other.to_pixels(x, y)


def pixels_per_pixel(raster: Grid, grid: Grid) -> float:
    """Linear number of raster pixels per grid pixel at the middle of the grid."""
    middle = np.array([grid.width / 2, grid.height / 2])
    steps = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) + middle
    column, row = pixels_on(grid, raster, steps[:, 0], steps[:, 1])
    jacobian = np.array([[column[1] - column[0], column[2] - column[0]], [row[1] - row[0], row[2] - row[0]]])
    return float(np.sqrt(abs(np.linalg.det(jacobian))))
