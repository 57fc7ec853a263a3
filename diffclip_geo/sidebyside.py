"""Training steps on the parts of a batch, side by side.

A training step of a small network is a chain of small operations: shared out among threads one by one, they spend more
time waiting for each other than computing. Here each thread takes a part of the batch through the whole chain instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor

from .schedulers import cores

PART = 16  # windows: few enough for the caches of a core, enough to hide what surrounds each operation

Result = TypeVar("Result")
Gradients = tuple[Tensor | None, ...]  # one for each parameter; None where nothing depends on it


class SideBySide:
    """Maps functions over parts: on a CPU by as many threads as it has cores, on a GPU one part after another.

    How a batch is cut does not depend on the number of cores, and sums are taken in order: nor do results.
    """

    def __init__(self, device: torch.device, pool: ThreadPoolExecutor | None) -> None:
        self.device, self.pool = device, pool

    def slices(self, batch: int) -> list[slice]:
        """Parts of a batch of this size; on a GPU all of it."""
        size = batch if self.pool is None else PART
        return [slice(start, min(start + size, batch)) for start in range(0, batch, size)]

    def map(self, function: Callable[..., Result], *arguments: Iterable[object]) -> list[Result]:
        """`function` of each set of arguments, in order."""
        return list(map(function, *arguments) if self.pool is None else self.pool.map(function, *arguments))


@contextmanager
def side_by_side(device: torch.device | str) -> Iterator[SideBySide]:
    """Threads for as long as a training lasts; each operation then stays on the thread that called it."""
    device = torch.device(device)
    if device.type != "cpu":
        yield SideBySide(device, None)
        return
    with one_thread(), ThreadPoolExecutor(cores(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield SideBySide(device, pool)


@contextmanager
def one_thread() -> Iterator[None]:
    """Each operation of torch stays on the thread that called it; how sums are rounded depends on their number."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def gradients(outputs: Tensor, parameters: Sequence[Tensor], given: Tensor | None = None) -> Gradients:
    """Of `outputs` by each of the parameters, or of a loss whose gradient by the outputs is `given`."""
    return torch.autograd.grad(outputs, parameters, given, allow_unused=True)


def add_up(parameters: Sequence[Tensor], parts: Sequence[Gradients]) -> None:
    """Give the parameters the sums over the parts, in their order, as gradients."""
    for parameter, mine in zip(parameters, zip(*parts, strict=True), strict=True):
        known = [gradient for gradient in mine if gradient is not None]
        parameter.grad = reduce(torch.add, known) if known else None
