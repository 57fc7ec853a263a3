import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import example, given, settings
from hypothesis import strategies as st
from raster_files import NORTH_UP, UTM, real_scene, spectra, write_envi, write_raster
from rasterio.crs import CRS
from rasterio.warp import transform as reproject_points

from diffclip_geo import scenes
from diffclip_geo.errors import DiffClipGeoError, RasterError
from diffclip_geo.grid import Grid
from diffclip_geo.scenes import Scene, agree, find_scenes, notes_of

WHOLE = (0, 0, 12, 10)


@pytest.fixture
def pair(tmp_path):
    """An image of 5 bands and a LiDAR raster on its grid, 12 × 10 pixels."""
    hsi = write_raster(tmp_path / "hsi.tif", spectra(5, 12, 10))
    lidar = write_raster(tmp_path / "chm.tif", spectra(1, 12, 10, seed=1))
    return hsi, lidar


def values_of(path):
    with rasterio.open(path) as dataset:
        return dataset.read()


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    assert text.count("; ") >= 1
    return text


def test_reads_stored_values_of_both_modalities(pair):
    scene = Scene.open(pair[0], [pair[1]])
    block = scene.read(3, 2, 6, 5)
    assert block.hsi.dtype == block.lidar.dtype == np.float32
    np.testing.assert_array_equal(block.hsi, values_of(pair[0])[:, 3:9, 2:7])
    np.testing.assert_array_equal(block.lidar, values_of(pair[1])[:, 3:9, 2:7])
    assert block.valid.all()
    assert scene.alignments[0].resampling == "none"
    assert scene.lidar_names == ("chm",)


def test_lidar_is_optional(pair):
    block = Scene.open(pair[0]).read(*WHOLE)
    assert block.lidar.shape == (0, 12, 10)
    assert block.valid.all()


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
@pytest.mark.parametrize("name", ["scene.hdr", "scene.img"])
def test_envi_opens_from_header_or_data_file_in_every_interleave(tmp_path, interleave, name):
    values = spectra(4, 6, 7, dtype="int16")
    write_envi(tmp_path / "scene.img", values, interleave=interleave, fields="bbl = {1, 0, 1, 1}")
    scene = Scene.open(tmp_path / name)
    np.testing.assert_array_equal(scene.read(0, 0, 6, 7).hsi, values[[0, 2, 3]])
    assert scene.hsi_path.name == "scene.img"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scene.hdr", "scene.img"]  # nothing is left behind


def test_scale_and_offset_are_applied(tmp_path):
    path = write_raster(tmp_path / "a.tif", spectra(2, 4, 5, dtype="int16"))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets = (0.1, 0.5), (0.0, -3.0)
    raw = values_of(path).astype(float)
    block = Scene.open(path, [path]).read(0, 0, 4, 5)
    expected = raw * np.array([0.1, 0.5])[:, None, None] + np.array([0.0, -3.0])[:, None, None]
    np.testing.assert_allclose(block.hsi, expected, rtol=1e-6)
    np.testing.assert_allclose(block.lidar, expected, rtol=1e-6)


def test_envi_reflectance_scale_factor_divides(tmp_path):
    values = spectra(2, 4, 5, dtype="int16")
    path = write_envi(tmp_path / "a.bsq", values, fields="reflectance scale factor = 10000")
    np.testing.assert_allclose(Scene.open(path).read(0, 0, 4, 5).hsi, values / 10000, rtol=1e-6)


