"""How a map will be computed: size and order of the tiles, workers, and the memory that all of it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..engines import Engine
from ..errors import OptionError
from ..maps import BLOCK
from ..memory import MB, give_back, resident, size_text
from ..products import Products
from ..rasters import open_raster
from ..scenes import Scene
from ..schedulers import LOCAL, Crew, cores, threads
from ..tiles import Tile, Tiles

SMALLEST = 16  # pixels a side, of the tiles that are made to save memory
_RESERVE = 150 * MB  # of each process: what libraries take with the first tile, and the quicklook
_LEAST_CACHE, _MOST_CACHE = 32 * MB, 512 * MB  # of GDAL's blocks, in each process
_WRITING = 200 * MB  # compressing blocks and drawing the quicklook, when the tiles are done
_HELD = 30  # bytes per pixel of a map that is held in memory as a whole


@dataclass(frozen=True)
class Effort:
    """What the user wants spent. None of this changes the map."""

    ram: int  # bytes; of each worker of a cluster, of all processes together otherwise
    tile: int | None = None  # side in pixels
    workers: int | None = None
    scheduler: str = "threads"

    def check(self) -> None:
        """Raise OptionError for values that cannot be used."""
        if (self.tile is not None and self.tile < 1) or (self.workers is not None and self.workers < 1):
            raise OptionError("--tile and --workers", "must be at least 1", "give larger numbers")


@dataclass(frozen=True)
class Plan:
    """Tiles, workers and memory."""

    tiles: Tiles
    crew: Crew
    block: int  # pixels a side of the blocks that the image is read in, one after the other
    memory: int  # bytes that are taken at most, by estimate

    def order(self) -> Iterator[Tile]:
        """All tiles, as they are best read."""
        return self.tiles.by_blocks(self.block)


@dataclass(frozen=True)
class _Need:
    """What a map takes in memory, by estimate."""

    engine: Engine
    channels: int
    result: int  # bytes per pixel
    base: int  # bytes of a process with its libraries and the model
    processes: int  # that take tiles, besides this one
    here: bool  # tiles are computed in this process

    def of(self, workers: int, side: int) -> int:
        """Bytes that are taken at most, without more than the least block cache."""
        tile = self.engine.memory(self.channels, side)
        results = (workers + 2) * self.result * side**2
        own = self.base + _LEAST_CACHE + results
        computing = own + workers * tile if self.here else own
        elsewhere = self.processes * (self.base + _LEAST_CACHE) + (0 if self.here else workers * tile)
        return max(computing, own + _WRITING) + elsewhere


def make_plan(engine: Engine, scene: Scene, products: Products, effort: Effort, device: str) -> Plan:
    """The largest tiles, up to those that suit the engine, with which as many workers as possible stay within memory.

    Raises
    ------
    OptionError
        Even one worker with the smallest tile takes more, or a product does.
    """
    _check_held(scene, products, effort.ram)
    wanted = effort.workers or (cores() if device == "cpu" else 2)
    sides = list(_sides(engine, effort.tile))
    classes = len(engine.classes)
    result = 6 + (4 * classes if products.proba else 0) + (8 if products.sets is not None else 0)
    channels = len(scene.band_indices) + len(scene.lidar_names)
    give_back()
    base = resident() + _RESERVE
    counts = range(wanted, 0, -1) if effort.workers is None else [wanted]
    if effort.scheduler not in LOCAL:
        counts = [1]  # a thread of a worker
    for workers in counts:
        need = _Need(
            engine,
            channels,
            result,
            base,
            workers if effort.scheduler == "processes" else 0,
            effort.scheduler != "processes",
        )
        for side in sides:
            if need.of(workers, side) <= effort.ram:
                return _plan(scene, need, workers, side, effort, max(1, threads() // workers))
    least = need.of(counts[-1], sides[-1])
    fault = f"{size_text(effort.ram)} is too little for {_workers(counts[-1])} of {sides[-1]} × {sides[-1]} pixels"
    raise OptionError("--ram", fault, f"give at least {size_text(1.02 * least)}")


def _plan(scene: Scene, need: _Need, workers: int, side: int, effort: Effort, threads: int) -> Plan:
    block, footprint = _blocks(scene, side + 2 * need.engine.margin)
    taken, caches = need.of(workers, side), max(1, need.processes)
    cache = int(np.clip((effort.ram - taken) // caches + _LEAST_CACHE, _LEAST_CACHE, min(_MOST_CACHE, footprint)))
    cache = max(cache, _LEAST_CACHE)
    tiles = Tiles(*scene.grid.shape, side)
    return Plan(tiles, Crew(workers, threads, cache), max(block, side), taken + caches * (cache - _LEAST_CACHE))


def _sides(engine: Engine, wanted: int | None) -> Iterator[int]:
    """Sides of tiles to try, the best first; multiples of the engine's cell."""
    if wanted is not None:
        yield -(-wanted // engine.cell) * engine.cell
        return
    side = engine.side
    yield side
    while (side := side // 2 // engine.cell * engine.cell) >= max(SMALLEST, engine.cell):
        yield side


def _blocks(scene: Scene, side: int) -> tuple[int, int]:
    """Side of the square blocks of the image in which tiles are best read (all of it when it is stored line by line),
    and the bytes of the stored blocks that a window of `side` pixels touches.
    """
    with open_raster(scene.hsi_path) as dataset:
        height, width = dataset.block_shapes[0]
        bands, size = len(scene.band_indices), np.dtype(dataset.dtypes[0]).itemsize
        lines = width >= dataset.width
        rows = (-(-side // height) + 1) * height
        columns = dataset.width if lines else (-(-side // width) + 1) * width
        return (max(dataset.shape) if lines else max(height, width, BLOCK)), rows * columns * bands * size


def _check_held(scene: Scene, products: Products, ram: int) -> None:
    option = "--polygons" if products.polygons is not None else "--sieve" if products.sieve > 1 else None
    held = _HELD * scene.grid.height * scene.grid.width + resident()
    if option is not None and held > ram:
        fault = f"holds the map in memory, which takes {size_text(held)}, and --ram is {size_text(ram)}"
        raise OptionError(option, fault, "leave it out, or allow more with --ram")


def _workers(count: int) -> str:
    return "one tile" if count == 1 else f"{count} workers with tiles"
