"""The LDC head: corrects similarity logits by features of all encoder blocks (Logits DeConfusion, CVPR 2025).

Adapters on every block give an enhanced feature f; from it and the similarity logits s come

    s' = s + residual(s, f)               inter-class deconfusion
    c  = classifier(f)
    logits = w·s' + (1 − w)·c             adaptive logits fusion, w = gate(f) in (0, 1)

Networks act on τ·s, the cosines, which are in [−1, 1]. The residual starts at zero, where s' = s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_EDGE = 1e-3  # how near the gate comes to 0 and 1: a sigmoid of float32 would reach them


@dataclass(frozen=True)
class LDCConfig:
    """Shape of the head. With `learned`, training moves the weights of the blocks from 1 : 2 : … : depth."""

    width: int  # of the encoder
    depth: int  # blocks of the encoder
    modalities: int
    classes: int
    temperature: float  # τ of the similarity logits
    learned: bool = False


class AdapterFusion(nn.Module):
    """Multi-level adapter fusion: an adapter per encoder block (linear → norm → ReLU → mean over tokens), summed with
    weights that grow with depth: 0.1, 0.2, 0.3, 0.4 for four blocks.

    The modalities share the adapters, as they share the encoder; their features stand side by side.
    """

    log_weight: Tensor

    def __init__(self, config: LDCConfig) -> None:
        super().__init__()
        self.features = config.width * config.modalities  # length of the enhanced feature
        self.adapters = nn.ModuleList(
            nn.Sequential(nn.Linear(config.width, config.width), nn.LayerNorm(config.width), nn.ReLU())
            for _ in range(config.depth)
        )
        log_weight = torch.arange(1, config.depth + 1).float().log()
        if config.learned:
            self.log_weight = nn.Parameter(log_weight)
        else:
            self.register_buffer("log_weight", log_weight, persistent=False)

    @property
    def weights(self) -> Tensor:
        """Weight of each block, shallow to deep; they are positive and sum to 1."""
        return self.log_weight.softmax(0)

    def forward(self, levels: Sequence[Sequence[Tensor]]) -> Tensor:
        """The enhanced feature `[B, modalities · width]`.

        `levels` holds for each modality the tokens after every block, `[B, N, width]` each.
        """
        weights = self.weights
        fused = [
            sum(
                weight * adapter(tokens).mean(1)
                for weight, adapter, tokens in zip(weights, self.adapters, modality, strict=True)
            )
            for modality in levels
        ]
        return torch.cat(fused, -1)


@dataclass(frozen=True)
class LDCLogits:
    """The logits of the branches and what they become, `[B, K]` each."""

    deconfused: Tensor  # s'
    classified: Tensor  # c
    fused: Tensor


class LDCHead(nn.Module):
    """Similarity logits and the enhanced feature → better logits."""

    def __init__(self, config: LDCConfig) -> None:
        super().__init__()
        self.config = config
        self.fusion = AdapterFusion(config)
        width, features, classes = config.width, self.fusion.features, config.classes
        self.residual = nn.Sequential(nn.Linear(classes + features, width), nn.ReLU(), nn.Linear(width, classes))
        self.classifier = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, classes))
        self.gate = nn.Linear(features, 1)
        last = self.residual[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, similarity: Tensor, feature: Tensor) -> LDCLogits:
        """Logits from similarity logits `[B, K]` and the enhanced feature `[B, features]` of `fusion`."""
        scale = self.config.temperature
        residual = self.residual(torch.cat([similarity * scale, feature], -1))
        deconfused = similarity + residual / scale
        classified = self.classifier(feature) / scale
        weight = self.mixing(feature)
        return LDCLogits(deconfused, classified, weight * deconfused + (1 - weight) * classified)

    def mixing(self, feature: Tensor) -> Tensor:
        """The gate w `[B, 1]` in (0, 1): the share of the deconfused logits."""
        return _EDGE + (1 - 2 * _EDGE) * self.gate(feature).sigmoid()


def ldc_loss(logits: LDCLogits, similarity: Tensor, label: Tensor) -> Tensor:
    """Cross-entropy of the three logits plus the L1 distance of both branches from the similarity logits.

    The similarity logits are the anchor here: they learn from the contrastive loss, not from this one's distances.
    """
    anchor = similarity.detach()
    entropy = sum(F.cross_entropy(one, label) for one in (logits.deconfused, logits.classified, logits.fused))
    distance = F.l1_loss(logits.deconfused, anchor) + F.l1_loss(logits.classified, anchor)
    return entropy + distance
