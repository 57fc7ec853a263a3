"""The journal of finished tiles: what is in it can be trusted, whatever happened to the run or the disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffclip_geo.errors import OutputError
from diffclip_geo.journal import Journal, journal_path

FACTS = {"engine": "exact", "tile": 64, "confidence": "max-prob"}
TILES = 5


def pixels(number: int) -> list[np.ndarray]:
    random = np.random.default_rng(number)
    return [random.integers(0, 9, (4, 3)).astype(np.uint16), random.random((2, 4, 3)).astype(np.float32)]


def write(path: Path, numbers: list[int]) -> None:
    with Journal(path) as journal:
        journal.begin(FACTS, TILES, resume=False)
        for number in numbers:
            journal.add(number, pixels(number))


def check(path: Path, allowed: list[int]) -> list[int]:
    """Every tile that the journal says is there is whole; returns their numbers."""
    with Journal(path) as journal:
        journal.begin(FACTS, TILES, resume=True)
        found = np.flatnonzero(journal.done).tolist()
        assert set(found) <= set(allowed)
        for number in found:
            for array, expected in zip(journal.read(number), pixels(number), strict=True):
                np.testing.assert_array_equal(array, expected)
    return found


def test_tiles_come_back_as_they_were(tmp_path: Path) -> None:
    write(tmp_path / "map.tif", [3, 0])
    assert check(tmp_path / "map.tif", [0, 3]) == [0, 3]
    with Journal(tmp_path / "map.tif") as journal:
        journal.begin(FACTS, TILES, resume=True)
        journal.add(1, [])
        assert journal.read(1) == [] and len(journal.read(3)) == 2
    with Journal(tmp_path / "map.tif") as journal:
        journal.begin(FACTS | {"tile": 8}, TILES, resume=False)
        assert not journal.done.any()
    assert not journal_path(tmp_path / "map.tif").exists()


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 1500), filler=st.binary(max_size=40))
def test_a_torn_end_costs_only_what_was_torn(tmp_path_factory: pytest.TempPathFactory, cut: int, filler: bytes) -> None:
    path = tmp_path_factory.mktemp("torn") / "map.tif"
    write(path, [0, 1, 2])
    whole = journal_path(path).read_bytes()
    journal_path(path).write_bytes(whole[:cut] + filler)
    first = len(check(path, [0, 1, 2]))
    assert first == 3 if cut >= len(whole) else first < 3 or whole[cut:].startswith(filler)
    with Journal(path) as journal:  # and it can be gone on with
        journal.begin(FACTS, TILES, resume=True)
        journal.add(4, pixels(4))
    assert check(path, [0, 1, 2, 4])[-1] == 4


@settings(max_examples=40, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_never_taken_for_pixels(
    tmp_path_factory: pytest.TempPathFactory, place: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flipped") / "map.tif"
    write(path, [0, 1, 2])
    data = bytearray(journal_path(path).read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    journal_path(path).write_bytes(data)
    assert len(check(path, [0, 1, 2])) < 3


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"confidence": "margin"}, "was begun with confidence max-prob, and now it is confidence margin; go back"),
        ({"tile": 32}, "was begun with tile 64, and now it is tile 32"),
        ({"engine": "x" * 64}, "was begun with engine exact, and now it is another engine"),
        ({"sets": 0.9}, "was begun with sets nothing, and now it is sets 0.9"),
    ],
)
def test_other_facts_are_refused_by_name(tmp_path: Path, changes: dict, told: str) -> None:
    write(tmp_path / "map.tif", [0])
    with Journal(tmp_path / "map.tif") as journal, pytest.raises(OutputError, match=told):
        journal.begin(FACTS | changes, TILES, resume=True)
    assert check(tmp_path / "map.tif", [0]) == [0]


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with Journal(tmp_path / "map.tif") as journal:
        journal.begin(FACTS, TILES, resume=True)
        journal.add(0, pixels(0))
        with pytest.raises(OutputError, match="is being made by another run"):
            Journal(tmp_path / "map.tif")
    assert check(tmp_path / "map.tif", [0]) == [0]


def test_what_a_killed_run_had_added_is_there(tmp_path: Path) -> None:
    code = (
        f"import os, sys; sys.path[:0] = {sys.path!r}\n"
        "from test_journal import *\n"
        f"journal = Journal(Path({str(tmp_path / 'map.tif')!r}))\n"
        "journal.begin(FACTS, TILES, resume=True)\n"
        "for number in (2, 4): journal.add(number, pixels(number))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parent).returncode == -9
    assert check(tmp_path / "map.tif", [2, 4]) == [2, 4]


def test_a_full_disk_keeps_what_was_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Journal(tmp_path / "map.tif") as journal:
        journal.begin(FACTS, TILES, resume=True)
        journal.add(0, pixels(0))
        write_whole = journal._file.write

        class Full:
            def __getattr__(self, name: str) -> object:
                return getattr(file, name)

            def write(self, data: bytes) -> int:
                if len(data) < 40:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return write_whole(data[: len(data) // 2])

        file = journal._file
        monkeypatch.setattr(journal, "_file", Full())
        with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\); check the free space"):
            journal.add(1, pixels(1))
    assert check(tmp_path / "map.tif", [0]) == [0]


def test_placing_is_remembered(tmp_path: Path) -> None:
    write(tmp_path / "map.tif", [0])
    with Journal(tmp_path / "map.tif") as journal:
        journal.about_to_place()
    with Journal(tmp_path / "map.tif") as journal:
        assert journal.placing
        journal.drop()
    assert not list(tmp_path.iterdir())
