"""Points to label next: from the workspace to a GeoPackage and back."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from diffclip_geo.cli.main import main
from trained import Trained

from diffclip_geo.errors import OptionError, OutputError, WorkspaceError
from diffclip_geo.grid import Grid
from diffclip_geo.workflow import suggest as module
from diffclip_geo.workflow.fewshot import fewshot
from diffclip_geo.workflow.suggest import suggest
from diffclip_geo.workspace import Workspace


def read(path: Path) -> tuple[dict, np.ndarray, dict[str, np.ndarray]]:
    meta, _, geometry, columns = pyogrio.raw.read(path)
    place = shapely.get_coordinates(shapely.from_wkb(geometry))
    return meta, place, dict(zip(meta["fields"], columns, strict=True))


def label(path: Path, classes: list[str | None]) -> None:
    """Fill in the field "class", as one does in QGIS."""
    meta, _, geometry, columns = pyogrio.raw.read(path)
    fields = dict(zip(meta["fields"], columns, strict=True)) | {"class": np.array(classes, object)}
    path.unlink()
    pyogrio.raw.write(
        path, geometry, list(fields.values()), list(fields), geometry_type="Point", crs=meta["crs"], layer="points"
    )


@pytest.fixture
def workspace(trained: Trained, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.workspace, tmp_path / "work"))


def test_points_lie_on_pixels_without_a_label_and_know_what_they_are_taken_for(
    trained: Trained, workspace: Path, tmp_path: Path
) -> None:
    done = suggest(tmp_path / "points.gpkg", 7, workspace=workspace, min_distance=6)
    meta, place, fields = read(done.path)
    assert fields["id"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert [value is None for value in fields["class"]] == [True] * 7
    assert set(fields["proposed"]) <= set(trained.classes)
    assert ((fields["confidence"] > 0) & (fields["confidence"] <= 1)).all()
    with rasterio.open(trained.scene) as dataset:
        assert rasterio.crs.CRS.from_user_input(meta["crs"]) == dataset.crs
        grid = Grid.of(dataset)
    row, column = grid.pixel_of(*place.T)
    np.testing.assert_allclose(place, np.column_stack(grid.centre_of(row, column)))
    with Workspace(workspace).training_pixels.open() as file:
        used = {(int(one["row"]), int(one["column"])) for one in csv.DictReader(file)}
    assert grid.contains(row, column).all() and not used & set(zip(row.tolist(), column.tolist(), strict=True))
    apart = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1))
    assert apart[np.triu_indices(7, 1)].min() >= 6


@pytest.mark.parametrize("styled", [True, False])
def test_what_is_labelled_goes_back_into_training(
    trained: Trained, workspace: Path, tmp_path: Path, styled: bool
) -> None:
    done = suggest(tmp_path / "points.gpkg", 6, workspace=workspace)
    a, b = trained.classes[:2]
    label(done.path, [a, None, b, a, "", b])
    if not styled:  # lost on the way, with the list of classes in it
        done.path.with_suffix(".qml").unlink()
    learned = fewshot(done.path, workspace=workspace)
    assert learned.pixels.classes.names == tuple(sorted([a, b]))
    assert len(learned.pixels) == 4 and learned.pixels.report.unlabelled == 2
    _, place, _ = read(done.path)
    with rasterio.open(trained.scene) as dataset:
        row, column = Grid.of(dataset).pixel_of(*place[[0, 2, 3, 5]].T)
    assert {*zip(row, column, strict=True)} == {*zip(learned.pixels.row, learned.pixels.column, strict=True)}


def test_new_points_join_the_earlier_labels(trained: Trained, workspace: Path, tmp_path: Path) -> None:
    done = suggest(tmp_path / "points.gpkg", 4, workspace=workspace)
    label(done.path, [trained.classes[0], "moss", None, "moss"])
    learned = fewshot([trained.labels, done.path], workspace=workspace, class_field="class")
    alone = fewshot(trained.labels, workspace=workspace)
    assert set(learned.pixels.classes.names) == {*trained.classes, "moss"}
    assert len(learned.pixels) == len(alone.pixels) + 3
    assert len(set(learned.pixels.group.tolist())) == len(learned.pixels)


def test_the_command_line_says_what_to_do_next(
    trained: Trained, workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "points.gpkg"
    assert main(["suggest", "-o", str(out), "-n", "3", "-w", str(workspace)]) == 0
    assert f"then: diffclip-geo fewshot {trained.labels.resolve()} {out}\n" in capsys.readouterr().out
    label(out, [trained.classes[0], trained.classes[1], None])
    assert main(["fewshot", str(trained.labels), str(out), "-w", str(workspace)]) == 0
    assert "1 features without a class were skipped" in capsys.readouterr().out


def test_before_the_first_labels_points_stand_for_the_scene(workspace: Path, tmp_path: Path) -> None:
    place = Workspace(workspace)
    place.classifier_manifest.unlink()
    done = suggest(tmp_path / "points.gpkg", 5, workspace=workspace)
    _, _, fields = read(done.path)
    assert done.classes is None and len(done.points) == 5
    assert all(value is None for value in fields["proposed"]) and np.isnan(fields["confidence"]).all()


def test_the_style_offers_the_classes(trained: Trained, workspace: Path, tmp_path: Path) -> None:
    suggest(tmp_path / "points.gpkg", 3, workspace=workspace)
    style = (tmp_path / "points.qml").read_text()
    assert all(f'<Option name="{name}" value="{name}"' in style for name in trained.classes)
    assert 'attr="class"' in style and 'type="ValueMap"' in style


def test_large_scenes_are_seen_in_tiles_everywhere(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUDGET", 300)
    monkeypatch.setattr(module, "SIDE", 4)
    first = suggest(tmp_path / "a.gpkg", 6, workspace=workspace, seed=3)
    second = suggest(tmp_path / "b.gpkg", 6, workspace=workspace, seed=3)
    np.testing.assert_array_equal(first.points.place, second.points.place)
    assert np.ptp(first.points.place, axis=0).min() > 30  # metres, of 100 and 120


def test_what_cannot_be_done_is_said(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "points.gpkg"
    for options, fault in (
        ({"count": 0}, "--count: is 0; give at least 1"),
        ({"min_distance": -1}, "--min-distance: is -1; give a distance"),
        ({"min_distance": 1e6}, "leaves no room for a point"),
    ):
        with pytest.raises(OptionError, match=fault):
            suggest(out, workspace=workspace, **options)
    with pytest.raises(OutputError, match=r"points\.shp: is not the name of a GeoPackage"):
        suggest(tmp_path / "points.shp", workspace=workspace)
    with pytest.raises(WorkspaceError):
        suggest(out, workspace=tmp_path / "none")
    assert not out.exists()
    assert main(["suggest", "-o", str(out), "-n", "4", "-w", str(workspace)]) == 0
    printed = capsys.readouterr().out
    assert "4 points at least" in printed and "So far taken for" in printed
    assert main(["suggest", "-o", str(out), "-n", "4", "-w", str(workspace)]) == 1
    assert "points.gpkg: exists already" in capsys.readouterr().err
    said: list[str] = []
    suggest(out, 90, workspace=workspace, min_distance=15, overwrite=True, say=said.append)
    assert "leaves room for" in said[0]
