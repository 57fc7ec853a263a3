"""Which engine maps scenes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..devices import device_name
from ..engines import EngineSpec
from ..errors import DiffClipGeoError, OptionError
from ..rasters import all_windows
from ..scenes import Scene
from ..schedulers import LOCAL
from ..workspace import Workspace
from .options import Options

if TYPE_CHECKING:
    from ..fast import FastEngine

FEW = 100_000  # pixels that the exact engine maps sooner than a student is distilled
_WINDOW = 256  # pixels a side in which they are counted


def choose_engine(
    place: Workspace, scenes: Sequence[Scene], options: Options, progress: bool, say: Callable[[str], None]
) -> EngineSpec:
    """The engine that the options ask for, which is ready to be loaded.

    Raises
    ------
    WorkspaceError
        The workspace lacks a classifier.
    OptionError
        The fast engine is asked for, and agrees too little with the exact one, or cannot be had.
    """
    exact = EngineSpec.exact(place, device_name(options.device), options.runtime)
    on_gpu = exact.device.startswith("cuda")
    if options.engine == "exact" or (options.engine == "auto" and (on_gpu or _are_few(scenes))):
        exact.load()
        return exact
    try:
        engine = find_student(place, scenes)
        if engine is None:
            from .distil import distil

            say("Distilling the fast engine from the exact one …")
            workers = options.workers if options.scheduler in LOCAL else None
            engine = distil(place, scenes, device=exact.device, workers=workers, progress=progress, say=say)
        check_agreement(engine, options.accept_agreement)
        return EngineSpec.fast(place)
    except DiffClipGeoError as error:
        if options.engine == "fast":
            raise
        exact.load()  # where it is no better, that is what there is to tell
        say(f"Exact engine, since the fast one {error.fault}.")
        return exact


def find_student(place: Workspace, scenes: Sequence[Scene]) -> FastEngine | None:
    """The fast engine, when the workspace has one of its classifier for these scenes. Raises OptionError."""
    try:
        from ..fast import FastEngine
    except ImportError as error:
        fault = f"needs the package {error.name}, which is not installed"
        raise OptionError("--engine fast", fault, f"pip install {error.name}, or use --engine exact") from error
    return FastEngine.load(place, scenes)


def check_agreement(engine: FastEngine, accept: float | None) -> None:
    """Raise OptionError when fewer pixels than `accept`, by default 95 %, have the class of the exact engine."""
    from ..fast import LEAST_AGREEMENT

    least = LEAST_AGREEMENT if accept is None else accept
    same, pixels = engine.agreement.same, engine.agreement.pixels
    if same < least:
        fault = f"gives only {same:.1%} of {pixels:,} held-out pixels the class of the exact one"
        remedy = f"use --engine exact, or accept that with --accept-agreement {math.floor(100 * same) / 100}"
        raise OptionError("--engine fast", fault, remedy)


def _are_few(scenes: Sequence[Scene]) -> bool:
    """Whether the scenes have fewer than `FEW` pixels that may be valid; counting ends when that is settled."""
    if sum(scene.grid.height * scene.grid.width for scene in scenes) < FEW:
        return True
    count = 0
    for scene in scenes:
        for window in all_windows(*scene.grid.shape, side=_WINDOW):
            count += int(scene.may_be_valid(window.row_off, window.col_off, window.height, window.width).sum())
            if count >= FEW:
                return False
    return True
