"""Calibration without extra labels: a temperature for the class scores, from shots that were left out of training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .normalisation import Array

GRID = np.geomspace(0.05, 6, 80)  # temperatures that are tried, in units of the scores' spread over the scene
PRIOR, PRIOR_WIDTH, PRIOR_WEIGHT = 0.8, 0.7, 4.0  # a log-normal prior worth a few shots, for two shots per class


def map_temperature(far: Array, near: Array, label: NDArray[np.integer], spread: float) -> float:
    """The temperature for a map, of which part is near the shots and part is not.

    `far` `[N, K]` are scores that shots of the classes `label` `[N]` got when their whole polygon was left out of
    training, `near` those when they alone were. The first are too unsure for pixels beside a shot, the second too sure
    for those of other polygons; the temperature is the geometric mean of both.
    """
    return float(np.sqrt(fit_temperature(far, label, spread) * fit_temperature(near, label, spread)))


def fit_temperature(scores: Array, label: NDArray[np.integer], spread: float) -> float:
    """The temperature that makes softmax(scores / T) most likely for held-out `scores` `[N, K]` of the classes `label`
    `[N]`.

    `spread` is that of the scores over the scene. Classes count alike, however many shots they have.
    """
    return float(GRID[int(np.argmin(_losses(scores, label, spread)))]) * spread


def best_loss(scores: Array, label: NDArray[np.integer], spread: float) -> float:
    """The loss that `fit_temperature` leaves: negative log-likelihood of all labels, and that of the prior."""
    return float(np.min(_losses(scores, label, spread)))


def class_balance(label: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """Weights of shots of the classes `label`, 1 in the mean, with which all classes that have a shot count alike."""
    size = np.bincount(label, minlength=classes)
    weight: NDArray[np.float64] = len(label) / (size > 0).sum() / size[label]
    return weight


def softmax(scores: Array) -> Array:
    """Probabilities over the last axis."""
    exponential = np.exp(scores - scores.max(-1, keepdims=True))
    probability: Array = exponential / exponential.sum(-1, keepdims=True)
    return probability


def _losses(scores: Array, label: NDArray[np.integer], spread: float) -> list[float]:
    """At the temperatures of the grid."""
    weight = class_balance(label, scores.shape[1])
    return [
        float((weight * _negative_log_likelihood(scores / (temperature * spread), label)).sum())
        + PRIOR_WEIGHT * float(np.log(temperature / PRIOR) / PRIOR_WIDTH) ** 2 / 2
        for temperature in GRID
    ]


def _negative_log_likelihood(scores: Array, label: NDArray[np.integer]) -> Array:
    top = scores.max(-1, keepdims=True)
    total = np.log(np.exp(scores - top).sum(-1)) + top[:, 0]
    loss: Array = total - np.take_along_axis(scores, label[:, None], 1)[:, 0]
    return loss
