"""What is computed for one tile of a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .confidence import confidence_of
from .conformal import class_sets
from .engines import EngineSpec
from .margins import read_with_margin
from .nearness import NearShots
from .scenes import Scene, inside
from .setmaps import pack_sets
from .tiles import Tile


@dataclass(frozen=True)
class Layers:
    """What is wanted of every pixel besides its class."""

    confidence: str  # one of `confidence.MEASURES`
    proba: bool = False  # the probability of every class
    threshold: float | None = None  # the least probability of a class in a class set


@dataclass(frozen=True)
class TileResult:
    """The pixels of a tile; label 0 and confidence NaN where invalid."""

    label: NDArray[np.uint16]  # [h, w]
    confidence: NDArray[np.float32]  # [h, w]
    probabilities: NDArray[np.float32] | None = None  # [K, h, w]
    sets: NDArray[np.uint32] | None = None  # [1 or 2, h, w], see `setmaps.pack_sets`

    @property
    def arrays(self) -> list[NDArray]:
        """The arrays that there are, in this order."""
        return [one for one in (self.label, self.confidence, self.probabilities, self.sets) if one is not None]

    @classmethod
    def of(cls, arrays: Sequence[NDArray], layers: Layers) -> TileResult:
        """Inverse of `arrays`, for a tile that was made with `layers`."""
        label, confidence, *others = arrays
        return cls(
            label,
            confidence,
            others.pop(0) if layers.proba else None,
            others.pop(0) if layers.threshold is not None else None,
        )


@dataclass(frozen=True)
class TileWork:
    """The function of a tile. Small to send: a process loads the engine once, and all its threads use it."""

    scene: Scene
    engine: EngineSpec
    layers: Layers
    near_shots: NearShots | None = None

    def __call__(self, tile: Tile) -> TileResult | None:
        """The pixels of `tile`, or None when none of them is valid."""
        if self.scene.bands_apart and not self.scene.may_be_valid(*tile).any():
            return None
        engine = self.engine.load()
        block = read_with_margin(self.scene, *tile, engine.margin, again=True)
        valid = inside(block.valid, engine.margin)
        if not valid.any():
            return None
        found = engine.probabilities(block, engine.margin)
        if self.near_shots is not None:
            found = self.near_shots.weigh(found, valid, tile.row, tile.column)
        label, sure = np.zeros(valid.shape, np.uint16), np.full(valid.shape, np.nan, np.float32)
        label[valid] = found.argmax(-1) + 1
        sure[valid] = confidence_of(found, self.layers.confidence)
        return TileResult(label, sure, self._every(found, valid), self._sets(found, valid))

    def _every(self, found: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32] | None:
        if not self.layers.proba:
            return None
        every = np.full((found.shape[1], *valid.shape), np.nan, np.float32)
        every[:, valid] = found.T
        return every

    def _sets(self, found: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint32] | None:
        if self.layers.threshold is None:
            return None
        members = np.zeros((found.shape[1], *valid.shape), bool)
        members[:, valid] = class_sets(found, self.layers.threshold).T
        return pack_sets(members)
