"""The exported model of a workspace beside its torch engine."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from trained import Trained

from diffclip_geo import onnx_engine
from diffclip_geo.classifier import load_classifier
from diffclip_geo.margins import read_with_margin
from diffclip_geo.onnx_engine import open_onnx_engine
from diffclip_geo.scenes import Scene
from diffclip_geo.workspace import Workspace


@pytest.fixture
def place(trained: Trained, tmp_path: Path) -> Workspace:
    """A copy of the workspace, without a model.onnx."""
    shutil.copytree(trained.workspace, tmp_path / "work")
    (tmp_path / "work" / "model.onnx").unlink(missing_ok=True)
    return Workspace(tmp_path / "work")


def test_labels_are_those_of_torch(place: Workspace) -> None:
    classifier = load_classifier(place)
    scene = Scene.from_dict(place.read(place.manifest, "pretrain")["scenes"][0])
    block = read_with_margin(scene, 0, 0, *scene.grid.shape, classifier.margin)
    image = classifier.stats.normalise(block, classifier.margin)
    engines = [classifier.engine(), open_onnx_engine(place, classifier)]
    embedded = [engine.embed(image) for engine in engines]
    assert len(embedded[0]) > 1000 and float((embedded[0] - embedded[1]).abs().max()) < 1e-5
    language = [classifier.model.scores(one).argmax(1) for one in embedded]
    assert np.mean(language[0] == language[1]) >= 0.999
    blended = [classifier.scores(engine, block, classifier.margin).argmax(1) for engine in engines]
    assert np.mean(blended[0] == blended[1]) >= 0.999


def test_the_model_is_written_once(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = load_classifier(place)
    open_onnx_engine(place, classifier)
    assert not list(place.folder.glob(".*"))  # nothing half-made is left
    monkeypatch.setattr(onnx_engine, "onnx_model", None)
    open_onnx_engine(place, classifier)


def test_a_model_of_another_classifier_or_a_damaged_one_is_replaced(place: Workspace) -> None:
    classifier = load_classifier(place)
    open_onnx_engine(place, classifier)
    written = place.onnx.read_bytes()
    other = onnx.load(place.onnx)
    next(entry for entry in other.metadata_props if entry.key == "classifier").value = "another"
    for content in (other.SerializeToString(), written[:1000]):
        place.onnx.write_bytes(content)
        open_onnx_engine(place, classifier)
        assert place.onnx.read_bytes() == written


def test_a_workspace_that_cannot_be_written_serves_as_well(place: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "write_bytes", refuse)
    assert open_onnx_engine(place, load_classifier(place)).margin == 2
    assert not place.onnx.exists()


def test_others_may_read_a_workspace_as_far_as_the_umask_lets_them(taught: Path, tmp_path: Path) -> None:
    place = Workspace(tmp_path / "work")
    shutil.copytree(taught, place.folder)
    open_onnx_engine(place, load_classifier(place))
    plain = tmp_path / "plain"
    plain.touch()
    files = [path for path in place.folder.rglob("*") if path.is_file()]
    assert {place.encoder, place.classifier, place.student, place.onnx} <= set(files)
    assert {path.name: path.stat().st_mode for path in files} == dict.fromkeys(
        (path.name for path in files), plain.stat().st_mode
    )
