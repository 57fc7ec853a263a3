"""The exact engine: the vision transformer on the window of every valid pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from .images import Image
from .nn.fusion import ImageEncoder
from .nn.ldc import AdapterFusion
from .windows import cell_offsets

MICRO_BATCH = 256  # windows per forward pass


class ExactEngine:
    """Unit vectors z_image of all valid pixels of an image, and what an LDC head needs beside them.

    The spectral projection is computed once per pixel, not once per window. Every forward pass has the same number of
    windows (the last one is filled up), so that a pixel's result does not depend on its neighbours in the batch or on
    the tile.
    """

    def __init__(
        self, model: ImageEncoder, device: torch.device | str = "cpu", fusion: AdapterFusion | None = None
    ) -> None:
        self.model = model.to(device).eval()
        self.fusion = None if fusion is None else fusion.to(device).eval()
        self.device = torch.device(device)
        self.side = model.encoder.config.window

    @property
    def margin(self) -> int:
        """Pixels of context that the engine needs around a tile."""
        return self.side // 2

    @torch.inference_mode()
    def embed(self, image: Image) -> Tensor:
        """z_image of the valid core pixels in row-major order; float32 `[pixels, D]` on the CPU.

        With the adapters of an LDC head, its enhanced feature follows on each row: `[pixels, D + features]`.
        """
        row, column = image.core.nonzero(as_tuple=True)
        if not len(row):
            return torch.zeros(0, self.model.projection.out_features + (self.fusion.features if self.fusion else 0))
        width = image.valid.shape[1]
        encoder = self.model.encoder
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            flat = [
                encoder.project(pixels.to(self.device), m).flatten(0, 1) for m, pixels in enumerate(image.modalities)
            ]
            valid = image.valid.flatten().to(self.device)
            row_offset, column_offset = cell_offsets(self.side)
            offset = (row_offset * width + column_offset).to(self.device)
            centre = ((row + image.margin) * width + column + image.margin).to(self.device)
            embedded = []
            for batch in equal_batches(centre, MICRO_BATCH):
                index = batch[:, None] + offset
                index = torch.where(valid[index], index, batch[:, None])
                embedded.append(self._embed([tokens[index] for tokens in flat]).float())
        return torch.cat(embedded)[: len(row)].cpu()

    def _embed(self, projected: Sequence[Tensor]) -> Tensor:
        """The rows of projected windows `[B, side², width]`, one tensor per modality."""
        encoder = self.model.encoder
        if self.fusion is None:
            return self.model.project([encoder.summarise(tokens, self.model.centre) for tokens in projected])
        levels = [encoder.levels(encoder.embed(tokens)) for tokens in projected]
        z_image = self.model.project([one[-1][:, encoder.summary_tokens(self.model.centre)] for one in levels])
        return torch.cat([z_image, self.fusion(levels)], -1)


def equal_batches(items: Tensor, size: int) -> Iterator[Tensor]:
    """Split `items` into batches of exactly `size`, the last one filled up with its last item."""
    missing = -len(items) % size
    yield from torch.cat([items, items[-1:].expand(missing, *items.shape[1:])]).split(size)
