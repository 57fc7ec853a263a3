"""The exact engine: the vision transformer on the window of every valid pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from threading import Lock
from typing import Protocol

import torch
from torch import Tensor

from .errors import OptionError
from .images import Image
from .nn.folded import FoldedEncoder
from .nn.fusion import ImageEncoder
from .nn.ldc import AdapterFusion
from .windows import PixelWindows

MICRO_BATCH = 32  # windows per forward pass on a CPU: few enough for its caches, enough to hide the calls between them
LARGEST_BATCH = 4096  # on a GPU: more is not faster
# 16 bits on a GPU. The tokens are layer-normed throughout, so float16 holds them, with eight times the precision of
# bfloat16: on the demo's scene and the language model alone, 9087 of 9087 labels are those of float32, and 9078.
GPU_PRECISION = torch.float16


class Embedder(Protocol):
    """What computes the vectors of windows, whatever the runtime."""

    @property
    def margin(self) -> int:
        """Pixels of context around a tile."""
        ...

    def embed(self, image: Image) -> Tensor:
        """See `ExactEngine.embed`."""
        ...


class ExactEngine:
    """Unit vectors z_image of all valid pixels of an image, and what an LDC head needs beside them.

    The spectral projection is computed once per pixel, not once per window. Every forward pass has the same number of
    windows, `batch` (the last one is filled up), so that a pixel's result does not depend on its neighbours in the
    batch or on the tile. By default `batch` suits the caches of a CPU; on a GPU it is the largest power of two that
    fits into its memory, up to `LARGEST_BATCH`.
    """

    def __init__(
        self,
        model: ImageEncoder,
        device: torch.device | str = "cpu",
        fusion: AdapterFusion | None = None,
        batch: int | None = None,
    ) -> None:
        self.device = torch.device(device)
        on_gpu = self.device.type == "cuda"
        self.encoder = FoldedEncoder(model, fusion).to(self.device, GPU_PRECISION if on_gpu else torch.float32)
        # Threads that share a GPU take turns: two passes at once would need twice the memory and be no faster.
        self._turn = Lock() if on_gpu else nullcontext()
        self.batch = batch or (largest_batch(self._try, LARGEST_BATCH) if on_gpu else MICRO_BATCH)

    @property
    def margin(self) -> int:
        """Pixels of context that the engine needs around a tile."""
        return self.encoder.config.window // 2

    @torch.inference_mode()
    def embed(self, image: Image) -> Tensor:
        """z_image of the valid core pixels in row-major order; float32 `[pixels, D]` on the CPU.

        With the adapters of an LDC head, its enhanced feature follows on each row: `[pixels, D + features]`.
        """
        windows = PixelWindows(image, self.encoder.config.window)
        count = len(windows.centre)
        if not count:
            return torch.zeros(0, self.encoder.features)
        windows = windows.to(self.device)
        flat = [
            self.encoder.project(self._moved(pixels), modality).flatten(0, 1)
            for modality, pixels in enumerate(image.modalities)
        ]
        embedded = []
        for centre in equal_batches(windows.centre, self.batch):
            with self._turn:
                cells = windows.cells(centre)
                embedded.append(self.encoder([tokens[cells] for tokens in flat]))
        return torch.cat(embedded)[:count].cpu()

    def _moved(self, pixels: Tensor) -> Tensor:
        """Pixels on the device, in its precision; from pinned memory a GPU fetches them while it computes."""
        if self.device.type == "cuda":
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        return pixels.to(self.encoder.table.dtype)

    @torch.inference_mode()
    def _try(self, batch: int) -> None:
        """One pass of `batch` windows."""
        table = self.encoder.table
        self.encoder([table[1:].expand(batch, -1, -1) for _ in self.encoder.config.channels])


def largest_batch(attempt: Callable[[int], None], limit: int) -> int:
    """The largest power of two up to `limit` for which `attempt` does not run out of the GPU's memory.

    Raises OptionError if there is none.
    """
    fits = 0
    for batch in (2**k for k in range(limit.bit_length())):
        try:
            attempt(batch)
        except torch.cuda.OutOfMemoryError:
            break
        fits = batch
    torch.cuda.empty_cache()
    if not fits:
        raise OptionError("device 'cuda'", "has no memory left for this network", "use --device cpu")
    return fits


def equal_batches(items: Tensor, size: int) -> Iterator[Tensor]:
    """Split `items` into batches of exactly `size`, the last one filled up with its last item."""
    missing = -len(items) % size
    yield from torch.cat([items, items[-1:].expand(missing, *items.shape[1:])]).split(size)
