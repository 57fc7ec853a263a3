import numpy as np
import pytest

from diffclip_geo.temperature import fit_temperature, map_temperature, softmax


def test_softmax_is_stable_and_sums_to_one():
    found = softmax(np.array([[1000.0, 1000.0], [0.0, np.log(3.0)]], np.float32))
    assert found == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_the_temperature_of_many_shots_is_found_again(temperature):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(6000, 4)).astype(np.float32) * 3
    probability = softmax(scores / temperature)
    label = (probability.cumsum(1) < rng.random((6000, 1))).sum(1).clip(max=3)
    for spread in (0.5, 1.0, 3.0):
        assert fit_temperature(scores, label, spread) == pytest.approx(temperature, rel=0.15)


def test_a_few_shots_that_are_all_right_do_not_make_it_certain():
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2] * 2]
    label = np.array([0, 1, 2] * 2)
    assert 0.15 < fit_temperature(scores, label, 1.0) < 0.8
    assert fit_temperature(7 * scores, label, 7.0) == pytest.approx(7 * fit_temperature(scores, label, 1.0))


def test_a_map_is_taken_to_lie_half_near_the_shots_and_half_far_from_them():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 3, 60)
    near = 3 * np.eye(3)[label] + rng.normal(size=(60, 3))
    far = np.eye(3)[label] + rng.normal(size=(60, 3))
    both = [fit_temperature(one, label, 1.0) for one in (near, far)]
    assert both[0] < map_temperature(far, near, label, 1.0) < both[1]
    assert map_temperature(near, near, label, 1.0) == pytest.approx(both[0])
