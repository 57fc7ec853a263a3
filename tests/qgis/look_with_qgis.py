"""Run by the Python of a QGIS installation: load layers as a user would, tell what QGIS made of them, draw them.

Arguments: pairs of a layer and the PNG to draw; prints one JSON object per layer.
"""

import json
import os
import sys

from qgis.core import (
    Qgis,
    QgsApplication,
    QgsMapRendererSequentialJob,
    QgsMapSettings,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QSize
from qgis.PyQt.QtGui import QColor


def entries(layer):
    renderer = layer.renderer()
    if renderer.type() == "paletted":
        return [[int(one.value), one.label, one.color.name(), one.color.alpha()] for one in renderer.classes()]
    if renderer.type() == "singlebandpseudocolor":
        items = renderer.shader().rasterShaderFunction().colorRampItemList()
        return [[one.value, one.label, one.color.name(), one.color.alpha()] for one in items]
    if renderer.type() == "categorizedSymbol":
        return [[one.value(), one.label(), one.symbol().color().name(), 255] for one in renderer.categories()]
    return []


def draw(layer, width, height, path):
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setDestinationCrs(layer.crs())
    settings.setBackgroundColor(QColor(255, 255, 255))
    settings.setFlag(QgsMapSettings.Antialiasing, False)
    settings.setOutputSize(QSize(width, height))
    settings.setExtent(layer.extent())
    job = QgsMapRendererSequentialJob(settings)
    job.start()
    job.waitForFinished()
    job.renderedImage().save(path)


application = QgsApplication([], False)
application.initQgis()
for source, picture in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
    if source.endswith(".gpkg"):
        layer = QgsVectorLayer(f"{source}|layername=classes", "map", "ogr")
        size = (100, 100)
    else:
        layer = QgsRasterLayer(source, "map")
        size = (layer.width(), layer.height())
    draw(layer, *size, picture)
    facts = {
        "qgis": Qgis.QGIS_VERSION,
        "valid": layer.isValid(),
        "renderer": layer.renderer().type(),
        "entries": entries(layer),
        "crs": layer.crs().authid(),
    }
    print("LAYER " + json.dumps(facts))
sys.stdout.flush()
os._exit(0)  # the orderly way out crashes in some versions while Python still holds layers
