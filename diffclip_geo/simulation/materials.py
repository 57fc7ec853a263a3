"""Classes, materials and their spectra.

Reflectance is built from the features every field spectroscopist looks for: chlorophyll (440, 670 nm) and the red edge,
liquid water (970, 1200, 1450, 1940 nm), cellulose (2100 nm), clay (2200 nm), iron oxide (530, 870 nm) and hydrocarbons
(1730, 2310 nm). Positions follow Curran (1989), Clark (1999) and Herold et al. (2004); depths are typical values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """How a surface varies: three end members and the spread of their mixture and brightness.

    The shares of the second and third end member and the log brightness each follow an object's tone and smooth fields;
    `texture` is the brightness spread of single sub-pixel cells.
    """

    name: str
    share: tuple[float, float]  # mean share of the second and third end member
    spread: float  # spread of those shares
    brightness: float  # log standard deviation of brightness between objects and along smooth fields
    texture: float  # log standard deviation of brightness between cells
    scattering: float = 0.0  # 0: an opaque facet, 1: a volume whose slope does not matter


@dataclass(frozen=True)
class LandCover:
    """A class of the map: its name, colour and material."""

    name: str
    color: tuple[int, int, int]
    material: str


MATERIALS = (
    Material("water", (0.35, 0.10), 0.30, 0.15, 0.06, 1.0),
    Material("bitumen", (0.50, 0.15), 0.35, 0.22, 0.08),
    Material("tile", (0.45, 0.15), 0.35, 0.18, 0.08),
    Material("slate", (0.40, 0.15), 0.35, 0.20, 0.08),
    Material("metal", (0.40, 0.15), 0.40, 0.25, 0.05),
    Material("foliage", (0.40, 0.15), 0.35, 0.18, 0.38, 0.6),
    Material("grass", (0.45, 0.14), 0.26, 0.13, 0.14, 0.8),
    Material("turf", (0.40, 0.15), 0.25, 0.12, 0.10),
    Material("soil", (0.45, 0.12), 0.35, 0.20, 0.12),
    Material("crop", (0.35, 0.28), 0.26, 0.15, 0.14, 0.8),
)

# Tree and shrub share one material, as do asphalt and bitumen roof: only height tells them apart. Lawn and artificial
# turf, and the two pitched roofs, have the same height and shape: only the spectrum does.
CLASSES = (
    LandCover("water", (43, 110, 196), "water"),
    LandCover("asphalt", (120, 120, 125), "bitumen"),
    LandCover("bitumen roof", (62, 54, 66), "bitumen"),
    LandCover("tile roof", (200, 72, 46), "tile"),
    LandCover("slate roof", (96, 120, 160), "slate"),
    LandCover("metal roof", (214, 226, 236), "metal"),
    LandCover("tree", (20, 90, 42), "foliage"),
    LandCover("shrub", (108, 140, 40), "foliage"),
    LandCover("lawn", (134, 205, 92), "grass"),
    LandCover("artificial turf", (0, 200, 150), "turf"),
    LandCover("bare soil", (158, 112, 70), "soil"),
    LandCover("crop", (236, 206, 84), "crop"),
)
WATER, ASPHALT, BITUMEN, TILE, SLATE, METAL, TREE, SHRUB, LAWN, TURF, SOIL, CROP = range(len(CLASSES))

# Index into MATERIALS of each class.
MATERIAL_OF = np.array([[m.name for m in MATERIALS].index(c.material) for c in CLASSES], np.uint8)


def end_members(wavelength: Spectrum) -> NDArray[np.float64]:
    """Reflectance (0…1) of the three end members of every material: [materials, 3, wavelengths], wavelengths in nm."""
    return np.array([_SPECTRA[material.name](wavelength) for material in MATERIALS])


def _band(w: Spectrum, centre: float, width: float) -> Spectrum:
    """A Gaussian feature of unit height, `width` its standard deviation in nm."""
    return np.exp(-0.5 * ((w - centre) / width) ** 2)


def _step(w: Spectrum, centre: float, width: float) -> Spectrum:
    """A smooth rise from 0 to 1."""
    return 1 / (1 + np.exp(-(w - centre) / width))


def _liquid_water(w: Spectrum) -> Spectrum:
    """Relative absorption of liquid water in a leaf or a wet surface."""
    features = (
        0.10 * _band(w, 970, 28) + 0.26 * _band(w, 1195, 45) + 0.95 * _band(w, 1450, 58) + 1.35 * _band(w, 1940, 80)
    )
    return features + 0.32 * _step(w, 1380, 40) + 0.25 * _step(w, 1890, 40) + 0.9 * _step(w, 2420, 90)


def _plant(w: Spectrum, chlorophyll: float, water: float, dry: float, plateau: float) -> Spectrum:
    """A leaf canopy: a near-infrared plateau dimmed by pigments, water and dry matter (Beer-Lambert)."""
    pigment = 1.25 * _band(w, 430, 55) + 0.75 * _band(w, 490, 28) + 0.95 * _band(w, 672, 22) + 0.55 * _band(w, 630, 40)
    pigment += 1.45 * (1 - _step(w, 712, 11))
    brown = 0.9 * (1 - _step(w, 640, 90))
    cellulose = 0.20 * _band(w, 2100, 70) + 0.14 * _band(w, 2310, 50) + 0.08 * _band(w, 1730, 35)
    return plateau * np.exp(-chlorophyll * pigment - water * _liquid_water(w) - dry * (brown + cellulose))


def _soil(w: Spectrum, level: float, iron: float, clay: float, moisture: float) -> Spectrum:
    """Soil: a convex rise with iron-oxide, water and clay features; moisture darkens and deepens the water bands."""
    slope = 0.12 + 0.88 * (1 - np.exp(-(w - 330) / 620))
    oxide = iron * (0.75 * (1 - _step(w, 560, 35)) + 0.16 * _band(w, 880, 70))
    mineral = (
        clay * (_band(w, 2205, 24) + 0.35 * _band(w, 2340, 28)) + 0.06 * _band(w, 1412, 18) + 0.12 * _band(w, 1920, 32)
    )
    return level * slope * np.exp(-oxide - mineral - moisture * (0.45 + 0.55 * _liquid_water(w)))


def _water(w: Spectrum) -> list[Spectrum]:
    def column(blue: float, sediment: float, algae: float) -> Spectrum:
        green = sediment * _band(w, 575, 70) + 0.5 * sediment * _band(w, 700, 45) + 0.18 * sediment * _band(w, 810, 30)
        return 0.006 + blue * np.exp(-(w - 400) / 160) + green * (1 - 0.35 * algae * _band(w, 672, 18))

    return [column(0.040, 0.028, 0.2), column(0.030, 0.060, 0.6), column(0.026, 0.042, 1.0)]


def _bitumen(w: Spectrum) -> list[Spectrum]:
    oil = 1 - 0.05 * _band(w, 1730, 25) - 0.12 * _band(w, 2315, 45)
    fresh = (0.045 + 0.020 * (w - 400) / 2100) * oil
    worn = 0.085 + 0.13 * (1 - np.exp(-(w - 380) / 650)) - 0.010 * _band(w, 2340, 40)
    gravel = 0.13 + 0.16 * (1 - np.exp(-(w - 380) / 500)) - 0.012 * _band(w, 2210, 30)
    return [fresh, worn, gravel]


def _tile(w: Spectrum) -> list[Spectrum]:
    def clay_tile(level: float, iron: float) -> Spectrum:
        rise = 0.20 + 0.80 * _step(w, 578, 26) + 0.30 * _step(w, 1100, 220)
        return (
            level
            * rise
            * np.exp(-0.22 * iron * _band(w, 870, 80) - 0.05 * _band(w, 2205, 30) - 0.04 * _band(w, 1920, 40))
        )

    mossy = 0.75 * clay_tile(0.15, 0.5) + 0.15 * _plant(w, 0.6, 0.4, 0.6, 0.35)
    return [clay_tile(0.31, 1.0), clay_tile(0.19, 1.3), mossy]


def _slate(w: Spectrum) -> list[Spectrum]:
    stone = 0.105 + 0.020 * _band(w, 480, 120) + 0.028 * _step(w, 1300, 350)
    stone = stone * (1 - 0.10 * _band(w, 2250, 28) - 0.12 * _band(w, 2335, 30) - 0.06 * _band(w, 900, 110))
    lichen = 0.7 * stone + 0.06 + 0.05 * _step(w, 720, 30) - 0.02 * _step(w, 1400, 60)
    return [stone, 1.75 * stone, lichen]


def _metal(w: Spectrum) -> list[Spectrum]:
    bare = 0.50 + 0.06 * (w - 400) / 2100 - 0.035 * _band(w, 835, 60)
    zinc = 0.30 + 0.08 * _step(w, 1150, 180) - 0.06 * _band(w, 1020, 150)
    coated = 0.34 * _step(w, 405, 14) + 0.16 * _band(w, 470, 60) - 0.05 * _band(w, 1730, 40) - 0.06 * _band(w, 2310, 50)
    return [bare, zinc, coated]


def _foliage(w: Spectrum) -> list[Spectrum]:
    return [_plant(w, 1.05, 0.85, 0.15, 0.44), _plant(w, 1.15, 1.05, 0.30, 0.28), _plant(w, 0.75, 0.70, 0.55, 0.40)]


def _grass(w: Spectrum) -> list[Spectrum]:
    return [_plant(w, 0.88, 0.75, 0.12, 0.48), _plant(w, 0.68, 0.52, 0.35, 0.42), _plant(w, 0.25, 0.22, 0.90, 0.38)]


def _turf(w: Spectrum) -> list[Spectrum]:
    polymer = (
        1
        - 0.10 * _band(w, 1210, 28)
        - 0.30 * _band(w, 1730, 30)
        - 0.40 * _band(w, 2310, 45)
        - 0.06 * _band(w, 1400, 30)
    )

    def blades(level: float, pigment: float) -> Spectrum:
        green = 0.045 + pigment * _band(w, 530, 32) + level * _step(w, 735, 24) + 0.05 * _step(w, 1300, 250)
        return green * polymer

    sand = 0.55 * blades(0.25, 0.05) + 0.45 * _soil(w, 0.42, 0.5, 0.05, 0.05)
    return [blades(0.36, 0.060), blades(0.24, 0.040), sand]


def _bare(w: Spectrum) -> list[Spectrum]:
    return [_soil(w, 0.42, 0.65, 0.14, 0.05), _soil(w, 0.36, 0.85, 0.18, 0.65), _soil(w, 0.50, 0.45, 0.08, 0.0)]


def _crop(w: Spectrum) -> list[Spectrum]:
    # The third member is the soil between the rows.
    return [_plant(w, 1.12, 1.30, 0.04, 0.56), _plant(w, 0.72, 1.00, 0.20, 0.53), _soil(w, 0.38, 0.75, 0.16, 0.30)]


_SPECTRA = {
    "water": _water,
    "bitumen": _bitumen,
    "tile": _tile,
    "slate": _slate,
    "metal": _metal,
    "foliage": _foliage,
    "grass": _grass,
    "turf": _turf,
    "soil": _bare,
    "crop": _crop,
}
