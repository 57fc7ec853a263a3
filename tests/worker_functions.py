"""Work for other processes, in a module that they import quickly."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from rasterio._env import get_gdal_config


def look(folder: Path, tile: tuple[int, ...]) -> tuple[int, int, int]:
    """A sum, the process and its block cache; the worker that gets the first tile dies over it, once."""
    if tile[:2] == (0, 0):
        try:
            (folder / "died").touch(exist_ok=False)
            die(tile)
        except FileExistsError:
            pass
    return tile[0] + tile[1], os.getpid(), get_gdal_config("GDAL_CACHEMAX")


def die(_tile: tuple[int, ...]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
