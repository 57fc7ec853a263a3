import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import ArrayScene, random_block, random_image

from diffclip_geo.images import Image, SceneStats
from diffclip_geo.margins import read_with_margin
from diffclip_geo.scenes import Block
from diffclip_geo.tiles import tiles_of
from diffclip_geo.windows import WindowSource, cell_offsets, symmetries


def naive_window(values: np.ndarray, valid: np.ndarray, row: int, column: int, side: int) -> np.ndarray:
    """Cell by cell: the pixel there, or the centre pixel where there is none or it is invalid; `[side², C]`."""
    cells = []
    for r in range(row - side // 2, row - side // 2 + side):
        for c in range(column - side // 2, column - side // 2 + side):
            inside = 0 <= r < valid.shape[0] and 0 <= c < valid.shape[1] and valid[r, c]
            cells.append(values[r, c] if inside else values[row, column])
    return np.stack(cells)


def naive_windows(image: Image, side: int) -> list[np.ndarray]:
    """Windows of all valid core pixels, row by row; one `[N, side², C]` per modality."""
    valid = image.valid.numpy()
    centres = np.argwhere(image.core.numpy()) + image.margin
    return [np.stack([naive_window(m.numpy(), valid, *at, side) for at in centres]) for m in image.modalities]


@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    side=st.sampled_from([1, 2, 3, 5, 7]),
    extra=st.integers(0, 2),
    tile=st.integers(1, 10),
    gaps=st.sampled_from([0.0, 0.3, 0.8]),
    layers=st.integers(0, 2),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_windows_of_the_streaming_path_equal_a_naive_crop(height, width, side, extra, tile, gaps, layers, seed):
    block = random_block(height, width, layers=layers, seed=seed, gaps=gaps)
    block.valid[0, 0] = True
    stats = SceneStats.fit([block])
    margin = side // 2 + extra
    whole = stats.normalise(block, 0)
    found = {}
    for place in tiles_of(ArrayScene(block).grid, tile):
        image = stats.normalise(read_with_margin(ArrayScene(block), *place, margin), margin)
        source = WindowSource([image], side)
        windows = source.gather(torch.arange(len(source)))
        for number, (row, column) in enumerate(np.argwhere(image.core.numpy())):
            found[place.row + row, place.column + column] = [w[number].numpy() for w in windows]
    assert sorted(found) == sorted(map(tuple, np.argwhere(block.valid)))
    for (row, column), windows in found.items():
        for values, window in zip(whole.modalities, windows, strict=True):
            assert np.array_equal(window, naive_window(values.numpy(), block.valid, row, column, side))


def test_missing_cells_take_the_value_of_the_centre():
    valid = torch.ones(3, 3, dtype=torch.bool)
    valid[0, 1] = False
    pixels = F.pad(torch.arange(9.0).view(3, 3, 1), (0, 0, 1, 1, 1, 1))
    image = Image((pixels,), F.pad(valid, (1, 1, 1, 1)), 1)
    (windows,) = WindowSource([image], 3).gather(torch.arange(8))
    assert windows[0, :, 0].tolist() == [0, 0, 0, 0, 0, 0, 0, 3, 4]  # upper left corner, with the gap on its right
    assert windows[3, :, 0].tolist() == [0, 4, 2, 3, 4, 5, 6, 7, 8]  # centre, with the gap above


def test_windows_of_several_images_of_different_widths():
    images = [random_image(4, 9, seed=1), random_image(6, 3, seed=2, margin=3)]
    source = WindowSource(images, 5)
    windows = source.gather(torch.arange(len(source)))
    for modality, found in enumerate(windows):
        expected = np.concatenate([naive_windows(image, 5)[modality] for image in images])
        assert np.array_equal(found.numpy(), expected)


def test_only_wanted_pixels_that_are_valid_have_windows():
    image = random_image(6, 7)
    wanted = torch.zeros(6, 7, dtype=torch.bool)
    wanted[2:4] = True
    source = WindowSource([image], 5, [wanted])
    chosen = (wanted & image.core)[image.core].numpy()
    assert 0 < len(source) == chosen.sum() < 14
    for found, expected in zip(source.gather(torch.arange(len(source))), naive_windows(image, 5), strict=True):
        assert np.array_equal(found.numpy(), expected[chosen])


def test_any_order_of_pixels_can_be_gathered():
    source = WindowSource([random_image()], 5)
    which = torch.tensor([7, 0, 7, 3])
    for some, every in zip(source.gather(which), source.gather(torch.arange(len(source))), strict=True):
        assert torch.equal(some, every[which])


def test_a_margin_too_small_for_the_window_is_refused():
    with pytest.raises(ValueError, match="margin of 3"):
        WindowSource([random_image(margin=2)], 7)


def test_cells_go_row_by_row_from_the_upper_left():
    row, column = cell_offsets(3)
    assert row.tolist() == [-1, -1, -1, 0, 0, 0, 1, 1, 1]
    assert column.tolist() == [-1, 0, 1] * 3


@pytest.mark.parametrize("side", [3, 11])
def test_the_eight_symmetries_are_distinct_rotations_and_reflections(side):
    found = symmetries(side)
    cells = np.arange(side * side).reshape(side, side)
    expected = {tuple(np.rot90(c, k).flatten()) for c in (cells, cells.T) for k in range(4)}
    assert {tuple(one) for one in found.tolist()} == expected and len(expected) == len(found) == 8
    assert found[0].tolist() == cells.flatten().tolist()
    assert (found[:, side * side // 2] == side * side // 2).all()  # the centre stays


def test_symmetries_turn_both_modalities_in_register():
    image = random_image(channels=(2, 2), seed=3)
    image = Image((image.modalities[0], image.modalities[0] * -3), image.valid, image.margin)
    source = WindowSource([image], 5)
    which = torch.arange(8) + 5
    plain, _ = source.gather(which)
    first, second = source.gather(which, torch.arange(8))
    assert torch.equal(second, first * -3)
    permutations = symmetries(5)
    for sample in range(8):
        assert torch.equal(first[sample], plain[sample, permutations[sample]])


def test_blocks_read_with_a_margin_are_invalid_and_zero_beyond_the_scene():
    block = random_block(4, 5, gaps=0)
    read = read_with_margin(ArrayScene(block), 2, 3, 2, 2, 3)
    assert isinstance(read, Block) and read.valid.shape == (8, 8)
    inside = np.zeros((8, 8), bool)
    inside[1:5, 0:5] = True
    assert np.array_equal(read.valid, inside)
    assert np.array_equal(read.hsi[:, 1:5, 0:5], block.hsi)
    assert not read.hsi[:, ~inside].any() and not read.lidar[:, ~inside].any()
