import sys
from pathlib import Path

import numpy as np
import pytest
from benchmark_cases import tiny_case

from diffclip_geo.benchmarking import peers
from diffclip_geo.benchmarking.methods import METHODS, PEER_NAMES
from diffclip_geo.benchmarking.splits import few_shot_split
from diffclip_geo.errors import OptionError

BENCH = Path(__file__).parents[2].parent / "shared" / "bench"


@pytest.mark.skipif(not (BENCH / "peers.py").exists(), reason="the reference peers ../shared/bench are not here")
def test_features_and_maps_are_those_of_the_reference(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    pytest.importorskip("geopandas")
    import peers as reference
    from scenes import Scene
    from scenes import Tile as ReferenceTile

    case = tiny_case(bands=25, invalid=False)
    tiles = [
        ReferenceTile(t.block.hsi.transpose(1, 2, 0), t.block.lidar.transpose(1, 2, 0), t.truth, t.group)
        for t in case.tiles
    ]
    scene = Scene("town", tiles, list(case.classes))
    features = {"spectra": reference.spectral_features(scene), "multiscale": reference.multiscale_features(scene)}
    train, test = few_shot_split(case.truth, case.group, 5, 0, "random")
    for name in PEER_NAMES:
        kind, peer = name.split("-")
        prepared = METHODS[name].prepare(case.images, None)
        assert np.allclose(prepared.features, features[kind], atol=1e-6)
        fitted = prepared.fit(case.shots(train), 0)
        expected = reference.PEERS[peer]().fit(features[kind][train], case.truth[train]).predict(features[kind][test])
        assert np.array_equal(fitted.predict(test).label, expected)
    for name in ("peers", "scenes"):
        sys.modules.pop(name, None)


def test_placed_peers_know_image_row_and_column_besides():
    case = tiny_case(bands=25)
    plain, placed = (
        METHODS[f"{features}-rf"].prepare(case.images, None).features for features in ("multiscale", "placed")
    )
    assert np.array_equal(placed[:, :-3], plain)
    raw = [
        (number, row, column)
        for number, tile in enumerate(case.tiles)
        for row in range(tile.truth.shape[0])
        for column in range(tile.truth.shape[1])
    ]
    assert np.allclose(placed[:, -3:], (raw - np.mean(raw, 0)) / np.std(raw, 0))


def test_two_classes_have_scores():
    case = tiny_case(classes=2)
    train, test = few_shot_split(case.truth, case.group, 5, 0, "random")
    for name in ("spectra-svm", "spectra-rf"):
        found = METHODS[name].prepare(case.images, None).fit(case.shots(train), 0).predict(test)
        assert found.score is not None and len(found.score) == len(test)
        assert found.score[found.label == 2].min() >= found.score[found.label == 1].max()


def test_without_scikit_learn_the_remedy_is_told(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(peers.importlib, "import_module", missing)
    with pytest.raises(OptionError, match=r"pip install 'diffclip-geo\[benchmark\]'"):
        METHODS["spectra-rf"].prepare(tiny_case().images, None)
