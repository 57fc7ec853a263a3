"""How much memory there is, and keeping GDAL within its share of it."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import rasterio

from .errors import OptionError

MB, GB = 10**6, 10**9
_MOST = 8 * GB  # that are taken without being asked for
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # in malloc.h
_LARGEST_BLOCK = 32 * 2**20  # bytes, that glibc takes from its heap
_UNITS = {"": 1, "K": 10**3, "M": MB, "G": GB, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def parse_size(text: str) -> int:
    """Bytes of a size such as 4GB, 1.5 GiB or 800M. Raises OptionError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([KMGT]I?)?B?\s*", text, re.IGNORECASE)
    if match is None:
        raise OptionError("--ram", f"cannot read {text!r}", "give a size such as 4GB or 800MB")
    return int(float(match[1]) * _UNITS[(match[2] or "").upper()])


def size_text(size: float) -> str:
    """A size for people: 1.2 GB, 310 MB, 5 kB."""
    if size >= GB:
        return f"{size / GB:.1f} GB"
    return f"{size / MB:.0f} MB" if size >= MB else f"{size / 1000:.0f} kB"


def default_ram() -> int:
    """Half of the memory that is available to the process, at most 8 GB."""
    return min(_MOST, available_memory() // 2)


def available_memory() -> int:
    """Bytes that the process could still take: those of the machine, or what is left to its control group."""
    return min([psutil.virtual_memory().available, *_left_to_groups(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))])


def resident() -> int:
    """Bytes of the process that are in memory now."""
    size: int = psutil.Process().memory_info().rss
    return size


def give_back() -> None:
    """Return freed memory to the system, which the C library of Linux (glibc) does not do by itself."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def keep_freed() -> None:
    """Keep freed memory for what comes next, up to a bound; only the C library of Linux (glibc) is told.

    Dask has its workers return every freed block at once. Networks take and free megabytes thousands of times a second,
    and fetching each page anew takes as long as computing.
    """
    setting = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if setting is not None:
        setting(_MMAP_THRESHOLD, _LARGEST_BLOCK)
        setting(_TRIM_THRESHOLD, 2 * _LARGEST_BLOCK)


@contextmanager
def bound_block_cache(size: int) -> Iterator[None]:
    """Hold GDAL's cache of raster blocks to `size` bytes, in all threads of the process."""
    with rasterio.Env(GDAL_CACHEMAX=size):
        yield


def _left_to_groups(membership: Path, mount: Path) -> Iterator[int]:
    """What is left in each control group (version 1 or 2) that the process is in, from the innermost to the root.

    The cache of files can be given up and counts as left. In a container the groups above it cannot be seen.
    """
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except OSError:
        return  # not Linux
    for _, controllers, path in lines:
        if controllers == "":
            names, root = ("memory.max", "memory.current", "inactive_file"), mount
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            root = mount / "memory"
        else:
            continue
        inner = root / path.lstrip("/")
        for group in (inner, *(one for one in inner.parents if one == root or root in one.parents)):
            left = _left(group, *names)
            if left is not None:
                yield left


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> int | None:
    try:
        most, used = int((group / limit).read_text()), int((group / usage).read_text())
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None  # no such group here, or "max": no limit
    return max(0, most - used + int(facts.get(reclaimable, 0)))