# Invalid pixels ---------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_nan_infinity_or_nodata_leaves_a_scene(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("storm")
    bad = st.sampled_from([np.nan, np.inf, -np.inf, -9999.0, -3.4028235e38, 3.4028235e38])
    where = st.tuples(st.integers(0, 2), st.integers(0, 7), st.integers(0, 6), bad)
    images = {}
    for name, seed in (("hsi", 0), ("lidar", 1)):
        values = spectra(3, 8, 7, seed)
        for band, row, column, value in data.draw(st.lists(where, max_size=12)):
            values[band, row, column] = value
        images[name] = values
        write_raster(folder / f"{name}.tif", values, nodata=-9999.0)
    expected = np.ones((8, 7), bool)
    for values in images.values():
        expected &= (np.isfinite(values) & (np.abs(values) < 1e30) & (values != -9999)).all(axis=0)
    scene = Scene.open(folder / "hsi.tif", [folder / "lidar.tif"])
    block = scene.read(0, 0, 8, 7)
    np.testing.assert_array_equal(block.valid, expected)
    assert scene.may_be_valid(0, 0, 8, 7)[expected].all()
    assert np.isfinite(block.hsi).all()
    assert np.isfinite(block.lidar).all()
    assert not block.hsi[:, ~expected].any()
    assert not block.lidar[:, ~expected].any()


def test_nodata_of_warped_lidar_does_not_bleed_into_values(tmp_path):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    for name, nodata in (("declared", -9999.0), ("undeclared", None)):
        heights = np.full((48, 40), 7.0, np.float32)
        heights[:22] = -9999
        path = write_raster(tmp_path / f"{name}.tif", heights, NORTH_UP @ Affine.scale(0.25), nodata=nodata)
        scene = Scene.open(tmp_path / "hsi.tif", [path])
        block = scene.read(*WHOLE)
        assert not block.valid[:5].any()
        assert block.valid[6:].all()
        np.testing.assert_allclose(block.lidar[0, block.valid], 7.0)
    assert "undeclared.tif: declares no nodata; -9999 is taken as such" in scene.notes


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_zero_spectra_are_padding_but_single_zeros_are_values(tmp_path, dtype):
    for nodata in (None, 0):
        values = spectra(4, 12, 10, dtype=dtype)
        values[:, :3] = 0
        values[1, 5, 5] = 0
        path = write_raster(tmp_path / f"{nodata}.tif", values, nodata=nodata)
        valid = Scene.open(path).read(*WHOLE).valid
        assert not valid[:3].any()
        assert valid[3:].all()


def test_nodata_beyond_the_type_is_ignored(tmp_path):
    path = write_raster(tmp_path / "a.vrt.tif", spectra(2, 4, 5, dtype="uint16"))
    (tmp_path / "a.tif.aux.xml").write_text("")
    with rasterio.open(path, "r+") as dataset:
        dataset.nodata = 65535
    assert Scene.open(path).read(0, 0, 4, 5).valid.all()


def test_mask_takes_pixels_out_on_any_grid(pair, tmp_path):
    mask = np.ones((24, 20), np.uint8)
    mask[:8] = 0
    write_raster(tmp_path / "mask.tif", mask, NORTH_UP @ Affine.scale(0.5))
    block = Scene.open(pair[0], [pair[1]], mask=tmp_path / "mask.tif").read(*WHOLE)
    assert not block.valid[:4].any()
    assert block.valid[4:].all()


def test_one_band_and_the_mask_tell_what_is_surely_invalid(pair, tmp_path, monkeypatch):
    mask = np.ones((12, 10), np.uint8)
    mask[:4] = 0
    values = spectra(5, 12, 10)
    values[:, 10:] = -9999
    write_raster(tmp_path / "mask.tif", mask)
    scene = Scene.open(write_raster(tmp_path / "a.tif", values, nodata=-9999.0), mask=tmp_path / "mask.tif")
    read, read_view = [], scenes.read_view

    def noted(view, window, bands=None):
        read.append(bands)
        return read_view(view, window, bands)

    monkeypatch.setattr(scenes, "read_view", noted)
    valid = scene.may_be_valid(*WHOLE)
    assert valid[4:10].all() and not valid[:4].any() and not valid[10:].any()
    assert all(len(bands) == 1 for bands in read)


def test_constant_and_empty_bands_are_dropped(tmp_path):
    values = spectra(5, 12, 10)
    values[1] = 3.0
    values[3] = np.nan
    scene = Scene.open(write_raster(tmp_path / "a.tif", values), bad_bands="5")
    assert scene.bands.dropped() == {"constant": "2", "nodata": "4", "listed": "5"}
    np.testing.assert_array_equal(scene.read(*WHOLE).hsi, values[[0, 2]])


