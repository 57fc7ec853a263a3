"""`benchmark`: compare methods on scenes with known classes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from ..atomic import check_outputs
from ..errors import OptionError
from .cases import Case
from .clip_tower import ClipFile, PreparedClip
from .methods import choose_methods
from .protocol import Method
from .records import Cell, Records, run_facts
from .scores import score
from .splits import SPLITS, few_shot_split
from .tables import Published, Results, read_published, write_tables

SHOTS = (2, 8, 20)


def benchmark(
    cases: Sequence[Case],
    out: str | PathLike[str],
    *,
    methods: Sequence[str] = ("ours", "peers"),
    shots: Sequence[int] = SHOTS,
    seeds: int = 5,
    splits: Sequence[str] = tuple(SPLITS),
    published: str | PathLike[str] | None = None,
    clip_weights: str | PathLike[str] | None = None,
    clip_model: str | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> Results:
    """Train and test each method on each scene, split, number of shots per class and seed, and write the table.

    `out` is the stem of the results: ``out.jsonl`` holds a line per measured cell, ``out.txt``, ``out.csv`` and
    ``out.html`` the table, ``out_classes.csv`` the recall of each class and ``out_significance.csv`` the comparisons.
    Cells that ``out.jsonl`` holds already are not measured again, so that a killed benchmark goes on; with
    `overwrite` it starts afresh. Encoders are pretrained once per scene, without labels, and kept in ``out.cache``.

    Parameters
    ----------
    methods
        Names or groups, see `methods.METHODS` and `methods.GROUPS`.
    seeds
        The seeds are 0 … seeds − 1; each draws its own shots, the same for all methods.
    published
        CSV table of figures to show beside those measured, see `tables.read_published`.
    clip_weights, clip_model
        CLIP model for the methods of the group "clip", see `clip_tower.ClipFile.open`.

    Raises
    ------
    OptionError
        A method, split, number or CLIP model is not usable, or scikit-learn is missing.
    OutputError
        The results cannot be written.
    """
    stem = Path(out)
    clip = None if clip_weights is None else ClipFile.open(Path(clip_weights), clip_model)
    chosen = choose_methods(methods, device, clip)
    _check(cases, shots, seeds, splits)
    quoted = [] if published is None else read_published(Path(published))
    files = table_files(stem)
    check_outputs(files, overwrite=True)
    records = Records(files[0])
    if overwrite:
        records.path.unlink(missing_ok=True)
    _, done = records.read()
    wanted = [
        (case, method, [cell for cell in _cells(case, method, shots, seeds, splits) if cell not in done])
        for case in cases
        for method in chosen
    ]
    if any(cells for *_, cells in wanted):
        records.add({"run": run_facts(["diffclip-geo", *sys.argv[1:]], device)})
    for case, method, cells in wanted:
        if cells:
            _measure(case, method, cells, records, stem.with_suffix(".cache"), say)
    return tabulate(stem, quoted)


def tabulate(out: str | PathLike[str], published: Sequence[Published] = ()) -> Results:
    """Write the tables of all cells measured so far."""
    stem = Path(out)
    files = table_files(stem)
    results = Results.of(*Records(files[0]).read(), published)
    write_tables(results, files[1:])
    return results


def table_files(stem: Path) -> list[Path]:
    """The files of a benchmark: measured cells, text, table, page, classes, comparisons."""
    endings = (".jsonl", ".txt", ".csv", ".html", "_classes.csv", "_significance.csv")
    return [stem.with_name(stem.name + ending) for ending in endings]


def _measure(
    case: Case, method: Method, cells: Sequence[Cell], records: Records, cache: Path, say: Callable[[str], None] | None
) -> None:
    prepared = method.prepare(case.images, cache)
    if isinstance(prepared, PreparedClip):  # once for all cells, and counted as preparation
        prepared.embed(np.flatnonzero(case.truth))
    for cell in cells:
        train, test = few_shot_split(case.truth, case.group, cell.shots, cell.seed, cell.split)
        started = time.perf_counter()
        fitted = prepared.fit(case.shots(train), cell.seed)
        trained = time.perf_counter()
        prediction = fitted.predict(test)
        mapped = time.perf_counter()
        scores = score(case.truth[test], prediction, case.classes)
        times = {"prepare": prepared.seconds, "train": trained - started, "map": mapped - trained}
        records.add(
            {
                **cell._asdict(),
                "classes": case.classes,
                "trained": len(train),
                "tested": len(test),
                "seconds": {name: round(value, 4) for name, value in times.items()},
                **scores,
            }
        )
        if say:
            say(
                f"{cell.scene}  {cell.split}  {cell.shots} shots  seed {cell.seed}  {cell.method}  "
                f"OA {100 * scores['oa']:.1f}  AA {100 * scores['aa']:.1f}"
            )


def _cells(case: Case, method: Method, shots: Sequence[int], seeds: int, splits: Sequence[str]) -> Iterator[Cell]:
    for seed in range(seeds):  # outermost, so that a run that is stopped has all settings on the same seeds
        for split in splits:
            for count in shots:
                yield Cell(case.name, split, count, seed, method.name)


def _check(cases: Sequence[Case], shots: Sequence[int], seeds: int, splits: Sequence[str]) -> None:
    if not cases:
        raise OptionError("benchmark", "has no scene", "name one, or give --hsi and --labels")
    if seeds < 1 or not shots or min(shots) < 1:
        raise OptionError("--shots and --seeds", "must be at least 1", "give larger numbers")
    for split in splits:
        if split not in SPLITS:
            raise OptionError(f"split {split!r}", "is not known", f"use {' or '.join(SPLITS)}")
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        raise OptionError("the scenes", f"have names in common ({', '.join(names)})", "give each its own name")
