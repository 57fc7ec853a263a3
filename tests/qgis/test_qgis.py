"""Maps in a real QGIS: opened with no further action, they show exactly the class names and colours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS

from diffclip_geo.classes import ClassTable
from diffclip_geo.grid import Grid
from diffclip_geo.maps import ConfidenceWriter, LabelMapWriter, confidence_path
from diffclip_geo.polygons import write_polygons

SCRIPT = Path(__file__).with_name("look_with_qgis.py")
CLASSES = ClassTable(("Tree", 'Röad & "path" <1>', "Water"), ((0, 100, 0), (128, 128, 128), (0, 0, 255)))
GRID = Grid(60, 80, Affine(2, 0, 500_000, 0, -2, 5_000_000), CRS.from_epsg(32633))
ENTRIES = [
    [value, name, "#{:02x}{:02x}{:02x}".format(*color), 255]
    for value, (name, color) in enumerate(zip(CLASSES.names, CLASSES.colors, strict=True), start=1)
]


@pytest.fixture(scope="module")
def qgis_python() -> str:
    """A Python that has PyQGIS: named by QGIS_PYTHON, or the system's."""
    for candidate in filter(None, (os.environ.get("QGIS_PYTHON"), "/usr/bin/python3")):
        if shutil.which(candidate):
            asked = subprocess.run([candidate, "-c", "import qgis.core"], capture_output=True, check=False)
            if asked.returncode == 0:
                return candidate
    pytest.skip("PyQGIS is not installed (Debian: apt-get install qgis python3-qgis; else name it in QGIS_PYTHON)")


def look(python: str, *paths: Path) -> list[dict[str, Any]]:
    """What QGIS makes of layers, and what it draws of them, [h, w, 3], as ``pixels``."""
    pictures = [path.with_name(f"{path.name}.qgis.png") for path in paths]
    arguments = [str(one) for pair in zip(paths, pictures, strict=True) for one in pair]
    # Without the variables of this Python, which would send the other one to the wrong libraries.
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GDAL", "PROJ"))}
    environment |= {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(
        [python, str(SCRIPT), *arguments], capture_output=True, text=True, check=True, env=environment, timeout=120
    )
    found = [json.loads(line.removeprefix("LAYER ")) for line in done.stdout.splitlines() if line.startswith("LAYER ")]
    for facts, picture in zip(found, pictures, strict=True):
        facts["pixels"] = (matplotlib.image.imread(picture)[:, :, :3] * 255).round().astype(int)
    return found


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, GRID.shape).astype(np.uint8)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory, labels: np.ndarray) -> Path:
    folder = tmp_path_factory.mktemp("maps")
    with LabelMapWriter(folder / "map.tif", GRID, CLASSES) as writer:
        writer.write(0, 0, labels)
    with ConfidenceWriter(confidence_path(folder / "map.tif"), GRID, "p") as certainty:
        certainty.write(0, 0, np.where(labels, np.linspace(0, 1, 80), np.nan).astype(np.float32))
    with LabelMapWriter(folder / "map.dat", GRID, CLASSES, envi=True, overwrite=True) as writer:
        writer.write(0, 0, labels)
    write_polygons(folder / "map.tif", folder / "map.gpkg")
    return folder


def copies(source: Path, target: Path, *names: str) -> Path:
    target.mkdir()
    for name in names:
        shutil.copy(source / name, target)
    return target / names[0]


def expected(labels: np.ndarray) -> np.ndarray:
    return np.array([(255, 255, 255), *CLASSES.colors])[labels]


def test_map_with_its_companions(qgis_python: str, maps: Path, tmp_path: Path, labels: np.ndarray) -> None:
    whole = copies(maps, tmp_path / "all", "map.tif", "map.tif.aux.xml", "map.qml")
    style = copies(maps, tmp_path / "style", "map.tif", "map.qml")
    for facts in look(qgis_python, whole, style):
        assert facts["valid"] and facts["renderer"] == "paletted" and facts["crs"] == "EPSG:32633"
        assert facts["entries"] == ENTRIES  # exactly the classes
        np.testing.assert_array_equal(facts["pixels"], expected(labels))


def test_map_with_the_auxiliary_file_alone(qgis_python: str, maps: Path, tmp_path: Path, labels: np.ndarray) -> None:
    (facts,) = look(qgis_python, copies(maps, tmp_path / "aux", "map.tif", "map.tif.aux.xml"))
    assert facts["renderer"] == "paletted"
    # QGIS takes the colour table of GDAL, which begins at value 0: it lists the classes and a transparent "no data".
    assert facts["entries"] == [[0, "no data", "#000000", 0], *ENTRIES]
    np.testing.assert_array_equal(facts["pixels"], expected(labels))


def test_map_alone_has_the_colours(qgis_python: str, maps: Path, tmp_path: Path, labels: np.ndarray) -> None:
    (facts,) = look(qgis_python, copies(maps, tmp_path / "alone", "map.tif"))
    assert facts["renderer"] == "paletted" and len(facts["entries"]) == 256
    assert [(entry[0], entry[2]) for entry in facts["entries"][1:4]] == [(entry[0], entry[2]) for entry in ENTRIES]
    np.testing.assert_array_equal(facts["pixels"], expected(labels))


def test_unclassified_has_an_entry_when_it_is_used(qgis_python: str, tmp_path: Path, labels: np.ndarray) -> None:
    classes = ClassTable((*CLASSES.names, "unclassified"), (*CLASSES.colors, (190, 190, 190)))
    with LabelMapWriter(tmp_path / "map.tif", GRID, classes) as writer:
        writer.write(0, 0, np.where(labels == 3, 4, labels))
    (facts,) = look(qgis_python, tmp_path / "map.tif")
    assert facts["entries"] == [*ENTRIES, [4, "unclassified", "#bebebe", 255]]


def test_confidence_has_a_ramp_from_0_to_1(qgis_python: str, maps: Path, labels: np.ndarray) -> None:
    (facts,) = look(qgis_python, maps / "map_confidence.tif")
    assert facts["renderer"] == "singlebandpseudocolor"
    assert [entry[0] for entry in facts["entries"]] == [0, 0.25, 0.5, 0.75, 1]
    column = facts["pixels"][:, -1][labels[:, -1] > 0]
    assert (column == (0xFD, 0xE7, 0x25)).all()  # confidence 1
    assert (facts["pixels"][labels == 0] == 255).all()


def test_envi_and_polygons(qgis_python: str, maps: Path, tmp_path: Path, labels: np.ndarray) -> None:
    names = ("map.dat", "map.hdr", "map.dat.aux.xml", "map.qml")
    envi, polygons = look(qgis_python, copies(maps, tmp_path / "envi", *names), maps / "map.gpkg")
    assert envi["entries"] == ENTRIES
    np.testing.assert_array_equal(envi["pixels"], expected(labels))
    assert polygons["renderer"] == "categorizedSymbol"
    assert [(entry[0], entry[2]) for entry in polygons["entries"]] == [(entry[1], entry[2]) for entry in ENTRIES]
    seen = {tuple(color) for color in np.unique(polygons["pixels"].reshape(-1, 3), axis=0).tolist()}
    assert seen <= {(255, 255, 255), *CLASSES.colors}
