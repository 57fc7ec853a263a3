"""Tiles of a grid, and work on many of them in parallel with few in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple, Protocol, TypeVar, overload

from .grid import Grid

Result = TypeVar("Result")
_PATIENCE = 4  # losses in a row; a tile that kills its worker would go on killing


class Tile(NamedTuple):
    """A window of a grid, in pixels."""

    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class Tiles(Sequence[Tile]):
    """Tiles that cover a grid once, numbered row by row; those at the lower and right edge may be smaller."""

    height: int
    width: int
    side: int

    def __len__(self) -> int:
        """Number of tiles."""
        return -(-self.height // self.side) * self._columns

    @overload
    def __getitem__(self, number: int) -> Tile: ...
    @overload
    def __getitem__(self, number: slice) -> list[Tile]: ...
    def __getitem__(self, number: int | slice) -> Tile | list[Tile]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._at(number // self._columns * self.side, number % self._columns * self.side)

    def number_of(self, tile: Tile) -> int:
        """The number of a tile."""
        return tile.row // self.side * self._columns + tile.column // self.side

    def by_blocks(self, block: int) -> Iterator[Tile]:
        """All tiles, those that begin in one square block of `block` pixels after each other.

        In this order, a raster that is stored in such blocks has few of them in use at a time.
        """
        for rows in _starts(self.height, self.side, block):
            for columns in _starts(self.width, self.side, block):
                for row in rows:
                    for column in columns:
                        yield self._at(row, column)

    @property
    def _columns(self) -> int:
        return -(-self.width // self.side)

    def _at(self, row: int, column: int) -> Tile:
        return Tile(row, column, min(self.side, self.height - row), min(self.side, self.width - column))


def tiles_of(grid: Grid, side: int) -> list[Tile]:
    """Tiles that cover the grid once, row by row; those at the lower and right edge may be smaller."""
    return list(Tiles(grid.height, grid.width, side))


def _starts(length: int, side: int, block: int) -> Iterator[range]:
    """Where the tiles along an axis begin, block by block."""
    for first in range(0, length, block):
        yield range(-(-first // side) * side, min(first + block, length), side)


class Pool(Protocol):
    """Workers for tiles."""

    def submit(self, work: Callable[[Tile], Result], tile: Tile, /) -> Future[Result]:
        """Begin with a tile. Raises BrokenExecutor when a worker was lost."""
        ...

    def wanted(self) -> int:
        """How many tiles to have begun, now, for no worker to wait for the next one."""
        ...

    def renew(self) -> None:
        """Replace workers that were lost."""
        ...


def stream(tiles: Iterable[Tile], work: Callable[[Tile], Result], pool: Pool) -> Iterator[tuple[Tile, Result]]:
    """Yield each tile with the result of `work` on it, in the order in which they finish.

    No more tiles than the pool wants are begun and not yet yielded, so memory does not grow with the raster. Tiles that
    go down with a worker are begun again. An exception of `work` is raised here, and so is BrokenExecutor when workers
    are lost `_PATIENCE` times without finishing a tile; tiles not begun are then given up.
    """
    waiting, losses = iter(tiles), 0
    pending: dict[Future[Result], Tile] = {}
    try:
        while True:
            lost: list[Tile] = []
            for tile in islice(waiting, max(0, pool.wanted() - len(pending))):
                try:
                    pending[pool.submit(work, tile)] = tile
                except BrokenExecutor:
                    lost.append(tile)
            if not pending and not lost:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            if lost or any(map(_broken, done)):
                done, _ = wait(pending)  # the others go down with it
            for future in sorted(done, key=_failed):  # what succeeded is not lost over what failed
                if _broken(future):
                    lost.append(pending.pop(future))
                    continue
                losses = 0
                yield pending.pop(future), future.result()
            if lost:
                losses += 1
                if losses >= _PATIENCE:
                    raise BrokenExecutor(f"{losses} times in a row")
                pool.renew()
                waiting = chain(lost, waiting)
    finally:
        for future in pending:
            future.cancel()


def _failed(future: Future[Result]) -> bool:
    return future.cancelled() or future.exception() is not None


def _broken(future: Future[Result]) -> bool:
    return isinstance(future.exception(), BrokenExecutor)
