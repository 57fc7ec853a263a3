"""Workers killed by SIGKILL in the middle of a map: processes of this machine, and workers of a dask cluster.

    python benchmarks/lost_workers.py

Each time one of two workers is killed when some tiles are finished. The map has to have the bytes of one that threads
made undisturbed. Results go to benchmarks/results/lost_workers.json.
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import psutil
from common import train, write_results

from diffclip_geo import classify
from diffclip_geo.journal import Journal

RASTERS = ("map.tif", "map_confidence.tif")
TILE, TILES = 16, 100
KILL_AT = (5, 40)  # finished tiles


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RASTERS}


class Killer:
    """Kills a worker each time so many tiles are in the journal."""

    def __init__(self, workers) -> None:
        self.workers, self.killed, self.finished = workers, 0, 0

    def __enter__(self) -> Killer:
        self.add = add = Journal.add

        def added(journal, number, arrays):
            add(journal, number, arrays)
            self.finished += 1
            if self.finished in KILL_AT:
                os.kill(self.workers()[0], signal.SIGKILL)
                self.killed += 1

        Journal.add = added
        return self

    def __exit__(self, *_: object) -> None:
        Journal.add = self.add


def spawned() -> list[int]:
    """The processes of this one that compute tiles, the one that has computed longest first."""
    found = [one for one in psutil.Process().children() if "spawn_main" in " ".join(one.cmdline())]
    return [one.pid for one in sorted(found, key=lambda one: -one.cpu_times().user)]


def main() -> None:
    import dask.config
    from distributed import LocalCluster

    # A LocalCluster gives up workers that take longer to start again, as they do on a busy machine.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "5 minutes"})
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = train(folder, "160x160")
        for path in ("threads", "processes", "dask"):
            (folder / path).mkdir()
        options = {"workspace": work, "tile": TILE, "workers": 2}
        classify(folder / "threads" / "map.tif", **options)
        expected = contents(folder / "threads")
        with Killer(spawned) as killer:
            classify(folder / "processes" / "map.tif", scheduler="processes", **options)
        rows.append({"scheduler": "processes", "workers_killed": killer.killed, "tiles_finished": killer.finished})
        rows[-1]["map_byte_identical"] = contents(folder / "processes") == expected
        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            pids = lambda: [nanny.process.pid for nanny in cluster.workers.values()]  # noqa: E731
            with Killer(pids) as killer:
                classify(folder / "dask" / "map.tif", scheduler=cluster.scheduler_address, **options)
        rows.append({"scheduler": "dask", "workers_killed": killer.killed, "tiles_finished": killer.finished})
        rows[-1]["map_byte_identical"] = contents(folder / "dask") == expected
    for row in rows:
        print(row)
    if not all(row["map_byte_identical"] and row["tiles_finished"] == TILES for row in rows):
        raise SystemExit("a map differs, or tiles were finished twice")
    write_results("lost_workers", "python benchmarks/lost_workers.py", runs=rows)


if __name__ == "__main__":
    main()
