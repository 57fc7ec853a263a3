"""The workers of a dask.distributed cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future
from contextlib import contextmanager
from dataclasses import replace

from distributed import Client, KilledWorker

from .errors import OptionError, WorkerError
from .schedulers import REMEDY, Crew, run
from .tiles import Pool, Result, Tile

CONNECT = 10  # seconds to wait for a cluster
_RECOUNT = 2.0  # seconds after which workers are counted again


@contextmanager
def open_cluster(address: str, crew: Crew) -> Iterator[Pool]:
    """The workers that a dask scheduler has and will have. Tiles of a lost one are computed by another.

    Raises
    ------
    OptionError
        No scheduler answers at `address`.
    WorkerError
        The scheduler was lost, or a tile went down with several workers.
    """
    try:
        client = Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        fault = f"does not answer ({' '.join(str(error).split())[:80]})"
        raise OptionError(
            f"scheduler {address}", fault, "use threads, or start `dask scheduler` and its workers"
        ) from error
    with client, client.get_executor(pure=False) as executor:
        try:
            yield _Cluster(client, executor, crew)
        except KilledWorker as error:
            raise WorkerError(f"scheduler {address}", "lost several workers over one tile", REMEDY) from error
        except CancelledError as error:
            raise WorkerError(
                f"scheduler {address}", "does not answer any more", "start it again and go on with --resume"
            ) from error


class _Cluster:
    def __init__(self, client: Client, executor: Executor, crew: Crew) -> None:
        self.client, self.executor = client, executor
        self.crew = replace(crew, threads=1)  # a worker has a task for each of its threads
        self._counted, self._threads = -_RECOUNT, 0

    def submit(self, work: Callable[[Tile], Result], tile: Tile, /) -> Future[Result]:
        return self.executor.submit(run, self.crew, work, tile)

    def wanted(self) -> int:
        if time.monotonic() - self._counted >= _RECOUNT:
            self._counted, self._threads = time.monotonic(), sum(self.client.nthreads().values())
        return max(2, 2 * self._threads)

    def renew(self) -> None:
        """Dask replaces its workers itself."""
