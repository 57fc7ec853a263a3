"""The light decoder of one modality: from visible features to a clean image of the whole window."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .embedding import grid_embedding


class Decoder(nn.Module):
    """Predicts x_0 of every token of a window from the encoder's features of the visible ones.

    Masked tokens stand in as one learnable token, initialised to zero, told apart by their position embedding.
    """

    position: Tensor

    def __init__(self, channels: int, window: int, encoder_width: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Linear(encoder_width, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.register_buffer("position", grid_embedding(window, width), persistent=False)
        self.blocks = nn.ModuleList(Block(width, heads, mlp_ratio=2.0, qkv_bias=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, channels)

    def forward(self, features: Tensor, visible: Tensor) -> Tensor:
        """Features `[B, 1 + V, encoder_width]` of the class token and the cells `visible` → x_0 `[B, N, channels]`."""
        entered = self.enter(features)
        batch, _, width = entered.shape
        tokens = self.mask_token.expand(batch, len(self.position), width)
        tokens = tokens.scatter(1, visible[..., None].expand(-1, -1, width), entered[:, 1:]) + self.position
        tokens = torch.cat([entered[:, :1], tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        restored: Tensor = self.leave(self.norm(tokens[:, 1:]))
        return restored
