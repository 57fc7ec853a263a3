"""Scores of one cell of the benchmark: one method on one split of one scene."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..accuracy import Accuracy, confusion_matrix
from ..calibration import BINS, Calibration, bin_of
from .cases import Int
from .protocol import Prediction


def score(truth: Int, prediction: Prediction, classes: tuple[str, ...]) -> dict[str, Any]:
    """Shares in 0…1: `oa`, `aa` (over the classes that are tested), `kappa` and `ece` (None without probabilities).

    `counts` `[K, K + 1]` are rows of truth and columns of the map (column 0: unclassified), `right` tells for each
    tested pixel whether it is right (see `unpack_right`). Two classes add `two_class`: ACC, AUC, sensitivity and
    specificity, with the second class as the positive one.
    """
    counts = confusion_matrix(truth, prediction.label, len(classes))
    accuracy = Accuracy.of(counts, classes)
    right = prediction.label == truth
    found: dict[str, Any] = {
        "oa": accuracy.oa,
        "aa": accuracy.aa,
        "kappa": accuracy.kappa,
        "ece": None if prediction.probability is None else calibration_error(prediction.probability.max(1), right),
        "counts": counts.tolist(),
        "right": pack_right(right),
    }
    if len(classes) == 2:
        recall = accuracy.recall
        area = None if prediction.score is None else area_under_curve(prediction.score, truth == 2)
        found["two_class"] = {"acc": accuracy.oa, "auc": area, "sensitivity": recall[1], "specificity": recall[0]}
    return found


def calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 bins of equal width."""
    where = bin_of(confidence)
    return Calibration(
        np.bincount(where, minlength=BINS).astype(np.int64),
        np.bincount(where, confidence, BINS).astype(np.float64),
        np.bincount(where, right, BINS).astype(np.int64),
    ).expected_error


def area_under_curve(score: NDArray[np.floating], positive: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve: the chance that a positive scores higher than a negative, ties counted half (Mann and
    Whitney, 1947). None when either is missing.
    """
    from scipy.stats import rankdata

    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return None
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def pack_right(right: NDArray[np.bool_]) -> str:
    """Which pixels are right, as short text."""
    return f"{len(right)}:" + base64.b64encode(zlib.compress(np.packbits(right).tobytes(), 9)).decode()


def unpack_right(text: str) -> NDArray[np.bool_]:
    """Inverse of `pack_right`."""
    length, _, packed = text.partition(":")
    bits = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8)
    return np.unpackbits(bits)[: int(length)].astype(bool)