def test_data_in_one_corner_of_a_large_image_is_found(tmp_path):
    values = np.full((2, 700, 700), -1, np.int16)
    values[:, 640:660, 100:120] = spectra(2, 20, 20, dtype="int16")
    scene = Scene.open(write_raster(tmp_path / "a.tif", values, nodata=-1, compress="deflate"))
    assert scene.bands.good == (True, True)
    assert scene.read(640, 100, 20, 20).valid.all()


# Alignment --------------------------------------------------------------------------------------------------------


def plane(grid, crs, slope=(0.3, -0.2), origin=(500_020.0, 5_799_980.0)):
    """z = a·(x − x0) + b·(y − y0) + 50 at the pixel centres of `grid`, with x, y in `crs`."""
    row, column = np.mgrid[: grid.height, : grid.width]
    x, y = grid.centre_of(row, column)
    if grid.crs != crs:
        xs, ys = reproject_points(grid.crs, crs, x.ravel(), y.ravel())
        x, y = np.reshape(xs, x.shape), np.reshape(ys, y.shape)
    return slope[0] * (x - origin[0]) + slope[1] * (y - origin[1]) + 50


@settings(max_examples=40, deadline=None)
@example(
    size=2.0, turn=0.0, flip=False, hsi_turn=0.0, shift=(0.0, 0.0), crs=CRS.from_epsg(32632)
)  # pixels 1.003 times finer, in another zone
@given(
    size=st.floats(0.4, 5.0),
    turn=st.floats(0, 360),
    flip=st.booleans(),
    hsi_turn=st.sampled_from([0.0, 0.0, 17.0]),
    shift=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    crs=st.sampled_from([UTM, UTM, CRS.from_epsg(25833), CRS.from_epsg(32632), CRS.from_epsg(3035)]),
)
def test_a_warped_plane_is_that_plane(tmp_path_factory, size, turn, flip, hsi_turn, shift, crs):
    folder = tmp_path_factory.mktemp("plane")
    centre = (500_020.0, 5_799_980.0)
    place = Affine.translation(*centre) @ Affine.rotation(hsi_turn) @ Affine.scale(2, -2) @ Affine.translation(-6, -5)
    grid = Grid(10, 12, place, UTM)
    write_raster(folder / "hsi.tif", spectra(3, 10, 12), place)
    count = int(np.ceil(70 / size))
    (there_x,), (there_y,) = reproject_points(UTM, crs, [centre[0] + shift[0]], [centre[1] + shift[1]])
    lidar_place = (
        Affine.translation(there_x, there_y)
        @ Affine.rotation(turn)
        @ Affine.scale(size, size if flip else -size)
        @ Affine.translation(-count / 2, -count / 2)
    )
    lidar = Grid(count, count, lidar_place, crs)
    write_raster(folder / "dsm.tif", plane(lidar, UTM).astype("float64"), lidar_place, crs)
    scene = Scene.open(folder / "hsi.tif", [folder / "dsm.tif"])
    block = scene.read(0, 0, 10, 12)
    assert block.valid.all()
    slope = np.hypot(0.3, 0.2)
    tolerance = slope * (0.02 * size if size >= 2 else 0.5 * size) + 1e-3
    np.testing.assert_allclose(block.lidar[0], plane(grid, UTM), atol=tolerance)
    part = scene.read(3, 4, 5, 6).lidar  # and does not depend on the window
    np.testing.assert_array_equal(part, block.lidar[:, 3:8, 4:10])


@pytest.mark.parametrize(
    ("transform", "shape", "resampling"),
    [
        (NORTH_UP, (12, 10), "none"),
        (NORTH_UP @ Affine.translation(-3, -2), (20, 20), "nearest"),
        (NORTH_UP @ Affine.scale(0.25), (48, 40), "average"),
        (NORTH_UP @ Affine.translation(-2, -2) @ Affine.scale(4), (6, 6), "bilinear"),
        (NORTH_UP @ Affine.translation(-0.4, -0.2), (13, 11), "bilinear"),
    ],
)
def test_the_way_of_resampling_follows_the_lattices(tmp_path, transform, shape, resampling):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    path = write_raster(tmp_path / "dsm.tif", spectra(1, *shape, seed=1), transform)
    scene = Scene.open(tmp_path / "hsi.tif", [path])
    assert scene.alignments[0].resampling == resampling
    assert scene.alignments[0].overlap == 1


