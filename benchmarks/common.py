"""What the measurements of `classify` share: a quickly trained workspace, large scenes, runs with their peak memory."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window

from diffclip_geo.presets import load_preset

RESULTS = Path(__file__).parent / "results"
PROGRAM = [sys.executable, "-c", "import sys; from diffclip_geo.cli.main import main; sys.exit(main())"]
_LAUNCHER = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
TINY: dict[str, dict[str, Any]] = {
    "encoder": {"window": 5, "width": 16, "depth": 2, "heads": 2},
    "decoder": {"width": 16, "depth": 1, "heads": 2},
    "pretraining": {"steps": 4, "batch": 16},
    "fewshot": {"epochs": 1, "least_steps": 4, "most_steps": 4, "text_width": 16, "text_depth": 1, "text_heads": 2},
}


def timed(command: Sequence[object], quiet: bool = True) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of a command.

    A small process starts it and tells: what this one holds would count as the command's at the moment of its birth.
    """
    started = time.perf_counter()
    sink = subprocess.DEVNULL if quiet else None
    launcher = [sys.executable, "-S", "-c", _LAUNCHER, *map(str, command)]
    process = subprocess.run(launcher, stdout=subprocess.PIPE, stderr=sink, text=True, check=False)
    seconds = time.perf_counter() - started
    status, peak = map(int, process.stdout.split()[-2:])
    if status:
        raise SystemExit(f"{' '.join(map(str, command))[:500]} failed")
    return seconds, peak / 1024


def run(*arguments: object, quiet: bool = True) -> tuple[float, float]:
    """`timed` for our program."""
    return timed([*PROGRAM, *arguments], quiet)


def tiny_preset(path: Path) -> Path:
    """The compact preset with a small network and few steps."""
    lines = []
    for name, table in load_preset("compact").to_dict().items():
        if not isinstance(table, dict):
            lines.insert(0, f"{name} = {json.dumps(table)}")
            continue
        settings = table | TINY.get(name, {})
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def train(folder: Path, size: str, preset: str = "") -> Path:
    """Simulate a scene of this size in `folder`/scene and train a workspace on it; by default the tiny preset."""
    run("simulate", "--out", folder / "scene", "--size", size)
    chosen = preset or str(tiny_preset(folder / "tiny.toml"))
    scene = folder / "scene"
    steps = ["--steps", 10] if preset else []
    run("pretrain", scene / "scene.tif", scene / "lidar.tif", "-w", folder / "work", "--preset", chosen, *steps)
    run("fewshot", scene / "labels.shp", "-w", folder / "work")
    return folder / "work"


def repeat(source: Path, out: Path, times: int, **profile: Any) -> Path:
    """The raster `times` × `times` times side by side, as a GeoTIFF in blocks of 256 pixels unless told otherwise."""
    with rasterio.open(source) as dataset:
        values = dataset.read()
        _, height, width = values.shape
        settings = dataset.profile | {
            "driver": "GTiff",
            "height": height * times,
            "width": width * times,
            "tiled": True,
            "blockxsize": 256,
            "blockysize": 256,
            "compress": "deflate",
            "zlevel": 1,
            "BIGTIFF": "IF_SAFER",
            **profile,
        }
        settings = {name: value for name, value in settings.items() if value is not None}
        with rasterio.open(out, "w", **settings) as target:
            for row in range(times):
                for column in range(times):
                    target.write(values, window=Window(column * width, row * height, width, height))
            target.update_tags(**dataset.tags())
            target.update_tags(ns="ENVI", **dataset.tags(ns="ENVI"))
            for band in range(1, dataset.count + 1):
                target.set_band_description(band, dataset.descriptions[band - 1] or f"band {band}")
                target.update_tags(band, **dataset.tags(band))
    return out


def mask(like: Path, out: Path, share: float, side: int = 256) -> Path:
    """A mask that leaves about this share of the squares of `side` pixels, spread evenly."""
    with rasterio.open(like) as dataset:
        height, width, place = dataset.height, dataset.width, dataset.profile
    row, column = np.mgrid[: -(-height // side), : -(-width // side)]
    chosen = (row * 0.618 + column * 0.382) % 1 < share
    kept = np.kron(chosen, np.ones((side, side), np.uint8)).astype(np.uint8)[:height, :width]
    same = {name: place[name] for name in ("height", "width", "crs", "transform")}
    with rasterio.open(out, "w", driver="GTiff", count=1, dtype="uint8", compress="deflate", **same) as target:
        target.write(kept, 1)
    return out


def write_results(name: str, command: str, **facts: Any) -> None:
    """Write the facts with those of the machine to results/`name`.json."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    head = {
        "command": command,
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "commit": commit.stdout.strip(),
        "load_average_at_end": round(os.getloadavg()[0], 2),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(head | facts, indent=2) + "\n")
