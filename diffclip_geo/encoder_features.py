"""What the encoder makes of pixels: features, their principal components as colours, and figures of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .classes import ClassTable
from .exact import MICRO_BATCH, equal_batches
from .nn.encoder import Encoder
from .tsne import principal_plane, tsne
from .windows import WindowSource

MODALITIES = ("image", "LiDAR")
_MARKERS = ("o", "^")


@torch.inference_mode()
def encode(encoder: Encoder, source: WindowSource, device: torch.device | str = "cpu") -> list[NDArray[np.float32]]:
    """Features `[windows, 2 · width]` of each modality: class token and centre pixel, side by side."""
    encoder = encoder.to(device).eval()
    if not len(source):
        return [np.zeros((0, 2 * encoder.config.width), np.float32) for _ in source.channels]
    parts: list[list[Tensor]] = [[] for _ in source.channels]
    for which in equal_batches(torch.arange(len(source)), MICRO_BATCH):
        for modality, window in enumerate(source.gather(which)):
            tokens = encoder.summarise(encoder.project(window.to(device), modality), True)
            parts[modality].append(tokens.flatten(1).float().cpu())
    return [torch.cat(part)[: len(source)].numpy() for part in parts]


@dataclass(frozen=True)
class ColourComponents:
    """The first three principal components of features, as red, green and blue."""

    mean: NDArray[np.float64]  # [D]
    axes: NDArray[np.float64]  # [3, D]
    low: NDArray[np.float64]  # [3], the 2nd percentile of each component
    high: NDArray[np.float64]  # [3], the 98th
    share: tuple[float, ...]  # of the variance

    @classmethod
    def fit(cls, features: NDArray[np.floating]) -> ColourComponents:
        """From a sample [N, D] of at least four pixels."""
        mean = features.mean(axis=0, dtype=np.float64)
        _, size, axes = np.linalg.svd(features - mean, full_matrices=False)
        axes = axes[:3] * np.sign(axes[np.arange(3), np.abs(axes[:3]).argmax(axis=1)])[:, None]
        low, high = np.percentile((features - mean) @ axes.T, (2, 98), axis=0)
        share = size[:3] ** 2 / max(float((size**2).sum()), 1e-12)
        return cls(mean, axes, low, high, tuple(share.tolist()))

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Colours [N, 3], 1 … 255; 0 is left for no data."""
        place = ((features - self.mean) @ self.axes.T - self.low) / np.maximum(self.high - self.low, 1e-12)
        return (1 + np.clip(place, 0, 1) * 254).round().astype(np.uint8)


def plot_scatter(
    path: Path,
    stages: Mapping[str, Sequence[NDArray[np.floating]]],
    label: NDArray[np.integer],
    classes: ClassTable,
) -> None:
    """Draw labelled pixels in the plane, by t-SNE and by principal components, one column per stage.

    A stage holds the features [N, D] of each modality; both modalities of a pixel are drawn, in the colour of its class
    (`label` [N], 1 … K).
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    colors = np.array(classes.colors)[label - 1] / 255
    figure = Figure(figsize=(4.6 * len(stages) + 2.2, 9), layout="constrained")
    grid = figure.subplots(2, len(stages), squeeze=False)
    for column, (stage, modalities) in enumerate(stages.items()):
        joined = np.concatenate(modalities)
        for row, (method, places) in enumerate(
            (("t-SNE", tsne(joined)), ("principal components", principal_plane(joined)))
        ):
            axes = grid[row, column]
            for marker, place in zip(_MARKERS, np.split(places, len(modalities)), strict=False):
                axes.scatter(*place.T, s=16, c=colors, marker=marker, linewidths=0.3, edgecolors="white", alpha=0.9)
            axes.set_title(f"{stage}: {method}", fontsize=10)
            axes.set_xticks([])
            axes.set_yticks([])
    count = len(next(iter(stages.values())))
    handles = [
        Line2D([], [], marker=marker, color="0.3", linestyle="none", markersize=5, label=name)
        for marker, name in zip(_MARKERS[:count], MODALITIES, strict=False)
    ]
    handles += [
        Line2D([], [], marker="s", color=tuple(np.array(color) / 255), linestyle="none", markersize=6, label=name)
        for name, color in zip(classes.names, classes.colors, strict=True)
    ]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(path, dpi=130)
