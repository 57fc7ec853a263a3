"""Nearness: a pixel near a shot is the likelier to be of its class, as far as the shots themselves bear that out.

Land cover is coherent in space, beyond what spectra tell. How far that can be relied on differs between scenes, and
between fields and street blocks: the shots of other polygons show it, without further labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .grid import Grid
from .ground import pixel_width
from .normalisation import Array
from .scenes import Scene
from .temperature import best_loss

WEIGHTS = (0.0, 0.5, 1.0, 2.0, 3.0)  # that are tried, in units of the scores' spread over the scene
STEP = 4  # pixels between the points of the lattice on which maps know their weights: they are smooth
MANY = 1000  # shots of a scene, from which on a search tree is faster than all distances
_AT_ONCE = 256  # shots whose distances are held at a time


@dataclass(frozen=True)
class Spots:
    """Where pixels lie: those of one plane at row and column, those of different planes infinitely far apart."""

    plane: NDArray[np.int64]  # [N]
    row: NDArray[np.float64]  # [N]
    column: NDArray[np.float64]  # [N]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, indices: NDArray[np.integer]) -> Spots:
        """Those at these indices."""
        return Spots(self.plane[indices], self.row[indices], self.column[indices])

    def distance(self, other: Spots) -> NDArray[np.float64]:
        """Pixels between all pairs, `[N, M]`."""
        square = (self.row[:, None] - other.row) ** 2
        square += (self.column[:, None] - other.column) ** 2
        square[self.plane[:, None] != other.plane] = np.inf
        return np.sqrt(square, out=square)

    @classmethod
    def join(cls, parts: Sequence[Spots]) -> Spots:
        """One after another."""
        return cls(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("plane", "row", "column")))


@dataclass(frozen=True)
class Nearness:
    """What is added to the logarithm of a class's probability: strength · closeness to its nearest shot."""

    strength: float
    reach: float  # pixels at which closeness ends

    def describe(self) -> str:
        """In words."""
        odds = f"{np.exp(self.strength):,.1f}"
        if odds == "1.0":
            return "does not count; labels that were left out were told no better by those near them"
        grow = f"the odds of a class grow {odds}-fold beside its labels"
        return f"{grow}, and less with distance up to {self.reach:g} pixels"

    def weights(self, closeness: Array) -> Array:
        """Weights of class probabilities, 1 for the class that is nearest, from closeness `[…, K]`."""
        weights: Array = np.exp(np.float32(self.strength) * (closeness - closeness.max(-1, keepdims=True)))
        return weights


def weigh(probabilities: Array, weights: Array | None) -> Array:
    """Probabilities `[N, K]` times their weights (or all 1), which sum to 1 again."""
    weighed = probabilities if weights is None else probabilities * weights
    total: Array = weighed / np.einsum("nk->n", weighed)[:, None]  # three times as fast as a sum
    return total


def closeness_to(
    spots: Spots, shots: Spots, label: NDArray[np.integer], classes: int, reach: float
) -> NDArray[np.float32]:
    """Closeness of pixels to the nearest shot of each class 0…K−1: (1 − distance / reach)², 0 beyond; `[N, K]`."""
    nearest = np.full((len(spots), classes), np.inf)
    for start in range(0, len(shots), _AT_ONCE):
        some = np.arange(start, min(start + _AT_ONCE, len(shots)))
        distance = spots.distance(shots.take(some))
        for one in np.unique(label[some]):
            nearest[:, one] = np.minimum(nearest[:, one], distance[:, label[some] == one].min(1))
    return _close(nearest, reach)


def _closeness_by_trees(
    spots: Spots, shots: Spots, label: NDArray[np.integer], classes: int, reach: float
) -> NDArray[np.float32]:
    """The same for many shots, all on the plane of the pixels."""
    from scipy.spatial import cKDTree  # takes a while to import

    points, places = (np.stack([one.row, one.column], 1) for one in (spots, shots))
    nearest = np.full((len(spots), classes), np.inf)
    for one in np.unique(label):
        nearest[:, one] = cKDTree(places[label == one]).query(points, distance_upper_bound=reach)[0]
    return _close(nearest, reach)


def closeness_without(
    shots: Spots, label: NDArray[np.integer], group: NDArray[np.integer], classes: int, reach: float
) -> NDArray[np.float32]:
    """The same of every shot when its own group (polygon) is left out; `[N, K]`."""
    distance = shots.distance(shots)
    distance[group[:, None] == group] = np.inf
    nearest = np.full((len(shots), classes), np.inf)
    for one in np.unique(label):
        nearest[:, one] = distance[:, label == one].min(1)
    return _close(nearest, reach)


def fit_weight(far: Array, closeness: Array, label: NDArray[np.integer], spread: float) -> float:
    """How much closeness counts beside scores whose spread over the scene is `spread`, in the units of these.

    `far` `[N, K]` are the scores and `closeness` `[N, K]` that of shots of the classes `label` when their polygons are
    left out. Every weight counts as far as it makes the labels of the shots likely, with the temperature that suits it
    best: where few shots tell little, the mean stays in between.
    """
    tried = spread * np.array(WEIGHTS)
    losses = np.array([best_loss(far + weight * closeness, label, spread) for weight in tried])
    likelihood = np.exp(losses.min() - losses)
    return float(likelihood @ tried / likelihood.sum())


