"""The method on numpy arrays, for images that are not rasters: any two co-registered modalities, or one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .classes import ClassTable
from .classifier import Classifier
from .devices import pick_device
from .images import Image, SceneStats, pad
from .language import train_language_model
from .palette import class_colors
from .presets import load_preset
from .pretraining import pretrain_windows
from .prompts import class_prompts, load_texts
from .scenes import Block
from .windows import WindowSource


class ArrayModel:
    """Pretraining, few-shot training and mapping of arrays, in the order `pretrain`, `fewshot`, `classify`.

    >>> model = ArrayModel(seed=0)
    >>> model.pretrain([(hsi, lidar)])
    >>> model.fewshot([(hsi, lidar)], [labels], ["tree", "road"])
    >>> mapped, probability = model.classify((hsi, lidar))

    An image is a tuple of one or two arrays `[H, W, C]`, the first one the spectra; pixels with NaN or ±inf are invalid.
    """

    def __init__(self, *, preset: str = "compact", seed: int = 0, device: str = "auto") -> None:
        self.preset = load_preset(preset)
        self.seed = seed
        self.device = pick_device(device)

    @property
    def _margin(self) -> int:
        return self.preset.encoder.window // 2

    def pretrain(self, images: Sequence[tuple[NDArray, ...]], *, progress: bool = False) -> list[float]:
        """Stage 1 on the valid pixels of all images; returns the loss of every step. Raises ValueError for arrays that do not fit."""
        blocks = [self._block(image) for image in images]
        self._stats = SceneStats.fit(blocks, components=self.preset.input.components)
        source = WindowSource(self._images(blocks), self.preset.encoder.window)
        model, losses = pretrain_windows(source, self.preset, seed=self.seed, device=self.device, progress=progress)
        self._encoder = model.encoder
        return [record.denoising + record.restoration for record in losses]

    def fewshot(
        self,
        images: Sequence[tuple[NDArray, ...]],
        labels: Sequence[NDArray[np.integer]],
        names: Sequence[str],
        *,
        prompt: str = "p5",
        progress: bool = False,
    ) -> list[float]:
        """Stage 2 on labelled pixels: `labels` `[H, W]` hold 1…K for `names`, 0 where unlabelled; returns the loss of every step.

        Raises ValueError for labels beyond the names or a class without a valid pixel.
        """
        prepared = self._images([self._block(image) for image in images])
        wanted = [torch.from_numpy(label > 0) for label in labels]
        flat = torch.cat(
            [torch.from_numpy(l.astype(np.int64))[w & i.core] for l, w, i in zip(labels, wanted, prepared, strict=True)]
        )
        if set(flat.tolist()) != set(range(1, len(names) + 1)):
            raise ValueError(f"labels of valid pixels are {sorted(set(flat.tolist()))}, names ask for 1…{len(names)}, each at least once")
        source = WindowSource(prepared, self.preset.encoder.window, wanted)
        texts = class_prompts(names, prompt, load_texts())
        model, losses = train_language_model(
            self._encoder, source, flat - 1, texts, self.preset, seed=self.seed, device=self.device, progress=progress
        )
        self._classifier = Classifier(ClassTable(tuple(names), tuple(class_colors(names))), self._stats, model)
        return [record.loss for record in losses]

    def classify(self, image: tuple[NDArray, ...]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels 1…K `[H, W]`, 0 where invalid, and class probabilities `[H, W, K]`, NaN where invalid."""
        (prepared,) = self._images([self._block(image)])
        found = self._classifier.probabilities(self._classifier.engine(self.device), prepared).numpy()
        valid = prepared.core.numpy()
        probability = np.full((*valid.shape, found.shape[1]), np.nan, np.float32)
        probability[valid] = found
        label = np.zeros(valid.shape, np.int64)
        label[valid] = found.argmax(1) + 1
        return label, probability

    def _block(self, image: tuple[NDArray, ...]) -> Block:
        first, second = image if len(image) == 2 else (image[0], np.zeros((*image[0].shape[:2], 0)))
        if first.ndim != 3 or second.ndim != 3 or first.shape[:2] != second.shape[:2]:
            raise ValueError(f"modalities {first.shape} and {second.shape} are not [H, W, C] on one grid")
        both = [np.ascontiguousarray(m.transpose(2, 0, 1), np.float32) for m in (first, second)]
        valid = np.isfinite(both[0]).all(0) & np.isfinite(both[1]).all(0)
        margin = ((self._margin, self._margin),) * 2
        return pad(Block(*(np.where(valid, m, 0) for m in both), valid), (margin[0], margin[1]))

    def _images(self, blocks: Sequence[Block]) -> list[Image]:
        return [self._stats.normalise(block, self._margin) for block in blocks]
