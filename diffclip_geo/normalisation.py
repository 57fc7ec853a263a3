"""From raster values to the numbers a network sees: robust standardisation, or noise-whitened components of the
spectrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

CLIP = 10.0  # standardised values beyond ±CLIP are glints and sensor faults; they would drown every other gradient
MOST = 100_000  # pixels, and twice as many pairs, that are looked at
CALM = 0.5  # share of adjacent pairs taken for noise: those that differ least lie within one object
RIDGE = 0.02  # of the noise covariance towards white noise, so that it can be inverted


@dataclass(frozen=True)
class ChannelTransform:
    """A per-pixel map of channels; every step is optional but the standardisation.

    1. `reference` `[S]`, S ≤ C: divide the first S channels by this mean spectrum, then by the pixel's norm. Brightness
       (illumination, slope, shadow) goes.
    2. `centre`, `scale` `[C]`: standardise, and clip to ±10.
    3. `mixing` `[C, D]`: project to components.
    """

    centre: Array
    scale: Array
    reference: Array | None = None
    mixing: Array | None = None

    @property
    def channels(self) -> int:
        """Number of channels that come out."""
        return len(self.centre) if self.mixing is None else self.mixing.shape[1]

    def __call__(self, pixels: Array) -> Array:
        """Values `[…, C]` → float32 `[…, channels]`."""
        standard = ((_without_brightness(pixels, self.reference) - self.centre) / self.scale).clip(-CLIP, CLIP)
        return standard.astype(np.float32) if self.mixing is None else product(standard.astype(np.float32), self.mixing)

    def to_dict(self) -> dict[str, Any]:
        """Lists, for JSON."""
        return {name: None if value is None else value.tolist() for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, lists: dict[str, Any]) -> ChannelTransform:
        """Inverse of `to_dict`."""
        arrays: dict[str, Any] = {
            name: None if value is None else np.asarray(value, np.float32) for name, value in lists.items()
        }
        return cls(**arrays)


def unit_norm(pixels: Array) -> Array:
    """Each pixel's vector `[…, C]` divided by its root mean square; zero vectors stay zero."""
    size = np.sqrt((pixels**2).mean(-1, keepdims=True))
    unit: Array = (pixels / np.where(size > 0, size, 1)).astype(np.float32)
    return unit


def product(rows: Array, matrix: Array) -> Array:
    """``rows @ matrix``, `[…, C]` by `[C, D]`, in double precision.

    How a matrix product is rounded depends on a row's place in it. Rounded once more from double to single precision, a
    pixel's result does not depend on the tile.
    """
    return (rows.astype(np.float64) @ matrix.astype(np.float64)).astype(np.float32)


def _without_brightness(pixels: Array, reference: Array | None) -> Array:
    """The leading channels divided by their reference spectrum and brought to unit norm, the others as they are."""
    if reference is None:
        return pixels
    spectral = len(reference)
    return np.concatenate([unit_norm(pixels[..., :spectral] / reference), pixels[..., spectral:]], -1)


def robust_standardisation(pixels: Array) -> ChannelTransform:
    """Median and normal-consistent interquartile range of the pixels `[N, C]`.

    A channel whose quartiles all but coincide (a raster that is mostly ground at height 0) falls back to the range from
    the 1st to the 99th percentile, and a channel that is constant there, too, to its standard deviation.
    """
    lowest, low, middle, high, highest = np.percentile(pixels, (1, 25, 50, 75, 99), axis=0)
    quartiles, bulk = (high - low) / 1.349, (highest - lowest) / 4.652  # of a normal distribution: its deviation
    spread = np.where(quartiles > 1e-3 * bulk, quartiles, np.where(bulk > 0, bulk, pixels.std(0, dtype=np.float64)))
    return ChannelTransform(middle.astype(np.float32), np.where(spread > 0, spread, 1).astype(np.float32))


def noise_whitening(
    images: Sequence[Array], valid: Sequence[NDArray[np.bool_]], components: int, *, brightness_free: int = 0
) -> ChannelTransform:
    """Maximum-noise-fraction components (Green et al., IEEE TGRS 1988), learned without labels.

    The covariance N of the differences between adjacent pixels, over the calmer half of the pairs, estimates what
    varies within one object: sensor noise and texture. In coordinates where N is the identity, the leading principal
    components of the scene are those in which objects differ most beyond that. They keep their spread, the root of
    their signal-to-noise ratio, so that distances count a component by how much it can be trusted; in all they have
    unit variance per component.

    `images` are `[H, W, C]`, `valid` `[H, W]`. The first `brightness_free` channels are a spectrum whose brightness is
    removed.
    """
    step = -(-sum(int(mask.sum()) for mask in valid) // MOST)
    pixels = np.concatenate([image[mask][::step] for image, mask in zip(images, valid, strict=True)])
    reference = None
    if brightness_free:
        reference = pixels[:, :brightness_free].mean(0)
        reference = np.where(np.abs(reference) > 1e-6 * np.abs(reference).max(), reference, 1).astype(np.float32)
    shape = robust_standardisation(_without_brightness(pixels, reference))
    whole = ChannelTransform(shape.centre, shape.scale, reference)
    differences = np.concatenate(
        [d[::step] for z, mask in zip(images, valid, strict=True) for d in _adjacent_differences(whole(z), mask)]
    )
    size = (differences**2 / np.maximum(differences.var(0), 1e-12)).mean(1)
    calm = differences[size <= np.quantile(size, CALM)] if len(size) else differences
    channels = pixels.shape[1]
    noise = (calm.T @ calm / max(len(calm), 1)).astype(np.float64)
    level = np.trace(noise) / channels
    noise = (1 - RIDGE) * noise / level + RIDGE * np.eye(channels) if level > 0 else np.eye(channels)
    value, vector = np.linalg.eigh(noise)
    whiten = vector / np.sqrt(value)
    spread, axes = np.linalg.eigh(np.cov((whole(pixels) @ whiten).T))
    kept = slice(None, -min(components, channels) - 1, -1)
    mixing = whiten @ axes[:, kept]
    mixing /= np.sqrt(max(spread[kept].mean(), 1e-12))
    mixing *= np.sign(
        mixing[np.abs(mixing).argmax(0), np.arange(mixing.shape[1])]
    )  # eigenvectors have no sign of their own
    return ChannelTransform(shape.centre, shape.scale, reference, mixing.astype(np.float32))


def _adjacent_differences(image: Array, valid: NDArray[np.bool_]) -> list[Array]:
    """Differences of valid pixels to the next one below and to the right; each `[pairs, C]`."""
    return [
        (image[1:] - image[:-1])[valid[1:] & valid[:-1]],
        (image[:, 1:] - image[:, :-1])[valid[:, 1:] & valid[:, :-1]],
    ]
