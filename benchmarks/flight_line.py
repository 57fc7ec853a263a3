"""The three commands on a flight line of 349 × 1905 × 144 pixels with LiDAR, and its maps beside random forests.

    python benchmarks/flight_line.py [--rounds 3] [--times 2]

First `pretrain`, `fewshot` with 40 labels per class and `classify`, with their defaults, each timed as a whole command.
Then, in turn and as many rounds as wanted, every mapping from raster to raster as a command of its own: `classify` by
the fast engine, whose student is there already; ImageClassifier of Orfeo ToolBox with a random forest of its default
size, trained by its TrainVectorClassifier on the same labels; and scikit-learn's random forest, block by block on all
cores. Pixel values lie uncompressed in float32, in one raster for the forests, in two for us. Accuracy is that of the
map against the truth of all pixels. Then all of it once more on the line repeated `--times` × `--times` times, to tell
what a pixel takes from what a command takes. Results go to benchmarks/results/flight_line.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from common import repeat, run, timed, write_results

from diffclip_geo import evaluate

Command = Callable[[], tuple[float, float]]  # seconds and peak resident memory in MB

METHODS = ("fast engine", "scikit-learn forest", "OTB forest")
LABELS = 40  # of each class
OTB_RAM = 1024  # MB
FOREST = """
import sys
import numpy as np, pyogrio.raw, rasterio
from sklearn.ensemble import RandomForestClassifier
stack, samples, out = sys.argv[1:]
meta, _, _, columns = pyogrio.raw.read(samples)
table = dict(zip(meta["fields"], columns))
code = table.pop("code")
forest = RandomForestClassifier(100, n_jobs=-1, random_state=0)
forest.fit(np.stack(list(table.values()), -1).astype(np.float32), code)
with rasterio.open(stack) as source:
    profile = source.profile | {"count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(out, "w", **profile) as target:
        for _, window in source.block_windows(1):
            values = source.read(window=window)
            labels = forest.predict(values.reshape(len(values), -1).T).reshape(values.shape[1:])
            target.write(labels.astype(np.uint8), 1, window=window)
"""


def plain(source: Path, out: Path, also: Path | None = None) -> Path:
    """The raster, and the bands of another below its own, uncompressed in float32."""
    layers = []
    for path in [source, also] if also else [source]:
        with rasterio.open(path) as dataset:
            layers.append(dataset.read().astype(np.float32))
            profile, tags = dataset.profile, dataset.tags(ns="ENVI")
    values = np.concatenate(layers)
    profile |= {"dtype": "float32", "count": len(values), "blockxsize": 256, "blockysize": 256}
    profile.pop("compress", None)
    with rasterio.open(out, "w", **profile) as target:
        target.write(values)
        if not also:
            target.update_tags(ns="ENVI", **tags)
    return out


def write_samples(stack: Path, labels: Path, truth: Path, out: Path) -> list[str]:
    """Labelled points with the values of all bands, and the code of their class in the truth; names of the bands."""
    meta, _, points, _ = pyogrio.raw.read(labels)
    places = shapely.get_coordinates(shapely.from_wkb(points)).tolist()
    with rasterio.open(stack) as source:
        values = np.array(list(source.sample(places)))
    with rasterio.open(truth) as source:
        code = np.array(list(source.sample(places)))[:, 0].astype(np.int32)
    names = [f"b{number}" for number in range(values.shape[1])]
    columns = [*values.T.astype(float), code]
    pyogrio.raw.write(out, points, columns, [*names, "code"], geometry_type="Point", crs=meta["crs"])
    return names


def three_commands(folder: Path, labels: Path, out: Path) -> dict[str, float]:
    """Seconds of each."""
    work = ["-w", folder / "work"]
    return {
        "pretrain": round(run("pretrain", folder / "hsi.tif", folder / "lidar.tif", *work)[0], 1),
        "fewshot": round(run("fewshot", labels, *work)[0], 1),
        "classify": round(run("classify", *work, "-o", out)[0], 1),
    }


def commands_of(
    folder: Path, rasters: dict[str, Path], maps: dict[str, Path], model: Path | None, another: bool = False
) -> dict[str, Command]:
    """What maps the rasters, by method; each returns seconds and peak memory. They are those of the workspace, or
    `another` scene.
    """
    ours = ["-w", folder / "work", "--engine", "fast", "--accept-agreement", 0, "--overwrite"]
    ours += ["-o", maps["fast engine"]]
    if another:
        ours += ["--scene", rasters["hsi"], "--lidar", rasters["lidar"]]
    stack, samples = str(rasters["stack"]), str(folder / "samples.gpkg")
    python = [sys.executable, "-c", FOREST, stack, samples, str(maps["scikit-learn forest"])]
    commands: dict[str, Command] = {
        "fast engine": lambda: run("classify", *ours),
        "scikit-learn forest": lambda: timed(python),
    }
    if model:
        otb = ["otbcli_ImageClassifier", "-in", stack, "-model", str(model), "-out", str(maps["OTB forest"]), "uint8"]
        commands["OTB forest"] = lambda: timed([*otb, "-ram", str(OTB_RAM)])
    return commands


def train_otb(folder: Path, bands: list[str]) -> Path | None:
    """The model of a random forest; None where Orfeo ToolBox is not installed."""
    if not shutil.which("otbcli_ImageClassifier"):
        return None
    model = folder / "forest.txt"
    train = ["otbcli_TrainVectorClassifier", "-io.vd", str(folder / "samples.gpkg"), "-io.out", str(model)]
    timed([*train, "-feat", *bands, "-cfield", "code", "-classifier", "rf"])
    return model


def measure(commands: dict[str, Command], rounds: int, pixels: int) -> list[dict[str, Any]]:
    """Every command in turn, `rounds` times."""
    found: dict[str, list[tuple[float, float]]] = {method: [] for method in commands}
    for _ in range(rounds):
        for method, command in commands.items():
            found[method].append(command())
            print(method, found[method][-1], flush=True)
    rows = []
    ours = found["fast engine"]
    for method, times in found.items():
        seconds = statistics.median(one for one, _ in times)
        ratios = [theirs[0] / mine[0] for mine, theirs in zip(ours, times, strict=True)]
        rows.append(
            {
                "method": method,
                "seconds": [round(one, 2) for one, _ in times],
                "median_seconds": round(seconds, 2),
                "pixels_per_second": round(pixels / seconds),
                "fast_engine_is_times_as_fast": round(statistics.median(ratios), 2),
                "peak_mb": round(max(peak for _, peak in times)),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="349x1905")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = folder / "scene"
        run("simulate", "--out", scene, "--size", given.size, "--labels-per-class", LABELS)
        rasters = {
            "hsi": plain(scene / "scene.tif", folder / "hsi.tif"),
            "lidar": plain(scene / "lidar.tif", folder / "lidar.tif"),
            "stack": plain(scene / "scene.tif", folder / "stack.tif", scene / "lidar.tif"),
        }
        maps = {
            method: folder / f"{method.split()[0]}.tif"
            for method in ("fast engine", "scikit-learn forest", "OTB forest")
        }
        three = three_commands(folder, scene / "labels.shp", maps["fast engine"])
        print(three, flush=True)
        record = json.loads(maps["fast engine"].with_suffix(".json").read_text())
        pixels = record["timings"]["pixels"]
        model = train_otb(
            folder, write_samples(rasters["stack"], scene / "labels.shp", scene / "truth.tif", folder / "samples.gpkg")
        )
        rows = measure(commands_of(folder, rasters, maps, model), given.rounds, pixels)
        for row in rows:
            report = evaluate(maps[row["method"]], scene / "truth.tif")
            row |= {"oa": round(100 * report.oa, 2), "aa": round(100 * report.aa, 2)}
            print(row, flush=True)
        agreement = json.loads((folder / "work" / "student.json").read_text())["agreement"]
        large = {}
        for key, path in rasters.items():
            large[key] = repeat(path, folder / f"large_{key}.tif", given.times, compress=None)
            path.unlink()
        commands = commands_of(folder, large, maps, model, another=True)
        commands["fast engine"]()  # distils for this raster
        more = measure(commands, given.rounds, pixels * given.times**2)
        print(*more, sep="\n", flush=True)
    write_results(
        "flight_line",
        f"python benchmarks/flight_line.py --size {given.size} --rounds {given.rounds} --times {given.times}",
        size=f"{given.size} × 144 bands and LiDAR",
        pixels=pixels,
        labels_per_class=LABELS,
        versions={name: version(name) for name in ("torch", "onnxruntime", "scikit-learn", "rasterio")},
        three_commands_seconds=three | {"in_all": round(sum(three.values()), 1)},
        engine_that_classify_chose=record["options"]["engine"],
        agreement_on_held_out_pixels=agreement,
        runs=rows,
        **{f"runs_on_{given.times**2}_times_the_pixels": more},
    )


if __name__ == "__main__":
    main()
