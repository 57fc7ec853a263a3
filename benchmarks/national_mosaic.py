"""What a national mosaic costs, computed from measured rates: a table for docs/scaling.md.

    python benchmarks/national_mosaic.py [--pixels 1e12] [--workers 100] [--price 0.05]

Rates come from results/flight_line.json (the fast engine, whole commands on the larger scene) and
results/exact_speed.json (the exact engine of the preset `compact` on torch, computing alone), both divided by the cores
that they had; results/two_workers.json tells what is lost when workers are added. `--price` is what an hour of a core
costs, in any currency. Nothing is measured here.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
BYTES = 2 * 144  # per pixel of an image of 144 bands in int16
MAP_BYTES = 2  # per pixel of labels and confidence, before compression


def read_results(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pixels", type=float, default=1e12)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--price", type=float, default=0.05)
    given = parser.parse_args()
    line, speed, two = (read_results(name) for name in ("flight_line", "exact_speed", "two_workers"))
    cores = int(line["machine"].split()[0])
    large = next(rows for name, rows in line.items() if name.startswith("runs_on_"))
    fast = next(row for row in large if row["method"] == "fast engine")
    exact = next(run for run in speed["runs"] if run["size"] == "compact" and run["cores"] == cores)["methods"][
        "exact, torch"
    ]
    kept = min(1.0, two["median_times_as_fast"] / 2)
    columns = (
        "Engine",
        "px/s a core",
        f"{given.workers} workers",
        "hours of cores",
        f"at {given.price:g} an hour",
        "read",
    )
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|")
    for name, row in (("fast", fast), ("exact", exact)):
        rate = row["pixels_per_second"] / cores
        hours = given.pixels / (rate * kept) / 3600
        disk = rate * kept * given.workers * BYTES / 1e9
        days = hours / given.workers / 24
        cost = hours * given.price
        print(f"| {name} | {rate:,.0f} | {days:,.1f} days | {hours:,.0f} | {cost:,.0f} | {disk:,.2g} GB/s |")
    taken, made = (given.pixels * size / 1e12 for size in (BYTES, MAP_BYTES))
    print(f"\n{given.pixels:g} pixels: {taken:,.0f} TB of image in, {made:,.0f} TB of map out.")


if __name__ == "__main__":
    main()
