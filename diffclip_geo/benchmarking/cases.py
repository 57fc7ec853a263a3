"""What methods are compared on: images with known classes, and the few labelled pixels a method gets to see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..labels import read_labels
from ..scenes import Block, Scene, find_scenes

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Tile:
    """One image; truth 1…K (0: unlabelled) and spatial unit (polygon, block or plot) of its pixels, int64 `[h, w]`."""

    block: Block
    truth: Int
    group: Int


@dataclass(frozen=True, eq=False)  # each equals itself alone, so that what was made of them can be kept
class Images:
    """A case without its labels: all that a method may learn from, beside the shots."""

    name: str
    blocks: tuple[Block, ...]
    classes: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the pixels."""
        digest = hashlib.sha256()
        for block in self.blocks:
            for part in block:
                digest.update(repr(part.shape).encode() + np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Shots:
    """The labelled pixels of one training: number of the pixel, class 1…K and spatial unit; int64 `[N]` each."""

    index: Int
    label: Int
    group: Int


@dataclass(frozen=True)
class Case:
    """Images of one sensor with their truth. Pixels are numbered image by image, row by row."""

    name: str
    classes: tuple[str, ...]
    tiles: tuple[Tile, ...]

    @classmethod
    def from_arrays(
        cls,
        name: str,
        images: Sequence[tuple[NDArray, ...]],
        labels: Sequence[NDArray[np.integer]],
        classes: Sequence[str],
        groups: Sequence[NDArray[np.integer]] | None = None,
    ) -> Case:
        """From one or two co-registered modalities `[H, W, C]` per image and labels `[H, W]` in 0…K.

        Pixels with NaN or ±inf are invalid and lose their label. `groups` `[H, W]` deals pixels into spatial units;
        by default a unit is a patch of touching pixels of one class.
        """
        tiles = []
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            first, second = image if len(image) == 2 else (image[0], np.zeros((*image[0].shape[:2], 0)))
            hsi, other = (np.ascontiguousarray(m.transpose(2, 0, 1), np.float32) for m in (first, second))
            valid = np.isfinite(np.concatenate([hsi, other])).all(axis=0)
            block = Block(np.where(valid, hsi, 0), np.where(valid, other, 0), valid)
            truth = np.where(valid, label, 0).astype(np.int64)
            group = patches(truth) if groups is None else np.asarray(groups[number], np.int64)
            tiles.append(Tile(block, truth, group))
        return cls(name, tuple(classes), tuple(tiles))

    @classmethod
    def from_files(
        cls, hsi: str | Path, lidar: Sequence[str | Path], labels: Path, *, class_field: str | None = None
    ) -> Case:
        """From rasters and labels as `pretrain` and `fewshot` take them; the spatial units are the labelled features.

        Raises RasterError or LabelError.
        """
        scenes = [Scene.open(image, layers) for image, layers in find_scenes(hsi, lidar)]
        pixels = read_labels(labels, [scene.grid for scene in scenes], class_field=class_field)
        tiles = []
        for number, scene in enumerate(scenes):
            block = scene.read(0, 0, *scene.grid.shape)
            truth, group = np.zeros(scene.grid.shape, np.int64), np.zeros(scene.grid.shape, np.int64)
            inside = pixels.scene == number
            where = pixels.row[inside], pixels.column[inside]
            truth[where], group[where] = pixels.label[inside], pixels.group[inside] + 1
            truth[~block.valid] = 0
            tiles.append(Tile(block, truth, group))
        return cls(scenes[0].hsi_path.stem, pixels.classes.names, tuple(tiles))

    @cached_property
    def images(self) -> Images:
        """The case without its labels."""
        return Images(self.name, tuple(tile.block for tile in self.tiles), self.classes)

    @cached_property
    def truth(self) -> Int:
        """Class of every pixel."""
        return np.concatenate([tile.truth.ravel() for tile in self.tiles])

    @cached_property
    def group(self) -> Int:
        """Spatial unit of every pixel, different in different images."""
        stride = 1 + max(int(tile.group.max()) for tile in self.tiles)
        return np.concatenate([tile.group.ravel() + stride * number for number, tile in enumerate(self.tiles)])

    def shots(self, index: Int) -> Shots:
        """The labels of these pixels."""
        return Shots(index, self.truth[index], self.group[index])


def patches(label: NDArray[np.integer]) -> Int:
    """Number of the patch of touching pixels (also at corners) of one class that each labelled pixel lies in."""
    group = np.zeros(label.shape, np.int64)
    for one in np.unique(label[label > 0]):
        part, _ = ndimage.label(label == one, np.ones((3, 3)))
        group[part > 0] = part[part > 0] + group.max()
    return group


def blocks_of(shape: tuple[int, int], size: int) -> Int:
    """Number of the square block of `size` pixels that each pixel lies in."""
    row, column = np.indices(shape) // size
    group: Int = row * (shape[1] // size + 1) + column + 1
    return group
