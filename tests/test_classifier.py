import numpy as np
import pytest
from tiny import ArrayScene, tiny_preset

from diffclip_geo.classes import ClassTable
from diffclip_geo.classifier import load_classifier, save_classifier
from diffclip_geo.images import SceneStats
from diffclip_geo.margins import read_with_margin
from diffclip_geo.pretraining import build_encoder
from diffclip_geo.sampling import LabelledBlock
from diffclip_geo.scenes import Block
from diffclip_geo.tiles import tiles_of
from diffclip_geo.training import fit_views, margin_of, train_classifier
from diffclip_geo.workspace import Workspace

PRESET = tiny_preset(input={"components": 4})
MARGIN = margin_of(PRESET)


@pytest.fixture(scope="module")
def scene():
    """Three strips with some pixels missing, larger than the reach of the views."""
    rng = np.random.default_rng(0)
    truth = np.repeat([1, 2, 3], 12)[:, None].repeat(34, 1)
    valid = rng.random(truth.shape) > 0.1
    hsi = rng.uniform(50, 100, (9, 4))[:, truth] + rng.normal(size=(9, *truth.shape)) * 3
    lidar = truth[None] + rng.normal(size=(1, *truth.shape)) * 0.1
    return ArrayScene(Block((hsi * valid).astype(np.float32), (lidar * valid).astype(np.float32), valid)), truth


@pytest.fixture(scope="module")
def stages(scene):
    """What stage 1 leaves, and the classifier."""
    ground, truth = scene
    block = read_with_margin(ground, 0, 0, *truth.shape, MARGIN)
    stats, views = SceneStats.fit([block], components=4), fit_views([block], MARGIN, PRESET)
    label = np.where((np.random.default_rng(1).random(truth.shape) < 0.05) & ground.block.valid, truth, 0)
    labelled = LabelledBlock(block, label.astype(np.int64), np.arange(1, truth.size + 1).reshape(truth.shape))
    table = ClassTable(("a", "b", "c"), ((0, 0, 0),) * 3)
    classifier, _ = train_classifier(
        build_encoder(PRESET, stats.channels, 0),
        stats,
        views,
        [labelled],
        [block],
        MARGIN,
        table,
        ["tree", "road", "water"],
        PRESET,
    )
    return {"stats": stats.to_dict(), "views": [view.to_dict() for view in views]}, classifier


def probabilities(classifier, scene, tile, extra=0):
    """The class probabilities of a scene mapped tile by tile, NaN where invalid."""
    ground, truth = scene
    mosaic = np.full((*truth.shape, 3), np.nan, np.float32)
    engine = classifier.engine()
    for row, column, height, width in tiles_of(ground.grid, tile):
        block = read_with_margin(ground, row, column, height, width, MARGIN + extra)
        part = mosaic[row : row + height, column : column + width]
        valid = ground.block.valid[row : row + height, column : column + width]
        part[valid] = classifier.probabilities(engine, block, MARGIN + extra)
    return mosaic


@pytest.mark.parametrize(("tile", "extra"), [(7, 0), (16, 0), (64, 5)])
def test_neither_tiles_nor_margins_change_the_map(scene, stages, tile, extra):
    _, classifier = stages
    whole, tiled = probabilities(classifier, scene, 64), probabilities(classifier, scene, tile, extra)
    assert tiled == pytest.approx(whole, abs=1e-4, nan_ok=True)
    valid = scene[0].block.valid
    assert np.array_equal(tiled[valid].argmax(-1), whole[valid].argmax(-1))
    assert (whole[valid].argmax(-1) + 1 == scene[1][valid]).mean() > 0.95


def test_a_classifier_read_back_gives_the_same_bytes(scene, stages, tmp_path):
    facts, classifier = stages
    place = Workspace(tmp_path)
    place.write(place.manifest, {"preset": PRESET.to_dict(), "channels": [4, 1], **facts})
    save_classifier(place, classifier, {"seed": 0})
    back = load_classifier(place)
    assert probabilities(back, scene, 64).tobytes() == probabilities(classifier, scene, 64).tobytes()
    assert back.classes == classifier.classes
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
