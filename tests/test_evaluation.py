"""Maps compared with rasters, points and polygons of known agreement."""

from __future__ import annotations

import csv
import io
import json
import re
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
from diffclip_geo.errors import LabelError, OptionError, OutputError, RasterError, WorkspaceError
from diffclip_geo.evaluation import evaluate
from diffclip_geo.exclusion import TrainingGround
from diffclip_geo.grid import Grid
from diffclip_geo.maps import MEASURE_TAG, ConfidenceWriter, LabelMapWriter, confidence_path

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


def patchy(seed: int, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    """Labels 1 … 3 in patches, so that errors have a structure."""
    coarse = np.random.default_rng(seed).integers(1, 4, (shape[0] // 5, shape[1] // 5))
    return np.kron(coarse, np.ones((5, 5), int)).astype(np.uint8)


def flawed(truth: np.ndarray, share: float = 0.2) -> np.ndarray:
    random = np.random.default_rng(5)
    wrong = random.random(truth.shape) < share
    return np.where(wrong, truth % 3 + 1, truth).astype(np.uint8)


def sample_points(path: Path, truth: np.ndarray, mapped: np.ndarray, per_class: int, seed: int = 0) -> Path:
    """Points drawn at random within the classes of the map."""
    random = np.random.default_rng(seed)
    chosen = [random.choice(np.flatnonzero(mapped == value), per_class, replace=False) for value in (1, 2, 3)]
    rows, columns = np.unravel_index(np.concatenate(chosen), truth.shape)
    return write_points(path, rows, columns, np.array(["", *CLASSES], dtype=object)[truth[rows, columns]])


def test_areas_of_a_stratified_sample(tmp_path: Path) -> None:
    truth = patchy(1)
    mapped = flawed(truth)
    map_path = write_map(tmp_path / "map.tif", mapped)
    points = sample_points(tmp_path / "points.gpkg", truth, mapped, 60)
    found = evaluate(map_path, points, design="stratified")
    assert found.areas is not None and found.unbiased and "Olofsson" in found.statement
    assert found.areas.pixels == truth.size and found.pixel_area == 4
    inside = np.abs(found.areas.share - np.bincount(truth.ravel())[1:] / truth.size) <= 2.6 * found.areas.share_se
    assert inside.all() and (found.areas.share_se > 0).all()
    np.testing.assert_allclose(found.areas.mapped_share, np.bincount(mapped.ravel())[1:] / truth.size)
    assert found.mapped_pixels == tuple(np.bincount(mapped.ravel())[1:])
    assert "± " in found.to_text() and "estimated ha" in found.to_text()
    # The share of the sample that is right is not the accuracy of the map when classes are sampled out of proportion.
    assert found.areas.oa == pytest.approx((truth == mapped).mean(), abs=2.6 * found.areas.oa_se)


def test_areas_of_another_way_of_choosing_are_not_called_unbiased(tmp_path: Path) -> None:
    truth = patchy(1)
    mapped = flawed(truth)
    map_path, report = write_map(tmp_path / "map.tif", mapped), tmp_path / "scores.json"
    found = evaluate(map_path, sample_points(tmp_path / "points.gpkg", truth, mapped, 20), report=report)
    assert not found.unbiased and found.statement.startswith("NOT unbiased")
    assert "NOT unbiased" in found.to_text() and "95 % interval" not in found.to_text()
    facts = json.loads(report.read_text())
    assert facts["areas_unbiased"] is False
    assert "half_width" not in json.dumps(facts["area_estimates"])
    assert facts["area_estimates"]["classes"][0]["area_share"]["estimate"] > 0


def test_strata_that_differ_from_the_classes(tmp_path: Path) -> None:
    truth, strata = patchy(1), np.repeat([[7], [9]], [10, 30], axis=0) * np.ones((1, 50), np.uint8)
    mapped = flawed(truth)
    map_path = write_map(tmp_path / "map.tif", mapped)
    strata_path = write_plain(tmp_path / "strata.tif", strata.astype(np.uint8), grid())
    random = np.random.default_rng(0)
    rows, columns = np.r_[random.integers(0, 10, 80), random.integers(10, 40, 80)], random.permutation(160) % 50
    names = np.array(["", *CLASSES], dtype=object)[truth[rows, columns]]
    points = write_points(tmp_path / "points.gpkg", rows, columns, names)
    found = evaluate(map_path, points, design="stratified", strata=strata_path)
    assert "Stehman" in found.statement and found.areas is not None and found.areas.pixels == truth.size
    sampled = sorted(set(zip(rows.tolist(), columns.tolist(), strict=True)))
    right = np.array([truth[one] == mapped[one] for one in sampled])
    upper = np.array([one[0] < 10 for one in sampled])
    assert found.areas.oa == pytest.approx(0.25 * right[upper].mean() + 0.75 * right[~upper].mean())
    with pytest.raises(OptionError, match="--design stratified"):
        evaluate(map_path, points, strata=strata_path)
    other = write_plain(tmp_path / "other.tif", strata[:20].astype(np.uint8), grid(20, 50))
    with pytest.raises(RasterError, match=r"other\.tif: is not on the grid of map\.tif"):
        evaluate(map_path, points, design="stratified", strata=other)


def test_polygons_are_no_sample_of_pixels(tmp_path: Path) -> None:
    truth = patchy(1)
    map_path = write_map(tmp_path / "map.tif", truth)
    left, top = 500_000, 5_000_000
    boxes = shapely.box(left + 10 * np.arange(10), top - 10, left + 10 * np.arange(10) + 10, top)
    names = np.array(["", *CLASSES], dtype=object)[truth[2, 2::5]]
    path = tmp_path / "polygons.gpkg"
    pyogrio.raw.write(path, shapely.to_wkb(boxes), [names], ["class"], geometry_type="Polygon", crs=UTM.to_string())
    found = evaluate(map_path, path)
    assert any("standard errors" in note for note in found.notes)
    with pytest.raises(OptionError, match="one point per drawn pixel"):
        evaluate(map_path, path, design="random")


def test_truth_of_every_pixel_is_counted(tmp_path: Path) -> None:
    truth = patchy(1)
    mapped = flawed(truth)
    found = evaluate(write_map(tmp_path / "map.tif", mapped), write_map(tmp_path / "truth.tif", truth))
    assert found.design == "census" and found.unbiased and found.areas is not None
    np.testing.assert_allclose(found.areas.share * truth.size, np.bincount(truth.ravel())[1:])
    assert not found.areas.share_se.any()


def test_a_class_that_was_not_sampled_is_told(tmp_path: Path) -> None:
    truth = patchy(1)
    rows, columns = np.nonzero(truth < 3)
    names = np.array(["", *CLASSES], dtype=object)[truth[rows, columns]]
    points = write_points(tmp_path / "points.gpkg", rows[::9], columns[::9], names[::9])
    found = evaluate(write_map(tmp_path / "map.tif", truth), points, design="stratified")
    assert found.areas is None and "map class 'Water' has 0 sampled pixels; 2 are needed" in found.statement


def test_calibration_from_the_confidence_beside_the_map(tmp_path: Path) -> None:
    truth = patchy(1, (200, 250))
    random = np.random.default_rng(2)
    sure = random.uniform(0.4, 1, truth.shape).astype(np.float32)
    mapped = np.where(random.random(truth.shape) < sure, truth, truth % 3 + 1).astype(np.uint8)
    sure[:5] = np.nan
    map_path, truth_path = write_map(tmp_path / "map.tif", mapped), write_map(tmp_path / "truth.tif", truth)
    with ConfidenceWriter(confidence_path(map_path), grid(*truth.shape), "p", {MEASURE_TAG: "max-prob"}) as writer:
        writer.write(0, 0, sure)
    found = evaluate(map_path, truth_path).calibration
    assert found is not None and found.pixels.sum() == truth[5:].size
    assert found.expected_error < 0.02 and abs(found.bias) < 0.01
    edges = np.ceil(sure[5:].astype(float) * 15).astype(int) - 1
    expected = sum(
        abs((truth[5:] == mapped[5:])[edges == one].sum() - sure[5:][edges == one].astype(float).sum())
        for one in range(15)
    )
    assert found.expected_error == pytest.approx(expected / truth[5:].size)
    with ConfidenceWriter(
        confidence_path(map_path), grid(*truth.shape), "p", {MEASURE_TAG: "margin"}, overwrite=True
    ) as writer:
        writer.write(0, 0, sure)
    plain = evaluate(map_path, truth_path)
    assert plain.calibration is None and any("(margin)" in note for note in plain.notes)


def test_unclassified_value_is_no_class(tmp_path: Path, truth: np.ndarray) -> None:
    mapped = np.where(np.indices(truth.shape)[1] < 10, 4, np.maximum(truth, 1)).astype(np.uint8)
    found = evaluate(
        write_map(tmp_path / "map.tif", mapped, (*CLASSES, "unclassified")), write_map(tmp_path / "truth.tif", truth)
    )
    assert found.names == CLASSES and found.unclassified.sum() == (truth[:, :10] > 0).sum()
    assert found.oa_classified == 1


def test_training_ground_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = patchy(1)
    map_path, truth_path = write_map(tmp_path / "map.tif", flawed(truth)), write_map(tmp_path / "truth.tif", truth)
    row, column = np.array([0, 20, 22]), np.array([0, 30, 31])
    ground = TrainingGround.around([grid()], np.zeros(3, int), row, column, side=5)
    monkeypatch.setattr(TrainingGround, "of_workspace", classmethod(lambda cls, folder: ground))
    found = evaluate(map_path, truth_path, exclude_training=tmp_path)
    seen = np.zeros(truth.shape, bool)
    for r, c in zip(row, column, strict=True):
        seen[max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3] = True
    assert found.pixels == (~seen).sum() and found.training_excluded == seen.sum()
    note = f"{seen.sum()} truth pixels were left out: 3 training pixels and the 5 × 5 windows around them"
    assert note in found.notes
    assert found.areas is not None and found.areas.pixels == (~seen).sum() and "outside the training" in found.statement
    finer = Grid(80, 100, Affine(1, 0, 500_000, 0, -1, 5_000_000), UTM)  # the same ground in pixels half the size
    covered = ground.covers(finer, *np.indices(finer.shape))
    np.testing.assert_array_equal(covered, np.kron(seen, np.ones((2, 2), bool)))


def test_training_ground_of_a_workspace_without_one(tmp_path: Path, truth: np.ndarray) -> None:
    map_path = write_map(tmp_path / "map.tif", truth)
    with pytest.raises(WorkspaceError, match="run `diffclip-geo pretrain` first"):
        evaluate(map_path, map_path, exclude_training=tmp_path)


def test_three_reports(tmp_path: Path) -> None:
    truth = patchy(1)
    mapped = flawed(truth)
    names = ("Tree", "Röad <b>", "Water")
    map_path = write_map(tmp_path / "map.tif", mapped, names)
    with ConfidenceWriter(confidence_path(map_path), grid(), "p", {MEASURE_TAG: "max-prob"}) as writer:
        writer.write(0, 0, np.full(truth.shape, 0.8, np.float32))
    found = evaluate(map_path, write_map(tmp_path / "truth.tif", truth, names), report=tmp_path / "scores")
    page = (tmp_path / "scores.html").read_text(encoding="utf-8")
    assert "rows = truth, columns = map" in page and f"{100 * found.oa:.2f} %" in page
    assert "Röad &lt;b&gt;" in page and "<b>" not in page.replace("<b>", "", page.count('class="tile"><b>'))
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # self-contained
    rows = list(csv.reader(io.StringIO((tmp_path / "scores.csv").read_text(encoding="utf-8"))))
    assert rows[0][0] == "name" and rows[2][0] == "Röad <b>"
    assert [int(cell) for cell in rows[1][-3:]] == found.matrix[0].tolist()
    assert float(dict(row[:2] for row in rows[6:])["kappa"]) == pytest.approx(found.kappa, rel=1e-5)
    facts = json.loads((tmp_path / "scores.json").read_text())
    assert facts["calibration"]["expected_calibration_error"] == pytest.approx(found.calibration.expected_error)
    with pytest.raises(OutputError, match=r"scores\.html: exists already"):
        evaluate(map_path, map_path, report=tmp_path / "scores")
