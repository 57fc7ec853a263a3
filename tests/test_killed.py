"""Maps written by processes that are killed at random moments: old files whole or new files whole, never a half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = 60

# One process imports everything once, and forks the writers that it kills: no time is spent on starting Pythons.
NURSERY = """
import json, os, random, signal, sys, time
from pathlib import Path
import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from diffclip_geo.atomic import FileSet, finish_interrupted
from diffclip_geo.classes import ClassTable
from diffclip_geo.grid import Grid
from diffclip_geo.maps import ConfidenceWriter, LabelMapWriter

folder, kills = Path(sys.argv[1]), int(sys.argv[2])
leader = folder / "map.tif"
names = ["map.tif", "map.tif.aux.xml", "map.qml", "map_confidence.tif", "map_confidence.qml"]
grid = Grid(300, 400, Affine(2, 0, 0, 0, -2, 0), None)


def write(version, target):
    labels = np.random.default_rng(version).integers(1, 3, grid.shape).astype(np.uint8)
    classes = ClassTable((f"a{version}", f"b{version}"), ((version, 0, 0), (0, version, 0)))
    with FileSet(target / "map.tif", overwrite=True) as files:
        with (
            LabelMapWriter(target / "map.tif", grid, classes, overwrite=True, files=files) as maps,
            ConfidenceWriter(target / "map_confidence.tif", grid, f"p{version}", overwrite=True, files=files) as sure,
        ):
            for row in range(0, 300, 50):
                maps.write(row, 0, labels[row : row + 50])
                sure.write(row, 0, np.full((50, 400), version / 100, np.float32))


def contents(place):
    return {name: (place / name).read_bytes() for name in names if (place / name).exists()}


def in_child(work):
    child = os.fork()
    if not child:
        work()
        os._exit(0)
    return child


# What whole sets look like, and how long one takes; written by children, so that no thread of GDAL is forked.
whole = []
for version in (1, 2):
    place = folder / f"whole{version}"
    place.mkdir()
    started = time.perf_counter()
    os.waitpid(in_child(lambda: write(version, place)), 0)
    duration = time.perf_counter() - started
    whole.append(contents(place))
assert all(len(one) == len(names) for one in whole) and whole[0] != whole[1]

for name, data in whole[0].items():
    (folder / name).write_bytes(data)
random.seed(3)
tally = {"killed": 0, "old": 0, "new": 0, "between": 0, "finished": 0}
current = 0
while tally["killed"] < kills:
    child = in_child(lambda: write(2 - current, folder))
    if tally["killed"] % 2:  # every second one near the end, where the files change places
        staging = folder / ".map.tif.partial" / "moves.json"
        until = time.perf_counter() + 5 * duration
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while not staging.exists() and time.perf_counter() < until and os.waitid(os.P_PID, child, ended) is None:
            pass
        time.sleep(random.random() * 4e-4)
    else:
        time.sleep(random.random() * duration)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    before = contents(folder)
    for name in names:
        assert before.get(name) in (whole[0][name], whole[1][name]), f"{name} is a half"
    mixed = before not in whole
    finish_interrupted(leader)  # what every command does first when it is to write there
    after = contents(folder)
    assert after in whole, "files of two maps"
    assert not list(folder.glob(".*")), "litter"
    if os.WIFSIGNALED(status):
        tally["killed"] += 1
        tally["between"] += mixed
        tally["new" if after == whole[1 - current] else "old"] += 1
    else:
        tally["finished"] += 1
    current = whole.index(after)
print(json.dumps(tally))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that fork")
def test_killed_at_60_random_moments_of_writing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NURSERY, str(tmp_path), str(KILLS)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    tally = json.loads(done.stdout)
    assert tally["killed"] == KILLS and tally["old"] and tally["new"], tally
