import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from diffclip_geo.grid import Grid
from diffclip_geo.tiles import Tile, stream, tiles_of


@given(height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(1, 50))
def test_tiles_cover_every_pixel_once(height, width, side):
    count = np.zeros((height, width), int)
    for tile in tiles_of(Grid(height, width, Affine.identity(), None), side):
        assert 0 < tile.height <= side and 0 < tile.width <= side
        assert tile.row + tile.height <= height and tile.column + tile.width <= width
        count[tile.row : tile.row + tile.height, tile.column : tile.column + tile.width] += 1
    assert (count == 1).all()


TILES = [Tile(row, 0, 1, 1) for row in range(20)]


@pytest.mark.parametrize("in_flight", [1, 3, 50])
def test_every_tile_comes_back_with_its_own_result(in_flight):
    with ThreadPoolExecutor(3) as executor:
        found = dict(stream(TILES, lambda tile: tile.row**2, executor, in_flight))
    assert found == {tile: tile.row**2 for tile in TILES}


def test_no_more_than_the_bound_are_begun_and_not_yet_yielded():
    begun, lock, most = 0, threading.Lock(), 0

    def work(tile):
        nonlocal begun
        with lock:
            begun += 1
        return tile

    with ThreadPoolExecutor(8) as executor:
        for number, _ in enumerate(stream(TILES, work, executor, in_flight=4)):
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
        results = stream(endless(), lambda tile: tile, executor, in_flight=3)
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
        for tile, _ in stream(TILES[:6], work, executor, in_flight=3):
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
        list(stream(TILES, work, executor, in_flight=2))
    assert len(done) < 8