def test_averaging_is_the_mean_of_the_pixels_inside(tmp_path):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    fine = spectra(2, 48, 40, seed=1)
    path = write_raster(tmp_path / "dsm.tif", fine, NORTH_UP @ Affine.scale(0.25))
    block = Scene.open(tmp_path / "hsi.tif", [path]).read(*WHOLE)
    np.testing.assert_allclose(block.lidar, fine.reshape(2, 12, 4, 10, 4).mean(axis=(2, 4)), rtol=1e-5)


def test_too_little_overlap_is_an_error_unless_allowed(tmp_path):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    path = write_raster(tmp_path / "dsm.tif", spectra(1, 12, 10), NORTH_UP @ Affine.translation(5, 0))
    with pytest.raises(RasterError) as error:
        Scene.open(tmp_path / "hsi.tif", [path])
    assert "dsm.tif: covers only 50.0 % of hsi.tif; " in one_line(error)
    assert "--allow-partial" in one_line(error)
    block = Scene.open(tmp_path / "hsi.tif", [path], allow_partial=True).read(*WHOLE)
    assert not block.valid[:, :5].any()
    assert block.valid[:, 5:].all()


def test_no_overlap_is_an_error_even_if_partial_is_allowed(tmp_path):
    write_raster(tmp_path / "hsi.tif", spectra(3, 12, 10))
    path = write_raster(tmp_path / "dsm.tif", spectra(1, 12, 10), NORTH_UP @ Affine.translation(5000, 0))
    with pytest.raises(RasterError, match=r"dsm\.tif: does not overlap hsi\.tif; give rasters of the same place"):
        Scene.open(tmp_path / "hsi.tif", [path], allow_partial=True)


def test_a_missing_coordinate_system_is_taken_from_the_other_side(tmp_path):
    with_crs = write_raster(tmp_path / "with.tif", spectra(3, 12, 10))
    without = write_raster(tmp_path / "without.tif", spectra(3, 12, 10), crs=None)
    scene = Scene.open(without, [with_crs])
    assert scene.grid.crs == UTM
    assert scene.notes[0] == "without.tif: has no coordinate system; taken as EPSG:32633, that of with.tif"
    scene = Scene.open(with_crs, [without])
    assert "without.tif: has no coordinate system; taken as EPSG:32633, that of with.tif" in scene.notes
    far = write_raster(tmp_path / "far.tif", spectra(1, 12, 10), Affine(1, 0, 13.0, 0, -1, 52.0), crs=None)
    with pytest.raises(RasterError, match=r"does not overlap with\.tif; give far\.tif its coordinate system"):
        Scene.open(with_crs, [far])


def test_rasters_without_georeference_pair_by_row_and_column(tmp_path):
    bare = write_raster(tmp_path / "bare.tif", spectra(3, 12, 10), Affine.identity(), None)
    lidar = write_raster(tmp_path / "lidar.tif", spectra(1, 12, 10, seed=2), Affine.identity(), None)
    scene = Scene.open(bare, [lidar])
    np.testing.assert_array_equal(scene.read(*WHOLE).lidar, values_of(lidar))
    assert any("has no georeference" in note for note in scene.notes)
    other = write_raster(tmp_path / "other.tif", spectra(1, 6, 5), Affine.identity(), None)
    with pytest.raises(RasterError, match=r"other\.tif: cannot be placed without a georeference: 6×5 pixels against"):
        Scene.open(bare, [other])


# Life of a scene --------------------------------------------------------------------------------------------------


