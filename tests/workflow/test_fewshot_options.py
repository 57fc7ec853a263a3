"""`fewshot` with its further heads and texts, and the maps that come of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import rasterio
import torch
from diffclip_geo.cli.main import main
from open_clip.transformer import TextTransformer
from safetensors.torch import save_file
from trained import Trained

from diffclip_geo.classifier import load_classifier
from diffclip_geo.prompts import load_texts
from diffclip_geo.workspace import Workspace


@pytest.fixture
def workspace(trained: Trained, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained.workspace, tmp_path / "work"))


def test_the_ldc_head_and_clip_weights_reach_the_map(trained: Trained, workspace: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "clip.safetensors"
    save_file(TextTransformer(width=64, heads=1, layers=1, output_dim=24).state_dict(), weights)
    options = ["--head", "ldc", "--text-weights", str(weights), "--texts", "simulated", "--shots", "3"]
    assert main(["fewshot", str(trained.labels), "-w", str(workspace), *options]) == 0
    place = Workspace(workspace)
    facts = place.read(place.classifier_manifest, "fewshot")
    assert facts["language"]["head"] == "ldc" and len(facts["text_weights"]["sha256"]) == 64
    assert facts["texts"] == [load_texts("simulated")[name] for name in trained.classes]
    assert load_classifier(place).model.head is not None
    weights.unlink()  # the file is not needed any more
    maps = []
    for tile in ("64", "13"):
        out = tmp_path / f"map{tile}.tif"
        assert main(["classify", "-o", str(out), "-w", str(workspace), "--tile", tile]) == 0
        with rasterio.open(out) as dataset:
            maps.append(dataset.read(1))
    assert (maps[0] == maps[1]).all() and (maps[0] > 0).any()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--head", "lcd"], 2, "'lcd' is not one of"),
        (["--text-weights", "none.safetensors"], 1, "none.safetensors: there is no such file of text weights"),
        (["--texts", "none"], 1, "none: there is no such class-text file; check the path, or use one of"),
    ],
)
def test_wrong_options_leave_the_classifier_as_it_was(
    trained: Trained, workspace: Path, capsys: pytest.CaptureFixture, options: list[str], code: int, said: str
) -> None:
    before = (workspace / "classifier.safetensors").read_bytes()
    assert main(["fewshot", str(trained.labels), "-w", str(workspace), *options]) == code
    assert said in capsys.readouterr().err
    assert (workspace / "classifier.safetensors").read_bytes() == before
    assert json.loads((workspace / "classifier.json").read_text())["language"]["head"] == "similarity"
