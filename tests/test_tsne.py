"""Neighbours stay neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness

from diffclip_geo.tsne import principal_plane, tsne


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    random = np.random.default_rng(0)
    centres = random.normal(size=(6, 20)) * 4
    return np.concatenate([centre + random.normal(size=(25, 20)) for centre in centres])


def test_neighbours_are_kept_as_well_as_by_scikit_learn(points: np.ndarray) -> None:
    ours = trustworthiness(points, tsne(points))
    theirs = trustworthiness(points, TSNE(init="pca", random_state=0).fit_transform(points))
    assert ours > 0.95 and ours > theirs - 0.02


def test_clusters_are_apart(points: np.ndarray) -> None:
    place = tsne(points).reshape(6, 25, 2)
    spread = place.std(axis=1).max()
    centres = place.mean(axis=1)
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)[~np.eye(6, dtype=bool)]
    assert gaps.min() > 3 * spread


def test_equal_data_give_equal_pictures(points: np.ndarray) -> None:
    np.testing.assert_array_equal(tsne(points[:40]), tsne(points[:40]))


def test_principal_plane(points: np.ndarray) -> None:
    theirs = PCA(2).fit_transform(points)
    np.testing.assert_allclose(np.abs(principal_plane(points)), np.abs(theirs), atol=1e-8)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_few_points(count: int) -> None:
    places = tsne(np.random.default_rng(0).normal(size=(count, 3)))
    assert places.shape == (count, 2) and np.isfinite(places).all()
