import numpy as np
import pytest
from raster_files import spectra, write_raster
from tiny import random_block

from diffclip_geo.margins import pad, read_with_margin
from diffclip_geo.scenes import Scene


def test_what_surrounds_a_block_is_invalid():
    block = random_block(3, 4, gaps=0)
    wide = pad(block, ((1, 2), (0, 3)))
    assert wide.valid.shape == (6, 7) and wide.valid.sum() == 12 and wide.valid[1:4, :4].all()
    assert np.array_equal(wide.hsi[:, 1:4, :4], block.hsi) and not wide.lidar[:, 4:].any()
    assert pad(block, ((0, 0), (0, 0))) is block


@pytest.mark.parametrize("margin", [0, 3])
def test_a_raster_read_tile_by_tile_is_the_raster_read_whole(tmp_path, margin):
    values = spectra(3, 11, 13)
    values[:, 4, 5] = np.nan
    hsi = write_raster(tmp_path / "hsi.tif", values)
    scene = Scene.open(hsi, [write_raster(tmp_path / "dsm.tif", spectra(1, 11, 13, 1))])
    whole = read_with_margin(scene, 0, 0, 11, 13, margin)
    assert not whole.valid[4 + margin, 5 + margin] and not whole.hsi[:, 4 + margin, 5 + margin].any()
    part = read_with_margin(scene, 3, 4, 5, 6, margin)
    for some, every in zip(part, whole, strict=True):
        assert np.array_equal(some, every[..., 3 : 3 + 5 + 2 * margin, 4 : 4 + 6 + 2 * margin])


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_memory_that_is_used_again_holds_nothing_of_the_tile_before(tmp_path, interleave):
    blocks = {"tiled": True, "blockxsize": 16, "blockysize": 16, "interleave": interleave}
    hsi = write_raster(tmp_path / "hsi.tif", spectra(3, 40, 50), **blocks)
    scene = Scene.open(hsi, [write_raster(tmp_path / "dsm.tif", spectra(1, 40, 50, 1))])
    for place in ((16, 16, 10, 12), (0, 0, 8, 8), (35, 40, 5, 10), (8, 8, 3, 30)):
        expected = read_with_margin(scene, *place, 6)
        again = read_with_margin(scene, *place, 6, again=True)
        for some, every in zip(again, expected, strict=True):
            assert np.array_equal(some, every)
    kept = again.hsi
    assert np.shares_memory(kept, read_with_margin(scene, 0, 0, 4, 4, 6, again=True).hsi)
    assert not np.shares_memory(kept, expected.hsi)
