"""What the kernel heads look at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffclip_geo.scenes import Block
from diffclip_geo.views import CUT, REACH, SCALES, View, smooth, with_relatives

BANDS = 4


def block_of(values: np.ndarray, gaps: float = 0.1) -> Block:
    """A block of values `[bands, H, W]` without LiDAR; 0 where invalid."""
    valid = np.random.default_rng(9).random(values.shape[1:]) >= gaps
    return Block((values * valid).astype(np.float32), np.empty((0, *valid.shape), np.float32), valid)


def waves(length: float, noise: float, side: int = 150) -> np.ndarray:
    """Spectra that change over so many pixels, with noise."""
    row, column = np.mgrid[:side, :side] / length
    rng = np.random.default_rng(3)
    return np.stack([np.sin(row + k) * np.cos(column - k) for k in range(BANDS)]) + rng.normal(
        0, noise, (BANDS, side, side)
    )


def fitted(block: Block) -> View:
    return View.fit([block], 0, components=0, brightness_free=False)


@given(scale=st.floats(0.5, 12), gaps=st.floats(0, 0.9), seed=st.integers(0, 99))
def test_smoothing_takes_the_mean_of_valid_pixels(scale, gaps, seed):
    rng = np.random.default_rng(seed)
    valid = rng.random((20, 17)) >= gaps
    image = np.where(valid[..., None], rng.normal(5, 1, (20, 17, 2)), np.nan).astype(np.float32)
    image[valid, 1] = 7
    mean = smooth(image, valid, scale)
    assert mean[valid, 1] == pytest.approx(7, rel=1e-4)  # what is the same everywhere stays
    if valid.any():
        assert mean[valid, 0].min() >= image[valid, 0].min() - 1e-3
        assert mean[valid, 0].max() <= image[valid, 0].max() + 1e-3


def test_no_pixel_looks_further_than_its_reach():
    assert int(CUT * max(SCALES) + 0.5) == REACH
    block = block_of(waves(8, 0.3))
    view = fitted(block)
    first = view(block, REACH)
    edge = np.s_[:, :1, :]  # as far from the core as the margin is wide
    block.hsi[edge] += 5 * block.valid[:1]
    moved = np.abs(view(block, REACH) - first).max(1)
    core = block.valid[REACH:-REACH, REACH:-REACH]
    row = np.nonzero(core)[0]
    assert moved[row == 0].max() > 0 and moved[row > 0].max() == 0
    wider = Block(*(np.pad(one, [(0, 0)] * (one.ndim - 2) + [(7, 7)] * 2) for one in block))
    assert np.array_equal(view(wider, REACH + 7), view(block, REACH))


def test_scales_count_as_far_as_the_scene_is_coherent():
    grain = np.random.default_rng(4).normal(size=(BANDS, 150, 150))
    shares = []
    for values in (waves(60, 0.2), grain):
        block = block_of(values)
        features = fitted(block)(block, 0).reshape(-1, 1 + len(SCALES), BANDS)
        shares.append(features.var(0).sum(1) / features.var(0).sum())
    assert shares[0] == pytest.approx(np.full(1 + len(SCALES), 0.25), abs=0.02)
    assert shares[1][1:].sum() < 0.05


def test_a_view_is_read_back():
    block = block_of(waves(8, 0.3))
    view = fitted(block)
    assert np.array_equal(View.from_dict(view.to_dict())(block, REACH), view(block, REACH))


def test_what_is_added_to_a_whole_image_does_not_reach_a_relative_view():
    block = block_of(waves(8, 0.3))
    plain = fitted(block)
    _, relative = with_relatives([plain], [(20, 20), (20, 20)])
    assert (plain.relative, relative.relative) == (False, True)
    hazy = block._replace(hsi=block.hsi + np.float32([[[0.1]], [[0.4]], [[-0.2]], [[0]]]) * block.valid)
    assert np.abs(plain(hazy, REACH) - plain(block, REACH)).mean() > 0.01
    assert relative(hazy, REACH) == pytest.approx(relative(block, REACH), abs=1e-4)
    features = plain(block, REACH).reshape(-1, 1 + len(SCALES), BANDS)
    surroundings = features[:, -1:] / plain.weights[-1] * plain.weights[:, None]
    assert relative(block, REACH) == pytest.approx((features - surroundings).reshape(len(features), -1), abs=1e-3)
    assert View.from_dict(relative.to_dict()).relative


def test_only_plots_have_relative_views():
    views = [fitted(block_of(waves(8, 0.3, 60)))]
    for sizes, count in (([(20, 20)], 1), (2 * [(20, 20)], 2), ([(61, 40), (20, 61)], 2), (3 * [(20, 62)], 1)):
        assert len(with_relatives(views, sizes)) == count
