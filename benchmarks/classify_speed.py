"""Pixels per second and peak memory of `classify` on simulated scenes, by both engines, from raster to raster.

    python benchmarks/classify_speed.py 128x128 384x384 1000x1000

Each size is mapped by the exact engine (unless it has more than half a million pixels: that takes long), by the fast
one, which is distilled first, and by the fast one again, with the default preset, but for fewer steps of pretraining:
they change neither speed nor memory. Each command is a process of its own, whose peak resident memory is read from the
operating system. Maps are compared with the full truth and with each other. Results go to
benchmarks/results/classify_speed.json.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from common import run, train, write_results

from diffclip_geo import evaluate

MOST_EXACT = 500_000  # pixels
RUNS = {
    "exact": ("exact", False),
    "fast, distilled first": ("fast", False),
    "fast": ("fast", True),
}


def measure(size: str, folder: Path) -> list[dict[str, object]]:
    """Simulate a scene of this size, train, and map it in all ways; the facts of each."""
    work = train(folder, size, preset="compact")
    truth = folder / "scene" / "truth.tif"
    rows: list[dict[str, object]] = []
    exact = None
    height, width = map(int, size.split("x"))
    for name, (engine, overwrite) in RUNS.items():
        if engine == "exact" and height * width > MOST_EXACT:
            continue
        out = folder / f"{engine}.tif"
        options = ["--engine", engine, *(["--overwrite"] if overwrite else [])]
        if engine == "fast":
            options += ["--accept-agreement", 0]
        seconds, peak = run("classify", "-w", work, "-o", out, *options)
        facts = json.loads(out.with_suffix(".json").read_text())["timings"]
        with rasterio.open(out) as dataset:
            labels = dataset.read(1)
        exact = labels if engine == "exact" else exact
        report = evaluate(out, truth)
        rows.append(
            {
                "size": size,
                "engine": name,
                "pixels": facts["pixels"],
                "seconds": round(seconds, 1),
                "pixels_per_second": round(facts["pixels"] / seconds),
                "seconds_of_mapping": facts["classify_seconds"],
                "peak_mb": round(peak),
                "oa": round(100 * report.oa, 2),
                "aa": round(100 * report.aa, 2),
                "same_label_as_exact": None
                if exact is None
                else round(float(np.mean((labels == exact)[exact > 0])), 5),
                "load_average_after": round(os.getloadavg()[0], 2),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    sizes = sys.argv[1:] or ["128x128"]
    rows = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            rows += measure(size, Path(folder))
    write_results(
        "classify_speed",
        f"python benchmarks/classify_speed.py {' '.join(sizes)}",
        preset="compact",
        bands=144,
        runs=rows,
    )


if __name__ == "__main__":
    main()
