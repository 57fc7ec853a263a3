"""Calibration without extra labels: a temperature for the class scores, from shots that were left out of training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .normalisation import Array

GRID = np.geomspace(0.05, 5, 60)
PRIOR, PRIOR_WIDTH, PRIOR_WEIGHT = 0.5, 0.7, 4.0  # a log-normal prior worth a few shots, for two shots per class


def fit_temperature(scores: Array, label: NDArray[np.integer]) -> float:
    """The temperature that makes softmax(scores / T) most likely for held-out `scores` `[N, K]` of the classes `label`
    `[N]`.

    Classes count alike, however many shots they have.
    """
    size = np.bincount(label, minlength=scores.shape[1])
    weight = len(label) / (size > 0).sum() / size[label]
    losses = [
        (weight * _negative_log_likelihood(scores / temperature, label)).sum()
        + PRIOR_WEIGHT * (np.log(temperature / PRIOR) / PRIOR_WIDTH) ** 2 / 2
        for temperature in GRID
    ]
    return float(GRID[int(np.argmin(losses))])


def softmax(scores: Array) -> Array:
    """Probabilities over the last axis."""
    exponential = np.exp(scores - scores.max(-1, keepdims=True))
    probability: Array = exponential / exponential.sum(-1, keepdims=True)
    return probability


def _negative_log_likelihood(scores: Array, label: NDArray[np.integer]) -> Array:
    top = scores.max(-1, keepdims=True)
    total = np.log(np.exp(scores - top).sum(-1)) + top[:, 0]
    loss: Array = total - np.take_along_axis(scores, label[:, None], 1)[:, 0]
    return loss
