"""Conformal class sets: for each pixel the classes that cannot be ruled out, so that a chosen share of the sets holds
the true class.

Split conformal prediction (Vovk et al. 2005; Sadinle et al. 2019 for the score 1 − probability of the class): a class
is in the set of a pixel when its probability is at least 1 − q, with q the ⌈(n + 1)·coverage⌉-th smallest score of n
shots that the scores were not trained on. The class on the map is always in the set. Shots of one polygon are alike,
so a polygon counts once, whatever its size (pooled distributions of Dunn et al. 2022); n is the number of polygons
and points.

What it promises and what not. The coverage is a mean, over scenes and labels, for pixels drawn as the shots were:
with shots balanced over the classes it is a mean over classes, not over the map; points on easy ground promise
nothing for hard ground. Below n = coverage / (1 − coverage) polygons (9 for 0.9) nothing can be ruled out, and every
set holds all classes; with some dozens the coverage of a single map still varies by several hundredths. Held-out
scores are those of the kernel heads, from training without the shot's polygon; the blend with the language model,
which is not trained again for each, is taken to be as sure and as right as they are. The weights of the heads and the
temperature, a handful of numbers, are fitted to these same scores, which flatters them a little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import OptionError
from .normalisation import Array


@dataclass(frozen=True)
class HeldOutShots:
    """Score of every shot, 1 − the probability of its class when its polygon was left out of training, and its
    polygon.
    """

    score: Array  # [N], float32
    group: NDArray[np.int64]  # [N]

    @classmethod
    def of(cls, probabilities: Array, label: NDArray[np.integer], group: NDArray[np.integer]) -> HeldOutShots:
        """From held-out probabilities `[N, K]` of shots of the classes `label` 0…K−1."""
        score = 1 - np.take_along_axis(probabilities, label[:, None], 1)[:, 0]
        return cls(score.astype(np.float32), group.astype(np.int64))

    @property
    def size(self) -> int:
        """Number of polygons and points."""
        return len(np.unique(self.group))

    def threshold(self, coverage: float) -> float:
        """The least probability with which a class is in a set; 0 when the shots are too few to rule out any.

        Raises OptionError for a coverage outside (0, 1).
        """
        if not 0 < coverage < 1:
            raise OptionError("--sets", f"is {coverage:g}", "give a coverage between 0 and 1, such as 0.9")
        _, owner, size = np.unique(self.group, return_inverse=True, return_counts=True)
        weight = 1 / size[owner]
        order = np.argsort(self.score, kind="stable")
        reached = np.cumsum(weight[order])
        wanted = math.ceil((self.size + 1) * coverage - 1e-9)
        if wanted > self.size:
            return 0.0
        place = int(np.searchsorted(reached, wanted - 1e-6))
        return float(1 - self.score[order[min(place, len(order) - 1)]])

    @staticmethod
    def fewest(coverage: float) -> int:
        """Polygons and points below which every set holds all classes."""
        return math.ceil(coverage / (1 - coverage) - 1e-9)


def class_sets(probabilities: Array, threshold: float) -> NDArray[np.bool_]:
    """Whether each class is in the set of a pixel; `[…, K]` → bool `[…, K]`. The likeliest class always is."""
    inside: NDArray[np.bool_] = probabilities >= np.float32(threshold) - np.float32(1e-6)
    np.put_along_axis(inside, probabilities.argmax(-1)[..., None], True, -1)
    return inside
