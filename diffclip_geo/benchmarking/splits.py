"""Which pixels train and which test: few shots per class, drawn at random or from separate ground."""

from __future__ import annotations

import numpy as np

from .cases import Int

SPLITS = {
    "random": "shots drawn from all labelled pixels; their neighbours are tested",
    "group": "polygons, blocks or plots dealt into two halves: shots from one, tests on the other",
}
_DEALS = 1000  # attempts to have every class in both halves


def few_shot_split(truth: Int, group: Int, shots: int, seed: int, split: str) -> tuple[Int, Int]:
    """Pixels to train on and pixels to test on, from the class 1…K (0: unlabelled) and spatial unit of all pixels.

    `shots` pixels per class are drawn, half of a class where it has fewer than twice as many, but at least one; all
    other labelled pixels are tested, in the split "group" those of the other half. A class that stands in one unit
    only is, there, in one half only.
    """
    random = np.random.default_rng(seed)
    labelled = truth > 0
    drawn, tested = labelled, labelled
    if split == "group":
        units, member = np.unique(group, return_inverse=True)
        for _ in range(_DEALS):
            first_half = (random.random(len(units)) < 0.5)[member]
            if (labelled & first_half).any() and (labelled & ~first_half).any():
                drawn, tested = labelled & first_half, labelled & ~first_half
                if np.array_equal(np.unique(truth[drawn]), np.unique(truth[tested])):
                    break
    size = np.bincount(truth[drawn])
    training = [
        random.choice(np.flatnonzero(drawn & (truth == one)), min(shots, max(1, size[one] // 2)), replace=False)
        for one in np.unique(truth[drawn])
    ]
    train = np.concatenate(training)
    return train, np.setdiff1d(np.flatnonzero(tested), train)
