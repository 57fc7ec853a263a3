"""`evaluate`: compare a label map with the truth, given as points, polygons or another raster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rasterio
import rasterio.warp
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from .accuracy import Accuracy
from .alignment import is_unplaced
from .atomic import FileSet, check_outputs
from .errors import LabelError, RasterError
from .grid import Grid
from .labels import read_labels
from .legends import read_raster_legend
from .provenance import to_json
from .rasters import all_windows, data_file, gdal, open_raster, read_window

_TRUTH_TILE = 256  # pixels of the truth at a time; what they need of a finer map fits in memory, too
_MAP_ROWS = 256


def evaluate(
    map_path: Path | str,
    truth: Path | str,
    *,
    class_field: str | None = None,
    report: Path | str | None = None,
    overwrite: bool = False,
) -> Accuracy:
    """Compare a label map with the truth, pixel by pixel, and optionally write the scores to the JSON file `report`.

    `truth` is a vector of points or polygons (then the pixels are the map's, as in training), or a label raster (then
    they are the raster's: the map is looked up at their centres, whatever its grid and coordinate system). Classes are
    matched by name, whatever the case, and by number when one side has no names. A truth class that the map lacks keeps
    its row. Truth pixels where the map holds no data count as unclassified, thus as wrong; those outside the map are
    left out and counted in the notes.

    Raises
    ------
    RasterError
        The map or the truth cannot be read, or is not a label raster.
    LabelError
        The truth has no pixel on the map, or shares no class with it.
    OutputError
        `report` cannot be written.
    """
    map_path, truth = Path(map_path), Path(truth)
    if report is not None:
        check_outputs([Path(report)], overwrite, inputs=[map_path, truth])
    if not truth.exists():
        raise LabelError(truth, "does not exist", "check the path")
    with open_raster(map_path) as map_dataset:
        _check_labels(map_path, map_dataset)
        reference = (
            _raster_truth(truth, map_dataset) if _is_raster(truth) else _vector_truth(truth, map_dataset, class_field)
        )
        pairs, outside = _count_pairs(map_dataset, reference.pixels)
        map_names = _class_names(map_dataset)
    if not pairs:
        raise LabelError(truth, f"has no labelled pixel on {map_path.name}", "give the truth of the same place")
    try:
        counts, names, notes = _tabulate(pairs, map_names, reference.names)
    except ValueError as error:
        remedy = "name the classes alike, or choose another field with --class-field"
        raise LabelError(truth, f"shares no class with {map_path.name} ({error})", remedy) from error
    if outside:
        notes.append(f"{outside:,} truth pixels lie outside the map and are left out")
    accuracy = Accuracy.of(counts, tuple(names), (*reference.notes, *notes))
    if report is not None:
        facts = {"map": map_path, "truth": truth, **accuracy.to_dict()}
        with FileSet(Path(report), overwrite=overwrite) as files:
            files.stage(Path(report)).write_text(to_json(facts, indent=2) + "\n", encoding="utf-8")
    return accuracy


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

    return _Truth(names, strips(), tuple(labelled.report.remarks()))


def _raster_truth(path: Path, map_dataset: DatasetReader) -> _Truth:
    with open_raster(path) as dataset:
        _check_labels(path, dataset)
        names, truth, target = _class_names(dataset), Grid.of(dataset), Grid.of(map_dataset)
    same = _same_grid(truth, target)
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
                yield _Pixels(values[row, column], *(on_map if same else _pixels_on(target, truth, *on_map)))

    return _Truth(names, tiles(), tuple(notes))


def _pixels_on(
    target: Grid, source: Grid, row: NDArray, column: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The pixels of `target` in which the centres of pixels of `source` fall; −1 where they have no place there."""
    x, y = source.centre_of(row, column)
    if source.crs is not None and target.crs is not None and source.crs != target.crs:
        x, y = map(np.asarray, rasterio.warp.transform(source.crs, target.crs, x, y))
    placed = np.isfinite(x) & np.isfinite(y)
    rows, columns = target.pixel_of(np.where(placed, x, 0), np.where(placed, y, 0))
    return np.where(placed, rows, -1), np.where(placed, columns, -1)


def _count_pairs(map_dataset: DatasetReader, truth: Iterator[_Pixels]) -> tuple[Counter[tuple[int, int]], int]:
    """How often each (truth value, map value) occurs, map value 0 being unclassified; and truth pixels off the map."""
    grid = Grid.of(map_dataset)
    pairs: Counter[tuple[int, int]] = Counter()
    outside = 0
    for pixels in truth:
        inside = grid.contains(pixels.row, pixels.column)
        outside += int(np.count_nonzero(~inside))
        value, row, column = (part[inside] for part in pixels)
        if not len(value):
            continue
        top, left = row.min(), column.min()
        window = Window(left, top, column.max() - left + 1, row.max() - top + 1)
        block = read_window(map_dataset, window, [1])[0].astype(np.int64)
        mapped = np.where(_labelled(block, map_dataset), block, 0)[row - top, column - left]
        found, counts = np.unique(np.stack([value, mapped]), axis=1, return_counts=True)
        pairs.update({(int(one), int(other)): int(count) for (one, other), count in zip(found.T, counts, strict=True)})
    return pairs, outside


def _tabulate(
    pairs: Mapping[tuple[int, int], int], map_names: dict[int, str], truth_names: dict[int, str]
) -> tuple[NDArray[np.int64], list[str], list[str]]:
    """The [K, K + 1] counts of `accuracy.confusion_matrix`, the K class names (those of the map, then those that only
    the truth has), and what is to be noted. Raises ValueError when both sides have names and share none."""
    values = sorted({value for value, _ in pairs})
    of_map = _named({value for _, value in pairs} | set(map_names), map_names)
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
    counts = np.zeros((len(position), len(position) + 1), np.int64)
    for (value, mapped), count in pairs.items():
        counts[position[_key(of_truth[value])], position[_key(of_map[mapped])] + 1 if mapped else 0] += count
    shown = {_key(name): name for name in reversed(classes)}
    return counts, [shown[key] for key in position], notes


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


def _same_grid(one: Grid, other: Grid) -> bool:
    alike = one.crs is None or other.crs is None or one.crs == other.crs
    if one.shape != other.shape or not alike:
        return False
    corners = np.array([0.0, one.width, 0.0, one.width]), np.array([0.0, 0.0, one.height, one.height])
    shift = np.subtract(other.to_pixels(*one.to_map(*corners)), corners)
    return bool(np.abs(shift).max() < 0.01)  # pixels


def _key(name: str) -> str:
    return name.strip().casefold()


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
