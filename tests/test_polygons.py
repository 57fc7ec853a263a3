"""Maps as polygons: areas, classes and confidence of the patches, and the style in the file."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio.features
import shapely
from affine import Affine
from rasterio.crs import CRS

from diffclip_geo.classes import ClassTable
from diffclip_geo.errors import OutputError
from diffclip_geo.grid import Grid
from diffclip_geo.maps import ConfidenceWriter, LabelMapWriter, confidence_path
from diffclip_geo.polygons import write_polygons

CLASSES = ClassTable(("Tree", "Road"), ((0, 100, 0), (128, 128, 128)))
GRID = Grid(20, 30, Affine(2, 0, 500_000, 0, -2, 5_000_000), CRS.from_epsg(32633))


@pytest.fixture
def map_path(tmp_path: Path) -> Path:
    labels = np.random.default_rng(3).integers(0, 3, (20, 30)).astype(np.uint8)
    labels[5:15, 5:15] = 2
    labels[8:10, 8:10] = 1  # a hole
    sure = np.random.default_rng(4).random((20, 30), np.float32)
    with LabelMapWriter(tmp_path / "map.tif", GRID, CLASSES) as writer:
        writer.write(0, 0, labels)
    with ConfidenceWriter(confidence_path(tmp_path / "map.tif"), GRID, "p") as writer:
        writer.write(0, 0, np.where(labels > 0, sure, np.nan).astype(np.float32))
    return tmp_path / "map.tif"


def test_polygons_hold_class_area_and_confidence(map_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gpkg"
    count = write_polygons(map_path, out, confidence=confidence_path(map_path))
    facts, _, geometry, columns = pyogrio.raw.read(out, layer="classes")
    table = dict(zip(facts["fields"], columns, strict=True))
    polygons = shapely.from_wkb(geometry)
    assert len(polygons) == count and facts["crs"] == "EPSG:32633" and shapely.is_valid(polygons).all()
    np.testing.assert_allclose(shapely.area(polygons), table["area_m2"])
    with rasterio.open(map_path) as dataset, rasterio.open(confidence_path(map_path)) as certainty:
        labels, sure = dataset.read(1), certainty.read(1)
    burnt = rasterio.features.rasterize(
        zip(polygons, table["value"], strict=True), out_shape=labels.shape, transform=GRID.transform
    )
    np.testing.assert_array_equal(burnt, labels)
    assert table["pixels"].sum() == (labels > 0).sum()
    assert {(name, value) for name, value in zip(table["class"], table["value"], strict=True)} == {
        ("Tree", 1),
        ("Road", 2),
    }
    for polygon, mean in zip(polygons, table["confidence"], strict=True):
        inside = rasterio.features.rasterize([polygon], out_shape=labels.shape, transform=GRID.transform) > 0
        assert mean == pytest.approx(sure[inside].mean(), rel=1e-5)


def test_style_is_in_the_file(map_path: Path, tmp_path: Path) -> None:
    write_polygons(map_path, tmp_path / "out.gpkg")
    with sqlite3.connect(tmp_path / "out.gpkg") as database:
        (style, default), *more = database.execute("SELECT styleQML, useAsDefault FROM layer_styles").fetchall()
    assert not more and default and 'value="Road"' in style and "0,100,0,255" in style
    if shutil.which("ogrinfo"):
        assert pyogrio.list_layers(tmp_path / "out.gpkg")[:, 0].tolist() == ["classes", "layer_styles"]


def test_existing_and_misnamed_files(map_path: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"let it end in \.gpkg"):
        write_polygons(map_path, tmp_path / "out.shp")
    (tmp_path / "out.gpkg").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        write_polygons(map_path, tmp_path / "out.gpkg")
    write_polygons(map_path, tmp_path / "out.gpkg", overwrite=True)
    assert not list(tmp_path.glob(".*"))


def test_map_without_a_class(tmp_path: Path) -> None:
    with LabelMapWriter(tmp_path / "map.tif", GRID, CLASSES) as writer:
        writer.write(0, 0, np.zeros((20, 30), np.uint8))
    assert write_polygons(tmp_path / "map.tif", tmp_path / "out.gpkg") == 0
    assert pyogrio.read_info(tmp_path / "out.gpkg", layer="classes")["features"] == 0
