"""`classify --dry-run`: what a map would take, from one tile that is computed and timed. Nothing is written."""

from __future__ import annotations

import shutil
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..devices import device_name
from ..engines import EngineSpec
from ..errors import OptionError, RasterError
from ..memory import MB, bound_block_cache, size_text
from ..scenes import Paths, Scene
from ..schedulers import set_threads
from ..tiles import Tiles
from ..tilework import Layers, TileResult, TileWork
from ..workspace import Workspace
from .choose import find_student
from .near import near_shots_of
from .options import Options
from .plan import Plan, make_plan
from .targets import scenes_to_map

_LOOKED_AT = 256  # tiles whose valid pixels are counted
_WARMING = 8  # pixels a side of what is computed before the clock starts
_OVERVIEWS = 4 / 3  # of a raster with all its overviews to one without


@dataclass(frozen=True)
class Forecast:
    """What one engine would take for one scene."""

    engine: str
    pixels: int  # valid ones, about
    plan: Plan
    tile_seconds: float  # of the tile that was timed
    tile_pixels: int  # its valid pixels
    output: int  # bytes of the rasters, about
    scratch: int  # bytes that are taken beside them while they are made, about

    @property
    def seconds(self) -> float:
        """Time for the whole scene, when all workers are as fast as the one that was timed."""
        return self.pixels / self.tile_pixels * self.tile_seconds / self.plan.crew.workers


@bound_block_cache(64 * MB)
def forecast_scenes(
    out: str | PathLike[str],
    *,
    scene: Paths | None = None,
    lidar: Paths = (),
    workspace: str | PathLike[str] = "diffclip-work",
    mask: str | Path | None = None,
    allow_partial: bool = False,
    say: Callable[[str], None] | None = None,
    **options: Any,
) -> list[Forecast]:
    """What `classify_scenes` would take with these arguments, by each engine that could be used; told by `say`.

    Raises what `classify` would for them, but for outputs, at which it does not look.
    """
    say = say or (lambda _: None)
    given, place, target = Options(**options), Workspace(Path(workspace)), Path(out)
    given.check(target)
    scenes = scenes_to_map(place, scene, lidar, mask, allow_partial)
    specs = [EngineSpec.exact(place, device_name(given.device), given.runtime)]
    specs[0].load()
    has_student = False
    with suppress(OptionError):  # what it needs is not installed
        has_student = find_student(place, scenes) is not None
    specs += [EngineSpec.fast(place)] if has_student else []
    forecasts = []
    for one in scenes:
        found = [_forecast(one, spec, given) for spec in specs]
        _report(one, found, target.parent if len(scenes) == 1 else target, say)
        forecasts += found
    if not has_student:
        say("The fast engine has no student for this yet: --engine fast distils it first, in a minute or two.")
    say("Nothing was written.")
    return forecasts


def _forecast(scene: Scene, spec: EngineSpec, given: Options) -> Forecast:
    plan = make_plan(spec.load(), scene, given.products, given.effort, spec.device)
    layers = Layers(given.confidence, given.proba, None if given.sets is None else 0.0)
    work = TileWork(scene, spec, layers, near_shots_of(spec.workspace, scene))
    set_threads(plan.crew.threads)
    tiles = plan.tiles
    looked_at = [tiles[number] for number in np.linspace(0, len(tiles) - 1, min(len(tiles), _LOOKED_AT)).astype(int)]
    counts = [int(scene.may_be_valid(*tile).sum()) for tile in looked_at]
    pixels = round(sum(counts) / sum(tile.height * tile.width for tile in looked_at) * tiles.height * tiles.width)
    for number in np.argsort(counts)[::-1]:
        tile = looked_at[number]
        work(tile._replace(height=min(tile.height, _WARMING), width=min(tile.width, _WARMING)))
        started = time.perf_counter()
        result = work(tile)
        if result is not None:
            timed = _Timed(time.perf_counter() - started, result)
            return Forecast(spec.name, pixels, plan, timed.seconds, timed.pixels, *timed.bytes(pixels, tiles))
    raise RasterError(scene.hsi_path, "has no valid pixel in any place that was looked at", "run without --dry-run")


@dataclass(frozen=True)
class _Timed:
    """A tile that was computed."""

    seconds: float
    result: TileResult

    @property
    def pixels(self) -> int:
        return int((self.result.label > 0).sum())

    def bytes(self, pixels: int, tiles: Tiles) -> tuple[int, int]:
        """Of the rasters for so many valid pixels, and of what is written beside them while they are made."""
        arrays = self.result.arrays
        packed = sum(len(zlib.compress(one.tobytes())) for one in arrays) * pixels / self.pixels
        plain = sum(one.nbytes for one in arrays) / self.result.label.size * tiles.height * tiles.width
        return int(packed * _OVERVIEWS), int(packed + plain)


def _report(scene: Scene, forecasts: Sequence[Forecast], folder: Path, say: Callable[[str], None]) -> None:
    first = forecasts[0]
    size = f"{scene.grid.height:,} × {scene.grid.width:,} pixels"
    say(f"{scene.hsi_path.name}: {size}, about {first.pixels:,} of them to map.")
    for one in forecasts:
        tiles, crew = one.plan.tiles, one.plan.crew
        say(
            f"  {one.engine:<6} about {_duration(one.seconds)}: {len(tiles):,} tiles of {tiles.side} × {tiles.side}"
            f" pixels, {crew.workers} at a time, {size_text(one.plan.memory)} of memory"
            f" (a tile of {one.tile_pixels:,} pixels took {one.tile_seconds:.2g} s)"
        )
    free = shutil.disk_usage(folder).free
    say(
        f"  files  about {size_text(first.output)}, and {size_text(first.scratch)} more while they are made;"
        f" {size_text(free)} are free in {folder.resolve()}"
    )


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}" if seconds < 10 * length else f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"
