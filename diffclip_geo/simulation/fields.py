"""Smooth random fields: what makes neighbouring places alike and distant ones differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Standard deviation of a cubic B-spline surface with unit-variance coefficients: the mean of Σw² is 151/315 per axis.
_SPLINE_STD = 151 / 315


@dataclass(frozen=True)
class SmoothField:
    """A cubic B-spline surface through white noise, zero mean and about unit variance.

    Any rows of it can be evaluated alone, so a large scene never holds a whole field.
    """

    coefficients: NDArray[np.float32]  # [knots down, knots across]
    step: float  # knots per cell

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, int], scale: float) -> SmoothField:
        """A field for `shape` (rows, columns) cells with knots `scale` cells apart."""
        knots = tuple(int(np.ceil(n / scale)) + 4 for n in shape)
        return cls(rng.standard_normal(knots, dtype=np.float32) / np.float32(_SPLINE_STD), 1 / scale)

    def rows(self, start: int, stop: int, width: int) -> NDArray[np.float32]:
        """Values of rows start…stop−1, columns 0…width−1: float32 [stop − start, width]."""
        first, weights = _spline_weights(np.arange(start, stop) * self.step)
        down = sum(w[:, None] * self.coefficients[first + k] for k, w in enumerate(weights))
        first, weights = _spline_weights(np.arange(width) * self.step)
        return np.add.reduce([w * down[:, first + k] for k, w in enumerate(weights)])


def _spline_weights(position: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """First knot [positions] and the uniform cubic B-spline weights of it and the next three [4, positions]."""
    first = np.floor(position).astype(np.int64)
    x = position - first
    pieces = ((1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3)
    return first, (np.stack(pieces) / 6).astype(np.float32)
