import threading
import time
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from diffclip_geo.grid import Grid
from diffclip_geo.tiles import Tile, Tiles, stream, tiles_of


@given(height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(1, 50))
def test_tiles_cover_every_pixel_once(height, width, side):
    count = np.zeros((height, width), int)
    for tile in tiles_of(Grid(height, width, Affine.identity(), None), side):
        assert 0 < tile.height <= side and 0 < tile.width <= side
        assert tile.row + tile.height <= height and tile.column + tile.width <= width
        count[tile.row : tile.row + tile.height, tile.column : tile.column + tile.width] += 1
    assert (count == 1).all()


@given(
    height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(1, 50), block=st.sampled_from([1, 7, 16, 100])
)
def test_by_blocks_every_tile_comes_once_and_blocks_come_one_after_the_other(height, width, side, block):
    tiles = Tiles(height, width, side)
    found = list(tiles.by_blocks(block))
    assert sorted(map(tiles.number_of, found)) == list(range(len(tiles)))
    assert all(tiles[tiles.number_of(tile)] == tile for tile in found)
    blocks = [(tile.row // block, tile.column // block) for tile in found]
    assert len(set(blocks)) == 1 + sum(one != next_one for one, next_one in pairwise(blocks))


class Pool:
    """An executor that is wanted to have so many tiles at a time."""

    def __init__(self, executor, wanted):
        self.executor, self.count = executor, wanted

    def submit(self, work, tile):
        return self.executor.submit(work, tile)

    def wanted(self):
        return self.count

    def renew(self):
        raise AssertionError("nothing was lost")


TILES = [Tile(row, 0, 1, 1) for row in range(20)]


@pytest.mark.parametrize("in_flight", [1, 3, 50])
def test_every_tile_comes_back_with_its_own_result(in_flight):
    with ThreadPoolExecutor(3) as executor:
        found = dict(stream(TILES, lambda tile: tile.row**2, Pool(executor, in_flight)))
    assert found == {tile: tile.row**2 for tile in TILES}


def test_no_more_than_the_bound_are_begun_and_not_yet_yielded():
    begun, lock, most = 0, threading.Lock(), 0

    def work(tile):
        nonlocal begun
        with lock:
            begun += 1
        return tile

    with ThreadPoolExecutor(8) as executor:
        for number, _ in enumerate(stream(TILES, work, Pool(executor, 4))):
            time.sleep(0.002)  # a slow writer
            most = max(most, begun - number)
    assert begun == 20 and 2 <= most <= 4


def test_tiles_are_taken_from_their_iterator_as_they_are_needed():
    taken = []

    def endless():
        for row in range(10**9):
            taken.append(row)
            yield Tile(row, 0, 1, 1)

    with ThreadPoolExecutor(2) as executor:
        results = stream(endless(), lambda tile: tile, Pool(executor, 3))
        for _ in range(5):
            next(results)
        results.close()
    assert len(taken) <= 8


def test_a_slow_tile_does_not_hold_up_the_others():
    others_done = threading.Event()

    def work(tile):
        if tile.row == 0:
            assert others_done.wait(10)
        return tile

    with ThreadPoolExecutor(2) as executor:
        order = []
        for tile, _ in stream(TILES[:6], work, Pool(executor, 3)):
            order.append(tile.row)
            if len(order) == 5:
                others_done.set()
    assert order[-1] == 0 and sorted(order) == list(range(6))


def test_an_exception_is_raised_to_the_caller_and_ends_the_work():
    done = []

    def work(tile):
        if tile.row == 3:
            raise RuntimeError("tile 3 is broken")
        done.append(tile.row)
        return tile

    with ThreadPoolExecutor(1) as executor, pytest.raises(RuntimeError, match="tile 3 is broken"):
        list(stream(TILES, work, Pool(executor, 2)))
    assert len(done) < 8


class FragilePool:
    """Breaks, with all it has begun, at each of these submissions."""

    def __init__(self, breaks):
        self.breaks, self.submitted, self.begun, self.broken, self.renewed = breaks, 0, [], False, 0

    def submit(self, work, tile):
        if self.broken:
            raise BrokenExecutor
        self.submitted += 1
        self.begun.append((future := Future(), work, tile))
        if self.submitted in self.breaks:
            self.broken = True
            for lost, *_ in self.begun:
                lost.set_exception(BrokenExecutor())
            self.begun = []
        elif len(self.begun) == 3:
            self.begun[0][0].set_result(work(self.begun.pop(0)[2]))
        return future

    def wanted(self):
        for future, work, tile in self.begun:
            future.set_result(work(tile))
        self.begun = []
        return 4

    def renew(self):
        self.broken, self.renewed = False, self.renewed + 1


@pytest.mark.parametrize("breaks", [{1}, {4, 5}, {7, 8, 9}, {2, 11, 20}])
def test_tiles_that_go_down_with_a_worker_are_begun_again(breaks):
    pool = FragilePool(breaks)
    found = [tile for tile, _ in stream(TILES, lambda tile: tile, pool)]
    assert sorted(found) == TILES and pool.renewed == len(breaks)


def test_workers_that_are_lost_again_and_again_are_given_up():
    pool = FragilePool(set(range(5, 100)))
    with pytest.raises(BrokenExecutor, match="times in a row"):
        list(stream(TILES, lambda tile: tile, pool))
    assert pool.submitted < 30
