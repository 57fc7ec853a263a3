"""Fixed sine-cosine embeddings of positions and timesteps (Vaswani et al., 2017)."""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_embedding(values: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Sines and cosines of `values` at `width`/2 geometric wavelengths, 2π … 2π·`longest`; `[*shape, width]`."""
    frequency = longest ** (-torch.arange(width // 2, dtype=torch.float64) / (width // 2))
    angle = values.double()[..., None] * frequency.to(values.device)
    return torch.cat([angle.sin(), angle.cos()], -1).float()


def grid_embedding(side: int, width: int) -> Tensor:
    """Embedding of the cells of a window, rows in the first half and columns in the second; `[side², width]`.

    Coordinates count from the centre, so the centre cell has the same embedding in a window of any size.
    """
    offset = torch.arange(side) - side // 2
    row, column = torch.meshgrid(offset, offset, indexing="ij")
    return torch.cat([sincos_embedding(row.flatten(), width // 2), sincos_embedding(column.flatten(), width // 2)], -1)
