"""`classify`: map a scene tile by tile with the classifier of a workspace."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from .. import __version__
from ..atomic import FileSet, check_outputs
from ..classes import ClassTable
from ..classifier import Classifier, load_classifier
from ..confidence import MEASURES, confidence_of
from ..devices import pick_device
from ..errors import OptionError, RasterError
from ..images import read_with_margin
from ..maps import ConfidenceWriter, LabelMapWriter, confidence_files, confidence_path, label_map_files
from ..provenance import file_facts, provenance_path, provenance_tags, software_versions, write_provenance
from ..quicklook import rgb_composite, write_quicklook
from ..scenes import Scene, find_scenes
from ..tiles import Tile, stream, tiles_of
from ..workspace import Workspace
from .pretrain import Paths

TILE = 64  # pixels; a tile of the compact preset takes seconds on a CPU core


@dataclass(frozen=True)
class Classification:
    """What `classify` wrote."""

    label_map: Path
    confidence_map: Path
    quicklook: Path
    classes: ClassTable
    counts: tuple[int, ...]  # pixels of each class
    pixels: int  # classified in all
    seconds: float


def classify(
    out: str | PathLike[str],
    *,
    scene: Paths | None = None,
    lidar: Paths = (),
    workspace: str | PathLike[str] = "diffclip-work",
    mask: str | Path | None = None,
    allow_partial: bool = False,
    confidence: str = "max-prob",
    tile: int = TILE,
    workers: int | None = None,
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
    tile, workers
        Side of the tiles in pixels, and tiles computed at a time (the number of CPU cores by default). Neither changes
        the map.

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
    chosen = _scene(place, scene, lidar, mask, allow_partial)
    outputs = [*label_map_files(label_path), *confidence_files(certainty_path), picture, record]
    inputs = [chosen.hsi_path, *chosen.lidar_paths]
    check_outputs(outputs, overwrite, inputs)
    classifier = load_classifier(place)
    if say:
        for note in chosen.notes:
            say(note)
    where = pick_device(device)
    workers = workers or (os.cpu_count() or 1 if where.type == "cpu" else 2)
    threads = max(1, (os.cpu_count() or 1) // workers)  # within one tile
    work = _TileWork(chosen, classifier, where, confidence)
    facts: dict[str, Any] = {
        "program": f"diffclip-geo {__version__}",
        "inputs": [file_facts(path) for path in inputs],
        "model": file_facts(place.classifier) | {"encoder": file_facts(place.encoder)["sha256"]},
        "options": {"confidence": confidence, "engine": "exact"},
        "seed": place.read(place.classifier_manifest, "fewshot")["seed"],
        "versions": software_versions(),
    }
    tags = provenance_tags(facts)
    definition = MEASURES[confidence][1]
    tiles = tiles_of(chosen.grid, tile)
    pixels = 0
    with FileSet(label_path, overwrite=overwrite) as files:
        with (
            LabelMapWriter(label_path, chosen.grid, classifier.classes, tags, overwrite, files=files) as labels,
            ConfidenceWriter(certainty_path, chosen.grid, definition, tags, overwrite, files=files) as certainty,
            ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads,)) as executor,
            tqdm(
                total=chosen.grid.height * chosen.grid.width,
                desc="classify",
                unit="px",
                unit_scale=True,
                disable=not progress,
            ) as bar,
        ):
            for place_, (label, sure) in stream(tiles, work, executor, in_flight=workers + 1):
                labels.write(place_.row, place_.column, label)
                certainty.write(place_.row, place_.column, sure)
                pixels += int((label > 0).sum())
                bar.update(label.size)
        seconds = time.perf_counter() - started
        created = datetime.now(UTC).isoformat(timespec="seconds")
        facts |= {"created": created, "timings": {"classify_seconds": round(seconds, 2), "pixels": pixels}}
        write_provenance(files.stage(record), facts)
    write_quicklook(label_path, picture, rgb=rgb_composite(chosen), confidence=certainty_path, overwrite=overwrite)
    return Classification(
        label_path, certainty_path, picture, classifier.classes, tuple(labels.counts.tolist()), pixels, seconds
    )


class _TileWork:
    """Labels and confidence of a tile; one engine serves all threads."""

    def __init__(self, scene: Scene, classifier: Classifier, device: torch.device, confidence: str) -> None:
        self.scene, self.classifier, self.confidence = scene, classifier, confidence
        self.engine = classifier.engine(device)

    def __call__(self, tile: Tile) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
        margin = self.classifier.margin
        block = read_with_margin(self.scene, *tile, margin)
        valid = block.valid[margin:-margin, margin:-margin]
        label, sure = np.zeros(valid.shape, np.uint16), np.full(valid.shape, np.nan, np.float32)
        if valid.any():
            probabilities = self.classifier.probabilities(self.engine, block, margin)
            label[valid] = probabilities.argmax(-1) + 1
            sure[valid] = confidence_of(torch.from_numpy(probabilities), self.confidence).numpy()
        return label, sure


def _scene(place: Workspace, scene: Paths | None, lidar: Paths, mask: str | Path | None, allow_partial: bool) -> Scene:
    """The scene to map: the given one, reading the bands of the workspace's, or the one of the workspace."""
    facts = place.read(place.manifest, "pretrain")
    trained = [Scene.from_dict(one) for one in facts["scenes"]]
    if scene is None:
        if len(trained) > 1:
            raise OptionError(
                place.folder, f"was pretrained on {len(trained)} scenes", "say with --scene and --lidar which to map"
            )
        return trained[0]
    found = find_scenes(scene, lidar)
    if len(found) > 1:
        raise OptionError("--scene", f"names {len(found)} images", "map them one by one, each with its own --out")
    opened = Scene.open(found[0][0], found[0][1], mask=mask, allow_partial=allow_partial)
    if len(opened.lidar_names) != len(trained[0].lidar_names):
        raise RasterError(
            opened.hsi_path,
            f"comes with {len(opened.lidar_names)} LiDAR bands, training had {len(trained[0].lidar_names)}",
            "give the same LiDAR layers with --lidar",
        )
    return opened.matching(trained[0].bands)
