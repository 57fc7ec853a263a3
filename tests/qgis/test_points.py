"""Suggested points in a real QGIS: classes are chosen from a list, and what is saved there is read back."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
from rasterio.crs import CRS
from test_qgis import qgis_python  # noqa: F401

from diffclip_geo.classes import ClassTable
from diffclip_geo.pointfiles import Points, write_points
from diffclip_geo.vectors import read_features

CLASSES = ClassTable(("Tree", 'Röad & "path" <1>'), ((0, 100, 0), (128, 128, 128)))


def test_points_are_labelled_from_a_list_and_read_back(qgis_python: str, tmp_path: Path) -> None:  # noqa: F811
    place = np.array([[500_000.0, 5_000_000.0], [500_010, 5_000_000], [500_020, 5_000_020]])
    points = Points(place, ["Tree", "Tree", CLASSES.names[1]], np.array([0.5, 0.4, 0.3]))
    path = tmp_path / "points.gpkg"
    write_points(path, points, CRS.from_epsg(32633), CLASSES, False)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GDAL", "PROJ"))}
    script = Path(__file__).with_name("label_with_qgis.py")
    done = subprocess.run(
        [qgis_python, str(script), str(path), CLASSES.names[1], "Tree"],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"QT_QPA_PLATFORM": "offscreen"},
        timeout=120,
    )
    facts = json.loads(done.stdout.split("LAYER ")[-1])
    assert facts["valid"] and facts["crs"] == "EPSG:32633" and facts["saved"]
    assert facts["fields"] == ["fid", "id", "class", "proposed", "confidence"]
    assert facts["widget"] == "ValueMap" and facts["offered"] == list(CLASSES.names)
    assert facts["categories"] == [["Tree", "#006400"], [CLASSES.names[1], "#808080"], ["", "#ffffff"]]
    features = read_features(path)
    assert features.name.tolist() == [CLASSES.names[1], "Tree"] and features.unlabelled == 1
