"""Mapping scenes: choose the engine, compute what is missing, write the files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..atomic import check_outputs
from ..classes import ClassTable
from ..engines import EngineSpec
from ..errors import OptionError
from ..journal import Journal, journal_path
from ..maps import confidence_path, probabilities_path
from ..quicklook import quicklook_path
from ..scenes import Scene
from ..schedulers import LOCAL, open_pool
from ..setmaps import sets_path
from ..tiles import stream
from ..tilework import Layers, TileWork
from ..workspace import Workspace
from .assemble import Job, assemble, map_files
from .choose import choose_engine
from .near import near_shots_of
from .options import Options
from .plan import Plan, make_plan


@dataclass(frozen=True)
class Classification:
    """What `classify` wrote."""

    label_map: Path
    confidence_map: Path
    quicklook: Path
    others: tuple[Path, ...]  # probabilities, class sets and polygons, as far as they were asked for
    classes: ClassTable
    counts: tuple[int, ...]  # pixels of each class
    pixels: int  # classified in all
    seconds: float


@dataclass(frozen=True)
class Run:
    """How a run treats what is there, and what it tells."""

    resume: bool = False
    overwrite: bool = False
    progress: bool = False
    say: Callable[[str], None] | None = None

    def tell(self, line: str) -> None:
        """Say something, if anyone listens."""
        if self.say:
            self.say(line)


def map_scenes(
    targets: Sequence[tuple[Scene, Path]], place: Workspace, options: Options, run: Run
) -> list[Classification]:
    """Map each scene to its path, all with one engine; see `classify`."""
    missing = [(scene, path) for scene, path in targets if not _is_there(scene, path, len(targets), options, run)]
    if not missing:
        return []
    spec = choose_engine(place, [scene for scene, _ in targets], options, run.progress, run.tell)
    done = []
    for number, (scene, path) in enumerate(missing, start=1):
        if len(missing) > 1:
            run.tell(f"{number} of {len(missing)}: {scene.hsi_path.name} → {path}")
        done.append(_map(scene, path, place, spec, options, run))
    return done


def _is_there(scene: Scene, path: Path, scenes: int, options: Options, run: Run) -> bool:
    """Whether a resumed run of several scenes has made this map already. Raises OutputError when it cannot be made."""
    files = map_files(path, options.products)
    check_outputs(files, True, scene.files)
    if scenes > 1 and run.resume and not run.overwrite and path.exists() and not journal_path(path).exists():
        run.tell(f"{scene.hsi_path.name} → {path}, there already")
        return True
    check_outputs(files, run.overwrite or (run.resume and _was_placing(path)), scene.files)
    return False


def _was_placing(path: Path) -> bool:
    """Whether an interrupted run was about to give files their names: those that exist are its own."""
    if not journal_path(path).exists():
        return False
    with Journal(path) as journal:
        return journal.placing


def _map(scene: Scene, path: Path, place: Workspace, spec: EngineSpec, options: Options, run: Run) -> Classification:
    """Map one scene."""
    started = time.perf_counter()
    products, effort, engine = options.products, options.effort, spec.load()
    products.classes(engine.classes)
    for note in scene.notes:
        run.tell(note)
    threshold = None if options.sets is None else _threshold(place, options.sets, run.tell)
    layers = Layers(options.confidence, options.proba, threshold)
    job = Job(path, scene, place, spec, near_shots_of(place, scene), layers, products, engine.classes)
    with Journal(path) as journal:
        overwrite = run.overwrite or (run.resume and journal.placing)
        if run.resume and journal.facts is not None and options.tile is None:
            effort = replace(effort, tile=journal.facts.get("tile"))
        plan = make_plan(engine, scene, products, effort, spec.device)
        journal.begin(job.tile_facts(plan.tiles.side), len(plan.tiles), resume=run.resume)
        try:
            _compute(job, plan, journal, options.scheduler, run.progress)
            done = assemble(job, journal, plan.tiles, started, overwrite=overwrite, progress=run.progress)
        except BaseException:
            _tell_what_is_left(journal, len(plan.tiles), run)
            raise
    others = [probabilities_path(path)] if products.proba else []
    others += [] if products.sets is None else [sets_path(path)]
    others += [] if products.polygons is None else [products.polygons]
    return Classification(
        path,
        confidence_path(path),
        quicklook_path(path),
        tuple(others),
        engine.classes,
        done.counts,
        sum(done.counts),
        done.seconds,
    )


def _compute(job: Job, plan: Plan, journal: Journal, scheduler: str, progress: bool) -> None:
    """Bring the tiles that are missing into the journal."""
    tiles, done = plan.tiles, journal.done
    scene = job.scene if scheduler in LOCAL else Scene.from_dict(job.scene.to_dict())  # with absolute paths
    left = (tile for tile in plan.order() if not done[tiles.number_of(tile)])
    pixels = tiles.height * tiles.width
    finished = sum(tiles[number].height * tiles[number].width for number in np.flatnonzero(done).tolist())
    with (
        open_pool(scheduler, plan.crew) as pool,
        tqdm(desc="classify", total=pixels, initial=finished, unit="px", unit_scale=True, disable=not progress) as bar,
    ):
        work = TileWork(scene, job.engine, job.layers, job.near_shots)
        for tile, found in stream(left, work, pool):
            journal.add(tiles.number_of(tile), [] if found is None else found.arrays)
            bar.update(tile.height * tile.width)


def _tell_what_is_left(journal: Journal, tiles: int, run: Run) -> None:
    finished = int(journal.done.sum())
    if finished:
        kept = f"{finished:,} of {tiles:,} tiles are finished and kept"
        run.tell(f"{kept}: the same command with --resume goes on from them.")


def _threshold(place: Workspace, coverage: float, say: Callable[[str], None]) -> float:
    """The least probability of a class in a set. Raises OptionError."""
    from ..classifier import load_classifier  # and torch, which takes seconds

    shots = load_classifier(place).held_out
    if shots is None:
        fault = "needs shots that were held out, and this classifier, of the language model alone, has none"
        raise OptionError("--sets", fault, "pretrain with a preset that has kernel heads, such as compact")
    threshold = shots.threshold(coverage)
    told = f"Class sets of coverage {coverage:g} from {shots.size} labelled points or polygons that were held out"
    if shots.size < shots.fewest(coverage):
        say(f"{told}: too few, every set holds all classes. It takes at least {shots.fewest(coverage)}.")
    else:
        say(f"{told}: classes with a probability of at least {threshold:.3f}.")
    return threshold
