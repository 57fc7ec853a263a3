"""Maps reopened with rasterio, GDAL's own tools and, as XML, with the eyes of QGIS."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS

from diffclip_geo.atomic import FileSet
from diffclip_geo.categories import read_categories, read_colors
from diffclip_geo.classes import ClassTable
from diffclip_geo.errors import OutputError
from diffclip_geo.grid import Grid
from diffclip_geo.legends import read_raster_legend
from diffclip_geo.maps import (
    ConfidenceWriter,
    LabelMapWriter,
    MapWriter,
    ProbabilitiesWriter,
    confidence_files,
    confidence_path,
    label_map_files,
)

CLASSES = ClassTable(("Tree", 'Röad & "path" <1>', "Water"), ((0, 100, 0), (128, 128, 128), (0, 0, 255)))
needs_gdal = pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="GDAL's command-line tools are not installed")


def grid(height: int = 600, width: int = 1100) -> Grid:
    return Grid(height, width, Affine(2, 0, 500_000, 0, -2, 5_000_000), CRS.from_epsg(32633))


def labels_of(shape: tuple[int, int], classes: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, classes + 1, shape).astype(np.uint8)


def write_labels(path: Path, labels: np.ndarray, **options) -> None:
    with LabelMapWriter(path, grid(*labels.shape), CLASSES, **options) as writer:
        writer.write(0, 0, labels)


def gdalinfo(path: Path) -> dict:
    answer = subprocess.run(["gdalinfo", "-json", str(path)], capture_output=True, check=True, text=True)
    return json.loads(answer.stdout)


def test_label_map_reopens_with_everything(tmp_path: Path) -> None:
    labels = labels_of((600, 1100))
    write_labels(tmp_path / "map.tif", labels, tags={"MODEL": "small"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.qml", "map.tif", "map.tif.aux.xml"]
    assert sorted(tmp_path.iterdir()) == sorted(label_map_files(tmp_path / "map.tif"))
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.dtypes == ("uint8",) and dataset.nodata == 0
        assert Grid.of(dataset) == grid()
        assert dataset.profile["tiled"] and dataset.compression.name == "deflate"
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.tags()["AREA_OR_POINT"] == "Area" and dataset.tags()["MODEL"] == "small"
        assert dataset.descriptions == ("class",)
        np.testing.assert_array_equal(dataset.read(1), labels)
        (factor,) = dataset.overviews(1)[:1]
        overview = dataset.read(1, out_shape=(600 // factor, 1100 // factor))
        assert set(np.unique(overview)) <= {0, 1, 2, 3}
        assert read_categories(dataset) == dict(enumerate(CLASSES.names, start=1))
        assert {value: read_colors(dataset)[value] for value in (1, 2, 3)} == dict(enumerate(CLASSES.colors, start=1))


def test_names_survive_without_sidecars(tmp_path: Path) -> None:
    write_labels(tmp_path / "map.tif", labels_of((40, 50)))
    (tmp_path / "map.tif.aux.xml").unlink()
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert read_categories(dataset) == dict(enumerate(CLASSES.names, start=1))


@needs_gdal
def test_gdal_reads_categories_colours_table_and_overviews(tmp_path: Path) -> None:
    labels = labels_of((600, 1100))
    write_labels(tmp_path / "map.tif", labels)
    facts = gdalinfo(tmp_path / "map.tif")
    band = facts["bands"][0]
    assert band["noDataValue"] == 0 and band["colorInterpretation"] == "Palette"
    assert band["colorTable"]["entries"][1:4] == [[*color, 255] for color in CLASSES.colors]
    assert band["overviews"]
    text = subprocess.run(["gdalinfo", str(tmp_path / "map.tif")], capture_output=True, check=True, text=True).stdout
    for value, name in enumerate(CLASSES.names, start=1):
        assert f"{value}: {name}" in text
    table = facts["rat"]
    assert [(field["name"], field["usage"]) for field in table["fieldDefn"]] == [
        ("Value", 5), ("Count", 1), ("Name", 2), ("R", 6), ("G", 7), ("B", 8), ("Area_ha", 0),
    ]  # fmt: skip
    for index, row in enumerate(table["row"]):
        count = int((labels == index + 1).sum())
        assert row["f"] == [
            index + 1,
            count,
            CLASSES.names[index],
            *CLASSES.colors[index],
            pytest.approx(count * 4 / 1e4),
        ]
    assert len(band["colorTable"]["entries"]) == 4  # no data and the classes, not the 256 of the TIFF
    assert facts["metadata"][""]["AREA_OR_POINT"] == "Area"


def test_style_has_exactly_the_classes(tmp_path: Path) -> None:
    write_labels(tmp_path / "map.tif", labels_of((20, 30)))
    entries = ET.parse(tmp_path / "map.qml").getroot().findall("pipe/rasterrenderer[@type='paletted']/colorPalette/*")
    found = [(entry.get("value"), entry.get("label"), entry.get("color")) for entry in entries]
    assert found == [("1", "Tree", "#006400"), ("2", CLASSES.names[1], "#808080"), ("3", "Water", "#0000ff")]


@settings(max_examples=15, deadline=None)
@given(data=st.data(), height=st.integers(1, 60), width=st.integers(1, 70), step=st.integers(1, 40))
def test_bytes_and_counts_do_not_depend_on_blocks(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, height: int, width: int, step: int
) -> None:
    labels = labels_of((height, width))
    folder = tmp_path_factory.mktemp("maps")
    write_labels(folder / "whole.tif", labels)
    corners = [(row, column) for row in range(0, height, step) for column in range(0, width, step)]
    with LabelMapWriter(folder / "blocks.tif", grid(height, width), CLASSES) as writer:
        for row, column in data.draw(st.permutations(corners)):
            writer.write(row, column, labels[row : row + step, column : column + step])
    assert writer.counts.tolist() == [int((labels == value).sum()) for value in (1, 2, 3)]
    assert (folder / "whole.tif").read_bytes() == (folder / "blocks.tif").read_bytes()
    assert (folder / "whole.tif.aux.xml").read_bytes() == (folder / "blocks.tif.aux.xml").read_bytes()


def test_unwritten_pixels_are_nodata(tmp_path: Path) -> None:
    with (
        LabelMapWriter(tmp_path / "map.tif", grid(), CLASSES) as labels,
        ConfidenceWriter(confidence_path(tmp_path / "map.tif"), grid(), "maximum probability") as confidence,
    ):
        labels.write(10, 20, np.full((5, 6), 3, np.uint8))
        confidence.write(10, 20, np.full((5, 6), 0.5, np.float32))
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert (dataset.read(1) == 0).sum() == 600 * 1100 - 30
    with rasterio.open(tmp_path / "map_confidence.tif") as dataset:
        assert np.isnan(dataset.read(1)).sum() == 600 * 1100 - 30


def test_confidence_map(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((600, 1100), np.float32)
    values[:50] = np.nan
    values[60, 0] = 1 + 1e-7  # a float32 sum of probabilities
    path = confidence_path(tmp_path / "map.tif")
    with ConfidenceWriter(path, grid(), "calibrated maximum probability") as writer:
        writer.write(0, 0, values)
    with rasterio.open(path) as dataset:
        assert dataset.dtypes == ("float32",) and np.isnan(dataset.nodata)
        assert dataset.descriptions == ("confidence",)
        assert dataset.tags()["CONFIDENCE"] == "calibrated maximum probability"
        np.testing.assert_array_equal(dataset.read(1), np.clip(values, 0, 1))
        assert dataset.overviews(1)
    ramp = ET.parse(path.with_suffix(".qml")).getroot().find(".//colorrampshader")
    assert ramp is not None and [item.get("value") for item in ramp] == ["0", "0.25", "0.5", "0.75", "1"]


def test_wrong_values_and_blocks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="beyond the 3 classes"):
        write_labels(tmp_path / "map.tif", np.full((3, 3), 4, np.uint8))
    with pytest.raises(ValueError, match="outside"), ConfidenceWriter(tmp_path / "c.tif", grid(3, 3), "p") as writer:
        writer.write(0, 0, np.full((3, 3), 1.5, np.float32))
    with (
        pytest.raises(ValueError, match="does not fit"),
        LabelMapWriter(tmp_path / "m.tif", grid(3, 3), CLASSES) as maps,
    ):
        maps.write(2, 0, np.ones((2, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_beyond_255_classes(tmp_path: Path) -> None:
    classes = ClassTable(tuple(f"class {i}" for i in range(300)), tuple((i % 256, i // 256, 7) for i in range(300)))
    labels = np.arange(20 * 30).reshape(20, 30) % 301
    with LabelMapWriter(tmp_path / "map.tif", grid(20, 30), classes) as writer:
        writer.write(0, 0, labels)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.dtypes == ("uint16",)
        np.testing.assert_array_equal(dataset.read(1), labels)
        assert read_colors(dataset)[300] == (299 % 256, 1, 7)
        assert read_categories(dataset)[300] == "class 299"


def test_several_named_bands(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((3, 40, 50), np.float32)
    path = tmp_path / "probabilities.tif"
    names = CLASSES.names
    with MapWriter(path, grid(40, 50), count=3, dtype="float32", nodata=np.nan, descriptions=names) as writer:
        writer.write(0, 0, values)
    with rasterio.open(path) as dataset:
        assert dataset.descriptions == CLASSES.names
        np.testing.assert_array_equal(dataset.read(), values)


def test_existing_map_is_kept_unless_overwritten(tmp_path: Path) -> None:
    write_labels(tmp_path / "map.tif", np.ones((5, 5), np.uint8))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="--overwrite"):
        write_labels(tmp_path / "map.tif", np.full((5, 5), 2, np.uint8))
    with pytest.raises(ValueError):
        write_labels(tmp_path / "map.tif", np.full((5, 5), 9, np.uint8), overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_labels(tmp_path / "map.tif", np.full((5, 5), 2, np.uint8), overwrite=True)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert (dataset.read(1) == 2).all()


def test_style_of_the_user_is_kept_and_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "map.qml").write_text("mine")
    with (
        pytest.raises(OutputError, match=r"map\.qml: exists already"),
        LabelMapWriter(tmp_path / "map.tif", grid(), CLASSES),
    ):
        pytest.fail("the block must not be entered")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_statistics_of_an_older_confidence_map_go(tmp_path: Path) -> None:
    for value in (0.25, 0.75):
        with ConfidenceWriter(tmp_path / "c.tif", grid(), "p", overwrite=True) as writer:
            writer.write(0, 0, np.full((600, 1100), value, np.float32))
        assert not (tmp_path / "c.tif.aux.xml").exists()
        with rasterio.open(tmp_path / "c.tif") as dataset:
            assert dataset.stats(approx=False)[0].mean == pytest.approx(value)
        (tmp_path / "c.tif.aux.xml").write_text("<PAMDataset/>")


def test_maps_of_one_set_appear_together(tmp_path: Path) -> None:
    with FileSet(tmp_path / "map.tif") as files:
        with ConfidenceWriter(tmp_path / "map_confidence.tif", grid(9, 9), "p", files=files) as writer:
            writer.write(0, 0, np.ones((9, 9), np.float32))
        with LabelMapWriter(tmp_path / "map.tif", grid(9, 9), CLASSES, files=files) as labels:
            labels.write(0, 0, np.ones((9, 9), np.uint8))
        assert [path.name for path in tmp_path.iterdir()] == [".map.tif.partial"]
    assert len(list(tmp_path.iterdir())) == 5


def test_not_a_tiff_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"map\.png: is not the name of a GeoTIFF; let it end in \.tif"):
        write_labels(tmp_path / "map.png", np.ones((5, 5), np.uint8))


def test_full_disk_is_one_line_and_no_litter(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="needs POSIX limits")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    values = np.random.default_rng(0).random((600, 1100), np.float32)
    # Python ignores the signal that comes with the limit, so writes fail as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    fault = r"c\.tif: cannot be written .* free space"
    try:
        with pytest.raises(OutputError, match=fault), ConfidenceWriter(tmp_path / "c.tif", grid(), "p") as writer:
            writer.write(0, 0, values)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_cloud_optimised_by_rio_cogeo(tmp_path: Path) -> None:
    cogeo = pytest.importorskip("rio_cogeo", reason="rio-cogeo is not installed")
    write_labels(tmp_path / "map.tif", labels_of((600, 1100)))
    with ConfidenceWriter(tmp_path / "c.tif", grid(), "p") as writer:
        writer.write(0, 0, np.ones((600, 1100), np.float32))
    for name in ("map.tif", "c.tif"):
        valid, errors, warnings = cogeo.cog_validate(str(tmp_path / name), strict=True)
        assert valid and not errors and not warnings


@needs_gdal
def test_envi_classification(tmp_path: Path) -> None:
    labels = labels_of((60, 70))
    path = tmp_path / "map.dat"
    write_labels(path, labels, envi=True, tags={"MODEL": "small"})
    assert sorted(tmp_path.iterdir()) == sorted(label_map_files(path, envi=True))
    header = path.with_suffix(".hdr").read_text()
    assert "file type = ENVI Classification" in header and "classes = 4" in header
    assert "0, 100, 0" in " ".join(header.split()).replace(" ,", ",")
    names = re.search(r"class names = \{([^}]*)\}", header)
    assert names is not None and [name.strip() for name in names[1].split(",")] == ["no data", *CLASSES.names]
    for sidecar in (True, False):
        if not sidecar:
            path.with_name("map.dat.aux.xml").unlink()
        text = subprocess.run(["gdalinfo", str(path)], capture_output=True, check=True, text=True).stdout
        for value, name in enumerate(CLASSES.names, start=1):
            assert f"{value}: {name}" in text
        band = gdalinfo(path)["bands"][0]
        assert band["colorTable"]["entries"][1:4] == [[*color, 255] for color in CLASSES.colors]
        with rasterio.open(path) as dataset:
            np.testing.assert_array_equal(dataset.read(1), labels)
            assert Grid.of(dataset) == grid(60, 70) and dataset.nodata == 0
            assert read_categories(dataset) == dict(enumerate(CLASSES.names, start=1))
            assert dataset.tags().get("MODEL") == ("small" if sidecar else None)


def test_envi_confidence(tmp_path: Path) -> None:
    path = confidence_path(tmp_path / "map.dat")
    values = np.random.default_rng(0).random((60, 70), np.float32)
    values[0] = np.nan
    with ConfidenceWriter(path, grid(60, 70), "p", envi=True) as writer:
        writer.write(0, 0, values)
    assert sorted(tmp_path.iterdir()) == sorted(confidence_files(path, envi=True))
    with rasterio.open(path) as dataset:
        assert dataset.driver == "ENVI" and dataset.descriptions == ("confidence",)
        assert dataset.tags()["CONFIDENCE"] == "p"
        np.testing.assert_array_equal(dataset.read(1), values)


@pytest.mark.parametrize(("name", "envi"), [("map.tif", True), ("map.hdr", True), ("map", True), ("map.dat", False)])
def test_names_fit_the_format(tmp_path: Path, name: str, envi: bool) -> None:
    with pytest.raises(OutputError, match="is not the name of"):
        write_labels(tmp_path / name, np.ones((3, 3), np.uint8), envi=envi)


def test_sieve_drops_specks_and_keeps_nodata(tmp_path: Path) -> None:
    labels = np.ones((40, 50), np.uint8)
    labels[:, 25:] = 2
    labels[5, 5] = labels[10:12, 30:32] = 3  # of 1 and of 4 pixels
    labels[20:24, 5:9] = 3  # of 16
    labels[30, :3] = labels[35, 10] = 0
    write_labels(tmp_path / "map.tif", labels, sieve=5)
    with rasterio.open(tmp_path / "map.tif") as dataset:
        found = dataset.read(1)
    expected = labels.copy()
    expected[5, 5], expected[10:12, 30:32] = 1, 2
    np.testing.assert_array_equal(found, expected)
    table = ET.parse(tmp_path / "map.tif.aux.xml").findall(".//Row")
    assert [int(row.findall("F")[1].text or 0) for row in table] == np.bincount(expected.ravel())[1:].tolist()


def test_probabilities_are_named_bands(tmp_path: Path) -> None:
    values = np.random.default_rng(0).dirichlet([1, 1, 1], (30, 40)).transpose(2, 0, 1).astype(np.float32)
    for name, envi in (("p.tif", False), ("p.dat", True)):
        with ProbabilitiesWriter(tmp_path / name, grid(30, 40), CLASSES, envi=envi) as writer:
            writer.write(0, 0, values)
        with rasterio.open(tmp_path / name) as dataset:
            assert dataset.descriptions == CLASSES.names
            np.testing.assert_array_equal(dataset.read(), values)


def test_names_that_an_envi_header_cannot_hold(tmp_path: Path) -> None:
    classes = ClassTable(("Grass, dry", "Roof {red}"), ((1, 2, 3), (4, 5, 6)))
    with LabelMapWriter(tmp_path / "map.dat", grid(9, 9), classes, envi=True) as writer:
        writer.write(0, 0, np.ones((9, 9), np.uint8))
    header = " ".join((tmp_path / "map.hdr").read_text().split())
    assert "{ no data, Grass; dry, Roof (red)}" in header and "description = { map.dat}" in header
    with rasterio.open(tmp_path / "map.dat") as dataset:
        assert read_raster_legend(dataset).names == {"1": "Grass, dry", "2": "Roof {red}"}  # from the attribute table
