"""Scores against scikit-learn and by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn import metrics

from diffclip_geo.accuracy import Accuracy, confusion_matrix
from diffclip_geo.provenance import to_json


def accuracy_of(truth: np.ndarray, mapped: np.ndarray, classes: int) -> Accuracy:
    return Accuracy.of(confusion_matrix(truth, mapped, classes), tuple(f"class {i}" for i in range(1, classes + 1)))


@st.composite
def label_pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    classes = draw(st.integers(1, 6))
    shape = draw(st.integers(1, 60))
    truth = draw(arrays.arrays(np.uint8, shape, elements=st.integers(1, classes)))
    mapped = draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, classes)))
    return truth, mapped, classes


@given(label_pairs())
def test_equal_to_scikit_learn(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    truth, mapped, classes = case
    ours = accuracy_of(truth, mapped, classes)
    labels = list(range(classes + 1))
    np.testing.assert_array_equal(
        confusion_matrix(truth, mapped, classes), metrics.confusion_matrix(truth, mapped, labels=labels)[1:]
    )
    assert ours.oa == pytest.approx(metrics.accuracy_score(truth, mapped))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, mapped, labels=labels[1:], zero_division=np.nan
    )
    np.testing.assert_allclose(ours.precision, precision)
    np.testing.assert_allclose(ours.recall, recall)
    np.testing.assert_allclose(ours.f1, f1)
    np.testing.assert_array_equal(ours.support, support)
    for value, iou in enumerate(ours.iou, start=1):
        if ((truth == value) | (mapped == value)).any():
            assert iou == pytest.approx(metrics.jaccard_score(truth == value, mapped == value))
        else:
            assert np.isnan(iou)
    assert ours.aa == pytest.approx(np.mean([recall[value - 1] for value in np.unique(truth)]))
    if len(np.unique(np.r_[truth, mapped])) > 1:
        assert ours.kappa == pytest.approx(metrics.cohen_kappa_score(truth, mapped))
    else:
        assert np.isnan(ours.kappa)


def test_orientation_unclassified_and_unlabelled_by_hand() -> None:
    truth = np.array([[1, 1, 1, 2], [2, 2, 0, 0]])
    mapped = np.array([[1, 2, 0, 2], [2, 1, 1, 0]])
    ours = accuracy_of(truth, mapped, 2)
    assert ours.matrix.tolist() == [[1, 1], [1, 2]]  # row 1: truth 1 mapped as 1 once, as 2 once
    assert ours.unclassified.tolist() == [1, 0]
    assert ours.pixels == 6
    assert ours.oa == pytest.approx(3 / 6)
    assert ours.oa_classified == pytest.approx(3 / 5)
    assert ours.coverage == pytest.approx(5 / 6)
    assert ours.recall.tolist() == pytest.approx([1 / 3, 2 / 3])
    assert ours.precision.tolist() == pytest.approx([1 / 2, 2 / 3])


def test_undefined_scores_are_null_in_json() -> None:
    ours = accuracy_of(np.array([1, 1]), np.array([1, 2]), 3)
    facts = json.loads(to_json(ours.to_dict()))
    assert facts["confusion_matrix"]["orientation"] == "rows = truth, columns = map"
    assert facts["confusion_matrix"]["counts"] == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    never, absent = facts["classes"][1:]
    assert never["recall"] is None and never["precision"] == 0
    assert absent == {
        "name": "class 3", "truth_pixels": 0, "mapped_pixels": 0, "unclassified_pixels": 0,
        "precision": None, "recall": None, "f1": None, "iou": None,
        "precision_standard_error": None, "recall_standard_error": None,
    }  # fmt: skip
    assert facts["overall_accuracy"] == 0.5 and facts["average_accuracy"] == 0.5


def test_text_by_hand() -> None:
    ours = Accuracy.of(np.array([[0, 90, 10], [5, 0, 95]]), ("Tree", "Road"), ("something was left out",))
    assert ours.to_text() == (
        "Overall accuracy (OA)   92.50 %   of 200 truth pixels   standard error 1.86\n"
        "Average accuracy (AA)   92.50 %   mean recall of 2 classes\n"
        "Kappa                    0.8537   standard error 0.0354\n"
        "Classified              97.50 %   5 unclassified, counted as wrong\n"
        "OA of the classified    94.87 %\n"
        "Note: something was left out\n"
        "\n"
        "             precision     recall         F1        IoU      truth     mapped\n"
        "1 Tree          1.0000     0.9000     0.9474     0.9000        100         90\n"
        "2 Road          0.9048     0.9500     0.9268     0.8636        100        105\n"
        "precision = user's accuracy, recall = producer's accuracy\n"
        "\n"
        "Confusion matrix, pixels: rows = truth, columns = map (class numbers)\n"
        "truth \\ map   1   2  unclassified\n"
        "1 Tree       90  10             .\n"
        "2 Road        .  95             5"
    )


@pytest.mark.parametrize("classes", [2, 15, 40])
def test_text_fits_the_terminal(classes: int) -> None:
    random = np.random.default_rng(0)
    counts = random.integers(0, 1_000_000, (classes, classes + 1))
    names = tuple(f"a class with a rather long name, number {i}" for i in range(classes))
    text = Accuracy.of(counts, names).to_text()
    assert max(map(len, text.splitlines())) <= 100
    for count in counts.ravel():
        assert str(count) in text


def test_kappa_and_its_standard_error_of_congalton_and_green() -> None:
    """Analyst 1 of "Assessing the Accuracy of Remotely Sensed Data": overall 74 %, kappa 0.65."""
    first = np.array([[65, 4, 22, 24], [6, 81, 5, 8], [0, 11, 85, 19], [4, 7, 3, 90]])
    accuracy = Accuracy(("D", "C", "AG", "SB"), first, np.zeros(4, np.int64))
    assert round(accuracy.oa, 2) == 0.74 and round(accuracy.kappa, 2) == 0.65
    # The book prints a variance of 0.0007778, which pairs the margins of θ4 with their own indices; the formula, by
    # Fleiss, Cohen & Everitt (1969), crosses them. The test below shows which of the two is the spread of kappa.
    assert round(accuracy.kappa_se**2, 6) == 0.000770
    share, n = first / first.sum(), first.sum()
    truth, mapped = share.sum(1), share.sum(0)
    agreed, chance = np.trace(share), truth @ mapped
    uncrossed = (share * (truth[:, None] + mapped[None, :]) ** 2).sum()
    crossed = (share * (mapped[:, None] + truth[None, :]) ** 2).sum()
    shift = (1 - agreed) ** 2 * (uncrossed - crossed) / (1 - chance) ** 4 / n
    assert round(accuracy.kappa_se**2 + shift, 7) == 0.0007778


def test_standard_errors_equal_the_spread_of_many_draws() -> None:
    random = np.random.default_rng(0)
    share = np.array([[0.30, 0.05, 0.02], [0.04, 0.25, 0.03], [0.06, 0.05, 0.20]])
    draws = random.multinomial(800, share.ravel(), size=4000).reshape(-1, 3, 3)
    found = [Accuracy(("a", "b", "c"), draw, np.zeros(3, np.int64)) for draw in draws]
    for score in ("oa", "kappa", "precision", "recall"):
        values = np.array([getattr(one, score) for one in found])
        errors = np.array([getattr(one, f"{score}_se") for one in found])
        np.testing.assert_allclose(errors.mean(0), values.std(0), rtol=0.05)
