"""Masks: which pixels of a scene to use, as a raster or drawn as polygons."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from .alignment import align, on_grid, read_view
from .errors import LabelError
from .grid import Grid
from .rasters import Raster, is_nodata, mask_window, open_raster
from .vectors import is_vector, project, read_polygons


class Mask(Protocol):
    """A mask seen on a grid."""

    def covers(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window are to be used, [h, w]."""
        ...

    def close(self) -> None:
        """Let go of its file."""
        ...


def open_mask(path: Path, grid: Grid) -> Mask:
    """The mask in a file of either kind. Raises RasterError or LabelError when it cannot be read or placed."""
    return PolygonMask.read(path, grid) if is_vector(path) else RasterMask.open(path, grid)


@dataclass(frozen=True)
class RasterMask:
    """A raster: 0 and nodata are left out, and so is what lies outside."""

    view: Raster

    @classmethod
    def open(cls, path: Path, grid: Grid) -> RasterMask:
        """A raster seen on a grid. Raises RasterError when it cannot be read or placed."""
        source = open_raster(path)
        same = align(path, source, grid).resampling == "none"
        return cls(on_grid(source, grid, "none" if same else "nearest", source.nodata))

    def covers(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of a window are neither 0 nor nodata, [h, w]."""
        layer = read_view(self.view, window, [1])[0]
        own = mask_window(self.view, window)
        left: NDArray[np.bool_] = (layer != 0) & ~is_nodata(layer, self.view.nodata)
        return left if own is None else left & own

    def close(self) -> None:
        """Close the raster."""
        self.view.close()


@dataclass(frozen=True)
class PolygonMask:
    """Pixels whose centre lies in a polygon: the union of all, in the pixel coordinates of a grid."""

    area: shapely.Geometry

    @classmethod
    def read(cls, path: Path, grid: Grid) -> PolygonMask:
        """The polygons of a file on a grid; without a coordinate system they are in the grid's.

        Raises
        ------
        LabelError
            The file cannot be read, or holds no polygon.
        """
        polygons, crs = read_polygons(path)
        polygons = project(polygons, crs, grid.crs)
        polygons = polygons[~shapely.is_empty(polygons)]
        if not len(polygons):
            raise LabelError(path, "holds no polygon that lies near the image", "draw them around what is to be used")
        area = shapely.union_all(shapely.transform(polygons, lambda xy: np.column_stack(grid.to_pixels(*xy.T))))
        shapely.prepare(area)
        return cls(area)

    def covers(self, window: Window) -> NDArray[np.bool_]:
        """Whether the polygons cover the centre of each pixel, [h, w]."""
        top, left = window.row_off, window.col_off
        frame = shapely.box(left, top, left + window.width, top + window.height)
        if not shapely.intersects(self.area, frame):
            return np.zeros((window.height, window.width), bool)
        if shapely.covers(self.area, frame):
            return np.ones((window.height, window.width), bool)
        row, column = np.mgrid[top : top + window.height, left : left + window.width]
        covered: NDArray[np.bool_] = shapely.intersects_xy(self.area, column + 0.5, row + 0.5)
        return covered

    def close(self) -> None:
        """Nothing is held open."""
