"""`features`: see what the encoder of a workspace makes of a scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from .. import __version__
from ..atomic import FileSet, check_outputs
from ..classes import ClassTable
from ..classifier import empty_encoder, load_classifier
from ..devices import pick_device
from ..encoder_features import ColourComponents, encode, plot_scatter
from ..errors import OptionError, RasterError
from ..exclusion import read_training_pixels
from ..images import SceneStats
from ..labels import read_labels
from ..maps import MapWriter
from ..margins import read_with_margin
from ..nn.encoder import Encoder
from ..presets import Preset
from ..sampling import sample_blocks
from ..scenes import Paths, Scene
from ..tensorfiles import load_tensors
from ..tiles import Tile, tiles_of
from ..windows import WindowSource
from ..workspace import Workspace
from .targets import scenes_to_map

SAMPLE = 4096  # pixels that the principal components are learned from
TILE = 64


@dataclass(frozen=True)
class FeaturePictures:
    """What `features` wrote."""

    components: Path
    scatter: Path | None  # none without labels
    share: tuple[float, ...]  # of the variance, in the three components
    points: int  # labelled pixels in the scatter


def features(
    out: str | PathLike[str],
    *,
    workspace: str | PathLike[str] = "diffclip-work",
    scene: Paths | None = None,
    lidar: Paths = (),
    mask: str | Path | None = None,
    allow_partial: bool = False,
    labels: str | PathLike[str] | None = None,
    class_field: str | None = None,
    points: int = 20,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> FeaturePictures:
    """Write the first three principal components of the encoder's features as red, green and blue to the GeoTIFF `out`,
    and beside it, as PNG, a scatter of labelled pixels: both modalities, before and after few-shot training.

    Parameters
    ----------
    scene, lidar
        The scene to look at; by default the first one of the workspace.
    labels
        Points, polygons or a raster for the scatter, on the scene; by default the pixels that were trained on.
    points
        Pixels of each class in the scatter, drawn with `seed`.

    Raises
    ------
    WorkspaceError
        The workspace holds no encoder.
    RasterError, LabelError
        The scene or the labels cannot be used.
    OutputError
        An output exists, or cannot be written.
    """
    path = Path(out)
    picture = path.with_suffix(".png")
    place = Workspace(Path(workspace))
    facts = place.read(place.manifest, "pretrain")
    if points < 1:
        raise OptionError("--points", f"is {points}", "give at least 1")
    chosen = scenes_to_map(place, scene, lidar, mask, allow_partial)[0]
    check_outputs([path, picture], overwrite, [*chosen.files, *([] if labels is None else [Path(labels)])])
    if say:
        for note in chosen.notes:
            say(note)
    preset, stats = Preset.from_dict(facts["preset"]), SceneStats.from_dict(facts["stats"])
    before = empty_encoder(preset, facts["channels"])
    before.load_state_dict(load_tensors(place.encoder))
    trained = load_classifier(place) if place.classifier_manifest.is_file() else None
    after = before if trained is None else trained.model.image.encoder
    look = _Look(chosen, stats, preset.encoder.window, pick_device(device))
    wanted = _wanted(place, chosen, labels, class_field, points, seed)
    components = look.components(after, seed)
    with FileSet(path, overwrite=overwrite) as files:
        tags = {
            "PROGRAM": f"diffclip-geo {__version__}",
            "ENCODER": "pretrained" if trained is None else "pretrained, then trained on labels",
        }
        names = [f"principal component {i} ({part:.1%})" for i, part in enumerate(components.share, start=1)]
        with MapWriter(
            path, chosen.grid, count=3, dtype="uint8", nodata=0, descriptions=names, tags=tags, files=files
        ) as writer:
            for tile in tqdm(tiles_of(chosen.grid, TILE), desc="features", unit="tile", disable=not progress):
                writer.write(tile.row, tile.column, look.colours(after, components, tile))
        drawn = 0
        if wanted is not None:
            windows, valid = look.windows(wanted)
            drawn = len(windows)
        if wanted is not None and drawn:
            stages = {"before few-shot training": encode(before, windows, look.device)}
            if trained is not None:
                stages["after few-shot training"] = encode(after, windows, look.device)
            plot_scatter(files.stage(picture), stages, wanted.label[valid], wanted.classes)
    return FeaturePictures(path, picture if drawn else None, components.share, drawn)


@dataclass(frozen=True)
class _Wanted:
    """Labelled pixels for the scatter, in the order of their rows and columns."""

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    label: NDArray[np.int64]
    classes: ClassTable


def _wanted(
    place: Workspace,
    scene: Scene,
    labels: str | PathLike[str] | None,
    class_field: str | None,
    points: int,
    seed: int,
) -> _Wanted | None:
    if labels is not None:
        found = read_labels(Path(labels), [scene.grid], class_field=class_field).sample(points, seed)
        return _Wanted(found.row, found.column, found.label, found.classes)
    if not place.training_pixels.is_file() or not place.classifier_manifest.is_file():
        return None
    trained = place.read(place.manifest, "pretrain")["scenes"]
    numbers = [i for i, one in enumerate(trained) if Scene.from_dict(one).hsi_path == scene.hsi_path]
    where, row, column, label = read_training_pixels(place.training_pixels)
    rank = np.zeros(len(label), np.int64)
    for one in np.unique(label):
        mine = np.random.default_rng([seed, int(one)]).permutation(np.flatnonzero(label == one))
        rank[mine] = np.arange(len(mine))
    kept = np.isin(where, numbers) & (rank < points)
    if not kept.any():
        return None
    classes = ClassTable.from_dict(place.read(place.classifier_manifest, "fewshot")["classes"])
    return _Wanted(row[kept], column[kept], label[kept], classes)


class _Look:
    """Features of a scene's pixels."""

    def __init__(self, scene: Scene, stats: SceneStats, side: int, device: torch.device) -> None:
        self.scene, self.stats, self.side, self.device = scene, stats, side, device
        self.margin = side // 2

    def components(self, encoder: Encoder, seed: int) -> ColourComponents:
        """Principal components of a sample of the scene."""
        blocks = sample_blocks([self.scene], self.margin, budget=TILE**2 * 16, seed=seed)
        images = [self.stats.normalise(block, self.margin) for block in blocks]
        count = sum(int(image.core.sum()) for image in images)
        if count < 4:
            raise RasterError(self.scene.hsi_path, "has too few valid pixels", "check its nodata value and the mask")
        generator = torch.Generator().manual_seed(seed)
        kept = [torch.rand(image.core.shape, generator=generator) < max(SAMPLE, 4) / count for image in images]
        if count <= SAMPLE:
            kept = [torch.ones_like(one) for one in kept]
        source = WindowSource(images, self.side, kept)
        return ColourComponents.fit(np.concatenate(encode(encoder, source, self.device), axis=1))

    def colours(self, encoder: Encoder, components: ColourComponents, tile: Tile) -> NDArray[np.uint8]:
        """Colours [3, h, w] of a tile, 0 without data."""
        image = self.stats.normalise(read_with_margin(self.scene, *tile, self.margin), self.margin)
        valid = image.core.numpy()
        picture = np.zeros((3, *valid.shape), np.uint8)
        if valid.any():
            joined = np.concatenate(encode(encoder, WindowSource([image], self.side), self.device), axis=1)
            picture[:, valid] = components(joined).T
        return picture

    def windows(self, wanted: _Wanted) -> tuple[WindowSource, NDArray[np.bool_]]:
        """Windows of the wanted pixels that have data, in their order, and which these are."""
        images = [
            self.stats.normalise(read_with_margin(self.scene, row, column, 1, 1, self.margin), self.margin)
            for row, column in zip(wanted.row.tolist(), wanted.column.tolist(), strict=True)
        ]
        return WindowSource(images, self.side), np.array([bool(image.core.all()) for image in images])
