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
        down = _spline_weights(np.arange(start, stop) * self.step, self.coefficients.shape[0])
        across = _spline_weights(np.arange(width) * self.step, self.coefficients.shape[1])
        return (down @ self.coefficients @ across.T).astype(np.float32, copy=False)


def _spline_weights(position: NDArray[np.floating], knots: int) -> NDArray[np.float32]:
    """Uniform cubic B-spline weights [positions, knots] at positions counted in knots from the first full interval."""
    interval = np.floor(position).astype(np.int64)
    x = position - interval
    pieces = ((1 - x) ** 3, 3 * x**3 - 6 * x**2 + 4, -3 * x**3 + 3 * x**2 + 3 * x + 1, x**3)
    weights = np.zeros((len(position), knots), np.float32)
    for offset, piece in enumerate(pieces):
        weights[np.arange(len(position)), interval + offset] = piece / 6
    return weights
