"""The street frame: a gently bent grid of street lines in which the town is laid out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

RIVER_DEPTH = 72.0  # metres between the two street lines that enclose the river


@dataclass(frozen=True)
class Frame:
    """Street coordinates (s along, t across, in metres) of map positions (x east, y south, in metres).

    A rotation and slow sine bends; distances stay true within about a fifth, so things drawn in (s, t) keep shape.
    """

    angle: float
    bends: tuple[tuple[float, float, float], ...]  # amplitude m, wavelength m, phase; even ones bend s, odd ones t

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Frame:
        """A random frame."""
        waves = ((7.0, 430.0), (8.0, 470.0), (16.0, 1130.0), (22.0, 1310.0))
        return cls(
            np.deg2rad(rng.uniform(8, 28)) * rng.choice([-1.0, 1.0]),
            tuple((a, w * rng.uniform(0.85, 1.15), rng.uniform(0, 2 * np.pi)) for a, w in waves),
        )

    def to_street(self, x: Array, y: Array) -> tuple[Array, Array]:
        """(s, t) of map positions."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        u, v = x * cos + y * sin, y * cos - x * sin
        return u + self._bend(v, 0), v + self._bend(u, 1)

    def to_map(self, s: float, t: float) -> tuple[float, float]:
        """(x, y) of a street position, by fixed-point iteration (the bends are gentle, so it converges)."""
        u, v = s, t
        for _ in range(10):
            u, v = s - self._bend_at(v, 0), t - self._bend_at(u, 1)
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        return u * cos - v * sin, u * sin + v * cos

    def axis(self, which: int) -> tuple[float, float]:
        """Unit vector (x, y) of s (0) or t (1), the bends left out."""
        cos, sin = float(np.cos(self.angle)), float(np.sin(self.angle))
        return (-sin, cos) if which else (cos, sin)

    def _bend(self, along: Array, which: int) -> Array:
        bend = np.zeros_like(along)
        for amplitude, wavelength, phase in self.bends[which::2]:
            bend += amplitude * np.sin(2 * np.pi / wavelength * along + phase)
        return bend

    def _bend_at(self, along: float, which: int) -> float:
        """The same for one position: plain floats, since every object drawn asks for some twenty."""
        return sum(a * math.sin(2 * math.pi / w * along + p) for a, w, p in self.bends[which::2])


@dataclass(frozen=True)
class Streets:
    """Street lines at fixed s and at fixed t; a block (i, j) lies between s-lines i, i + 1 and t-lines j, j + 1."""

    s_lines: NDArray[np.float64]
    t_lines: NDArray[np.float64]
    s_main: NDArray[np.bool_]  # main roads cross the country and the river
    t_main: NDArray[np.bool_]
    river_row: int  # the row of blocks j through which the river runs

    @classmethod
    def draw(cls, rng: np.random.Generator, s_range: tuple[float, float], t_range: tuple[float, float]) -> Streets:
        """Lines that cover the given ranges of s and t."""
        s_lines = _lines(rng, s_range, (66, 88))
        t_lines = _lines(rng, t_range, (50, 60))
        middle = t_range[0] + rng.uniform(0.60, 0.68) * (t_range[1] - t_range[0])
        river_row = int(np.searchsorted(t_lines, middle)) - 1
        t_lines[river_row + 1 :] += RIVER_DEPTH - (t_lines[river_row + 1] - t_lines[river_row])
        s_main = np.arange(len(s_lines)) % 4 == (np.searchsorted(s_lines, np.mean(s_range)) + rng.integers(-1, 1)) % 4
        t_main = np.arange(len(t_lines)) % 5 == (river_row + 5) % 5
        return cls(s_lines, t_lines, s_main, t_main, river_row)

    def blocks(self, s: Array, t: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Block indices (i, j) of street positions."""
        i = np.clip(np.searchsorted(self.s_lines, s) - 1, 0, len(self.s_lines) - 2)
        j = np.clip(np.searchsorted(self.t_lines, t) - 1, 0, len(self.t_lines) - 2)
        return i, j


def _lines(rng: np.random.Generator, span: tuple[float, float], gap: tuple[float, float]) -> NDArray[np.float64]:
    gaps = rng.uniform(*gap, size=int((span[1] - span[0]) / gap[0]) + 4)
    lines: NDArray[np.float64] = span[0] - gap[1] * rng.uniform(0.3, 1.0) + np.concatenate([[0], np.cumsum(gaps)])
    return lines
