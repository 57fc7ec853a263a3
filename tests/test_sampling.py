from pathlib import Path

import numpy as np
import pytest
from tiny import ArrayScene, random_block

from diffclip_geo import sampling
from diffclip_geo.classes import ClassTable
from diffclip_geo.errors import RasterError
from diffclip_geo.labels import LabelledPixels, LabelReport
from diffclip_geo.nearness import Spots
from diffclip_geo.sampling import labelled_blocks, sample_blocks


def test_small_scenes_are_taken_whole():
    blocks = [random_block(9, 7, seed=1), random_block(5, 6, seed=2)]
    read = sample_blocks([ArrayScene(block) for block in blocks], 2)
    for found, block in zip(read, blocks, strict=True):
        assert np.array_equal(found.hsi[:, 2:-2, 2:-2], block.hsi)
        assert np.array_equal(found.valid, np.pad(block.valid, 2))


def test_large_scenes_are_sampled_within_the_budget_in_proportion(monkeypatch):
    monkeypatch.setattr(sampling, "SIDE", 4)
    large, small = random_block(40, 40, seed=1), random_block(20, 20, seed=2)
    large.hsi[0], small.hsi[0] = 1, 2
    read = sample_blocks([ArrayScene(large), ArrayScene(small)], 1, budget=1000, seed=0)
    sizes = [block.valid[1:-1, 1:-1].size for block in read]
    assert 900 <= sum(sizes) <= 1100 and set(sizes) == {16}
    share = sum(block.hsi[0].max() == 1 for block in read) / len(read)
    assert share == pytest.approx(0.8, abs=0.05)
    places = {block.hsi.tobytes() for block in read}
    assert len(places) == len(read)  # no block twice
    again = sample_blocks([ArrayScene(large), ArrayScene(small)], 1, budget=1000, seed=0)
    other = sample_blocks([ArrayScene(large), ArrayScene(small)], 1, budget=1000, seed=1)
    assert [b.hsi.tobytes() for b in again] == [b.hsi.tobytes() for b in read]
    assert {b.hsi.tobytes() for b in other} != places


def test_the_margin_of_a_sampled_block_is_the_ground_beside_it(monkeypatch):
    monkeypatch.setattr(sampling, "SIDE", 4)
    block = random_block(12, 12, gaps=0)
    block.hsi[0] = np.arange(1, 145).reshape(12, 12)
    for found in sample_blocks([ArrayScene(block)], 2, budget=80):
        number = found.hsi[0, 2, 2] - 1  # of the first core pixel
        row, column = int(number // 12), int(number % 12)
        padded = np.pad(block.hsi[0], 2)
        assert np.array_equal(found.hsi[0], padded[row : row + 8, column : column + 8])


def test_blocks_without_valid_pixels_are_left_out_and_a_scene_of_them_is_an_error(monkeypatch):
    monkeypatch.setattr(sampling, "SIDE", 4)
    block = random_block(8, 8, gaps=0)
    block.valid[:4] = False
    read = sample_blocks([ArrayScene(block)], 1, budget=63)
    assert read and all(found.valid[1:-1, 1:-1].any() for found in read)
    block.valid[:] = False
    with pytest.raises(RasterError, match=r"scene\.tif: has no valid pixel"):
        sample_blocks([ArrayScene(block)], 1)


def labelled(scene, row, column, label, group):
    values = [np.array(v, np.int64) for v in (row, column, label, group)]
    table = ClassTable(("a", "b", "c"), ((0, 0, 0),) * 3)
    return LabelledPixels(table, np.array(scene, np.int32), *values, LabelReport((1, 1, 1), (1, 1, 1)))


def test_labelled_blocks_hold_every_label_once_with_the_ground_around_it(monkeypatch):
    monkeypatch.setattr(sampling, "SIDE", 8)
    blocks = [random_block(30, 20, seed=1), random_block(9, 9, seed=2)]
    pixels = labelled([0, 0, 0, 0, 1], [0, 2, 3, 29, 8], [0, 5, 9, 19, 8], [1, 2, 3, 2, 1], [7, 8, 9, 10, 11])
    scenes = [ArrayScene(block, Path(f"{number}.tif")) for number, block in enumerate(blocks)]
    read = list(labelled_blocks(scenes, pixels, 2))
    assert sum(one.label.size for one in read) <= 2 * 8 * 8  # no more ground than is needed
    found = []
    for one in read:
        assert one.block.valid.shape == tuple(size + 4 for size in one.label.shape)
        for row, column in np.argwhere(one.label):
            spectrum = tuple(one.block.hsi[:, row + 2, column + 2])
            found.append((spectrum, int(one.label[row, column]), int(one.group[row, column])))
    expected = [
        (tuple(blocks[s].hsi[:, r, c]), int(label), int(group))
        for s, r, c, label, group in zip(
            pixels.scene, pixels.row, pixels.column, pixels.label, pixels.group, strict=True
        )
    ]
    assert sorted(found) == sorted(expected)
    spots = Spots.join([one.spots.take(np.flatnonzero(one.label)) for one in read])
    places = zip(spots.plane, spots.row, spots.column, strict=True)
    assert sorted(places) == sorted(zip(pixels.scene, pixels.row, pixels.column, strict=True))
