"""`classify --dry-run` says what a map would take, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffclip_geo.cli.main import main
from trained import Trained

from diffclip_geo.errors import OptionError
from diffclip_geo.workflow.forecast import _duration, forecast_scenes


def everything(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_it_says_tiles_time_memory_and_disk_and_writes_nothing(
    trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.folder)
    before = everything(trained.folder)
    command = ["classify", "-w", "work", "-o", "map.tif", "--dry-run", "--tile", "16", "--workers", "2", "--ram", "9GB"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "scene.tif: 40 × 48 pixels, about 1,8" in told  # less a few gaps
    assert "exact  about " in told and "9 tiles of 16 × 16 pixels, 2 at a time" in told and "GB of memory" in told
    assert "are free in" in told and told.endswith("Nothing was written.\n")
    assert everything(trained.folder) == before


def test_the_numbers_belong_together(trained: Trained) -> None:
    (one,) = forecast_scenes("map.tif", workspace=trained.workspace, tile=16, workers=3, ram="9GB", proba=True)
    assert one.tile_pixels <= 256 and one.pixels <= 40 * 48 and one.plan.crew.workers == 3
    assert one.seconds == pytest.approx(one.pixels / one.tile_pixels * one.tile_seconds / 3)
    # 11 probabilities, a confidence and a label for every pixel, hardly compressible
    assert 0.5 < one.output / (one.pixels * (12 * 4 + 2)) < 4 / 3
    assert one.scratch > one.output
    with pytest.raises(OptionError, match="--ram: 1 MB is too little for 3 workers"):
        forecast_scenes("map.tif", workspace=trained.workspace, workers=3, ram="1MB")


def test_durations_are_told() -> None:
    seconds = (0.2, 100, 130, 3000, 12_000, 90_000, 200_000)
    assert [_duration(one) for one in seconds] == ["1 s", "100 s", "2.2 min", "50 min", "3.3 h", "25 h", "2.3 days"]
