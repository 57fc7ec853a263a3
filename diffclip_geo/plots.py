"""Pictures of training: the loss, and windows as stage 1 sees them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .pretraining import Restoration


def write_columns(path: Path, columns: Mapping[str, Sequence[float]]) -> None:
    """Write columns of equal length as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def plot_losses(path: Path, curves: Mapping[str, Sequence[float]], title: str) -> None:
    """Plot losses against the step, faint, with their running mean over a twentieth of the steps on top."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, values in curves.items():
        span = max(1, len(values) // 20)
        step = np.arange(1, len(values) + 1)
        (line,) = axes.plot(step, values, alpha=0.25, linewidth=0.8)
        mean = np.convolve(values, np.ones(span) / span, "valid")
        axes.plot(step[span - 1 :], mean, color=line.get_color(), label=name)
    axes.set(title=title, xlabel="step", ylabel="loss", xlim=(1, None), ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)


def plot_restorations(path: Path, samples: Sequence[Restoration], bands: Sequence[int], title: str) -> None:
    """Show windows clean, masked and noised, and restored, one row each, in three `bands` or in one (grey)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.6, 2.1 * len(samples) + 0.6), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(len(samples), 3, squeeze=False)
    for row, (axes, sample) in enumerate(zip(grid, samples, strict=True)):
        clean = sample.clean.numpy()[..., list(bands)]
        low, high = np.percentile(clean, (2, 98), axis=(0, 1))
        pictures = (sample.clean, sample.noised, sample.restored)
        names = ("clean", f"visible, noised (t = {sample.timestep})", "restored")
        for axis, picture, name in zip(axes, pictures, names, strict=True):
            axis.imshow(_stretch(picture.numpy()[..., list(bands)], low, high), cmap="gray", vmin=0, vmax=1)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(name if row == 0 or "t =" in name else "", fontsize=9)
    figure.savefig(path, dpi=130)


def _stretch(picture: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale to 0…1; cells that are not seen become dark blue, or black in a grey picture."""
    stretched = ((picture - low) / np.maximum(high - low, 1e-6)).clip(0, 1)
    unseen = np.isnan(picture).any(-1)
    stretched[unseen] = (0.05, 0.05, 0.3) if picture.shape[-1] == 3 else 0
    return stretched
