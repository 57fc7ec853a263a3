import json

import numpy as np
import torch
from tiny import random_block

from diffclip_geo.images import SceneStats, modalities_of
from diffclip_geo.margins import pad
from diffclip_geo.scenes import Block


def test_each_modality_is_standardised_by_the_valid_pixels_alone():
    block = random_block(30, 30, gaps=0.4, seed=1)
    stats = SceneStats.fit([block])
    poisoned = Block(*(np.where(block.valid, part, 1e9).astype(np.float32) for part in block[:2]), block.valid)
    assert json.dumps(SceneStats.fit([poisoned]).to_dict()) == json.dumps(stats.to_dict())
    for pixels in stats.normalise(block, 0).modalities:
        assert pixels.dtype == torch.float32
        assert pixels[torch.from_numpy(block.valid)].median(0).values.abs().max() < 0.02


def test_invalid_pixels_are_zero_whatever_the_normalisation():
    block = random_block(20, 20, bands=9, gaps=0.3)
    for components in (0, 3):
        image = SceneStats.fit([block], components=components).normalise(block, 0)
        for pixels in image.modalities:
            assert not pixels[~image.valid].any() and pixels[image.valid].any()
            assert pixels.isfinite().all()


def test_a_spectrum_becomes_components_and_few_channels_stay():
    block = random_block(20, 20, bands=12, layers=2)
    stats = SceneStats.fit([block], components=4)
    assert stats.channels == (4, 2)
    assert [m.shape for m in stats.normalise(block, 0).modalities] == [(20, 20, 4), (20, 20, 2)]
    assert SceneStats.fit([block]).channels == (12, 2)


def test_an_image_without_lidar_has_one_modality():
    block = random_block(8, 8, layers=0)
    assert len(modalities_of(block)) == 1
    assert SceneStats.fit([block]).channels == (3,)


def test_statistics_survive_json_unchanged():
    block = random_block(20, 20, bands=9)
    for components in (0, 3):
        stats = SceneStats.fit([block], components=components)
        back = SceneStats.from_dict(json.loads(json.dumps(stats.to_dict())))
        for first, second in zip(
            stats.normalise(block, 0).modalities, back.normalise(block, 0).modalities, strict=True
        ):
            assert torch.equal(first, second)


def test_the_core_leaves_the_margin_out():
    block = pad(random_block(4, 6, gaps=0), ((2, 2), (2, 2)))
    image = SceneStats.fit([block]).normalise(block, 2)
    assert image.core.shape == (4, 6) and image.core.all() and image.valid.sum() == 24
    assert SceneStats.fit([block]).normalise(block, 0).core.shape == (8, 10)