def test_a_scene_survives_pickle_and_json(pair):
    scene = Scene.open(pair[0], [pair[1]], bad_bands="2")
    expected = scene.read(*WHOLE)
    for copy in (pickle.loads(pickle.dumps(scene)), Scene.from_dict(json.loads(json.dumps(scene.to_dict())))):
        assert copy == scene
        for got, wanted in zip(copy.read(*WHOLE), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_many_threads_read_the_same_values(tmp_path):
    hsi = write_raster(
        tmp_path / "hsi.tif", spectra(6, 96, 80), compress="deflate", tiled=True, blockxsize=16, blockysize=16
    )
    dsm = write_raster(
        tmp_path / "dsm.tif", spectra(1, 200, 170), NORTH_UP @ Affine.scale(0.5) @ Affine.translation(-3.3, -2.2)
    )
    scene = Scene.open(hsi, [dsm])
    whole = scene.read(0, 0, 96, 80)
    places = [(row, column) for row in range(0, 90, 5) for column in range(0, 75, 5)]

    def same(place):
        row, column = place
        block = scene.read(row, column, 6, 5)
        return all(
            np.array_equal(part, full[..., row : row + 6, column : column + 5])
            for part, full in zip(block, whole, strict=True)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(same, places))


def test_a_small_window_of_a_huge_file_is_read_alone(tmp_path):
    path = tmp_path / "huge.bsq"
    rows = columns = 20_000
    bands = 3
    fields = "bbl = {1, 1, 1}"
    write_envi(path, np.zeros((bands, 1, 1), np.float32), fields=fields)
    header = path.with_suffix(".hdr")
    header.write_text(
        header.read_text().replace("samples = 1", f"samples = {columns}").replace("lines = 1", f"lines = {rows}")
    )
    with path.open("r+b") as file:
        file.truncate(4 * bands * rows * columns)  # sparse: 4.8 GB that take no space
        for band in range(bands):
            for row in range(4):
                file.seek(4 * ((band * rows + row) * columns))
                file.write(np.random.default_rng(band * 9 + row).uniform(1, 2, 4).astype("<f4").tobytes())
    scene = Scene.open(path)
    block = scene.read(0, 0, 4, 6)
    assert block.valid[:, :4].all()
    assert not block.valid[:, 4:].any()


def test_windows_stay_inside_the_grid(pair):
    with pytest.raises(ValueError, match="leaves the grid"):
        Scene.open(pair[0]).read(10, 0, 3, 3)


def test_a_file_that_changed_since_is_noticed(pair):
    facts = Scene.open(pair[0], [pair[1]]).to_dict()
    write_raster(pair[0], spectra(5, 9, 9))
    with pytest.raises(RasterError, match=r"hsi\.tif: is now 9×9 with 5 bands"):
        Scene.from_dict(facts).read(0, 0, 2, 2)
    pair[0].unlink()
    with pytest.raises(RasterError, match=r"hsi\.tif: does not exist"):
        Scene.from_dict(facts).read(0, 0, 2, 2)


# Several scenes ---------------------------------------------------------------------------------------------------


def test_scenes_agree_on_the_bands_good_in_all(tmp_path):
    first = spectra(4, 12, 10)
    second = spectra(4, 8, 9, seed=3)
    first[1] = np.nan
    second[2] = 5.0  # constant in a single plot: kept
    third = spectra(4, 6, 6, seed=4)
    paths = [write_raster(tmp_path / f"{i}.tif", values) for i, values in enumerate((first, second, third))]
    scenes = agree([Scene.open(paths[0]), Scene.open(paths[1]), Scene.open(paths[2], bad_bands="4")])
    assert [scene.band_indices for scene in scenes] == [(0, 2)] * 3
    assert scenes[1].bands.dropped() == {"other scenes": "2,4"}
    np.testing.assert_array_equal(scenes[1].read(0, 0, 8, 9).hsi, second[[0, 2]])


def test_a_scene_reads_another_s_bands_in_their_order(tmp_path):
    values = spectra(4, 5, 6)
    listed = "wavelength units = nm\nwavelength = {{{}}}"
    one = write_envi(tmp_path / "one.bsq", values, fields=listed.format("400, 500, 600, 700"))
    other = write_envi(tmp_path / "other.bsq", values[::-1], fields=listed.format("701, 601, 499, 399"))
    trained = Scene.open(one, bad_bands="2")
    np.testing.assert_array_equal(
        Scene.open(other).matching(trained.bands).read(0, 0, 5, 6).hsi, trained.read(0, 0, 5, 6).hsi
    )


def test_different_lidar_layers_do_not_agree(pair):
    with pytest.raises(RasterError, match=r"comes with 0 LiDAR bands, hsi\.tif with 1"):
        agree([Scene.open(pair[0], [pair[1]]), Scene.open(pair[0])])


def test_patterns_pair_in_natural_order(tmp_path):
    for folder in ("hsi", "chm", "odd"):
        (tmp_path / folder).mkdir()
        for number in (1, 2, 10):
            name = f"{number}_chm" if folder == "odd" else f"plot_{number}"
            (tmp_path / folder / f"{name}.tif").touch()
    pairs = find_scenes(
        str(tmp_path / "hsi" / "*.tif"), [str(tmp_path / "chm" / "*.tif"), str(tmp_path / "odd" / "*.tif")]
    )
    assert [hsi.stem for hsi, _ in pairs] == ["plot_1", "plot_2", "plot_10"]
    assert [[path.stem for path in lidar] for _, lidar in pairs] == [
        ["plot_1", "1_chm"],
        ["plot_2", "2_chm"],
        ["plot_10", "10_chm"],
    ]


def test_plain_paths_are_layers_of_one_image_or_pair_with_several(tmp_path):
    assert find_scenes("a.tif", ["b.tif", "c.tif"])[0][1] == [tmp_path.__class__("b.tif"), tmp_path.__class__("c.tif")]
    assert [len(lidar) for _, lidar in find_scenes(["a.tif", "b.tif"], ["c.tif", "d.tif"])] == [1, 1]
    assert [lidar[0].name for _, lidar in find_scenes(["a.tif", "b.tif"], ["mosaic.tif"])] == ["mosaic.tif"] * 2
    assert find_scenes("a.tif") == [(tmp_path.__class__("a.tif"), [])]


def test_patterns_that_do_not_pair_are_errors(tmp_path):
    for name in ("a1.tif", "a2.tif", "b1.tif", "b2.tif", "b3.tif"):
        (tmp_path / name).touch()
    with pytest.raises(RasterError, match="finds 3 rasters for 2 images"):
        find_scenes(str(tmp_path / "a*.tif"), [str(tmp_path / "b*.tif")])
    with pytest.raises(RasterError, match="no file has a name like this"):
        find_scenes(str(tmp_path / "c*.tif"))


# Bad input --------------------------------------------------------------------------------------------------------


def broken(kind, folder):
    path = folder / "bad.tif"
    if kind == "folder":
        return folder
    if kind == "text":
        path.write_text("hello")
    if kind == "lone header":
        path = folder / "bad.hdr"
        path.write_text("ENVI\n")
    if kind == "no header":
        path = folder / "bad.bsq"
        path.write_bytes(b"0" * 100)
    if kind == "short envi":
        path = write_envi(folder / "bad.bsq", spectra(3, 9, 9))
        path.write_bytes(path.read_bytes()[:-200])
    if kind == "truncated":
        write_raster(path, spectra(8, 64, 64))
        path.write_bytes(path.read_bytes()[:40_000])
    if kind == "complex":
        write_raster(path, spectra(2, 4, 4).astype("complex64"))
    if kind == "all nodata":
        write_raster(path, np.full((3, 9, 9), -1, np.int16), nodata=-1)
    if kind == "all zero":
        write_raster(path, np.zeros((3, 9, 9), np.int16))
    if kind == "all nan":
        write_raster(path, np.full((3, 9, 9), np.nan, np.float32))
    if kind == "constant":
        write_raster(path, np.full((3, 9, 9), 5, np.int16))
    if kind == "nan storm":
        values = spectra(9, 9, 9)
        for band in range(9):
            values[band, band] = np.nan
        write_raster(path, values)
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "does not exist; check the path"),
        ("folder", "is a folder; name a raster in it"),
        ("text", "cannot be read as a raster (not recognized"),
        ("lone header", "is a header without a data file beside it"),
        ("no header", "an ENVI image needs its .hdr file beside it"),
        ("short envi", "has 772 bytes where its header asks for 972"),
        ("truncated", "seems damaged or cut short"),
        ("complex", "holds complex numbers"),
        ("all nodata", "holds nodata in every pixel"),
        ("all zero", "holds nodata in every pixel"),
        ("all nan", "holds nodata in every pixel"),
        ("constant", "is constant in every band"),
        ("nan storm", "no pixel is valid; drop the bands"),
    ],
)
def test_bad_images_are_told_in_one_line(tmp_path, kind, said):
    path = broken(kind, tmp_path)
    with pytest.raises(DiffClipGeoError) as error:
        Scene.open(path).read(0, 0, 4, 4)
    text = one_line(error)
    assert text.startswith(str(path))
    assert said in text
    assert text.count(str(path)) == (2 if kind == "folder" else 1)


