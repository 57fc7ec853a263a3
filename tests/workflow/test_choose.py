"""Which engine `classify` takes, and what it says of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
from diffclip_geo.cli.main import main
from trained import Trained

from diffclip_geo.errors import OptionError
from diffclip_geo.fast import CELL, Agreement, FastEngine
from diffclip_geo.scenes import Scene
from diffclip_geo.workflow import choose
from diffclip_geo.workflow.classify import classify, classify_scenes
from diffclip_geo.workflow.forecast import forecast_scenes


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quicklook takes longer to draw than these maps to make."""
    monkeypatch.setattr(
        "diffclip_geo.workflow.assemble.write_quicklook", lambda _map, png, **_options: png.write_bytes(b"")
    )


@pytest.fixture
def agreeing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Students that agree with their teacher on the share in this list."""
    load, share = FastEngine.load.__func__, [0.99]

    def loaded(kind, place, scenes):
        found = load(kind, place, scenes)
        return None if found is None else replace(found, agreement=Agreement(share[0], 1234, 0.1))

    monkeypatch.setattr(FastEngine, "load", classmethod(loaded))
    return share


def options_of(path: Path) -> dict:
    return json.loads(path.with_suffix(".json").read_text())["options"]


def test_few_pixels_are_mapped_exactly(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "find_student", None)  # nobody asks
    classify(tmp_path / "map.tif", workspace=trained.workspace)
    assert options_of(tmp_path / "map.tif")["engine"] == "exact"
    with rasterio.open(tmp_path / "map.tif") as dataset:
        tags = json.loads(dataset.tags()["OPTIONS"])
    assert tags["engine"] == "exact" and tags["runtime"] == "torch" and "agreement" not in tags


def test_many_pixels_are_mapped_by_the_student(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agreeing: list[float]
) -> None:
    monkeypatch.setattr(choose, "FEW", 1000)
    told: list[str] = []
    classify(tmp_path / "map.tif", workspace=taught, say=told.append)
    found = options_of(tmp_path / "map.tif")
    assert found["engine"] == "fast" and 0 <= found["agreement"] <= 1 and len(found["student"]) == 64
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert json.loads(dataset.tags()["OPTIONS"])["agreement"] == found["agreement"]
    assert not any("Distilling" in line for line in told)
    agreeing[0] = 0.9
    classify(tmp_path / "other.tif", workspace=taught, say=told.append)
    assert options_of(tmp_path / "other.tif")["engine"] == "exact"
    fault = "gives only 90.0% of 1,234 held-out pixels the class of the exact one"
    assert f"Exact engine, since the fast one {fault}." in told


def test_a_student_that_agrees_too_little_is_refused_unless_accepted(
    taught: Path, tmp_path: Path, agreeing: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    agreeing[0] = 0.876
    command = ["classify", "-w", str(taught), "-o", str(tmp_path / "map.tif"), "--engine", "fast"]
    assert main(command) == 1
    assert "--engine fast: gives only 87.6% of 1,234 held-out" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert main([*command, "--accept-agreement", "0.87"]) == 0


def test_the_student_is_distilled_first_and_told_of(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list = []

    def distil(place, scenes, *, device, workers, progress, say):
        taught.append((place.folder, len(scenes), device, workers))
        raise OptionError("student", "has a cold", "wait")

    monkeypatch.setattr("diffclip_geo.workflow.distil.distil", distil)
    monkeypatch.setattr(choose, "FEW", 0)
    told: list[str] = []
    classify(tmp_path / "map.tif", workspace=trained.workspace, workers=2, say=told.append)
    assert taught == [(trained.workspace, 1, "cpu", 2)]
    assert "Distilling the fast engine from the exact one …" in told
    assert "Exact engine, since the fast one has a cold." in told
    for name in ("a", "b"):
        (tmp_path / f"{name}.tif").symlink_to(trained.scene)
    scenes = {"scene": str(tmp_path / "[ab].tif"), "lidar": [str(trained.lidar)], "workspace": trained.workspace}
    with pytest.raises(OptionError, match="has a cold"):
        classify_scenes(tmp_path / "maps", engine="fast", **scenes)
    assert taught[1][1] == 2  # one student for both


def test_counting_ends_when_it_is_settled(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, looks = Scene.open(trained.scene), []
    may_be_valid = Scene.may_be_valid

    def counted(*arguments):
        looks.append(arguments)
        return may_be_valid(*arguments)

    monkeypatch.setattr(Scene, "may_be_valid", counted)
    monkeypatch.setattr(choose, "_WINDOW", 16)
    assert choose._are_few([scene]) and not looks  # the grid is small enough
    monkeypatch.setattr(choose, "FEW", 300)
    assert not choose._are_few([scene]) and len(looks) == 2
    monkeypatch.setattr(choose, "FEW", 1910)  # of 40 × 48, less a few gaps
    assert choose._are_few([scene]) and len(looks) == 11


def test_neither_tile_nor_workers_change_a_byte_of_the_fast_engine(taught: Path, tmp_path: Path) -> None:
    facts = json.loads((taught / "student.json").read_text())
    maps = []
    shutil.copytree(taught, tmp_path / "work", copy_function=shutil.copy2)
    (tmp_path / "work" / "student.json").write_text(json.dumps(facts | {"cell": 8}))
    for number, options in enumerate(({"tile": 8}, {"tile": 17, "workers": 3}, {"workers": 1})):
        path = tmp_path / f"{number}.tif"
        classify(path, workspace=tmp_path / "work", engine="fast", accept_agreement=0, **options)
        maps.append(path.with_name(f"{number}_confidence.tif").read_bytes())
    assert maps[0] == maps[1] == maps[2]


def test_a_dry_run_times_both_engines(trained: Trained, taught: Path) -> None:
    told: list[str] = []
    exact, fast = forecast_scenes("map.tif", workspace=taught, say=told.append)
    assert (exact.engine, fast.engine) == ("exact", "fast") and fast.plan.tiles.side % CELL == 0
    assert [line.split()[0] for line in told[1:4]] == ["exact", "fast", "files"]
    forecast_scenes("map.tif", workspace=trained.workspace, say=told.append)
    assert "no student for this yet" in told[-2]


def test_a_map_by_a_student_that_is_there_takes_neither_torch_nor_vectors(taught: Path, tmp_path: Path) -> None:
    program = f"""
import sys
from diffclip_geo.cli.main import main
code = main(["classify", "-w", {str(taught)!r}, "-o", {str(tmp_path / "map.tif")!r}, "--engine", "fast",
             "--accept-agreement", "0", "--device", "cpu"])
assert code == 0 and "onnxruntime" in sys.modules
assert not {{"torch", "pyogrio"}} & set(sys.modules), "they take seconds to import"
"""
    subprocess.run([sys.executable, "-c", program], check=True)
