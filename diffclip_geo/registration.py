"""How far two co-registered images seem to be apart, by phase correlation of their edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

_SMALLEST = 16  # pixels a side below which nothing is estimated
_FARTHEST = 10  # pixels; rasters farther apart than this have another problem
# Height of the peak over the rest of the surface, in its standard deviations. The highest of 441 random values lies
# near 3; unrelated image pairs stay below 5.
_SIGNIFICANT = 6.0


@dataclass(frozen=True)
class Shift:
    """The second image shows things `rows` lower and `columns` further right than the first, in pixels."""

    rows: float
    columns: float

    @property
    def distance(self) -> float:
        """Length in pixels."""
        return float(np.hypot(self.rows, self.columns))


def estimate_shift(first: NDArray[np.float32], second: NDArray[np.float32], valid: NDArray[np.bool_]) -> Shift | None:
    """Shift of `second` against `first`, both [H, W] on one grid, or None when it cannot be told.

    The images may show different things (brightness and height): only where their edges lie is compared. Phase
    correlation (Kuglin & Hines, 1975) on gradient magnitudes, its peak refined by a parabola along each axis. None when
    the images are small, mostly invalid, or their edges do not match anywhere clearly.
    """
    height, width = first.shape
    if min(height, width) < _SMALLEST or valid.mean() < 0.5:
        return None
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    spectra = [fft.fft2(_edges(image, valid) * window) for image in (second, first)]
    cross = spectra[0] * np.conj(spectra[1])
    surface = fft.fftshift(fft.ifft2(cross / (np.abs(cross) + 1e-12)).real)
    reach = min(_FARTHEST, height // 4, width // 4)
    middle_row, middle_column = height // 2, width // 2
    near = surface[middle_row - reach : middle_row + reach + 1, middle_column - reach : middle_column + reach + 1]
    row, column = np.unravel_index(near.argmax(), near.shape)
    if near.max() - near.mean() < _SIGNIFICANT * near.std() or near.std() == 0:
        return None
    return Shift(_refined(near[:, column], int(row)) - reach, _refined(near[row, :], int(column)) - reach)


def _edges(image: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Gradient magnitude without its mean, outliers clipped, invalid pixels at the middle value."""
    values = np.where(valid, image, np.median(image[valid])).astype(np.float64)
    values = np.clip(values, *np.percentile(values, [2, 98]))
    gradient = np.hypot(ndimage.sobel(values, 0), ndimage.sobel(values, 1))
    gradient = ndimage.gaussian_filter(gradient, 0.7)
    return np.asarray(gradient - gradient.mean())


def _refined(profile: NDArray[np.float64], peak: int) -> float:
    """Position of the top of the parabola through a peak and its two neighbours."""
    if not 0 < peak < len(profile) - 1:
        return float(peak)
    before, top, after = (float(profile[index]) for index in (peak - 1, peak, peak + 1))
    return peak + 0.5 * (before - after) / (before - 2 * top + after)
