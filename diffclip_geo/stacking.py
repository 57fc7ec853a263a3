"""Weights of the kernel heads, learned from shots that were left out of their training (stacked generalisation, Wolpert
1992).

Which head tells classes apart best differs between scenes: smooth ones where classes are compact, those with brightness
where bands are few. What a head says of a shot that it was trained on tells nothing about it; what it says of a shot
that was left out does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from .kernel import HeadScores
from .temperature import PRIOR, PRIOR_WEIGHT, PRIOR_WIDTH, class_balance

Vector = NDArray[np.float64]


def learn_weights(
    prior: Sequence[float], scores: Sequence[HeadScores], label: NDArray[np.integer], freedom: float
) -> tuple[float, ...]:
    """The likeliest weights of heads whose left-out shots have the classes `label`; their sum is that of the `prior`.

    Minimised over the weights w and a temperature T is the negative log-likelihood of softmax(Σ w·s / T), the mean over
    shots left out with their polygons and shots left out alone, classes counting alike; and that of the priors, which
    are log-normal: log w around the `prior` with standard deviation `freedom` (0: they stay as they are), log T as in
    `temperature`. From few shots the weights remain near the prior.
    """
    start = np.array(prior, np.float64)
    if not freedom or len(start) < 2:
        return tuple(prior)
    far, near, scene = (np.stack([getattr(one, name) for one in scores]) for name in ("far", "near", "scene"))
    held_out = [one.astype(np.float64) for one in (far, near)]
    spread = HeadScores(*(np.tensordot(start, one, 1) for one in (far, near, scene))).spread
    target = np.eye(held_out[0].shape[2])[label]
    shot = class_balance(label, target.shape[1])

    def loss(point: Vector) -> tuple[float, Vector]:
        """Loss and gradient at the logarithms of w / prior and, last, of T / (its prior · the spread of the scores)."""
        weights, temperature = start * np.exp(point[:-1]), np.exp(point[-1]) * PRIOR * spread
        value, slope = 0.0, np.zeros_like(point)
        for each in held_out:
            parts = weights[:, None, None] * each / temperature  # [heads, N, K]
            logits = parts.sum(0)
            logits -= logits.max(1, keepdims=True)
            log_probability = logits - np.log(np.exp(logits).sum(1, keepdims=True))
            value -= float((shot * (log_probability * target).sum(1)).sum()) / 2
            by_head = np.einsum("nk,hnk->h", shot[:, None] * (np.exp(log_probability) - target), parts) / 2
            slope += np.append(by_head, -by_head.sum())
        value += float((point[:-1] ** 2).sum()) / freedom**2 / 2 + PRIOR_WEIGHT * (point[-1] / PRIOR_WIDTH) ** 2 / 2
        slope += np.append(point[:-1] / freedom**2, PRIOR_WEIGHT * point[-1] / PRIOR_WIDTH**2)
        return value, slope

    found = minimize(loss, np.zeros(len(start) + 1), jac=True, method="L-BFGS-B")
    learned = start * np.exp(found.x[:-1])
    return tuple(float(one) for one in learned * start.sum() / learned.sum())
