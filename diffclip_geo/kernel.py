"""Kernel ridge regression on class indicators: a classifier in closed form, that nothing can send astray at two
shots per class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from .normalisation import Array

ROWS = 1024  # pixels whose kernel is held at a time


@dataclass(frozen=True)
class Similarity:
    """What makes pixels alike: a kernel on the features of one view.

    gaussian: exp(−γ ‖a − b‖² / 2V) with V the total variance over the scene. Smooth, it carries far from the shots.
    laplace: exp(−γ ‖a − b‖₁ / D) with D the mean distance from the median. Its peak at the shots and its independence
    of single features make it local, as ensembles of random trees are, whose partitions have it as their limit.
    """

    view: int
    metric: str
    gamma: float
    share: float = 1.0
    evenness: float = 0.0  # from 0, scales count as far as the scene is coherent there, to 1, all alike


@dataclass(frozen=True)
class Recipe:
    """A classifier by its similarities, of which the weighted mean is taken, and its ridge for a class of average
    size.
    """

    similarities: tuple[Similarity, ...]
    ridge: float


@dataclass(frozen=True)
class Term:
    """A similarity fitted to a scene, and the shots to compare with."""

    view: int
    metric: str
    share: float
    width: float
    scale: Array  # [F], multiplies the features
    shots: Array  # [shots, F], multiplied by it

    def __call__(self, pixels: Array) -> NDArray[np.float64]:
        """Similarity of features `[N, F]` to the shots, times the share; `[N, shots]`."""
        kernel = gaussian_kernel if self.metric == "gaussian" else laplace_kernel
        return self.share * kernel(pixels * self.scale, self.shots, self.width)


@dataclass(frozen=True)
class HeadScores:
    """What a classifier, or a blend of them, says of pixels that it was not trained on."""

    far: Array  # [N, K], of each shot when its whole group (polygon) is left out of training
    near: Array  # [N, K], of each shot when it alone is left out
    scene: Array  # [M, K], of unlabelled pixels

    @property
    def spread(self) -> float:
        """Mean standard deviation of the scores over the scene."""
        return max(float(self.scene.std(0).mean()), 1e-12)  # a scene may be the same everywhere


@dataclass(frozen=True)
class KernelRidge:
    """Scores of the classes: k(x, shots) · coefficients, in units of their spread over the unlabelled scene."""

    terms: tuple[Term, ...]
    coefficients: Array  # [shots, K]

    def __call__(self, views: Sequence[Array]) -> Array:
        """Scores `[pixels, K]` of the features `[pixels, F]` of each view."""
        count = len(views[self.terms[0].view])
        scores = np.zeros((count, self.coefficients.shape[1]), np.float32)
        for start in range(0, count, ROWS):
            piece = slice(start, start + ROWS)
            scores[piece] = kernel_of(self.terms, [view[piece] for view in views]) @ self.coefficients
        return scores


def kernel_of(terms: Sequence[Term], views: Sequence[Array]) -> NDArray[np.float64]:
    """Similarity `[N, shots]` of the features `[N, F]` of each view to the shots."""
    return sum((term(views[term.view]) for term in terms[1:]), start=terms[0](views[terms[0].view]))


def fit_kernel_ridge(
    recipe: Recipe,
    shots: Sequence[Array],
    label: NDArray[np.integer],
    group: NDArray[np.integer],
    classes: int,
    scene: Sequence[Array],
    scales: int = 1,
) -> tuple[KernelRidge, HeadScores]:
    """The classifier, and its scores of left-out shots and of the scene.

    `shots` `[N, F]` belong to the classes `label` 0…K−1; `scene` `[M, F]` are unlabelled pixels that set widths and
    units; both are one array per view, whose features are those of `scales` in turn. The ridge grows with the size of a
    class, so that a class with few shots is not drowned by one with many. Leaving out is exact and in closed form: with
    A = K + ridge, the residuals of a group B are (A⁻¹_BB)⁻¹ (A⁻¹Y)_B.
    """
    total = sum(one.share for one in recipe.similarities)
    terms = tuple(_fit_term(one, total, shots[one.view], scene[one.view], scales) for one in recipe.similarities)
    size = np.bincount(label, minlength=classes)
    kernel = kernel_of(terms, shots)
    kernel[np.diag_indices_from(kernel)] += recipe.ridge * size[label] / size[size > 0].mean()
    target = np.eye(classes)[label] - 1 / classes
    inverse = np.linalg.inv(kernel)
    coefficients = inverse @ target
    seen = kernel_of(terms, scene) @ coefficients
    spread = max(float(seen.std(0).mean()), 1e-12)
    far, near = (_left_out(inverse, coefficients, target, groups) for groups in (group, np.arange(len(label))))
    scores = HeadScores(*((one / spread).astype(np.float32) for one in (far, near, seen)))
    return KernelRidge(terms, (coefficients / spread).astype(np.float32)), scores


def _left_out(inverse: NDArray, coefficients: NDArray, target: NDArray, group: NDArray[np.integer]) -> NDArray:
    """Scores of each shot from training without its group."""
    scores = np.empty_like(target)
    for one in np.unique(group):
        left = np.flatnonzero(group == one)
        scores[left] = target[left] - np.linalg.solve(inverse[np.ix_(left, left)], coefficients[left])
    return scores


def _fit_term(similarity: Similarity, total: float, shots: Array, scene: Array, scales: int) -> Term:
    """Width and scales of a similarity, from the scene; its share as part of the `total` of all."""
    scale = np.ones(scene.shape[1], np.float32)
    if similarity.evenness:
        variance = scene.var(0, dtype=np.float64).reshape(scales, -1).sum(1)
        each = np.where(variance > 0, np.where(variance > 0, variance, 1) ** (-similarity.evenness / 2), 0)
        scale = np.repeat(each, scene.shape[1] // scales).astype(np.float32)
    seen = scene * scale
    if similarity.metric == "gaussian":
        width = 2 * float(seen.var(0).sum())
    else:
        width = float(np.abs(seen - np.median(seen, 0)).sum(1, dtype=np.float64).mean())
    width = max(width, 1e-12) / similarity.gamma
    return Term(similarity.view, similarity.metric, similarity.share / total, width, scale, shots * scale)


def gaussian_kernel(a: Array, b: Array, width: float) -> NDArray[np.float64]:
    """exp(−‖a − b‖² / width) of all pairs; `[N, F]`, `[M, F]` → `[N, M]`.

    In double precision: how a matrix product is rounded depends on a row's place in it, and so on the tile.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    square = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T)
    kernel: NDArray[np.float64] = np.exp(-np.maximum(square, 0) / width)
    return kernel


def laplace_kernel(a: Array, b: Array, width: float) -> NDArray[np.float64]:
    """exp(−‖a − b‖₁ / width) of all pairs; `[N, F]`, `[M, F]` → `[N, M]`."""
    kernel: NDArray[np.float64] = np.exp(-cdist(a, b, "cityblock") / width)
    return kernel