def test_a_lidar_without_data_is_told(pair, tmp_path):
    path = write_raster(tmp_path / "empty.tif", np.full((12, 10), np.nan, np.float32))
    with pytest.raises(RasterError, match=r"hsi\.tif: no pixel is valid together with empty\.tif; "):
        Scene.open(pair[0], [path])


# Real scenes ------------------------------------------------------------------------------------------------------


def test_sjer_takes_the_coordinate_system_of_its_shifted_canopy_model():
    folder = real_scene("sjer_052")
    scene = Scene.open(folder / "SJER_052_hyperspectral.tif", [folder / "SJER_052_CHM.tif"])
    assert scene.grid.crs.to_epsg() == 32611
    assert scene.alignments[0].resampling == "bilinear"
    assert scene.alignments[0].origin == pytest.approx((-0.2, 0.4), abs=1e-3)
    assert scene.read(0, 0, 40, 40).valid.all()


def test_berlin_enmap_with_the_aerial_image_averaged():
    folder = real_scene("berlin_enmap")
    before = sorted(folder.iterdir())
    scene = Scene.open(folder / "EnMAP_BerlinUrbanGradient.hdr", [folder / "HighResolution_BerlinUrbanGradient.hdr"])
    assert scene.alignments[0].resampling == "average"
    assert scene.alignments[0].ratio == pytest.approx(30 / 3.6)
    assert 0.95 < scene.alignments[0].overlap < 1
    assert scene.read(0, 0, 80, 60).valid.mean() > 0.95
    assert sorted(folder.iterdir()) == before  # GDAL leaves nothing beside compressed ENVI images


