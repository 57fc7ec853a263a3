"""Whether a confidence is what it says: the calibration curve and the expected calibration error.

Of the pixels with confidence 0.8, eight in ten should be right. Pixels are put into bins of equal width; the expected
calibration error is the mean distance between confidence and accuracy of the bins, weighted by their pixels (Naeini et
al. 2015; Guo et al. 2017, "On calibration of modern neural networks").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15


def bin_of(confidence: NDArray[np.floating]) -> NDArray[np.int64]:
    """The bin 0 … 14 of each confidence in [0, 1]; bins hold their upper edge, as in Guo et al."""
    return np.clip(np.ceil(np.asarray(confidence, np.float64) * BINS).astype(np.int64) - 1, 0, BINS - 1)


@dataclass(frozen=True)
class Calibration:
    """Pixels, sum of confidence and right pixels of each bin, [15] each."""

    pixels: NDArray[np.int64]
    confidence_sum: NDArray[np.float64]
    right: NDArray[np.int64]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Mean confidence of each bin; NaN where it is empty."""
        return np.divide(self.confidence_sum, self.pixels, out=np.full(BINS, np.nan), where=self.pixels > 0)

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of right pixels of each bin; NaN where it is empty."""
        return np.divide(self.right, self.pixels, out=np.full(BINS, np.nan), where=self.pixels > 0)

    @property
    def expected_error(self) -> float:
        """Expected calibration error, 0 for a perfect confidence."""
        total = self.pixels.sum()
        return float(np.abs(self.right - self.confidence_sum).sum() / total) if total else np.nan

    @property
    def largest_error(self) -> float:
        """The largest distance between confidence and accuracy in a bin."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float(np.nanmax(gaps)) if self.pixels.any() else np.nan

    @property
    def bias(self) -> float:
        """Mean confidence minus accuracy: positive when the map is surer than it is right."""
        total = self.pixels.sum()
        return float((self.confidence_sum.sum() - self.right.sum()) / total) if total else np.nan

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers; undefined ones are NaN."""
        return {
            "expected_calibration_error": self.expected_error,
            "largest_calibration_error": self.largest_error,
            "mean_confidence_minus_accuracy": self.bias,
            "pixels": int(self.pixels.sum()),
            "bins": [
                {
                    "from": index / BINS,
                    "to": (index + 1) / BINS,
                    "pixels": int(self.pixels[index]),
                    "mean_confidence": float(self.confidence[index]),
                    "accuracy": float(self.accuracy[index]),
                }
                for index in range(BINS)
            ],
        }
