"""The image encoder for inference on whole, clean windows: what is constant is computed beforehand.

The order of the arithmetic changes, the result does not (but for rounding):

- position and timestep embeddings and the class token are one table, added to the tokens;
- the weight and bias of a layer norm, and the scale of attention, are part of the linear map that follows;
- the bias of keys is the same in all logits of a query and falls out of the softmax; that of values passes through it,
  as its weights sum to 1, into the bias of the output map;
- in the last block only the class and centre tokens are wanted: their queries are taken to the space of the tokens,
  q·(W_k t) = (W_kᵀ q)·t, and the output map takes weighted sums of tokens, so that no token needs a key or a value.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .embedding import sincos_embedding
from .fusion import ImageEncoder
from .ldc import AdapterFusion


class FoldedEncoder(nn.Module):
    """An `ImageEncoder` and the adapters of an LDC head, if there is one, with their weights folded.

    It is computed in float64 and kept in float32, and shares no memory with the model.
    """

    table: Tensor  # [1 + side², D]: the class token, and what is added to projected pixels

    @torch.no_grad()
    def __init__(self, model: ImageEncoder, fusion: AdapterFusion | None = None) -> None:
        super().__init__()
        model = copy.deepcopy(model).cpu().double()
        encoder, config = model.encoder, model.encoder.config
        timestep = encoder.timestep(sincos_embedding(torch.zeros(1), config.width).double())
        self.config = config
        self.wanted = encoder.summary_tokens(model.centre)
        self.register_buffer("table", torch.cat([encoder.class_token[None], encoder.position]) + timestep)
        self.projections = encoder.projections
        blocks = [cast(Block, block) for block in encoder.blocks]
        self.blocks = nn.ModuleList(FoldedBlock(block) for block in (blocks if fusion else blocks[:-1]))
        self.last = None if fusion else LastBlock(blocks[-1])
        self.norm = encoder.norm
        self.projection = model.projection
        self.fusion = copy.deepcopy(fusion)
        self.float().requires_grad_(False).eval()

    @property
    def features(self) -> int:
        """Length of what `forward` gives for a window."""
        return self.projection.out_features + (self.fusion.features if self.fusion else 0)

    def project(self, pixels: Tensor, modality: int) -> Tensor:
        """Spectral projection of pixels of any arrangement; `[…, channels]` → `[…, D]`."""
        projected: Tensor = self.projections[modality](pixels)
        return projected

    def forward(self, projected: Sequence[Tensor]) -> Tensor:
        """z_image of projected windows `[B, side², D]`, one tensor per modality, followed by the enhanced feature of an
        LDC head; float32 `[B, features]`, whatever the precision in between.
        """
        levels = self._levels(torch.cat(list(projected)))  # the modalities share all blocks
        wanted = levels[-1] if self.last else levels[-1][:, self.wanted]
        summary = torch.cat(wanted.flatten(1).chunk(len(projected)), -1)
        z_image = F.normalize(self.projection(summary).float(), dim=-1)
        if not self.fusion:
            return z_image
        by_modality = zip(*(one.chunk(len(projected)) for one in levels), strict=True)
        return torch.cat([z_image, self.fusion(list(by_modality)).float()], -1)

    def _levels(self, projected: Tensor) -> list[Tensor]:
        """For an LDC head, the tokens of windows `[B, side², D]` after every block, the last one normalised; without
        one, the wanted tokens after the last, `[B, 1 or 2, D]`.
        """
        tokens = F.pad(projected, (0, 0, 1, 0)).add_(self.table)
        levels = []
        for block in self.blocks:
            tokens = block(tokens)
            if self.fusion:
                levels.append(tokens.clone())
        if self.last:
            return [self.norm(self.last(tokens, self.wanted))]
        levels[-1] = self.norm(tokens)
        return levels


class FoldedBlock(nn.Module):
    """A transformer block. It writes over the tokens that it is given."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        attention: Any = block.attn
        norm: Any = block.norm1
        self.heads = attention.num_heads
        self.epsilon: float = norm.eps
        weight, bias = _behind_norm(attention.qkv, norm)
        query, key, value = weight.chunk(3)
        query_bias, _, value_bias = bias.chunk(3)
        scale = attention.head_dim**-0.5
        zeros = torch.zeros_like(value_bias)
        self.qkv = _linear(torch.cat([query * scale, key, value]), torch.cat([query_bias * scale, zeros, zeros]))
        self.out = _linear(attention.proj.weight, attention.proj(value_bias))
        self.feed_forward = FeedForward(block)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[B, N, D]` → `[B, N, D]`."""
        batch, count, width = tokens.shape
        rows = tokens.view(-1, width)
        qkv = self.qkv(F.layer_norm(rows, (width,), eps=self.epsilon))
        query, key, value = qkv.view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, scale=1.0).transpose(1, 2).reshape(-1, width)
        self.feed_forward(_add(rows, self.out, attended))
        return tokens


class LastBlock(nn.Module):
    """A transformer block for a few wanted tokens."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        whole = FoldedBlock(block)
        heads, width = whole.heads, whole.out.out_features
        self.epsilon = whole.epsilon
        query, key, value = whole.qkv.weight.view(3, heads, -1, width)  # [heads, D / heads, D] each
        bias = whole.qkv.bias[:width].view(heads, -1, 1)
        out = whole.out.weight.view(width, heads, -1)
        self.query = _linear(
            torch.einsum("hdj,hdi->hji", key, query).reshape(-1, width), (key * bias).sum(1).flatten()
        )  # into the space of the tokens, for each head
        self.out = _linear(torch.einsum("ohd,hdj->ohj", out, value).reshape(width, -1), whole.out.bias)
        self.feed_forward = whole.feed_forward

    def forward(self, tokens: Tensor, wanted: Sequence[int]) -> Tensor:
        """The `wanted` ones of the tokens `[B, N, D]` after the block, `[B, len(wanted), D]`."""
        batch, _, width = tokens.shape
        normed = F.layer_norm(tokens, (width,), eps=self.epsilon)
        query = self.query(normed[:, wanted]).view(batch, 1, -1, width)  # wanted · heads of them
        key = normed[:, None]
        attended = F.scaled_dot_product_attention(query, key, key, scale=1.0)
        rows = tokens[:, wanted].view(-1, width)
        chosen: Tensor = self.feed_forward(_add(rows, self.out, attended.reshape(len(rows), -1)))
        return chosen.view(batch, -1, width)


class FeedForward(nn.Module):
    """The second half of a block. It writes over its input."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        mlp: Any = block.mlp
        norm: Any = block.norm2
        self.epsilon: float = norm.eps
        self.up = _linear(*_behind_norm(mlp.fc1, norm))
        self.down: nn.Linear = mlp.fc2

    def forward(self, rows: Tensor) -> Tensor:
        """`[rows, D]` → `[rows, D]`."""
        return _add(rows, self.down, F.gelu(self.up(F.layer_norm(rows, rows.shape[-1:], eps=self.epsilon))))


def _behind_norm(linear: nn.Linear, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of `linear` together with the weight and bias of the layer norm before it."""
    return linear.weight * norm.weight, linear(norm.bias)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight, linear.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
    return linear


def _add(rows: Tensor, linear: nn.Linear, x: Tensor) -> Tensor:
    """Add `linear(x)` to `rows`, in place."""
    return rows.add_(linear.bias).addmm_(x, linear.weight.T)
