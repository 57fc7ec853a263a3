"""Finished tiles of a map in the making, in one file that can be trusted after a kill, a power loss or a full disk.

The file ``.map.tif.tiles`` lies beside the map until that is complete. Records are appended to it, each with a checksum
over all it holds, so data and the note that they are there cannot disagree. Reading ends at the first record that is
not whole, and what follows is cut off. Every few seconds the file is forced to the disk: a kill loses no finished tile,
a power loss those of the last seconds.
"""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import SEEK_END, BytesIO, FileIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import OutputError

try:
    import fcntl
except ImportError:  # Windows, where nothing keeps two runs off one map
    fcntl = None  # type: ignore[assignment]

_RECORD = struct.Struct("<4sQQI")  # kind, number of the tile, bytes that follow, checksum of all three and of them
_HEAD, _TILE, _PLACING = b"DGJ1", b"TILE", b"DONE"
_SYNC = 5.0  # seconds between forcing the file to the disk
_LONGEST = 60  # letters of a value that a message repeats


def journal_path(map_path: Path) -> Path:
    """``.map.tif.tiles`` for ``map.tif``."""
    return map_path.with_name(f".{map_path.name}.tiles")


class Journal:
    """The journal of the map at `map_path`, held open by one run at a time, in a ``with`` block.

    `facts` say what the tiles were made from and with; `done` tells finished tiles (bool `[tiles]`); `placing` is set
    once the finished map is about to get its name.
    """

    def __init__(self, map_path: Path) -> None:
        """Open it, or make an empty one. Raises OutputError when another run has it, or the folder cannot be used."""
        self.map_path, self.path = map_path, journal_path(map_path)
        self.facts: dict[str, Any] | None = None  # none yet
        self.placing = False
        self._place = np.zeros(0, np.int64)  # of each tile's record; 0 while there is none
        self._synced = time.monotonic()
        with self._disk_errors():
            self._file = FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)), "r+")
            self._lock()
            self._read_all()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, and drop it when it holds no tile: there is nothing to go on with."""
        with suppress(OSError):
            if not self.done.any():
                self.path.unlink(missing_ok=True)
            self._file.close()

    @property
    def done(self) -> NDArray[np.bool_]:
        """Which tiles are finished."""
        return self._place > 0

    def begin(self, facts: Mapping[str, Any], tiles: int, *, resume: bool) -> None:
        """Drop what is there and write the facts of a new journal, or `resume` an old one if there is any.

        Raises
        ------
        OutputError
            The tiles of the old one were made from or with something else; the first difference is named.
        """
        now: dict[str, Any] = json.loads(json.dumps(facts))
        if self.facts is None or not resume:
            self._place, self.placing = np.zeros(tiles, np.int64), False
            with self._disk_errors():
                self._file.truncate(0)
            self._append(_HEAD, tiles, json.dumps(now).encode())
            self.facts = now
        then = self.facts
        different = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        if different:
            fault = f"was begun with {_told(different[0], then)}, and now it is {_told(different[0], now)}"
            raise OutputError(self.map_path, fault, "go back to that, or start anew without --resume")

    def add(self, number: int, arrays: Sequence[NDArray]) -> None:
        """Note that a tile is finished, with its pixels. Raises OutputError when the disk is full."""
        buffer = BytesIO()
        for array in arrays:
            np.save(buffer, array, allow_pickle=False)
        self._append(_TILE, number, zlib.compress(buffer.getbuffer(), 1))

    def read(self, number: int) -> list[NDArray]:
        """The pixels of a finished tile."""
        self._file.seek(self._place[number])
        _, _, size, _ = _RECORD.unpack(_exactly(self._file, _RECORD.size))
        data = zlib.decompress(_exactly(self._file, size))
        buffer, arrays = BytesIO(data), []
        while buffer.tell() < len(data):
            arrays.append(np.load(buffer, allow_pickle=False))
        return arrays

    def about_to_place(self) -> None:
        """Note that the finished map is about to get its name. What has that name from now on is this run's own."""
        self._append(_PLACING, 0, b"")
        self._sync()
        self.placing = True

    def drop(self) -> None:
        """Remove the file: the map is complete."""
        self.path.unlink(missing_ok=True)
        self._place[:] = 0

    def _append(self, kind: bytes, number: int, data: bytes) -> None:
        with self._disk_errors():
            place = self._file.seek(0, SEEK_END)
            rest = memoryview(_RECORD.pack(kind, number, len(data), _checksum(kind, number, data)) + data)
            while rest:
                rest = rest[self._file.write(rest) :]
            if time.monotonic() - self._synced > _SYNC:
                self._sync()
        if kind == _TILE:
            self._place[number] = place

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _read_all(self) -> None:
        """Find the whole records, and cut off what follows them."""
        end = 0
        for place, (kind, number, data) in self._records():
            if kind == _HEAD:
                self.facts, self._place = json.loads(data), np.zeros(number, np.int64)
            elif kind == _TILE:
                self._place[number] = place
            self.placing |= kind == _PLACING
            end = place + _RECORD.size + len(data)
        self._file.truncate(end)

    def _records(self) -> Iterator[tuple[int, tuple[bytes, int, bytes]]]:
        left = self._file.seek(0, SEEK_END)
        place = self._file.seek(0)
        while left >= _RECORD.size:
            kind, number, size, checksum = _RECORD.unpack(_exactly(self._file, _RECORD.size))
            left -= _RECORD.size + size
            if left < 0:
                return
            data = _exactly(self._file, size)
            if checksum != _checksum(kind, number, data) or (place == 0) != (kind == _HEAD):
                return
            yield place, (kind, number, data)
            place += _RECORD.size + size

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            fault = "is being made by another run"
            raise OutputError(self.map_path, fault, "wait until that ends, or choose another name") from error
        except OSError:
            pass  # a file system without locks

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            fault = f"cannot be written ({error.strerror})"
            raise OutputError(self.map_path, fault, "check the free space and the permissions of the folder") from error


def _checksum(kind: bytes, number: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(struct.pack("<4sQQ", kind, number, len(data))))


def _exactly(file: FileIO, size: int) -> bytes:
    pieces = []
    while size:
        piece = file.read(size)
        if not piece:
            raise OSError("the journal ends too soon")
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _told(name: str, facts: Mapping[str, Any]) -> str:
    value = str(facts.get(name, "nothing"))
    return f"{name} {value}" if len(value) <= _LONGEST else f"another {name}"
