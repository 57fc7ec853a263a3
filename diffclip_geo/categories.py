"""Class names and colours inside rasters: GDAL's category names, raster attribute table and colour table.

rasterio writes colour tables but has no call for category names and attribute tables. GDAL keeps both in the
``.aux.xml`` file beside the raster (its "persistent auxiliary metadata"), which is simple enough to write directly, and
shows the category names of any format in the text of a VRT, which is how they are read.

The colour table is in that file, too, though the TIFF has one: that of an 8-bit TIFF has 256 entries whatever the
number of classes, and programs list them all. The one in the side file has the classes alone, and GDAL prefers it.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path

import rasterio.shutil
from rasterio.io import DatasetReader, MemoryFile

from .classes import ClassTable

CLASS_NAMES_TAG = "CLASS_NAMES"  # names again, inside the TIFF, for a map that was copied without its .aux.xml

# Codes of GDALRATFieldType and GDALRATFieldUsage (gdal.h).
_INTEGER, _REAL, _STRING = 0, 1, 2
_COLUMNS = (  # name, type, usage. Counts are real: GDAL's integer columns end at 2^31 pixels, doubles are exact to 2^53
    ("Value", _INTEGER, 5),
    ("Count", _REAL, 1),
    ("Name", _STRING, 2),
    ("R", _INTEGER, 6),
    ("G", _INTEGER, 7),
    ("B", _INTEGER, 8),
)
_AREA = ("Area_ha", _REAL, 0)
_NO_DATA = "no data"


def auxiliary_path(raster: Path) -> Path:
    """The file in which GDAL looks for category names and attribute table: ``map.tif.aux.xml``."""
    return raster.with_name(f"{raster.name}.aux.xml")


def auxiliary_xml(
    classes: ClassTable, counts: Sequence[int], pixel_area: float | None = None, tags: Mapping[str, str] | None = None
) -> str:
    """Text of the ``.aux.xml`` of a label map: category names, colours, and one row per class with its pixel count,
    colour and, where a pixel has an area (m²), hectares; besides `tags` for formats that have no place for them.

    Class i + 1 has `classes.names[i]` and `counts[i]` pixels. Value 0 is "no data", transparent, and has no row.
    """
    root = ET.Element("PAMDataset")
    if tags:
        metadata = ET.SubElement(root, "Metadata")
        for key, value in tags.items():
            ET.SubElement(metadata, "MDI", key=key).text = value
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    ET.SubElement(band, "Description").text = "class"
    ET.SubElement(band, "ColorInterp").text = "Palette"
    categories = ET.SubElement(band, "CategoryNames")
    for name in (_NO_DATA, *classes.names):
        ET.SubElement(categories, "Category").text = name
    palette = ET.SubElement(band, "ColorTable")
    for entry in ((0, 0, 0, 0), *((*color, 255) for color in classes.colors)):
        ET.SubElement(palette, "Entry", {f"c{i}": str(part) for i, part in enumerate(entry, start=1)})
    columns = _COLUMNS if pixel_area is None else (*_COLUMNS, _AREA)
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for index, (column, kind, usage) in enumerate(columns):
        field = ET.SubElement(table, "FieldDefn", index=str(index))
        for key, setting in (("Name", column), ("Type", str(kind)), ("Usage", str(usage))):
            ET.SubElement(field, key).text = setting
    for index, (name, color, count) in enumerate(zip(classes.names, classes.colors, counts, strict=True)):
        row = ET.SubElement(table, "Row", index=str(index))
        area = [] if pixel_area is None else [f"{count * pixel_area / 10_000:.10g}"]
        cells: tuple[object, ...] = (index + 1, count, name, *color, *area)
        for cell in cells:
            ET.SubElement(row, "F").text = str(cell)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def read_categories(dataset: DatasetReader) -> dict[int, str]:
    """Class names of a label raster by pixel value: its category names in any format GDAL reads, else the names in the
    tags of our own maps. Left out are values without a name, and 0, which is no class: "Unclassified" in ENVI images,
    "no data" in our maps. Empty when the raster names nothing."""
    with MemoryFile(ext=".vrt") as memory:
        rasterio.shutil.copy(dataset, memory.name, driver="VRT")
        names = [
            node.text or ""
            for node in ET.fromstring(memory.read()).iterfind("VRTRasterBand[@band='1']/CategoryNames/Category")
        ]
    if not any(names[1:]):
        names = ["", *json.loads(dataset.tags().get(CLASS_NAMES_TAG, "[]"))]
    return {value: name.strip() for value, name in enumerate(names) if value and name.strip()}


def read_colors(dataset: DatasetReader) -> dict[int, tuple[int, int, int]]:
    """Colour (red, green, blue; 0 … 255) of each pixel value in the colour table; empty when there is none."""
    try:
        return {value: color[:3] for value, color in dataset.colormap(1).items()}
    except ValueError:  # rasterio's way to say that the band has no colour table
        return {}
