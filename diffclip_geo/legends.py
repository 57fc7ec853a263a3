"""Class names and colours that come with label files: QGIS styles (.qml) and what a raster carries itself."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from rasterio.io import DatasetReader

from .categories import read_categories, read_colors
from .errors import LabelError
from .palette import Color, parse_color
from .tables import Table, read_table


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


_CODE_COLUMNS = {"code", "value", "id", "class_id", "classid", "number", "key", "taxonid"}
_NAME_COLUMNS = {"name", "class", "label", "class_name", "classname", "title", "description"}
_COLOR_COLUMNS = {"color", "colour", "rgb", "hex"}


def read_legend(path: Path) -> Legend:
    """Names (and colours) of class codes from a CSV table or a QGIS style.

    The table has a column of codes (code, value or id; else the first), one of names (name, class or label; else the
    second) and, if need be, one of colours (color: #rrggbb or "r,g,b") or three (r, g, b).

    Raises
    ------
    LabelError
        The file is missing or tells no names, or a code has two names.
    """
    if path.suffix.lower() == ".qml":
        if not path.is_file():
            raise LabelError(path, "does not exist", "check the path given to --legend")
        style = read_qml(path)
        if not style.names:
            raise LabelError(path, "is no style with categories", "give a categorised style or a CSV table")
        return style
    table = read_table(path, "--legend")
    code_column = table.column(_CODE_COLUMNS) or next(iter(table.columns), None)
    others = [column for column in table.columns if column != code_column]
    name_column = table.column(_NAME_COLUMNS - {str(code_column).lower()}) or next(iter(others), None)
    if code_column is None or name_column is None:
        raise LabelError(path, "has no columns of codes and names", "give a CSV table that begins with code,name")
    names: dict[str, str] = {}
    colors: dict[str, Color] = {}
    for row in table.rows:
        code, name = _plain_code(row[code_column]), row[name_column].strip()
        if not code or not name:
            continue
        if names.setdefault(code, name) != name:
            raise LabelError(path, f"gives {code} the names {names[code]!r} and {name!r}", "keep one of them")
        _put(colors, code, _row_color(table, row))
    if not names:
        raise LabelError(path, "names no class", "give a CSV table that begins with code,name")
    return Legend(names, colors)


def _row_color(table: Table, row: Mapping[str, str]) -> str | None:
    column = table.column(_COLOR_COLUMNS)
    if column is not None:
        return row[column]
    parts = [table.column({one, word}) for one, word in (("r", "red"), ("g", "green"), ("b", "blue"))]
    return None if None in parts else ",".join(row[part] for part in parts if part is not None)


def _plain_code(text: str) -> str:
    """A code as labels spell it: whole numbers without leading zeros or decimals."""
    text = text.strip()
    number = re.fullmatch(r"([-+]?\d+)(\.0*)?", text)
    return str(int(number[1])) if number else text


def read_raster_legend(dataset: DatasetReader) -> Legend:
    """Names and colours in a label raster: category names, attribute table (which has the say), colour table."""
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
