import numpy as np
import pytest

from diffclip_geo import kernel
from diffclip_geo.kernel import RIDGE, fit_kernel_ridge, gaussian_kernel


@pytest.fixture
def shots():
    """Features, classes and polygons of 30 shots of classes of 20, 8 and 2; and unlabelled pixels."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [20, 8, 2])
    features = (rng.normal(size=(30, 4)) + label[:, None]).astype(np.float32)
    scene = (rng.normal(size=(500, 4)) + rng.integers(0, 3, (500, 1))).astype(np.float32)
    return features, label, np.arange(30) // 3, scene


def test_the_gaussian_kernel_of_all_pairs():
    a, b = np.array([[0, 0], [3, 4]], np.float32), np.array([[0, 0], [0, 4], [3, 4]], np.float32)
    assert gaussian_kernel(a, b, 50.0) == pytest.approx(np.exp(-np.array([[0, 16, 25], [25, 9, 0]]) / 50), rel=1e-5)


def test_scores_of_left_out_polygons_equal_a_fit_without_them(shots):
    features, label, group, scene = shots
    fitted, held_out = fit_kernel_ridge(features, label, group, 3, scene)
    size = np.bincount(label)
    matrix = gaussian_kernel(features, features, fitted.width).astype(np.float64)
    target = np.eye(3)[label] - 1 / 3
    whole = matrix + np.diag(RIDGE * size[label] / size.mean())
    units = np.linalg.solve(whole, target)[0] / fitted.coefficients[0]
    for one in np.unique(group):
        left, rest = group == one, group != one
        refitted = matrix[np.ix_(left, rest)] @ np.linalg.solve(whole[np.ix_(rest, rest)], target[rest])
        assert held_out[left] == pytest.approx(refitted / units, abs=1e-3)


def test_scores_have_unit_spread_over_the_scene_and_tell_the_classes_apart(shots):
    features, label, group, scene = shots
    fitted, _ = fit_kernel_ridge(features, label, group, 3, scene)
    assert fitted(scene).std(0).mean() == pytest.approx(1, rel=1e-3)
    assert (fitted(features).argmax(1) == label).mean() > 0.8
    assert (fitted(features)[label == 2].argmax(1) == 2).all()  # two shots are not drowned by twenty


def test_a_pixel_scores_the_same_in_any_company(shots, monkeypatch):
    features, label, group, scene = shots
    fitted, _ = fit_kernel_ridge(features, label, group, 3, scene)
    together = fitted(scene)
    for part in (slice(0, 1), slice(3, 77), slice(0, 0)):
        assert fitted(scene[part]) == pytest.approx(together[part], abs=1e-5)
        assert fitted(scene[part]).shape[1] == 3
    monkeypatch.setattr(kernel, "ROWS", 64)
    assert fitted(scene) == pytest.approx(together, abs=1e-5)
