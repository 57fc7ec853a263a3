"""Rasters as people have them: mosaics, control points, containers, masks, derived layers, and grids of either side."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from raster_files import NORTH_UP, UTM, real_scene, spectra, write_envi, write_labels, write_raster
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from scipy import ndimage
from scipy.io import netcdf_file

from diffclip_geo.derived import Spacing, derive, halo
from diffclip_geo.errors import DiffClipGeoError, OptionError, RasterError
from diffclip_geo.grid import Grid
from diffclip_geo.labels import read_labels
from diffclip_geo.scenes import Scene

WHOLE = (0, 0, 12, 10)


# Files of one scene -----------------------------------------------------------------------------------------------

LAYOUTS = {
    "bsq": {"interleave": "bsq"},
    "bil": {"interleave": "bil"},
    "bip": {"interleave": "bip"},
    "striped": {"compress": "lzw", "blockysize": 3},
    "pixel": {"INTERLEAVE": "PIXEL", "compress": "deflate"},
    "band": {"INTERLEAVE": "BAND", "compress": "deflate"},
    "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "zstd"},
    "cog": {"driver": "COG"},
}


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_layout_of_a_scene_reads_the_same(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("layouts")
    height, width, seed = data.draw(st.integers(3, 40)), data.draw(st.integers(3, 40)), data.draw(st.integers(0, 99))
    values = spectra(4, height, width, seed, "int16")
    values[:, :1] = -99
    blocks = []
    for name, options in LAYOUTS.items():
        if "interleave" in options:
            path = write_envi(folder / f"{name}.dat", values, fields="data ignore value = -99", **options)
        else:
            path = write_raster(folder / f"{name}.tif", values, nodata=-99, **options)
        scene = Scene.open(path)
        assert scene.grid == Grid(height, width, NORTH_UP, UTM)
        row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        part = scene.read(row, column, height - row, width - column)
        blocks.append(scene.read(0, 0, height, width))
        np.testing.assert_array_equal(part.hsi, blocks[-1].hsi[:, row:, column:])
    for block in blocks[1:]:
        for got, wanted in zip(block, blocks[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("nodata", [None, -99])
def test_a_list_of_tiles_is_one_scene_with_gaps(tmp_path, nodata):
    values = spectra(3, 12, 10, dtype="int16")
    for number, (row, column) in enumerate([(0, 0), (0, 5), (6, 0)]):
        tile = values[:, row : row + 6, column : column + 5]
        path = write_raster(
            tmp_path / f"tile{number}.tif", tile, NORTH_UP @ Affine.translation(column, row), nodata=nodata
        )
        with rasterio.open(path, "r+") as dataset:
            dataset.update_tags(ns="ENVI", wavelength="{400, 500, 600}", wavelength_units="nm", bbl="{1, 0, 1}")
    (tmp_path / "tiles.txt").write_text("# west to east\ntile1.tif\n\ntile0.tif\ntile2.tif\n")
    lidar = write_raster(tmp_path / "dsm.tif", spectra(1, 12, 10, seed=1))
    scene = Scene.open(tmp_path / "tiles.txt", [lidar])
    assert scene.grid == Grid(12, 10, NORTH_UP, UTM)
    assert scene.bands.wavelengths == (400.0, 500.0, 600.0)
    assert scene.band_indices == (0, 2)
    for copy in (scene, pickle.loads(pickle.dumps(scene)), Scene.from_dict(json.loads(json.dumps(scene.to_dict())))):
        block = copy.read(*WHOLE)
        assert not block.valid[6:, 5:].any()
        assert block.valid.sum() == 90
        np.testing.assert_array_equal(block.hsi, np.where(block.valid, values[[0, 2]], 0))
    assert [path.name for path in scene.files] == ["tiles.txt", "tile1.tif", "tile0.tif", "tile2.tif", "dsm.tif"]


def test_what_a_mask_band_of_a_tile_hides_is_a_gap(tmp_path):
    values = spectra(3, 12, 10, dtype="int16")
    hidden = np.full((12, 10), 255, np.uint8)
    hidden[3:5, 2:7] = 0
    path = write_raster(tmp_path / "tile.tif", values)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(hidden)
    (tmp_path / "tiles.txt").write_text("tile.tif\n")
    block = Scene.open(tmp_path / "tiles.txt").read(*WHOLE)
    np.testing.assert_array_equal(block.valid, hidden > 0)
    np.testing.assert_array_equal(block.hsi[:, block.valid], values[:, block.valid])


def test_lidar_tiles_with_a_gap_have_no_data_there(tmp_path):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    for number, row in enumerate((0, 28)):
        write_raster(
            tmp_path / f"{number}.tif",
            np.full((20, 40), 5, np.uint8),
            NORTH_UP @ Affine.scale(0.25) @ Affine.translation(0, row),
        )
    (tmp_path / "dsm.lst").write_text("0.tif\n1.tif\n")
    block = Scene.open(tmp_path / "hsi.tif", [tmp_path / "dsm.lst"]).read(*WHOLE)
    assert block.valid.all(axis=1).tolist() == [True] * 5 + [False] * 2 + [True] * 5
    assert set(np.unique(block.lidar)) == {0, 5}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "tiles.txt: lists b.tif, which does not exist; name one raster per line"),
        ("bands", "tiles.txt: b.tif has 2 bands, a.tif 3; list tiles of one image"),
        ("system", "tiles.txt: b.tif has another coordinate system than a.tif; bring"),
        ("lattice", "tiles.txt: the pixels of b.tif do not continue those of a.tif; resample"),
        ("size", "tiles.txt: the pixels of b.tif do not continue those of a.tif; resample"),
        ("empty", "tiles.txt: lists no rasters; name one raster per line"),
        ("binary", "tiles.txt: is not a list of rasters; name one raster per line"),
    ],
)
def test_tiles_that_do_not_fit_are_told(tmp_path, kind, said):
    write_raster(tmp_path / "a.tif", spectra(3, 6, 5))
    place = {"lattice": NORTH_UP @ Affine.translation(5.4, 0), "size": NORTH_UP @ Affine.scale(2)}.get(kind, NORTH_UP)
    if kind != "missing":
        crs = CRS.from_epsg(32632) if kind == "system" else UTM
        write_raster(tmp_path / "b.tif", spectra(2 if kind == "bands" else 3, 6, 5), place, crs)
    text = {"empty": b"# nothing\n", "binary": b"\xff\xfe\x00\x81"}.get(kind, b"a.tif\nb.tif\n")
    (tmp_path / "tiles.txt").write_bytes(text)
    with pytest.raises(RasterError) as error:
        Scene.open(tmp_path / "tiles.txt")
    assert said in str(error.value)
    assert "vsimem" not in str(error.value)


@pytest.mark.parametrize("name", ["scene.nc", 'NETCDF:"scene.nc":reflectance'])
def test_netcdf_opens_by_its_only_image_or_by_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    values = spectra(3, 12, 10)
    with netcdf_file("scene.nc", "w") as file:
        axes = {
            "wavelength": [450.0, 550.0, 650.0],
            "y": 5_799_999 - 2.0 * np.arange(12),
            "x": 500_001 + 2.0 * np.arange(10),
        }
        for axis, coordinates in axes.items():
            file.createDimension(axis, len(coordinates))
            variable = file.createVariable(axis, "f8", (axis,))
            variable[:] = coordinates
            variable.units = "nm" if axis == "wavelength" else "m"
            variable.standard_name = f"projection_{axis}_coordinate"
        file.createVariable("reflectance", "f4", ("wavelength", "y", "x"))[:] = values
        file.createVariable("quality", "i4", ("y", "x"))[:] = 1
    scene = Scene.open(name)
    assert scene.grid.transform == NORTH_UP
    assert scene.bands.wavelengths == (450.0, 550.0, 650.0)
    np.testing.assert_array_equal(scene.read(*WHOLE).hsi, values)
    facts = json.loads(json.dumps(scene.to_dict()))
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(Scene.from_dict(facts).read(*WHOLE).hsi, values)


def test_hdf5_opens_by_its_only_image_or_by_name(tmp_path):
    h5py = pytest.importorskip("h5py")
    values = spectra(3, 12, 10)
    with h5py.File(tmp_path / "scene.h5", "w") as file:
        file["cube"] = values
        file["wavelengths"] = np.array([[400.0, 500.0, 600.0]])
    for name in (tmp_path / "scene.h5", f'HDF5:"{tmp_path / "scene.h5"}"://cube'):
        scene = Scene.open(name)
        np.testing.assert_array_equal(scene.read(*WHOLE).hsi, values)
        again = Scene.from_dict(json.loads(json.dumps(scene.to_dict())))
        np.testing.assert_array_equal(again.read(*WHOLE).hsi, values)
        assert scene.files == (tmp_path / "scene.h5",)
    with h5py.File(tmp_path / "scenes.h5", "w") as file:
        file["cube"] = file["other"] = values
    with pytest.raises(RasterError, match=r"scenes\.h5: holds 2 rasters; name one of them: 'HDF5:"):
        Scene.open(tmp_path / "scenes.h5")


# Placed without a transform ---------------------------------------------------------------------------------------


def control_points(path, values, transform, nodata=None):
    count, height, width = values.shape
    points = []
    for row in (0, height):
        for column in (0, width):
            x = transform.a * column + transform.b * row + transform.c
            y = transform.d * column + transform.e * row + transform.f
            points.append(GroundControlPoint(row, column, x, y))
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": values.dtype}
    with rasterio.open(path, "w", nodata=nodata, **profile) as dataset:
        dataset.write(values)
        dataset.gcps = (points, UTM)
    return path


@pytest.mark.parametrize(("dtype", "nodata"), [("int16", None), ("int16", -9), ("float32", None)])
def test_control_points_place_an_image(tmp_path, dtype, nodata):
    values = spectra(3, 30, 20, dtype=dtype)
    values[:, 4, 4] = values[0, 4, 4]
    place = Affine.translation(500_000, 5_800_000) @ Affine.rotation(-25) @ Affine.scale(2, -2)
    path = control_points(tmp_path / "swath.tif", values, place, nodata)
    lidar = write_raster(tmp_path / "dsm.tif", np.full((80, 80), 3.0), Affine(2, 0, 499_920, 0, -2, 5_800_050))
    scene = Scene.open(path, [lidar])
    assert scene.grid.crs == UTM
    assert scene.notes[0] == (
        "swath.tif: placed by 4 ground control points, seen on a regular grid in EPSG:32633 (nearest pixel)"
    )
    block = scene.read(0, 0, *scene.grid.shape)
    assert block.valid.sum() * scene.grid.pixel_area == pytest.approx(30 * 20 * 4, rel=0.05)
    row, column = np.nonzero(block.valid)
    across, down = Grid(30, 20, place, UTM).to_pixels(*scene.grid.centre_of(row, column))
    there_row, there_column = np.floor(down).astype(int), np.floor(across).astype(int)
    clear = np.minimum(np.abs(down - np.round(down)), np.abs(across - np.round(across))) > 0.02
    assert clear.mean() > 0.8
    found = block.hsi[:, row[clear], column[clear]]
    np.testing.assert_array_equal(found, values[:, there_row[clear], there_column[clear]].astype(np.float32))
    part = scene.read(7, 5, 20, 22)
    np.testing.assert_array_equal(part.hsi, block.hsi[:, 7:27, 5:27])
    x, y = Grid(30, 20, place, UTM).to_map(np.array([10.5]), np.array([12.5]))
    labels = write_labels(tmp_path / "l.gpkg", [shapely.Point(x[0], y[0])], {"c": ["a"]}, driver="GPKG")
    pixel = read_labels(labels, [scene.grid])
    np.testing.assert_array_equal(block.hsi[:, pixel.row[0], pixel.column[0]], values[:, 12, 10].astype(np.float32))


def test_control_points_place_a_lidar_raster(tmp_path):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    heights = np.full((1, 40, 40), 7, np.uint8)
    path = control_points(tmp_path / "dsm.tif", heights, Affine(2, 0, 499_990, 0, -2, 5_800_012))
    scene = Scene.open(tmp_path / "hsi.tif", [path])
    assert "dsm.tif: placed by 4 ground control points" in scene.notes
    block = scene.read(*WHOLE)
    assert block.valid.all()
    assert (block.lidar == 7).all()
    turned = Affine.translation(500_000, 5_800_000) @ Affine.rotation(-45) @ Affine.scale(2, -2)  # covers a corner less
    path = control_points(tmp_path / "turned.tif", heights, turned)
    block = Scene.open(tmp_path / "hsi.tif", [path], allow_partial=True).read(*WHOLE)
    assert 0 < block.valid.mean() < 1
    assert (block.lidar[0] == np.where(block.valid, 7, 0)).all()
    across, down = Grid(40, 40, turned, UTM).to_pixels(500_017.0, 5_799_999.0)  # the first row's last pixel but one
    assert block.valid[0, 8] == (0 < across < 40 and 0 < down < 40)


def test_rational_polynomials_place_an_image(tmp_path):
    path = write_raster(tmp_path / "a.tif", spectra(3, 20, 30), None, None)
    linear = {"line_num_coeff": [0, 0, -1] + [0] * 17, "samp_num_coeff": [0, 1] + [0] * 18}
    offsets = {"height_off": 100, "lat_off": 52.3, "long_off": 13.4, "line_off": 9.5, "samp_off": 14.5}
    scales = {"height_scale": 500, "lat_scale": 0.1, "long_scale": 0.1, "line_scale": 10, "samp_scale": 15}
    one = [1] + [0] * 19
    with rasterio.open(path, "r+") as dataset:
        dataset.rpcs = RPC(
            **linear, **offsets, **scales, line_den_coeff=one, samp_den_coeff=one, err_bias=None, err_rand=None
        )
    scene = Scene.open(path)
    assert scene.grid.crs.to_epsg() == 4326
    assert "rational polynomial coefficients" in scene.notes[0]
    left, bottom, right, top = scene.grid.bounds
    assert (left, right, bottom, top) == pytest.approx((13.3, 13.5, 52.2, 52.4), abs=0.01)
    assert scene.read(0, 0, *scene.grid.shape).valid.mean() > 0.9


def test_labels_drawn_over_an_unplaced_image_in_qgis_count_rows_downwards(tmp_path):
    grid = Grid(12, 10, Affine.identity(), None)
    for sign in (1, -1):
        points = [shapely.Point(3.5, sign * 2.5), shapely.Point(7.5, sign * 9.5)]
        path = write_labels(tmp_path / f"labels{sign + 1}.gpkg", points, {"c": ["a", "b"]}, None, driver="GPKG")
        pixels = read_labels(path, [grid])
        assert list(zip(pixels.row.tolist(), pixels.column.tolist(), strict=True)) == [(2, 3), (9, 7)]
        assert any("negative y" in note for note in pixels.report.notes) == (sign == -1)


# Masks ------------------------------------------------------------------------------------------------------------


def test_polygons_mask_what_lies_outside(tmp_path):
    path = write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    field = shapely.box(500_004, 5_799_984, 500_012, 5_799_996).difference(
        shapely.box(500_006, 5_799_990, 500_008, 5_799_992)
    )
    for crs in (UTM, None):
        mask = write_labels(tmp_path / f"field{crs is None}.shp", [field], {"n": [1]}, crs, geometry_type="Polygon")
        scene = Scene.open(path, mask=mask)
        expected = np.zeros((12, 10), bool)
        expected[2:8, 2:6] = True
        expected[4, 3] = False
        np.testing.assert_array_equal(scene.read(*WHOLE).valid, expected)
        np.testing.assert_array_equal(scene.read(3, 1, 6, 7).valid, expected[3:9, 1:8])
        again = Scene.from_dict(json.loads(json.dumps(scene.to_dict())))
        np.testing.assert_array_equal(again.read(*WHOLE).valid, expected)
    points = write_labels(tmp_path / "points.gpkg", [shapely.Point(0, 0)], {"n": [1]}, driver="GPKG")
    with pytest.raises(DiffClipGeoError, match=r"points\.gpkg: holds no polygons; give polygons"):
        Scene.open(path, mask=points)


@pytest.mark.parametrize("scale", [1, 0.25])
def test_a_mask_band_of_lidar_hides_pixels(tmp_path, scale):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    side = round(1 / scale)
    hidden = np.full((12 * side, 10 * side), 255, np.uint8)
    hidden[: 4 * side] = 0
    hidden[7 * side, 3 * side] = 0 if side > 1 else 255  # a part of a pixel is hidden, and takes no part in its mean
    heights = np.where(hidden == 0, 99, 7).astype(np.int16)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write_raster(tmp_path / "dsm.tif", heights, NORTH_UP @ Affine.scale(scale))
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask(hidden)
    scene = Scene.open(tmp_path / "hsi.tif", [path])
    block = scene.read(*WHOLE)
    assert not block.valid[:4].any()
    assert block.valid[4:].all()
    assert set(np.unique(block.lidar)) == {0, 7}


# Derived layers ---------------------------------------------------------------------------------------------------

ALL = ("slope", "height-above-ground", "roughness", "local-range")
METRES = Spacing(((1.0, 0.0), (0.0, -1.0)))


@pytest.mark.parametrize("turn", [0, 30, 135])
def test_slope_of_a_plane(turn):
    place = Affine.rotation(turn) @ Affine.scale(2, -3)
    grid = Grid(9, 8, place, UTM)
    row, column = np.mgrid[:9, :8]
    x, y = grid.centre_of(row, column)
    layer = derive(["slope"], (0.3 * x - 0.4 * y).astype(np.float32), np.ones((9, 8), bool), Spacing.of(grid))[0]
    np.testing.assert_allclose(layer[1:-1, 1:-1], np.degrees(np.arctan(0.5)), rtol=1e-4)


def test_slope_in_degrees_of_longitude_and_latitude():
    grid = Grid(9, 8, Affine(1e-5, 0, 13, 0, -1e-5, 60), CRS.from_epsg(4326))
    column = np.mgrid[:9, :8][1]
    east = (column * 1e-5 * 111_320 * 0.5).astype(np.float32)  # metres at 60° north
    layer = derive(["slope"], east, np.ones((9, 8), bool), Spacing.of(grid))[0]
    np.testing.assert_allclose(layer[1:-1, 1:-1], 45, rtol=1e-3)


def test_things_stand_above_the_ground_and_the_ground_does_not():
    spacing = Spacing(((5.0, 0.0), (0.0, -5.0)))  # 5 m pixels: a radius of 5 pixels
    row, _ = np.mgrid[:40, :40]
    ground = 0.01 * row
    heights = ground.copy()
    heights[10:16, 20:25] += 8
    layer = derive(["height-above-ground"], heights.astype(np.float32), np.ones((40, 40), bool), spacing)[0]
    np.testing.assert_allclose(layer[10:16, 20:25], 8, atol=0.2)
    assert layer[heights == ground].max() < 0.2


def test_roughness_and_range_are_the_textbook_s():
    heights = np.random.default_rng(0).normal(100, 5, (14, 15)).astype(np.float32)
    valid = np.ones((14, 15), bool)
    valid[5, 5] = False
    rough, wide = derive(["roughness", "local-range"], heights, valid, METRES)
    for row, column in ((0, 0), (4, 4), (7, 9), (13, 14)):
        part = (slice(max(row - 2, 0), row + 3), slice(max(column - 2, 0), column + 3))
        around = heights[part][valid[part]].astype(float)
        assert rough[row, column] == pytest.approx(around.std(), rel=1e-5)
        assert wide[row, column] == pytest.approx(np.ptp(around), rel=1e-5)
    assert rough[5, 5] == wide[5, 5] == 0


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 99),
    names=st.sets(st.sampled_from(ALL), min_size=1),
    place=st.tuples(st.integers(0, 30), st.integers(0, 20), st.integers(1, 20), st.integers(1, 20)),
    scale=st.sampled_from([1.0, 0.5, 3.7]),
)
def test_derived_layers_do_not_depend_on_the_window(tmp_path_factory, seed, names, place, scale):
    folder = tmp_path_factory.mktemp("derived")
    random = np.random.default_rng(seed)
    write_raster(folder / "hsi.tif", spectra(2, 50, 40), NORTH_UP @ Affine.scale(4))
    heights = ndimage.gaussian_filter(random.normal(0, 30, (260, 210)), 2).astype(np.float32)
    heights[random.random((260, 210)) < 0.02] = np.nan
    lidar_place = NORTH_UP @ Affine.translation(-4, -4) @ Affine.scale(scale)
    size = (min(260, int(220 / scale) + 4), min(210, int(180 / scale) + 4))
    write_raster(folder / "dsm.tif", heights[: size[0], : size[1]], lidar_place)
    scene = Scene.open(folder / "hsi.tif", [folder / "dsm.tif"], derive=sorted(names), allow_partial=True)
    assert scene.lidar_names == ("dsm", *(f"{name} of dsm" for name in sorted(names)))
    whole = scene.read(0, 0, 50, 40)
    row, column, height, width = place
    part = scene.read(row, column, height, width)
    np.testing.assert_array_equal(part.lidar, whole.lidar[:, row : row + height, column : column + width])
    again = Scene.from_dict(json.loads(json.dumps(scene.to_dict())))
    assert again == scene
    np.testing.assert_array_equal(again.read(row, column, height, width).lidar, part.lidar)
    assert halo(scene.derived, Spacing.of(scene.grid)) <= 80


@pytest.mark.parametrize(
    ("lidar", "options", "said"),
    [
        (True, {"derive": "slope,aspect"}, "--derive: 'aspect' is not known; choose from slope, height-above-ground,"),
        (False, {"derive": "slope"}, "--derive: needs a LiDAR raster; name one"),
        (False, {"grid": "lidar"}, "--grid: needs a LiDAR raster; name one"),
        (True, {"grid": "finer"}, "--grid: 'finer' is not known; use image or lidar"),
    ],
)
def test_options_that_cannot_be_met_are_told(tmp_path, lidar, options, said):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    write_raster(tmp_path / "dsm.tif", spectra(1, 12, 10))
    with pytest.raises(OptionError) as error:
        Scene.open(tmp_path / "hsi.tif", [tmp_path / "dsm.tif"] if lidar else [], **options)
    assert str(error.value).startswith(said)


# The finer raster as reference ------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(
    size=st.floats(0.3, 1.9),
    turn=st.sampled_from([0.0, 0.0, 20.0]),
    shift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    epsg=st.sampled_from([32633, 32633, 25833, 32632]),
)
def test_an_image_of_planes_is_that_on_the_lidar_s_grid(tmp_path_factory, size, turn, shift, epsg):
    folder = tmp_path_factory.mktemp("finer")
    image = Grid(14, 12, NORTH_UP, UTM)
    row, column = np.mgrid[:14, :12]
    x, y = image.centre_of(row, column)

    def planes(x, y):
        return np.stack([0.5 * (x - 5e5) + 100, 0.25 * (y - 58e5) + 200])

    write_raster(folder / "hsi.tif", planes(x, y).astype("float64"))
    crs = CRS.from_epsg(epsg)
    corner_x, corner_y = rasterio.warp.transform(UTM, crs, [500_003 + shift[0]], [5_799_995 + shift[1]])
    place = Affine.translation(corner_x[0], corner_y[0]) @ Affine.rotation(turn) @ Affine.scale(size, -size)
    write_raster(folder / "dsm.tif", spectra(1, 13, 11), place, crs)
    scene = Scene.open(folder / "hsi.tif", [folder / "dsm.tif"], grid="lidar")
    assert scene.grid.crs == crs
    block = scene.read(0, 0, *scene.grid.shape)
    row, column = np.nonzero(block.valid)
    map_x, map_y = scene.grid.centre_of(row, column)
    xs, ys = (np.array(v) for v in rasterio.warp.transform(crs, UTM, map_x, map_y))
    across, down = image.to_pixels(xs, ys)
    inner = (across > 0.5) & (across < 11.5) & (down > 0.5) & (down < 13.5)  # the image ends half a pixel beyond
    np.testing.assert_allclose(block.hsi[:, row, column][:, inner], planes(xs, ys)[:, inner], atol=1e-3)
    height, width = scene.grid.shape
    part = scene.read(height // 3, width // 4, height - height // 3, width - width // 4)
    np.testing.assert_array_equal(part.hsi, block.hsi[:, height // 3 :, width // 4 :])


def test_nodata_of_the_image_stays_out_of_interpolated_spectra(tmp_path):
    values = np.full((2, 12, 10), 50, np.int16)
    values[:, :, 4] = 0
    values[1] += 1
    values[:, :, 4] = 0
    write_raster(tmp_path / "hsi.tif", values + (np.arange(12)[:, None] * (values > 0)).astype(np.int16))
    write_raster(tmp_path / "dsm.tif", spectra(1, 48, 40), NORTH_UP @ Affine.scale(0.25))
    block = Scene.open(tmp_path / "hsi.tif", [tmp_path / "dsm.tif"], grid="lidar").read(0, 0, 48, 40)
    assert not block.valid[:, 16:20].any()
    assert block.valid.sum() == 48 * 36
    assert block.hsi[:, block.valid].min() >= 50


def test_a_coarser_lidar_is_no_reference(tmp_path):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    write_raster(tmp_path / "dsm.tif", spectra(1, 6, 5), NORTH_UP @ Affine.scale(2))
    with pytest.raises(OptionError, match=r"--grid: cannot be dsm\.tif: its pixels are 2 times coarser than those of"):
        Scene.open(tmp_path / "hsi.tif", [tmp_path / "dsm.tif"], grid="lidar")


def test_berlin_on_the_grid_of_the_aerial_image():
    folder = real_scene("berlin_enmap")
    scene = Scene.open(
        folder / "EnMAP_BerlinUrbanGradient.hdr", [folder / "HighResolution_BerlinUrbanGradient.hdr"], grid="lidar"
    )
    assert scene.grid.transform.a == pytest.approx(3.6)
    assert "8.33 times finer" in " ".join(scene.notes)
    block = scene.read(100, 100, 200, 200)
    assert block.hsi.shape == (177, 200, 200)
    assert block.valid.mean() > 0.9


def test_a_raster_in_an_archive(tmp_path, monkeypatch):
    values = spectra(3, 12, 10)
    write_raster(tmp_path / "scene.tif", values)
    with zipfile.ZipFile(tmp_path / "scene.zip", "w") as archive:
        archive.write(tmp_path / "scene.tif", "inside/scene.tif")
    monkeypatch.chdir(tmp_path)
    for name in (f"/vsizip/{tmp_path}/scene.zip/inside/scene.tif", "/vsizip/scene.zip/inside/scene.tif"):
        np.testing.assert_array_equal(Scene.open(name).read(*WHOLE).hsi, values)
        assert Scene.open(name).files == ()


def test_a_mask_can_be_laid_on_a_scene_later(tmp_path):
    scene = Scene.open(write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10)))
    mask = np.zeros((12, 10), np.uint8)
    mask[:5] = 1
    assert scene.read(*WHOLE).valid.all()
    masked = scene.masked(write_raster(tmp_path / "mask.tif", mask))
    np.testing.assert_array_equal(masked.read(*WHOLE).valid, mask == 1)
    with pytest.raises(RasterError, match=r"no pixel is valid together with none\.tif"):
        scene.masked(write_raster(tmp_path / "none.tif", mask * 0))
