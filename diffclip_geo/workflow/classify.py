"""`classify`: map scenes tile by tile with the classifier of a workspace."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..memory import MB, bound_block_cache
from ..scenes import Paths, Scene
from ..workspace import Workspace
from .mapping import Classification, Run, map_scenes
from .options import Options
from .targets import map_paths, scenes_to_map

_CACHE = 64 * MB  # of GDAL's blocks, but for the reading of tiles, which has a share of its own


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
    engine: str = "auto",
    runtime: str = "torch",
    accept_agreement: float | None = None,
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
    engine
        "exact", the network on the window of every pixel; "fast", a student of it, which is distilled first when the
        workspace has none for the scene; or "auto": exact on a GPU and for fewer than 100,000 pixels, else fast, unless
        too few pixels get the exact engine's class from it.
    runtime
        What computes the network of the exact engine: "torch", or "onnx" for ONNX Runtime.
    accept_agreement
        The share of pixels with the exact engine's class that is enough for the fast one, instead of 0.95.
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
    options = Options(
        confidence,
        proba,
        min_confidence,
        sieve,
        polygons,
        format,
        sets,
        engine,
        runtime,
        accept_agreement,
        ram,
        tile,
        workers,
        scheduler,
        device,
    )
    options.check(Path(out))
    place = Workspace(Path(workspace))
    scenes = [scene] if isinstance(scene, Scene) else scenes_to_map(place, scene, lidar, mask, allow_partial)
    if len(scenes) > 1:
        fault = f"there are {len(scenes)} scenes, and one map is asked for"
        raise OptionError("scene", fault, "name one of them, or use classify_scenes")
    (done,) = map_scenes([(scenes[0], Path(out))], place, options, Run(resume, overwrite, progress, say))
    return done


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
    progress: bool = False,
    say: Callable[[str], None] | None = None,
    **others: Any,
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
    others
        Further arguments of `classify`.

    Raises
    ------
    OptionError
        `out` is a file, and there are several scenes.
    OutputError
        A map exists, or cannot be written; nothing is mapped then.
    """
    options, place = Options(**others), Workspace(Path(workspace))
    scenes = scenes_to_map(place, scene, lidar, mask, allow_partial)
    paths = map_paths(Path(out), scenes)
    if len(scenes) > 1:
        if options.polygons is not None:
            raise OptionError("--polygons", f"is one file for {len(scenes)} scenes", "map the scenes one by one")
        if options.products.envi:
            paths = [path.with_suffix(".dat") for path in paths]
    for path in paths:
        options.check(path)
    return map_scenes(list(zip(scenes, paths, strict=True)), place, options, Run(resume, overwrite, progress, say))
