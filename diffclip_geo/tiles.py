"""Tiles of a grid, and work on many of them in parallel with few in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from itertools import islice
from typing import NamedTuple, TypeVar

from .grid import Grid

Result = TypeVar("Result")


class Tile(NamedTuple):
    """A window of a grid, in pixels."""

    row: int
    column: int
    height: int
    width: int


def tiles_of(grid: Grid, side: int) -> list[Tile]:
    """Tiles that cover the grid once, row by row; those at the lower and right edge may be smaller."""
    return [
        Tile(row, column, min(side, grid.height - row), min(side, grid.width - column))
        for row in range(0, grid.height, side)
        for column in range(0, grid.width, side)
    ]


def stream(
    tiles: Iterable[Tile], work: Callable[[Tile], Result], executor: Executor, in_flight: int
) -> Iterator[tuple[Tile, Result]]:
    """Yield each tile with the result of `work` on it, in the order in which they finish.

    At most `in_flight` tiles are begun and not yet yielded, so memory does not grow with the raster. An exception of
    `work` is raised here; tiles not begun are then given up.
    """
    waiting = iter(tiles)
    pending: dict[Future[Result], Tile] = {}
    try:
        while True:
            for tile in islice(waiting, in_flight - len(pending)):
                pending[executor.submit(work, tile)] = tile
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future.result()
    finally:
        for future in pending:
            future.cancel()
