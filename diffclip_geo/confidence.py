"""Definitions of confidence: one number per pixel from its class probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def _max_prob(probabilities: Tensor) -> Tensor:
    return probabilities.amax(-1)


def _margin(probabilities: Tensor) -> Tensor:
    first, second = probabilities.topk(2, -1).values.unbind(-1)
    return first - second


def _entropy(probabilities: Tensor) -> Tensor:
    entropy = -torch.xlogy(probabilities, probabilities).sum(-1)
    return (1 - entropy / math.log(probabilities.shape[-1])).clamp(0, 1)


MEASURES: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "max-prob": (_max_prob, "probability of the class on the map"),
    "margin": (_margin, "probability of the class on the map minus that of the second class"),
    "entropy": (
        _entropy,
        "1 minus the entropy of the class probabilities divided by the logarithm of the number of classes",
    ),
}


def confidence_of(probabilities: Tensor, measure: str) -> Tensor:
    """Confidence of each pixel; `[pixels, K]` with K ≥ 2 → `[pixels]` in [0, 1]."""
    return MEASURES[measure][0](probabilities)
