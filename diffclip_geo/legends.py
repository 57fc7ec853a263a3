"""Class names and colours that come with label files: QGIS styles (.qml) and what a raster carries itself."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from rasterio.io import DatasetReader

from .palette import Color, parse_color


@dataclass(frozen=True)
class Legend:
    """Names and colours by class value as in the file ("Roof", "3"); `attribute` is the field that a style is about."""

    names: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, Color] = field(default_factory=dict)
    attribute: str | None = None


def read_qml(labels: Path) -> Legend:
    """The legend of the QGIS style beside a label file (categorised vector or paletted raster); empty without one."""
    path = labels.with_suffix(".qml")
    if not path.is_file():
        return Legend()
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, UnicodeDecodeError):
        return Legend()  # a broken style costs colours, not the labels
    names: dict[str, str] = {}
    colors: dict[str, Color] = {}
    for entry in root.iter("paletteEntry"):
        names[entry.get("value", "")] = entry.get("label", "") or entry.get("value", "")
        _put(colors, entry.get("value", ""), entry.get("color", ""))
    renderer = root.find("renderer-v2")
    if renderer is None or renderer.get("type") != "categorizedSymbol":
        return Legend(names, colors)
    symbols = {symbol.get("name", ""): _symbol_color(symbol) for symbol in renderer.iterfind("symbols/symbol")}
    for category in renderer.iter("category"):
        value = category.get("value", "")
        if value:
            names[value] = category.get("label") or value
            _put(colors, value, symbols.get(category.get("symbol", "")))
    return Legend(names, colors, (renderer.get("attr") or "").strip('"') or None)


def read_raster_legend(dataset: DatasetReader) -> Legend:
    """Names and colours in a label raster: category names, attribute table (which has the say), colour table."""
    from .categories import read_categories, read_colors  # here, because it needs the class table that labels offer

    names = {str(value): name for value, name in read_categories(dataset).items()}
    colors = {str(value): color for value, color in read_colors(dataset).items()}
    sidecar = Path(f"{dataset.name}.aux.xml")
    if sidecar.is_file():
        with contextlib.suppress(ElementTree.ParseError):
            table = ElementTree.parse(sidecar).getroot().find(".//GDALRasterAttributeTable")
            names |= {} if table is None else _attribute_table(table)
    return Legend(names, colors)


def _attribute_table(table: ElementTree.Element) -> dict[str, str]:
    """Value → name of a raster attribute table, whose columns are known by usage (MinMax 5, Min 3, Name 2) or name."""
    value_column = name_column = None
    for column in table.iterfind("FieldDefn"):
        index, usage, title = (
            int(column.get("index", -1)),
            column.findtext("Usage"),
            (column.findtext("Name") or "").lower(),
        )
        if value_column is None and (usage in {"3", "5"} or title == "value"):
            value_column = index
        if name_column is None and (usage == "2" or title in {"name", "class", "class_name"}):
            name_column = index
    if value_column is None or name_column is None:
        return {}
    names = {}
    for row in table.iterfind("Row"):
        cells = [cell.text or "" for cell in row.iterfind("F")]
        try:
            names[str(int(float(cells[value_column])))] = cells[name_column].strip()
        except (ValueError, IndexError):
            continue
    return names


def _symbol_color(symbol: ElementTree.Element) -> str | None:
    """Colour of the first layer: <Option name="color" value="r,g,b,a"/>; before QGIS 3.20 <prop k="color" v=""/>."""
    for option in symbol.iter("Option"):
        if option.get("name") == "color":
            return option.get("value")
    for option in symbol.iter("prop"):
        if option.get("k") == "color":
            return option.get("v")
    return None


def _put(colors: dict[str, Color], value: str, text: str | None) -> None:
    color = parse_color(text) if text else None
    if color is not None:
        colors[value] = color
