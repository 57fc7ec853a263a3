"""From the town to what a sensor sees: sun and shadow, mixing by the point spread, spectra and noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .fields import SmoothField
from .layout import Town
from .materials import CLASSES, CROP, MATERIAL_OF, MATERIALS, end_members
from .sensor import Sensor, diffuse_share

FACTOR = 3  # cells per pixel along each side
MARGIN = 8  # pixels drawn around the scene: shadows and the point spread reach in from outside
SUN_ZENITH, SUN_AZIMUTH = np.deg2rad(40.0), np.deg2rad(152.0)  # late morning
_PSF_SIGMA = 0.42  # pixels: full width at half maximum of one pixel
_LASER = 1064.0  # nm

Array = NDArray[np.float32]


class Rows(NamedTuple):
    """Some rows of the scene: reflectance [bands, rows, columns], class fractions [classes, rows, columns], height in
    metres and lidar intensity (reflectance at 1064 nm in percent) [rows, columns]."""

    start: int
    reflectance: Array
    fractions: Array
    height: Array
    intensity: Array


@dataclass(frozen=True)
class Light:
    """Light on each cell relative to flat open ground [rows, columns]: direct beam and skylight."""

    direct: Array
    sky: Array


def light_on(town: Town, cell: float) -> Light:
    """Direct light by slope and cast shadow, skylight by how open the place is."""
    surface = town.surface
    down_y, down_x = np.gradient(town.terrain, cell)
    slope_x = down_x + town.canvas.slope_x
    slope_y = down_y + town.canvas.slope_y
    # Unit vector to the sun; x east, y south.
    east, south = np.sin(SUN_ZENITH) * np.sin(SUN_AZIMUTH), -np.sin(SUN_ZENITH) * np.cos(SUN_AZIMUTH)
    facing = (np.cos(SUN_ZENITH) - slope_x * east - slope_y * south) / np.sqrt(1 + slope_x**2 + slope_y**2)
    facet = np.maximum(facing, 0) / np.cos(SUN_ZENITH)
    volume = np.array([m.scattering for m in MATERIALS], np.float32)[MATERIAL_OF][town.canvas.cover]
    direct = (volume + (1 - volume) * facet) * (1 - shadow(surface, cell))
    mean = ndimage.gaussian_filter(surface, 4.0 / cell)
    sky = np.clip(1 - 0.075 * np.maximum(mean - surface, 0), 0.4, 1) * (
        0.5 + 0.5 / np.sqrt(1 + slope_x**2 + slope_y**2)
    )
    # Light from sunlit walls and leaves nearby reaches into shadow too.
    return Light((direct + 0.02).astype(np.float32), sky.astype(np.float32))


def shadow(surface: Array, cell: float) -> Array:
    """Share of direct light cut off at each cell [rows, columns]: the ray to the sun is followed cell by cell.

    A blocker half a metre above the ray makes full shadow, less a penumbra.
    """
    climb = cell / np.tan(SUN_ZENITH)
    steps = int(np.ceil((surface.max() - surface.min()) / climb))
    steps = min(steps, int(np.ceil(26 / climb)))  # nothing stands higher above its surroundings
    rows, columns = surface.shape
    excess = np.zeros_like(surface)
    for step in range(1, steps + 1):
        d_row, d_column = round(-step * np.cos(SUN_AZIMUTH)), round(step * np.sin(SUN_AZIMUTH))
        if d_row >= rows or d_column >= columns:
            break
        here = slice(0, rows - d_row), slice(0, columns - d_column)
        there = slice(d_row, rows), slice(d_column, columns)
        np.maximum(excess[here], surface[there] - surface[here] - np.float32(step * climb), out=excess[here])
    return np.minimum(excess / 0.5, 1)


@dataclass(frozen=True)
class _Tones:
    """Random tones of objects [objects] and of place (smooth fields), in standard deviations."""

    objects: Array  # [3, owners]
    fields: tuple[SmoothField, ...]  # three of about 25 m and three of about 6 m


def observe(town: Town, sensor: Sensor, seed: int, cell: float, chunk: int = 64) -> Iterator[Rows]:
    """The scene without its margin, `chunk` rows of pixels at a time, from the top."""
    light = light_on(town, cell)
    rng = np.random.default_rng([seed, 2])
    shape = town.terrain.shape
    tones = _Tones(
        rng.standard_normal((3, town.canvas.owners), dtype=np.float32),
        tuple(SmoothField.draw(rng, shape, scale / cell) for scale in (28, 28, 28, 6, 6, 6)),
    )
    basis, laser = _basis(sensor)
    height, width = shape[0] // FACTOR - 2 * MARGIN, shape[1] // FACTOR - 2 * MARGIN
    for start in range(0, height, chunk):
        rows = min(chunk, height - start)
        # Random numbers belong to a chunk, so that any part of the scene can be made alone.
        noise = np.random.default_rng([seed, 3, start])
        cells = slice((start + MARGIN - 1) * FACTOR, (start + MARGIN + rows + 1) * FACTOR)
        weights, fractions = _mix(town, light, tones, cells, noise, width=width)
        # Not as matrix products: BLAS sums in an order that depends on the number of threads, and the bytes with it.
        clean = np.einsum("kb,krc->brc", basis, weights[:, :, :2].reshape(len(basis), *weights.shape[3:]))
        intensity = np.einsum("me,merc->rc", laser, weights[:, :, 2])
        reflectance = clean + sensor.noise(clean) * noise.standard_normal(clean.shape, dtype=np.float32)
        inside = (slice(FACTOR, -FACTOR), slice(MARGIN * FACTOR, (MARGIN + width) * FACTOR))
        top = _pixel_mean((town.terrain[cells] + town.canvas.height[cells])[inside])
        rough = 0.05 + 0.10 * _pixel_std(town.canvas.height[cells][inside])
        yield Rows(
            start,
            reflectance,
            fractions,
            top + rough * noise.standard_normal(top.shape, dtype=np.float32),
            np.maximum(100 * intensity * (1 + 0.08 * noise.standard_normal(top.shape, dtype=np.float32)), 0),
        )


def _basis(sensor: Sensor) -> tuple[Array, Array]:
    """End members as sensed, [materials × 3 × (sun, sky), bands], and at the laser's wavelength, [materials, 3]."""
    grid = np.arange(350.0, 2551.0)
    spectra = end_members(grid)
    sky = diffuse_share(grid)
    seen = np.stack([spectra * (1 - sky), spectra * sky], axis=2)
    at_laser = spectra[:, :, np.searchsorted(grid, _LASER)]
    basis = (seen @ sensor.response(grid).T).reshape(-1, len(sensor.wavelengths))
    return basis.astype(np.float32), at_laser.astype(np.float32)


