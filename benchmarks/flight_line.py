"""The three commands on a flight line of 349 × 1905 × 144 pixels with LiDAR, and its maps beside random forests.

    python benchmarks/flight_line.py [--rounds 3]

First `pretrain`, `fewshot` with 40 labels per class and `classify`, with their defaults, each timed as a whole command.
Then, in turn and as many rounds as wanted, every mapping from raster to raster as a command of its own: `classify` by
the fast engine, whose student is there already; ImageClassifier of Orfeo ToolBox with a random forest of its default
size, trained by its TrainVectorClassifier on the same labels; and scikit-learn's random forest, block by block on all
cores. Pixel values lie uncompressed in float32, in one raster for the forests, in two for us. Accuracy is that of the
map against the truth of all pixels. Results go to benchmarks/results/flight_line.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
from common import run, write_results

from diffclip_geo import evaluate

LABELS = 40  # of each class
OTB_RAM = 1024  # MB
FOREST = """
import sys
import numpy as np, pyogrio, rasterio
from sklearn.ensemble import RandomForestClassifier
stack, samples, out = sys.argv[1:]
table = pyogrio.read_dataframe(samples)
forest = RandomForestClassifier(100, n_jobs=-1, random_state=0)
forest.fit(table[[name for name in table if name.startswith("b")]].to_numpy(np.float32), table["code"])
with rasterio.open(stack) as source:
    profile = source.profile | {"count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(out, "w", **profile) as target:
        for _, window in source.block_windows(1):
            values = source.read(window=window)
            labels = forest.predict(values.reshape(len(values), -1).T).reshape(values.shape[1:])
            target.write(labels.astype(np.uint8), 1, window=window)
"""


def timed(command: list[str], **environment: str) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of a command."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environment
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


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
    table = pyogrio.read_dataframe(labels)
    places = [(point.x, point.y) for point in table.geometry]
    with rasterio.open(stack) as source:
        values = np.array(list(source.sample(places)))
    with rasterio.open(truth) as source:
        table["code"] = np.array(list(source.sample(places)))[:, 0].astype(np.int32)
    names = [f"b{number}" for number in range(values.shape[1])]
    for name, column in zip(names, values.T, strict=True):
        table[name] = column.astype(float)
    pyogrio.write_dataframe(table, out)
    return names


def three_commands(folder: Path, labels: Path) -> dict[str, float]:
    """Seconds of each."""
    work = ["-w", folder / "work"]
    return {
        "pretrain": round(run("pretrain", folder / "hsi.tif", folder / "lidar.tif", *work)[0], 1),
        "fewshot": round(run("fewshot", labels, *work)[0], 1),
        "classify": round(run("classify", *work, "-o", folder / "ours.tif")[0], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="349x1905")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scene = folder / "scene"
        run("simulate", "--out", scene, "--size", given.size, "--labels-per-class", LABELS)
        plain(scene / "scene.tif", folder / "hsi.tif")
        plain(scene / "lidar.tif", folder / "lidar.tif")
        stack = plain(scene / "scene.tif", folder / "stack.tif", scene / "lidar.tif")
        commands = three_commands(folder, scene / "labels.shp")
        print(commands, flush=True)
        record = json.loads((folder / "ours.json").read_text())
        student = json.loads((folder / "work" / "student.json").read_text())
        samples = folder / "samples.gpkg"
        bands = write_samples(stack, scene / "labels.shp", scene / "truth.tif", samples)
        maps = {"fast engine": folder / "ours.tif", "scikit-learn forest": folder / "sklearn.tif"}
        python = [sys.executable, "-c", FOREST, str(stack), str(samples), str(maps["scikit-learn forest"])]
        options = ["-w", folder / "work", "--engine", "fast", "--overwrite", "-o", maps["fast engine"]]
        runs = {
            "fast engine": lambda: run("classify", *options),
            "scikit-learn forest": lambda: timed(python),
        }
        if shutil.which("otbcli_ImageClassifier"):
            model, out = folder / "forest.txt", folder / "otb.tif"
            train = ["otbcli_TrainVectorClassifier", "-io.vd", str(samples), "-io.out", str(model), "-feat", *bands]
            timed([*train, "-cfield", "code", "-classifier", "rf"])
            otb = ["otbcli_ImageClassifier", "-in", str(stack), "-model", str(model), "-out", str(out), "uint8"]
            maps["OTB forest"] = out
            runs["OTB forest"] = lambda: timed([*otb, "-ram", str(OTB_RAM)])
        found: dict[str, list[tuple[float, float]]] = {method: [] for method in runs}
        for _ in range(given.rounds):
            for method, start in runs.items():
                found[method].append(start())
                print(method, found[method][-1], flush=True)
        rows = []
        for method, times in found.items():
            report = evaluate(maps[method], scene / "truth.tif")
            seconds = [one for one, _ in times]
            rows.append(
                {
                    "method": method,
                    "seconds": [round(one, 2) for one in seconds],
                    "median_seconds": round(statistics.median(seconds), 2),
                    "pixels_per_second": round(record["timings"]["pixels"] / statistics.median(seconds)),
                    "peak_mb": round(max(peak for _, peak in times)),
                    "oa": round(100 * report.oa, 2),
                    "aa": round(100 * report.aa, 2),
                }
            )
            print(rows[-1], flush=True)
        ratios = {
            method: round(
                statistics.median(b / a for (a, _), (b, _) in zip(found["fast engine"], times, strict=True)), 2
            )
            for method, times in found.items()
        }
        write_results(
            "flight_line",
            f"python benchmarks/flight_line.py --size {given.size} --rounds {given.rounds}",
            size=f"{given.size} × 144 bands and LiDAR",
            pixels=record["timings"]["pixels"],
            labels_per_class=LABELS,
            versions={name: version(name) for name in ("torch", "onnxruntime", "scikit-learn", "rasterio")},
            three_commands_seconds=commands | {"in_all": round(sum(commands.values()), 1)},
            engine_that_classify_chose=record["engine"]["name"]
            if isinstance(record.get("engine"), dict)
            else record.get("engine"),
            agreement_on_held_out_pixels=student["agreement"],
            runs=rows,
            times_as_fast_as=ratios,
        )


if __name__ == "__main__":
    main()
