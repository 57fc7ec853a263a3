"""The kernel heads: what each compares, and how they are fitted and blended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .kernel import KernelRidge, Recipe, Similarity, fit_kernel_ridge
from .normalisation import Array
from .presets import BlendSettings

BRIGHTNESS_FREE, RAW = 0, 1  # the views, in order

RECIPES = {
    "kernel": Recipe((Similarity(BRIGHTNESS_FREE, "gaussian", 0.5),), ridge=0.3),
    "raw_kernel": Recipe((Similarity(RAW, "gaussian", 0.5),), ridge=0.3),
    "local_kernel": Recipe(
        (Similarity(BRIGHTNESS_FREE, "laplace", 1.0), Similarity(RAW, "laplace", 1.0, share=0.5)), ridge=0.1
    ),
    "context_kernel": Recipe((Similarity(BRIGHTNESS_FREE, "laplace", 1.0, equal_scales=True),), ridge=0.1),
}


@dataclass(frozen=True)
class KernelHeads:
    """Kernel classifiers, each with its weight in the blend."""

    heads: tuple[KernelRidge, ...]
    weights: tuple[float, ...]

    def __call__(self, views: Sequence[Array]) -> Array:
        """Blended scores `[pixels, K]` of the features `[pixels, F]` of each view."""
        first, *others = (weight * head(views) for weight, head in zip(self.weights, self.heads, strict=True))
        return sum(others, start=first)


def head_weights(blend: BlendSettings) -> dict[str, float]:
    """The heads that a blend asks for, with their weights."""
    return {name: weight for name in RECIPES if (weight := getattr(blend, name))}


def fit_kernel_heads(
    blend: BlendSettings,
    shots: Sequence[Array],
    label: NDArray[np.integer],
    group: NDArray[np.integer],
    classes: int,
    scene: Sequence[Array],
    scales: int,
) -> tuple[KernelHeads, Array]:
    """The heads, and the blended scores `[N, K]` of the shots when their polygons are left out of training.

    Arguments are those of `kernel.fit_kernel_ridge`, one array per view.
    """
    weights = head_weights(blend)
    fitted = [fit_kernel_ridge(RECIPES[name], shots, label, group, classes, scene, scales) for name in weights]
    first, *others = (weight * left_out for weight, (_, left_out) in zip(weights.values(), fitted, strict=True))
    return KernelHeads(tuple(head for head, _ in fitted), tuple(weights.values())), sum(others, start=first)
