"""STAC Items that pystac accepts, and ONNX models that ONNX's own checker accepts."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime
import pytest
import rasterio
from diffclip_geo.cli.export import command
from diffclip_geo.cli.main import main
from trained import Trained

from diffclip_geo import __version__
from diffclip_geo.classifier import load_classifier
from diffclip_geo.errors import OptionError, OutputError, RasterError, WorkspaceError
from diffclip_geo.workflow.classify import classify
from diffclip_geo.workflow.export import FORMATS, export
from diffclip_geo.workspace import Workspace

pystac = pytest.importorskip("pystac", reason="pystac is not installed")


def validated(path: Path) -> pystac.Item:
    """The Item, valid by the schema of STAC itself, which comes with pystac; those of extensions are on the web."""
    pytest.importorskip("jsonschema", reason="pystac validates with jsonschema")
    item = pystac.Item.from_file(str(path))
    core = json.loads(path.read_text()) | {"stac_extensions": []}
    pystac.Item.from_dict(core).validate()
    return item


def test_map(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classify(tmp_path / "map.tif", workspace=trained.workspace, proba=True)
    assert main(["export", str(tmp_path / "map.tif"), "--format", "stac"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "map.stac.json")
    item = validated(tmp_path / "map.stac.json")
    assert item.bbox is not None and item.bbox[0] < item.bbox[2] and 52 < item.bbox[1] < 53
    assert set(item.assets) == {
        "map", "confidence", "probabilities", "auxiliary", "style", "quicklook", "provenance",
    }  # fmt: skip
    asset = item.assets["map"]
    assert asset.href.endswith("map.tif") and (tmp_path / "map.tif").stat().st_size == asset.extra_fields["file:size"]
    digest = hashlib.sha256((tmp_path / "map.tif").read_bytes()).hexdigest()
    assert asset.extra_fields["file:checksum"] == f"1220{digest}"
    assert [one["title"] for one in asset.extra_fields["classification:classes"]] == list(trained.classes)
    assert item.properties["proj:code"] == "EPSG:32633" and item.properties["proj:shape"] == [40, 48]
    created = json.loads((tmp_path / "map.json").read_text())["created"]
    assert item.datetime is not None and item.datetime.isoformat() == created
    with pytest.raises(OutputError, match="--overwrite"):
        export(tmp_path / "map.tif")


def test_model(trained: Trained, tmp_path: Path) -> None:
    mlm = pytest.importorskip("pystac.extensions.mlm", reason="pystac has no MLM extension")
    item = validated(export(trained.workspace, tmp_path / "model.json"))
    model = mlm.MLMExtension.ext(item)
    assert model.mlm_name == "diffclip-geo classifier" and model.architecture == "DiffCLIP"
    (given,), (result,) = model.input, model.output
    assert given.input.dim_order == ["batch", "height", "width", "bands"] and given.input.shape[1:3] == [5, 5]
    assert len(given.bands) == given.input.shape[3] == len(item.properties["bands"])
    assert result.result.shape == [-1, len(trained.classes)]
    assert model.total_parameters > 1000
    weights = item.assets["model"]
    assert "mlm:model" in (weights.roles or []) and weights.extra_fields["mlm:artifact_type"].startswith("safetensors")


def test_a_model_tells_how_well_its_student_agrees(taught: Path, trained: Trained, tmp_path: Path) -> None:
    item = validated(export(taught, tmp_path / "model.json"))
    same = json.loads((taught / "student.json").read_text())["agreement"]["same"]
    assert f"{same:.1%} of held-out pixels" in (item.assets["student"].title or "")
    assert "student" not in validated(export(trained.workspace, tmp_path / "other.json")).assets


def test_faults(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(RasterError, match="does not exist"):
        export(tmp_path / "none.tif")
    with pytest.raises(RasterError, match="names no classes"):
        export(trained.scene)
    with pytest.raises(OptionError, match="use one of stac, onnx, student, deepness"):
        export(trained.workspace, format="netcdf")
    with pytest.raises(OptionError, match="is a file, and the model of a workspace is wanted"):
        export(trained.scene, format="onnx")
    with pytest.raises(WorkspaceError, match="holds no workspace"):
        export(tmp_path / "none", format="onnx")


def test_the_command_line_offers_every_format() -> None:
    (choice,) = [one.type for one in command.params if one.name == "format_"]
    assert isinstance(choice, click.Choice) and list(choice.choices) == list(FORMATS)


def test_onnx(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(trained.workspace), "--format", "onnx", "-o", str(tmp_path / "my.onnx")]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "my.onnx")
    model = onnx.load(tmp_path / "my.onnx")
    onnx.checker.check_model(model, full_check=True)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["classes"]) == list(trained.classes)
    assert metadata["version"] == __version__ and metadata["window"] == "5"
    classifier = load_classifier(Workspace(trained.workspace))
    assert json.loads(metadata["normalisation"]) == classifier.stats.to_dict()


def test_the_student_is_written_with_what_is_known_of_it(taught: Path, tmp_path: Path) -> None:
    arguments = [
        "export",
        str(taught),
        "--format",
        "student",
        "-o",
        str(tmp_path / "my.onnx"),
        "--accept-agreement",
        "0",
    ]
    assert main(arguments) == 0
    model = onnx.load(tmp_path / "my.onnx")
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props if entry.key != "version"}
    record = json.loads((taught / "student.json").read_text())
    assert facts["classes"] == record["classes"]["names"] and facts["agreement"] == record["agreement"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value > 5


def test_a_deepness_model_takes_the_rasters_as_they_are(
    taught: Path, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffclip_geo.workflow.mapping.near_shots_of", lambda place, scene: None)
    path = export(taught, tmp_path / "deepness.onnx", format="deepness", accept_agreement=0)
    session = onnxruntime.InferenceSession(path)
    (given,) = session.get_inputs()
    layers = []
    for raster in (trained.scene, trained.lidar):
        with rasterio.open(raster) as dataset:
            values, scale = dataset.read(), np.array(dataset.scales)[:, None, None]
            layers.append(np.where(values == dataset.nodata, values, values * scale))  # as QGIS does
    layer = np.concatenate(layers)
    assert given.shape[1] == len(layer)
    tile = np.full((1, *given.shape[1:]), -9999.0)
    _, height, width = layer.shape
    tile[0, :, 20 : 20 + height, 20 : 20 + width] = layer
    classes = session.run(None, {given.name: np.float32(tile / 255.0)})[0][0].argmax(0)
    classify(tmp_path / "map.tif", workspace=taught, engine="fast", accept_agreement=0)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        expected = dataset.read(1)
    assert (classes[20 : 20 + height, 20 : 20 + width] == expected).mean() > 0.999
    assert classes[:20].max() == 0 and expected.max() > 1


def test_a_student_that_agrees_too_little_is_not_written(taught: Path, tmp_path: Path) -> None:
    shutil.copytree(taught, tmp_path / "work", copy_function=shutil.copy2)
    record = tmp_path / "work" / "student.json"
    facts = json.loads(record.read_text())
    record.write_text(json.dumps(facts | {"agreement": facts["agreement"] | {"same": 0.5}}))
    for name in ("student", "deepness"):
        with pytest.raises(OptionError, match=r"gives only 50\.0% .* --accept-agreement 0\.5"):
            export(tmp_path / "work", format=name)
        assert export(tmp_path / "work", format=name, accept_agreement=0.5).is_file()
