import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffclip_geo.suggestion import Pool, choose_points, uncertainty_of


def clusters(sizes, seed=0, spread=0.05):
    """Pixels in tight groups far from each other, all uncertain, at random places."""
    rng = np.random.default_rng(seed)
    centre = np.eye(len(sizes), dtype=np.float32) * 3
    group = np.repeat(np.arange(len(sizes)), sizes)
    features = centre[group] + spread * rng.normal(size=(len(group), len(sizes))).astype(np.float32)
    place = rng.uniform(0, 100, (len(group), 2))
    return Pool(features, np.ones(len(group), np.float32), place), group


def test_uncertainty_by_hand():
    found = uncertainty_of(np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [0, 0, 1]], np.float32))
    np.testing.assert_allclose(found, [0.5, 1.0, 0.0], atol=1e-6)


def test_points_are_diverse_and_the_largest_group_comes_first():
    pool, group = clusters([40, 200, 80, 120])
    assert group[choose_points(pool, 4)].tolist() == [1, 3, 2, 0]


def test_outliers_wait():
    pool, group = clusters([100, 100, 100, 1])
    assert 3 not in group[choose_points(pool, 3)]


def test_what_is_labelled_or_sure_is_left_alone():
    pool, group = clusters([100, 90, 80])
    known = pool.features[group == 0][:3]
    assert group[choose_points(pool, 2, known=known)].tolist() == [1, 2]
    sure = Pool(pool.features, np.where(group == 1, 0.01, pool.uncertainty).astype(np.float32), pool.place)
    assert group[choose_points(sure, 1, known=known)].tolist() == [2]


@given(st.floats(0, 60), st.integers(1, 12), st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_points_keep_their_distance(distance, count, seed):
    pool, _ = clusters([60, 60], seed)
    known_place = np.array([[50.0, 50.0]])
    chosen = choose_points(pool, count, known_place=known_place, min_distance=distance, seed=seed)
    assert len(chosen) <= count and len(set(chosen.tolist())) == len(chosen)
    place = np.concatenate([known_place, pool.place[chosen]])
    apart = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    assert apart[np.triu_indices(len(place), 1)].min(initial=np.inf) >= distance


def test_no_room_gives_fewer_points():
    pool, _ = clusters([50, 50])
    assert len(choose_points(pool, 10, min_distance=70)) < 5
    assert len(choose_points(pool, 10, known_place=np.array([[50.0, 50.0]]), min_distance=200)) == 0
    assert len(choose_points(pool, 500)) == 100


def test_the_seed_alone_decides():
    pool, _ = clusters([3000, 3000])
    assert choose_points(pool, 5, seed=1).tolist() == choose_points(pool, 5, seed=1).tolist()


@pytest.mark.parametrize("size", [1, 2])
def test_a_pool_of_one_or_two(size):
    pool, _ = clusters([size])
    assert len(choose_points(pool, 5)) == size
