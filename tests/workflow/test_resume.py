"""An interrupted `classify` goes on where it was, and ends with the same map."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from diffclip_geo.cli.main import main
from trained import Trained

from diffclip_geo.errors import DiffClipGeoError, OptionError, OutputError
from diffclip_geo.journal import Journal, journal_path
from diffclip_geo.tilework import TileWork
from diffclip_geo.workflow.classify import classify, classify_scenes

TILE = 16  # 9 tiles
RASTERS = ("map.tif", "map_confidence.tif", "map.qml", "map.tif.aux.xml")


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quicklook takes longer to draw than these maps to make."""
    monkeypatch.setattr(
        "diffclip_geo.workflow.assemble.write_quicklook", lambda _map, png, **_options: png.write_bytes(b"")
    )


@pytest.fixture(scope="module")
def whole(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    classify(folder / "map.tif", workspace=trained.workspace, tile=TILE)
    return contents(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RASTERS}


class Stopping:
    """Computes tiles until so many are done, then fails; counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int, error: BaseException) -> None:
        self.tiles: list = []
        self.after = after
        compute = TileWork.__call__

        def counted(work, tile):
            if len(self.tiles) >= self.after:
                raise error
            self.tiles.append(tile)
            return compute(work, tile)

        monkeypatch.setattr(TileWork, "__call__", counted)


@pytest.fixture
def stopped(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A map that was interrupted after 3 tiles."""
    with pytest.MonkeyPatch.context() as patch:
        Stopping(patch, 3, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            classify(tmp_path / "map.tif", workspace=trained.workspace, tile=TILE, workers=1)
    return tmp_path / "map.tif"


def test_an_interrupted_map_goes_on_and_computes_nothing_twice(
    trained: Trained, stopped: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    counter = Stopping(monkeypatch, 2, KeyboardInterrupt())
    command = ["classify", "-w", str(trained.workspace), "-o", str(stopped), "--workers", "1", "--resume"]
    assert main(command) == 130
    told = capsys.readouterr()
    assert "5 of 9 tiles are finished and kept: the same command with --resume goes on from them" in told.out
    assert [path.name for path in stopped.parent.iterdir()] == [".map.tif.tiles"]
    counter.after = 99
    assert main(command) == 0
    assert len(counter.tiles) == len(set(counter.tiles)) == 6
    assert contents(stopped.parent) == whole
    assert not list(stopped.parent.glob(".*"))


def test_without_resume_it_starts_anew(
    trained: Trained, stopped: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = Stopping(monkeypatch, 99, KeyboardInterrupt())
    classify(stopped, workspace=trained.workspace, tile=TILE)
    assert len(counter.tiles) == 9 and contents(stopped.parent) == whole


def test_resume_of_nothing_is_a_start(trained: Trained, tmp_path: Path, whole: dict[str, bytes]) -> None:
    classify(tmp_path / "map.tif", workspace=trained.workspace, tile=TILE, resume=True)
    assert contents(tmp_path) == whole
    with pytest.raises(OutputError, match="exists already"):
        classify(tmp_path / "map.tif", workspace=trained.workspace, tile=TILE, resume=True)


def test_products_may_change_when_tiles_do_not(trained: Trained, stopped: Path) -> None:
    classify(stopped, workspace=trained.workspace, resume=True, sieve=4, min_confidence=0.2)
    facts = json.loads(stopped.with_suffix(".json").read_text())
    assert facts["options"]["sieve"] == 4


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"confidence": "margin"}, "was begun with confidence max-prob, and now it is confidence margin; go back"),
        ({"proba": True}, "was begun with proba False, and now it is proba True"),
        ({"tile": 8}, "was begun with tile 16, and now it is tile 8"),
    ],
)
def test_other_options_are_refused_and_the_tiles_kept(
    trained: Trained, stopped: Path, options: dict, told: str
) -> None:
    before = journal_path(stopped).read_bytes()
    with pytest.raises(OutputError, match=told):
        classify(stopped, workspace=trained.workspace, resume=True, **options)
    with pytest.raises(OptionError, match="--sieve: is -1"):
        classify(stopped, workspace=trained.workspace, sieve=-1)
    assert journal_path(stopped).read_bytes() == before


