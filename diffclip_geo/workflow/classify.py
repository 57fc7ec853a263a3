"""`classify`: map a scene tile by tile with the classifier of a workspace."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import __version__
from ..atomic import FileSet, check_outputs
from ..classes import ClassTable
from ..classifier import Classifier, load_classifier
from ..confidence import MEASURES
from ..devices import pick_device
from ..engines import EngineSpec
from ..errors import OptionError
from ..exclusion import read_training_pixels
from ..maps import MEASURE_TAG, confidence_path, probabilities_path
from ..polygons import write_polygons
from ..products import MapWriters, Products
from ..provenance import file_facts, provenance_path, provenance_tags, software_versions, write_provenance
from ..quicklook import Marks, rgb_composite, write_quicklook
from ..scenes import Scene
from ..schedulers import open_executor
from ..setmaps import sets_path
from ..tiles import stream, tiles_of
from ..tilework import Layers, TileWork
from ..workspace import Workspace
from .pretrain import Paths
from .targets import map_paths, scenes_to_map

TILE = 64  # pixels; a tile of the compact preset takes seconds on a CPU core


@dataclass(frozen=True)
class Classification:
    """What `classify` wrote."""

    label_map: Path
    confidence_map: Path
    quicklook: Path
    others: tuple[Path, ...]  # probabilities, class sets and polygons, as far as they were asked for
    classes: ClassTable
    counts: tuple[int, ...]  # pixels of each class
    pixels: int  # classified in all
    seconds: float


def classify(
    out: str | PathLike[str],
    *,
    scene: Paths | Scene | None = None,
    lidar: Paths = (),
    workspace: str | PathLike[str] = "diffclip-work",
    mask: str | Path | None = None,
    allow_partial: bool = False,
    confidence: str = "max-prob",
    proba: bool = False,
    min_confidence: float = 0.0,
    sieve: int = 0,
    polygons: str | PathLike[str] | None = None,
    format: str = "cog",
    sets: float | None = None,
    tile: int = TILE,
    workers: int | None = None,
    scheduler: str = "threads",
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> Classification:
    """Write the label map, its confidence map, provenance and a quicklook: ``map.tif``, ``map_confidence.tif``,
    ``map.json``, ``map.png``.

    Parameters
    ----------
    scene, lidar
        The scene to map; by default the one that the workspace was pretrained on. Its bands are matched by wavelength.
    confidence
        max-prob, margin or entropy, see `confidence.MEASURES`.
    proba
        Write the probability of every class, too: ``map_probabilities.tif``.
    min_confidence
        Pixels with less confidence become "unclassified".
    sieve
        Patches of fewer pixels take the class of their largest neighbour.
    polygons
        Write the map as polygons, too, to this GeoPackage.
    format
        "cog" for Cloud-Optimised GeoTIFFs, "envi" for ENVI images (``map.dat``).
    sets
        Write conformal class sets of this coverage, too: ``map_sets.tif``, see `conformal` and `setmaps`.
    tile, workers
        Side of the tiles in pixels, and tiles computed at a time (the number of CPU cores by default). Neither changes
        the map.
    scheduler
        "threads", or the address of a dask.distributed scheduler whose workers see the same files.

    Raises
    ------
    WorkspaceError
        The workspace lacks a classifier.
    RasterError
        The scene cannot be used with it.
    OutputError
        An output exists, or cannot be written.
    """
    started = time.perf_counter()
    if confidence not in MEASURES:
        raise OptionError(f"confidence {confidence!r}", "is not known", f"use one of {', '.join(MEASURES)}")
    if tile < 1 or (workers is not None and workers < 1):
        raise OptionError("--tile and --workers", "must be at least 1", "give larger numbers")
    label_path = Path(out)
    certainty_path, picture, record = (
        confidence_path(label_path),
        label_path.with_suffix(".png"),
        provenance_path(label_path),
    )
    place = Workspace(Path(workspace))
    if not isinstance(scene, Scene):
        named = scenes_to_map(place, scene, lidar, mask, allow_partial)
        if len(named) > 1:
            fault = f"there are {len(named)} scenes, and one map is asked for"
            raise OptionError("scene", fault, "name one of them, or use classify_scenes")
        scene = named[0]
    products = Products(proba, min_confidence, sieve, None if polygons is None else Path(polygons), format, sets)
    products.check(label_path)
    outputs = [*products.files(label_path), picture, record]
    inputs = scene.files
    check_outputs(outputs, overwrite, inputs)
    where = pick_device(device)
    engine = EngineSpec.exact(place, where)
    classes = engine.load().classes
    if say:
        for note in scene.notes:
            say(note)
    workers = workers or (os.cpu_count() or 1 if where.type == "cpu" else 2)
    threads = max(1, (os.cpu_count() or 1) // workers)  # within one tile
    threshold = None if sets is None else _threshold(load_classifier(place), sets, say)
    work = TileWork(scene, engine, Layers(confidence, proba, threshold))
    facts: dict[str, Any] = {
        "program": f"diffclip-geo {__version__}",
        "inputs": [file_facts(path) for path in inputs],
        "model": file_facts(place.classifier) | {"encoder": file_facts(place.encoder)["sha256"]},
        "options": {"confidence": confidence, "engine": "exact", **products.to_dict()},
        "seed": place.read(place.classifier_manifest, "fewshot")["seed"],
        "versions": software_versions(),
        "notes": scene.notes,
    }
    tags = provenance_tags(facts)
    definition = MEASURES[confidence][1]
    tiles = tiles_of(scene.grid, tile)
    with FileSet(label_path, overwrite=overwrite) as files:
        with (
            MapWriters(
                label_path, scene.grid, classes, products, definition, tags, {MEASURE_TAG: confidence}, files
            ) as maps,
            open_executor(scheduler, workers, threads) as (executor, at_once),
            tqdm(
                total=scene.grid.height * scene.grid.width,
                desc="classify",
                unit="px",
                unit_scale=True,
                disable=not progress,
            ) as bar,
        ):
            for place_, done in stream(tiles, work, executor, in_flight=at_once + 1):
                if done is not None:
                    maps.write(place_.row, place_.column, done.label, done.confidence, done.probabilities, done.sets)
                bar.update(place_.height * place_.width)
        pixels = sum(maps.counts)
        seconds = time.perf_counter() - started
        created = datetime.now(UTC).isoformat(timespec="seconds")
        facts |= {"created": created, "timings": {"classify_seconds": round(seconds, 2), "pixels": pixels}}
        write_provenance(files.stage(record), facts)
    others = [probabilities_path(label_path)] if proba else []
    others += [] if sets is None else [sets_path(label_path)]
    if products.polygons is not None:
        write_polygons(label_path, products.polygons, confidence=certainty_path, overwrite=overwrite)
        others.append(products.polygons)
    write_quicklook(
        label_path,
        picture,
        rgb=rgb_composite(scene),
        confidence=certainty_path,
        marks=_labels_used(place, scene),
        overwrite=overwrite,
    )
    return Classification(label_path, certainty_path, picture, tuple(others), classes, maps.counts, pixels, seconds)


def classify_scenes(
    out: str | PathLike[str],
    *,
    scene: Paths | None = None,
    lidar: Paths = (),
    workspace: str | PathLike[str] = "diffclip-work",
    mask: str | Path | None = None,
    allow_partial: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> list[Classification]:
    """`classify` for every scene that `scene` names, or that the workspace was pretrained on; one map each.

    Parameters
    ----------
    out
        The map of a single scene; for several a folder, made when missing, in which each map is named after its image.
    scene, lidar
        Paths or glob patterns, see `scenes.find_scenes`.
    options
        Further arguments of `classify`.

    Raises
    ------
    OptionError
        `out` is a file, and there are several scenes.
    OutputError
        A map exists, or cannot be written; nothing is mapped then.
    """
    chosen = scenes_to_map(Workspace(Path(workspace)), scene, lidar, mask, allow_partial)
    paths = map_paths(Path(out), chosen)
    if len(chosen) > 1:
        if options.get("polygons") is not None:
            raise OptionError("--polygons", f"is one file for {len(chosen)} scenes", "map the scenes one by one")
        if options.get("format") == "envi":
            paths = [path.with_suffix(".dat") for path in paths]
    check_outputs(paths, overwrite, [file for one in chosen for file in one.files])
    done = []
    for number, (one, path) in enumerate(zip(chosen, paths, strict=True), start=1):
        if say and len(chosen) > 1:
            say(f"{number} of {len(chosen)}: {one.hsi_path.name} → {path}")
        done.append(classify(path, scene=one, workspace=workspace, overwrite=overwrite, say=say, **options))
    return done


def _labels_used(place: Workspace, scene: Scene) -> Marks | None:
    """The training pixels that lie on `scene`, when it is one of those that the classifier was trained on."""
    if not place.training_pixels.is_file():
        return None
    trained = place.read(place.manifest, "pretrain")["scenes"]
    numbers = [i for i, one in enumerate(trained) if Scene.from_dict(one).hsi_path == scene.hsi_path]
    where, row, column, value = read_training_pixels(place.training_pixels)
    mine = np.isin(where, numbers)
    return Marks(row[mine], column[mine], value[mine]) if mine.any() else None


def _threshold(classifier: Classifier, coverage: float, say: Callable[[str], None] | None) -> float:
    """The least probability of a class in a set. Raises OptionError."""
    shots = classifier.held_out
    if shots is None:
        fault = "needs shots that were held out, and this classifier, of the language model alone, has none"
        raise OptionError("--sets", fault, "pretrain with a preset that has kernel heads, such as compact")
    threshold = shots.threshold(coverage)
    if say:
        told = f"Class sets of coverage {coverage:g} from {shots.size} labelled points or polygons that were held out"
        if shots.size < shots.fewest(coverage):
            say(f"{told}: too few, every set holds all classes. It takes at least {shots.fewest(coverage)}.")
        else:
            say(f"{told}: classes with a probability of at least {threshold:.3f}.")
    return threshold
