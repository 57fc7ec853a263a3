"""Definitions of confidence: one number per pixel from its class probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .normalisation import Array


def _max_prob(probabilities: Array) -> Array:
    best: Array = probabilities.max(-1)
    return best


def _margin(probabilities: Array) -> Array:
    ordered = np.partition(probabilities, -2, axis=-1)
    lead: Array = ordered[:, -1] - ordered[:, -2]
    return lead


def _entropy(probabilities: Array) -> Array:
    logarithms = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    entropy = -(probabilities * logarithms).sum(-1)
    return np.clip(1 - entropy / math.log(probabilities.shape[-1]), 0, 1)


MEASURES: dict[str, tuple[Callable[[Array], Array], str]] = {
    "max-prob": (_max_prob, "probability of the class on the map"),
    "margin": (_margin, "probability of the class on the map minus that of the second class"),
    "entropy": (
        _entropy,
        "1 minus the entropy of the class probabilities divided by the logarithm of the number of classes",
    ),
}


def confidence_of(probabilities: Array, measure: str) -> Array:
    """Confidence of each pixel; `[pixels, K]` with K ≥ 2 → `[pixels]` in [0, 1]."""
    return MEASURES[measure][0](probabilities)
