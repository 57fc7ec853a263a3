"""The method on numpy arrays, for images that are not rasters: any two co-registered modalities, or one."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .classes import ClassTable
from .devices import pick_device
from .images import SceneStats
from .margins import pad
from .palette import class_colors
from .presets import load_preset
from .pretraining import pretrain_windows
from .prompts import class_prompts, load_texts
from .sampling import LabelledBlock
from .scenes import Block, inside
from .text_weights import clip_text_embeddings
from .training import fit_views, margin_of, train_classifier
from .views import with_relatives
from .windows import WindowSource


class ArrayModel:
    """Pretraining, few-shot training and mapping of arrays, in the order `pretrain`, `fewshot`, `classify`.

    >>> model = ArrayModel(seed=0)
    >>> model.pretrain([(hsi, lidar)])
    >>> model.fewshot([(hsi, lidar)], [labels], ["tree", "road"])
    >>> mapped, probability = model.classify((hsi, lidar))

    An image is a tuple of one or two arrays `[H, W, C]`, the first one the spectra; pixels with NaN or ±inf are
    invalid.
    """

    def __init__(self, *, preset: str = "compact", seed: int = 0, device: str = "auto") -> None:
        self.preset = load_preset(preset)
        self.seed = seed
        self.device = pick_device(device)

    @property
    def _margin(self) -> int:
        return margin_of(self.preset)

    def pretrain(self, images: Sequence[tuple[NDArray, ...]], *, progress: bool = False) -> list[float]:
        """Stage 1 on the valid pixels of all images; returns the losses. Raises ValueError for unlike grids."""
        blocks = [self._block(image) for image in images]
        self._stats = SceneStats.fit(blocks, components=self.preset.input.components)
        sizes = [image[0].shape[:2] for image in images]
        self._views = with_relatives(fit_views(blocks, self._margin, self.preset), sizes)
        self._scene = blocks
        normalised = [self._stats.normalise(block, self._margin) for block in blocks]
        source = WindowSource(normalised, self.preset.encoder.window)
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
        texts: str | PathLike[str] | None = None,
        text_weights: str | PathLike[str] | None = None,
        head: str = "similarity",
        progress: bool = False,
    ) -> list[float]:
        """Stage 2 on labelled pixels; returns the losses. `labels` `[H, W]` hold 1…K for `names`, 0 where unlabelled.

        The other arguments are those of `fewshot`.

        Raises ValueError for labels beyond the names or a class without a valid pixel.
        """
        m = self._margin
        labelled = []
        for image, label in zip(images, labels, strict=True):
            block = self._block(image)
            known = np.where(inside(block.valid, m), label, 0).astype(np.int64)
            labelled.append(LabelledBlock(block, known, np.arange(1, known.size + 1).reshape(known.shape)))
        found = set(np.unique(np.concatenate([one.label.ravel() for one in labelled])).tolist()) - {0}
        if found != set(range(1, len(names) + 1)):
            raise ValueError(
                f"valid pixels hold labels {sorted(found)}, names ask for 1…{len(names)}, each at least once"
            )
        descriptions = class_prompts(names, prompt, load_texts(texts))
        self._classifier, losses = train_classifier(
            self._encoder,
            self._stats,
            self._views,
            labelled,
            self._scene,
            m,
            ClassTable(tuple(names), tuple(class_colors(names))),
            descriptions,
            self.preset,
            head=head,
            text_vectors=None if text_weights is None else clip_text_embeddings(Path(text_weights), descriptions),
            seed=self.seed,
            device=self.device,
            progress=progress,
        )
        return [record.loss for record in losses]

    def classify(self, image: tuple[NDArray, ...]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels 1…K `[H, W]`, 0 where invalid, and class probabilities `[H, W, K]`, NaN where invalid."""
        if not hasattr(self, "_classifier"):
            raise ValueError("call pretrain and fewshot before classify")
        block, m = self._block(image), self._margin
        found = self._classifier.probabilities(self._classifier.engine(self.device), block, m)
        valid = inside(block.valid, m)
        probability = np.full((*valid.shape, found.shape[1]), np.nan, np.float32)
        probability[valid] = found
        label = np.zeros(valid.shape, np.int64)
        label[valid] = found.argmax(1) + 1
        return label, probability

    def _block(self, image: tuple[NDArray, ...]) -> Block:
        first, second = image if len(image) == 2 else (image[0], np.zeros((*image[0].shape[:2], 0)))
        if first.ndim != 3 or second.ndim != 3 or first.shape[:2] != second.shape[:2]:
            raise ValueError(f"modalities {first.shape} and {second.shape} are not [H, W, C] on one grid")
        hsi, other = (np.ascontiguousarray(m.transpose(2, 0, 1), np.float32) for m in (first, second))
        valid = np.isfinite(np.concatenate([hsi, other])).all(axis=0)
        around = (self._margin, self._margin)
        return pad(Block(np.where(valid, hsi, 0), np.where(valid, other, 0), valid), (around, around))
