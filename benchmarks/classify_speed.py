"""Pixels per second and peak memory of `classify` on simulated scenes, from raster to raster.

    python benchmarks/classify_speed.py 128x128 1000x1000

The network is trained for a few steps only: that changes neither speed nor memory. `classify` runs in its own process,
whose peak resident memory is read from the operating system. Results go to benchmarks/results/classify_speed.json.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "classify_speed.json"
PROGRAM = [sys.executable, "-c", "import sys; from diffclip_geo.cli.main import main; sys.exit(main())"]


def run(*arguments: str) -> tuple[float, float]:
    """Run the program quietly; returns seconds and the peak resident memory of its process in MB."""
    started = time.perf_counter()
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments[0]} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def measure(size: str, folder: Path) -> dict[str, object]:
    """Simulate a scene, train a little, map it; the facts of the mapping."""
    scene, work, out = folder / "scene", folder / "work", folder / "map.tif"
    run("simulate", "--out", str(scene), "--size", size)
    pretrain, pretrain_peak = run(
        "pretrain", str(scene / "scene.tif"), str(scene / "lidar.tif"), "-w", str(work), "--steps", "10"
    )
    run("fewshot", str(scene / "labels.shp"), "-w", str(work))
    seconds, peak = run("classify", "-w", str(work), "--out", str(out))
    record = json.loads(out.with_suffix(".json").read_text())
    pixels = record["timings"]["pixels"]
    return {
        "size": size,
        "pixels": pixels,
        "seconds": round(seconds, 1),
        "pixels_per_second": round(pixels / seconds),
        "peak_mb": round(peak),
        "pretrain_10_steps_seconds": round(pretrain, 1),
        "pretrain_peak_mb": round(pretrain_peak),
        "load_average_after": round(os.getloadavg()[0], 2),
    }


def main() -> None:
    sizes = sys.argv[1:] or ["128x128"]
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(size, Path(folder)))
            print(rows[-1], flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    facts = {
        "command": f"python benchmarks/classify_speed.py {' '.join(sizes)}",
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "commit": commit.stdout.strip(),
        "preset": "compact",
        "runs": rows,
    }
    RESULTS.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
