"""Whether one method is better than another, or luck."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.05


@dataclass(frozen=True)
class Comparison:
    """One method against another on the same splits, seed by seed."""

    oa: NDArray[np.float64]  # difference of the overall accuracies, [seeds]
    aa: NDArray[np.float64]  # of the average accuracies, [seeds]
    mcnemar: NDArray[np.float64]  # p values, [seeds]

    @property
    def oa_p(self) -> float:
        """Two-sided p of the paired t-test over seeds; NaN for fewer than two seeds or no spread."""
        return paired_p(self.oa)

    @property
    def aa_p(self) -> float:
        """The same for the average accuracy."""
        return paired_p(self.aa)

    @property
    def seeds_won(self) -> int:
        """Seeds with the higher overall accuracy."""
        return int((self.oa > 0).sum())

    @property
    def mcnemar_won(self) -> int:
        """Seeds on which the method is better by McNemar's test at 5 %."""
        return int(((self.oa > 0) & (self.mcnemar < LEVEL)).sum())

    @property
    def mcnemar_lost(self) -> int:
        """Seeds on which it is worse by that test."""
        return int(((self.oa < 0) & (self.mcnemar < LEVEL)).sum())


def paired_p(difference: NDArray[np.float64]) -> float:
    """Two-sided p of the t-test that the mean of paired differences is 0."""
    if len(difference) < 2 or np.ptp(difference) == 0:
        return float("nan")
    return float(stats.ttest_1samp(difference, 0).pvalue)


def mcnemar_p(right: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Two-sided exact p of McNemar's test: of the pixels that one of two maps alone has right, are half the one's?"""
    mine, theirs = int((right & ~other).sum()), int((other & ~right).sum())
    if not mine + theirs:
        return 1.0
    return float(stats.binomtest(mine, mine + theirs).pvalue)
