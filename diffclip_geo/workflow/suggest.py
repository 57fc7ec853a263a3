"""`suggest`: the most useful points to label next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.crs import CRS

from ..atomic import check_outputs
from ..classes import ClassTable
from ..classifier import Classifier, load_classifier
from ..devices import pick_device
from ..errors import OptionError
from ..exact import ExactEngine
from ..exclusion import read_training_pixels
from ..grid import Grid
from ..images import SceneStats
from ..margins import read_with_margin
from ..nearness import NearShots
from ..normalisation import Array
from ..pointfiles import Points, check_name, point_files, write_points
from ..presets import Preset
from ..scenes import Block, Scene
from ..suggestion import Pool, choose_points, uncertainty_of
from ..tiles import Tile, tiles_of
from ..training import margin_of
from ..views import View
from ..workspace import Workspace
from .near import near_shots_of

BUDGET = 2**14  # pixels that are looked at: some seconds
SIDE = 16  # of the tiles that are looked at in a scene beyond the budget: small, so that they are everywhere
READ = 64  # side of the squares in which labelled pixels are read
MOST_KNOWN = 2000  # labelled pixels that count as known ground; more would be much the same
ROOM = 0.25  # least distance by default, in units of the mean spacing of the points


@dataclass(frozen=True)
class Suggestion:
    """What `suggest` wrote."""

    path: Path
    points: Points
    min_distance: float  # map units
    classes: ClassTable | None  # those known so far
    labels: str | None  # the files they were learned from, as one writes them on the command line


@dataclass(frozen=True)
class _Sight:
    """What is known of pixels, to choose among them."""

    features: Array  # [M, F]
    probabilities: Array | None  # [M, K]; None before any label
    place: NDArray[np.float64]  # [M, 2] in map units of the first scene


def suggest(
    out: str | PathLike[str],
    count: int = 25,
    *,
    workspace: str | PathLike[str] = "diffclip-work",
    min_distance: float | None = None,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> Suggestion:
    """Write the most useful points to label next to a GeoPackage, the best first, see `suggestion`.

    The field ``class`` is empty, to be filled in (QGIS offers the classes); `fewshot` leaves out points where it still
    is. Before the first `fewshot` all ground counts as uncertain, and the points stand for the scene as it is.

    Parameters
    ----------
    min_distance
        In map units, between points and from training pixels; by default a quarter of the mean spacing.

    Raises
    ------
    OptionError
        `count` or `min_distance` make no sense.
    OutputError
        `out` exists, or cannot be written.
    WorkspaceError
        Nothing was pretrained.
    """
    if count < 1:
        raise OptionError("--count", f"is {count}", "give at least 1")
    if min_distance is not None and not 0 <= min_distance < math.inf:
        raise OptionError("--min-distance", f"is {min_distance:g}", "give a distance in map units, at least 0")
    path = Path(out)
    check_name(path)
    place = Workspace(Path(workspace))
    facts = place.read(place.manifest, "pretrain")
    scenes = [Scene.from_dict(one) for one in facts["scenes"]]
    for scene in scenes:
        scene.check_files()
    check_outputs(point_files(path), overwrite, [file for scene in scenes for file in scene.files])
    classifier = load_classifier(place) if place.classifier_manifest.is_file() else None
    looker = _Looker(
        SceneStats.from_dict(facts["stats"]),
        tuple(View.from_dict(one) for one in facts["views"]),
        classifier,
        None if classifier is None else classifier.engine(pick_device(device)),
        margin_of(Preset.from_dict(facts["preset"])),
        scenes[0].grid.crs,
    )
    trained = read_training_pixels(place.training_pixels) if classifier else np.zeros((4, 0), np.int64)
    near = [near_shots_of(place, scene) if classifier else None for scene in scenes]
    pool = _pool(looker, scenes, near, trained, seed)
    if min_distance is None:
        area = sum(abs(scene.grid.pixel_area) * scene.grid.height * scene.grid.width for scene in scenes)
        min_distance = ROOM * math.sqrt(area / count)
    known = _known(looker, scenes, trained, seed) if classifier else None
    uncertainty = np.ones(len(pool.place), np.float32)
    if pool.probabilities is not None:
        uncertainty = uncertainty_of(pool.probabilities)
    chosen = choose_points(
        Pool(pool.features, uncertainty, pool.place),
        count,
        known=None if known is None else known.features,
        known_place=None if known is None else known.place,
        min_distance=min_distance,
        seed=seed,
    )
    if not len(chosen):
        raise OptionError("--min-distance", f"of {min_distance:g} leaves no room for a point", "give a smaller one")
    if say and len(chosen) < count:
        say(f"A distance of {min_distance:g} leaves room for {len(chosen)} points only.")
    proposed, sure = [""] * len(chosen), np.full(len(chosen), np.nan)
    if classifier is not None and pool.probabilities is not None:
        likely = pool.probabilities[chosen]
        proposed, sure = [classifier.classes.names[k] for k in likely.argmax(1)], likely.max(1)
    points = Points(pool.place[chosen], proposed, sure)
    classes = None if classifier is None else classifier.classes
    write_points(path, points, scenes[0].grid.crs, classes, overwrite)
    labels = None
    if classifier is not None:
        labels = place.read(place.classifier_manifest, "fewshot")["labels"]
        labels = " ".join(shlex.quote(one) for one in labels.split(" + "))
    return Suggestion(path, points, min_distance, classes, labels)


@dataclass(frozen=True)
class _Looker:
    """Makes features and probabilities of pixels."""

    stats: SceneStats
    views: tuple[View, ...]
    classifier: Classifier | None
    engine: ExactEngine | None
    margin: int
    crs: CRS | None

    def look(
        self,
        block: Block,
        wanted: NDArray[np.bool_],
        grid: Grid,
        row: int,
        column: int,
        near_shots: NearShots | None = None,
        *,
        predict: bool = True,
    ) -> _Sight:
        """The `wanted` pixels, bool `[h, w]`, of the core of a block that begins at (`row`, `column`) of `grid`."""
        core = block.valid[self.margin : -self.margin, self.margin : -self.margin]
        kept = wanted[core]
        probabilities = None
        if predict and self.classifier is not None and self.engine is not None:
            probabilities = self.classifier.probabilities(self.engine, block, self.margin)
            if near_shots is not None:
                probabilities = near_shots.weigh(probabilities, core, row, column)
            probabilities = probabilities[kept]
        if self.views:
            features = np.concatenate([view(block, self.margin) for view in self.views], 1)
        else:
            image = self.stats.normalise(block, self.margin)
            inside = [m[self.margin : -self.margin, self.margin : -self.margin][image.core] for m in image.modalities]
            features = torch.cat(inside, 1).numpy()
        rows, columns = np.nonzero(core & wanted)
        x, y = grid.centre_in(self.crs, rows + row, columns + column)
        return _Sight(features[kept], probabilities, np.column_stack([x, y]))


def _pool(
    looker: _Looker,
    scenes: Sequence[Scene],
    near_shots: Sequence[NearShots | None],
    trained: NDArray[np.int64],
    seed: int,
) -> _Sight:
    """Pixels without a label: all of them, or those of tiles that are spread over the scenes at random."""
    rng = np.random.default_rng(seed)
    total = sum(scene.grid.height * scene.grid.width for scene in scenes)
    sights = []
    for number, scene in enumerate(scenes):
        used = trained[:, trained[0] == number]
        tiles = [Tile(0, 0, *scene.grid.shape)]
        if total > BUDGET:
            tiles = tiles_of(scene.grid, SIDE)
            share = max(1, round(len(tiles) * BUDGET / total))
            tiles = [tiles[i] for i in rng.permutation(len(tiles))[: 4 * share]]
        left = max(1, round(BUDGET * scene.grid.height * scene.grid.width / total))
        for tile in tiles:
            if left <= 0:
                break
            wanted = np.ones((tile.height, tile.width), bool)
            here = (used[1] >= tile.row) & (used[1] < tile.row + tile.height)
            here &= (used[2] >= tile.column) & (used[2] < tile.column + tile.width)
            wanted[used[1, here] - tile.row, used[2, here] - tile.column] = False
            block = read_with_margin(scene, *tile, looker.margin)
            wanted &= block.valid[looker.margin : -looker.margin, looker.margin : -looker.margin]
            if wanted.any():  # tiles of nodata cost nothing; the list of tiles is longer than needed for that
                sights.append(looker.look(block, wanted, scene.grid, tile.row, tile.column, near_shots[number]))
                left -= int(wanted.sum())
    if not sights:
        raise OptionError("suggest", "found no pixel without a label", "check the mask and the nodata of the scenes")
    return _join(sights)


def _known(looker: _Looker, scenes: Sequence[Scene], trained: NDArray[np.int64], seed: int) -> _Sight | None:
    """The pixels that the classifier was trained on, or a sample of them; None without any."""
    kept = np.sort(np.random.default_rng(seed).permutation(trained.shape[1])[:MOST_KNOWN])
    sights = []
    for number, scene in enumerate(scenes):
        row, column = trained[1:3, kept][:, trained[0, kept] == number]
        tile = np.stack([row // READ, column // READ], 1)
        for key in np.unique(tile, axis=0):
            here = (tile == key).all(1)
            top, left = int(row[here].min()), int(column[here].min())
            wanted = np.zeros((int(row[here].max()) - top + 1, int(column[here].max()) - left + 1), bool)
            wanted[row[here] - top, column[here] - left] = True
            block = read_with_margin(scene, top, left, *wanted.shape, looker.margin)
            sights.append(looker.look(block, wanted, scene.grid, top, left, predict=False))
    return _join(sights) if sights else None


def _join(sights: Sequence[_Sight]) -> _Sight:
    known = [sight.probabilities for sight in sights if sight.probabilities is not None]
    return _Sight(
        np.concatenate([sight.features for sight in sights]),
        np.concatenate(known) if known else None,
        np.concatenate([sight.place for sight in sights]),
    )
