"""`evaluate`: compare a label map with the truth, given as points, polygons or another raster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from .accuracy import Accuracy
from .alignment import is_unplaced
from .area_estimation import AreaEstimates, estimate_areas
from .atomic import FileSet, check_outputs
from .calibration import BINS, Calibration, bin_of
from .classes import UNCLASSIFIED
from .errors import LabelError, OptionError, RasterError
from .exclusion import TrainingGround, pixels_on, same_grid
from .grid import Grid
from .ground import pixel_area
from .labels import read_labels
from .legends import read_raster_legend
from .maps import MEASURE_TAG, confidence_path
from .rasters import all_windows, data_file, gdal, is_nodata, open_raster, read_window

_TRUTH_TILE = 256  # pixels of the truth at a time; what they need of a finer map fits in memory, too
_MAP_ROWS = 256
DESIGNS = ("unknown", "random", "stratified")


@dataclass(frozen=True)
class Evaluation(Accuracy):
    """The scores of a map, and what its areas and its confidence are worth.

    `areas` are estimates from the truth pixels with the strata of the `design`; `unbiased` tells whether they may be
    called so, `statement` why or why not. Without a probability sample their standard errors mean nothing.
    """

    map_path: Path = field(default=Path())
    truth_path: Path = field(default=Path())
    mapped_pixels: tuple[int, ...] = ()  # of the whole map, per class
    pixel_area: float | None = None  # m²; None where pixels have no one size
    design: str = "unknown"
    statement: str = ""
    unbiased: bool = False
    areas: AreaEstimates | None = None
    calibration: Calibration | None = None
    training_excluded: int | None = None  # truth pixels left out as training ground; None: not asked for

    @property
    def has_intervals(self) -> bool:
        """Whether the area estimates have 95 % intervals: unbiased ones have, but for areas that were counted."""
        return self.unbiased and self.design != "census"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and lists, for JSON."""
        areas = None if self.areas is None else self.areas.to_dict(self.pixel_area)
        return {
            "map": str(self.map_path),
            "truth": str(self.truth_path),
            **super().to_dict(),
            "sampling_design": self.design,
            "areas_unbiased": self.unbiased,
            "areas_statement": self.statement,
            "mapped_area_pixels": dict(zip(self.names, self.mapped_pixels, strict=True)),
            "pixel_area_m2": self.pixel_area,
            "area_estimates": areas if self.unbiased or areas is None else _without_errors(areas),
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
            "training_pixels_excluded": self.training_excluded,
        }

    def to_text(self) -> str:
        """A report for a terminal of 100 columns."""
        parts = [super().to_text()]
        if self.calibration is not None:
            error = 100 * self.calibration.expected_error
            bias = 100 * self.calibration.bias
            parts.append(
                f"Confidence: expected calibration error {error:.2f} %, mean confidence minus accuracy {bias:+.2f} %,"
                f" {self.calibration.pixels.sum():,} pixels"
            )
        parts.append("\n".join([f"Areas: {self.statement}", *self._area_lines()]))
        return "\n\n".join(parts)

    def _area_lines(self) -> list[str]:
        if self.areas is None:
            return []
        unit, factor = ("pixels", 1.0) if self.pixel_area is None else ("ha", self.pixel_area / 10_000)
        rows = [("", f"mapped {unit}", f"estimated {unit}", *(["95 % interval"] if self.has_intervals else []))]
        for row in self.areas.to_dict()["classes"]:
            pixels = {key: value * factor for key, value in row["area_pixels"].items()}
            interval = [f"± {pixels['half_width']:,.2f}"] if self.has_intervals else []
            rows.append((row["name"], f"{pixels['mapped']:,.2f}", f"{pixels['estimate']:,.2f}", *interval))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return [
            row[0].ljust(widths[0]) + "".join(f"  {cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True))
            for row in rows
        ]


def evaluate(
    map_path: Path | str,
    truth: Path | str,
    *,
    class_field: str | None = None,
    design: str = "unknown",
    strata: Path | str | None = None,
    confidence: Path | str | None = None,
    exclude_training: Path | str | None = None,
    report: Path | str | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Compare a label map with the truth, pixel by pixel, and optionally write the scores.

    `truth` is a vector of points or polygons (then the pixels are the map's, as in training), or a label raster (then
    they are the raster's: the map is looked up at their centres, whatever its grid and coordinate system). Classes are
    matched by name, whatever the case, and by number when one side has no names. A truth class that the map lacks keeps
    its row. Truth pixels where the map holds no class count as unclassified, thus as wrong; those outside the map are
    left out and counted in the notes.

    Parameters
    ----------
    design
        How the truth pixels were chosen: "random" (simple random or systematic over the whole map), "stratified" (at
        random within the map classes, or within `strata`), "unknown" (by any other way: no area estimate is unbiased).
    strata
        Raster of stratum numbers on the map's grid, 0 = outside the population; without it, map classes are strata.
    confidence
        Confidence map for the calibration; by default the one beside the map when it holds maximum probabilities.
    exclude_training
        Workspace whose training pixels, and the windows around them, are left out.
    report
        Written with the suffixes .html, .json and .csv, whichever of them is given.

    Raises
    ------
    RasterError
        The map, the truth or another raster cannot be read, or does not fit.
    LabelError
        The truth has no pixel on the map, or shares no class with it.
    OptionError
        The design cannot be that of this truth.
    OutputError
        `report` cannot be written.
    """
    map_path, truth = Path(map_path), Path(truth)
    _check_design(design, strata)
    outputs = [] if report is None else report_files(Path(report))
    check_outputs(outputs, overwrite, inputs=[map_path, truth])
    if not truth.exists():
        raise LabelError(truth, "does not exist", "check the path")
    ground = None if exclude_training is None else TrainingGround.of_workspace(Path(exclude_training))
    with ExitStack() as stack:
        rasters = _Rasters.open(stack, map_path, strata, confidence)
        reference = (
            _raster_truth(truth, rasters.labels)
            if _is_raster(truth)
            else _vector_truth(truth, rasters.labels, class_field)
        )
        if design != "unknown" and reference.clusters:
            fault = f"says that pixels were drawn one by one, but {truth.name} has polygons of several pixels"
            raise OptionError("--design", fault, "give one point per drawn pixel, or leave the design unknown")
        found = _count_pairs(rasters, reference.pixels, ground)
        population = _count_map(rasters, ground)
    if not found.pairs:
        fault = "has no labelled pixel" + (" outside the training windows" if found.excluded else "")
        raise LabelError(truth, f"{fault} on {map_path.name}", "give the truth of the same place")
    try:
        table = _tabulate(found.pairs, {value for _, value in population}, rasters.names, reference.names)
    except ValueError as error:
        remedy = "name the classes alike, or choose another field with --class-field"
        raise LabelError(truth, f"shares no class with {map_path.name} ({error})", remedy) from error
    notes = [*reference.notes, *rasters.notes, *table.notes, *found.notes()]
    if ground is not None:
        notes.append(f"{found.excluded:,} truth pixels were left out: {ground.describe()}")
    if reference.clusters:
        notes.append(
            "truth pixels of one polygon are alike: standard errors that take them as independent are too small"
        )
    mapped_pixels = [0] * len(table.names)
    for value, position in table.of_map.items():
        mapped_pixels[position] += sum(count for (_, mapped), count in population.items() if mapped == value)
    scores = Accuracy.of(table.counts(found.pairs), tuple(table.names))
    areas = _Areas.of(design, found, population, table, reference, ground is not None)
    done = Evaluation(
        scores.names,
        scores.matrix,
        scores.unclassified,
        tuple(notes),
        map_path,
        truth,
        tuple(mapped_pixels),
        pixel_area(Grid.of(rasters.labels)),
        areas.design,
        areas.statement,
        areas.unbiased,
        areas.estimates,
        found.calibration(table) if rasters.confidence is not None else None,
        found.excluded if ground is not None else None,
    )
    if report is not None:
        _write_reports(done, Path(report), overwrite)
    return done


def report_files(report: Path) -> list[Path]:
    """The files of a report: the one that is named when its suffix says what it is, else HTML, JSON and CSV."""
    if report.suffix.lower() in (".html", ".json", ".csv"):
        return [report]
    return [report.with_name(f"{report.name}.{kind}") for kind in ("html", "json", "csv")]


def _write_reports(done: Evaluation, report: Path, overwrite: bool) -> None:
    from .report import report_csv, report_html, report_json

    writers = {".html": report_html, ".json": report_json, ".csv": report_csv}
    paths = report_files(report)
    with FileSet(paths[0], overwrite=overwrite) as files:
        for path in paths:
            files.stage(path).write_text(writers[path.suffix.lower()](done), encoding="utf-8")


def _check_design(design: str, strata: Path | str | None) -> None:
    if design not in DESIGNS:
        raise OptionError("--design", f"{design!r} is not known", f"use one of {', '.join(DESIGNS)}")
    if strata is not None and design != "stratified":
        raise OptionError("--strata", "is for stratified samples", "add --design stratified, or leave the strata out")


def _without_errors(areas: dict[str, Any]) -> dict[str, Any]:
    """The estimates without standard errors and intervals, which mean nothing when nobody drew the pixels at random."""

    def stripped(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: stripped(v) for k, v in value.items() if k not in ("standard_error", "half_width")}
        return [stripped(one) for one in value] if isinstance(value, list) else value

    plain: dict[str, Any] = stripped(areas)
    return plain


@dataclass(frozen=True)
class _Rasters:
    """The rasters on the map's grid."""

    labels: DatasetReader
    names: dict[int, str]
    unclassified: frozenset[int]  # values that stand for no class
    strata: DatasetReader | None
    confidence: DatasetReader | None
    notes: tuple[str, ...]

    @classmethod
    def open(cls, stack: ExitStack, path: Path, strata: Path | str | None, confidence: Path | str | None) -> _Rasters:
        labels = stack.enter_context(open_raster(path))
        _check_labels(path, labels)
        names = _class_names(labels)
        nothing = frozenset(value for value, name in names.items() if _key(name) == UNCLASSIFIED)
        kept = {value: name for value, name in names.items() if value not in nothing}
        others: list[DatasetReader | None] = []
        for other in (strata, confidence):
            dataset = None if other is None else stack.enter_context(open_raster(Path(other)))
            if dataset is not None and not same_grid(Grid.of(dataset), Grid.of(labels)):
                raise RasterError(Path(str(other)), f"is not on the grid of {path.name}", "warp it onto that grid")
            others.append(dataset)
        if others[0] is not None:
            _check_labels(Path(str(strata)), others[0])
        notes: tuple[str, ...] = ()
        beside = confidence_path(path)
        if confidence is None and beside.is_file():
            dataset = stack.enter_context(open_raster(beside))
            measure = dataset.tags().get(MEASURE_TAG, "unnamed")
            if not same_grid(Grid.of(dataset), Grid.of(labels)):
                notes = (f"{beside.name} has another grid: no calibration",)
            elif measure != "max-prob":
                notes = (f"{beside.name} does not say that it holds probabilities ({measure}): no calibration",)
            else:
                others[1] = dataset
        return cls(labels, kept, nothing, others[0], others[1], notes)

    def read(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64] | None]:
        """Class values (0: none), strata and confidence of a window, [h, w] each.

        Without strata of its own the map has its classes for strata.
        """
        block = read_window(self.labels, window, [1])[0].astype(np.int64)
        mapped = np.where(_labelled(block, self.labels) & ~np.isin(block, list(self.unclassified)), block, 0)
        stratum = mapped
        if self.strata is not None:
            values = read_window(self.strata, window, [1])[0].astype(np.int64)
            stratum = np.where(_labelled(values, self.strata) & (mapped > 0), values, 0)
        sure = None
        if self.confidence is not None:
            raw = read_window(self.confidence, window, [1])[0]
            sure = np.where(is_nodata(raw, self.confidence.nodata), np.nan, raw).astype(np.float64)
        return mapped, stratum, sure


class _Pixels(NamedTuple):
    """Labelled truth pixels of one stretch of ground: their class values, and the map pixels they fall in."""

    value: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]


@dataclass(frozen=True)
class _Truth:
    names: dict[int, str]  # by value; empty: the truth has numbers only
    pixels: Iterator[_Pixels]
    notes: tuple[str, ...]
    clusters: bool = False  # polygons of several pixels
    on_map_grid: bool = True


def _vector_truth(path: Path, map_dataset: DatasetReader, class_field: str | None) -> _Truth:
    labelled = read_labels(path, [Grid.of(map_dataset)], class_field=class_field)
    names, value = dict(enumerate(labelled.classes.names, start=1)), labelled.label.astype(np.int64)
    if all(name.isdecimal() for name in names.values()):  # a field of numbers: these are the values
        value = np.array([0, *map(int, names.values())])[value]
        names = {int(name): name for name in names.values()}

    def strips() -> Iterator[_Pixels]:
        order = np.argsort(labelled.row, kind="stable")
        strip = labelled.row[order] // _MAP_ROWS
        for chosen in np.split(order, np.flatnonzero(np.diff(strip)) + 1):
            yield _Pixels(value[chosen], labelled.row[chosen], labelled.column[chosen])

    clusters = bool(len(labelled) and np.unique(labelled.group, return_counts=True)[1].max() > 1)
    return _Truth(names, strips(), tuple(labelled.report.remarks()), clusters)


def _raster_truth(path: Path, map_dataset: DatasetReader) -> _Truth:
    with open_raster(path) as dataset:
        _check_labels(path, dataset)
        names, truth, target = _class_names(dataset), Grid.of(dataset), Grid.of(map_dataset)
    same = same_grid(truth, target)
    for one, grid in ((path, truth), (Path(map_dataset.name), target)):
        if not same and is_unplaced(grid):
            raise RasterError(one, "has no georeference", "give it one, or compare rasters of the same size")
    notes = [] if same else ["the truth has another grid: the map was looked up at the centres of its pixels"]
    if (truth.crs is None) != (target.crs is None):
        notes.append("one of the rasters has no coordinate system and was taken to be in that of the other")

    def tiles() -> Iterator[_Pixels]:
        with open_raster(path) as dataset:
            for window in all_windows(*truth.shape, side=_TRUTH_TILE):
                values = read_window(dataset, window, [1])[0].astype(np.int64)
                row, column = np.nonzero(_labelled(values, dataset))
                on_map = row + window.row_off, column + window.col_off
                yield _Pixels(values[row, column], *(on_map if same else pixels_on(target, truth, *on_map)))

    return _Truth(names, tiles(), tuple(notes), on_map_grid=same)


@dataclass
class _Found:
    """What the truth pixels are on the map: pixels by (stratum, truth value, map value), map value 0: unclassified."""

    strata: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    bins: dict[tuple[int, int], NDArray[np.float64]] = field(default_factory=dict)  # [2, 15]: pixels, confidence
    outside: int = 0
    excluded: int = 0

    @property
    def pairs(self) -> Counter[tuple[int, int]]:
        """Pixels by (truth value, map value)."""
        pairs: Counter[tuple[int, int]] = Counter()
        for (_, value, mapped), count in self.strata.items():
            pairs[value, mapped] += count
        return pairs

    def add_confidence(self, value: NDArray[np.int64], mapped: NDArray[np.int64], sure: NDArray[np.float64]) -> None:
        """Sort pixels on which the map holds a class and a confidence into bins."""
        known = np.isfinite(sure) & (mapped > 0)
        value, mapped, sure = value[known], mapped[known], sure[known]
        for pair in {(int(one), int(other)) for one, other in np.unique(np.stack([value, mapped]), axis=1).T}:
            here = (value == pair[0]) & (mapped == pair[1])
            place = bin_of(sure[here])
            sums = [np.bincount(place, minlength=BINS), np.bincount(place, sure[here], minlength=BINS)]
            self.bins[pair] = self.bins.get(pair, np.zeros((2, BINS))) + np.stack(sums)

    def calibration(self, table: _Table) -> Calibration:
        """The calibration over all classified truth pixels."""
        total = np.zeros((2, BINS))
        right = np.zeros(BINS)
        for (value, mapped), sums in self.bins.items():
            total += sums
            right += sums[0] * (table.of_truth[value] == table.of_map[mapped])
        return Calibration(total[0].astype(np.int64), total[1], right.astype(np.int64))

    def notes(self) -> list[str]:
        """What was left out."""
        return [f"{self.outside:,} truth pixels lie outside the map and are left out"] if self.outside else []


def _count_pairs(rasters: _Rasters, truth: Iterator[_Pixels], ground: TrainingGround | None) -> _Found:
    """Look the truth pixels up on the map, but for those on training ground."""
    grid = Grid.of(rasters.labels)
    found = _Found()
    for pixels in truth:
        inside = grid.contains(pixels.row, pixels.column)
        found.outside += int(np.count_nonzero(~inside))
        value, row, column = (part[inside] for part in pixels)
        if ground is not None:
            seen = ground.covers(grid, row, column)
            found.excluded += int(seen.sum())
            value, row, column = value[~seen], row[~seen], column[~seen]
        if not len(value):
            continue
        top, left = row.min(), column.min()
        mapped, stratum, sure = rasters.read(Window(left, top, column.max() - left + 1, row.max() - top + 1))
        place = row - top, column - left
        kinds, counts = np.unique(np.stack([stratum[place], value, mapped[place]]), axis=1, return_counts=True)
        for (one, two, three), count in zip(kinds.T.tolist(), counts.tolist(), strict=True):
            found.strata[one, two, three] += count
        if sure is not None:
            found.add_confidence(value, mapped[place], sure[place])
    return found


def _count_map(rasters: _Rasters, ground: TrainingGround | None) -> Counter[tuple[int, int]]:
    """Pixels of the map, but for training ground, by (stratum, map value); those without either are left out."""
    grid = Grid.of(rasters.labels)
    population: Counter[tuple[int, int]] = Counter()
    for window in all_windows(*grid.shape):
        mapped, stratum, _ = rasters.read(window)
        kept = mapped > 0
        if ground is not None and kept.any():
            row, column = np.nonzero(kept)
            kept[row, column] = ~ground.covers(grid, row + window.row_off, column + window.col_off)
        kinds, counts = np.unique(np.stack([stratum[kept], mapped[kept]]), axis=1, return_counts=True)
        for (one, two), count in zip(kinds.T.tolist(), counts.tolist(), strict=True):
            population[one, two] += count
    return population


@dataclass(frozen=True)
class _Areas:
    """Area estimates, and what they are worth."""

    design: str
    statement: str
    unbiased: bool = False
    estimates: AreaEstimates | None = None

    @classmethod
    def of(
        cls,
        design: str,
        found: _Found,
        population: Counter[tuple[int, int]],
        table: _Table,
        reference: _Truth,
        excluding: bool,
    ) -> _Areas:
        """Estimates with the strata of the design; where there is none they are computed but not called unbiased."""
        total = sum(population.values())
        on_map = sum(count for (_, _, mapped), count in found.strata.items() if mapped)
        census = reference.on_map_grid and not found.outside and on_map == total
        if census:
            design = "census"
        # A class is the stratum of all its map values: two values of one name are one class.
        own = any(stratum != mapped for stratum, mapped in population)
        key = {stratum: stratum if own else table.of_map[stratum] for stratum, _ in population if stratum}
        order = sorted(set(key.values())) if own else list(range(len(table.names)))
        size = [sum(n for (stratum, _), n in population.items() if stratum and key[stratum] == one) for one in order]
        counts = np.zeros((len(order), len(table.names), len(table.names)), np.int64)
        for (stratum, value, mapped), count in found.strata.items():
            if stratum in key and mapped:
                counts[order.index(key[stratum]), table.of_truth[value], table.of_map[mapped]] += count
        try:
            estimates = estimate_areas(
                counts,
                size,
                table.names,
                stratum_names=[f"stratum {one}" if own else f"map class {table.names[one]!r}" for one in order],
                finite_population=reference.on_map_grid,
                strata_are_map_classes=not own,
            )
        except ValueError as error:
            return cls(design, f"no estimate, because {error}.")
        where = " outside the training windows" if excluding else ""
        if census:
            return cls(
                design, f"counted, not estimated: the truth covers every pixel of the map{where}.", True, estimates
            )
        if design == "unknown":
            statement = (
                "NOT unbiased. The truth pixels are not known to be a probability sample, so the estimates may be off"
                " by any amount and have no intervals. If the pixels were drawn at random, say how with --design."
            )
            return cls(design, statement, False, estimates)
        strata = "the given strata" if own else "the map classes"
        how = {
            "random": f"a random sample, post-stratified by {strata} (Olofsson et al. 2014)",
            "stratified": f"a sample stratified by {strata} ({'Stehman' if own else 'Olofsson et al.'} 2014)",
        }[design]
        flat = [name for name, error in zip(table.names, estimates.share_se, strict=True) if error == 0]
        flawless = f" The sample has no error of {_listed(flat)}: their intervals are too narrow." if flat else ""
        whole = f"the {total:,} classified pixels{where}"
        statement = f"unbiased estimates for {whole}, if the truth pixels are {how}.{flawless}"
        return cls(design, statement, True, estimates)


class _Table(NamedTuple):
    """How values of the truth and of the map correspond: each to its place among the classes."""

    names: list[str]  # those of the map, then those that only the truth has
    of_truth: dict[int, int]
    of_map: dict[int, int]
    notes: list[str]

    def counts(self, pairs: Mapping[tuple[int, int], int]) -> NDArray[np.int64]:
        """The [K, K + 1] counts of `accuracy.confusion_matrix`."""
        counts = np.zeros((len(self.names), len(self.names) + 1), np.int64)
        for (value, mapped), count in pairs.items():
            counts[self.of_truth[value], self.of_map[mapped] + 1 if mapped else 0] += count
        return counts


def _tabulate(
    pairs: Mapping[tuple[int, int], int],
    map_values: set[int],
    map_names: dict[int, str],
    truth_names: dict[int, str],
) -> _Table:
    """Match the classes of both sides. Raises ValueError when both have names and share none."""
    values = sorted({value for value, _ in pairs})
    of_map = _named({value for _, value in pairs} | map_values | set(map_names), map_names)
    of_truth = _named(values, truth_names)
    notes = []
    if not _keys(of_map) & _keys(of_truth):
        if not all(name.isdecimal() for name in of_map.values()) and not all(
            name.isdecimal() for name in of_truth.values()
        ):
            raise ValueError(f"{_listed(list(of_truth.values()))} against {_listed(list(of_map.values()))}")
        # One side has numbers only: a class is what has the same number, under the name that the other side knows.
        names = {value: name for value, name in (truth_names | map_names).items() if not name.isdecimal()}
        of_map, of_truth = _named(of_map, names), _named(values, names)
        notes.append("classes are matched by number")
    missing = [name for name in of_truth.values() if _key(name) not in _keys(of_map)]
    if missing:
        notes.append(f"not in the map: {_listed(missing)}")
    position: dict[str, int] = {}
    classes = [*of_map.values(), *missing]
    for name in classes:
        position.setdefault(_key(name), len(position))
    shown = {_key(name): name for name in reversed(classes)}
    return _Table(
        [shown[key] for key in position],
        {value: position[_key(name)] for value, name in of_truth.items()},
        {value: position[_key(name)] for value, name in of_map.items()},
        notes,
    )


def _named(values: Iterable[int], names: Mapping[int, str]) -> dict[int, str]:
    """Name of each value but 0, in the order of the values; the number itself where there is no name."""
    return {value: names.get(value, str(value)) for value in sorted(set(values) - {0})}


def _keys(names: Mapping[int, str]) -> set[str]:
    return {_key(name) for name in names.values()}


def _check_labels(path: Path, dataset: DatasetReader) -> None:
    if not np.issubdtype(np.dtype(dataset.dtypes[0]), np.integer):
        raise RasterError(
            path, f"holds {dataset.dtypes[0]} values, not class numbers", "give a label raster (integers)"
        )


def _class_names(dataset: DatasetReader) -> dict[int, str]:
    return {int(value): name for value, name in read_raster_legend(dataset).names.items() if name}


def _labelled(values: NDArray[np.int64], dataset: DatasetReader) -> NDArray[np.bool_]:
    """Which values stand for a class. 0 does not, even where it has a name: ENVI calls it "Unclassified"."""
    labelled = values != 0
    return labelled if dataset.nodata is None else labelled & (values != dataset.nodata)


def _is_raster(path: Path) -> bool:
    try:
        with gdal(), rasterio.open(data_file(path)):
            return True
    except RasterioError:
        return False


def _key(name: str) -> str:
    return name.strip().casefold()


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
