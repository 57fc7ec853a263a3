"""Masks drawn as polygons: pixels whose centre lies in none of them are left out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from .errors import LabelError
from .grid import Grid
from .vectors import is_vector, project, read_polygons

__all__ = ["PolygonMask", "is_vector"]


@dataclass(frozen=True)
class PolygonMask:
    """The union of polygons in the pixel coordinates of a grid."""

    area: shapely.Geometry
    nodata: None = None

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
