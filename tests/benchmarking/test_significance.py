import numpy as np
import pytest
from scipy import stats

from diffclip_geo.benchmarking.significance import Comparison, mcnemar_p, paired_p


def test_paired_test_is_that_of_scipy():
    a, b = np.array([80.0, 82, 85, 79, 90]), np.array([78.0, 80, 86, 75, 84])
    assert paired_p(a - b) == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert np.isnan(paired_p(np.array([1.0]))) and np.isnan(paired_p(np.zeros(3)))


def test_mcnemar_counts_only_pixels_on_which_maps_differ():
    one = np.r_[np.ones(10, bool), np.zeros(2, bool), np.ones(50, bool)]
    other = np.r_[np.zeros(10, bool), np.ones(2, bool), np.ones(50, bool)]
    assert mcnemar_p(one, other) == pytest.approx(stats.binomtest(2, 12).pvalue)
    assert mcnemar_p(one, one) == 1


def test_wins_are_counted_by_seed():
    found = Comparison(np.array([1.0, 2, -3]), np.zeros(3), np.array([0.01, 0.2, 0.001]))
    assert (found.seeds_won, found.mcnemar_won, found.mcnemar_lost) == (2, 1, 1)
