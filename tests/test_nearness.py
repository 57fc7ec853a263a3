from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.warp import transform
from scipy.spatial.distance import cdist

from diffclip_geo.bands import Bands
from diffclip_geo.grid import Grid
from diffclip_geo.nearness import (
    MANY,
    STEP,
    Nearness,
    NearShots,
    Spots,
    closeness_to,
    closeness_without,
    fit_weight,
    near_shots,
    spots_of,
    weigh,
)
from diffclip_geo.scenes import Scene
from diffclip_geo.temperature import softmax

UTM = CRS.from_epsg(32633)


def spots(row, column, plane=0):
    row = np.asarray(row, float)
    return Spots(np.full(len(row), plane), row, np.asarray(column, float))


def scene(name, grid):
    return Scene(Path(name), (), None, grid, Bands((), None, None, (), ()), (0,), (), (), (), ())


def grid(left=500_000.0, top=5_000_000.0, size=2.0, crs=UTM, shape=(200, 200)):
    return Grid(*shape, Affine(size, 0, left, 0, -size, top), crs)


def random_shots(seed, count=30, classes=3, reach=20.0):
    rng = np.random.default_rng(seed)
    place = rng.integers(0, 90, (2, count)).astype(float)
    return NearShots(Nearness(1.5, reach), *place, rng.integers(0, classes, count), classes)


def test_closeness_is_that_of_the_nearest_shot_and_ends_within_reach():
    rng = np.random.default_rng(0)
    pixels, shots, label = rng.uniform(0, 100, (50, 2)), rng.uniform(0, 100, (400, 2)), rng.integers(0, 3, 400)
    found = closeness_to(spots(*pixels.T), spots(*shots.T), label, 4, 15.0)
    for one in range(3):
        nearest = cdist(pixels, shots[label == one]).min(1)
        assert found[:, one] == pytest.approx(np.where(nearest < 15, (1 - nearest / 15) ** 2, 0), abs=1e-6)
    assert not found[:, 3].any()  # a class without a shot is nowhere near


def test_planes_are_no_ground_of_each_other():
    here, there = spots([5], [5]), spots([5], [5], plane=1)
    assert closeness_to(here, Spots.join([there]), np.array([0]), 1, 10.0).tolist() == [[0.0]]
    assert closeness_to(here, Spots.join([there, here]), np.array([0, 0]), 1, 10.0).tolist() == [[1.0]]


def test_a_shot_left_out_is_not_near_its_own_polygon():
    row, label, group = [0, 1, 2, 9], np.array([0, 0, 0, 1]), np.array([7, 7, 8, 9])
    shots = spots(row, [0] * 4)
    alone = closeness_without(shots, label, np.arange(4), 2, 10.0)
    assert alone[0] == pytest.approx([0.81, 0.01])  # 1 pixel to the next of its class, 9 to the other
    polygon = closeness_without(shots, label, group, 2, 10.0)
    assert polygon[0] == pytest.approx([0.64, 0.01])
    assert polygon[2] == pytest.approx([0.81, 0.09])
    assert polygon[3] == pytest.approx([0.09, 0.0])  # no other shot of its class


def test_nearness_counts_where_shots_bear_it_out_and_not_where_they_do_not():
    row, column = np.mgrid[0:120:10, 0:120:10].reshape(2, -1)
    noise = np.random.default_rng(0).normal(size=(len(row), 2)).astype(np.float32)
    halves, chequered = (row >= 60).astype(int), (row + column) // 10 % 2
    weights = []
    for label in (halves, chequered):
        near = closeness_without(spots(row, column), label, np.arange(len(row)), 2, 60.0)
        scores = 2 * noise + 3 * np.eye(2, dtype=np.float32)[label]
        weights.append(fit_weight(scores, near, label, 2.0))
    assert weights[0] > 4.0  # of 6.0, in units of a spread of 2
    assert 0 <= weights[1] < 0.2


def test_one_shot_per_class_leaves_the_weight_in_between():
    far = np.zeros((2, 2), np.float32)
    near = closeness_without(spots([0, 50], [0, 0]), np.array([0, 1]), np.arange(2), 2, 60.0)
    assert 0 < fit_weight(far, near, np.array([0, 1]), 1.0) < 3.0


def test_it_is_told_in_odds_or_that_it_does_not_count():
    assert Nearness(np.log(24.56), 60.0).describe() == (
        "the odds of a class grow 24.6-fold beside its labels, and less with distance up to 60 pixels"
    )
    assert Nearness(np.log(1.06), 60.0).describe().startswith("the odds of a class grow 1.1-fold")
    assert Nearness(np.log(1.04), 60.0).describe().startswith("does not count; ")


