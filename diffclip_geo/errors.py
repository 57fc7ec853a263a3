"""Errors a user can cause: one line each, naming the file, the fault and the remedy.

The command line prints the message alone and exits with code 1; anything that is not a `DiffClipGeoError` is a bug.
"""

from __future__ import annotations

from os import PathLike, fspath


class DiffClipGeoError(Exception):
    """Base of all expected errors. `str(error)` reads ``thing: fault; remedy``."""

    def __init__(self, thing: str | PathLike[str], fault: str, remedy: str) -> None:
        self.thing, self.fault, self.remedy = fspath(thing), fault, remedy
        super().__init__(f"{self.thing}: {fault}; {remedy}")


class RasterError(DiffClipGeoError):
    """A raster cannot be used: missing, unreadable, off the grid, without valid pixels, with the wrong bands."""


class LabelError(DiffClipGeoError):
    """Labels cannot be used: no class field, no pixel inside the scene, fewer than two classes."""


class WorkspaceError(DiffClipGeoError):
    """The workspace lacks what a command needs, or was written by another version."""


class OutputError(DiffClipGeoError):
    """An output cannot be written, or exists already."""


class OptionError(DiffClipGeoError):
    """An option has a value that cannot be used with these inputs."""


class WorkerError(DiffClipGeoError):
    """Processes or machines that compute tiles were lost, and those that replaced them, too."""
