"""t-SNE in its exact form, for the few hundred points of a figure.

van der Maaten & Hinton (2008), "Visualizing Data using t-SNE", with their settings: early exaggeration, momentum, and
a gain for each coordinate. The start is the plane of the two first principal components, so that equal data give equal
pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_EXAGGERATION, _EARLY, _STEPS = 12.0, 250, 750
_TINY = 1e-12


def tsne(points: NDArray[np.floating], perplexity: float = 30.0) -> NDArray[np.float64]:
    """Places [N, 2] of points [N, D] in the plane; time and memory grow with N²."""
    given = np.asarray(points, np.float64)
    count = len(given)
    if count < 5:
        return principal_plane(given)
    shared = _neighbourhoods(given, min(perplexity, (count - 1) / 3))
    shared = np.maximum((shared + shared.T) / (2 * count), _TINY)
    place = principal_plane(given)
    place *= 1e-4 / max(place[:, 0].std(), _TINY)
    speed, gain = np.zeros_like(place), np.ones_like(place)
    rate = max(count / _EXAGGERATION / 4, 50.0)
    for step in range(_STEPS):
        early = step < _EARLY
        nearness = 1 / (1 + _squared_distances(place))
        np.fill_diagonal(nearness, 0)
        pull = ((_EXAGGERATION if early else 1.0) * shared - nearness / nearness.sum()) * nearness
        gradient = 4 * (pull.sum(axis=1)[:, None] * place - pull @ place)
        gain = np.maximum(np.where(gradient * speed < 0, gain + 0.2, gain * 0.8), 0.01)
        speed = (0.5 if early else 0.8) * speed - rate * gain * gradient
        place = place + speed
    return place - place.mean(axis=0)


def principal_plane(points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Coordinates [N, 2] on the two first principal components; the largest loading of each is positive."""
    centred = np.asarray(points, np.float64) - np.mean(points, axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[np.arange(len(axes[:2])), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    plane = centred @ axes.T
    return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))


def _squared_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = (points**2).sum(axis=1)
    distances: NDArray[np.float64] = np.maximum(norms[:, None] + norms - 2 * points @ points.T, 0)
    return distances


def _neighbourhoods(points: NDArray[np.float64], perplexity: float) -> NDArray[np.float64]:
    """Probability [N, N] that a point picks each other one as its neighbour, at the same perplexity for all."""
    distances = _squared_distances(points)
    np.fill_diagonal(distances, np.inf)
    low, high = np.zeros(len(points)), np.full(len(points), np.inf)
    sharpness = 1 / np.median(distances, axis=1).clip(_TINY)
    for _ in range(60):
        exponent = -(distances - distances.min(axis=1)[:, None]) * sharpness[:, None]
        weights = np.exp(exponent)
        weights /= weights.sum(axis=1)[:, None]
        entropy = -(weights * np.log(weights + _TINY)).sum(axis=1)
        too_wide = entropy > np.log(perplexity)
        low, high = np.where(too_wide, sharpness, low), np.where(too_wide, high, sharpness)
        sharpness = np.where(np.isinf(high), sharpness * 2, (low + high) / 2)
    return weights
