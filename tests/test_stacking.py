import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffclip_geo.kernel import HeadScores
from diffclip_geo.stacking import learn_weights


def scores(seed, label, signal, *, classes=3):
    """Scores of a head, its shots the surer the larger the `signal`, of unit spread over the scene."""
    rng = np.random.default_rng(seed)
    far, near = (
        (signal * np.eye(classes)[label] + rng.normal(size=(len(label), classes))).astype(np.float32) for _ in range(2)
    )
    scene = rng.normal(size=(500, classes)).astype(np.float32)
    return HeadScores(far, near, scene)


def test_the_head_that_knows_left_out_shots_gains_weight_and_all_the_more_with_many():
    share = []
    for shots in (2, 20, 200):
        label = np.repeat([0, 1, 2], shots)
        weights = learn_weights((1.0, 1.0), [scores(0, label, 2.0), scores(1, label, 0.0)], label, 1.0)
        assert sum(weights) == pytest.approx(2)
        share.append(weights[0])
    assert 1 < share[0] < 1.5 < share[1] < share[2]


def test_what_holds_within_polygons_alone_counts_less_than_what_holds_between_them():
    label = np.repeat([0, 1, 2], 20)
    both, far_idle = scores(0, label, 2.0), scores(1, label, 0.0)
    near_alone = HeadScores(far_idle.far, scores(2, label, 2.0).near, both.scene)
    nothing = scores(3, label, 0.0)
    weights = learn_weights((1.0, 1.0, 1.0), [both, near_alone, nothing], label, 1.0)
    assert weights[0] > weights[1] > weights[2]


def test_without_freedom_or_without_a_choice_nothing_moves():
    label = np.repeat([0, 1, 2], 20)
    heads = [scores(0, label, 2.0), scores(1, label, 0.0)]
    assert learn_weights((1.5, 0.5), heads, label, 0.0) == (1.5, 0.5)
    assert learn_weights((1.5,), heads[:1], label, 1.0) == (1.5,)


@given(st.integers(0, 50), st.floats(0.1, 10))
def test_the_unit_of_the_scores_does_not_matter(seed, unit):
    label = np.repeat([0, 1, 2], [2, 9, 4])
    heads = [scores(2 * seed, label, 1.0), scores(2 * seed + 1, label, 0.5)]
    scaled = [HeadScores(*(np.float32(unit) * part for part in vars(one).values())) for one in heads]
    expected = learn_weights((1.0, 0.5), heads, label, 1.0)
    assert learn_weights((1.0, 0.5), scaled, label, 1.0) == pytest.approx(expected, rel=1e-2)


def test_classes_count_alike_however_many_shots_they_have():
    rng = np.random.default_rng(0)
    knows, idle = np.array([3.0, 0.0]) + rng.normal(size=(4, 2)), rng.normal(size=(4, 2))
    first, second = np.concatenate([knows, idle[:, ::-1]]), np.concatenate([idle, knows[:, ::-1]])
    scene = rng.normal(size=(100, 2)).astype(np.float32)
    often = np.repeat(np.arange(8), [10] * 4 + [1] * 4)  # the first class, that the first head knows, ten times
    heads = [HeadScores(*2 * (one[often].astype(np.float32),), scene) for one in (first, second)]
    weights = learn_weights((1.0, 1.0), heads, (often >= 4).astype(int), 1.0)
    assert weights == pytest.approx((1.0, 1.0), abs=1e-3)
