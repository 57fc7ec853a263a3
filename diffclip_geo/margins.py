"""Blocks of a scene with the pixels around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .scenes import Block, Scene
from .scratch import scratch


def read_with_margin(
    scene: Scene, row: int, column: int, height: int, width: int, margin: int, again: bool = False
) -> Block:
    """A block and `margin` pixels around it; those beyond the scene are invalid and 0.

    With `again`, the block lies in memory that the thread uses for the next one, too.
    """
    top, left = max(0, row - margin), max(0, column - margin)
    bottom, right = min(scene.grid.height, row + height + margin), min(scene.grid.width, column + width + margin)
    shape = height + 2 * margin, width + 2 * margin
    counts = {"hsi": len(scene.band_indices), "lidar": len(scene.lidar_names)}
    hsi, lidar = (_image(f"{name} of a block", (count, *shape), again) for name, count in counts.items())
    if shape != (bottom - top, right - left):
        hsi[:], lidar[:] = 0, 0
    valid = np.zeros(shape, bool)
    there = slice(top - row + margin, bottom - row + margin), slice(left - column + margin, right - column + margin)
    valid[there] = scene.read_into(top, left, hsi[:, *there], lidar[:, *there])
    return Block(hsi, lidar, valid)


def _image(name: str, shape: tuple[int, ...], again: bool) -> NDArray[np.float32]:
    return scratch(name, shape) if again else np.empty(shape, np.float32)


def pad(block: Block, widths: tuple[tuple[int, int], tuple[int, int]]) -> Block:
    """Surround a block with invalid pixels: ((above, below), (left, right))."""
    if not any(map(any, widths)):
        return block
    around = ((0, 0), *widths)
    return Block(np.pad(block.hsi, around), np.pad(block.lidar, around), np.pad(block.valid, widths))
