"""The simulated scene as its users see it: files reopened, pixels, tags, labels and truth."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.transform import rowcol

from diffclip_geo.errors import OptionError, OutputError
from diffclip_geo.simulation import simulate

SIZE = (96, 112)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("simulated"), size=SIZE, bands=48, seed=3, pixel_size=3.0)


@pytest.fixture(scope="module")
def arrays(scene):
    """HSI in reflectance with wavelengths, lidar, truth."""
    with rasterio.open(scene.hsi) as hsi, rasterio.open(scene.lidar) as lidar, rasterio.open(scene.truth) as truth:
        wavelengths = np.array(hsi.tags(ns="ENVI")["wavelength"].strip("{}").split(","), float)
        return hsi.read() / 1e4, wavelengths, lidar.read(), truth.read(1)


def median_of(arrays, scene, name):
    cube, _, _, truth = arrays
    return np.median(cube[:, truth == scene.classes.index(name) + 1], axis=1)


def at(arrays, spectrum, wavelength):
    return spectrum[np.argmin(np.abs(arrays[1] - wavelength))]


def test_geotiffs_share_a_grid_in_utm(scene):
    with rasterio.open(scene.hsi) as hsi, rasterio.open(scene.lidar) as lidar, rasterio.open(scene.truth) as truth:
        assert hsi.shape == lidar.shape == truth.shape == SIZE
        assert hsi.transform == lidar.transform == truth.transform
        assert hsi.crs == lidar.crs == truth.crs == rasterio.CRS.from_epsg(32633)
        assert hsi.res == (3.0, 3.0)
        assert (hsi.count, hsi.dtypes[0], hsi.nodata) == (48, "int16", -9999)
        assert lidar.descriptions == ("DSM", "intensity")


@pytest.mark.parametrize("name", ["scene", "lidar"])
def test_envi_holds_the_same_pixels_and_place(scene, name):
    folder = scene.hsi.parent
    with rasterio.open(folder / f"{name}.tif") as tiff, rasterio.open(folder / f"{name}.bsq") as envi:
        assert envi.driver == "ENVI"
        assert np.array_equal(tiff.read(), envi.read())
        assert envi.transform.almost_equals(tiff.transform)
        assert envi.nodata == tiff.nodata
        assert envi.crs.to_epsg() == 32633


def test_envi_header_flags_the_water_vapour_bands(scene):
    with rasterio.open(scene.hsi_envi.with_suffix(".bsq")) as envi:
        tags = envi.tags(ns="ENVI")
    values = {key: np.array(tags[key].strip("{}").split(","), float) for key in ("wavelength", "fwhm", "bbl")}
    assert all(len(v) == 48 for v in values.values())
    assert tags["wavelength_units"] == "Nanometers"
    bad = values["wavelength"][values["bbl"] == 0]
    assert {1 for w in bad if 1345 < w < 1455} and {1 for w in bad if 1795 < w < 1960}
    assert all(1345 <= w <= 1455 or 1795 <= w <= 1960 for w in bad)


def test_geotiff_tells_gdal_the_wavelengths(scene, arrays):
    with rasterio.open(scene.hsi) as hsi:
        centre = float(hsi.tags(10, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"])
        assert hsi.scales[0] == pytest.approx(1e-4)
    assert centre * 1000 == pytest.approx(arrays[1][9], abs=0.01)


def test_flight_line_leaves_a_corner_without_data(scene, arrays):
    cube, _, lidar, truth = arrays
    missing = cube[0] == -0.9999
    assert 0.005 < missing.mean() < 0.1
    assert np.array_equal(missing, truth == 0)
    assert (cube[:, missing] == -0.9999).all()
    assert cube[:, ~missing].min() >= 0
    assert (lidar > -100).all()


def test_every_class_occurs_and_is_named_and_coloured(scene, arrays):
    assert len(scene.classes) == 12
    assert set(np.unique(arrays[3])) == set(range(13))
    root = ElementTree.parse(f"{scene.truth}.aux.xml").getroot()
    assert [node.text or "" for node in root.iter("Category")] == ["", *scene.classes]
    with rasterio.open(scene.truth) as truth:
        colors = truth.colormap(1)
        assert truth.nodata == 0
    assert len({colors[k] for k in range(1, 13)}) == 12


def test_labels_are_points_on_their_class(scene, arrays):
    meta, _, geometry, fields = pyogrio.raw.read(scene.labels)
    columns = dict(zip(meta["fields"], fields, strict=True))
    assert rasterio.CRS.from_string(meta["crs"]).to_epsg() == 32633
    points = shapely.from_wkb(geometry)
    with rasterio.open(scene.truth) as truth:
        row, column = rowcol(truth.transform, shapely.get_x(points), shapely.get_y(points))
        colors = truth.colormap(1)
    label = arrays[3][np.array(row, int), np.array(column, int)]
    assert [scene.classes[k - 1] for k in label] == list(columns["class"])
    assert ["#{:02x}{:02x}{:02x}".format(*colors[k][:3]) for k in label] == list(columns["color"])
    assert (np.bincount(label, minlength=13)[1:] == 10).all()
    assert len(set(zip(row, column, strict=True))) == len(label)


def test_spectra_show_what_they_should(scene, arrays):
    def value(name, wavelength):
        return at(arrays, median_of(arrays, scene, name), wavelength)

    for plant in ("tree", "shrub", "lawn", "crop"):
        assert value(plant, 850) > 3 * value(plant, 670)  # red edge
        assert plant == "crop" or value(plant, 550) > value(plant, 670)  # green peak; soil shows between crop rows
        assert value(plant, 1200) < value(plant, 1080)  # liquid water
    assert value("water", 850) < 0.5 * value("water", 560)
    assert value("tile roof", 650) > 1.8 * value("tile roof", 480)  # iron oxide
    assert value("bare soil", 480) < value("bare soil", 650) < value("bare soil", 1080)
    assert value("metal roof", 550) > 2 * value("asphalt", 550)
    assert value("artificial turf", 2310) < 0.85 * value("artificial turf", 2220)  # polymer


def above_ground(lidar):
    from scipy import ndimage

    return lidar[0] - ndimage.gaussian_filter(ndimage.minimum_filter(lidar[0], 15), 5)


@pytest.mark.parametrize(("low", "high"), [("asphalt", "bitumen roof"), ("shrub", "tree")])
def test_height_alone_parts_two_pairs(scene, arrays, low, high):
    cube, wavelengths, lidar, truth = arrays
    groups = [truth == scene.classes.index(name) + 1 for name in (low, high)]
    height = above_ground(lidar)
    assert np.median(height[groups[1]]) > np.median(height[groups[0]]) + 2
    # The same material: medians of the spectral shape agree.
    bands = np.isin(wavelengths, wavelengths[[np.argmin(abs(wavelengths - w)) for w in (480, 670, 850, 1650)]])
    shapes = [np.median(cube[bands][:, group] / cube[:, group].sum(axis=0), axis=1) for group in groups]
    assert shapes[0] == pytest.approx(shapes[1], rel=0.35)


def test_spectrum_alone_parts_two_pairs(scene, arrays):
    height, truth = above_ground(arrays[2]), arrays[3]

    def median(name):
        return np.median(height[truth == scene.classes.index(name) + 1])

    assert median("tile roof") == pytest.approx(median("slate roof"), abs=2)
    assert median("lawn") == pytest.approx(median("artificial turf"), abs=1)


def test_noise_grows_towards_short_wave_infrared(scene, arrays):
    cube, wavelengths, _, truth = arrays
    water = cube[:, truth == scene.classes.index("water") + 1]
    rough = np.median(np.abs(water[1:-1] - (water[:-2] + water[2:]) / 2), axis=1)
    assert rough[np.argmin(abs(wavelengths[1:-1] - 2400))] > 3 * rough[np.argmin(abs(wavelengths[1:-1] - 1050))]


def test_same_seed_same_bytes_other_seed_other_scene(tmp_path):
    def contents(name, seed):
        simulate(tmp_path / name, size=(70, 40), bands=8, seed=seed)
        return {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}

    first = contents("a", 1)
    assert first == contents("b", 1)
    assert first["scene.bsq"] != contents("c", 2)["scene.bsq"]
    assert len(first) == 13  # nothing temporary is left


def test_existing_files_are_kept(tmp_path):
    simulate(tmp_path, size=(32, 32), bands=6)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputError, match=r"scene\.tif: exists already; use --overwrite"):
        simulate(tmp_path, size=(32, 32), bands=6, seed=1)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    simulate(tmp_path, size=(32, 32), bands=6, seed=1, overwrite=True)
    assert (tmp_path / "scene.bsq").read_bytes() != before["scene.bsq"]


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_args, **_options):
        raise RuntimeError("disk full")

    monkeypatch.setattr("diffclip_geo.simulation.files.write_labels", fail)
    with pytest.raises(RuntimeError):
        simulate(tmp_path, size=(32, 32), bands=6)
    assert list(tmp_path.iterdir()) == []


def test_out_that_is_a_file(tmp_path):
    Path(tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="is a file"):
        simulate(tmp_path / "taken")
    with pytest.raises(OutputError, match="cannot be created"):
        simulate(tmp_path / "taken" / "deeper")


@pytest.mark.parametrize(
    "option", [{"size": (4, 99)}, {"bands": 1}, {"seed": -1}, {"labels_per_class": 0}, {"pixel_size": 50.0}]
)
def test_options_out_of_range(tmp_path, option):
    with pytest.raises(OptionError, match="give"):
        simulate(tmp_path / "out", **option)
    assert not (tmp_path / "out").exists()


def test_random_forest_finds_it_neither_easy_nor_hopeless(tmp_path):
    ensemble = pytest.importorskip("sklearn.ensemble")
    scene = simulate(tmp_path, bands=60, seed=0)
    with rasterio.open(scene.hsi) as hsi, rasterio.open(scene.truth) as truth:
        good = np.array(hsi.tags(ns="ENVI")["bbl"].strip("{}").split(","), int) == 1
        cube, classes = hsi.read()[good], truth.read(1)
        points = shapely.from_wkb(pyogrio.raw.read(scene.labels)[2])
        row, column = (np.array(v, int) for v in rowcol(truth.transform, shapely.get_x(points), shapely.get_y(points)))
    forest = ensemble.RandomForestClassifier(100, random_state=0).fit(cube[:, row, column].T, classes[row, column])
    test = classes > 0
    test[row, column] = False
    some = np.random.default_rng(0).permutation(np.argwhere(test))[:4000].T
    accuracy = (forest.predict(cube[:, some[0], some[1]].T) == classes[some[0], some[1]]).mean()
    assert 0.5 < accuracy < 0.8
