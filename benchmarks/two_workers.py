"""Two workers of a dask cluster against one, on the same map.

    python benchmarks/two_workers.py [--size 256x128] [--rounds 3]

The exact engine with the default preset, whose tiles are 64 pixels wide: eight of them, which two workers can share
evenly. Each worker is a process with one thread; they have started and loaded the model before the clock starts. Maps
have to have the same bytes. Before each round two processes that share nothing are timed beside one, too: where they
gain less than twice, so will workers. Results go to benchmarks/results/two_workers.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import train, write_results

from diffclip_geo import classify
from diffclip_geo.engines import EngineSpec
from diffclip_geo.workspace import Workspace

CONTROL = """
import time, torch
torch.set_num_threads(1)
rows, weight, query = torch.randn(32 * 122, 64), torch.randn(192, 64), torch.randn(32, 4, 122, 16)
started = time.perf_counter()
for _ in range(400):
    torch.nn.functional.gelu(rows @ weight.T)
    torch.nn.functional.scaled_dot_product_attention(query, query, query)
print(time.perf_counter() - started)
"""
RASTERS = ("map.tif", "map_confidence.tif")


def control() -> float:
    """The throughput of two processes that share nothing beside that of one: what the machine itself allows."""

    def slowest(copies: int) -> float:
        command = [sys.executable, "-c", CONTROL]
        running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(copies)]
        return max(float(one.communicate()[0]) for one in running)

    return 2 * slowest(1) / slowest(2)


def load(spec: EngineSpec) -> None:
    """Have the engine in memory, as a worker has it after its first tile."""
    spec.load()


def main() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    from distributed import Client, LocalCluster

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="256x128")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    maps, controls = set(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = train(folder, given.size, preset="compact")
        for _ in range(given.rounds):
            controls.append(round(control(), 2))
            for workers, times in seconds.items():
                with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
                    Client(cluster, set_as_default=False).run(load, EngineSpec.exact(Workspace(work), "cpu"))
                    started = time.perf_counter()
                    options = {"engine": "exact", "scheduler": cluster.scheduler_address, "overwrite": True}
                    classify(folder / "map.tif", workspace=work, **options)
                    times.append(time.perf_counter() - started)
                maps.add(b"".join((folder / name).read_bytes() for name in RASTERS))
                print(workers, "workers:", round(times[-1], 1), "s", flush=True)
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    write_results(
        "two_workers",
        f"python benchmarks/two_workers.py --size {given.size} --rounds {given.rounds}",
        size=f"{given.size} × 144 bands and LiDAR",
        seconds={f"{workers} workers": [round(one, 1) for one in times] for workers, times in seconds.items()},
        times_as_fast=[round(ratio, 2) for ratio in ratios],
        median_times_as_fast=round(statistics.median(ratios), 2),
        throughput_of_two_processes_that_share_nothing=controls,
        maps_byte_identical=len(maps) == 1,
    )


if __name__ == "__main__":
    main()
