"""The ground that a classifier has seen in training: its labelled pixels and the windows around them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import WorkspaceError
from .grid import Grid


@dataclass(frozen=True)
class TrainingGround:
    """Windows of `side` pixels around the training `pixels` of scenes, as sorted row · width + column per scene."""

    grids: tuple[Grid, ...]
    windows: tuple[NDArray[np.int64], ...]
    pixels: int
    side: int

    @classmethod
    def around(
        cls, grids: Sequence[Grid], scene: NDArray[np.integer], row: NDArray, column: NDArray, side: int
    ) -> TrainingGround:
        """From training pixels: arrays [N] of their scene, row and column."""
        offset = np.arange(side) - side // 2
        windows = []
        for number, grid in enumerate(grids):
            here = np.asarray(scene) == number
            rows = (np.asarray(row)[here, None, None] + offset[:, None]).astype(np.int64)
            columns = (np.asarray(column)[here, None, None] + offset).astype(np.int64)
            rows, columns = np.broadcast_arrays(rows, columns)
            inside = grid.contains(rows, columns)
            windows.append(np.unique(rows[inside] * grid.width + columns[inside]))
        return cls(tuple(grids), tuple(windows), len(scene), side)

    @classmethod
    def of_workspace(cls, folder: Path) -> TrainingGround:
        """The training pixels that `fewshot` recorded in a workspace. Raises WorkspaceError."""
        from .presets import Preset
        from .scenes import Scene
        from .workspace import Workspace

        place = Workspace(folder)
        facts = place.read(place.manifest, "pretrain")
        place.read(place.classifier_manifest, "fewshot")
        scene, row, column, _ = read_training_pixels(place.training_pixels)
        grids = [Scene.from_dict(one).grid for one in facts["scenes"]]
        side = Preset.from_dict(facts["preset"]).encoder.window
        return cls.around(grids, scene, row, column, side)

    def covers(self, grid: Grid, row: NDArray[np.integer], column: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which pixels of `grid` have their centre in one of the windows; same shape as `row`."""
        covered = np.zeros(np.shape(row), bool)
        for own, windows in zip(self.grids, self.windows, strict=True):
            rows, columns = pixels_on(own, grid, row, column)
            inside = own.contains(rows, columns)
            numbers = np.where(inside, rows * own.width + columns, -1)
            place = np.minimum(np.searchsorted(windows, numbers), max(len(windows) - 1, 0))
            covered |= inside & (windows[place] == numbers if len(windows) else False)
        return covered

    def describe(self) -> str:
        """In words, for reports."""
        return f"{self.pixels:,} training pixels and the {self.side} × {self.side} windows around them"


def read_training_pixels(path: Path) -> NDArray[np.int64]:
    """Scene, row, column and class 1…K of the pixels that `fewshot` recorded, [4, N]. Raises WorkspaceError."""
    if not path.is_file():
        fault = f"holds no {path.name}"
        raise WorkspaceError(path.parent, fault, "run `diffclip-geo fewshot` again, which writes it")
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[int(one[name]) for name in ("scene", "row", "column", "class")] for one in csv.DictReader(file)]
    return np.array(rows, np.int64).reshape(-1, 4).T


def same_grid(one: Grid, other: Grid) -> bool:
    """Whether two grids have the same pixels, to a hundredth of a pixel."""
    alike = one.crs is None or other.crs is None or one.crs == other.crs
    if one.shape != other.shape or not alike:
        return False
    corners = np.array([0.0, one.width, 0.0, one.width]), np.array([0.0, 0.0, one.height, one.height])
    shift = np.subtract(other.to_pixels(*one.to_map(*corners)), corners)
    return bool(np.abs(shift).max() < 0.01)


def pixels_on(
    target: Grid, source: Grid, row: NDArray[np.integer], column: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pixels of `target` in which the centres of pixels of `source` fall; −1 where they have no place there."""
    if same_grid(target, source):
        return np.asarray(row, np.int64), np.asarray(column, np.int64)
    x, y = source.centre_in(target.crs, row, column)
    placed = np.isfinite(x) & np.isfinite(y)
    rows, columns = target.pixel_of(np.where(placed, x, 0), np.where(placed, y, 0))
    return np.where(placed, rows, -1), np.where(placed, columns, -1)
