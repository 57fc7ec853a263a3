"""The main job as users type it, and what they find afterwards."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from diffclip_geo.cli.main import main
from trained import Trained, write_preset

from diffclip_geo import classify, demo, pretrain
from diffclip_geo.errors import DiffClipGeoError
from diffclip_geo.simulation import simulate


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_three_commands_exactly_as_typed(tmp_path, monkeypatch, capsys):
    simulate(tmp_path, size=(40, 48), bands=12, labels_per_class=4)
    preset = write_preset(tmp_path / "tiny.toml")
    monkeypatch.chdir(tmp_path)
    assert main(["pretrain", "scene.tif", "lidar.tif", "--preset", str(preset)]) == 0
    assert main(["fewshot", "labels.shp"]) == 0
    assert main(["classify", "--out", "map.tif"]) == 0
    printed = capsys.readouterr().out
    assert "features" in printed and "pixels" in printed  # the table of labels
    assert "Next: diffclip-geo fewshot" in printed and "map.tif" in printed

    with rasterio.open("scene.tif") as scene, rasterio.open("map.tif") as labels:
        assert (labels.crs, labels.transform, labels.shape) == (scene.crs, scene.transform, scene.shape)
        values, nodata = labels.read(1), (scene.read(1) == scene.nodata)
        assert labels.nodata == 0 and values.dtype == np.uint8
        assert (values[nodata] == 0).all() and (values[~nodata] > 0).all()
        tags = labels.tags()
    with rasterio.open("map_confidence.tif") as certainty:
        confidence = certainty.read(1)
    assert (np.isnan(confidence) == nodata).all()
    assert (confidence[~nodata] >= 0).all() and (confidence[~nodata] <= 1).all()
    record = json.loads(Path("map.json").read_text())
    assert {Path(one["path"]).name for one in record["inputs"]} >= {"scene.tif", "lidar.tif"}
    assert json.loads(tags["INPUTS"]) == record["inputs"]
    assert Path("map.png").stat().st_size > 10_000


def test_pretraining_leaves_its_record(trained: Trained):
    with (trained.workspace / "pretraining.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4]
    assert all(float(row["denoising (visible)"]) > 0 and float(row["restoration (masked)"]) > 0 for row in rows)
    for picture in ("pretraining.png", "pretraining_image.png", "pretraining_lidar.png", "fewshot.png"):
        assert (trained.workspace / picture).read_bytes().startswith(b"\x89PNG")
    assert not (trained.workspace / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"tile": 7},
        {"tile": 33, "workers": 3},
        {"tile": 1000, "workers": 1},
        {"tile": 20, "workers": 1, "scheduler": "processes"},
    ],
)
def test_neither_tile_nor_workers_change_a_byte(trained: Trained, tmp_path, options):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    classify(tmp_path / "a" / "map.tif", workspace=trained.workspace)
    classify(tmp_path / "b" / "map.tif", workspace=trained.workspace, **options)
    for name in ("map.tif", "map_confidence.tif"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_workers_of_a_dask_cluster_make_the_same_map(trained: Trained, tmp_path):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    classify(tmp_path / "a" / "map.tif", workspace=trained.workspace)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        classify(tmp_path / "b" / "map.tif", workspace=trained.workspace, tile=16, scheduler=cluster.scheduler_address)
    for name in ("map.tif", "map_confidence.tif"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_onnx_runtime_makes_almost_the_same_map(trained: Trained, tmp_path):
    pytest.importorskip("onnxruntime")
    labels = []
    for runtime in ("torch", "onnx"):
        path = tmp_path / f"{runtime}.tif"
        assert main(["classify", "-w", str(trained.workspace), "-o", str(path), "--runtime", runtime]) == 0
        with rasterio.open(path) as dataset:
            labels.append(dataset.read(1))
    assert (labels[0] == labels[1]).mean() >= 0.999
    options = json.loads((tmp_path / "onnx.json").read_text())["options"]
    assert options["runtime"] == "onnx" and options["onnxruntime"]


def test_a_cluster_that_does_not_answer_is_said_so(trained: Trained, tmp_path, monkeypatch):
    monkeypatch.setattr("diffclip_geo.clusters.CONNECT", 0.3)
    with pytest.raises(DiffClipGeoError, match="does not answer"):
        classify(tmp_path / "map.tif", workspace=trained.workspace, scheduler="tcp://127.0.0.1:9")
    assert not list(tmp_path.iterdir())


def test_a_finished_workspace_is_kept_unless_told(trained: Trained):
    before = files(trained.workspace)
    with pytest.raises(DiffClipGeoError, match="--overwrite"):
        pretrain(trained.scene, trained.lidar, workspace=trained.workspace)
    assert files(trained.workspace) == before


def test_an_interrupted_pretraining_resumes_to_the_same_weights(trained: Trained, tmp_path, monkeypatch):
    preset = str(write_preset(tmp_path / "tiny.toml"))
    whole = pretrain(trained.scene, trained.lidar, workspace=tmp_path / "whole", preset=preset)
    monkeypatch.setattr("diffclip_geo.pretraining.CHECKPOINT_EVERY", 2)
    steps = []

    def stop(self, *arguments):
        save(self, *arguments)
        steps.append(1)
        raise KeyboardInterrupt

    from diffclip_geo.pretraining import Checkpoint

    save = Checkpoint.save
    monkeypatch.setattr(Checkpoint, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        pretrain(trained.scene, trained.lidar, workspace=tmp_path / "cut", preset=preset)
    monkeypatch.setattr(Checkpoint, "save", save)
    assert steps and not (tmp_path / "cut" / "workspace.json").exists()
    resumed = pretrain(trained.scene, trained.lidar, workspace=tmp_path / "cut", preset=preset, resume=True)
    assert resumed.losses == whole.losses
    weights = [(tmp_path / name / "encoder.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["classify", "--out", "map.tif", "-w", "nowhere"], 1, "run `diffclip-geo pretrain` first"),
        (["fewshot", "labels.shp", "-w", "nowhere"], 1, "run `diffclip-geo pretrain` first"),
        (["pretrain", "missing.tif"], 1, "missing.tif: "),
        (["pretrain", "missing.tif", "--preset", "huge"], 1, "use one of compact"),
        (["classify"], 2, "--out"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, arguments, code, said):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    errors = capsys.readouterr().err.strip()
    assert said in errors
    if code == 1:
        assert len(errors.splitlines()) == 1 and errors.startswith("Error: ")
    assert not list(tmp_path.iterdir())


def test_interruption_has_its_own_exit_code(monkeypatch, capsys):
    def interrupt(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("diffclip_geo.workflow.pretrain.pretrain", interrupt)
    assert main(["pretrain", "scene.tif"]) == 130
    assert capsys.readouterr().err.strip().endswith("Interrupted.")


def test_demo_shows_map_and_truth(tmp_path):
    lines: list[str] = []
    done = demo(tmp_path / "demo", preset=str(write_preset(tmp_path / "tiny.toml")), size=(40, 48), say=lines.append)
    report = json.loads((tmp_path / "demo" / "accuracy.json").read_text())
    assert report["overall_accuracy"] == pytest.approx(done.evaluation.oa) if "overall_accuracy" in report else True
    assert done.picture.read_bytes().startswith(b"\x89PNG")
    assert [line[:3] for line in lines if line[1:3] == "/5"] == ["1/5", "2/5", "3/5", "4/5", "5/5"]


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from diffclip_geo.cli.main import main; code = main(['--help']);"
        "heavy = {'torch', 'timm', 'rasterio', 'numpy'} & set(sys.modules); sys.exit(code or len(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fewshot" in done.stdout
