"""Nearness to labels, from `fewshot` to the map."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from diffclip_geo.cli.main import main
from scipy.spatial.distance import cdist
from trained import Trained

from diffclip_geo.errors import WorkspaceError
from diffclip_geo.exclusion import read_training_pixels
from diffclip_geo.fast import FastEngine
from diffclip_geo.grid import Grid
from diffclip_geo.scenes import Scene
from diffclip_geo.workflow.classify import classify
from diffclip_geo.workflow.distil import Sample, distil
from diffclip_geo.workflow.suggest import suggest
from diffclip_geo.workspace import Workspace


@pytest.fixture
def place(trained: Trained, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(trained.workspace, tmp_path / "work")))


def set_nearness(place: Workspace, strength: float, reach: float = 60.0) -> None:
    facts = place.read(place.classifier_manifest, "fewshot")
    place.write(place.classifier_manifest, facts | {"nearness": {"strength": strength, "reach": reach}})


def labels_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        found: np.ndarray = dataset.read(1)
    return found


def test_overwhelming_nearness_maps_the_class_of_the_nearest_label(place: Workspace, tmp_path: Path) -> None:
    set_nearness(place, 2000.0, reach=500.0)
    found = labels_of(classify(tmp_path / "map.tif", workspace=place.folder, engine="exact").label_map)
    _, row, column, label = read_training_pixels(place.training_pixels)
    rows, columns = np.nonzero(found)
    distance = cdist(np.stack([rows, columns], 1), np.stack([row, column], 1))
    first, second = np.sort(distance, axis=1)[:, :2].T
    clear = second - first > 8.5  # weights are interpolated between points up to 3√2 pixels away
    assert clear.sum() > 20
    assert (found[rows, columns] == label[distance.argmin(1)])[clear].all()


@pytest.mark.parametrize("engine", ["exact", "fast"])
def test_neither_tiles_nor_processes_change_the_map(taught: Path, tmp_path: Path, engine: str) -> None:
    place = Workspace(Path(shutil.copytree(taught, tmp_path / "work")))
    scenes = [Scene.from_dict(one) for one in place.read(place.manifest, "pretrain")["scenes"]]
    student = FastEngine.load(place, scenes)
    assert student is not None
    set_nearness(place, 4.0, reach=20.0)
    student.save(place, {}, scenes)  # as that of the changed classifier
    maps = []
    for number, options in enumerate(({}, {"tile": 7}, {"scheduler": "processes"})):
        out = tmp_path / f"map{number}.tif"
        done = classify(out, workspace=place.folder, engine=engine, accept_agreement=0, proba=True, **options)
        with rasterio.open(done.others[0]) as dataset:
            maps.append((labels_of(done.label_map).tobytes(), dataset.read().tobytes()))
    assert maps[0] == maps[1] == maps[2]


def test_agreement_is_that_of_the_two_maps_on_pixels_held_out(place: Workspace, tmp_path: Path) -> None:
    set_nearness(place, 8.0, reach=20.0)
    scene = Scene.from_dict(place.read(place.manifest, "pretrain")["scenes"][0])
    told = distil(place, [scene]).agreement
    exact, fast = (
        labels_of(
            classify(tmp_path / f"{engine}.tif", workspace=place.folder, engine=engine, accept_agreement=0).label_map
        )
        for engine in ("exact", "fast")
    )
    held_out = [
        np.s_[c.row : c.row + c.height, c.column : c.column + c.width] for c in Sample.draw([scene], 0).held_out
    ]
    same = np.concatenate([(exact[part] == fast[part])[exact[part] > 0] for part in held_out])
    assert told.pixels == len(same)
    assert told.same == pytest.approx(same.mean(), abs=1.1 / len(same))  # cells differ in the last bits


def test_a_scene_elsewhere_is_mapped_without(place: Workspace, trained: Trained, tmp_path: Path) -> None:
    moved = []
    for path in (trained.scene, trained.lidar):
        moved.append(shutil.copy(path, tmp_path / f"moved_{path.name}"))
        with rasterio.open(moved[-1], "r+") as dataset:
            here = dataset.transform
            dataset.transform = Affine(here.a, here.b, here.c + 50_000, here.d, here.e, here.f)
    maps = []
    for strength in (0.0, 50.0):
        set_nearness(place, strength)
        out = tmp_path / f"map{strength:g}.tif"
        maps.append(labels_of(classify(out, workspace=place.folder, scene=moved[0], lidar=moved[1]).label_map))
    assert (maps[0] == maps[1]).all()


def test_fewshot_says_what_nearness_counts_and_goes_without_it(
    trained: Trained, place: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fewshot", str(trained.labels), "-w", str(place.folder)]) == 0
    facts = place.read(place.classifier_manifest, "fewshot")["nearness"]
    assert facts["strength"] > 0 and facts["reach"] == 60
    told = f"the odds of a class grow {np.exp(facts['strength']):,.1f}-fold beside its labels"
    assert f"Nearness: {told}, and less with distance up to 60 pixels." in capsys.readouterr().out
    assert main(["info", str(place.folder)]) == 0
    assert f"nearness     {told}" in capsys.readouterr().out
    assert main(["fewshot", str(trained.labels), "-w", str(place.folder), "--no-nearness"]) == 0
    assert place.read(place.classifier_manifest, "fewshot")["nearness"] is None
    assert "Nearness" not in capsys.readouterr().out


def test_lost_training_pixels_are_told(place: Workspace, tmp_path: Path) -> None:
    place.training_pixels.unlink()
    with pytest.raises(WorkspaceError, match=r"holds no training_pixels.csv; run `diffclip-geo fewshot` again"):
        classify(tmp_path / "map.tif", workspace=place.folder)
    assert not (tmp_path / "map.tif").exists()


def test_the_map_says_what_nearness_counted(place: Workspace, tmp_path: Path) -> None:
    set_nearness(place, 1.5)
    classify(tmp_path / "map.tif", workspace=place.folder)
    facts = json.loads((tmp_path / "map.json").read_text())
    assert facts["options"]["nearness"] == {"strength": 1.5, "reach": 60.0}


def test_a_model_on_its_own_is_said_to_be_without(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["-o", str(tmp_path / "fast.onnx"), "--accept-agreement", "0"]
    assert main(["export", str(taught), "--format", "student", *options]) == 0
    said = capsys.readouterr()
    assert "The model does not know where labels lie" in said.err and "--no-nearness" in said.err
    assert said.out.strip() == str(tmp_path / "fast.onnx")


def test_points_to_label_next_know_how_near_labels_are(place: Workspace, trained: Trained, tmp_path: Path) -> None:
    _, row, column, label = read_training_pixels(place.training_pixels)
    taken_for_the_nearest = []
    for strength in (0.0, 2000.0):
        set_nearness(place, strength, reach=500.0)
        points = suggest(tmp_path / f"points{strength:g}.gpkg", 60, workspace=place.folder).points
        with rasterio.open(trained.scene) as dataset:
            at = Grid.of(dataset).pixel_of(*np.asarray(points.place).T)
        nearest = label[cdist(np.stack(at, 1), np.stack([row, column], 1)).argmin(1)]
        taken_for_the_nearest.append(np.mean(np.array(points.proposed) == np.array(trained.classes)[nearest - 1]))
    assert taken_for_the_nearest[0] < 0.3 < 0.6 < taken_for_the_nearest[1]  # points that are in doubt between two
