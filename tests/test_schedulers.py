"""Threads and processes do the same work, and what goes down with a process is done again."""

from __future__ import annotations

import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from rasterio._env import get_gdal_config
from worker_functions import die, look

from diffclip_geo import schedulers
from diffclip_geo.errors import WorkerError
from diffclip_geo.schedulers import Crew, open_pool
from diffclip_geo.tiles import Tile, Tiles, stream

CREW = Crew(workers=2, threads=1, cache=48_000_000)
TILES = Tiles(20, 20, 4)


def test_threads_share_the_process(tmp_path: Path) -> None:
    (tmp_path / "died").touch()
    before = get_gdal_config("GDAL_CACHEMAX")
    with open_pool("threads", CREW) as pool:
        found = dict(stream(TILES, partial(look, tmp_path), pool))
    assert {tile: one[0] for tile, one in found.items()} == {tile: tile.row + tile.column for tile in TILES}
    assert {one[1:] for one in found.values()} == {(os.getpid(), CREW.cache)}
    assert get_gdal_config("GDAL_CACHEMAX") == before


def test_the_tiles_of_a_killed_process_are_done_by_another(tmp_path: Path) -> None:
    with open_pool("processes", CREW) as pool:
        found = dict(stream(TILES, partial(look, tmp_path), pool))
    assert (tmp_path / "died").exists()
    assert {tile: one[0] for tile, one in found.items()} == {tile: tile.row + tile.column for tile in TILES}
    assert os.getpid() not in {one[1] for one in found.values()}
    assert {one[2] for one in found.values()} == {CREW.cache}


def test_processes_that_always_die_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffclip_geo.tiles._PATIENCE", 1)
    with pytest.raises(WorkerError, match="they may lack memory"), open_pool("processes", CREW) as pool:
        list(stream(TILES, die, pool))


def test_another_process_bounds_its_cache_and_keeps_freed_memory_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    caches: list[int] = []
    monkeypatch.setattr(schedulers, "_settings", [])
    monkeypatch.setattr(schedulers, "keep_freed", lambda: kept.append(1))
    monkeypatch.setattr(schedulers.rasterio, "Env", lambda GDAL_CACHEMAX: caches.append(GDAL_CACHEMAX) or nullcontext())
    for column in range(3):
        assert schedulers.run(Crew(1, 1, 4321), lambda tile: tile.column, Tile(0, column, 1, 1)) == column
    assert kept == [1] and caches == [4321]
