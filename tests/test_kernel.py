import numpy as np
import pytest
from scipy.spatial.distance import cdist

from diffclip_geo import kernel
from diffclip_geo.kernel import Recipe, Similarity, fit_kernel_ridge, gaussian_kernel, kernel_of, laplace_kernel

GAUSSIAN = Recipe((Similarity(0, "gaussian", 0.5),), ridge=0.3)
BOTH = Recipe((Similarity(0, "gaussian", 0.5), Similarity(1, "laplace", 1.0, 0.5, evenness=1.0)), ridge=0.1)


@pytest.fixture
def shots():
    """Features in two views, classes and polygons of 30 shots of classes of 20, 8 and 2; and unlabelled pixels."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], [20, 8, 2])
    features = (rng.normal(size=(30, 4)) + label[:, None]).astype(np.float32)
    scene = (rng.normal(size=(500, 4)) + rng.integers(0, 3, (500, 1))).astype(np.float32)
    return [features, features[:, ::-1] ** 3], label, np.arange(30) // 3, [scene, scene[:, ::-1] ** 3]


def test_kernels_of_all_pairs():
    a, b = np.array([[0, 0], [3, 4]], np.float32), np.array([[0, 0], [0, 4], [3, 4]], np.float32)
    assert gaussian_kernel(a, b, 50.0) == pytest.approx(np.exp(-np.array([[0, 16, 25], [25, 9, 0]]) / 50), rel=1e-5)
    assert laplace_kernel(a, b, 50.0) == pytest.approx(np.exp(-np.array([[0, 4, 7], [7, 3, 0]]) / 50), rel=1e-9)


def test_widths_are_those_of_the_scene_and_shares_add_up_to_one(shots):
    views, label, group, scene = shots
    fitted, *_ = fit_kernel_ridge(BOTH, views, label, group, 3, scene, scales=2)
    gaussian, laplace = fitted.terms
    assert gaussian.width == pytest.approx(2 * scene[0].var(0).sum() / 0.5, rel=1e-4)
    blocks = (scene[1] * laplace.scale).reshape(500, 2, 2).var(0).sum(1)
    assert blocks == pytest.approx([1, 1], rel=1e-3)  # every scale counts alike
    middle = np.median(scene[1] * laplace.scale, 0)
    assert laplace.width == pytest.approx(cdist(scene[1] * laplace.scale, middle[None], "cityblock").mean(), rel=1e-4)
    assert kernel_of(fitted.terms, views)[np.diag_indices(30)] == pytest.approx(np.ones(30), rel=1e-4)
    assert gaussian.share == pytest.approx(2 / 3)


@pytest.mark.parametrize("evenness", [0.0, 0.75, 1.0])
def test_evenness_goes_from_the_shares_of_the_view_to_equal_ones(shots, evenness):
    views, label, group, scene = shots
    scene[0][:, 2:] *= 0.1
    recipe = Recipe((Similarity(0, "laplace", 1.0, evenness=evenness),), ridge=0.1)
    fitted, *_ = fit_kernel_ridge(recipe, views, label, group, 3, scene, scales=2)
    before = scene[0].reshape(500, 2, 2).var(0).sum(1)
    after = (scene[0] * fitted.terms[0].scale).reshape(500, 2, 2).var(0).sum(1)
    assert after[0] / after[1] == pytest.approx((before[0] / before[1]) ** (1 - evenness), rel=1e-3)


def test_a_scale_that_is_switched_off_stays_off(shots):
    views, label, group, scene = shots
    views[1][:, 2:] = scene[1][:, 2:] = 0
    fitted, *_ = fit_kernel_ridge(BOTH, views, label, group, 3, scene, scales=2)
    assert fitted.terms[1].scale[2:].tolist() == [0, 0] and np.isfinite(fitted(scene)).all()


@pytest.mark.parametrize("recipe", [GAUSSIAN, BOTH])
def test_scores_of_left_out_polygons_and_shots_equal_a_fit_without_them(shots, recipe):
    views, label, group, scene = shots
    fitted, found = fit_kernel_ridge(recipe, views, label, group, 3, scene, scales=2)
    held_out = found.far, found.near
    size = np.bincount(label)
    matrix = kernel_of(fitted.terms, views)
    target = np.eye(3)[label] - 1 / 3
    whole = matrix + np.diag(recipe.ridge * size[label] / size.mean())
    units = np.linalg.solve(whole, target)[0] / fitted.coefficients[0]
    for owner, scores in zip((group, np.arange(30)), held_out, strict=True):
        for one in np.unique(owner):
            left, rest = owner == one, owner != one
            refitted = matrix[np.ix_(left, rest)] @ np.linalg.solve(whole[np.ix_(rest, rest)], target[rest])
            assert scores[left] == pytest.approx(refitted / units, abs=1e-3)


@pytest.mark.parametrize("recipe", [GAUSSIAN, BOTH])
def test_scores_have_unit_spread_over_the_scene_and_tell_the_classes_apart(shots, recipe):
    views, label, group, scene = shots
    fitted, found = fit_kernel_ridge(recipe, views, label, group, 3, scene)
    assert fitted(scene).std(0).mean() == pytest.approx(1, rel=1e-3)
    assert found.scene == pytest.approx(fitted(scene), abs=1e-5) and found.spread == pytest.approx(1, rel=1e-3)
    assert (fitted(views).argmax(1) == label).mean() > 0.8
    assert (fitted(views).argmax(1)[label == 2] == 2).all()  # two shots are not drowned by twenty


@pytest.mark.parametrize("recipe", [GAUSSIAN, BOTH])
def test_a_pixel_scores_the_same_in_any_company(shots, recipe, monkeypatch):
    views, label, group, scene = shots
    fitted, *_ = fit_kernel_ridge(recipe, views, label, group, 3, scene)
    together = fitted(scene)
    for part in (slice(0, 1), slice(3, 77), slice(0, 0)):
        found = fitted([view[part] for view in scene])
        assert found == pytest.approx(together[part], abs=1e-5) and found.shape[1] == 3
    monkeypatch.setattr(kernel, "ROWS", 64)
    assert fitted(scene) == pytest.approx(together, abs=1e-5)
