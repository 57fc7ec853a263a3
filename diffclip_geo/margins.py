"""Blocks of a scene with the pixels around them."""

from __future__ import annotations

import numpy as np

from .scenes import Block, Scene


def read_with_margin(scene: Scene, row: int, column: int, height: int, width: int, margin: int) -> Block:
    """A block and `margin` pixels around it; those beyond the scene are invalid and 0."""
    top, left = max(0, row - margin), max(0, column - margin)
    bottom, right = min(scene.grid.height, row + height + margin), min(scene.grid.width, column + width + margin)
    shape = height + 2 * margin, width + 2 * margin
    hsi, lidar = (np.zeros((count, *shape), np.float32) for count in (len(scene.band_indices), len(scene.lidar_names)))
    valid = np.zeros(shape, bool)
    there = slice(top - row + margin, bottom - row + margin), slice(left - column + margin, right - column + margin)
    valid[there] = scene.read_into(top, left, hsi[:, *there], lidar[:, *there])
    return Block(hsi, lidar, valid)


def pad(block: Block, widths: tuple[tuple[int, int], tuple[int, int]]) -> Block:
    """Surround a block with invalid pixels: ((above, below), (left, right))."""
    if not any(map(any, widths)):
        return block
    around = ((0, 0), *widths)
    return Block(np.pad(block.hsi, around), np.pad(block.lidar, around), np.pad(block.valid, widths))
