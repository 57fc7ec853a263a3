"""Maps compared with rasters, points and polygons of known agreement."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from diffclip_geo.accuracy import confusion_matrix
from diffclip_geo.classes import ClassTable
from diffclip_geo.errors import LabelError, OutputError, RasterError
from diffclip_geo.evaluation import evaluate
from diffclip_geo.grid import Grid
from diffclip_geo.maps import ConfidenceWriter, LabelMapWriter

UTM = CRS.from_epsg(32633)
CLASSES = ("Tree", "Road", "Water")


def grid(height: int = 40, width: int = 50, size: float = 2.0) -> Grid:
    return Grid(height, width, Affine(size, 0, 500_000, 0, -size, 5_000_000), UTM)


def write_map(path: Path, labels: np.ndarray, names: tuple[str, ...] = CLASSES, where: Grid | None = None) -> Path:
    table = ClassTable(names, tuple((i, 2 * i, 3 * i) for i in range(len(names))))
    with LabelMapWriter(path, where or grid(*labels.shape), table) as writer:
        writer.write(0, 0, labels)
    return path


def write_plain(path: Path, labels: np.ndarray, where: Grid) -> Path:
    with rasterio.open(
        path, "w", driver="GTiff", height=where.height, width=where.width, count=1, dtype=labels.dtype, crs=where.crs,
        transform=where.transform,
    ) as dataset:  # fmt: skip
        dataset.write(labels, 1)
    return path


def write_points(path: Path, rows: np.ndarray, columns: np.ndarray, classes: np.ndarray, crs: CRS = UTM) -> Path:
    x, y = grid().centre_of(rows, columns)
    if crs != UTM:
        x, y = rasterio.warp.transform(UTM, crs, x, y)
    geometry = shapely.to_wkb(shapely.points(x, y))
    pyogrio.raw.write(path, geometry, [classes], ["class"], geometry_type="Point", crs=crs.to_string())
    return path


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (40, 50)).astype(np.uint8)


@pytest.fixture
def truth() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 4, (40, 50)).astype(np.uint8)


def test_raster_on_the_same_grid(tmp_path: Path, labels: np.ndarray, truth: np.ndarray) -> None:
    accuracy = evaluate(write_map(tmp_path / "map.tif", labels), write_map(tmp_path / "truth.tif", truth))
    expected = confusion_matrix(truth, labels, 3)
    np.testing.assert_array_equal(accuracy.matrix, expected[:, 1:])
    np.testing.assert_array_equal(accuracy.unclassified, expected[:, 0])
    assert accuracy.names == CLASSES and accuracy.notes == ()
    assert accuracy.oa == pytest.approx((labels == truth)[truth > 0].mean())


def test_names_are_matched_whatever_order_and_case(tmp_path: Path, labels: np.ndarray) -> None:
    reordered = np.array([0, 3, 1, 2], np.uint8)[labels]  # Tree is 3 there, Road 1, Water 2
    truth = write_map(tmp_path / "truth.tif", reordered, ("ROAD", "water ", "tree"))
    accuracy = evaluate(write_map(tmp_path / "map.tif", labels), truth)
    assert accuracy.oa == 1 and accuracy.names == CLASSES


def test_truth_class_missing_in_the_map_keeps_its_row(tmp_path: Path, labels: np.ndarray) -> None:
    map_path = write_map(tmp_path / "map.tif", np.minimum(labels, 2), CLASSES[:2])
    accuracy = evaluate(map_path, write_map(tmp_path / "truth.tif", labels))
    assert accuracy.names == CLASSES
    assert accuracy.recall[2] == 0 and np.isnan(accuracy.precision[2])
    assert accuracy.oa == pytest.approx((labels[labels > 0] < 3).mean())
    assert "not in the map: Water" in accuracy.notes


def test_raster_without_names_is_matched_by_number(tmp_path: Path, labels: np.ndarray) -> None:
    truth = write_plain(tmp_path / "truth.tif", labels, grid())
    accuracy = evaluate(write_map(tmp_path / "map.tif", labels), truth)
    assert accuracy.oa == 1 and accuracy.names == CLASSES
    assert "classes are matched by number" in accuracy.notes
    both = evaluate(truth, truth)
    assert both.oa == 1 and both.names == ("1", "2", "3")


def test_numbers_as_names_of_the_map_are_names(tmp_path: Path, labels: np.ndarray) -> None:
    numbers = np.array([0, 10, 20, 30], np.uint8)
    map_path = write_map(tmp_path / "map.tif", labels, ("10", "20", "30"))
    assert evaluate(map_path, write_plain(tmp_path / "truth.tif", numbers[labels], grid())).oa == 1
    rows, columns = np.nonzero(labels)
    points = write_points(tmp_path / "points.gpkg", rows, columns, numbers[labels[rows, columns]].astype(np.int32))
    assert evaluate(map_path, points).oa == 1


@pytest.mark.parametrize("crs", [UTM, CRS.from_epsg(4326)])
def test_points(tmp_path: Path, labels: np.ndarray, truth: np.ndarray, crs: CRS) -> None:
    rows, columns = np.nonzero(truth)
    names = np.array(["", *CLASSES], dtype=object)[truth[rows, columns]]
    points = write_points(tmp_path / "points.gpkg", rows, columns, names, crs)
    accuracy = evaluate(write_map(tmp_path / "map.tif", labels), points)
    expected = confusion_matrix(truth, labels, 3)
    np.testing.assert_array_equal(accuracy.matrix, expected[:, 1:])
    np.testing.assert_array_equal(accuracy.unclassified, expected[:, 0])


def test_truth_on_another_grid_counts_truth_pixels(tmp_path: Path, labels: np.ndarray) -> None:
    finer = Grid(120, 90, Affine(1, 0, 500_010, 0, -1, 4_999_990), UTM)  # reaches beyond the map at the bottom
    rows, columns = (np.indices(finer.shape) + 0.5).astype(float)
    map_rows, map_columns = ((rows + 10) // 2).astype(int), ((columns + 10) // 2).astype(int)
    on_map = map_rows < 40
    expected = np.where(on_map, labels[np.minimum(map_rows, 39), map_columns], 1).astype(np.uint8)
    accuracy = evaluate(
        write_map(tmp_path / "map.tif", labels), write_map(tmp_path / "truth.tif", expected, where=finer)
    )
    assert accuracy.oa == 1
    assert accuracy.pixels == (expected > 0)[on_map].sum()
    assert any("outside the map" in note for note in accuracy.notes)


def test_truth_in_another_coordinate_system_equals_gdals_warp(tmp_path: Path) -> None:
    patches = np.kron(np.random.default_rng(0).integers(1, 4, (8, 10)), np.ones((40, 40), int)).astype(np.uint8)
    map_path = write_map(tmp_path / "map.tif", patches)
    west, north = rasterio.warp.transform(UTM, CRS.from_epsg(4326), [500_050], [4_999_950])
    geographic = Grid(200, 300, Affine(2e-5, 0, west[0], 0, -2e-5, north[0]), CRS.from_epsg(4326))
    where = {"crs": geographic.crs, "transform": geographic.transform, "height": 200, "width": 300}
    with (
        rasterio.open(map_path) as dataset,
        WarpedVRT(dataset, resampling=Resampling.nearest, tolerance=1e-6, **where) as view,
    ):
        warped = view.read(1)
    accuracy = evaluate(map_path, write_map(tmp_path / "truth.tif", warped, where=geographic))
    assert accuracy.pixels == (warped > 0).sum() > 50_000
    assert accuracy.oa > 0.9999  # pixels whose centre lies on a pixel edge may fall either way


def test_report(tmp_path: Path, labels: np.ndarray, truth: np.ndarray) -> None:
    map_path, truth_path = write_map(tmp_path / "map.tif", labels), write_map(tmp_path / "truth.tif", truth)
    report = tmp_path / "scores.json"
    accuracy = evaluate(map_path, truth_path, report=report)
    facts = json.loads(report.read_text())
    assert facts["map"] == str(map_path) and facts["truth"] == str(truth_path)
    assert facts["overall_accuracy"] == accuracy.oa
    assert facts["confusion_matrix"]["counts"] == accuracy.matrix.tolist()
    with pytest.raises(OutputError, match="--overwrite"):
        evaluate(map_path, truth_path, report=report)
    with pytest.raises(OutputError, match="also an input"):
        evaluate(map_path, truth_path, report=map_path, overwrite=True)
    evaluate(map_path, truth_path, report=report, overwrite=True)


def test_faults_are_named(tmp_path: Path, labels: np.ndarray) -> None:
    map_path = write_map(tmp_path / "map.tif", labels)
    with ConfidenceWriter(tmp_path / "confidence.tif", grid(), "p") as writer:
        writer.write(0, 0, np.zeros((40, 50), np.float32))
    with pytest.raises(RasterError, match=r"confidence\.tif: holds float32 values, not class numbers"):
        evaluate(tmp_path / "confidence.tif", map_path)
    with pytest.raises(LabelError, match="does not exist"):
        evaluate(map_path, tmp_path / "none.shp")
    with pytest.raises(LabelError, match=r"shares no class with map\.tif \(Car, Bus.* against Tree, Road, Water\)"):
        evaluate(map_path, write_map(tmp_path / "other.tif", labels, ("Car", "Bus", "Train")))
    far = Grid(40, 50, Affine(2, 0, 600_000, 0, -2, 5_000_000), UTM)
    with pytest.raises(LabelError, match="has no labelled pixel on"):
        evaluate(map_path, write_map(tmp_path / "far.tif", labels, where=far))
    bare = Grid(20, 25, Affine.identity(), None)
    with pytest.raises(RasterError, match=r"bare\.tif: has no georeference"):
        evaluate(map_path, write_map(tmp_path / "bare.tif", labels[:20, :25], where=bare))


def test_all_unclassified_map_is_all_wrong(tmp_path: Path, truth: np.ndarray) -> None:
    accuracy = evaluate(write_map(tmp_path / "map.tif", np.zeros_like(truth)), write_map(tmp_path / "truth.tif", truth))
    assert accuracy.oa == 0 and accuracy.coverage == 0 and np.isnan(accuracy.oa_classified)
