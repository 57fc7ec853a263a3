"""Outputs that appear whole or not at all.

A set of files (a map, its sidecars, its provenance) is written into a staging folder ``.<leader>.partial`` beside its
destination, and moved into place by renames when everything is there. Moving several files is not one step for the file
system, so the list of moves is first written to the staging folder: a run killed between two renames leaves that list,
and the next one that looks at the same output finishes the moves. Without the list the staging folder is litter of an
unfinished run and is removed. Either way one finds the old files whole or the new ones whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from .errors import OutputError

_MOVES = "moves.json"


def check_outputs(paths: Iterable[Path], overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Raise `OutputError` if one of the files could not be written; meant to be called before any work.

    Refused are: an existing file unless `overwrite`, a folder, a file that is also an input, the same file twice, and a
    destination folder that is missing or not writable.
    """
    read = {Path(path).resolve() for path in inputs}
    seen: set[Path] = set()
    for path in map(Path, paths):
        folder = path.parent
        if not folder.is_dir():
            raise OutputError(path, f"the folder {folder} does not exist", "create it or choose another")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(path, f"the folder {folder} is not writable", "choose another folder")
        finish_interrupted(path)
        if path.is_dir():
            raise OutputError(path, "is a folder", "give the name of a file")
        if path.resolve() in read:
            raise OutputError(path, "is also an input", "choose another name for the output")
        if path.resolve() in seen:
            raise OutputError(path, "is named for two outputs", "choose different names")
        if path.exists() and not overwrite:
            raise OutputError(path, "exists already", "choose another name or add --overwrite")
        seen.add(path.resolve())


def finish_interrupted(leader: Path) -> None:
    """Finish, or clean away, what a killed run left of the file set led by `leader`."""
    staging = _staging_folder(leader)
    if (staging / _MOVES).exists():
        _carry_out(staging, leader.parent)
    shutil.rmtree(staging, ignore_errors=True)


class FileSet:
    """Files of one folder that appear together, on leaving the ``with`` block; on any exception none of them does.

    `leader` is the file that users open; it appears last and names the staging folder.
    """

    def __init__(self, leader: Path, *, overwrite: bool = False) -> None:
        self.leader, self.overwrite = Path(leader), overwrite
        self._staging = _staging_folder(self.leader)
        self._names: list[str] = []
        self._stale: list[str] = []

    def __enter__(self) -> FileSet:
        check_outputs([self.leader], self.overwrite)
        self._staging.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            # After an interrupted commit the list of moves is there, and with it the files that are still to be moved.
            if not (self._staging / _MOVES).exists():
                shutil.rmtree(self._staging, ignore_errors=True)

    def stage(self, path: Path) -> Path:
        """Where to write the file that will be `path`. Raises `OutputError` if that exists and must be kept."""
        path = Path(path)
        if path.parent.resolve() != self.leader.parent.resolve():
            raise ValueError(f"{path} is not in the folder of {self.leader}: its move would not be a rename")
        check_outputs([path] if path.name != self.leader.name else [], self.overwrite)
        if path.name not in self._names:
            self._names.append(path.name)
        return self._staging / path.name

    def scratch(self, name: str) -> Path:
        """A place for a temporary file that goes when the set is complete."""
        return self._staging / f"scratch.{name}"

    def discard(self, path: Path) -> None:
        """On completion, remove `path` if it exists: what GDAL noted about an older file, wrong beside the new one."""
        self._stale.append(Path(path).name)

    def _commit(self) -> None:
        folder = self.leader.parent
        check_outputs([folder / name for name in self._names if name != self.leader.name], self.overwrite)
        if self.leader.exists() and not self.overwrite:
            raise OutputError(self.leader, "was made by another run in the meantime", "choose another name")
        names = sorted(self._names, key=lambda name: name == self.leader.name)
        for name in names:
            if not (self._staging / name).exists():
                raise OutputError(folder / name, "was not written, or removed by another run", "run again")
            _flush_to_disk(self._staging / name)
        moves = self.scratch(_MOVES)
        moves.write_text(json.dumps({"move": names, "remove": [name for name in self._stale if name not in names]}))
        moves.replace(self._staging / _MOVES)
        try:
            _carry_out(self._staging, folder)
        except KeyboardInterrupt:
            _carry_out(self._staging, folder)
            raise


def _staging_folder(leader: Path) -> Path:
    return leader.with_name(f".{leader.name}.partial")


def _carry_out(staging: Path, folder: Path) -> None:
    """Do the listed moves that are not done yet; the list goes last, so this can be repeated at any point."""
    todo = json.loads((staging / _MOVES).read_text())
    for name in todo["remove"]:
        with suppress(FileNotFoundError):
            (folder / name).unlink()
    for name in todo["move"]:
        try:
            (staging / name).replace(folder / name)
        except FileNotFoundError:
            continue  # moved before the interruption
        except OSError as error:
            fault = f"cannot be replaced ({error.strerror})"
            raise OutputError(
                folder / name, fault, f"close it in other programs and run again, or move {staging} away"
            ) from error
    (staging / _MOVES).unlink()


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
