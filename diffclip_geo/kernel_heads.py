"""The kernel heads: what each compares, and how they are fitted and blended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .kernel import HeadScores, KernelRidge, Recipe, Similarity, fit_kernel_ridge
from .normalisation import Array
from .presets import BlendSettings
from .stacking import learn_weights

BRIGHTNESS_FREE, RAW = PLAIN = 0, 1  # the views, in order; in plots, those relative to the surroundings follow

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

    Arguments are those of `kernel.fit_kernel_ridge`, one array per view. With relative views, every head has a twin on
    these, which counts as much, times what `blend` says, until shots have their say.
    """
    asked = head_weights(blend)
    recipes, prior = [RECIPES[name] for name in asked], tuple(asked.values())
    if blend.relative and len(scene) > len(PLAIN):
        recipes += map(_on_relative_views, recipes.copy())
        prior += tuple(blend.relative * weight for weight in prior)
    heads, scores = zip(
        *(fit_kernel_ridge(recipe, shots, label, group, classes, scene, scales) for recipe in recipes), strict=True
    )
    weights = learn_weights(prior, scores, label, blend.freedom)
    far, near, over = (
        _weighted_sum(weights, (getattr(one, name) for one in scores)) for name in ("far", "near", "scene")
    )
    return KernelHeads(heads, weights), HeadScores(far, near, over)


def _on_relative_views(recipe: Recipe) -> Recipe:
    moved = (replace(one, view=one.view + len(PLAIN)) for one in recipe.similarities)
    return replace(recipe, similarities=tuple(moved))


def _weighted_sum(weights: Iterable[float], scores: Iterable[Array]) -> Array:
    first, *others = (weight * one for weight, one in zip(weights, scores, strict=True))
    return sum(others, start=first)