def test_another_model_or_image_is_refused(trained: Trained, stopped: Path) -> None:
    for path, told in (
        (trained.scene, f"{trained.scene.resolve()} of"),
        (trained.workspace / "classifier.json", "cal"),
    ):
        data, status = path.read_bytes(), path.stat()
        path.write_bytes(data.replace(b"  ", b" ", 1))
        try:
            with pytest.raises(OutputError, match=f"was begun with (another )?{told}"):
                classify(stopped, workspace=trained.workspace, resume=True)
        finally:
            path.write_bytes(data)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_an_image_that_changes_while_it_is_mapped_is_noticed(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, add = trained.lidar.stat(), Journal.add

    def touched(*arguments):
        trained.lidar.touch()
        add(*arguments)

    monkeypatch.setattr(Journal, "add", touched)
    try:
        with pytest.raises(DiffClipGeoError, match="has changed while it was mapped"):
            classify(tmp_path / "map.tif", workspace=trained.workspace)
        assert not (tmp_path / "map.tif").exists()
    finally:
        os.utime(trained.lidar, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_of_several_scenes_those_with_a_map_are_left_out(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.tif").symlink_to(trained.scene)
    options = {"scene": str(tmp_path / "?.tif"), "lidar": [str(trained.lidar)], "workspace": trained.workspace}
    options |= {"tile": 24, "workers": 1}
    counter = Stopping(monkeypatch, 5, KeyboardInterrupt())  # 4 tiles each
    with pytest.raises(KeyboardInterrupt):
        classify_scenes(tmp_path / "maps", **options)
    counter.after, told = 99, []
    done = classify_scenes(tmp_path / "maps", resume=True, say=told.append, **options)
    assert [one.label_map.name for one in done] == ["b.tif", "c.tif"] and len(counter.tiles) == 12
    assert any("a.tif, there already" in line for line in told)


@pytest.mark.parametrize("moment", ["workflow.assemble.write_quicklook", "polygons.write_polygons"])
def test_interrupted_while_files_are_written(
    trained: Trained, tmp_path: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    options = {"workspace": trained.workspace, "tile": TILE, "polygons": tmp_path / "map.gpkg"}
    with monkeypatch.context() as patch:
        patch.setattr(f"diffclip_geo.{moment}", interrupted)
        with pytest.raises(KeyboardInterrupt):
            classify(tmp_path / "map.tif", **options)
    assert (tmp_path / "map.tif").exists() == ("polygons" in moment)
    counter = Stopping(monkeypatch, 0, AssertionError("all tiles were done"))
    classify(tmp_path / "map.tif", resume=True, **options)
    assert not counter.tiles and (tmp_path / "map.gpkg").exists() and contents(tmp_path) == whole


# One process imports everything once, and forks the runs that it kills.
NURSERY = """
import json, os, random, signal, sys, time
from pathlib import Path
from diffclip_geo.journal import Journal
from diffclip_geo.workflow.classify import classify

workspace, out, log, kills = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
add = Journal.add


def slow(self, number, arrays):
    with log.open("a") as file:
        file.write(f"{number}\\n")
    add(self, number, arrays)
    time.sleep(0.02)


Journal.add = slow
random.seed(5)
while True:
    before = log.stat().st_size
    child = os.fork()
    if not child:
        classify(out / "map.tif", workspace=workspace, tile=16, resume=True)
        os._exit(0)
    if kills:
        while log.stat().st_size == before and not (out / "map.tif").exists():
            time.sleep(0.001)
        time.sleep(random.random() * 0.1)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        sys.exit(status)
    kills -= 1
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_killed_at_random_moments(trained: Trained, tmp_path: Path, whole: dict[str, bytes]) -> None:
    log, kills = tmp_path / "tiles.txt", 3
    log.touch()
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", NURSERY, str(trained.workspace), str(tmp_path / "out"), str(log), str(kills)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    numbers = [int(line) for line in log.read_text().splitlines()]
    # A tile that was on its way to the journal when the kill came is the only one that may come twice.
    assert len(numbers) - len(set(numbers)) <= kills and set(numbers) == set(range(9))
    assert contents(tmp_path / "out") == whole and not list((tmp_path / "out").glob(".*"))