def test_weighing_multiplies_the_odds_and_leaves_those_of_far_pixels_alone():
    probability = softmax(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
    closeness = np.zeros((5, 3), np.float32)
    closeness[2, 1] = 0.5
    found = weigh(probability, Nearness(2.0, 60.0).weights(closeness))
    others = [0, 1, 3, 4]
    assert found[others] == pytest.approx(probability[others], rel=1e-6)
    assert found.sum(1) == pytest.approx(1)
    odds = found[2, [1, 0]] / found[2, 2] / (probability[2, [1, 0]] / probability[2, 2])
    assert odds == pytest.approx([np.e, 1], rel=1e-5)


def test_overwhelming_nearness_leaves_the_nearest_class():
    probability = np.array([[1e-6, 1.0]], np.float32)
    found = weigh(probability, Nearness(1e6, 60.0).weights(np.array([[0.9, 0.8]], np.float32)))
    assert found.tolist() == [[1.0, 0.0]]


@settings(deadline=None, max_examples=40)
@given(
    row=st.integers(0, 80),
    column=st.integers(0, 80),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    seed=st.integers(0, 3),
    count=st.sampled_from([30, MANY + 500]),
)
def test_tiles_do_not_change_what_a_pixel_gets(row, column, height, width, seed, count):
    shots = random_shots(seed, count, reach=20.0 if count < MANY else 5.0)
    rng = np.random.default_rng(seed)
    probability = softmax(rng.normal(size=(120, 120, 3)).astype(np.float32))
    valid = rng.random((120, 120)) > 0.2
    whole = np.zeros_like(probability)
    whole[valid] = shots.weigh(probability[valid], valid, 0, 0)
    part = np.s_[row : row + height, column : column + width]
    inside = valid[part]
    found = shots.weigh(probability[part][inside], inside, row, column)
    assert found.tobytes() == whole[part][inside].tobytes()


def test_the_lattice_is_near_what_it_stands_for():
    shots = random_shots(1, reach=60.0)
    found = shots.weights(3, 5, 50, 40)
    rows, columns = np.mgrid[3:53, 5:45].reshape(2, -1)
    closeness = closeness_to(spots(rows, columns), spots(shots.row, shots.column), shots.label, 3, 60.0)
    exact = shots.nearness.weights(closeness)
    steepest, farthest = 2 / 60, STEP / np.sqrt(2)  # of closeness at a shot, and a pixel from the lattice
    assert np.abs(found.reshape(-1, 3) - exact).max() < 2 * shots.nearness.strength * steepest * farthest
    on_it = (rows % STEP == 0) & (columns % STEP == 0)
    assert found.reshape(-1, 3)[on_it] == pytest.approx(exact[on_it], abs=1e-6)
    assert shots.weights(500, 500, 20, 20) is None


def test_many_shots_weigh_as_few_do():
    shots = random_shots(2, MANY + 1, reach=30.0)
    fewer = replace(shots, row=shots.row[1:], column=shots.column[1:], label=shots.label[1:])
    twice = replace(shots, row=np.append(shots.row, shots.row[0]), column=np.append(shots.column, shots.column[0]))
    twice = replace(twice, label=np.append(shots.label, shots.label[0]))
    assert shots.weights(0, 0, 90, 90) == pytest.approx(twice.weights(0, 0, 90, 90))
    changed = (np.abs(shots.weights(0, 0, 90, 90) - fewer.weights(0, 0, 90, 90)) > 1e-6).any(-1)
    assert changed.mean() < 0.01  # around the one that is gone


def test_shots_are_placed_on_the_ground_of_another_scene():
    trained, finer = scene("a.tif", grid()), scene("b.tif", grid(left=500_100.0, size=1.0))
    pixels = np.array([[0, 0], [10, 10], [70, 10], [2, 1]])
    found = near_shots(Nearness(1.0, 60.0), finer, [trained], pixels, 2)
    order = np.argsort(found.label)
    assert found.row[order].tolist() == [20.5, 20.5]  # centre of a pixel of 2 m, in pixels of 1 m
    assert found.column[order].tolist() == [-79.5, 40.5]
    assert found.label[order].tolist() == [0, 1]
    assert found.nearness == Nearness(1.0, 120.0)


def test_shots_are_placed_across_coordinate_systems():
    trained = scene("a.tif", grid())
    x, y = trained.grid.centre_of(np.array([10]), np.array([70]))
    east, north = transform(UTM, CRS.from_epsg(32632), x, y)
    other = scene("b.tif", grid(left=east[0] - 100, top=north[0] + 50, crs=CRS.from_epsg(32632)))
    found = near_shots(Nearness(1.0, 60.0), other, [trained], np.array([[0], [10], [70], [1]]), 1)
    assert (found.row[0], found.column[0]) == pytest.approx((24.5, 49.5), abs=1e-3)


def test_scenes_without_coordinates_share_ground_with_themselves_alone():
    plain = Grid(20, 20, Affine.identity(), None)
    trained, other = scene("a.tif", plain), scene("b.tif", plain)
    pixels = np.array([[0], [1], [2], [1]])
    assert near_shots(Nearness(1.0, 60.0), other, [trained], pixels, 1) is None
    assert near_shots(Nearness(1.0, 60.0), trained, [trained], pixels, 1).row.tolist() == [1.0]
    assert near_shots(None, trained, [trained], pixels, 1) is None
    one, two = (spots_of([trained, other], number, np.array([3]), np.array([4])) for number in range(2))
    assert np.isinf(one.distance(two)).all()


def test_scenes_with_coordinates_lie_on_one_plane():
    scenes = [scene("a.tif", grid()), scene("b.tif", grid(left=500_400.0))]
    found = spots_of(scenes, 1, np.array([3]), np.array([4]))
    assert (found.plane.tolist(), found.row.tolist(), found.column.tolist()) == ([0], [3.0], [204.0])


def test_all_pixels_of_a_polygon_say_what_a_few_of_them_say():
    trained = scene("a.tif", grid())
    row, column = np.mgrid[40:80, 40:80].reshape(2, -1)
    pixels = np.stack([np.zeros_like(row), row, column, np.ones_like(row)])
    found = near_shots(Nearness(1.0, 60.0), trained, [trained], pixels, 1)
    assert len(found.row) == (40 // STEP) ** 2
