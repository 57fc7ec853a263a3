"""The image side of stage 2: tokens of all modalities, joined and projected to a unit vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import Encoder


class ImageEncoder(nn.Module):
    """Windows → unit vectors z_image, by the shared encoder and a fresh projection over tokens of all modalities.

    The paper projects the class tokens. With `centre` the tokens of the window's centre pixel join them: the label is
    that pixel's, and a class token alone, which sees a window whole, blurs the map.
    """

    def __init__(self, encoder: Encoder, out: int, *, centre: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.centre = centre
        tokens = len(encoder.config.channels) * (2 if centre else 1)
        self.projection = nn.Linear(encoder.config.width * tokens, out, bias=False)

    def project(self, summaries: Sequence[Tensor]) -> Tensor:
        """Tokens `[B, 1 or 2, width]`, one tensor per modality → `[B, out]` of unit length."""
        return F.normalize(self.projection(torch.cat([s.flatten(1) for s in summaries], -1)), dim=-1)

    def forward(self, windows: Sequence[Tensor], visible: Tensor | None = None) -> Tensor:
        """z_image `[B, out]` of windows `[B, V, channels]`, one tensor per modality.

        They hold all cells in order, or the cells `visible` `[B, V]`, of which the first is the centre.
        """
        projected = [self.encoder.project(w, m) for m, w in enumerate(windows)]
        return self.project([self.encoder.summarise(one, self.centre, visible) for one in projected])

    def with_levels(
        self, windows: Sequence[Tensor], visible: Tensor | None = None
    ) -> tuple[Tensor, Sequence[Sequence[Tensor]]]:
        """z_image, and for each modality the tokens after every block, `[B, 1 + V, width]` each."""
        wanted = self.encoder.summary_tokens(self.centre, visible)
        levels = [self.encoder.features(w, m, visible=visible) for m, w in enumerate(windows)]
        return self.project([one[-1][:, wanted] for one in levels]), levels


def contrastive_loss(image: Tensor, text: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Mean of the image→text and text→image cross-entropies of a batch (Radford et al., 2021), with all equals as
    positives.

    `image` `[B, D]` and `text` `[K, D]` are unit vectors, `label` `[B]` in 0…K−1. Image→text: each image among the K
    class texts. Text→image: each class that occurs, among the images of the batch; its images are equally likely
    targets.
    """
    logits = image @ text.T / temperature
    image_to_text = F.cross_entropy(logits, label)
    positive = F.one_hot(label, len(text)).T.to(logits.dtype)  # [K, B]
    present = positive.sum(1) > 0
    target = positive[present] / positive[present].sum(1, keepdim=True)
    text_to_image = F.cross_entropy(logits.T[present], target)
    return (image_to_text + text_to_image) / 2
