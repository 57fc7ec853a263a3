import numpy as np
import pytest
from benchmark_cases import NAMES, tiny_case

from diffclip_geo.benchmarking.cases import Case, blocks_of, patches
from diffclip_geo.errors import LabelError
from diffclip_geo.simulation import simulate


def test_invalid_pixels_lose_their_label():
    case = tiny_case()
    assert not case.tiles[0].block.valid[1, 2] and case.tiles[0].truth[1, 2] == 0
    assert not case.tiles[0].block.hsi[:, 1, 2].any()


def test_pixels_are_numbered_image_by_image_and_units_differ_between_images():
    case = tiny_case()
    first = case.tiles[0].truth.size
    assert np.array_equal(case.truth[first:], case.tiles[1].truth.ravel())
    units = [set(case.group[part][case.truth[part] > 0]) for part in (slice(first), slice(first, None))]
    assert not units[0] & units[1]


def test_patches_are_touching_pixels_of_one_class():
    label = np.array([[1, 1, 0, 1], [0, 2, 2, 0], [1, 0, 2, 0]])
    group = patches(label)
    assert group[0, 0] == group[0, 1] != group[0, 3]
    assert len(set(group[label > 0])) == 4 and not group[label == 0].any()
    assert group[1, 1] == group[2, 2]


def test_blocks_are_squares():
    group = blocks_of((5, 7), 3)
    assert len(np.unique(group)) == 6
    assert len(np.unique(group[:3, :3])) == 1


def test_shots_hold_the_labels_of_their_pixels_only():
    case = tiny_case()
    index = np.flatnonzero(case.truth)[:5]
    shots = case.shots(index)
    assert np.array_equal(shots.label, case.truth[index]) and np.array_equal(shots.group, case.group[index])


def test_the_digest_tells_images_apart():
    assert tiny_case().images.digest == tiny_case().images.digest != tiny_case(seed=1).images.digest


def test_one_modality_is_enough():
    case = Case.from_arrays("town", [(np.ones((4, 4, 3)),)], [np.ones((4, 4), int)], NAMES)
    assert case.tiles[0].block.lidar.shape == (0, 4, 4)


def test_rasters_and_labels_of_ones_own(tmp_path):
    simulate(tmp_path, size=(48, 48), bands=20)
    case = Case.from_files(tmp_path / "scene.tif", [tmp_path / "lidar.tif"], tmp_path / "labels.shp")
    block = case.tiles[0].block
    assert case.name == "scene" and block.valid.shape == (48, 48) and len(block.lidar) > 0
    assert set(case.truth[case.truth > 0]) == set(range(1, len(case.classes) + 1))
    with pytest.raises(LabelError):
        Case.from_files(tmp_path / "scene.tif", [], tmp_path / "no.shp")
