"""Students of the exact engine of a small workspace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from trained import Trained

from diffclip_geo.classifier import load_classifier
from diffclip_geo.errors import RasterError
from diffclip_geo.fast import FastEngine
from diffclip_geo.margins import read_with_margin
from diffclip_geo.scenes import Scene, inside
from diffclip_geo.workflow import distil as module
from diffclip_geo.workflow.distil import PARTS, Cell, Sample, distil
from diffclip_geo.workspace import Workspace


@pytest.fixture
def place(taught: Path) -> Workspace:
    return Workspace(taught)


@pytest.fixture
def scene(place: Workspace) -> Scene:
    return Scene.from_dict(place.read(place.manifest, "pretrain")["scenes"][0])


def test_cells_are_dealt_into_parts_that_share_none(scene: Scene) -> None:
    sample = Sample.draw([scene, scene], seed=3, pixels=2000)
    parts = (sample.held_out, sample.validation, sample.training)
    everything = [cell for part in parts for cell in part]
    assert len(set(everything)) == len(everything) and {cell.scene for cell in everything} == {0, 1}
    sizes = [sum(int(scene.read(*cell[1:]).valid.sum()) for cell in part) for part in parts]
    assert 2000 <= sum(sizes) < 2000 + 64
    assert np.divide(sizes, sum(sizes)) == pytest.approx(list(PARTS.values()), abs=0.06)
    assert (
        Sample.draw([scene, scene], seed=3, pixels=2000) == sample != Sample.draw([scene, scene], seed=4, pixels=2000)
    )


def test_too_few_cells_are_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_cells", lambda _scene, number: [Cell(number, 0, 0, 8, 8), Cell(number, 0, 8, 8, 8)])
    with pytest.raises(RasterError, match="has too few valid pixels to distil a student from"):
        Sample.draw([scene], seed=0)


def test_a_student_gives_most_pixels_the_class_of_its_teacher(place: Workspace, scene: Scene) -> None:
    engine, classifier = FastEngine.load(place, [scene]), load_classifier(place)
    assert engine is not None
    margin = max(classifier.margin, engine.margin)
    block = read_with_margin(scene, 0, 0, *scene.grid.shape, margin)
    fast, exact = engine.probabilities(block, margin), classifier.probabilities(classifier.engine(), block, margin)
    assert len(fast) == inside(block.valid, margin).sum()
    assert (fast.argmax(1) == exact.argmax(1)).mean() > 0.9
    assert fast.sum(1) == pytest.approx(1, abs=1e-5)


def test_training_again_makes_the_same_student(
    place: Workspace, scene: Scene, trained: Trained, tmp_path: Path
) -> None:
    shutil.copytree(trained.workspace, tmp_path / "work", copy_function=shutil.copy2)
    told: list[str] = []
    again = distil(Workspace(tmp_path / "work"), [scene], workers=1, say=told.append)
    first = FastEngine.load(place, [scene])
    assert first is not None and again.model == first.model and again.agreement == first.agreement
    facts = json.loads((tmp_path / "work" / "student.json").read_text())
    assert told == [
        f"Fast engine: distilled from {facts['sample']['training']:,} pixels in {facts['seconds']:.0f} s;"
        f" {again.agreement.same:.1%} of {again.agreement.pixels:,} held-out pixels have the class of the exact engine."
    ]
