"""The town plan: which block is what, and what stands on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas
from .fields import SmoothField
from .materials import ASPHALT, BITUMEN, CROP, LAWN, METAL, SHRUB, SLATE, SOIL, TILE, TURF, WATER
from .streets import Frame, Streets

_MAIN_WIDTH, _STREET_WIDTH = 9.0, 6.5  # m
_RIVER_WIDTH = 15.0  # m

# What the largest blocks become, in this order, so that a small scene holds every class; the rest is drawn from MORE.
_TOWN_FIRST = ("homes", "commerce", "homes", "sports", "flats", "park", "homes", "homes", "site")
_TOWN_MORE = ("homes",) * 10 + ("flats",) * 3 + ("commerce",) * 3 + ("park",) * 2 + ("sports", "site")
_COUNTRY_FIRST = ("crop", "wood", "tilled", "scrub", "crop", "meadow")
_COUNTRY_MORE = ("crop",) * 6 + ("wood",) * 4 + ("tilled",) * 3 + ("meadow",) * 3 + ("scrub",) * 2 + ("orchard",)


@dataclass(frozen=True)
class Block:
    """A block between streets: its index, centre and clear size (metres), and the land use."""

    index: tuple[int, int]
    s: float
    t: float
    length: float  # along s
    width: float  # along t
    use: str


@dataclass(frozen=True)
class Town:
    """A drawn town: the canvas and the bare terrain height in metres [rows, columns]."""

    canvas: Canvas
    terrain: NDArray[np.float32]

    @property
    def surface(self) -> NDArray[np.float32]:
        """Height of the first surface seen from above, metres [rows, columns]."""
        return self.terrain + self.canvas.height


def draw_town(seed: int, shape: tuple[int, int], cell: float) -> Town:
    """A town edge on `shape` cells of `cell` metres."""
    rng = np.random.default_rng([seed, 1])
    canvas = Canvas.blank(Frame.draw(rng), shape, cell)
    streets = Streets.draw(rng, _range(canvas.s), _range(canvas.t))
    blocks = _plan(rng, canvas, streets)
    _ground(canvas, streets, blocks)
    for block in blocks:
        if block.use not in ("river", "outside"):
            _PAINTERS[block.use](rng, canvas, block)
    bank = _river(rng, canvas, streets)
    _roads(canvas, streets, blocks, bank)
    _street_trees(rng, canvas, streets, blocks)
    return Town(canvas, _terrain(rng, canvas, bank))


def _range(values: NDArray[np.float32]) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _plan(rng: np.random.Generator, canvas: Canvas, streets: Streets) -> list[Block]:
    """Land use of every block: town on one side of the river and where a smooth field says so, country elsewhere."""
    columns, rows = len(streets.s_lines) - 1, len(streets.t_lines) - 1
    i, j = streets.blocks(canvas.s, canvas.t)
    area = np.bincount((i * rows + j).ravel(), minlength=columns * rows).reshape(columns, rows) * canvas.cell**2
    s_mid = (streets.s_lines[1:] + streets.s_lines[:-1]) / 2
    t_mid = (streets.t_lines[1:] + streets.t_lines[:-1]) / 2
    river = t_mid[streets.river_row]

    sprawl = SmoothField.draw(rng, (columns, rows), 5.0).rows(0, columns, rows)
    score = 0.9 * sprawl + (river - t_mid)[None, :] / 160
    open_land = (area > 0) & (np.arange(rows) != streets.river_row)[None, :]
    order = np.argsort(-score, axis=None)
    share = np.cumsum(np.where(open_land, area, 0).ravel()[order])
    town = np.zeros(area.shape, bool)
    town.ravel()[order[share <= 0.60 * share[-1]]] = True

    uses = np.full(area.shape, "outside", dtype=object)
    uses[:, streets.river_row] = "river"
    for side, first, more in ((town, _TOWN_FIRST, _TOWN_MORE), (~town, _COUNTRY_FIRST, _COUNTRY_MORE)):
        # Whole blocks first; equal areas in random order.
        chosen = np.flatnonzero((side & open_land).ravel())
        size = np.round(area.ravel()[chosen] / 800) + rng.uniform(0, 0.9, len(chosen))
        chosen = chosen[np.argsort(-size)]
        deck = [*first, *(str(use) for use in rng.choice(more, size=max(0, len(chosen) - len(first))))]
        uses.ravel()[chosen] = np.array(deck[: len(chosen)], dtype=object)
        # Woods and fields are larger than a block: half of the later ones continue their neighbour.
        for number in chosen[len(first) :] if first is _COUNTRY_FIRST else ():
            a, b = divmod(int(number), rows)
            beside = (a - 1, b) if rng.random() < 0.6 else (a, b - 1)
            if min(beside) >= 0 and uses[beside] in _COUNTRY_MORE and rng.random() < 0.6:
                uses[a, b] = uses[beside]
    gap = np.diff(streets.s_lines), np.diff(streets.t_lines)
    return [
        Block((a, b), s_mid[a], t_mid[b], gap[0][a] - _STREET_WIDTH - 2, gap[1][b] - _STREET_WIDTH - 2, str(uses[a, b]))
        for a in range(columns)
        for b in range(rows)
    ]


_URBAN = frozenset({"homes", "flats", "commerce", "park", "sports", "site"})


def _ground(canvas: Canvas, streets: Streets, blocks: list[Block]) -> None:
    """Grass everywhere, of one tone per block."""
    i, j = streets.blocks(canvas.s, canvas.t)
    rows = len(streets.t_lines) - 1
    owners = np.array([canvas.new_owner() for _ in blocks], np.int32)
    canvas.cover[:] = LAWN
    canvas.owner[:] = owners[i * rows + j]


def _homes(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """Two rows of plots back to back: gabled house, garage and drive, hedges, a few trees, shrubs and beds."""
    count = max(1, int(block.length / rng.uniform(15, 19)))
    plot = block.length / count
    terrace = rng.random() < 0.15
    for side in (-1, 1):
        for k in range(count):
            s = block.s - block.length / 2 + (k + 0.5) * plot
            depth = block.width / 2
            canvas.rectangle(s, block.t + side * depth / 2, plot, depth, LAWN)
            _house(rng, canvas, s, block.t + side * (depth - rng.uniform(7.5, 9.5)), plot, side=side, terrace=terrace)
            if rng.random() < 0.65:  # a hedge on the plot boundary
                canvas.rectangle(
                    s - plot / 2, block.t + side * depth * 0.45, 1.6, depth * 0.9, SHRUB, height=rng.uniform(1.0, 2.0)
                )
            if rng.random() < 0.45:  # a vegetable bed
                canvas.rectangle(s + rng.uniform(-3, 3), block.t + side * rng.uniform(3, 6), 6, rng.uniform(3, 6), SOIL)
            for _ in range(rng.poisson(1.1)):
                top = rng.uniform(4, 12)
                canvas.crown(
                    s + rng.uniform(-0.5, 0.5) * plot,
                    block.t + side * rng.uniform(1, depth * 0.5),
                    1.2 + 0.24 * top,
                    top,
                )
            for _ in range(rng.poisson(2.0)):
                place = s + rng.uniform(-0.5, 0.5) * plot, block.t + side * rng.uniform(0, depth)
                canvas.crown(*place, rng.uniform(1.2, 2.6), rng.uniform(0.8, 2.0))


def _house(
    rng: np.random.Generator, canvas: Canvas, s: float, t: float, plot: float, *, side: int, terrace: bool
) -> None:
    roof = int(rng.choice([TILE, SLATE, BITUMEN], p=[0.55, 0.37, 0.08]))
    length, width = (plot + 0.5 if terrace else rng.uniform(9.5, min(13.0, plot - 3))), rng.uniform(8.5, 11)
    house = s if terrace else s - rng.uniform(0, 1) * (plot - length) * 0.4
    eave, pitch = rng.uniform(3.2, 6.2), rng.uniform(0.5, 0.95)
    if roof == BITUMEN:
        canvas.rectangle(house, t, length, width, roof, height=eave + 1)
    else:
        canvas.gable(
            house, t, length, width, roof, eave=eave, pitch=pitch, along_s=bool(terrace or rng.random() < 0.65)
        )
    if not terrace and rng.random() < 0.7:
        drive = house + length / 2 + 1.7
        canvas.rectangle(drive, t + side * 5.0, 3.0, 10.0, ASPHALT)
        canvas.rectangle(drive, t - side * 2.5, 3.6, 6.5, BITUMEN, height=rng.uniform(2.6, 3.0))


def _flats(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """Flat-roofed slabs on shared lawn with a parking strip, a playground of artificial turf and trees."""
    height = rng.uniform(9, 17)
    for offset in (-0.27, 0.27):
        length = block.length * rng.uniform(0.6, 0.82)
        canvas.rectangle(
            block.s - block.length * 0.07, block.t + offset * block.width, length, 12.5, BITUMEN, height=height
        )
    canvas.rectangle(block.s + block.length * 0.43, block.t, block.length * 0.13, block.width, ASPHALT)
    canvas.rectangle(block.s - block.length * 0.2, block.t, 13, 8, TURF)
    for _ in range(rng.poisson(9)):
        top = rng.uniform(5, 15)
        s, t = block.s + rng.uniform(-0.48, 0.35) * block.length, block.t + rng.choice([-0.44, 0, 0.44]) * block.width
        if abs(s - block.s + 0.2 * block.length) > 10:
            canvas.crown(s, t + rng.uniform(-2, 2), 1.2 + 0.25 * top, top)
    for _ in range(rng.poisson(10)):
        place = block.s + rng.uniform(-0.45, 0.3) * block.length, block.t + rng.choice([-0.4, 0.12, 0.4]) * block.width
        canvas.crown(*place, rng.uniform(1.5, 3), rng.uniform(0.8, 2))


def _commerce(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """Halls with metal or bitumen roofs on asphalt yards, a green strip and a few trees."""
    canvas.rectangle(block.s, block.t, block.length, block.width, ASPHALT)
    for number, offset in enumerate((-0.24, 0.26)):
        roof = METAL if number == 0 or rng.random() < 0.6 else BITUMEN
        length, width = block.length * rng.uniform(0.34, 0.42), block.width * rng.uniform(0.5, 0.72)
        s, t = block.s + offset * block.length, block.t + rng.uniform(-0.08, 0.08) * block.width
        if roof == METAL:
            along = bool(rng.random() < 0.5)
            canvas.gable(
                s, t, length, width, roof, eave=rng.uniform(5, 8), pitch=rng.uniform(0.06, 0.14), along_s=along
            )
        else:
            canvas.rectangle(s, t, length, width, roof, height=rng.uniform(5, 9))
    edge = block.t + rng.choice([-1, 1]) * (block.width / 2 - 2)
    canvas.rectangle(block.s, edge, block.length, 4, LAWN)
    for s in np.arange(-0.45, 0.45, 9 / block.length):
        top = rng.uniform(4, 8)
        if rng.random() < 0.7:
            canvas.crown(block.s + s * block.length, edge, 1 + 0.25 * top, top)


def _sports(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """A pitch of artificial turf on a lawn, a club house and a row of trees."""
    length, width = min(64.0, block.length * 0.76), min(42.0, block.width * 0.72)
    canvas.rectangle(block.s - 0.06 * block.length, block.t, length, width, TURF)
    canvas.rectangle(block.s + 0.43 * block.length, block.t - 0.2 * block.width, 6, 14, BITUMEN, height=3.4)
    canvas.rectangle(block.s + 0.43 * block.length, block.t + 0.2 * block.width, 7, 16, ASPHALT)
    for s in np.arange(-block.length / 2, block.length / 2, 7.5):
        top = rng.uniform(8, 14)
        canvas.crown(block.s + s, block.t - block.width / 2 + 1.5, 1.2 + 0.2 * top, top)


def _park(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """Lawn with a pond, a path, clumps of trees and shrubs."""
    where = canvas.window(block.s, block.t, 20)
    ds, dt = canvas.s[where] - block.s - 4, canvas.t[where] - block.t
    turn = np.arctan2(dt, ds)
    radius = 9.5 + 1.5 * np.sin(2 * turn + rng.uniform(0, 6)) + 0.8 * np.sin(3 * turn + rng.uniform(0, 6))
    canvas.put(where, np.hypot(ds * 0.75, dt) < radius, WATER, 0, canvas.new_owner())
    canvas.rectangle(block.s - 0.33 * block.length, block.t, 3, block.width, ASPHALT)
    for _ in range(6):
        angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.75, 1.1)
        centre = (
            block.s + 0.42 * block.length * distance * np.cos(angle),
            block.t + 0.42 * block.width * distance * np.sin(angle),
        )
        low = rng.random() < 0.4
        for _ in range(5):
            top = rng.uniform(0.8, 2.0) if low else rng.uniform(6, 16)
            radius_m = rng.uniform(1.5, 3) if low else 1.5 + 0.22 * top
            canvas.crown(centre[0] + rng.normal(0, 3.5), centre[1] + rng.normal(0, 3.5), radius_m, top)


def _site(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """A building site: bare soil, heaps, a first slab and a container."""
    canvas.rectangle(block.s, block.t, block.length, block.width, SOIL)
    canvas.rectangle(block.s - 0.15 * block.length, block.t, 20, 14, BITUMEN, height=rng.uniform(3, 6))
    canvas.rectangle(block.s + 0.35 * block.length, block.t + 0.3 * block.width, 12, 3, METAL, height=2.6)
    canvas.rectangle(block.s + 0.3 * block.length, block.t - 0.25 * block.width, 9, 7, SOIL, height=rng.uniform(1, 2.5))
    for _ in range(rng.poisson(5)):
        canvas.crown(
            block.s + rng.uniform(-0.5, 0.5) * block.length, block.t + 0.46 * block.width, 2.0, rng.uniform(1, 2)
        )


def _field(rng: np.random.Generator, canvas: Canvas, block: Block, cover: int) -> None:
    """One or two parcels up to a grass margin, some with a hedgerow on a side."""
    parts = 2 if block.length > 62 and rng.random() < 0.5 else 1
    length = (block.length + 5) / parts
    for k in range(parts):
        s = block.s - (block.length + 5) / 2 + (k + 0.5) * length
        height = rng.uniform(0.3, 0.9) if cover == CROP else 0.0
        canvas.rectangle(s, block.t, length - 1.5 * (parts - 1), block.width + 5, cover, height=height)
    if rng.random() < 0.45:
        _hedgerow(rng, canvas, block.s, block.t + rng.choice([-1, 1]) * (block.width / 2 + 3), block.length)


def _hedgerow(rng: np.random.Generator, canvas: Canvas, s: float, t: float, length: float) -> None:
    for offset in np.arange(-length / 2, length / 2, 2.4):
        tall = rng.random() < 0.18
        top = rng.uniform(6, 11) if tall else rng.uniform(1.1, 2.1)
        canvas.crown(s + offset, t + rng.normal(0, 0.4), 2.8 if tall else rng.uniform(1.7, 2.4), top)


def _crop(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    _field(rng, canvas, block, CROP)


def _tilled(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    _field(rng, canvas, block, SOIL)


def _meadow(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """Grass with a hedgerow and a lone tree."""
    _hedgerow(rng, canvas, block.s, block.t + block.width / 2, block.length)
    for _ in range(rng.poisson(1.5)):
        top = rng.uniform(7, 14)
        place = block.s + rng.uniform(-0.4, 0.4) * block.length, block.t + rng.uniform(-0.4, 0.4) * block.width
        canvas.crown(*place, 1.5 + 0.25 * top, top)


def _orchard(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """Small trees in rows on grass."""
    for t in np.arange(-block.width / 2 + 3, block.width / 2, 6.5):
        for s in np.arange(-block.length / 2 + 3, block.length / 2, 5.0):
            top = rng.uniform(3.5, 5)
            canvas.crown(block.s + s, block.t + t, rng.uniform(1.7, 2.3), top)


def _wood(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """A closed stand with a ragged edge and a shrubby fringe: crowns on a jittered grid."""
    _stand(rng, canvas, block, spacing=4.2, keep=0.97, top=(9, 19), radius=(2.4, 3.6))


def _scrub(rng: np.random.Generator, canvas: Canvas, block: Block) -> None:
    """Shrubs that leave glades of grass, and a few young trees."""
    glades = SmoothField.draw(rng, (64, 64), 12.0).rows(0, 64, 64)
    _stand(rng, canvas, block, spacing=2.6, keep=0.9, top=(0.8, 2.1), radius=(1.6, 2.6), glades=glades)
    for _ in range(rng.poisson(3)):
        top = rng.uniform(5, 9)
        place = block.s + rng.uniform(-0.45, 0.45) * block.length, block.t + rng.uniform(-0.45, 0.45) * block.width
        canvas.crown(*place, 1 + 0.25 * top, top)


def _stand(
    rng: np.random.Generator,
    canvas: Canvas,
    block: Block,
    *,
    spacing: float,
    keep: float,
    top: tuple[float, float],
    radius: tuple[float, float],
    glades: NDArray[np.float32] | None = None,
) -> None:
    """Crowns over a block in clumps of one tone, as a species or an age class grows."""
    half_s, half_t = block.length / 2 + 4, block.width / 2 + 4
    clumps = rng.uniform(-1, 1, (6, 2)) * (half_s, half_t)
    tones = [canvas.new_owner() for _ in clumps]
    ragged = SmoothField.draw(rng, (96, 128), 11.0).rows(0, 96, 128)
    for s in np.arange(-half_s, half_s, spacing):
        for t in np.arange(-half_t, half_t, spacing):
            place = np.array([s, t]) + rng.normal(0, spacing * 0.22, 2)
            near = int(np.argmin(((place + rng.normal(0, 4, 2) - clumps) ** 2).sum(axis=1)))
            draw = rng.random(3)
            edge = min(half_s - abs(s), half_t - abs(t))
            if draw[0] > keep or edge < 3.5 + 3.0 * ragged[int(t + half_t) % 96, int(s + half_s) % 128]:
                continue
            if glades is not None and glades[int(s + half_s) % 64, int(t + half_t) % 64] > 0.7:
                continue
            size = top[0] + draw[1] * (top[1] - top[0]), radius[0] + draw[2] * (radius[1] - radius[0])
            # Half the crowns keep a tone of their own.
            owner = tones[near] if draw[0] < 0.5 * keep else None
            canvas.crown(block.s + place[0], block.t + place[1], size[1], size[0], owner=owner)


_PAINTERS: dict[str, Callable[[np.random.Generator, Canvas, Block], None]] = {
    "homes": _homes,
    "flats": _flats,
    "commerce": _commerce,
    "sports": _sports,
    "park": _park,
    "site": _site,
    "crop": _crop,
    "tilled": _tilled,
    "meadow": _meadow,
    "orchard": _orchard,
    "wood": _wood,
    "scrub": _scrub,
}


def _river(rng: np.random.Generator, canvas: Canvas, streets: Streets) -> NDArray[np.float32]:
    """A meandering river, its footpath and bank trees; returns metres to the bank (negative in the water)."""
    row = streets.river_row
    middle = (streets.t_lines[row] + streets.t_lines[row + 1]) / 2
    phase = rng.uniform(0, 2 * np.pi, 3)

    def centre(s: NDArray[np.float32]) -> NDArray[np.float32]:
        return middle + 8.0 * np.sin(2 * np.pi * s / 310 + phase[0]) + 3.5 * np.sin(2 * np.pi * s / 127 + phase[1])

    half = _RIVER_WIDTH / 2 + 1.3 * np.sin(2 * np.pi * canvas.s / 190 + phase[2])
    side = canvas.t - centre(canvas.s)
    bank = np.abs(side) - half
    everything = (slice(None), slice(None))
    canvas.put(everything, bank < 0, WATER, 0, canvas.new_owner())
    canvas.put(everything, (np.abs(bank - 7.5) < 1.3) & (side < 0), SOIL, 0, canvas.new_owner())
    for s in np.arange(streets.s_lines[0], streets.s_lines[-1], 2.6):
        for bank_side in (-1, 1):
            if rng.random() < 0.42 + 0.4 * np.sin(s / 37 + bank_side):
                t = float(centre(np.array(s, np.float32))) + bank_side * (_RIVER_WIDTH / 2 + rng.uniform(2.6, 5.0))
                tall = rng.random() < 0.45
                top = rng.uniform(6, 14) if tall else rng.uniform(0.9, 2.1)
                canvas.crown(s, t, 1.4 + 0.2 * top if tall else rng.uniform(1.5, 2.4), top)
    return bank


def _roads(canvas: Canvas, streets: Streets, blocks: list[Block], bank: NDArray[np.float32]) -> None:
    """Asphalt: main roads everywhere, with bridges, and every other street that has town on a side."""
    rows = len(streets.t_lines) - 1
    urban = np.array([block.use in _URBAN for block in blocks]).reshape(-1, rows)
    i, j = streets.blocks(canvas.s, canvas.t)
    road = np.zeros(canvas.cover.shape, bool)
    for axis, (lines, main, position) in enumerate(
        ((streets.s_lines, streets.s_main, canvas.s), (streets.t_lines, streets.t_main, canvas.t))
    ):
        nearest = (i, j)[axis] + (position - lines[(i, j)[axis]] > lines[(i, j)[axis] + 1] - position)
        before, after = np.clip(nearest - 1, 0, None), np.clip(nearest, None, urban.shape[axis] - 1)
        beside = (urban[before, j] | urban[after, j]) if axis == 0 else (urban[i, before] | urban[i, after])
        open_road = main[nearest] | (beside & (bank > 6))
        width = np.where(main[nearest], _MAIN_WIDTH, _STREET_WIDTH)
        road |= open_road & (np.abs(position - lines[nearest]) < width / 2)
    everything = (slice(None), slice(None))
    canvas.put(everything, road, ASPHALT, 0, canvas.new_owner())
    # Stretches of road are of different age.
    ages = np.array([canvas.new_owner() for _ in range(urban.size)], np.int32)
    canvas.owner[road] = ages[(i // 2 * rows + j // 2)[road]]


def _street_trees(rng: np.random.Generator, canvas: Canvas, streets: Streets, blocks: list[Block]) -> None:
    """Rows of trees on one side of some streets in town."""
    for block in blocks:
        if block.use not in _URBAN or rng.random() < 0.6:
            continue
        for s in np.arange(-block.length / 2 + 4, block.length / 2 - 3, 9.0):
            top = rng.uniform(5, 9)
            canvas.crown(block.s + s, float(streets.t_lines[block.index[1]]) + 5.2, 1.0 + 0.25 * top, top)


def _terrain(rng: np.random.Generator, canvas: Canvas, bank: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gentle hills that fall to the river: metres above sea level [rows, columns]."""
    shape = canvas.cover.shape
    hills = SmoothField.draw(rng, shape, 170 / canvas.cell).rows(0, *shape)
    valley = np.clip(bank, 0, 220)
    height = 34 + 1.4 * hills * (valley / 220) ** 0.5 + 5.0 * (valley / 220) ** 1.3
    # Water lies flat, a little below its banks.
    dip = 0.8 * (1 - np.tanh((bank - 1.5) / 1.6))
    return np.where(bank < 0, 34 - 1.5, height - dip).astype(np.float32)
