"""Which pixels to label next: uncertain, diverse, representative, and spread in space.

A pixel that is labelled teaches about the pixels that look like it. The points are chosen one by one so that what is
uncertain becomes covered: the gain of a candidate c is

    Σ_i u_i · max(0, k(x_i, x_c) − covered_i),    covered_i = max over labelled and chosen s of k(x_i, x_s)

over pixels i of the scene with uncertainty u_i, a facility-location function, for which greedy choice reaches at
least 1 − 1/e of the best set (Nemhauser et al. 1978). Pixels that are known already add little to the sum
(uncertain), neither do pixels like the chosen ones (diverse) or like nothing else (representative); spread is a least
distance on the ground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .kernel import gaussian_kernel
from .normalisation import Array

DEMAND = 4000  # pixels whose uncertainty is to be covered
CANDIDATES = 1500  # pixels to choose from
SHARPNESS = 8.0  # how much narrower than the classifier's the kernel is in which a label covers others


@dataclass(frozen=True)
class Pool:
    """Pixels that may be labelled: features `[M, F]`, uncertainty in [0, 1] `[M]`, and map coordinates `[M, 2]`."""

    features: Array
    uncertainty: Array
    place: NDArray[np.float64]


def uncertainty_of(probabilities: Array) -> Array:
    """1 − the margin between the two likeliest classes; `[M, K]` → `[M]`."""
    ordered = np.partition(probabilities, -2, axis=-1)
    uncertainty: Array = 1 - (ordered[..., -1] - ordered[..., -2])
    return uncertainty


def choose_points(
    pool: Pool,
    count: int,
    *,
    known: Array | None = None,
    known_place: NDArray[np.float64] | None = None,
    min_distance: float = 0.0,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Indices into the pool of at most `count` pixels, the most useful first.

    `known` `[L, F]` are the features of pixels with a label, `known_place` `[L, 2]` where they are; `min_distance`, in
    map units, is kept from them and among the chosen. Fewer are found when it leaves no room.
    """
    rng = np.random.default_rng(seed)
    size = len(pool.features)
    demand = np.sort(rng.permutation(size)[:DEMAND])
    # The most uncertain after a random draw, which keeps some of the others: a sure pixel may stand for uncertain ones.
    lot = np.log(np.maximum(pool.uncertainty, 1e-6)) + rng.gumbel(size=size)
    candidates = np.sort(np.argsort(-lot, kind="stable")[:CANDIDATES])
    width = max(2 * float(pool.features.var(0).sum()) / SHARPNESS, 1e-12)
    similar = gaussian_kernel(pool.features[demand], pool.features[candidates], width)
    covered = np.zeros(len(demand), np.float32)
    if known is not None and len(known):
        covered = gaussian_kernel(pool.features[demand], known, width).max(1)
    weight = pool.uncertainty[demand]
    free = np.ones(len(candidates), bool)
    if known_place is not None:
        for place in known_place:
            free &= _far(pool.place[candidates], place, min_distance)
    chosen: list[int] = []
    while len(chosen) < count and free.any():
        gain = weight @ np.maximum(similar - covered[:, None], 0)
        best = int(np.argmax(np.where(free, gain, -1)))
        chosen.append(int(candidates[best]))
        covered = np.maximum(covered, similar[:, best])
        free &= _far(pool.place[candidates], pool.place[candidates[best]], min_distance)
        free[best] = False
    return np.array(chosen, np.int64)


def _far(places: NDArray[np.float64], place: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
    far: NDArray[np.bool_] = np.hypot(*(places - place).T) >= least
    return far
