"""Blocks of a scene with the pixels around them."""

from __future__ import annotations

import numpy as np

from .scenes import Block, Scene


def read_with_margin(scene: Scene, row: int, column: int, height: int, width: int, margin: int) -> Block:
    """A block and `margin` pixels around it; those beyond the scene are invalid and 0."""
    top, left = max(0, row - margin), max(0, column - margin)
    bottom, right = min(scene.grid.height, row + height + margin), min(scene.grid.width, column + width + margin)
    return pad(
        scene.read(top, left, bottom - top, right - left),
        (
            (top - (row - margin), row + height + margin - bottom),
            (left - (column - margin), column + width + margin - right),
        ),
    )


def pad(block: Block, widths: tuple[tuple[int, int], tuple[int, int]]) -> Block:
    """Surround a block with invalid pixels: ((above, below), (left, right))."""
    if not any(map(any, widths)):
        return block
    around = ((0, 0), *widths)
    return Block(np.pad(block.hsi, around), np.pad(block.lidar, around), np.pad(block.valid, widths))
