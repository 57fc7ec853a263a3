"""What `classify` writes with each of its options."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
from diffclip_geo.cli.main import main
from trained import Trained

from diffclip_geo.categories import read_categories
from diffclip_geo.errors import LabelError, OptionError, OutputError, WorkspaceError
from diffclip_geo.evaluation import evaluate
from diffclip_geo.exclusion import TrainingGround
from diffclip_geo.maps import MEASURE_TAG
from diffclip_geo.workflow.classify import classify


@pytest.fixture(scope="session")
def plain(trained: Trained) -> Path:
    classify(trained.folder / "plain.tif", workspace=trained.workspace)
    return trained.folder / "plain.tif"


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_probabilities_belong_to_labels_and_confidence(trained: Trained, plain: Path, tmp_path: Path) -> None:
    done = classify(tmp_path / "map.tif", workspace=trained.workspace, proba=True)
    with rasterio.open(tmp_path / "map_probabilities.tif") as dataset:
        assert dataset.descriptions == trained.classes
        probabilities = dataset.read()
    labels, sure = read(tmp_path / "map.tif")[0], read(tmp_path / "map_confidence.tif")[0]
    known = labels > 0
    np.testing.assert_array_equal(probabilities.argmax(0)[known] + 1, labels[known])
    np.testing.assert_allclose(probabilities.max(0)[known], sure[known], rtol=1e-5)
    np.testing.assert_allclose(probabilities.sum(0)[known], 1, rtol=1e-4)
    assert np.isnan(probabilities[:, ~known]).all()
    np.testing.assert_array_equal(labels, read(plain)[0])
    assert done.others == (tmp_path / "map_probabilities.tif",)


def test_unsure_pixels_are_unclassified(trained: Trained, plain: Path, tmp_path: Path) -> None:
    sure = read(plain.with_name("plain_confidence.tif"))[0]
    limit = float(np.nanmedian(sure))
    done = classify(tmp_path / "map.tif", workspace=trained.workspace, min_confidence=limit)
    labels, before, count = read(tmp_path / "map.tif")[0], read(plain)[0], len(trained.classes)
    np.testing.assert_array_equal(labels, np.where((before > 0) & (sure < limit), count + 1, before))
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert read_categories(dataset)[count + 1] == "unclassified"
    assert 'label="unclassified"' in (tmp_path / "map.qml").read_text()
    assert 'label="unclassified"' not in plain.with_suffix(".qml").read_text()
    assert done.pixels == ((labels > 0) & (labels <= count)).sum() and len(done.counts) == count
    found = evaluate(tmp_path / "map.tif", trained.truth)
    assert set(found.names) == set(trained.classes) and 0.3 < found.coverage < 0.7


def test_sieve_and_polygons(trained: Trained, plain: Path, tmp_path: Path) -> None:
    classify(tmp_path / "map.tif", workspace=trained.workspace, sieve=6, polygons=tmp_path / "out.gpkg")
    _, _, _, (names, values, pixels, *_) = pyogrio.raw.read(tmp_path / "out.gpkg", layer="classes")
    assert pixels.sum() == (read(tmp_path / "map.tif") > 0).sum() and set(names) <= set(trained.classes)
    assert np.median(pixels) >= 6 and len(values) < (np.diff(read(plain)[0].astype(int)) != 0).sum()
    assert json.loads((tmp_path / "map.json").read_text())["options"]["sieve"] == 6


def test_envi(trained: Trained, plain: Path, tmp_path: Path) -> None:
    classify(tmp_path / "map.dat", workspace=trained.workspace, format="envi", proba=True)
    assert "file type = ENVI Classification" in (tmp_path / "map.hdr").read_text()
    np.testing.assert_array_equal(read(tmp_path / "map.dat"), read(plain))
    assert read(tmp_path / "map_probabilities.dat").shape[0] == len(trained.classes)
    with pytest.raises(OutputError, match=r"let it end in \.dat"):
        classify(tmp_path / "map.tif", workspace=trained.workspace, format="envi")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"min_confidence": 2}, "--min-confidence: is 2"),
        ({"sieve": -1}, "--sieve: is -1"),
        ({"format": "png"}, "'png' is not known"),
        ({"polygons": "out.shp"}, r"let it end in \.gpkg"),
    ],
)
def test_wrong_options(trained: Trained, tmp_path: Path, options: dict, fault: str) -> None:
    with pytest.raises((OptionError, OutputError), match=fault):
        classify(tmp_path / "map.tif", workspace=trained.workspace, **options)
    assert not list(tmp_path.iterdir())


def test_measure_is_in_the_tags(trained: Trained, plain: Path, tmp_path: Path) -> None:
    classify(tmp_path / "map.tif", workspace=trained.workspace, confidence="margin")
    for path, measure in (
        (plain.with_name("plain_confidence.tif"), "max-prob"),
        (tmp_path / "map_confidence.tif", "margin"),
    ):
        with rasterio.open(path) as dataset:
            assert dataset.tags()[MEASURE_TAG] == measure
    assert evaluate(plain, trained.truth).calibration is not None
    assert evaluate(tmp_path / "map.tif", trained.truth).calibration is None


def test_training_pixels_are_recorded_and_left_out(
    trained: Trained, plain: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as wide:
        around = TrainingGround.around
        wide.setattr(
            TrainingGround, "around", lambda grids, scene, row, column, _: around(grids, scene, row, column, 99)
        )
        with pytest.raises(LabelError, match="no labelled pixel outside the training windows"):
            evaluate(plain, trained.truth, exclude_training=trained.workspace)  # they cover this small scene
    ground = TrainingGround.of_workspace(trained.workspace)
    assert len(trained.classes) <= ground.pixels <= 3 * len(trained.classes) and ground.side == 5
    assert main(["evaluate", str(plain), str(trained.truth), "--exclude-training", "-w", str(trained.workspace)]) == 0
    assert f"truth pixels were left out: {ground.pixels} training pixels and the" in capsys.readouterr().out
    (trained.workspace / "training_pixels.csv").rename(trained.workspace / "moved.csv")
    try:
        with pytest.raises(WorkspaceError, match="run `diffclip-geo fewshot` again"):
            TrainingGround.of_workspace(trained.workspace)
    finally:
        (trained.workspace / "moved.csv").rename(trained.workspace / "training_pixels.csv")


def test_command_line(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "map.dat"
    options = ["--proba", "--min-confidence", "0.1", "--sieve", "3", "--polygons", str(tmp_path / "m.gpkg")]
    assert main(["classify", "-o", str(out), "-w", str(trained.workspace), "--format", "envi", *options]) == 0
    assert "map_probabilities.dat, m.gpkg" in capsys.readouterr().out