def _mix(
    town: Town, light: Light, tones: _Tones, cells: slice, rng: np.random.Generator, *, width: int
) -> tuple[Array, Array]:
    """End-member weights [materials, 3, (sun, sky, laser), rows, columns], class fractions [classes, rows, columns].

    Mixing is linear: the weight of an end member is its share of a cell times brightness and light, averaged by the
    point spread.
    """
    cover = town.canvas.cover[cells]
    material = MATERIAL_OF[cover]
    shares, brightness = _variation(town, tones, cells, cover, material, rng=rng)
    # The laser brings its own light: no shadow.
    lit = brightness * light.direct[cells], brightness * light.sky[cells], brightness
    weights = np.zeros((len(MATERIALS), 3, len(lit), cover.shape[0] // FACTOR - 2, width), np.float32)
    for number in np.unique(material):
        is_here = material == number
        for member, share in enumerate(shares):
            for kind, source in enumerate(lit):
                weights[number, member, kind] = _point_spread(np.where(is_here, share * source, 0), width)
    fractions = np.stack([_point_spread((cover == k).astype(np.float32), width) for k in range(len(CLASSES))])
    return weights, fractions


def _variation(
    town: Town,
    tones: _Tones,
    cells: slice,
    cover: NDArray[np.uint8],
    material: NDArray[np.uint8],
    *,
    rng: np.random.Generator,
) -> tuple[tuple[Array, Array, Array], Array]:
    """Shares of the three end members and brightness of every cell."""
    columns = cover.shape[1]
    second, third, bright = (
        0.68 * tones.objects[k][town.canvas.owner[cells]]
        + 0.55 * tones.fields[k].rows(cells.start, cells.stop, columns)
        + 0.48 * tones.fields[k + 3].rows(cells.start, cells.stop, columns)
        for k in range(3)
    )

    def of_material(values: list[float]) -> Array:
        return np.array(values, np.float32)[material]

    spread = of_material([m.spread for m in MATERIALS])
    b = np.clip(of_material([m.share[0] for m in MATERIALS]) + spread * second, 0, 1)
    c = np.clip(of_material([m.share[1] for m in MATERIALS]) + 0.6 * spread * third, 0, 0.85)
    # Rows of the crop: soil shows between them and in the wheel tracks.
    across = town.canvas.t[cells]
    rows = 0.15 * np.sin(2 * np.pi * across / 7.5) + 0.55 * (np.mod(across, 22.5) < 1.4)
    c = np.where(cover == CROP, np.clip(c + rows, 0, 0.85), c)
    texture = of_material([m.texture for m in MATERIALS]) * rng.standard_normal(cover.shape, dtype=np.float32)
    brightness = np.exp(of_material([m.brightness for m in MATERIALS]) * bright + texture)
    return ((1 - b) * (1 - c), b * (1 - c), c), brightness


def _point_spread(fine: Array, width: int) -> Array:
    """Average of cells by the point spread around each pixel centre; drops one pixel of rows and the side margins."""
    offset = np.arange(-FACTOR, 2 * FACTOR)
    tap = np.exp(-0.5 * ((offset - (FACTOR - 1) / 2) / (FACTOR * _PSF_SIGMA)) ** 2)
    tap = (tap / tap.sum()).astype(np.float32)
    rows = fine.shape[0] // FACTOR - 2
    left = MARGIN * FACTOR
    down = sum(w * fine[FACTOR + o : FACTOR + o + rows * FACTOR : FACTOR] for w, o in zip(tap, offset, strict=True))
    across = (w * down[:, left + o : left + o + width * FACTOR : FACTOR] for w, o in zip(tap, offset, strict=True))
    return np.add.reduce(list(across))


def _pixel_mean(fine: Array) -> Array:
    return fine.reshape(fine.shape[0] // FACTOR, FACTOR, -1, FACTOR).mean(axis=(1, 3))


def _pixel_std(fine: Array) -> Array:
    return fine.reshape(fine.shape[0] // FACTOR, FACTOR, -1, FACTOR).std(axis=(1, 3))
