import sys
from pathlib import Path

import numpy as np
import pytest

from diffclip_geo.benchmarking.catalogue import open_scene

SHARED = Path(__file__).parents[2].parent / "shared"


@pytest.mark.skipif(not (SHARED / "data").exists(), reason="the real scenes ../shared/data are not here")
@pytest.mark.parametrize("name", ["berlin_hymap", "houston_campus", "idtrees_mlbs"])
def test_real_scenes_have_the_pixels_of_the_reference(name, monkeypatch):
    pytest.importorskip("geopandas")
    monkeypatch.syspath_prepend(str(SHARED / "bench"))
    import scenes

    expected = scenes.SCENES[name]()
    case = open_scene(name, SHARED / "data")
    assert list(case.classes) == expected.classes
    for tile, other in zip(case.tiles, expected.tiles, strict=True):
        assert np.array_equal(tile.truth, other.truth)
        assert np.array_equal(tile.group, other.group)
        assert np.array_equal(tile.block.hsi, other.hsi.transpose(2, 0, 1))
        assert np.array_equal(tile.block.lidar, other.lidar.transpose(2, 0, 1))
        assert tile.block.valid.all()
    sys.modules.pop("scenes", None)
