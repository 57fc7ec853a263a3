from concurrent.futures import ThreadPoolExecutor

import numpy as np

from diffclip_geo.scratch import scratch


def test_an_array_is_used_again_in_any_shape_and_type():
    first = scratch("here", (3, 4), np.float64)
    first[:] = 7
    assert first.shape == (3, 4) and first.dtype == np.float64
    smaller = scratch("here", (2, 5), np.int16)
    assert smaller.shape == (2, 5) and smaller.dtype == np.int16 and np.shares_memory(first, smaller)
    assert scratch("here", (100, 100)).shape == (100, 100)
    assert not scratch("here", (0, 5)).size


def test_names_and_threads_have_arrays_of_their_own():
    mine = scratch("mine", (5,))
    assert not np.shares_memory(mine, scratch("other", (5,)))
    with ThreadPoolExecutor(1) as pool:
        assert not np.shares_memory(mine, pool.submit(scratch, "mine", (5,)).result())
