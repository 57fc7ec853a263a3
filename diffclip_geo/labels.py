"""Labels on the pixels of scenes: from points, polygons or a label raster to (scene, row, column, class)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .alignment import align, is_unplaced, on_grid
from .classes import ClassTable
from .errors import LabelError, RasterError
from .grid import Grid
from .legends import Legend, read_legend, read_qml, read_raster_legend
from .palette import Color, class_colors
from .rasters import all_windows, data_file, gdal, is_nodata, open_raster, read_window, source_of
from .scenes import Scene, crs_name, natural
from .vectors import Features, project, read_features

__all__ = ["ClassTable", "LabelReport", "LabelledPixels", "keep_valid", "read_labels"]

_STRIP = 1 << 20  # pixel centres tested at a time, so that a polygon over a huge scene needs little memory
_COVERED, _NEAREST = 0, 1  # how a pixel came by its label; covered pixels have the say


@dataclass(frozen=True)
class LabelReport:
    """What became of the labels.

    `features` (points, polygon parts or raster patches) and `pixels` are per class, of those that reach a pixel; the
    other numbers are totals.
    """

    features: tuple[int, ...]
    pixels: tuple[int, ...]
    conflicts: int = 0  # pixels dropped, claimed by two classes
    outside: int = 0  # parts that touch no scene
    nearest: int = 0  # polygons that cover no pixel centre, put on the pixel they lie in
    repaired: int = 0  # features with an invalid geometry
    empty: int = 0  # features without a usable geometry
    unlabelled: int = 0  # features without a class
    invalid: int = 0  # labelled pixels dropped because the scene has no data there
    notes: tuple[str, ...] = ()

    def remarks(self) -> list[str]:
        """One line per thing worth knowing."""
        told = [
            (self.conflicts, "{} pixels claimed by two classes were dropped"),
            (self.outside, "{} points or polygons lie outside the scene"),
            (self.nearest, "{} polygons cover no pixel centre and take the pixel they lie in"),
            (self.repaired, "{} features had an invalid geometry, which was repaired"),
            (self.empty, "{} features without a point or polygon were skipped"),
            (self.unlabelled, "{} features without a class were skipped"),
            (self.invalid, "{} labelled pixels without data in the scene were dropped"),
        ]
        return [*self.notes, *(text.format(f"{count:,}") for count, text in told if count)]


@dataclass(frozen=True)
class LabelledPixels:
    """Pixels with a class, ordered by scene, row and column; at most one entry per pixel."""

    classes: ClassTable
    scene: NDArray[np.int32]  # [N], index of the scene
    row: NDArray[np.int64]  # [N]
    column: NDArray[np.int64]  # [N]
    label: NDArray[np.int64]  # [N], 1…K
    group: NDArray[np.int64]  # [N], the point, polygon part or raster patch the pixel came from
    report: LabelReport

    def __len__(self) -> int:
        return len(self.label)

    def counts(self) -> NDArray[np.int64]:
        """Pixels per class, [K]."""
        return np.bincount(self.label, minlength=len(self.classes) + 1)[1:]

    def take(self, indices: NDArray[np.integer] | NDArray[np.bool_]) -> LabelledPixels:
        """The pixels at these indices (or where the mask is true); classes and report stay as they are."""
        return replace(
            self,
            scene=self.scene[indices],
            row=self.row[indices],
            column=self.column[indices],
            label=self.label[indices],
            group=self.group[indices],
        )

    def drop_invalid(self, valid: NDArray[np.bool_]) -> LabelledPixels:
        """Only the pixels where `valid` [N] is true; the others are counted in the report."""
        kept = self.take(valid)
        report = _count(kept, replace(self.report, invalid=self.report.invalid + int((~valid).sum())))
        return replace(kept, report=report)

    def sample(self, shots: int, seed: int) -> LabelledPixels:
        """At most `shots` pixels of each class, drawn at random but spread over groups.

        Every point or polygon gives one pixel before any gives a second. The same seed draws the same pixels.
        """
        chosen = []
        for label in range(1, len(self.classes) + 1):
            random = np.random.default_rng([seed, label])
            mine = random.permutation(np.flatnonzero(self.label == label))
            groups, owner = np.unique(self.group[mine], return_inverse=True)
            turn = random.permutation(len(groups))[owner]
            chosen.append(mine[np.lexsort((turn, _rank_within(owner)))[:shots]])
        drawn = self.take(np.sort(np.concatenate(chosen)))
        short = [name for name, mine in zip(self.classes.names, chosen, strict=True) if len(mine) < shots]
        if not short:
            return drawn
        note = f"fewer than {shots} pixels, all of them used: {', '.join(short)}"
        return replace(drawn, report=replace(self.report, notes=(*self.report.notes, note)))

    def table(self) -> str:
        """Classes with their features and pixels (and pixels in use, if sampled) in columns; below them the remarks."""
        used = self.counts()
        sampled = int(used.sum()) != sum(self.report.pixels)
        head = ["class", "features", "pixels", *(["used"] if sampled else [])]
        rows = [
            [f"{index + 1} {name}", f"{features:,}", f"{pixels:,}", *([f"{used[index]:,}"] if sampled else [])]
            for index, (name, features, pixels) in enumerate(
                zip(self.classes.names, self.report.features, self.report.pixels, strict=True)
            )
        ]
        widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            )
            for row in [head, *rows]
        ]
        return "\n".join([*lines, *self.report.remarks()])


def read_labels(
    path: Path | str,
    grids: Sequence[Grid],
    *,
    class_field: str | None = None,
    join: Path | None = None,
    on: str | None = None,
    layer: str | None = None,
    legend: Path | None = None,
) -> LabelledPixels:
    """Put labels on the pixels of one or more grids.

    Vectors: a point takes the pixel it falls in, a polygon the pixels whose centre it covers; a polygon that covers no
    centre takes the pixel it lies in, unless another one covers that pixel's centre. Label rasters (whole numbers, 0 or
    nodata = unlabelled) are read at pixel centres. Pixels claimed by two classes are dropped. Classes are those that
    reach a pixel, in natural order of their names, or of their values where these are numbers.

    `class_field`, `join`, `on` and `layer` are for vectors, as in `vectors.read_features`. Labels without a coordinate
    system are taken to be in the scene's. `legend` is a table or style that names class codes, see
    `legends.read_legend`.

    Raises
    ------
    LabelError
        The labels cannot be read, their class field is missing or ambiguous, no label lies on a grid, or the names of
        two classes differ in case only.
    """
    path = Path(path)
    given = None if legend is None else read_legend(Path(legend))
    if _is_raster(path):
        claims, values, numeric, own, report = _from_raster(path, grids)
        known = values
    else:
        features = read_features(path, class_field=class_field, join=join, on=on, layer=layer)
        claims, report = _from_features(path, features, grids)
        known, numeric, own = features.name, features.numeric, features.legend
        values = known[claims.part]
    names = own.names if numeric else {}
    if given is not None:
        names = {**names, **given.names}
        own = Legend(names, {**own.colors, **given.colors})
        unnamed = [value for value in np.unique(known).tolist() if value not in given.names]
        if unnamed:
            report = replace(report, notes=(*report.notes, f"{legend}: has no name for {', '.join(unnamed[:9])}"))
    if not len(claims.row):
        raise LabelError(path, "no label lies on the scene", _where(path, grids))
    classes, label = _classes(path, known, values, numeric, names, own.colors)
    kept, conflicts = _settle(claims, label)
    if not kept.size:
        raise LabelError(path, "every labelled pixel is claimed by two classes", "give labels that do not overlap")
    claims, label = _Claims(*(array[kept] for array in claims)), label[kept]
    absent = [name for index, name in enumerate(classes.names, start=1) if index not in set(label.tolist())]
    if absent:
        classes, label = _without(classes, label, absent)
        report = replace(report, notes=(*report.notes, f"no pixel is left of {', '.join(absent)}"))
    pixels = LabelledPixels(
        classes,
        claims.scene.astype(np.int32),
        claims.row,
        claims.column,
        label,
        claims.part,
        replace(report, conflicts=conflicts),
    )
    return replace(pixels, report=_count(pixels, pixels.report))


def keep_valid(pixels: LabelledPixels, scenes: Sequence[Scene], side: int = 128) -> LabelledPixels:
    """The pixels that have data in their scene; the others are counted. Only squares that hold labels are read."""
    valid = np.zeros(len(pixels), bool)
    squares = np.stack([pixels.scene, pixels.row // side, pixels.column // side])
    distinct, owner = np.unique(squares, axis=1, return_inverse=True)
    owner = owner.reshape(-1)
    for index, (number, row, column) in enumerate(distinct.T.tolist()):
        scene = scenes[number]
        top, left = row * side, column * side
        block = scene.read(top, left, min(side, scene.grid.height - top), min(side, scene.grid.width - left))
        mine = np.flatnonzero(owner == index)
        valid[mine] = block.valid[pixels.row[mine] - top, pixels.column[mine] - left]
    return pixels if valid.all() else pixels.drop_invalid(valid)


class _Claims(NamedTuple):
    """Pixels claimed by parts of features, with repetitions; all [M]."""

    scene: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    part: NDArray[np.int64]
    how: NDArray[np.int64]  # _COVERED or _NEAREST

    @classmethod
    def join(cls, pieces: Sequence[_Claims]) -> _Claims:
        if not pieces:
            return cls(*(np.empty(0, np.int64) for _ in cls._fields))
        return cls(*(np.concatenate(arrays) for arrays in zip(*pieces, strict=True)))


def _is_raster(path: Path) -> bool:
    if path.suffix.lower() == ".hdr":
        return True
    if not path.is_file():
        return False
    try:
        with gdal(), open_raster(path):
            return True
    except (RasterError, RasterioError):
        return path.suffix.lower() in {
            ".tif",
            ".tiff",
            ".img",
            ".bsq",
            ".bil",
            ".bip",
        }  # damaged: the raster's error is of use


def _from_features(path: Path, features: Features, grids: Sequence[Grid]) -> tuple[_Claims, LabelReport]:
    notes = [f"class field: {features.field}", *features.notes]
    if features.crs is None and any(grid.crs is not None for grid in grids):
        known = next(grid.crs for grid in grids if grid.crs is not None)
        notes.append(f"{path.name}: has no coordinate system; taken as {crs_name(known)}, that of the scene")
    pieces: list[_Claims] = []
    reached = np.zeros(len(features.parts), bool)
    nearest = np.zeros(len(features.parts), bool)
    projected: dict[str, NDArray[np.object_]] = {}
    upward = _drawn_upward(features.parts)
    if upward and any(is_unplaced(grid) for grid in grids):
        told = "lies at negative y, as drawn in QGIS over an image without georeference; rows are counted downwards"
        notes.append(f"{path.name}: {told}")
    for scene, grid in enumerate(grids):
        key = "" if grid.crs is None else grid.crs.to_wkt()
        if key not in projected:
            projected[key] = project(features.parts, features.crs, grid.crs)
        parts = projected[key]
        if upward and is_unplaced(grid):
            parts = shapely.transform(parts, lambda xy: xy * (1, -1))
        for piece in _claims_on(parts, grid, scene):
            pieces.append(piece)
            reached[piece.part] = True
            nearest[piece.part[piece.how == _NEAREST]] = True
    report = LabelReport(
        (),
        (),
        outside=int((~reached).sum()),
        nearest=int(nearest.sum()),
        repaired=features.repaired,
        empty=features.empty,
        unlabelled=features.unlabelled,
        notes=tuple(notes),
    )
    return _Claims.join(pieces), report


def _drawn_upward(parts: NDArray[np.object_]) -> bool:
    """Whether all parts lie at y ≤ 0 and x ≥ 0: where QGIS shows an image that has no georeference."""
    x_min, y_min, _, y_max = shapely.bounds(parts).T
    return bool(len(parts) and np.all(y_max <= 0) and np.any(y_min < 0) and np.all(x_min >= 0))


def _claims_on(parts: NDArray[np.object_], grid: Grid, scene: int) -> list[_Claims]:
    """What parts in the grid's coordinate system claim on it."""
    left, bottom, right, top = grid.bounds
    x_min, y_min, x_max, y_max = shapely.bounds(parts).T
    left, right, bottom, top = min(left, right), max(left, right), min(bottom, top), max(bottom, top)
    near = np.flatnonzero((x_min <= right) & (x_max >= left) & (y_min <= top) & (y_max >= bottom))
    # In pixel coordinates every grid, rotated or flipped, is upright, with pixel centres at whole numbers + ½.
    shapes = shapely.transform(parts[near], lambda xy: np.column_stack(grid.to_pixels(xy[:, 0], xy[:, 1])))
    is_point = shapely.get_type_id(shapes) == 0
    points = shapes[is_point]
    pieces = [_claim(scene, np.floor(shapely.get_y(points)), np.floor(shapely.get_x(points)), near[is_point], _COVERED)]
    for part, polygon in zip(near[~is_point].tolist(), shapes[~is_point], strict=True):
        row, column = _covered(polygon, grid)
        if row.size:
            pieces.append(_claim(scene, row, column, part, _COVERED))
        elif not _covers_any_centre(polygon):
            inside = (
                polygon.centroid if shapely.covers(polygon, polygon.centroid) else shapely.point_on_surface(polygon)
            )
            pieces.append(_claim(scene, np.floor([inside.y]), np.floor([inside.x]), part, _NEAREST))
    found = _Claims.join(pieces)
    on = grid.contains(found.row, found.column)
    return [_Claims(*(array[on] for array in found))]


