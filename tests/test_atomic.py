"""Output files appear whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from diffclip_geo import atomic
from diffclip_geo.atomic import FileSet, check_outputs
from diffclip_geo.errors import OutputError


def write_set(folder: Path, text: str, overwrite: bool = False) -> None:
    with FileSet(folder / "map.tif", overwrite=overwrite) as files:
        for name in ("map.tif", "map.tif.aux.xml", "map.qml"):
            files.stage(folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_set_appears_on_completion_only(tmp_path: Path) -> None:
    with FileSet(tmp_path / "map.tif") as files:
        files.stage(tmp_path / "map.tif").write_text("new")
        files.scratch("blocks").write_text("temporary")
        assert not (tmp_path / "map.tif").exists()
    assert contents(tmp_path) == {"map.tif": "new"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_old_files_and_no_litter(tmp_path: Path, error: type[BaseException]) -> None:
    write_set(tmp_path, "old")
    with pytest.raises(error), FileSet(tmp_path / "map.tif", overwrite=True) as files:
        files.stage(tmp_path / "map.tif").write_text("half")
        raise error
    assert contents(tmp_path) == {"map.tif": "old", "map.tif.aux.xml": "old", "map.qml": "old"}


def test_overwrite_replaces_all_and_removes_companions(tmp_path: Path) -> None:
    write_set(tmp_path, "old")
    with pytest.raises(OutputError, match=r"exists already; .*--overwrite"):
        write_set(tmp_path, "new")
    with FileSet(tmp_path / "map.tif", overwrite=True) as files:
        files.discard(tmp_path / "map.tif.aux.xml")
        files.stage(tmp_path / "map.tif").write_text("new")
    assert contents(tmp_path) == {"map.tif": "new", "map.qml": "old"}


def test_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="meantime"), FileSet(tmp_path / "map.tif") as files:
        files.stage(tmp_path / "map.tif").write_text("new")
        (tmp_path / "map.tif").write_text("other")
    assert contents(tmp_path) == {"map.tif": "other"}


@pytest.mark.parametrize("killed_after", range(4))
def test_killed_between_renames_is_finished_by_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_after: int
) -> None:
    write_set(tmp_path, "old")
    replace, done = Path.replace, []

    def replace_or_die(self: Path, target: Path) -> Path:
        if self.name != "scratch.moves.json":
            if len(done) == killed_after:
                raise SystemExit("killed")
            done.append(self)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_or_die)
    if killed_after < 3:
        with pytest.raises(SystemExit):
            write_set(tmp_path, "new", overwrite=True)
    else:
        write_set(tmp_path, "new", overwrite=True)
    monkeypatch.undo()
    atomic.finish_interrupted(tmp_path / "map.tif")
    assert contents(tmp_path) == {"map.tif": "new", "map.tif.aux.xml": "new", "map.qml": "new"}


def test_interrupt_between_renames_still_completes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, done = Path.replace, []

    def replace_interrupted(self: Path, target: Path) -> Path:
        done.append(self)
        if len(done) == 3:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_set(tmp_path, "new")
    assert contents(tmp_path) == {"map.tif": "new", "map.tif.aux.xml": "new", "map.qml": "new"}


def test_killed_process_leaves_no_final_file_and_the_next_run_works(tmp_path: Path) -> None:
    code = f"""
        import os
        from pathlib import Path
        from diffclip_geo.atomic import FileSet
        with FileSet(Path({str(tmp_path / "map.tif")!r})) as files:
            files.stage(Path({str(tmp_path / "map.tif")!r})).write_text("half")
            os._exit(9)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False).returncode == 9
    assert not (tmp_path / "map.tif").exists()
    write_set(tmp_path, "new")
    assert contents(tmp_path) == {"map.tif": "new", "map.tif.aux.xml": "new", "map.qml": "new"}


def test_check_outputs_names_the_fault_and_the_remedy(tmp_path: Path) -> None:
    present = tmp_path / "there.tif"
    present.write_text("old")
    check_outputs([tmp_path / "new.tif"])
    check_outputs([present], overwrite=True)
    for paths, options, fault in (
        ([present], {}, "exists already; choose another name or add --overwrite"),
        ([tmp_path], {"overwrite": True}, "is a folder; give the name of a file"),
        ([present], {"overwrite": True, "inputs": [tmp_path / "." / "there.tif"]}, "is also an input"),
        ([tmp_path / "missing" / "map.tif"], {}, "missing does not exist; create it"),
        ([tmp_path / "a.tif", tmp_path / "a.tif"], {}, "named for two outputs"),
    ):
        with pytest.raises(OutputError, match=fault):
            check_outputs(paths, **options)
    assert present.read_text() == "old"
