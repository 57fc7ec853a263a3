"""`classify`: map a scene tile by tile with the classifier of a workspace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ..atomic import check_outputs
from ..classes import ClassTable
from ..classifier import Classifier, load_classifier
from ..devices import pick_device
from ..engines import EngineSpec
from ..errors import OptionError
from ..journal import Journal, journal_path
from ..maps import confidence_path, probabilities_path
from ..memory import MB, bound_block_cache
from ..quicklook import quicklook_path
from ..scenes import Scene
from ..schedulers import LOCAL, open_pool
from ..setmaps import sets_path
from ..tiles import stream
from ..tilework import Layers, TileWork
from ..workspace import Workspace
from .assemble import Job, assemble, map_files
from .options import Options
from .plan import Plan, make_plan
from .pretrain import Paths
from .targets import map_paths, scenes_to_map

_CACHE = 64 * MB  # of GDAL's blocks, but for the reading of tiles, which has a share of its own


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


@bound_block_cache(_CACHE)
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
    runtime: str = "torch",
    ram: str | int | None = None,
    tile: int | None = None,
    workers: int | None = None,
    scheduler: str = "threads",
    device: str = "auto",
    resume: bool = False,
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
    runtime
        "torch", or "onnx" for ONNX Runtime.
    ram
        Memory to keep to, in bytes or as "4GB"; by default half of what is available, at most 8 GB. The size of tiles
        and the number of workers follow from it.
    tile, workers
        Side of the tiles in pixels, and tiles computed at a time (the number of CPU cores by default). Neither changes
        the map.
    scheduler
        "threads", "processes", or the address of a dask.distributed scheduler whose workers see the same files.
    resume
        Go on from the tiles that an interrupted run left, if there was one.

    Raises
    ------
    WorkspaceError
        The workspace lacks a classifier.
    RasterError
        The scene cannot be used with it, or has changed meanwhile.
    OptionError
        An option has a value that cannot be used, such as too little memory.
    OutputError
        An output exists or cannot be written, or an interrupted run that is to be resumed had other options.
    WorkerError
        Workers were lost again and again.
    """
    started = time.perf_counter()
    options = Options(
        confidence,
        proba,
        min_confidence,
        sieve,
        polygons,
        format,
        sets,
        runtime,
        ram,
        tile,
        workers,
        scheduler,
        device,
    )
    label_path, place = Path(out), Workspace(Path(workspace))
    options.check(label_path)
    say = say or (lambda _: None)
    products, effort = options.products, options.effort
    if not isinstance(scene, Scene):
        scene = _only(scenes_to_map(place, scene, lidar, mask, allow_partial))
    check_outputs(map_files(label_path, products), overwrite or resume, scene.files)
    with Journal(label_path) as journal:
        # Outputs that exist are the run's own when it was interrupted while they got their names.
        overwrite = overwrite or (resume and journal.placing)
        check_outputs(map_files(label_path, products), overwrite, scene.files)
        spec = EngineSpec.exact(place, pick_device(device), runtime)
        engine = spec.load()
        products.classes(engine.classes)
        for note in scene.notes:
            say(note)
        threshold = None if sets is None else _threshold(load_classifier(place), sets, say)
        job = Job(label_path, scene, place, spec, Layers(confidence, proba, threshold), products, engine.classes)
        if resume and journal.facts is not None and tile is None:
            effort = replace(effort, tile=journal.facts.get("tile"))
        plan = make_plan(engine, scene, products, effort, spec.device)
        journal.begin(job.tile_facts(plan.tiles.side), len(plan.tiles), resume=resume)
        try:
            _compute(job, plan, journal, scheduler, progress)
            done = assemble(job, journal, plan.tiles, started, overwrite=overwrite, progress=progress)
        except BaseException:
            _tell_what_is_left(journal, len(plan.tiles), say)
            raise
    others = [probabilities_path(label_path)] if proba else []
    others += [] if sets is None else [sets_path(label_path)]
    others += [] if products.polygons is None else [products.polygons]
    return Classification(
        label_path,
        confidence_path(label_path),
        quicklook_path(label_path),
        tuple(others),
        engine.classes,
        done.counts,
        sum(done.counts),
        done.seconds,
    )


@bound_block_cache(_CACHE)
def classify_scenes(
    out: str | PathLike[str],
    *,
    scene: Paths | None = None,
    lidar: Paths = (),
    workspace: str | PathLike[str] = "diffclip-work",
    mask: str | Path | None = None,
    allow_partial: bool = False,
    resume: bool = False,
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
    resume
        Go on from what an interrupted run left; of several scenes, those that have a map already are left out, unless
        they are to be overwritten.
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
    say = say or (lambda _: None)
    check_outputs(paths, overwrite or resume, [file for one in chosen for file in one.files])
    done = []
    for number, (one, path) in enumerate(zip(chosen, paths, strict=True), start=1):
        if len(chosen) > 1:
            complete = resume and not overwrite and path.exists() and not journal_path(path).exists()
            say(f"{number} of {len(chosen)}: {one.hsi_path.name} → {path}{', there already' if complete else ''}")
            if complete:
                continue
        done.append(
            classify(path, scene=one, workspace=workspace, resume=resume, overwrite=overwrite, say=say, **options)
        )
    return done


def _only(scenes: list[Scene]) -> Scene:
    if len(scenes) > 1:
        fault = f"there are {len(scenes)} scenes, and one map is asked for"
        raise OptionError("scene", fault, "name one of them, or use classify_scenes")
    return scenes[0]


def _compute(job: Job, plan: Plan, journal: Journal, scheduler: str, progress: bool) -> None:
    """Bring the tiles that are missing into the journal."""
    tiles, done = plan.tiles, journal.done
    scene = job.scene if scheduler in LOCAL else Scene.from_dict(job.scene.to_dict())  # with absolute paths
    left = (tile for tile in plan.order() if not done[tiles.number_of(tile)])
    pixels = tiles.height * tiles.width
    finished = sum(tiles[number].height * tiles[number].width for number in np.flatnonzero(done).tolist())
    with (
        open_pool(scheduler, plan.crew) as pool,
        tqdm(desc="classify", total=pixels, initial=finished, unit="px", unit_scale=True, disable=not progress) as bar,
    ):
        for tile, found in stream(left, TileWork(scene, job.engine, job.layers), pool):
            journal.add(tiles.number_of(tile), [] if found is None else found.arrays)
            bar.update(tile.height * tile.width)


def _tell_what_is_left(journal: Journal, tiles: int, say: Callable[[str], None]) -> None:
    finished = int(journal.done.sum())
    if finished:
        say(f"{finished:,} of {tiles:,} tiles are finished and kept: the same command with --resume goes on from them.")


def _threshold(classifier: Classifier, coverage: float, say: Callable[[str], None]) -> float:
    """The least probability of a class in a set. Raises OptionError."""
    shots = classifier.held_out
    if shots is None:
        fault = "needs shots that were held out, and this classifier, of the language model alone, has none"
        raise OptionError("--sets", fault, "pretrain with a preset that has kernel heads, such as compact")
    threshold = shots.threshold(coverage)
    told = f"Class sets of coverage {coverage:g} from {shots.size} labelled points or polygons that were held out"
    if shots.size < shots.fewest(coverage):
        say(f"{told}: too few, every set holds all classes. It takes at least {shots.fewest(coverage)}.")
    else:
        say(f"{told}: classes with a probability of at least {threshold:.3f}.")
    return threshold