def _claim(scene: int, row: NDArray[Any], column: NDArray[Any], part: NDArray[np.int64] | int, how: int) -> _Claims:
    shape = np.shape(row)
    return _Claims(
        np.full(shape, scene, np.int64),
        np.asarray(row).astype(np.int64),
        np.asarray(column).astype(np.int64),
        np.broadcast_to(np.asarray(part, np.int64), shape),
        np.full(shape, how, np.int64),
    )


def _centres_between(low: float, high: float, size: float = np.inf) -> tuple[int, int]:
    """First and last + 1 of the whole numbers i in 0…size-1 with low ≤ i + ½ ≤ high."""
    first, last = np.ceil(low - 0.5), np.floor(high - 0.5) + 1
    if np.isfinite(size):
        first, last = max(first, 0), min(last, size)
    return int(first), int(max(first, last))


def _covered(polygon: shapely.Polygon, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the grid's pixels whose centre a polygon in pixel coordinates covers, its edge included."""
    x_min, y_min, x_max, y_max = shapely.bounds(polygon)
    first_row, last_row = _centres_between(y_min, y_max, grid.height)
    first_column, last_column = _centres_between(x_min, x_max, grid.width)
    width = last_column - first_column
    if width <= 0 or last_row <= first_row:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    shapely.prepare(polygon)
    step = max(1, _STRIP // width)
    rows, columns = [], []
    for start in range(first_row, last_row, step):
        row, column = np.mgrid[start : min(start + step, last_row), first_column:last_column]
        inside = shapely.intersects_xy(polygon, column + 0.5, row + 0.5)
        rows.append(row[inside])
        columns.append(column[inside])
    return np.concatenate(rows), np.concatenate(columns)


def _covers_any_centre(polygon: shapely.Polygon) -> bool:
    """Whether a polygon covers a pixel centre of the lattice, on the grid or beyond it."""
    x_min, y_min, x_max, y_max = shapely.bounds(polygon)
    (first_row, last_row), (first_column, last_column) = _centres_between(y_min, y_max), _centres_between(x_min, x_max)
    if (last_row - first_row) * (last_column - first_column) > _STRIP:
        return True
    row, column = np.mgrid[first_row:last_row, first_column:last_column]
    return bool(shapely.intersects_xy(polygon, column + 0.5, row + 0.5).any())


def _from_raster(path: Path, grids: Sequence[Grid]) -> tuple[_Claims, NDArray[np.str_], bool, Legend, LabelReport]:
    """Claims of a label raster, the value of each, and its legend."""
    path = data_file(path)
    pieces: list[_Claims] = []
    found: list[NDArray[np.int64]] = []
    with open_raster(path) as dataset:
        if dataset.count != 1 or not np.issubdtype(np.dtype(source_of(dataset).dtypes[0]), np.integer):
            fault = f"has {dataset.count} bands of {dataset.dtypes[0]}"
            raise LabelError(path, fault, "give a label raster with one band of whole numbers, or points or polygons")
        own, style = read_raster_legend(source_of(dataset)), read_qml(path)
        legend = Legend({**own.names, **style.names}, {**own.colors, **style.colors})
        next_part = 0
        for scene, grid in enumerate(grids):
            alignment = align(path, dataset, grid)
            view = on_grid(dataset, grid, "none" if alignment.resampling == "none" else "nearest", dataset.nodata)
            row, column, value = _labelled(view, dataset.nodata, grid)
            part = _patches(row, column, value, grid.width) + next_part
            next_part = int(part.max(initial=next_part - 1)) + 1
            pieces.append(_claim(scene, row, column, part, _COVERED))
            found.append(value)
    values = np.concatenate(found).astype(np.str_) if found else np.empty(0, np.str_)
    return _Claims.join(pieces), values, True, legend, LabelReport((), ())


def _labelled(
    view: Any, nodata: float | None, grid: Grid
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, column and value of the labelled pixels, in row order."""
    rows, columns, values = [], [], []
    for window in all_windows(grid.height, grid.width, side=1024):
        block = read_window(view, window, [1])[0]
        row, column = np.nonzero(~is_nodata(block, nodata) & (block != 0))
        rows.append(row + window.row_off)
        columns.append(column + window.col_off)
        values.append(block[row, column].astype(np.int64))
    row, column, value = np.concatenate(rows), np.concatenate(columns), np.concatenate(values)
    order = np.lexsort((column, row))
    return row[order], column[order], value[order]


def _patches(
    row: NDArray[np.int64], column: NDArray[np.int64], value: NDArray[np.int64], width: int
) -> NDArray[np.int64]:
    """The patch (touching pixels of one value, 8 neighbours) that each pixel belongs to; pixels in row order."""
    flat = row * width + column
    starts, ends = [], []
    for down, right in ((0, 1), (1, -1), (1, 0), (1, 1)):
        there = flat + down * width + right
        position = np.minimum(np.searchsorted(flat, there), max(len(flat) - 1, 0))
        inside = (column + right >= 0) & (column + right < width)
        linked = (
            np.flatnonzero(inside & (flat[position] == there) & (value[position] == value)) if len(flat) else position
        )
        starts.append(linked)
        ends.append(position[linked])
    start, end = np.concatenate(starts), np.concatenate(ends)
    graph = coo_array((np.ones(len(start), np.int8), (start, end)), shape=(len(flat), len(flat)))
    patch: NDArray[np.int64] = connected_components(graph, directed=False)[1].astype(np.int64)
    return patch


def _classes(
    path: Path,
    known: NDArray[np.str_],
    values: NDArray[np.str_],
    numeric: bool,
    name_by_value: Mapping[str, str],
    color_by_value: Mapping[str, Color],
) -> tuple[ClassTable, NDArray[np.int64]]:
    """The class table of the `known` values, and the class 1…K of each of `values`.

    Values of one name are one class.
    """
    distinct = sorted(np.unique(known).tolist(), key=int if numeric else natural)
    name_of = {value: name_by_value.get(value, value) for value in distinct}
    names = list(dict.fromkeys(name_of.values()))
    spelling: dict[str, str] = {}
    for name in names:
        other = spelling.setdefault(" ".join(name.casefold().split()), name)
        if other != name:
            fault = f"the class names {other!r} and {name!r} differ only in case or spaces"
            raise LabelError(path, fault, "give the class one spelling")
    given = {name_of[value]: color_by_value[value] for value in reversed(distinct) if value in color_by_value}
    sorted_values = np.unique(known)
    number = np.array([names.index(name_of[value]) + 1 for value in sorted_values.tolist()], np.int64)
    return ClassTable(tuple(names), class_colors(names, given)), number[np.searchsorted(sorted_values, values)]


def _settle(claims: _Claims, label: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
    """Indices of one claim per pixel, ordered by scene, row and column, and how many pixels conflicts have cost."""
    order = np.lexsort((claims.part, claims.how, claims.column, claims.row, claims.scene))
    place = np.stack([claims.scene[order], claims.row[order], claims.column[order]])
    first = np.flatnonzero(np.r_[True, (place[:, 1:] != place[:, :-1]).any(axis=0)])
    pixel = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(order)]))
    best = claims.how[order][first]  # ordered by `how`: covered before nearest
    has_say = claims.how[order] == best[pixel]
    sorted_label = label[order]
    low = np.minimum.reduceat(np.where(has_say, sorted_label, np.iinfo(np.int64).max), first)
    high = np.maximum.reduceat(np.where(has_say, sorted_label, 0), first)
    return order[first[low == high]], int((low != high).sum())


def _without(
    classes: ClassTable, label: NDArray[np.int64], absent: Sequence[str]
) -> tuple[ClassTable, NDArray[np.int64]]:
    kept = [index for index, name in enumerate(classes.names) if name not in absent]
    number = np.zeros(len(classes) + 1, np.int64)
    number[np.array(kept) + 1] = np.arange(1, len(kept) + 1)
    table = ClassTable(tuple(classes.names[index] for index in kept), tuple(classes.colors[index] for index in kept))
    return table, number[label]


def _count(pixels: LabelledPixels, report: LabelReport) -> LabelReport:
    """The report with features and pixels per class counted."""
    pairs = np.unique(np.stack([pixels.label, pixels.group]), axis=1)
    features = np.bincount(pairs[0], minlength=len(pixels.classes) + 1)[1:]
    return replace(report, features=tuple(features.tolist()), pixels=tuple(pixels.counts().tolist()))


def _rank_within(owner: NDArray[np.integer]) -> NDArray[np.int64]:
    """For each element, how many earlier ones have the same owner."""
    order = np.argsort(owner, kind="stable")
    sizes = np.bincount(owner)
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return rank


def _where(path: Path, grids: Sequence[Grid]) -> str:
    """The remedy for labels beside the scene: where the scene is."""
    if is_unplaced(grids[0]):
        height, width = grids[0].shape
        return f"give labels in pixels of the scene (x 0…{width}, y 0…{height} downwards)"
    left, bottom, right, top = grids[0].bounds
    digits = 4 if max(abs(left), abs(right)) <= 360 else 0  # degrees or metres
    place = (
        f"x {left:.{digits}f}…{right:.{digits}f}, y {bottom:.{digits}f}…{top:.{digits}f} in {crs_name(grids[0].crs)}"
    )
    return f"give labels inside the scene ({place}), and check their coordinate system"
