"""Normalised images with a margin, the form in which training and inference see a scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .normalisation import ChannelTransform, noise_whitening, robust_standardisation
from .scenes import Block


@dataclass(frozen=True)
class Image:
    """All modalities of one stretch of ground, normalised.

    `modalities` are float32 `[H, W, C]`, 0 where invalid; `valid` is bool `[H, W]`. The outer `margin` pixels on every
    side are context only: they may belong to neighbouring ground, or lie outside the scene (invalid).
    """

    modalities: tuple[Tensor, ...]
    valid: Tensor
    margin: int

    @property
    def core(self) -> Tensor:
        """Validity of the pixels inside the margin; bool `[H − 2·margin, W − 2·margin]`."""
        m = self.margin
        return self.valid[m : self.valid.shape[0] - m, m : self.valid.shape[1] - m]


SPECTRAL = 8  # channels from which on a modality is taken for a spectrum


@dataclass(frozen=True)
class SceneStats:
    """How each modality is normalised, learned from unlabelled pixels of the whole scene."""

    transforms: tuple[ChannelTransform, ...]

    @classmethod
    def fit(cls, blocks: Sequence[Block], *, components: int = 0) -> SceneStats:
        """Noise-whitened `components` for modalities with at least eight channels, robust standardisation for others.

        With no `components` every modality is standardised.
        """
        valid = [block.valid for block in blocks]
        transforms = []
        for index in range(len(modalities_of(blocks[0]))):
            images = [np.ascontiguousarray(modalities_of(block)[index].transpose(1, 2, 0)) for block in blocks]
            if components and images[0].shape[-1] >= SPECTRAL:
                transforms.append(noise_whitening(images, valid, components, brightness_free=images[0].shape[-1]))
            else:
                pixels = np.concatenate([image[mask] for image, mask in zip(images, valid, strict=True)])
                transforms.append(robust_standardisation(pixels))
        return cls(tuple(transforms))

    @property
    def channels(self) -> tuple[int, ...]:
        """Number of channels of each modality."""
        return tuple(transform.channels for transform in self.transforms)

    def normalise(self, block: Block, margin: int) -> Image:
        """The image of a block that was read with `margin`."""
        images = []
        for values, transform in zip(modalities_of(block), self.transforms, strict=True):
            pixels = transform(np.ascontiguousarray(values.transpose(1, 2, 0)))
            pixels[~block.valid] = 0
            images.append(torch.from_numpy(pixels))
        return Image(tuple(images), torch.from_numpy(np.ascontiguousarray(block.valid)), margin)

    def to_dict(self) -> dict[str, Any]:
        """Lists, for JSON."""
        return {"transforms": [transform.to_dict() for transform in self.transforms]}

    @classmethod
    def from_dict(cls, lists: dict[str, Any]) -> SceneStats:
        """Inverse of `to_dict`."""
        return cls(tuple(ChannelTransform.from_dict(one) for one in lists["transforms"]))


def modalities_of(block: Block) -> tuple[NDArray[np.float32], ...]:
    """The modalities of a block that have channels, each `[C, h, w]`: the HSI, and the LiDAR when there is one."""
    return (block.hsi, block.lidar) if len(block.lidar) else (block.hsi,)
