"""Colours for land-cover classes: by meaning where the name tells one, else well apart from each other."""

from __future__ import annotations

import colorsys
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

# Word stems, the more specific first: the first stem found in a class name decides.
_BY_MEANING: tuple[tuple[str, Color], ...] = (
    (r"shadow", (40, 40, 50)),
    (r"water|river|lake|pond|sea\b|pool", (38, 110, 200)),
    (r"rail", (110, 80, 120)),
    (r"highway|motorway", (90, 90, 100)),
    (r"parking|car park", (160, 130, 150)),
    (r"sidewalk|pavement|paved|asphalt|concrete", (140, 140, 145)),
    (r"road|street", (115, 115, 120)),
    (r"metal", (120, 160, 190)),
    (r"roof|building|house|residential", (200, 60, 50)),
    (r"commercial|industrial", (150, 60, 140)),
    (r"impervious|artificial|urban", (175, 105, 110)),
    (r"synthetic|artificial turf|tennis", (0, 180, 170)),
    (r"running track|track", (225, 110, 60)),
    (r"tree|forest|wood|conifer|deciduous", (20, 100, 40)),
    (r"shrub|bush|hedge", (95, 145, 60)),
    (r"stressed grass|dry grass", (190, 205, 110)),
    (r"grass|lawn|meadow|pasture|low vegetation", (130, 200, 90)),
    (r"vineyard|orchard", (150, 110, 40)),
    (r"crop|field|agricult|cereal|wheat|maize", (235, 205, 90)),
    (r"vegetation|green", (80, 165, 70)),
    (r"soil|bare|ground|sand|earth", (165, 115, 65)),
    (r"snow|ice\b|cloud", (235, 240, 245)),
    (r"other|unknown|background", (205, 205, 205)),
)
# Tableau's twenty, strong tones first.
_QUALITATIVE: tuple[Color, ...] = (
    (31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75), (227, 119, 194),
    (188, 189, 34), (23, 190, 207), (127, 127, 127), (174, 199, 232), (255, 187, 120), (152, 223, 138), (255, 152, 150),
    (197, 176, 213), (196, 156, 148), (247, 182, 210), (219, 219, 141), (158, 218, 229), (199, 199, 199),
)  # fmt: skip
_CLOSE = 48.0  # RGB distance below which two colours are hard to tell apart on a map


def class_colors(names: Sequence[str], given: Mapping[str, Color] | None = None) -> tuple[Color, ...]:
    """One colour per class name: the `given` one, else one by meaning, else from a palette; those chosen differ."""
    given = given or {}
    chosen: dict[str, Color] = {name: given[name] for name in names if name in given}
    for name in names:
        color = None if name in chosen else _by_meaning(name)
        if color is not None and _is_free(color, chosen):
            chosen[name] = color
    candidates = _candidates()
    distance = np.min(
        [_distance(candidates, color) for color in chosen.values()] or [np.full(len(candidates), np.inf)], 0
    )
    for name in names:
        if name not in chosen:
            free = np.flatnonzero(distance > _CLOSE)
            best = candidates[free[0] if free.size else distance.argmax()]  # first in the palette, else farthest off
            chosen[name] = (int(best[0]), int(best[1]), int(best[2]))
            distance = np.minimum(distance, _distance(candidates, chosen[name]))
    return tuple(chosen[name] for name in names)


def parse_color(text: str) -> Color | None:
    """A colour from "#rrggbb", "r,g,b" or "r,g,b,a" (0-255); None when the text is neither."""
    text = text.strip()
    match = re.match(r"^#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?$", text)
    if match:
        red, green, blue = (int(match[1][start : start + 2], 16) for start in (0, 2, 4))
        return red, green, blue
    numbers = re.match(r"^(\d{1,3})\s*[,; ]\s*(\d{1,3})\s*[,; ]\s*(\d{1,3})(?:\s*[,; ].*)?$", text)
    if numbers and all(int(part) <= 255 for part in numbers.groups()):
        return int(numbers[1]), int(numbers[2]), int(numbers[3])
    return None


def _by_meaning(name: str) -> Color | None:
    words = re.sub(r"[_\-]+", " ", name.lower())
    return next((color for stem, color in _BY_MEANING if re.search(rf"\b(?:{stem})", words)), None)


def _is_free(color: Color, chosen: Mapping[str, Color]) -> bool:
    return all(_distance(np.array([color]), other)[0] > _CLOSE for other in chosen.values())


def _distance(colors: NDArray[np.int64], color: Color) -> NDArray[np.float64]:
    """Euclidean distance in RGB of each of `colors` [N, 3] to a colour."""
    return np.asarray(np.sqrt(((colors - np.array(color)) ** 2).sum(axis=1)))


def _candidates() -> NDArray[np.int64]:
    """The palette, then hues around the circle in six tones, for many classes; [N, 3]."""
    tones = ((0.75, 0.9), (0.45, 0.75), (0.9, 0.55), (0.3, 0.95), (0.6, 0.4), (1.0, 0.75))
    around = [colorsys.hsv_to_rgb((step * 0.618034) % 1, *tone) for tone in tones for step in range(90)]
    return np.concatenate([np.array(_QUALITATIVE), np.round(np.array(around) * 255).astype(np.int64)])
