"""Scenes that the benchmark knows by name."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy.io import loadmat

from ..errors import OptionError, RasterError
from ..scenes import Block
from .cases import Case, Tile, blocks_of
from .matfiles import LAYOUTS, read_mat_scene

_CAMPUS_BLOCK = 16  # pixels; the spatial units of the campus
_LEAST_PIXELS = 60  # of a class of the campus
_LEAST_CROWNS = 40  # of a species


def berlin_hymap(folder: Path) -> Case:
    """HyMap image of Berlin, 111 bands, with land-cover polygons (Okujeni et al., 2009); no LiDAR.

    A spatial unit is a polygon.
    """
    shapes, fields = _features(folder / "LandCov_Vec_Berlin_Urban_Gradient_2009.shp")
    parts, owner = shapely.get_parts(shapes, return_index=True)
    level = fields["Level_2"]
    classes = sorted(set(level))
    number = {name: i + 1 for i, name in enumerate(classes)}
    with rasterio.open(folder / "HyMap02_Berlin_Urban_Gradient_2009.bsq") as source:
        image = source.read().astype(np.float32)
        truth = _burned(parts, [number[level[one]] for one in owner], source)
        group = _burned(parts, range(1, len(parts) + 1), source)
    return Case("berlin_hymap", tuple(classes), (_tile(image, image[:0], truth, group),))


def houston_campus(folder: Path) -> Case:
    """Campus of Houston 2018, 48 bands, with an RGB image in the place of LiDAR and a label map four times as fine.

    A pixel has a class where all its sixteen labels agree. A spatial unit is a block of 16 × 16 pixels.
    """
    content = loadmat(folder / "houston_dataset.mat")
    image = content["hyprImg"].transpose(2, 0, 1).astype(np.float32)
    _, height, width = image.shape
    colors = content["rgbImg"].astype(np.float32).reshape(height, 4, width, 4, 3).mean((1, 3)).transpose(2, 0, 1)
    fine = content["clasLabs"].reshape(height, 4, width, 4).transpose(0, 2, 1, 3).reshape(height, width, 16)
    whole = np.where((fine == fine[..., :1]).all(-1), fine[..., 0], 0).astype(np.int64)
    kept = [one for one in range(1, 13) if (whole == one).sum() >= _LEAST_PIXELS]
    truth = np.searchsorted([0, *kept], np.where(np.isin(whole, kept), whole, 0))
    group = blocks_of(truth.shape, _CAMPUS_BLOCK)
    return Case("houston_campus", tuple(f"class {one}" for one in kept), (_tile(image, colors, truth, group),))


def idtrees_mlbs(folder: Path) -> Case:
    """Forest plots of NEON, 369 bands and a canopy height model, with tree crowns of known species (IDTReeS, 2020).

    Species with at least 40 crowns. A spatial unit is a plot.
    """
    shapes, fields = _features(folder / "labels" / "train_MLBS.shp")
    with (folder / "labels" / "train_data.csv").open(encoding="utf-8") as file:
        taxon = {row["indvdID"]: row["taxonID"] for row in csv.DictReader(file)}
    species = np.array([taxon.get(one, "") for one in fields["indvdID"]])
    names, count = np.unique(species[species != ""], return_counts=True)
    classes = [str(name) for name in names[count >= _LEAST_CROWNS]]
    number = {name: i + 1 for i, name in enumerate(classes)}
    known = np.isin(species, classes)
    crowns, labels = shapes[known], [number[one] for one in species[known]]
    tiles = []
    paths = sorted((folder / "HSI").glob("*.tif"))
    for plot, path in enumerate(paths, start=1):
        with rasterio.open(path) as source, rasterio.open(folder / "CHM" / path.name) as heights:
            image, height = (one.read().astype(np.float32) for one in (source, heights))
            truth = _burned(crowns, labels, source)
        tiles.append(_tile(image, height, truth, np.full(truth.shape, plot)))
    return Case("idtrees_mlbs", tuple(classes), tuple(tiles))


SCENES: dict[str, Callable[[Path], Case]] = {
    "berlin_hymap": berlin_hymap,
    "houston_campus": houston_campus,
    "idtrees_mlbs": idtrees_mlbs,
    **{name: lambda folder, name=name: read_mat_scene(name, folder) for name in LAYOUTS},  # type: ignore[misc]
}


def open_scene(text: str, data: Path) -> Case:
    """The scene called `NAME`, in the folder NAME of `data`, or `NAME=FOLDER`. Raises OptionError or RasterError."""
    name, _, place = text.partition("=")
    if name not in SCENES:
        raise OptionError(f"scene {name!r}", "is not known", f"use one of {', '.join(SCENES)}, or --hsi and --labels")
    folder = Path(place) if place else data / name
    if not folder.is_dir():
        raise RasterError(folder, "there is no such folder", f"give it as {name}=FOLDER, or its parent with --data")
    try:
        return SCENES[name](folder)
    except (OSError, KeyError, rasterio.errors.RasterioError, pyogrio.errors.DataSourceError) as error:
        raise RasterError(folder, f"does not hold the {name} scene ({error})", "check its files") from error


def _features(path: Path) -> tuple[NDArray[np.object_], dict[str, NDArray]]:
    """Geometries and fields of a vector file."""
    meta, _, shapes, fields = pyogrio.raw.read(path)
    return shapely.from_wkb(shapes), dict(zip(meta["fields"], fields, strict=True))


def _burned(shapes: NDArray[np.object_], values: object, source: rasterio.DatasetReader) -> NDArray[np.int64]:
    """Values of the shapes on the grid of a raster: pixels whose centre lies inside, later shapes over earlier ones."""
    inside = shapely.intersects(shapes, shapely.box(*source.bounds))
    pairs = [(shape, value) for shape, value, here in zip(shapes, values, inside, strict=True) if here]  # type: ignore[call-overload]
    if not pairs:
        return np.zeros(source.shape, np.int64)
    burned: NDArray[np.int64] = rasterize(
        pairs, out_shape=source.shape, transform=source.transform, dtype="int32"
    ).astype(np.int64)
    return burned


def _tile(image: NDArray, other: NDArray, truth: NDArray, group: NDArray) -> Tile:
    """A tile whose pixels are valid where they are finite."""
    valid = np.isfinite(image).all(0) & np.isfinite(other).all(0)
    block = Block(np.where(valid, image, 0), np.where(valid, other, 0), valid)
    return Tile(block, np.where(valid, truth, 0).astype(np.int64), group.astype(np.int64))
