import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from diffclip_geo.benchmarking.protocol import Prediction
from diffclip_geo.benchmarking.scores import area_under_curve, calibration_error, pack_right, score, unpack_right


@given(st.lists(st.booleans(), max_size=40))
def test_right_pixels_survive_packing(bits):
    assert unpack_right(pack_right(np.array(bits, bool))).tolist() == bits


def test_scores_agree_with_scikit_learn():
    random = np.random.default_rng(0)
    truth, probability = random.integers(1, 3, 200), random.dirichlet([1, 1], 200)
    label = probability.argmax(1) + 1
    found = score(truth, Prediction(label, probability, probability[:, 1]), ("no", "yes"))
    assert found["oa"] == pytest.approx(metrics.accuracy_score(truth, label))
    assert found["aa"] == pytest.approx(metrics.balanced_accuracy_score(truth, label))
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(truth, label))
    two = found["two_class"]
    assert two["auc"] == pytest.approx(metrics.roc_auc_score(truth == 2, probability[:, 1]))
    assert two["sensitivity"] == pytest.approx(metrics.recall_score(truth, label, pos_label=2))
    assert two["specificity"] == pytest.approx(metrics.recall_score(truth, label, pos_label=1))
    assert np.array_equal(unpack_right(found["right"]), truth == label)


def test_ties_count_half_and_one_class_has_no_curve():
    assert area_under_curve(np.array([1.0, 1, 1]), np.array([True, False, True])) == 0.5
    assert area_under_curve(np.array([1.0, 2]), np.array([True, True])) is None


def test_calibration_error_of_a_known_case():
    assert calibration_error(np.full(10, 0.9), np.arange(10) < 6) == pytest.approx(0.3)


def test_without_probabilities_there_is_no_calibration():
    found = score(np.array([1, 2, 3]), Prediction(np.array([1, 2, 2])), ("a", "b", "c"))
    assert found["ece"] is None and "two_class" not in found
    assert np.array(found["counts"]).shape == (3, 4)
