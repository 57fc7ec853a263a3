"""Run by the Python of a QGIS installation: open points, tell how they are shown, fill in classes as a user would.

Arguments: the GeoPackage, then a class for each of its first points. Prints one JSON object.
"""

import json
import os
import sys

from qgis.core import QgsApplication, QgsVectorLayer

application = QgsApplication([], False)
application.initQgis()
layer = QgsVectorLayer(sys.argv[1], "points", "ogr")
field = layer.fields().indexOf("class")
widget = layer.editorWidgetSetup(field)
offered = [name for entry in widget.config().get("map", []) for name in entry.values()]
facts = {
    "valid": layer.isValid(),
    "crs": layer.crs().authid(),
    "fields": [one.name() for one in layer.fields()],
    "widget": widget.type(),
    "offered": offered,
    "categories": [[one.value(), one.symbol().color().name()] for one in layer.renderer().categories()],
}
layer.startEditing()
features = sorted(layer.getFeatures(), key=lambda one: one["id"])
for feature, name in zip(features, sys.argv[2:], strict=False):
    layer.changeAttributeValue(feature.id(), field, name)
facts["saved"] = layer.commitChanges()
print("LAYER " + json.dumps(facts))
sys.stdout.flush()
os._exit(0)  # the orderly way out crashes in some versions while Python still holds layers
