import numpy as np
import pytest

from diffclip_geo.temperature import fit_temperature, softmax


def test_softmax_is_stable_and_sums_to_one():
    found = softmax(np.array([[1000.0, 1000.0], [0.0, np.log(3.0)]], np.float32))
    assert found == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_the_temperature_of_many_shots_is_found_again(temperature):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(6000, 4)).astype(np.float32) * 3
    probability = softmax(scores / temperature)
    label = (probability.cumsum(1) < rng.random((6000, 1))).sum(1).clip(max=3)
    assert fit_temperature(scores, label) == pytest.approx(temperature, rel=0.15)


def test_a_few_shots_that_are_all_right_do_not_make_it_certain():
    scores = np.eye(3, dtype=np.float32)[[0, 1, 2] * 2]
    assert 0.15 < fit_temperature(scores, np.array([0, 1, 2] * 2)) < 0.6
