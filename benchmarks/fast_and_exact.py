"""The fast engine against the exact one on real scenes: the same labels, and how right both maps are.

    python benchmarks/fast_and_exact.py --data ../shared/data [--shots 20] [--split group] [SCENE ...]

Scenes are those of `diffclip-geo benchmark` (all plots of a scene are one raster), written as rasters and points. They
go through the commands with their defaults: pretrain, fewshot, classify by either engine. Accuracy is that of the maps
on disk, on the labelled pixels that are tested in this split. Results go to benchmarks/results/fast_and_exact.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from affine import Affine
from common import run, write_results

from diffclip_geo.accuracy import Accuracy, confusion_matrix
from diffclip_geo.benchmarking.cases import Case
from diffclip_geo.benchmarking.catalogue import SCENES
from diffclip_geo.benchmarking.networks import Mosaic
from diffclip_geo.benchmarking.splits import few_shot_split
from diffclip_geo.views import REACH

CRS, PLACE = "EPSG:32633", Affine(1, 0, 300_000, 0, -1, 5_800_000)


def write_rasters(mosaic: Mosaic, folder: Path) -> list[Path]:
    """Image and, where there is one, second modality; NaN where invalid."""
    paths = []
    for name, values in (("hsi", mosaic.block.hsi), ("lidar", mosaic.block.lidar)):
        if not len(values):
            continue
        paths.append(folder / f"{name}.tif")
        count, height, width = values.shape
        facts = {"count": count, "height": height, "width": width, "dtype": "float32", "nodata": np.nan}
        with rasterio.open(paths[-1], "w", driver="GTiff", crs=CRS, transform=PLACE, **facts) as target:
            target.write(np.where(mosaic.block.valid, values, np.nan))
    return paths


def write_points(mosaic: Mosaic, case: Case, pixels: np.ndarray, path: Path) -> None:
    """Labelled pixels as points with the names of their classes."""
    x, y = PLACE @ (mosaic.column[pixels] + REACH + 0.5, mosaic.row[pixels] + REACH + 0.5)
    names = np.array([case.classes[one - 1] for one in case.truth[pixels]], object)
    points = shapely.to_wkb(shapely.points(x, y))
    pyogrio.raw.write(path, points, [names], ["class"], geometry_type="Point", crs=CRS)


def labels_at(path: Path, mosaic: Mosaic, case: Case, pixels: np.ndarray) -> np.ndarray:
    """Classes of the case, 1…K, that a map gives to pixels."""
    with rasterio.open(path) as dataset:
        values = dataset.read(1)[mosaic.row[pixels] + REACH, mosaic.column[pixels] + REACH]
    names = json.loads((path.parent / "work" / "classifier.json").read_text())["classes"]["names"]
    known = np.array([0, *(case.classes.index(name) + 1 for name in names)])
    return known[values]


def measure(name: str, data: Path, shots: int, split: str, seed: int, folder: Path) -> dict[str, object]:
    """Train on a scene and map it by both engines; the facts."""
    case = SCENES[name](data / name)
    mosaic = Mosaic.of(case.images.blocks, REACH)
    train, test = few_shot_split(case.truth, case.group, shots, seed, split)
    write_points(mosaic, case, train, folder / "labels.gpkg")
    run("pretrain", *write_rasters(mosaic, folder), "-w", folder / "work")
    run("fewshot", folder / "labels.gpkg", "-w", folder / "work", "--seed", seed)
    accuracy = {}
    for engine in ("exact", "fast"):
        out = folder / f"{engine}.tif"
        options = ["--accept-agreement", 0] if engine == "fast" else []
        run("classify", "-w", folder / "work", "-o", out, "--engine", engine, *options)
        counts = confusion_matrix(case.truth[test], labels_at(out, mosaic, case, test), len(case.classes))
        mine = Accuracy.of(counts, case.classes)
        accuracy[engine] = {"oa": round(100 * mine.oa, 2), "aa": round(100 * mine.aa, 2)}
    with rasterio.open(folder / "exact.tif") as exact, rasterio.open(folder / "fast.tif") as fast:
        mapped = exact.read(1) > 0
        same = (exact.read(1) == fast.read(1))[mapped].mean()
    facts = json.loads((folder / "work" / "student.json").read_text())["agreement"]
    return {
        "scene": name,
        "split": split,
        "shots": shots,
        "seed": seed,
        "pixels": int(mapped.sum()),
        "tested": len(test),
        "same_labels_on_all_pixels": round(float(same), 4),
        "agreement_that_distil_measured": round(facts["same"], 4),
        **{f"{engine} engine": one for engine, one in accuracy.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", nargs="*", default=["berlin_hymap", "houston_campus", "idtrees_mlbs"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--shots", type=int, default=20)
    parser.add_argument("--split", default="group", choices=["group", "random"])
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    rows = []
    for name in given.scenes:
        for seed in range(given.seeds):
            with tempfile.TemporaryDirectory() as folder:
                rows.append(measure(name, given.data, given.shots, given.split, seed, Path(folder)))
            print(rows[-1], flush=True)
    command = f"python benchmarks/fast_and_exact.py --data {given.data} --shots {given.shots} --split {given.split}"
    write_results("fast_and_exact", f"{command} --seeds {given.seeds} {' '.join(given.scenes)}", runs=rows)


if __name__ == "__main__":
    main()
