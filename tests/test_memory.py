"""Sizes, what is available, and the bound on GDAL's cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from rasterio._env import get_gdal_config

from diffclip_geo import memory
from diffclip_geo.errors import OptionError
from diffclip_geo.memory import GB, available_memory, bound_block_cache, default_ram, parse_size, resident, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4 * GB), (" 1.5 gib", 1610612736), ("800m", 800_000_000), ("123456789", 123456789), (".5 TB", 5 * 10**11)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "four", "4 XB", "-1GB", "1,5GB"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(OptionError, match="give a size such as 4GB"):
        parse_size(text)


def test_sizes_are_told() -> None:
    assert list(map(size_text, (1_234_000_000, 310_400_000, 4_600))) == ["1.2 GB", "310 MB", "5 kB"]


def test_there_is_some_memory() -> None:
    assert 10_000_000 < resident() < available_memory() + resident()
    assert 0 < default_ram() <= min(8 * GB, available_memory())


def group(folder: Path, names: tuple[str, str], limit: str, used: int, reclaimable: str, cached: int) -> None:
    folder.mkdir(parents=True)
    for name, value in zip(names, (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"other 1\n{reclaimable} {cached}\n")


def test_what_is_left_to_control_groups_of_either_version(tmp_path: Path) -> None:
    two, one = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")
    group(tmp_path / "job" / "step", two, "max", 700, "inactive_file", 0)
    group(tmp_path / "memory" / "job", one, "5000", 1500, "total_inactive_file", 500)
    for name, value in zip(two, ("1000", "700"), strict=True):
        (tmp_path / "job" / name).write_text(value)
    (tmp_path / "job" / "memory.stat").write_text("inactive_file 100\n")
    membership = tmp_path / "membership"
    membership.write_text("0::/job/step\n")
    assert list(memory._left_to_groups(membership, tmp_path)) == [400]
    membership.write_text("3:cpu:/job\n4:hugetlb,memory:/job\n")
    assert list(memory._left_to_groups(membership, tmp_path)) == [4000]
    assert not list(memory._left_to_groups(tmp_path / "missing", tmp_path))


def test_the_block_cache_is_bounded_and_let_go() -> None:
    before = get_gdal_config("GDAL_CACHEMAX")
    with bound_block_cache(33_000_000):
        assert get_gdal_config("GDAL_CACHEMAX") == 33_000_000
    assert get_gdal_config("GDAL_CACHEMAX") == before


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux is told")
def test_freed_memory_is_kept_also_where_dask_has_it_returned() -> None:
    program = """
import resource, sys
import numpy as np
from diffclip_geo.memory import keep_freed
if sys.argv[1] == "keep":
    keep_freed()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    np.ones(2**18)  # 2 MB, or 512 pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {}
    for what in ("keep", "return"):
        command = [sys.executable, "-c", program, what]
        environment = os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536"}
        faults[what] = int(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert faults["keep"] < 5000 < 50000 < faults["return"]
