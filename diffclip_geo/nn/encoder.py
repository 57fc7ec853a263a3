"""The encoder shared by all modalities: a spectral projection each, then one vision transformer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .embedding import grid_embedding, sincos_embedding


@dataclass(frozen=True)
class EncoderConfig:
    """Architecture of the encoder. `channels` holds the number of channels of each modality, in order."""

    channels: tuple[int, ...]
    window: int = 11
    width: int = 64
    depth: int = 4
    heads: int = 4
    mlp_ratio: float = 2.0

    @property
    def tokens(self) -> int:
        """Pixels of a window, one token each."""
        return self.window**2


class Encoder(nn.Module):
    """Maps pixel tokens of one modality to features, by weights that all modalities share but for the spectral
    projection.

    The projection works on single pixels, so that a whole scene can be projected once before windows are cut from it.
    """

    position: Tensor

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.projections = nn.ModuleList(nn.Linear(channels, width) for channels in config.channels)
        self.class_token = nn.Parameter(torch.randn(width) * 0.02)
        self.register_buffer("position", grid_embedding(config.window, width), persistent=False)
        self.timestep = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.mlp_ratio, qkv_bias=True) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)

    def project(self, pixels: Tensor, modality: int) -> Tensor:
        """Spectral projection of pixels of any arrangement; `[…, channels]` → `[…, width]`."""
        projected: Tensor = self.projections[modality](pixels)
        return projected

    def embed(self, projected: Tensor, timestep: Tensor | None = None, visible: Tensor | None = None) -> Tensor:
        """Add position and timestep embeddings and prepend the class token.

        `projected` is `[B, V, width]`; `visible` `[B, V]` says which cells of the window these are (all in order by
        default); `timestep` is `[B]`, 0 by default (a clean image). Returns `[B, 1 + V, width]`.
        """
        position = self.position if visible is None else self.position[visible]
        tokens = torch.cat([self.class_token.expand(len(projected), 1, -1), projected + position], 1)
        if timestep is None:
            timestep = torch.zeros(1, dtype=torch.long, device=projected.device)
        return tokens + self.timestep(sincos_embedding(timestep, self.config.width))[:, None]

    def forward(
        self, pixels: Tensor, modality: int, *, timestep: Tensor | None = None, visible: Tensor | None = None
    ) -> Tensor:
        """Features `[B, 1 + V, width]` of the class token (index 0) and of the pixel tokens `[B, V, channels]`."""
        return self.features(pixels, modality, timestep=timestep, visible=visible)[-1]

    def features(
        self, pixels: Tensor, modality: int, *, timestep: Tensor | None = None, visible: Tensor | None = None
    ) -> Sequence[Tensor]:
        """Tokens after every block, the last one normalised; `depth` tensors `[B, 1 + V, width]`."""
        return self.levels(self.embed(self.project(pixels, modality), timestep, visible))

    def levels(self, tokens: Tensor) -> Sequence[Tensor]:
        """Embedded tokens `[B, 1 + V, width]` after every block, the last one normalised."""
        levels = []
        for block in self.blocks:
            tokens = block(tokens)
            levels.append(tokens)
        levels[-1] = self.norm(tokens)
        return levels

    def summary_tokens(self, centre: bool, visible: Tensor | None = None) -> list[int]:
        """Places of the class token and, if wanted, of the centre pixel: among the tokens of a whole window, or of its
        `visible` cells, of which the centre is the first.
        """
        middle = self.config.tokens // 2 if visible is None else 0
        return [0, 1 + middle] if centre else [0]

    def summarise(self, projected: Tensor, centre: bool, visible: Tensor | None = None) -> Tensor:
        """Features of the class token and, if wanted, of the centre pixel, of clean windows.

        `projected` is `[B, V, width]` and holds all cells in order, or the cells `visible` `[B, V]`, of which the first
        is the centre; returns `[B, 1, width]` or `[B, 2, width]`. The last block computes keys and values for all
        tokens, but queries and all that follows for these tokens only.
        """
        tokens = self.embed(projected, visible=visible)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        wanted = self.summary_tokens(centre, visible)
        summary: Tensor = self.norm(_tokens_after(cast(Block, self.blocks[-1]), tokens, wanted))
        return summary


def _tokens_after(block: Block, tokens: Tensor, wanted: list[int]) -> Tensor:
    """The `wanted` tokens after a transformer block `[B, len(wanted), D]`, equal to ``block(tokens)[:, wanted]``."""
    attention: Any = block.attn
    batch, _, width = tokens.shape
    normed = block.norm1(tokens)
    weight, bias = attention.qkv.weight, attention.qkv.bias
    query = F.linear(normed[:, wanted], weight[:width], bias[:width])
    key, value = F.linear(normed, weight[width:], bias[width:]).chunk(2, -1)
    query, key, value = (
        t.view(batch, -1, attention.num_heads, width // attention.num_heads).transpose(1, 2)
        for t in (query, key, value)
    )
    attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, len(wanted), width)
    chosen = tokens[:, wanted] + attention.proj(attended)
    result: Tensor = chosen + cast(nn.Module, block.mlp)(block.norm2(chosen))
    return result
