"""Layers derived from a surface (DSM or canopy heights), computed for the window that is read and a halo around it.

Every value depends on a fixed neighbourhood and is summed in a fixed order, so that a pixel gets the same value
whatever window it is in. Pixels without data, and those beyond the scene, take no part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .grid import Grid

Heights = NDArray[np.float64]
Mask = NDArray[np.bool_]

_NEAR = 2  # pixels; roughness and local range look at 5 × 5
_GROUND = 25.0  # metres; wider things than twice this count as ground
_GROUND_PIXELS = (3, 40)  # limits of that radius in pixels
_METRES_PER_DEGREE = 111_320.0  # of latitude, and of longitude at the equator


@dataclass(frozen=True)
class Spacing:
    """What heights need to know of a grid: metres per pixel, and how rows and columns run on the ground."""

    jacobian: tuple[tuple[float, float], tuple[float, float]]  # ((dx/dcolumn, dx/drow), (dy/dcolumn, dy/drow)), metres

    @classmethod
    def of(cls, grid: Grid) -> Spacing:
        """The spacing of a grid; degrees are taken at its middle, pixels without georeference as metres."""
        across = down = 1.0
        if grid.crs is not None and grid.crs.is_geographic:
            _, middle = grid.to_map(np.array([grid.width / 2]), np.array([grid.height / 2]))
            down = _METRES_PER_DEGREE
            across = down * max(float(np.cos(np.radians(middle[0]))), 0.01)
        place = grid.transform
        return cls(((across * place.a, across * place.b), (down * place.d, down * place.e)))

    @property
    def size(self) -> float:
        """Side in metres of a square of a pixel's area."""
        return float(np.sqrt(abs(np.linalg.det(self.jacobian))))

    @property
    def ground_radius(self) -> int:
        """Radius of the window in which the ground is sought, in pixels."""
        return int(np.clip(round(_GROUND / self.size), *_GROUND_PIXELS))


def slope(heights: Heights, valid: Mask, spacing: Spacing) -> Heights:
    """Steepness in degrees, 0…90, from the weighted differences over 3 × 3 pixels (Horn, 1981).

    A neighbour without data counts as being as high as the pixel itself.
    """
    differences = []
    for axis in (1, 0):  # columns, rows
        total = np.zeros_like(heights)
        for along, sign in ((1, 1.0), (-1, -1.0)):
            for across, weight in ((-1, 1.0), (0, 2.0), (1, 1.0)):
                row, column = (across, along) if axis == 1 else (along, across)
                total += sign * weight * _neighbour(heights, valid, row, column)
        differences.append(total / 8)
    inverse = np.linalg.inv(np.array(spacing.jacobian))
    east = differences[0] * inverse[0, 0] + differences[1] * inverse[1, 0]
    north = differences[0] * inverse[0, 1] + differences[1] * inverse[1, 1]
    return np.degrees(np.arctan(np.sqrt(east * east + north * north)))


def height_above_ground(heights: Heights, valid: Mask, spacing: Spacing) -> Heights:
    """Height over the ground, which is the surface after a morphological opening (white top-hat).

    The opening's window is 50 m wide (7 to 81 pixels): things narrower than that are taken off the ground.
    """
    size = 2 * spacing.ground_radius + 1
    low = _lowest(heights, valid, size)
    ground = _highest(low, valid, size)
    return np.where(valid, heights - np.where(valid, ground, 0), 0)


def roughness(heights: Heights, valid: Mask, spacing: Spacing) -> Heights:
    """Standard deviation of the heights in 5 × 5 pixels."""
    count, total, squares = np.zeros_like(heights), np.zeros_like(heights), np.zeros_like(heights)
    for row in range(-_NEAR, _NEAR + 1):
        for column in range(-_NEAR, _NEAR + 1):
            # Differences to the middle pixel: small numbers, whose squares can be subtracted.
            difference = _neighbour(heights, valid, row, column) - heights
            count += _shifted(valid, row, column, False)
            total += difference
            squares += difference * difference
    count = np.maximum(count, 1)
    return np.sqrt(np.maximum(squares / count - (total / count) ** 2, 0))


def local_range(heights: Heights, valid: Mask, spacing: Spacing) -> Heights:
    """Highest minus lowest height in 5 × 5 pixels."""
    size = 2 * _NEAR + 1
    high, low = _highest(heights, valid, size), _lowest(heights, valid, size)
    return np.where(valid, np.where(valid, high, 0) - np.where(valid, low, 0), 0)


def _lowest(heights: Heights, valid: Mask, size: int) -> Heights:
    """Of the valid ones in squares of `size` pixels; infinity where there are none."""
    from scipy.ndimage import minimum_filter  # a third of a second, and few scenes derive layers

    lowest: Heights = minimum_filter(np.where(valid, heights, np.inf), size, mode="constant", cval=np.inf)
    return lowest


def _highest(heights: Heights, valid: Mask, size: int) -> Heights:
    return -_lowest(-heights, valid, size)


LAYERS: dict[str, Callable[[Heights, Mask, Spacing], Heights]] = {
    "slope": slope,
    "height-above-ground": height_above_ground,
    "roughness": roughness,
    "local-range": local_range,
}


def parse_layers(text: str | Sequence[str]) -> tuple[str, ...]:
    """Names of derived layers from "slope,roughness" or a sequence, each once, in the order given.

    Raises
    ------
    OptionError
        A name is not known.
    """
    pieces = text.split(",") if isinstance(text, str) else text
    names = tuple(dict.fromkeys(piece.strip().lower() for piece in pieces if piece.strip()))
    for name in names:
        if name not in LAYERS:
            raise OptionError("--derive", f"{name!r} is not known", f"choose from {', '.join(LAYERS)}")
    return names


def halo(names: Sequence[str], spacing: Spacing) -> int:
    """Pixels around a window on which these layers depend."""
    reach = {"slope": 1, "height-above-ground": 2 * spacing.ground_radius}
    return max((reach.get(name, _NEAR) for name in names), default=0)


def derive(names: Sequence[str], heights: NDArray[np.float32], valid: Mask, spacing: Spacing) -> NDArray[np.float32]:
    """The layers [N, h, w] of heights [h, w]; 0 where invalid. Right where the halo is inside the window."""
    surface = np.where(valid, heights, 0).astype(np.float64)
    layers = np.empty((len(names), *heights.shape), np.float32)
    for index, name in enumerate(names):
        layers[index] = np.where(valid, LAYERS[name](surface, valid, spacing), 0)
    return layers


def _neighbour(heights: Heights, valid: Mask, row: int, column: int) -> Heights:
    """The height `row` further down and `column` further right, or the pixel's own where there is none."""
    return np.where(_shifted(valid, row, column, False), _shifted(heights, row, column, 0.0), heights)


def _shifted(values: NDArray, row: int, column: int, fill: float | bool) -> NDArray:
    height, width = values.shape
    shifted = np.full_like(values, fill)
    rows, columns = slice(max(-row, 0), height - max(row, 0)), slice(max(-column, 0), width - max(column, 0))
    there = slice(max(row, 0), height - max(-row, 0)), slice(max(column, 0), width - max(-column, 0))
    shifted[rows, columns] = values[there]
    return shifted
