"""The kernel heads: what each compares, and how they are fitted and blended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .kernel import HeadScores, KernelRidge, Recipe, Similarity, fit_kernel_ridge
from .normalisation import Array
from .presets import BlendSettings
from .stacking import learn_weights

BRIGHTNESS_FREE, RAW = 0, 1  # the views, in order

RECIPES = {
    "kernel": Recipe((Similarity(BRIGHTNESS_FREE, "gaussian", 0.5),), ridge=0.03),
    "raw_kernel": Recipe((Similarity(RAW, "gaussian", 0.5),), ridge=0.03),
    "local_kernel": Recipe(
        (Similarity(BRIGHTNESS_FREE, "laplace", 1.0), Similarity(RAW, "laplace", 1.0, share=0.5)), ridge=0.1
    ),
    "context_kernel": Recipe(
        (
            Similarity(BRIGHTNESS_FREE, "laplace", 1.0, evenness=0.75),
            Similarity(RAW, "laplace", 1.0, share=0.5, evenness=0.75),
        ),
        ridge=0.1,
    ),
}


@dataclass(frozen=True)
class KernelHeads:
    """Kernel classifiers, each with its weight in the blend."""

    heads: tuple[KernelRidge, ...]
    weights: tuple[float, ...]

    def __call__(self, views: Sequence[Array]) -> Array:
        """Blended scores `[pixels, K]` of the features `[pixels, F]` of each view."""
        return _weighted_sum(self.weights, (head(views) for head in self.heads))


def head_weights(blend: BlendSettings) -> dict[str, float]:
    """The heads that a blend asks for, with the weights that they have until shots have their say."""
    return {name: weight for name in RECIPES if (weight := getattr(blend, name))}


def fit_kernel_heads(
    blend: BlendSettings,
    shots: Sequence[Array],
    label: NDArray[np.integer],
    group: NDArray[np.integer],
    classes: int,
    scene: Sequence[Array],
    scales: int,
) -> tuple[KernelHeads, HeadScores]:
    """The heads, with weights that the left-out shots bear out, and their blended scores.

    Arguments are those of `kernel.fit_kernel_ridge`, one array per view.
    """
    asked = head_weights(blend)
    heads, scores = zip(
        *(fit_kernel_ridge(RECIPES[name], shots, label, group, classes, scene, scales) for name in asked), strict=True
    )
    weights = learn_weights(tuple(asked.values()), scores, label, blend.freedom)
    far, near, over = (
        _weighted_sum(weights, (getattr(one, name) for one in scores)) for name in ("far", "near", "scene")
    )
    return KernelHeads(heads, weights), HeadScores(far, near, over)


def _weighted_sum(weights: Iterable[float], scores: Iterable[Array]) -> Array:
    first, *others = (weight * one for weight, one in zip(weights, scores, strict=True))
    return sum(others, start=first)
