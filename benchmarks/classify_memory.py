"""Peak memory of `classify` at a given --ram while the scene grows sixteenfold.

    python benchmarks/classify_memory.py [--ram 1500MB] [--engine exact] [--share 0.1]

Scenes are one simulated scene repeated side by side. The exact engine has a tiny network and, to save time, a mask that
leaves a share of the pixels in squares of 256; what is read and written does not depend on that. Results go to
benchmarks/results/classify_memory.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from common import mask, repeat, run, train, write_results

from diffclip_geo.memory import MB, parse_size

SIZE = "349x476"
TIMES = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ram", default="1500MB")
    parser.add_argument("--engine", default="exact", choices=["exact", "fast"])
    parser.add_argument("--share", type=float, default=0.1)
    given = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = train(folder, SIZE)
        for times in TIMES:
            scene = repeat(folder / "scene" / "scene.tif", folder / "large.tif", times)
            lidar = repeat(folder / "scene" / "lidar.tif", folder / "heights.tif", times)
            kept = mask(scene, folder / "mask.tif", given.share)
            options = ["--scene", scene, "--lidar", lidar, "--mask", kept, "--ram", given.ram, "--overwrite"]
            options += ["--engine", given.engine, "--accept-agreement", 0]
            seconds, peak = run("classify", "-w", work, "-o", folder / "map.tif", *options)
            rows.append({"times_as_large": times**2, "seconds": round(seconds, 1), "peak_mb": round(peak)})
            print(rows[-1], flush=True)
    peaks = [row["peak_mb"] for row in rows]
    write_results(
        "classify_memory",
        f"python benchmarks/classify_memory.py --ram {given.ram} --engine {given.engine} --share {given.share}",
        size=f"{SIZE} × 144 bands at times_as_large 1",
        ram_mb=parse_size(given.ram) // MB,
        runs=rows,
        largest_over_smallest_peak=round(max(peaks) / min(peaks), 3),
    )


if __name__ == "__main__":
    main()
