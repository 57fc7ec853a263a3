"""Distil the fast engine from the classifier of a workspace."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from .. import __version__
from ..classifier import Classifier
from ..distillation import Lesson, Teacher, distil_student, share_in_doubt
from ..engines import EngineSpec
from ..errors import RasterError
from ..fast import Agreement, FastEngine
from ..margins import read_with_margin
from ..nearness import NearShots
from ..pixelwise import Exact
from ..sampling import sample_blocks
from ..scenes import Block, Scene, inside
from ..schedulers import cores
from ..student import Student
from ..tiles import tiles_of
from ..views import REACH, View
from ..workspace import Workspace
from .near import near_shots_of

SAMPLE = 20_000  # pixels that the teacher classifies: some 20 seconds on two CPU cores
PARTS = {"held out": 0.15, "validation": 0.15, "training": 0.7}  # shares of them
SIDE = 12  # of the cells in which they are drawn: small, so that they see much of the scene
VIEW_SAMPLE = 2**14  # pixels to learn views from, when the classifier has none
COMPONENTS = 20  # of such a view


class Cell(NamedTuple):
    """A small tile of a scene."""

    scene: int
    row: int
    column: int
    height: int
    width: int


@dataclass(frozen=True)
class Sample:
    """Cells at random places, dealt into parts that are told apart in space."""

    training: tuple[Cell, ...]
    validation: tuple[Cell, ...]
    held_out: tuple[Cell, ...]

    @classmethod
    def draw(cls, scenes: Sequence[Scene], seed: int, pixels: int = SAMPLE) -> Sample:
        """Cells with about so many valid pixels in all, of all scenes; at least one for each part.

        Raises RasterError when fewer than three cells hold data.
        """
        cells = [cell for number, scene in enumerate(scenes) for cell in _cells(scene, number)]
        chosen: list[Cell] = []
        sizes: list[int] = []
        for index in np.random.default_rng(seed).permutation(len(cells)):
            cell = cells[index]
            valid = int(scenes[cell.scene].read(*cell[1:]).valid.sum())
            if valid:
                chosen.append(cell)
                sizes.append(valid)
            if sum(sizes) >= pixels and len(chosen) >= len(PARTS):
                break
        if len(chosen) < len(PARTS):
            fault = f"has too few valid pixels to distil a student from ({sum(sizes)})"
            raise RasterError(scenes[0].hsi_path, fault, "use the exact engine")
        share = np.cumsum(sizes) / sum(sizes)
        first = max(1, int(np.searchsorted(share, PARTS["held out"])))
        second = max(first + 1, int(np.searchsorted(share, PARTS["held out"] + PARTS["validation"])))
        second = min(second, len(chosen) - 1)
        return cls(tuple(chosen[second:]), tuple(chosen[first:second]), tuple(chosen[:first]))


def distil(
    workspace: Workspace,
    scenes: Sequence[Scene],
    *,
    seed: int = 0,
    device: str = "cpu",
    workers: int | None = None,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> FastEngine:
    """Train a student of the classifier of `workspace` on `scenes`, measure it and write it to the workspace.

    The teacher, the exact engine on `device`, classifies pixels in cells drawn at random; `workers` of them at a time
    (the number of CPU cores by default). Some cells are held out to tell the share of pixels that both give the same
    class. Deterministic given the seed.

    Raises
    ------
    WorkspaceError
        The workspace lacks a classifier.
    RasterError
        The scenes cannot be read, or hold too few valid pixels.
    """
    started = time.perf_counter()
    engine = EngineSpec.exact(workspace, device).load()
    assert isinstance(engine, Exact)
    sample = Sample.draw(scenes, seed)
    bands, layers = len(scenes[0].band_indices), len(scenes[0].lidar_names)
    teacher = Teacher.of(engine.classifier, engine, _views(engine.classifier, scenes, seed), bands, layers)
    margin = max(engine.margin, REACH)
    cells = (*sample.training, *sample.validation, *sample.held_out)
    lesson = partial(_lesson, teacher, scenes, margin)
    workers = workers or cores()
    with (  # on one thread each, whatever their number: how sums are rounded depends on it
        ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        tqdm(total=len(cells), desc="distil", unit="cell", disable=not progress) as bar,
    ):
        lessons = []
        for one in pool.map(lesson, cells):
            lessons.append(one)
            bar.update()
    first, second = len(sample.training), len(sample.training) + len(sample.validation)
    training, validation = Lesson.join(lessons[:first]), Lesson.join(lessons[first:second])
    student = distil_student(teacher, training, validation, bands, layers, seed=seed)
    fast = FastEngine.of(engine.classes, Agreement(0.0, 0, 0.0), student.model().SerializeToString())
    near = [near_shots_of(workspace, scene) for scene in scenes]
    held_out = [(cell, _read(scenes, margin, cell), near[cell.scene]) for cell in sample.held_out]
    agreement = _agreement(replace(fast, cell=SIDE), student, held_out, margin, lessons[second:])
    fast = replace(fast, agreement=agreement)
    seconds = time.perf_counter() - started
    fast.save(
        workspace,
        {
            "version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "sample": {"training": len(training.target), "validation": len(validation.target)},
            "doubt": student.refinement.doubt if student.refinement else 0.0,
            "seed": seed,
            "seconds": round(seconds, 1),
        },
        scenes,
    )
    if say:
        say(
            f"Fast engine: distilled from {len(training.target):,} pixels in {seconds:.0f} s;"
            f" {agreement.same:.1%} of {agreement.pixels:,} held-out pixels have the class of the exact engine."
        )
    return fast


def _cells(scene: Scene, number: int) -> list[Cell]:
    return [Cell(number, *tile) for tile in tiles_of(scene.grid, SIDE)]


def _read(scenes: Sequence[Scene], margin: int, cell: Cell) -> Block:
    return read_with_margin(scenes[cell.scene], *cell[1:], margin)


def _lesson(teacher: Teacher, scenes: Sequence[Scene], margin: int, cell: Cell) -> Lesson:
    return teacher.lesson(_read(scenes, margin, cell), margin)


def _agreement(
    engine: FastEngine,
    student: Student,
    held_out: Sequence[tuple[Cell, Block, NearShots | None]],
    margin: int,
    lessons: Sequence[Lesson],
) -> Agreement:
    """How the engine compares with what the teacher says of the same cells, on maps that nearness weighs."""
    same = []
    for (cell, block, near), lesson in zip(held_out, lessons, strict=True):
        both = [engine.probabilities(block, margin), np.exp(lesson.target)]
        if near is not None:
            valid = inside(block.valid, margin)
            both = [near.weigh(one, valid, cell.row, cell.column) for one in both]
        same.append(both[0].argmax(1) == both[1].argmax(1))
    everything = np.concatenate(same)
    return Agreement(float(everything.mean()), len(everything), share_in_doubt(student, Lesson.join(lessons).features))


def _views(classifier: Classifier, scenes: Sequence[Scene], seed: int) -> tuple[View, ...]:
    """Those of the classifier or, for one without kernel heads, views learned as theirs would be."""
    if classifier.views:
        return classifier.views
    blocks = sample_blocks(scenes, REACH, budget=VIEW_SAMPLE, seed=seed)
    return tuple(View.fit(blocks, REACH, components=COMPONENTS, brightness_free=free) for free in (True, False))
