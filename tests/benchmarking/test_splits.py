import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffclip_geo.benchmarking.splits import few_shot_split

BENCH = Path(__file__).parents[2].parent / "shared" / "bench"


@st.composite
def labelled(draw):
    count = draw(st.integers(20, 120))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    truth = random.integers(0, draw(st.integers(2, 4)) + 1, count)
    truth[:2] = 1, 2
    return truth, random.integers(0, draw(st.integers(4, 12)), count)


@given(labelled(), st.integers(1, 10), st.integers(0, 5), st.sampled_from(["random", "group"]))
def test_shots_and_tests_are_apart_and_labelled(case, shots, seed, split):
    truth, group = case
    train, test = few_shot_split(truth, group, shots, seed, split)
    assert truth[train].all() and truth[test].all()
    assert len(set(train)) == len(train) and not set(train) & set(test)
    assert np.bincount(truth[train]).max() <= shots
    if split == "group":
        assert not set(group[train]) & set(group[test])
    else:
        assert len(train) + len(test) == (truth > 0).sum()
        assert set(truth[train]) == set(truth[truth > 0])


def test_a_class_in_one_unit_only_leaves_labels_in_both_halves():
    truth, group = np.repeat([1, 2], [1, 9]), np.repeat([0, 1, 2], [6, 2, 2])
    for seed in range(40):
        train, test = few_shot_split(truth, group, 2, seed, "group")
        assert len(train) and len(test)


def test_a_small_class_gives_half_of_its_pixels_and_seeds_differ():
    truth = np.repeat([1, 2], [100, 5])
    draws = [few_shot_split(truth, truth, 20, seed, "random")[0] for seed in (0, 0, 1)]
    assert np.bincount(truth[draws[0]]).tolist() == [0, 20, 2]
    assert np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], draws[2])


@pytest.mark.skipif(not (BENCH / "peers.py").exists(), reason="the reference protocol ../shared/bench is not here")
def test_draws_are_those_of_the_reference_protocol(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    pytest.importorskip("geopandas")
    import peers

    random = np.random.default_rng(0)
    truth, group = random.integers(0, 4, 500), random.integers(0, 20, 500)
    for split in ("random", "group"):
        for shots, seed in ((2, 0), (8, 1), (20, 2)):
            expected = peers.few_shot_split(truth, group, shots, seed, split)
            assert all(map(np.array_equal, few_shot_split(truth, group, shots, seed, split), expected))
    for name in ("peers", "scenes"):
        sys.modules.pop(name, None)
