"""QGIS layer styles: a ``map.qml`` beside ``map.tif`` is applied by QGIS when the raster is opened."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from .classes import ClassTable

# Viridis at 0, ¼, ½, ¾, 1: even in lightness, readable by colour-blind eyes and in grey print.
CONFIDENCE_RAMP = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")


def style_path(raster: Path) -> Path:
    """The style file that QGIS applies to a raster: ``map.qml`` for ``map.tif``."""
    return raster.with_suffix(".qml")


def classes_qml(classes: ClassTable) -> str:
    """Style of a label map: a paletted renderer with one entry per class, names as labels, and nothing else."""
    renderer = ET.Element("rasterrenderer", _renderer("paletted"))
    palette = ET.SubElement(renderer, "colorPalette")
    for value, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True), start=1):
        ET.SubElement(
            palette,
            "paletteEntry",
            value=str(value),
            label=name,
            color="#{:02x}{:02x}{:02x}".format(*color),
            alpha="255",
        )
    return _document(renderer)


def confidence_qml() -> str:
    """Style of a confidence map: a continuous colour ramp from 0 to 1, the same for every map so that maps compare."""
    limits = {"classificationMin": "0", "classificationMax": "1"}
    renderer = ET.Element("rasterrenderer", _renderer("singlebandpseudocolor") | limits)
    ramp = {
        "minimumValue": "0",
        "maximumValue": "1",
        "colorRampType": "INTERPOLATED",
        "classificationMode": "1",
        "clip": "0",
    }
    shader = ET.SubElement(ET.SubElement(renderer, "rastershader"), "colorrampshader", ramp)
    for index, color in enumerate(CONFIDENCE_RAMP):
        value = index / (len(CONFIDENCE_RAMP) - 1)
        ET.SubElement(shader, "item", value=f"{value:g}", label=f"{value:.2f}", color=color, alpha="255")
    return _document(renderer)


def polygons_qml(classes: ClassTable) -> str:
    """Style of the polygons of a map: filled by the field ``class``, without outlines that would hide small patches."""
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    renderer = ET.SubElement(root, "renderer-v2", type="categorizedSymbol", attr="class", forceraster="0")
    categories, symbols = ET.SubElement(renderer, "categories"), ET.SubElement(renderer, "symbols")
    for index, (name, color) in enumerate(zip(classes.names, classes.colors, strict=True)):
        ET.SubElement(categories, "category", value=name, label=name, symbol=str(index), render="true")
        symbol = ET.SubElement(symbols, "symbol", {"name": str(index), "type": "fill", "alpha": "1"})
        layer = ET.SubElement(symbol, "layer", {"class": "SimpleFill", "enabled": "1", "locked": "0", "pass": "0"})
        fill = ",".join(map(str, (*color, 255)))
        for key, value in (("color", fill), ("style", "solid"), ("outline_style", "no")):
            ET.SubElement(layer, "prop", k=key, v=value)
    return _text(root)


def _renderer(kind: str) -> dict[str, str]:
    return {"type": kind, "band": "1", "opacity": "1", "alphaBand": "-1", "nodataColor": ""}


def _document(renderer: ET.Element) -> str:
    root = ET.Element("qgis", version="3.22", styleCategories="Symbology")
    ET.SubElement(root, "pipe").append(renderer)
    ET.SubElement(root, "blendMode").text = "0"
    return _text(root)


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ET.tostring(root, encoding="unicode") + "\n"
