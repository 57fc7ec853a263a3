"""Reading labelled features: parts of points and polygons, each with its class."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FieldError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as reproject_points

from .errors import LabelError
from .legends import Legend, read_qml
from .palette import Color, parse_color
from .tables import read_table

_COLOR_FIELDS = {"color", "colour"}
_POINT, _POLYGON = 0, 3  # shapely's type numbers; those above have parts
_VECTOR_ENDINGS = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml")
_TABLE_ENDINGS = (".csv", ".tsv")
_COORDINATES: tuple[tuple[set[str], set[str], str | None], ...] = (
    ({"x", "easting", "east", "utm_x", "x_coord"}, {"y", "northing", "north", "utm_y", "y_coord"}, None),
    ({"lon", "long", "longitude", "lng"}, {"lat", "latitude"}, "EPSG:4326"),
)
_LAYER = "|layername="  # QGIS writes file.gpkg|layername=name


@dataclass(frozen=True)
class Features:
    """Parts of labelled features, in the labels' own coordinate system.

    `parts` are single points or polygons; `feature` and `name` tell for each of them the feature it belongs to and its
    class.
    """

    parts: NDArray[np.object_]  # [P]
    feature: NDArray[np.int64]  # [P]
    name: NDArray[np.str_]  # [P]
    crs: CRS | None
    field: str
    numeric: bool  # the class field holds numbers
    legend: Legend
    repaired: int  # features with an invalid geometry
    empty: int  # features without geometry, or with lines only
    unlabelled: int  # features without a class
    notes: tuple[str, ...]


def read_features(
    path: Path,
    *,
    class_field: str | None = None,
    join: Path | None = None,
    on: str | None = None,
    layer: str | None = None,
) -> Features:
    """Read points and polygons with their class from SHP, GPKG, GeoJSON, FlatGeobuf or another format that OGR reads,
    or points from a CSV table with columns x and y, or lon and lat.

    `class_field` may be left out when there is one candidate: the field of a QGIS style beside the file, the only text
    field, or the only integer field when there is no text field; of several, one that is called "class". With `join`,
    a CSV table, the class is looked up there by the field `on`, which both have.

    Raises
    ------
    LabelError
        The file cannot be read, has several layers and none is named, or the class field is missing or ambiguous.
    """
    path, layer = _split_layer(path, layer)
    notes: list[str] = []
    meta, geometry, columns = _read(path, layer, notes)
    fields = dict(zip((str(name) for name in meta["fields"]), columns, strict=True))
    legend = read_qml(path)
    contradictions: dict[str, int] = {}
    if join is not None:
        fields, contradictions = _joined(path, fields, join, on, notes)
    chosen = _class_field(path if join is None else join, fields, class_field, legend)
    if join is not None and contradictions.get(chosen):
        told = f"{contradictions[chosen]} keys have rows that differ in {chosen}; their features are left out"
        notes.append(f"{join.name}: {told}")
    names, numeric = _class_names(path, chosen, fields[chosen])
    colors = _field_colors(fields, names)
    if legend.attribute in (None, chosen):
        legend = Legend(legend.names, {**legend.colors, **colors}, legend.attribute)
    else:
        legend = Legend({}, colors)  # a style of another field
    shapes = shapely.force_2d(shapely.from_wkb(geometry, on_invalid="ignore"))
    labelled = names != ""
    shapes, index = shapes[labelled], np.flatnonzero(labelled)
    parts, feature, repaired = _parts(shapes)
    present = np.unique(feature)
    crs = _crs(path, meta["crs"])
    return Features(
        parts,
        index[feature],
        names[index[feature]],
        crs,
        chosen,
        numeric,
        legend,
        repaired,
        int(len(shapes) - len(present)),
        int((~labelled).sum()),
        tuple(notes),
    )


def is_vector(path: Path) -> bool:
    """Whether OGR finds features in the file at `path`, and GDAL no raster (a GeoPackage may hold either)."""
    path, _ = _split_layer(path, None)
    if not path.is_file() or path.suffix.lower() in _TABLE_ENDINGS:
        return path.suffix.lower() in _VECTOR_ENDINGS + _TABLE_ENDINGS
    try:
        found = any(kind is not None for _, kind in pyogrio.list_layers(path))
    except (DataSourceError, DataLayerError, UnicodeDecodeError):
        return path.suffix.lower() in _VECTOR_ENDINGS
    return found


def read_fields(path: Path, layer: str | None = None) -> dict[str, NDArray]:
    """Name and values of the fields of a label file. Raises LabelError when it cannot be read."""
    path, layer = _split_layer(path, layer)
    meta, _, columns = _read(path, layer, [])
    return dict(zip((str(name) for name in meta["fields"]), columns, strict=True))


def read_polygons(path: Path, layer: str | None = None) -> tuple[NDArray[np.object_], CRS | None]:
    """The polygons of a file, repaired where invalid, and their coordinate system.

    Raises
    ------
    LabelError
        The file cannot be read or holds no polygon.
    """
    path, layer = _split_layer(path, layer)
    meta, geometry, _ = _read(path, layer, [])
    parts, _, _ = _parts(shapely.force_2d(shapely.from_wkb(geometry, on_invalid="ignore")))
    polygons = parts[shapely.get_type_id(parts) == _POLYGON]
    if not len(polygons):
        raise LabelError(path, "holds no polygons", "give polygons, or a raster that is 0 where pixels are left out")
    return polygons, _crs(path, meta["crs"])


def project(parts: NDArray[np.object_], source: CRS | None, target: CRS | None) -> NDArray[np.object_]:
    """The parts in the coordinate system of a grid; those that cannot be projected there become empty points."""
    if source is None or target is None or source == target or not len(parts):
        return parts

    def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = reproject_points(source, target, xy[:, 0], xy[:, 1])
        return np.column_stack([x, y])

    moved: NDArray[np.object_] = shapely.transform(parts, move)
    moved[~np.isfinite(shapely.bounds(moved)).all(axis=1)] = shapely.Point()
    return moved


def _split_layer(path: Path, layer: str | None) -> tuple[Path, str | None]:
    name, separator, inside = str(path).partition(_LAYER)
    return (Path(name), layer or inside.partition("|")[0]) if separator else (path, layer)


def _read(path: Path, layer: str | None, notes: list[str]) -> tuple[dict, NDArray[np.object_], Sequence[NDArray]]:
    if path.is_dir():
        raise LabelError(path, "is a folder", "name a file of points or polygons in it")
    if not path.exists():
        raise LabelError(path, "does not exist", "check the path")
    if path.suffix.lower() in _TABLE_ENDINGS:
        return _points_of_table(path)
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        if layer is None and len(layers) > 1:
            raise LabelError(
                path, f"has the layers {', '.join(layers)}", f"name one, e.g. '{path.name}{_LAYER}{layers[0]}'"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # e.g. measured geometries, which are read without their measure
            meta, _, geometry, columns = _decoded(path, layer or (layers[0] if layers else None), notes)
    except UnicodeDecodeError as error:
        fault = f"holds text that is not in {error.encoding}, the encoding it declares"
        raise LabelError(path, fault, _remedy_encoding(path)) from error
    except (DataSourceError, DataLayerError, FieldError) as error:
        reason = " ".join(str(error).split("; It might help")[0].replace(f"'{path}' ", "").split())
        raise LabelError(
            path, f"cannot be read as labels ({reason})", "give a shapefile, GeoPackage, GeoJSON or a label raster"
        ) from error
    if geometry is None:
        raise LabelError(path, "has no geometry", "give a file of points or polygons")
    if len(geometry) == 0:
        raise LabelError(path, "holds no features", "give a file with labelled points or polygons")
    return meta, geometry, columns


def _points_of_table(path: Path) -> tuple[dict, NDArray[np.object_], Sequence[NDArray]]:
    """Points of a CSV table with columns of coordinates; longitude and latitude are WGS 84."""
    table = read_table(path, "the labels")
    found = [(table.column(x), table.column(y), crs) for x, y, crs in _COORDINATES]
    x_column, y_column, crs = next((one for one in found if one[0] and one[1]), (None, None, None))
    if x_column is None or y_column is None:
        fault = f"has no columns of coordinates among {', '.join(table.columns)[:120] or 'none'}"
        raise LabelError(path, fault, "name them x and y (in the scene's system), or lon and lat")
    if not table.rows:
        raise LabelError(path, "holds no features", "give a file with labelled points or polygons")
    places = []
    for number, row in enumerate(table.rows, start=2):
        try:
            places.append((float(row[x_column]), float(row[y_column])))
        except ValueError as error:
            fault = f"has no number in {x_column} or {y_column} in line {number}"
            raise LabelError(path, fault, "correct the line, or take it out") from error
    names = [name for name in table.columns if name not in (x_column, y_column)]
    columns = [_typed([row[name].strip() for row in table.rows]) for name in names]
    return {"fields": names, "crs": crs}, shapely.to_wkb(shapely.points(places)), columns


def _typed(cells: list[str]) -> NDArray:
    """Whole numbers, numbers, or text with None for empty cells."""
    for kind in (np.int64, np.float64):
        try:
            return np.array(cells).astype(kind)
        except ValueError:
            continue
    return np.array([cell or None for cell in cells], object)


def _decoded(
    path: Path, layer: str | None, notes: list[str]
) -> tuple[dict, Any, NDArray[np.object_], Sequence[NDArray]]:
    """What pyogrio reads. A shapefile that does not tell its encoding is UTF-8 where that fits, else Windows-1252."""
    told = path.suffix.lower() != ".shp" or path.with_suffix(".cpg").exists() or path.with_suffix(".CPG").exists()
    if told or pyogrio.read_info(path, layer=layer)["encoding"] != "ISO-8859-1":
        return pyogrio.raw.read(path, layer=layer)
    try:
        return pyogrio.raw.read(path, layer=layer, encoding="UTF-8")
    except UnicodeDecodeError:
        notes.append(f"{path.name}: does not tell its encoding; read as Windows-1252 (else {_remedy_encoding(path)})")
        return pyogrio.raw.read(path, layer=layer, encoding="CP1252")


def _remedy_encoding(path: Path) -> str:
    if path.suffix.lower() == ".shp":
        return f"write the encoding, e.g. CP1251, into {path.with_suffix('.cpg').name}"
    return "save it again in UTF-8"


def _class_field(path: Path, fields: dict[str, NDArray], wanted: str | None, legend: Legend) -> str:
    available = [name for name in fields if name.lower() not in _COLOR_FIELDS]
    if wanted is not None:
        for name in available:  # field names are case-insensitive in most formats
            if name.lower() == wanted.lower():
                return name
        raise LabelError(
            path, f"has no field {wanted!r}", f"choose --class-field from {', '.join(available) or 'none'}"
        )
    if legend.attribute in available:
        return legend.attribute
    text = [name for name in available if fields[name].dtype == object and any(fields[name] != None)]  # noqa: E711
    whole = [
        name
        for name in available
        if np.issubdtype(fields[name].dtype, np.integer) and name.lower() not in {"fid", "id"}
    ]
    candidates = text or whole
    if not candidates:
        raise LabelError(path, "has no text or integer field for the class", "add one, or join a table with --join")
    named = [name for name in candidates if name.lower() == "class"]
    if named:
        return named[0]
    if len(candidates) > 1:
        fault = f"{', '.join(candidates)} could each be the class"
        raise LabelError(path, fault, f"choose one, e.g. --class-field {candidates[-1]}")
    return candidates[0]


def _class_names(path: Path, field: str, values: NDArray) -> tuple[NDArray[np.str_], bool]:
    """Class of each feature as text ("" where there is none), and whether the field holds numbers."""
    if np.issubdtype(values.dtype, np.integer):
        return values.astype(np.str_), True
    if np.issubdtype(values.dtype, np.floating):
        known = np.isfinite(values)
        if np.any(values[known] != np.round(values[known])):
            raise LabelError(
                path, f"field {field!r} holds fractions", "choose a text or whole-number field with --class-field"
            )
        whole = np.where(known, values, 0).astype(np.int64).astype(np.str_)
        return np.where(known, whole, ""), True
    if values.dtype != object:
        raise LabelError(path, f"field {field!r} holds {values.dtype} values", "choose a text or whole-number field")
    names = np.array([_text(value) for value in values], np.str_)
    return names, bool(np.all([name.lstrip("-").isdigit() for name in names if name]))


def _text(value: object) -> str:
    """A cell of a text column; OGR gives None or NaN where there is none."""
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value).strip()


def _field_colors(fields: dict[str, NDArray], names: NDArray[np.str_]) -> dict[str, Color]:
    """Class name → colour of a `color` field; the first colour of a class counts."""
    colors: dict[str, Color] = {}
    column = next((fields[name] for name in fields if name.lower() in _COLOR_FIELDS), None)
    for name, value in [] if column is None else zip(names.tolist(), column, strict=True):
        color = parse_color(value) if isinstance(value, str) else None
        if color is not None and name:
            colors.setdefault(name, color)
    return colors


def _joined(
    path: Path, fields: dict[str, NDArray], join: Path, on: str | None, notes: list[str]
) -> tuple[dict[str, NDArray], dict[str, int]]:
    """The columns of the CSV table for each feature, beside the fields of the features, and their contradictions.

    A feature without a match, or whose rows differ in a column, has None there. Per column the keys with such rows are
    counted.
    """
    table = read_table(join, "--join")
    header = table.columns
    shared = [name for name in fields if name in header]
    if on is None and len(shared) != 1:
        fault = f"shares {', '.join(shared) or 'no column'} with {path.name}"
        raise LabelError(join, fault, "name the key with --on")
    key = on or shared[0]
    if key not in fields:
        raise LabelError(path, f"has no field {key!r}", f"choose --on from {', '.join(shared) or 'the shared columns'}")
    if key not in header:
        raise LabelError(
            join, f"has no column {key!r}", f"choose --on from {', '.join(shared) or 'the shared columns'}"
        )
    by_key: dict[str, list[dict[str, str]]] = {}
    for row in table.rows:
        by_key.setdefault(row[key].strip(), []).append(row)
    keys = ["" if value is None else str(value).strip() for value in fields[key].tolist()]
    matched = sum(value in by_key for value in keys)
    if not matched:
        raise LabelError(join, f"has no {key} of {path.name}", "join a table that belongs to these labels")
    notes.append(f"{join.name}: {matched} of {len(keys)} features found by {key}")
    joined: dict[str, NDArray] = {}
    for name in header:
        if name != key:
            cells = [_agreed(by_key.get(value, []), name) for value in keys]
            joined[name] = np.array([cell or None for cell in cells], object)
    return {**fields, **joined}, {
        name: sum(_agreed(found, name) is None for found in by_key.values()) for name in joined
    }


def _agreed(rows: Sequence[dict[str, str]], column: str) -> str | None:
    """The cell that rows of one key share: "" without rows, None when they differ."""
    cells = {row[column].strip() for row in rows} - {""}
    return None if len(cells) > 1 else next(iter(cells), "")


def _parts(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64], int]:
    """Valid points and polygons of the geometries, the geometry each comes from, and how many were repaired.

    Parts are repaired one by one (bow ties, wrong holes): quick, and parts that overlap each other do no harm.
    """
    parts, index = _single(*shapely.get_parts(shapes, return_index=True))
    broken = ~shapely.is_valid(parts)
    repaired = len(np.unique(index[broken]))
    if repaired:
        parts[broken] = shapely.make_valid(parts[broken])
        parts, index = _single(parts, index)
    usable = np.isin(shapely.get_type_id(parts), (_POINT, _POLYGON)) & ~shapely.is_empty(parts)
    usable &= np.isfinite(shapely.bounds(parts)).all(axis=1)
    return parts[usable], index[usable], repaired


def _single(parts: NDArray[np.object_], index: NDArray[np.integer]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Multi-part geometries and collections taken apart to the last, in the order of `index`."""
    nested = shapely.get_type_id(parts) > _POLYGON
    while nested.any():
        inner, owner = shapely.get_parts(parts[nested], return_index=True)
        parts, index = np.concatenate([parts[~nested], inner]), np.concatenate([index[~nested], index[nested][owner]])
        nested = shapely.get_type_id(parts) > _POLYGON
    order = np.argsort(index, kind="stable")
    return parts[order], index[order].astype(np.int64)


def _crs(path: Path, text: str | None) -> CRS | None:
    if not text:
        return None
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        fault = "has a coordinate system that cannot be understood"
        raise LabelError(path, fault, "write the labels again with a usual one, e.g. an EPSG code") from error
