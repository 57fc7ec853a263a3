"""`classify` killed twenty times at random moments and resumed: the same bytes, and no finished tile computed twice.

    python benchmarks/resume_kills.py [--kills 20] [--seed 0]

A run is killed by SIGKILL at a moment drawn from the time that it would take to its end, computing and writing, then
resumed, and killed again, until as many runs were killed as wanted. Maps that got complete on the way are compared and
begun anew. One process imports everything and forks the runs, so that no time goes into starting Pythons. Results go
to benchmarks/results/resume_kills.json.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
import traceback
from pathlib import Path

from common import train, write_results

RASTERS = ("map.tif", "map_confidence.tif", "map.qml", "map.tif.aux.xml")
TILE = 16


def classify_once(work: Path, out: Path, log: Path) -> None:
    """Map, resuming, and log when a tile is begun and when it is finished. Runs in a process of its own."""
    from diffclip_geo.journal import Journal
    from diffclip_geo.tiles import Tiles
    from diffclip_geo.tilework import TileWork
    from diffclip_geo.workflow.classify import classify

    def note(what: str, number: int) -> None:
        with log.open("a") as file:
            file.write(f"{what} {number}\n")

    compute, add = TileWork.__call__, Journal.add

    def computed(self, tile):
        note("begun", Tiles(*self.scene.grid.shape, TILE).number_of(tile))
        return compute(self, tile)

    def added(self, number, arrays):
        add(self, number, arrays)
        note("finished", number)

    TileWork.__call__, Journal.add = computed, added
    classify(out / "map.tif", workspace=work, tile=TILE, resume=True)


def fork(work: Path, out: Path, log: Path) -> int:
    child = os.fork()
    if not child:
        try:
            classify_once(work, out, log)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return child


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in RASTERS}


def check_log(log: Path) -> int:
    """The number of tiles that were begun after they were finished."""
    finished, again = set(), 0
    for line in log.read_text().splitlines():
        what, number = line.split()
        if what == "finished":
            finished.add(number)
        elif number in finished:
            again += 1
    return again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    import diffclip_geo.workflow.classify  # noqa: F401  (before any fork)

    random.seed(given.seed)
    tally = {"killed": 0, "while_computing": 0, "while_writing": 0, "maps": 0, "begun_again_though_finished": 0}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = train(folder, "160x160")
        whole, out, log = folder / "whole", folder / "out", folder / "log"
        whole.mkdir()
        started = time.perf_counter()
        os.waitpid(fork(work, whole, folder / "whole.log"), 0)
        duration = time.perf_counter() - started
        expected = contents(whole)
        while tally["killed"] < given.kills:
            out.mkdir(exist_ok=True)
            log.touch()
            child = fork(work, out, log)
            time.sleep(random.random() * duration)
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                tally["killed"] += 1
                writing = (out / ".map.tif.partial").exists() or (out / "map.tif").exists()
                tally["while_writing" if writing else "while_computing"] += 1
            elif status:
                raise SystemExit("classify failed")
            if not os.WIFSIGNALED(status) or tally["killed"] == given.kills:
                if (out / ".map.tif.tiles").exists() or not (out / "map.tif").exists():
                    os.waitpid(fork(work, out, log), 0)
                if contents(out) != expected or list(out.glob(".*")):
                    raise SystemExit("the map differs from one that was made without interruption")
                tally["maps"] += 1
                tally["begun_again_though_finished"] += check_log(log)
                for path in (*out.iterdir(), log):
                    path.unlink()
            print(tally, flush=True)
    if tally["begun_again_though_finished"]:
        raise SystemExit("finished tiles were computed again")
    write_results(
        "resume_kills",
        f"python benchmarks/resume_kills.py --kills {given.kills} --seed {given.seed}",
        tiles=100,
        **tally,
        maps_byte_identical=True,
    )


if __name__ == "__main__":
    main()
