"""A GeoPackage of points to be labelled, with a QGIS style that offers the classes in a list."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from .atomic import FileSet
from .classes import ClassTable
from .errors import OutputError
from .qml import style_path

LAYER = "points"
_UNLABELLED = (255, 255, 255)


@dataclass(frozen=True)
class Points:
    """Points `[N, 2]` in map coordinates, the most useful first, and what the classifier takes them for ("" without
    one), with its confidence (NaN without one).
    """

    place: NDArray[np.float64]
    proposed: Sequence[str]
    confidence: NDArray[np.floating]

    def __len__(self) -> int:
        return len(self.place)


def point_files(out: Path) -> list[Path]:
    """The files that `write_points` makes for ``points.gpkg``, which itself is the first."""
    return [out, style_path(out)]


def check_name(out: Path) -> None:
    """Raise OutputError for a name that is not a GeoPackage's."""
    if out.suffix.lower() != ".gpkg":
        raise OutputError(out, "is not the name of a GeoPackage", "let it end in .gpkg")


def write_points(out: Path, points: Points, crs: CRS | None, classes: ClassTable | None, overwrite: bool) -> None:
    """Write the points with the fields ``id`` (1, 2, …), ``class`` (empty, to be filled in), ``proposed`` and
    ``confidence``, and the style ``points.qml``, in which ``class`` is chosen from the classes known so far.

    Raises
    ------
    OutputError
        A file exists, or cannot be written.
    """
    check_name(out)
    count = len(points)
    fields = {
        "id": np.arange(1, count + 1, dtype=np.int32),
        "class": np.full(count, None, object),
        "proposed": np.array([name or None for name in points.proposed], object),
        "confidence": np.asarray(points.confidence, np.float64),
    }
    with FileSet(out, overwrite=overwrite) as files:
        try:
            pyogrio.raw.write(
                files.stage(out),
                geometry=shapely.to_wkb(shapely.points(points.place)),
                field_data=list(fields.values()),
                fields=list(fields),
                geometry_type="Point",
                crs=None if crs is None else crs.to_wkt(),
                layer=LAYER,
                driver="GPKG",
            )
        except (OSError, RuntimeError) as error:
            raise OutputError(out, f"cannot be written ({error})", "check the free space of the disk") from error
        files.stage(style_path(out)).write_text(points_qml(classes), encoding="utf-8")


def points_qml(classes: ClassTable | None) -> str:
    """Style of points to label: coloured by ``class``, white while it is empty; a list of the classes in the form."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology|Fields|Forms")
    renderer = ET.SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class", forceraster="0")
    categories, symbols = ET.SubElement(renderer, "categories"), ET.SubElement(renderer, "symbols")
    names = [] if classes is None else list(classes.names)
    shown = [*zip(names, names, [] if classes is None else classes.colors, strict=True), ("", "to label", _UNLABELLED)]
    for index, (value, label, color) in enumerate(shown):
        ET.SubElement(categories, "category", value=value, label=label, symbol=str(index), render="true")
        symbol = ET.SubElement(symbols, "symbol", {"name": str(index), "type": "marker", "alpha": "1"})
        layer = ET.SubElement(symbol, "layer", {"class": "SimpleMarker", "enabled": "1", "locked": "0", "pass": "0"})
        drawn = ("color", ",".join(map(str, (*color, 255)))), ("outline_color", "0,0,0,255"), ("size", "3")
        for key, text in (*drawn, ("name", "circle")):
            ET.SubElement(layer, "prop", k=key, v=text)
    if names:
        field = ET.SubElement(ET.SubElement(root, "fieldConfiguration"), "field", name="class")
        config = ET.SubElement(ET.SubElement(field, "editWidget", type="ValueMap"), "config")
        values = ET.SubElement(ET.SubElement(config, "Option", type="Map"), "Option", name="map", type="List")
        for name in names:
            ET.SubElement(ET.SubElement(values, "Option", type="Map"), "Option", name=name, value=name, type="QString")
    ET.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, encoding="unicode") + "\n"
