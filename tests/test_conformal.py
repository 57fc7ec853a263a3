import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffclip_geo.conformal import HeldOutShots, class_sets
from diffclip_geo.errors import OptionError


def drawn(rng, count, classes=5, sharpness=2.0):
    """Labels, and probabilities that know something of them but are far too sure."""
    label = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes))
    logits[np.arange(count), label] += 1.5
    return softmax(sharpness * logits), label


def softmax(logits):
    exponential = np.exp(logits - logits.max(1, keepdims=True))
    return (exponential / exponential.sum(1, keepdims=True)).astype(np.float32)


def covered(probabilities, label, threshold):
    return class_sets(probabilities, threshold)[np.arange(len(label)), label]


def test_the_threshold_by_hand():
    # Nine shots with probabilities 0.1 … 0.9 of their class: (9 + 1)·0.9 = 9 of 9 must be inside, (9 + 1)·0.5 = 5.
    shots = HeldOutShots(1 - np.arange(1, 10, dtype=np.float32) / 10, np.arange(9))
    assert shots.threshold(0.9) == pytest.approx(0.1)
    assert shots.threshold(0.5) == pytest.approx(0.5)
    assert shots.threshold(0.91) == 0.0  # too few


def test_scores_are_what_the_true_class_lacks():
    shots = HeldOutShots.of(np.array([[0.7, 0.3], [0.9, 0.1]], np.float32), np.array([0, 1]), np.array([3, 4]))
    np.testing.assert_allclose(shots.score, [0.3, 0.9], rtol=1e-6)
    assert shots.size == 2


def test_the_likeliest_class_is_always_in_the_set():
    inside = class_sets(np.array([[0.4, 0.3, 0.3], [0.1, 0.8, 0.1]], np.float32), 0.9)
    np.testing.assert_array_equal(inside, [[True, False, False], [False, True, False]])
    assert class_sets(np.array([[0.5, 0.5, 0.0]], np.float32), 0.0).all()


@pytest.mark.parametrize("coverage", [0.7, 0.9])
@pytest.mark.parametrize("shots", [12, 60])
def test_exchangeable_pixels_are_covered_as_often_as_promised(coverage, shots):
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        probabilities, label = drawn(rng, shots + 100)
        held_out = HeldOutShots.of(probabilities[:shots], label[:shots], np.arange(shots))
        found.append(covered(probabilities[shots:], label[shots:], held_out.threshold(coverage)).mean())
    error = np.std(found) / np.sqrt(len(found))
    assert coverage - 3 * error <= np.mean(found)  # the theorem; sets hold the likeliest class besides
    assert np.mean(found) <= coverage + 1 / (shots + 1) + 0.03


def test_polygons_of_alike_pixels_count_once():
    rng = np.random.default_rng(0)
    naive, pooled = [], []
    for _ in range(300):
        probabilities, label = drawn(rng, 60)
        size = np.where(np.arange(30) == 0, 500, 1)  # one large polygon, its pixels all alike
        group = np.repeat(np.arange(30), size)
        score = HeldOutShots.of(probabilities[:30], label[:30], np.arange(30)).score[group]
        naive.append(covered(probabilities[30:], label[30:], HeldOutShots(score, np.arange(len(group))).threshold(0.8)))
        pooled.append(covered(probabilities[30:], label[30:], HeldOutShots(score, group).threshold(0.8)))
    assert np.mean(pooled) == pytest.approx(25 / 31, abs=0.02)
    assert np.mean(naive) < 0.75


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
    st.floats(0.01, 0.99),
    st.randoms(use_true_random=False),
)
def test_more_coverage_is_never_a_smaller_set_and_order_does_not_matter(scores, one, other, random):
    shots = HeldOutShots(np.array(scores, np.float32), np.arange(len(scores)) // 2)
    low, high = sorted([one, other])
    assert shots.threshold(high) <= shots.threshold(low)
    order = np.array(random.sample(range(len(scores)), len(scores)))
    assert HeldOutShots(shots.score[order], shots.group[order]).threshold(one) == shots.threshold(one)


@pytest.mark.parametrize(("coverage", "least"), [(0.9, 9), (0.95, 19), (0.5, 1), (0.99, 99)])
def test_the_fewest_shots_that_rule_out_anything(coverage, least):
    assert HeldOutShots.fewest(coverage) == least
    for count in (least - 1, least):
        shots = HeldOutShots(np.full(count, 0.25, np.float32), np.arange(count))
        assert shots.threshold(coverage) == (0.75 if count == least else 0.0)


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 90])
def test_a_coverage_is_a_share(coverage):
    with pytest.raises(OptionError, match=r"--sets: is .*; give a coverage between 0 and 1, such as 0\.9"):
        HeldOutShots(np.zeros(3, np.float32), np.arange(3)).threshold(coverage)
