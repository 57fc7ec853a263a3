"""The image side of stage 2: class tokens of all modalities, joined and projected to a unit vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import Encoder


class ImageEncoder(nn.Module):
    """Windows → unit vectors z_image, by the shared encoder and a fresh projection over the modalities' class tokens."""

    def __init__(self, encoder: Encoder, out: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.projection = nn.Linear(encoder.config.width * len(encoder.config.channels), out, bias=False)

    def project(self, class_tokens: Sequence[Tensor]) -> Tensor:
        """Class tokens `[B, width]`, one per modality → `[B, out]` of unit length."""
        return F.normalize(self.projection(torch.cat(tuple(class_tokens), -1)), dim=-1)

    def forward(self, windows: Sequence[Tensor], visible: Tensor | None = None) -> Tensor:
        """`windows` holds `[B, V, channels]` per modality, the cells `visible` `[B, V]` of the window (all by default)."""
        return self.project([self.encoder(w, m, visible=visible)[:, 0] for m, w in enumerate(windows)])


def contrastive_loss(image: Tensor, text: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Mean of the image→text and text→image cross-entropies of a batch (Radford et al., 2021), with all equals as positives.

    `image` `[B, D]` and `text` `[K, D]` are unit vectors, `label` `[B]` in 0…K−1. Image→text: each image among the K class
    texts. Text→image: each class that occurs, among the images of the batch; its images are equally likely targets.
    """
    logits = image @ text.T / temperature
    image_to_text = F.cross_entropy(logits, label)
    positive = F.one_hot(label, len(text)).T.to(logits.dtype)  # [K, B]
    present = positive.sum(1) > 0
    target = positive[present] / positive[present].sum(1, keepdim=True)
    text_to_image = F.cross_entropy(logits.T[present], target)
    return (image_to_text + text_to_image) / 2
