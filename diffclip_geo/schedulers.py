"""Who computes the tiles: threads of this process, processes of this machine, or the workers of a dask cluster."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process

import rasterio

from .errors import WorkerError
from .memory import bound_block_cache, keep_freed
from .tiles import Pool, Result, Tile

LOCAL = ("threads", "processes")
REMEDY = "they may lack memory: give a smaller --ram or fewer --workers, then go on with --resume"
_settings: list[rasterio.Env] = []  # of GDAL, in this process, for good


@dataclass(frozen=True)
class Crew:
    """How each process works on tiles."""

    workers: int  # tiles at a time
    threads: int  # within an operation on one tile
    cache: int  # bytes of GDAL's block cache


def cores() -> int:
    """CPU cores that the process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Threads that share an operation of torch; one where it has not been imported."""
    return sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 1


@contextmanager
def open_pool(scheduler: str, crew: Crew) -> Iterator[Pool]:
    """Workers for tiles.

    `scheduler` is "threads" or "processes", of which there are as many as the crew has workers, or the address of a
    dask scheduler, such as tcp://host:8786, whose workers may come and go.

    Raises
    ------
    OptionError
        No cluster answers there.
    WorkerError
        Workers were lost, and those that replaced them, too.
    """
    with bound_block_cache(crew.cache):
        if scheduler == "threads":
            with ThreadPoolExecutor(crew.workers, initializer=set_threads, initargs=(crew.threads,)) as pool:
                yield _Threads(pool, crew)
        elif scheduler == "processes":
            with _processes(crew) as processes:
                yield processes
        else:
            from .clusters import open_cluster  # which takes a second to import

            with open_cluster(scheduler, crew) as cluster:
                yield cluster


def run(crew: Crew, work: Callable[[Tile], Result], tile: Tile) -> Result:
    """`work` on a tile in another process, which takes its place in the crew with its first tile."""
    set_threads(crew.threads)
    if not _settings:
        _settings.append(rasterio.Env(GDAL_CACHEMAX=crew.cache))
        _settings[0].__enter__()
        keep_freed()
    return work(tile)


def set_threads(count: int) -> None:
    """How many threads share an operation of torch; whatever computes with torch has imported it."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)


@dataclass
class _Threads:
    executor: Executor
    crew: Crew

    def submit(self, work: Callable[[Tile], Result], tile: Tile, /) -> Future[Result]:
        return self.executor.submit(work, tile)

    def wanted(self) -> int:
        return self.crew.workers + 1

    def renew(self) -> None:
        """Threads are not lost."""


@contextmanager
def _processes(crew: Crew) -> Iterator[Pool]:
    pool = _Processes(crew)
    try:
        yield pool
    except BrokenExecutor as error:
        raise WorkerError("--scheduler processes", f"lost its processes {error}", REMEDY) from error
    finally:
        pool.executor.shutdown(cancel_futures=True)


class _Processes:
    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self.executor = self._start()

    def submit(self, work: Callable[[Tile], Result], tile: Tile, /) -> Future[Result]:
        return self.executor.submit(run, self.crew, work, tile)

    def wanted(self) -> int:
        return self.crew.workers + 1

    def renew(self) -> None:
        self.executor.shutdown(cancel_futures=True)
        self.executor = self._start()

    def _start(self) -> Executor:
        return ProcessPoolExecutor(self.crew.workers, get_context("spawn"), initializer=_depend)


def _depend() -> None:
    """Leave Ctrl-C, which goes to all processes, to the first one, and end when it does, in whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