def test_all_idtrees_plots_agree():
    folder = real_scene("idtrees_mlbs")
    pairs = find_scenes(str(folder / "HSI" / "*.tif"), [str(folder / "CHM" / "*.tif")])
    assert len(pairs) == 46
    assert all(hsi.name == lidar[0].name for hsi, lidar in pairs)
    scenes = agree([Scene.open(hsi, lidar) for hsi, lidar in pairs[:12]])
    assert {len(scene.band_indices) for scene in scenes} == {369}
    assert all(scene.read(0, 0, 20, 20).valid.all() for scene in scenes)


def test_what_is_said_of_many_files_is_said_once(tmp_path):
    image = write_raster(tmp_path / "image.tif", spectra(3, 8, 8))
    layers = [write_raster(tmp_path / f"{name}.tif", spectra(1, 8, 8)) for name in "abcd"]
    scenes = [Scene.open(image, layers[:2]), Scene.open(image, layers[1:2]), Scene.open(image, layers[1:])]
    assert notes_of(scenes[1:2]) == ["b.tif: same grid, read as it is"]
    assert notes_of(scenes[:2]) == ["a.tif and b.tif: same grid, read as it is"]
    assert notes_of(scenes) == ["a.tif and 3 others: same grid, read as it is"]
    coarse = write_raster(tmp_path / "coarse: 2.tif", spectra(1, 4, 4), NORTH_UP * Affine.scale(2))
    one, other = notes_of([Scene.open(image, [layers[0], coarse])])
    assert one == "a.tif: same grid, read as it is" and other.startswith("coarse: 2.tif: ")
