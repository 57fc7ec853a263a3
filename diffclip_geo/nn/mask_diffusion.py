"""Unsupervised mask diffusion (UMD), stage 1 of DiffCLIP: denoise the visible pixels, restore the masked ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..diffusion import LinearSchedule, diffuse, split_tokens
from .decoder import Decoder
from .encoder import Encoder


class Corruption(NamedTuple):
    """How one modality of a batch is corrupted."""

    visible: Tensor  # int64 [B, V], cells the encoder sees
    masked: Tensor  # int64 [B, M], the other cells
    timestep: Tensor  # int64 [B]
    noise: Tensor  # float32 [B, V, channels]

    def part(self, where: slice) -> Corruption:
        """Of some windows of the batch."""
        return Corruption(*(tensor[where] for tensor in self))


class Losses(NamedTuple):
    """Both parts of the loss, summed over the modalities."""

    denoising: Tensor  # mean squared error on visible cells
    restoration: Tensor  # mean squared error on masked cells

    @property
    def total(self) -> Tensor:
        """Their sum, the training loss."""
        return self.denoising + self.restoration


def pick(tokens: Tensor, cells: Tensor) -> Tensor:
    """Tokens `[B, N, C]` at the cells `[B, V]` → `[B, V, C]`."""
    return tokens.gather(1, cells[..., None].expand(-1, -1, tokens.shape[-1]))


class MaskDiffusion(nn.Module):
    """One encoder for all modalities, one decoder for each."""

    def __init__(
        self,
        encoder: Encoder,
        *,
        decoder_width: int = 64,
        decoder_depth: int = 1,
        decoder_heads: int = 4,
        mask_ratio: float = 0.7,
        schedule: LinearSchedule | None = None,
    ) -> None:
        super().__init__()
        config = encoder.config
        self.encoder = encoder
        self.decoders = nn.ModuleList(
            Decoder(channels, config.window, config.width, decoder_width, decoder_depth, decoder_heads)
            for channels in config.channels
        )
        self.mask_ratio = mask_ratio
        self.schedule = schedule or LinearSchedule()

    def corrupt(self, windows: Sequence[Tensor], generator: torch.Generator | None = None) -> list[Corruption]:
        """Draw masks, timesteps and noise for a batch; one split, timestep and noise per modality.

        The generator lives on the CPU, so that a seed means the same draw on every device.
        """
        corruptions = []
        for pixels in windows:
            batch, cells, channels = pixels.shape
            visible, masked = split_tokens(batch, cells, self.mask_ratio, generator)
            timestep = self.schedule.sample_timesteps(batch, generator)
            noise = torch.randn(batch, visible.shape[1], channels, generator=generator)
            corruptions.append(Corruption(*(part.to(pixels.device) for part in (visible, masked, timestep, noise))))
        return corruptions

    def restore(self, pixels: Tensor, modality: int, corruption: Corruption) -> Tensor:
        """x_0 of one modality as predicted from its visible, diffused cells; `[B, N, channels]` in and out."""
        visible, _, timestep, noise = corruption
        seen = diffuse(pick(pixels, visible), timestep, noise, self.schedule)
        features = self.encoder(seen, modality, timestep=timestep, visible=visible)
        restored: Tensor = self.decoders[modality](features, visible)
        return restored

    def forward(self, windows: Sequence[Tensor], corruptions: Sequence[Corruption]) -> Losses:
        """Losses of a batch: `windows` holds the standardised pixels `[B, N, channels]` of each modality."""
        denoising = restoration = torch.zeros((), device=windows[0].device)
        for modality, (pixels, corruption) in enumerate(zip(windows, corruptions, strict=True)):
            error = (self.restore(pixels, modality, corruption) - pixels) ** 2
            denoising = denoising + pick(error, corruption.visible).mean()
            if corruption.masked.shape[1]:
                restoration = restoration + pick(error, corruption.masked).mean()
        return Losses(denoising, restoration)
