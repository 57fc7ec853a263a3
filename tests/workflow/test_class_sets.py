"""Class sets from the raster that `classify --sets` writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from diffclip_geo.cli.main import main
from trained import Trained

from diffclip_geo.errors import OptionError
from diffclip_geo.setmaps import pack_sets
from diffclip_geo.workflow.classify import classify


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read()


def test_the_raster_holds_the_size_and_the_classes_of_every_set(trained: Trained, tmp_path: Path) -> None:
    said: list[str] = []
    out = tmp_path / "map.tif"
    done = classify(out, workspace=trained.workspace, sets=0.8, proba=True, say=said.append)
    assert tmp_path / "map_sets.tif" in done.others
    with rasterio.open(tmp_path / "map_sets.tif") as dataset:
        assert dataset.descriptions == ("classes in the set", "classes as bits") and dataset.nodata == 0
        assert dataset.tags()["COVERAGE"] == "0.8" and "bit k - 1" in dataset.tags()["SETS"]
        size, bits = dataset.read()
    labels, probabilities = read(out)[0], read(tmp_path / "map_probabilities.tif")
    known = labels > 0
    members = np.stack([(bits >> k) & 1 for k in range(len(trained.classes))]).astype(bool)
    np.testing.assert_array_equal(members.sum(0), size)
    assert (size[known] >= 1).all() and (size[~known] == 0).all()
    assert np.take_along_axis(members, (labels.astype(int) - 1)[None].clip(0), 0)[0][known].all()
    limit = float(said[-1].split("at least ")[-1].rstrip("."))
    np.testing.assert_array_equal(
        members[:, known] | (np.abs(probabilities[:, known] - limit) < 1e-3),
        (probabilities[:, known] >= limit)
        | (np.abs(probabilities[:, known] - limit) < 1e-3)
        | (np.arange(len(members))[:, None] == labels[known] - 1),
    )
    assert json.loads((tmp_path / "map.json").read_text())["options"]["sets"] == 0.8


def test_too_few_shots_rule_out_no_class(trained: Trained, tmp_path: Path) -> None:
    said: list[str] = []
    classify(tmp_path / "map.tif", workspace=trained.workspace, sets=0.99, say=said.append)
    size = read(tmp_path / "map_sets.tif")[0]
    assert set(np.unique(size)) <= {0, len(trained.classes)}
    assert "too few, every set holds all classes. It takes at least 99." in said[-1]


def test_the_command_line_takes_the_coverage(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ["classify", "-o", str(tmp_path / "map.tif"), "-w", str(trained.workspace), "--sets"]
    assert main([*arguments, "90"]) == 1
    assert capsys.readouterr().err == "Error: --sets: is 90; give a coverage between 0 and 1, such as 0.9\n"
    assert main([*arguments, "0.9"]) == 0
    assert "map_sets.tif" in capsys.readouterr().out


def test_a_classifier_without_held_out_shots_says_so(trained: Trained, tmp_path: Path) -> None:
    from diffclip_geo.tensorfiles import load_tensors, save_tensors
    from diffclip_geo.workspace import Workspace

    shutil.copytree(trained.workspace, tmp_path / "work")
    place = Workspace(tmp_path / "work")
    tensors = {name: t for name, t in load_tensors(place.classifier).items() if not name.startswith("held_out")}
    save_tensors(place.classifier, tensors)
    with pytest.raises(OptionError, match="needs shots that were held out"):
        classify(tmp_path / "map.tif", workspace=place.folder, sets=0.9)
    assert not (tmp_path / "map.tif").exists()


def test_more_than_32_classes_have_sizes_only() -> None:
    inside = np.zeros((33, 1, 2), bool)
    inside[[0, 32], 0, 0] = True
    np.testing.assert_array_equal(pack_sets(inside), [[[2, 0]]])
    np.testing.assert_array_equal(pack_sets(inside[1:]), [[[1, 0]], [[1 << 31, 0]]])
