"""Windows around pixels, gathered by index from standardised images.

One rule fills what is missing, in training and in inference: a cell of a window that lies outside the scene or on an
invalid pixel takes the value of the window's centre pixel.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from .images import Image


def cell_offsets(side: int) -> tuple[Tensor, Tensor]:
    """Row and column offset of every cell of a window from its centre, row by row; int64 `[side²]` each."""
    offset = torch.arange(side) - side // 2
    row, column = torch.meshgrid(offset, offset, indexing="ij")
    return row.flatten(), column.flatten()


def symmetries(side: int) -> Tensor:
    """The eight rotations and reflections of a window as permutations of its cells; int64 `[8, side²]`."""
    cells = torch.arange(side * side).view(side, side)
    turned = [torch.rot90(cells, k) for k in range(4)]
    return torch.stack([t.flatten() for turn in turned for t in (turn, turn.flip(1))])


class PixelWindows:
    """Where the windows of the valid core pixels of one image lie, in row-major order of the pixels.

    Cells are numbered in the flattened image, margin included.
    """

    def __init__(self, image: Image, side: int) -> None:
        row, column = image.core.nonzero(as_tuple=True)
        width = image.valid.shape[1]
        row_offset, column_offset = cell_offsets(side)
        self.centre = (row + image.margin) * width + column + image.margin  # [pixels]
        self._offset = row_offset * width + column_offset
        self._valid = image.valid.flatten()

    def to(self, device: torch.device) -> PixelWindows:
        """A copy on another device."""
        moved = copy.copy(self)
        for name, tensor in vars(self).items():
            setattr(moved, name, tensor.to(device, non_blocking=True))
        return moved

    def cells(self, centre: Tensor) -> Tensor:
        """Cells of the windows around the cells `centre` `[B]`; int64 `[B, side²]`."""
        cells = centre[:, None] + self._offset
        return torch.where(self._valid[cells], cells, centre[:, None])


class WindowSource:
    """Windows of the valid pixels of several images, or of the `wanted` ones among them (bool, shaped as the images'
    cores).

    Pixels are numbered image by image, row by row, over the pixels inside the margins.
    """

    def __init__(self, images: Sequence[Image], side: int, wanted: Sequence[Tensor] | None = None) -> None:
        radius = side // 2
        if any(image.margin < radius for image in images):
            raise ValueError(f"windows of side {side} need a margin of {radius} pixels")
        self.side = side
        self.channels = tuple(m.shape[-1] for m in images[0].modalities)
        self._flat = [
            torch.cat([image.modalities[m].flatten(0, 1) for image in images]) for m in range(len(self.channels))
        ]
        self._valid = torch.cat([image.valid.flatten() for image in images])
        centres, strides = [], []
        start = 0
        for number, image in enumerate(images):
            width = image.valid.shape[1]
            chosen = image.core if wanted is None else image.core & wanted[number]
            row, column = chosen.nonzero(as_tuple=True)
            centres.append(start + (row + image.margin) * width + column + image.margin)
            strides.append(torch.full_like(row, width))
            start += image.valid.numel()
        self._centre, self._stride = torch.cat(centres), torch.cat(strides)
        self._row_offset, self._column_offset = cell_offsets(side)
        self._symmetries = symmetries(side)

    def __len__(self) -> int:
        """Number of windows."""
        return len(self._centre)

    def gather(self, which: Tensor, symmetry: Tensor | None = None) -> tuple[Tensor, ...]:
        """Windows of the pixels `which` `[B]`, one tensor `[B, side², C]` per modality, all turned alike.

        `symmetry` `[B]` in 0…7 turns or mirrors each window, all its modalities in register.
        """
        centre, stride = self._centre[which, None], self._stride[which, None]
        cells = torch.arange(self.side**2).expand(len(which), -1) if symmetry is None else self._symmetries[symmetry]
        index = centre + self._row_offset[cells] * stride + self._column_offset[cells]
        index = torch.where(self._valid[index], index, centre)
        return tuple(flat[index] for flat in self._flat)