@dataclass(frozen=True)
class NearShots:
    """The shots that lie on the ground of a scene, in its own pixel coordinates."""

    nearness: Nearness  # its reach in pixels of the scene
    row: NDArray[np.float64]  # [N]; pixel centres have whole numbers
    column: NDArray[np.float64]  # [N]
    label: NDArray[np.int64]  # [N], 0…K−1
    classes: int

    def weigh(self, probabilities: Array, valid: NDArray[np.bool_], row: int, column: int) -> Array:
        """Probabilities `[N, K]` of the `valid` pixels `[h, w]`, in row-major order, of a tile that begins there.

        What a pixel gets does not depend on the tile.
        """
        weights = self.weights(row, column, *valid.shape)
        return weigh(probabilities, None if weights is None else weights[valid])

    def weights(self, row: int, column: int, height: int, width: int) -> Array | None:
        """Of the classes at the pixels of a tile, `[h, w, K]`; None where all shots are beyond reach.

        Between the points of a lattice, which is that of the whole scene, they are interpolated linearly.
        """
        rows, down = _lattice(row, height)
        columns, across = _lattice(column, width)
        reach = self.nearness.reach
        near = (self.row > rows[0] - reach) & (self.row < rows[-1] + reach)
        near &= (self.column > columns[0] - reach) & (self.column < columns[-1] + reach)
        if not near.any():
            return None
        points = _same_plane(np.repeat(rows, len(columns)), np.tile(columns, len(rows)))
        shots = _same_plane(self.row[near], self.column[near])
        # Which one must not depend on the tile: they may round differently.
        closeness = closeness_to if len(self.row) <= MANY else _closeness_by_trees
        found = self.nearness.weights(closeness(points, shots, self.label[near], self.classes, reach))
        return _between(_between(found.reshape(len(rows), len(columns), -1), down, 0), across, 1)


def near_shots(
    nearness: Nearness | None, scene: Scene, trained: Sequence[Scene], pixels: NDArray[np.int64], classes: int
) -> NearShots | None:
    """The shots of the `trained` scenes that lie on the ground of `scene`; None when nothing is known to.

    `pixels` `[4, N]` are their scene, row, column and class 1…K. Scenes without coordinates share ground with
    themselves alone.
    """
    if nearness is None or not nearness.strength:
        return None
    rows, columns, labels = [], [], []
    for number, other in enumerate(trained):
        _, row, column, label = pixels[:, pixels[0] == number]
        if _related(other, scene):
            placed = _placed(other.grid, scene.grid, row, column)
            rows.append(placed[0])
            columns.append(placed[1])
            labels.append(label - 1)
    if not labels:
        return None
    row, column, label = np.concatenate(rows), np.concatenate(columns), np.concatenate(labels)
    has_place = np.isfinite(row) & np.isfinite(column)
    row, column, label = row[has_place], column[has_place], label[has_place]
    cell = np.stack([label, np.floor(row / STEP).astype(np.int64), np.floor(column / STEP).astype(np.int64)])
    _, kept = np.unique(cell, axis=1, return_index=True)  # all pixels of a large polygon would say the same
    here = Nearness(nearness.strength, nearness.reach * _ratio(trained[0].grid, scene.grid))
    return NearShots(here, row[kept], column[kept], label[kept], classes)


def spots_of(scenes: Sequence[Scene], number: int, row: NDArray[np.integer], column: NDArray[np.integer]) -> Spots:
    """Where pixels of one of the scenes lie, in pixels of the first if the two share a coordinate system."""
    if not _related(scenes[number], scenes[0]):
        return Spots(np.full(len(row), number), row.astype(np.float64), column.astype(np.float64))
    return _same_plane(*_placed(scenes[number].grid, scenes[0].grid, row, column))


def _same_plane(row: NDArray, column: NDArray) -> Spots:
    return Spots(np.zeros(len(row), np.int64), row.astype(np.float64), column.astype(np.float64))


def _close(distance: NDArray[np.float64], reach: float) -> NDArray[np.float32]:
    closeness: NDArray[np.float32] = (np.maximum(1 - distance / reach, 0) ** 2).astype(np.float32)
    return closeness


def _lattice(start: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Lattice points that enclose pixels in a row, and where among these points each pixel lies."""
    first = start // STEP
    points = np.arange(first, (start + size - 1) // STEP + 2)
    return points * STEP, np.arange(start, start + size) / STEP - first


def _between(values: NDArray[np.float32], place: NDArray[np.float64], axis: int) -> NDArray[np.float32]:
    """Values at points along an axis of three, interpolated linearly at places between them."""
    before = np.floor(place).astype(np.int64)
    part = np.expand_dims((place - before).astype(np.float32), [one for one in range(3) if one != axis])
    part = np.broadcast_to(part, (*part.shape[:2], values.shape[2])).copy()  # in one piece it is faster
    between = np.diff(values, axis=axis).take(before, axis)
    between *= part
    between += values.take(before, axis)
    return between


def _related(one: Scene, other: Scene) -> bool:
    """Whether it is known how two scenes lie to each other."""
    if one.hsi_path.absolute() == other.hsi_path.absolute():
        return True
    return one.grid.crs is not None and other.grid.crs is not None


def _placed(
    source: Grid, target: Grid, row: NDArray[np.integer], column: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column, on the target, of pixel centres of the source; infinite where they have no place there."""
    if source == target:
        return np.asarray(row, np.float64), np.asarray(column, np.float64)
    columns, rows = target.to_pixels(*source.centre_in(target.crs, row, column))
    return rows - 0.5, columns - 0.5


def _ratio(source: Grid, target: Grid) -> float:
    """Pixels of the target in one of the source, along a row."""
    wide, narrow = pixel_width(source), pixel_width(target)
    return wide / narrow if wide and narrow else 1.0
