"""Kernel ridge regression on class indicators: a classifier in closed form, that nothing can send astray at two
shots per class.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .normalisation import Array

GAMMA = 0.5  # of the Gaussian kernel, in units of 1 / (2 · total variance of the scene)
ROWS = 1024  # pixels whose kernel is held at a time
RIDGE = 0.3  # for a class of average size


@dataclass(frozen=True)
class KernelRidge:
    """Scores of the classes: k(x, shots) · coefficients, in units of their spread over the unlabelled scene."""

    shots: Array  # [shots, F]
    coefficients: Array  # [shots, K]
    width: float

    def __call__(self, pixels: Array) -> Array:
        """Scores `[pixels, K]` of features `[pixels, F]`."""
        scores = np.zeros((len(pixels), self.coefficients.shape[1]), np.float32)
        for start in range(0, len(pixels), ROWS):
            piece = slice(start, start + ROWS)
            scores[piece] = gaussian_kernel(pixels[piece], self.shots, self.width) @ self.coefficients
        return scores


def fit_kernel_ridge(
    shots: Array, label: NDArray[np.integer], group: NDArray[np.integer], classes: int, scene: Array
) -> tuple[KernelRidge, Array]:
    """The classifier, and the scores `[N, K]` that each shot gets when its whole group (polygon) is left out of
    training.

    `shots` `[N, F]` belong to the classes `label` 0…K−1; `scene` `[M, F]` are unlabelled pixels that set width and
    units. The ridge grows with the size of a class, so that a class with few shots is not drowned by one with many.
    Leaving out is exact and in closed form: with A = K + ridge, the residuals of a group B are (A⁻¹_BB)⁻¹ (A⁻¹Y)_B.
    """
    size = np.bincount(label, minlength=classes)
    width = 2 * float(scene.var(0).sum()) / GAMMA
    kernel = gaussian_kernel(shots, shots, width)
    kernel[np.diag_indices_from(kernel)] += RIDGE * size[label] / size[size > 0].mean()
    target = np.eye(classes)[label] - 1 / classes
    inverse = np.linalg.inv(kernel)
    coefficients = inverse @ target
    held_out = np.empty_like(target)
    for one in np.unique(group):
        left = np.flatnonzero(group == one)
        held_out[left] = target[left] - np.linalg.solve(inverse[np.ix_(left, left)], coefficients[left])
    spread = max(float((gaussian_kernel(scene, shots, width) @ coefficients).std(0).mean()), 1e-12)
    return KernelRidge(shots, (coefficients / spread).astype(np.float32), width), (held_out / spread).astype(np.float32)


def gaussian_kernel(a: Array, b: Array, width: float) -> NDArray[np.float64]:
    """exp(−‖a − b‖² / width) of all pairs; `[N, F]`, `[M, F]` → `[N, M]`.

    In double precision: how a matrix product is rounded depends on a row's place in it, and so on the tile.
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    square = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T)
    kernel: NDArray[np.float64] = np.exp(-np.maximum(square, 0) / width)
    return kernel
