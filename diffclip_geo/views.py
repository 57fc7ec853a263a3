"""Views of a scene for the kernel head: noise-whitened components of all channels, smoothed as far as the scene is
coherent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from .normalisation import Array, ChannelTransform, noise_whitening
from .scenes import Block, inside

SCALES = (1.5, 4.0, 10.0)  # standard deviations of the Gaussians, in pixels
CUT = 3.0  # standard deviations at which Gaussians end
REACH = 30  # pixels: where the widest one ends
LAG = 3.0  # coherence at a scale is read from the autocorrelation at this many standard deviations


@dataclass(frozen=True)
class View:
    """Whitened components of the stacked channels, as they are and Gaussian-smoothed, each scale with its weight.

    Relative ones are what differs from the surroundings: the components at the widest scale are taken from those at all
    scales. What light and air add to a whole plot goes with them.
    """

    transform: ChannelTransform
    weights: Array  # [1 + scales], amplitudes that multiply the components at each scale
    relative: bool

    @classmethod
    def fit(cls, blocks: Sequence[Block], margin: int, *, components: int, brightness_free: bool) -> View:
        """Learn transform and weights from unlabelled blocks that were read with `margin`; 0 components are all.

        A scene is coherent at a scale s when pixels 3s apart are still alike: with their correlation ρ, the smoothed
        components get the share min(1, (ρ / (1 − ρ))²) of the weight of the pixel's own. Where neighbours tell
        nothing, smoothing is off.
        """
        images = [_stack(block) for block in blocks]
        valid = [block.valid for block in blocks]
        spectral = len(blocks[0].hsi) if brightness_free else 0
        transform = noise_whitening(images, valid, components or images[0].shape[-1], brightness_free=spectral)
        whitened = [transform(image) for image in images]
        total = np.concatenate([z[mask] for z, mask in zip(whitened, valid, strict=True)]).var(0).sum()
        shares, spreads = [1.0], [total]
        for scale in SCALES:
            rho = float(np.clip(_correlation(whitened, valid, round(LAG * scale), total), 0.02, 0.98))
            shares.append(min(1.0, (rho / (1 - rho)) ** 2))
            smoothed = [
                inside(smooth(z, mask, scale), margin)[inside(mask, margin)]
                for z, mask in zip(whitened, valid, strict=True)
            ]
            spreads.append(np.concatenate(smoothed).var(0).sum())
        weights = np.sqrt(np.array(shares) / sum(shares) / np.maximum(spreads, 1e-12))
        return cls(transform, weights.astype(np.float32), False)

    def __call__(self, block: Block, margin: int) -> Array:
        """Features of the valid core pixels in row-major order; float32 `[pixels, components · (1 + scales)]`.

        `margin` is how far around its core the block was read, at least `REACH`.
        """
        whitened = self.transform(_stack(block))
        core = inside(block.valid, margin)
        parts = [inside(whitened, margin)[core]]
        parts += [inside(smooth(whitened, block.valid, scale), margin)[core] for scale in SCALES]
        if self.relative:
            parts = [part - parts[-1] for part in parts]
        return np.concatenate([w * part for w, part in zip(self.weights, parts, strict=True)], -1)

    def to_dict(self) -> dict[str, Any]:
        """Lists, for JSON."""
        return {
            "transform": self.transform.to_dict(),
            "weights": self.weights.tolist(),
            "relative": self.relative,
        }

    @classmethod
    def from_dict(cls, lists: dict[str, Any]) -> View:
        """Inverse of `to_dict`."""
        weights = np.asarray(lists["weights"], np.float32)
        return cls(ChannelTransform.from_dict(lists["transform"]), weights, lists["relative"])


def both_views(blocks: Sequence[Block], margin: int, components: int) -> tuple[View, View]:
    """The brightness-free view and the raw one, learned from unlabelled blocks that were read with `margin`."""
    free, raw = (View.fit(blocks, margin, components=components, brightness_free=free) for free in (True, False))
    return free, raw


def with_relatives(views: Sequence[View], sizes: Sequence[tuple[int, int]]) -> tuple[View, ...]:
    """The views of images of these `sizes` and, if they are plots, the relative view to each of them.

    Plots are several images that the widest Gaussian sees whole: its mean tells the light and air of one from those of
    another. In large images it tells what grows there.
    """
    plots = len(sizes) > 1 and float(np.median([max(size) for size in sizes])) <= 2 * REACH + 1
    return (*views, *(replace(view, relative=True) for view in views)) if plots else tuple(views)


def smooth(image: Array, valid: NDArray[np.bool_], scale: float) -> Array:
    """Gaussian mean of the valid pixels around each pixel, `[H, W, C]`; invalid pixels neither give nor count."""
    known = _gaussian(valid.astype(np.float32), scale)
    total = _gaussian(np.where(valid[..., None], image, 0), scale)
    mean: Array = (total / np.maximum(known, 1e-6)[..., None]).astype(np.float32)
    return mean


def _gaussian(image: Array, scale: float) -> Array:
    across: Array = gaussian_filter1d(image, scale, axis=0, mode="constant", truncate=CUT)
    both: Array = gaussian_filter1d(across, scale, axis=1, mode="constant", truncate=CUT)
    return both


def _correlation(images: Sequence[Array], valid: Sequence[NDArray[np.bool_]], lag: int, total: float) -> float:
    """Correlation of pixels `lag` apart: 1 − half their mean squared distance over the variance; 0 for no pairs."""
    squares = []
    for image, mask in zip(images, valid, strict=True):
        for moved in (np.s_[lag:], np.s_[:, lag:]):
            still = np.s_[:-lag] if moved == np.s_[lag:] else np.s_[:, :-lag]
            both = mask[moved] & mask[still]
            squares.append(((image[moved] - image[still])[both] ** 2).sum(-1))
    joined = np.concatenate(squares)
    return 1 - float(joined.mean()) / (2 * total) if len(joined) else 0.0


def _stack(block: Block) -> Array:
    return np.ascontiguousarray(np.concatenate([block.hsi, block.lidar]).transpose(1, 2, 0))
