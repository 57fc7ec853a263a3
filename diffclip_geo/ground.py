"""Metres and hectares on the ground, for grids that have them."""

from __future__ import annotations

import math

import numpy as np

from .grid import Grid

_METRES_PER_DEGREE = 111_320.0  # of latitude, and of longitude at the equator


def pixel_area(grid: Grid) -> float | None:
    """Square metres of a pixel; None without a projected coordinate system, where pixels have no one known size."""
    if grid.crs is None or not grid.crs.is_projected:
        return None
    return float(grid.pixel_area * grid.crs.linear_units_factor[1] ** 2)


def pixel_width(grid: Grid) -> float | None:
    """Metres from column to column in the middle of the grid; None without a coordinate system."""
    step_x, step_y = grid.transform.a, grid.transform.d
    if grid.crs is None:
        return None
    if grid.crs.is_projected:
        return float(math.hypot(step_x, step_y) * grid.crs.linear_units_factor[1])
    latitude = float(grid.to_map(np.array([grid.width / 2]), np.array([grid.height / 2]))[1][0])
    return float(math.hypot(step_x * math.cos(math.radians(latitude)), step_y) * _METRES_PER_DEGREE)
