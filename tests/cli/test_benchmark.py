"""`diffclip-geo benchmark` as typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from diffclip_geo.cli.main import main

from diffclip_geo.simulation import simulate


def test_a_scene_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulate(tmp_path, size=(48, 48), bands=20)
    arguments = ["benchmark", "--hsi", str(tmp_path / "scene.tif"), "--lidar", str(tmp_path / "lidar.tif")]
    arguments += ["--labels", str(tmp_path / "labels.shp"), "-o", str(tmp_path / "acc"), "-m", "spectra-svm"]
    assert main([*arguments, "--shots", "2", "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "scene  random  2 shots  seed 0  spectra-svm  OA" in printed and "acc.html" in printed
    assert "scene, group split, 2 shots per class" in (tmp_path / "acc.txt").read_text()


def test_methods_and_scenes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--list-methods"]) == 0
    printed = capsys.readouterr().out
    for word in ("paper-mask-0.5", "multiscale-extratrees", "Group ablation:", "houston2013"):
        assert word in printed


def test_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["-o", str(tmp_path / "acc")]
    assert main(["benchmark", "trento"]) == 2
    assert main(["benchmark", "trento", *out, "--shots", "few"]) == 2
    assert main(["benchmark", *out, "--hsi", "a.tif"]) == 2
    capsys.readouterr()
    assert main(["benchmark", "trento", "--data", str(tmp_path), *out]) == 1
    assert capsys.readouterr().err.startswith(f"Error: {tmp_path / 'trento'}: there is no such folder; ")


def test_help_needs_no_torch() -> None:
    code = "import sys; import diffclip_geo.cli.benchmark; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
