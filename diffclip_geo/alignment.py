"""How a second raster lies on a scene's grid, and reading it there pixel for pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as reproject_points
from rasterio.windows import Window

from .errors import RasterError
from .grid import Grid
from .rasters import Raster, gdal, read_window
from .resampling import pixels_on, pixels_per_pixel

_SAME = 0.01  # pixels: lattices closer than this are one; file formats round origins to less
_EQUAL = 1.001  # linear pixel ratio up to which pixels count as equally large
_FINER = 1.1  # that ratio above which values are averaged; of nearly equal pixels interpolation is the more exact
_SQUARE = 128  # pixels a side in which warped rasters are read
_LATTICE = 200  # points per axis on which overlap is counted
# In pixels: as good as exact. GDAL's default of ⅛ pixel trades place for speed, and differently in each window.
_WARP_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Alignment:
    """How a raster lies on a grid.

    `resampling` is what brings it there: "none" (same pixels), "nearest" (same lattice, other extent), "average" (finer
    pixels) or "bilinear". `ratio` is the linear number of raster pixels per grid pixel, `origin` the (row, column) of
    the raster's first corner in grid pixels, `overlap` the share of grid pixels whose centre lies on the raster.
    """

    resampling: str
    ratio: float
    origin: tuple[float, float]
    overlap: float

    def to_text(self) -> str:
        """One phrase for notes: ratio, shift, resampling and overlap."""
        row, column = self.origin
        if self.resampling == "none":
            return "same grid, read as it is"
        if self.resampling == "nearest":
            how = f"same lattice, starts {_way(column, 'column')} and {_way(row, 'row')}"
        elif self.resampling == "average":
            how = f"pixels {self.ratio:.3g} times finer, averaged"
        elif self.ratio < 1 / _EQUAL:
            how = f"pixels {1 / self.ratio:.3g} times coarser, interpolated"
        elif self.ratio > _EQUAL:
            how = f"pixels {self.ratio:.3g} times finer, interpolated"
        else:
            how = f"lattice shifted, starts {_way(column, 'column')} and {_way(row, 'row')}, interpolated"
        return f"{how}; overlap {100 * self.overlap:.1f} %"


def align(path: Path, dataset: Raster, grid: Grid) -> Alignment:
    """Compare the raster at `path` with `grid`. A coordinate system missing on one side is taken to be the other's.

    Raises
    ------
    RasterError
        One of the two has no georeference and their sizes differ.
    """
    raster = Grid.of(dataset)
    if is_unplaced(raster) or is_unplaced(grid):
        if raster.shape != grid.shape:
            sizes = f"{raster.height}×{raster.width} pixels against {grid.height}×{grid.width}"
            fault = f"cannot be placed without a georeference: {sizes}"
            raise RasterError(path, fault, "give both rasters a georeference, or crop them to the same size")
        return Alignment("none", 1.0, (0.0, 0.0), 1.0)
    corners_column = np.array([0.0, grid.width, 0.0, grid.width])
    corners_row = np.array([0.0, 0.0, grid.height, grid.height])
    column, row = pixels_on(grid, raster, corners_column, corners_row)
    offset_column, offset_row = column - corners_column, row - corners_row
    overlap = _overlap(grid, raster)
    start_column, start_row = pixels_on(raster, grid, np.zeros(1), np.zeros(1))
    origin = (float(start_row[0]), float(start_column[0]))
    shift = np.stack([offset_row, offset_column])
    if np.all(np.isfinite(shift)) and np.abs(shift - np.round(shift[:, :1])).max() < _SAME:
        same = raster.shape == grid.shape and np.abs(shift).max() < _SAME
        return Alignment("none" if same else "nearest", 1.0, origin, overlap)
    ratio = pixels_per_pixel(raster, grid)
    return Alignment("average" if ratio > _FINER else "bilinear", ratio, origin, overlap)


def on_grid(dataset: Raster, grid: Grid, resampling: str, nodata: float | None) -> Raster:
    """The raster seen on `grid`: itself, or a view that warps what is asked for and is NaN where there is no data."""
    if resampling == "none":
        return dataset
    source, target = _common_crs(dataset.crs, grid, Grid.of(dataset))
    with gdal():
        return WarpedVRT(
            dataset,
            src_crs=source,
            crs=target,
            transform=grid.transform,
            height=grid.height,
            width=grid.width,
            resampling=Resampling[resampling],
            tolerance=_WARP_TOLERANCE,
            src_nodata=np.nan if nodata is None else nodata,
            nodata=np.nan,
            dtype="float32",
            # GDAL would guess these from the window asked for, and blur rotated rasters as if they were finer.
            XSCALE=1,
            YSCALE=1,
        )


def read_view(view: Raster, window: Window, bands: list[int] | None = None) -> NDArray[np.generic]:
    """Raw values [C, h, w] of a window, of all bands or of `bands` (from 1); the same whichever window a pixel is in.

    GDAL rounds differently with the window asked for, so a warped view is read in fixed squares and cut.
    """
    if not isinstance(view, WarpedVRT):
        return read_window(view, window, bands)
    top, left = window.row_off // _SQUARE * _SQUARE, window.col_off // _SQUARE * _SQUARE
    bottom, right = window.row_off + window.height, window.col_off + window.width
    rows = [
        np.concatenate(
            [
                read_window(
                    view, Window(column, row, min(_SQUARE, view.width - column), min(_SQUARE, view.height - row)), bands
                )
                for column in range(left, right, _SQUARE)
            ],
            axis=2,
        )
        for row in range(top, bottom, _SQUARE)
    ]
    values = np.concatenate(rows, axis=1)
    return values[:, window.row_off - top : bottom - top, window.col_off - left : right - left]


def is_unplaced(grid: Grid) -> bool:
    """Whether a grid is bare row and column numbers: no coordinate system and GDAL's default transform."""
    return grid.crs is None and abs(grid.transform.a) == 1 and grid.transform.c == 0 and grid.transform.f == 0


def _overlap(grid: Grid, raster: Grid) -> float:
    """Share of (a lattice of) grid pixel centres that lie on the raster."""
    rows = (np.arange(min(grid.height, _LATTICE)) + 0.5) * grid.height / min(grid.height, _LATTICE)
    columns = (np.arange(min(grid.width, _LATTICE)) + 0.5) * grid.width / min(grid.width, _LATTICE)
    row, column = np.meshgrid(rows, columns, indexing="ij")
    column, row = pixels_on(grid, raster, column, row)
    with np.errstate(invalid="ignore"):
        return float(((row >= 0) & (row < raster.height) & (column >= 0) & (column < raster.width)).mean())


def _common_crs(crs: CRS | None, grid: Grid, raster: Grid) -> tuple[CRS, CRS]:
    """(source, target) for the warp. Of two systems that give the same coordinates one is used, to save projecting."""
    if crs is None or grid.crs is None or crs == grid.crs:
        only = grid.crs or crs or CRS.from_wkt('LOCAL_CS["unknown",UNIT["metre",1]]')
        return only, only
    x, y = grid.to_map(np.array([0.0, grid.width]), np.array([0.0, grid.height]))
    xs, ys = reproject_points(grid.crs, crs, x, y)
    moved = np.hypot(np.asarray(xs) - x, np.asarray(ys) - y)
    if np.all(moved < 1e-4 * np.sqrt(min(grid.pixel_area, raster.pixel_area))):
        return crs, crs
    return crs, grid.crs


def _way(offset: float, axis: str) -> str:
    direction = {"column": ("left", "right"), "row": ("above", "below")}[axis][offset >= 0]
    return f"{abs(offset):.2f} {axis}s {direction}"
