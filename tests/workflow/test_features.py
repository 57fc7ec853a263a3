"""Pictures of features: where the map has data, from which encoder, with which points."""

from __future__ import annotations

import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import rasterio
from diffclip_geo.cli.main import main
from trained import Trained

from diffclip_geo.encoder_features import ColourComponents
from diffclip_geo.errors import OutputError
from diffclip_geo.workflow.features import features


def test_components_and_scatter(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "features.tif"
    assert main(["features", "-o", str(out), "-w", str(trained.workspace)]) == 0
    assert "three principal components" in capsys.readouterr().out
    with rasterio.open(out) as dataset, rasterio.open(trained.truth) as truth:
        picture = dataset.read()
        assert dataset.dtypes == ("uint8",) * 3 and dataset.nodata == 0 and dataset.transform == truth.transform
        assert dataset.descriptions[0].startswith("principal component 1 (")
        assert dataset.tags()["ENCODER"] == "pretrained, then trained on labels"
        np.testing.assert_array_equal((picture > 0).all(0), truth.read(1) > 0)
    assert all(len(np.unique(band)) > 20 for band in picture)
    assert matplotlib.image.imread(tmp_path / "features.png").shape[0] > 500


def test_with_labels_of_ones_own(trained: Trained, tmp_path: Path) -> None:
    done = features(tmp_path / "f.tif", workspace=trained.workspace, labels=trained.truth, points=4)
    with rasterio.open(trained.truth) as truth:
        counts = np.bincount(truth.read(1).ravel())[1:]
    assert done.points == np.minimum(counts, 4).sum() and done.scatter == tmp_path / "f.png"
    with pytest.raises(OutputError, match="--overwrite"):
        features(tmp_path / "f.tif", workspace=trained.workspace)


def test_before_labels_there_is_no_scatter(trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.workspace, tmp_path / "work")
    (tmp_path / "work" / "classifier.json").unlink()
    done = features(tmp_path / "f.tif", workspace=tmp_path / "work")
    assert done.scatter is None and not (tmp_path / "f.png").exists()
    with rasterio.open(tmp_path / "f.tif") as dataset:
        assert dataset.tags()["ENCODER"] == "pretrained"


def test_colour_components_are_principal_components() -> None:
    points = np.random.default_rng(0).normal(size=(500, 4)) * (5, 3, 2, 0.1)
    found = ColourComponents.fit(points)
    assert np.abs(found.axes).argmax(axis=1).tolist() == [0, 1, 2]
    assert sum(found.share) == pytest.approx(1, abs=0.01)
    colours = found(points)
    assert colours.min() == 1 and colours.max() == 255
    assert np.corrcoef(colours[:, 0], points[:, 0])[0, 1] > 0.98
