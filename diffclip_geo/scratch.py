"""Arrays that a thread uses again for tile after tile: to get fresh memory takes as long as to fill it."""

from __future__ import annotations

import math
import threading

import numpy as np
from numpy.typing import DTypeLike, NDArray


class _Kept(threading.local):
    """The memory of each name, in bytes; it goes with its thread."""

    def __init__(self) -> None:
        self.of: dict[str, NDArray[np.uint8]] = {}


_kept = _Kept()


def scratch(name: str, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> NDArray:
    """An array with anything in it, which is the caller's until its thread asks for one of the same name again."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if name not in _kept.of or _kept.of[name].size < size:
        _kept.of.pop(name, None)  # first, so that both are never there
        _kept.of[name] = np.empty(size, np.uint8)
    return _kept.of[name][:size].view(dtype).reshape(shape)
