"""From finished tiles to the files of a map."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import __version__
from ..atomic import FileSet
from ..classes import ClassTable
from ..confidence import MEASURES
from ..engines import EngineSpec
from ..errors import RasterError
from ..exclusion import read_training_pixels
from ..journal import Journal
from ..maps import BLOCK, MEASURE_TAG, confidence_path
from ..memory import give_back
from ..nearness import NearShots
from ..products import MapWriters, Products
from ..provenance import file_facts, provenance_path, provenance_tags, software_versions, write_provenance
from ..quicklook import Marks, get_ready_to_draw, quicklook_path, rgb_composite, write_quicklook
from ..scenes import Scene
from ..tiles import Tiles
from ..tilework import Layers, TileResult
from ..workspace import Workspace


@dataclass(frozen=True)
class Job:
    """What is to be mapped, with what, and which files are wanted."""

    label_path: Path
    scene: Scene
    workspace: Workspace
    engine: EngineSpec
    near_shots: NearShots | None
    layers: Layers
    products: Products
    classes: ClassTable

    def tile_facts(self, side: int) -> dict[str, Any]:
        """All that decides what is computed for a tile, by names that a message can use."""
        place = self.workspace
        return {
            **{str(path.resolve()): _stamp(path) for path in self.scene.files},
            "way of reading the scene": _digest(self.scene.to_dict()),
            "normalisation": file_facts(place.manifest)["sha256"],
            "classifier": file_facts(place.classifier)["sha256"],
            "calibration": file_facts(place.classifier_manifest)["sha256"],
            "training pixels": file_facts(place.training_pixels)["sha256"] if self.near_shots else None,
            **self.engine.facts(),
            "confidence": self.layers.confidence,
            "proba": self.layers.proba,
            "sets": self.products.sets,
            "tile": side,
            **{f"version of {name}": version for name, version in software_versions().items()},
        }


def map_files(label_path: Path, products: Products) -> list[Path]:
    """All files that a map consists of."""
    return [*products.files(label_path), quicklook_path(label_path), provenance_path(label_path)]


@dataclass(frozen=True)
class Finished:
    """What became of a map."""

    counts: tuple[int, ...]  # pixels of each class
    seconds: float


def assemble(
    job: Job, journal: Journal, tiles: Tiles, started: float, *, overwrite: bool, progress: bool = False
) -> Finished:
    """Write all files of a map whose tiles are all in the journal, and drop the journal.

    Raises
    ------
    RasterError
        A file of the scene has changed since the journal was begun.
    OutputError
        A file exists, or cannot be written.
    """
    give_back()
    path, scene = job.label_path, job.scene
    sure = confidence_path(path)
    with FileSet(path, overwrite=overwrite) as files, ThreadPoolExecutor(1) as aside:
        aside.submit(get_ready_to_draw)
        composite = aside.submit(rgb_composite, scene)
        facts = _facts(job, journal)
        with MapWriters(
            path,
            scene.grid,
            job.classes,
            job.products,
            MEASURES[job.layers.confidence][1],
            provenance_tags(facts),
            {MEASURE_TAG: job.layers.confidence},
            files,
        ) as maps:
            for tile in tqdm(tiles.by_blocks(BLOCK), "write", len(tiles), unit="tile", disable=not progress):
                pixels = journal.read(tiles.number_of(tile))
                if pixels:
                    maps.write(tile.row, tile.column, TileResult.of(pixels, job.layers))
        seconds = time.perf_counter() - started
        created = datetime.now(UTC).isoformat(timespec="seconds")
        facts |= {
            "created": created,
            "timings": {"classify_seconds": round(seconds, 2), "pixels": sum(maps.counts)},
        }
        write_provenance(files.stage(provenance_path(path)), facts)
        write_quicklook(
            files.stage(path),
            files.stage(quicklook_path(path)),
            rgb=composite.result(),
            confidence=files.stage(sure),
            marks=_labels_used(job.workspace, scene),
        )
        journal.about_to_place()
    if job.products.polygons is not None:
        from ..polygons import write_polygons  # and what writes vectors

        write_polygons(path, job.products.polygons, confidence=sure, overwrite=overwrite)
    journal.drop()
    return Finished(maps.counts, seconds)


def _facts(job: Job, journal: Journal) -> dict[str, Any]:
    """The provenance of the map. The scene is read once more for its hash, when the tiles are safe."""
    place = job.workspace
    assert journal.facts is not None
    inputs = [file_facts(path) for path in job.scene.files]
    for path in job.scene.files:
        if _stamp(path) != journal.facts.get(str(path.resolve())):
            journal.drop()
            raise RasterError(path, "has changed while it was mapped", "map it again")
    return {
        "program": f"diffclip-geo {__version__}",
        "inputs": inputs,
        "model": file_facts(place.classifier) | {"encoder": file_facts(place.encoder)["sha256"]},
        "options": {
            "confidence": job.layers.confidence,
            "nearness": asdict(job.near_shots.nearness) if job.near_shots else None,
            **job.engine.facts(),
            **job.products.to_dict(),
        },
        "seed": place.read(place.classifier_manifest, "fewshot")["seed"],
        "versions": software_versions(),
        "notes": job.scene.notes,
    }


def _stamp(path: Path) -> str:
    """Size and time of change of a file: what can be compared without reading it."""
    status = path.stat()
    changed = datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC).isoformat(" ", "milliseconds")
    return f"of {status.st_size} bytes, {changed}"


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _labels_used(place: Workspace, scene: Scene) -> Marks | None:
    """The training pixels that lie on `scene`, when it is one of those that the classifier was trained on."""
    if not place.training_pixels.is_file():
        return None
    trained = place.read(place.manifest, "pretrain")["scenes"]
    numbers = [i for i, one in enumerate(trained) if Scene.from_dict(one).hsi_path == scene.hsi_path]
    where, row, column, value = read_training_pixels(place.training_pixels)
    mine = np.isin(where, numbers)
    return Marks(row[mine], column[mine], value[mine]) if mine.any() else None
