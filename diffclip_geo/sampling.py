"""What training sees of scenes: whole scenes when they fit, else blocks spread over them at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import RasterError
from .labels import LabelledPixels
from .margins import read_with_margin
from .nearness import Spots, spots_of
from .scenes import Block, Scene, inside
from .tiles import Tile, tiles_of

BUDGET = 2**18  # pixels held in memory for pretraining: 150 MB at 144 bands
SIDE = 64  # of sampled blocks, in pixels


def sample_blocks(scenes: Sequence[Scene], margin: int, *, budget: int = BUDGET, seed: int = 0) -> list[Block]:
    """Blocks of all scenes with at most about `budget` pixels in all; a scene's share is its share of all pixels.

    Raises RasterError when a scene has no valid pixel in what was read.
    """
    rng = np.random.default_rng(seed)
    total = sum(scene.grid.height * scene.grid.width for scene in scenes)
    blocks = []
    for scene in scenes:
        if total <= budget:
            tiles = [Tile(0, 0, *scene.grid.shape)]
        else:
            tiles = tiles_of(scene.grid, SIDE)
            kept = max(1, round(len(tiles) * budget / total))
            tiles = [tiles[i] for i in sorted(rng.choice(len(tiles), kept, replace=False))]
        read = [read_with_margin(scene, *tile, margin) for tile in tiles]
        read = [block for block in read if inside(block.valid, margin).any()]
        if not read:
            raise RasterError(
                scene.hsi_path, "has no valid pixel", "check its nodata value, the mask and the overlap with the LiDAR"
            )
        blocks += read
    return blocks


@dataclass(frozen=True)
class LabelledBlock:
    """A block, read with a margin, and for its core pixels the class and the polygon or point it came from.

    Both int64 `[h, w]`; the class is 0 where a pixel is unlabelled. `spots` are the places of all core pixels in
    row-major order, where they are known.
    """

    block: Block
    label: NDArray[np.int64]
    group: NDArray[np.int64]
    spots: Spots | None = None


def labelled_blocks(scenes: Sequence[Scene], pixels: LabelledPixels, margin: int) -> Iterator[LabelledBlock]:
    """The ground around labelled pixels, in blocks that hold little more than it, one after the other: those of many
    scattered points would not fit into memory.
    """
    for number, scene in enumerate(scenes):
        inside = pixels.scene == number
        tile = np.stack([pixels.row // SIDE, pixels.column // SIDE], 1)
        for key in np.unique(tile[inside], axis=0):
            here = inside & (tile == key).all(1)
            row, column = pixels.row[here], pixels.column[here]
            top, left = int(row.min()), int(column.min())
            label = np.zeros((int(row.max()) - top + 1, int(column.max()) - left + 1), np.int64)
            group = np.zeros_like(label)
            label[row - top, column - left] = pixels.label[here]
            group[row - top, column - left] = pixels.group[here]
            rows, columns = np.indices(label.shape).reshape(2, -1)
            spots = spots_of(scenes, number, rows + top, columns + left)
            yield LabelledBlock(read_with_margin(scene, top, left, *label.shape, margin), label, group, spots)
