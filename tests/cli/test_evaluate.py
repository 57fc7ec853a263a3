"""`diffclip-geo evaluate` as typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from diffclip_geo.cli.main import main

from diffclip_geo.classes import ClassTable
from diffclip_geo.grid import Grid
from diffclip_geo.maps import LabelMapWriter


@pytest.fixture
def maps(tmp_path: Path) -> tuple[str, str]:
    grid = Grid(10, 10, Affine(1, 0, 0, 0, -1, 10), None)
    truth = np.repeat([[1], [2]], 5, axis=0) * np.ones((1, 10), np.uint8)
    mapped = truth.copy()
    mapped[0] = 2
    for name, labels in (("map.tif", mapped), ("truth.tif", truth)):
        with LabelMapWriter(tmp_path / name, grid, ClassTable(("Tree", "Road"), ((0, 99, 0), (9, 9, 9)))) as writer:
            writer.write(0, 0, labels)
    return str(tmp_path / "map.tif"), str(tmp_path / "truth.tif")


def test_prints_scores_and_writes_the_report(
    maps: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *maps, "--report", str(tmp_path / "scores.json")]) == 0
    printed = capsys.readouterr().out
    assert "Overall accuracy (OA)   90.00 %   of 100 truth pixels" in printed
    assert "rows = truth, columns = map" in printed
    assert "1 Tree       40  10" in printed
    assert json.loads((tmp_path / "scores.json").read_text())["overall_accuracy"] == 0.9


def test_bad_input_is_one_line(maps: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", maps[0], "missing.shp"]) == 1
    assert capsys.readouterr().err == "Error: missing.shp: does not exist; check the path\n"
    assert main(["evaluate", maps[0]]) == 2
