"""Who computes the tiles: threads of this process, or the workers of a dask.distributed cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager

import torch

from .errors import OptionError

CONNECT = 10  # seconds to wait for a cluster


@contextmanager
def open_executor(scheduler: str, workers: int, threads: int) -> Iterator[tuple[Executor, int]]:
    """An executor, and how many tiles it works on at a time.

    `scheduler` is "threads", which gives `workers` of them with `threads` each inside an operation, or the address of a
    dask scheduler, such as tcp://host:8786. Raises OptionError when no cluster answers there.
    """
    if scheduler == "threads":
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads,)) as executor:
            yield executor, workers
        return
    from distributed import Client  # takes a second to import

    try:
        client = Client(scheduler, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        fault = f"does not answer ({' '.join(str(error).split())[:80]})"
        raise OptionError(
            f"scheduler {scheduler}", fault, "use threads, or start `dask scheduler` and its workers"
        ) from error
    with client, client.get_executor(pure=False) as executor:
        yield executor, max(1, sum(client.nthreads().values()))
