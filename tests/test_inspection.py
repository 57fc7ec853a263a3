import json

import numpy as np
import pytest
import shapely
from affine import Affine
from matplotlib import image
from raster_files import NORTH_UP, real_scene, spectra, write_labels, write_raster
from scipy import ndimage

from diffclip_geo.errors import OptionError, OutputError
from diffclip_geo.inspection import info
from diffclip_geo.registration import estimate_shift


def blobs(height, width, seed=0):
    """A smooth random landscape, [H, W]."""
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 2).astype(np.float32)


@pytest.fixture
def pair(tmp_path):
    hsi = spectra(6, 40, 30)
    hsi[2] = 1.0
    hsi[:, :10] = 0
    write_raster(tmp_path / "hsi.tif", hsi)
    write_raster(tmp_path / "dsm.tif", spectra(1, 160, 120, seed=1), NORTH_UP @ Affine.scale(0.25))
    return tmp_path / "hsi.tif", tmp_path / "dsm.tif"


def test_text_tells_grid_bands_lidar_data_and_labels(pair, tmp_path):
    boxes = [shapely.box(500_000, 5_799_970, 500_010, 5_799_990), shapely.Point(500_031, 5_799_939)]
    labels = write_labels(tmp_path / "labels.gpkg", boxes, {"cover": ["tree", "road"]}, driver="GPKG")
    text = info(pair, labels=labels).to_text()
    for expected in (
        "40 rows × 30 columns of 2 m, EPSG:32633",
        "x 500000.0 … 500060.0, y 5799920.0 … 5800000.0",
        "5 of 6 bands; dropped 3 (constant)",
        "dsm.tif: pixels 4 times finer, averaged; overlap 100.0 %",
        "75.0 % of pixels valid",
        "1 road         1       1",
        "2 tree         1      25",
        "25 labelled pixels without data in the scene were dropped",
    ):
        assert expected in text


@pytest.mark.parametrize("name", ["one", "several"])
def test_a_plot_shows_labels_on_the_image(pair, tmp_path, name):
    paths = [str(tmp_path / ("hsi.tif" if name == "one" else "hsi*.tif"))]
    if name == "several":
        write_raster(tmp_path / "hsi2.tif", spectra(3, 300, 400), NORTH_UP @ Affine.translation(500, 0))
    boxes = [shapely.box(500_000, 5_799_930, 500_030, 5_799_970), shapely.Point(501_031, 5_799_939)]
    colors = {"cover": ["tree", "road"], "color": ["#ff0000", "#00ff00"]}
    labels = write_labels(tmp_path / "labels.gpkg", boxes, colors, driver="GPKG")
    info(paths, labels=labels, plot=tmp_path / "plot.png")
    picture = image.imread(tmp_path / "plot.png")[..., :3]
    red = (picture[..., 0] > picture[..., 1] + 0.5) & (picture[..., 0] > picture[..., 2] + 0.5)
    assert red.mean() > 0.04  # more than the legend shows
    with pytest.raises(OutputError, match=r"plot\.png: exists already"):
        info(paths, plot=tmp_path / "plot.png")
    info(paths, plot=tmp_path / "plot.png", overwrite=True)
    with pytest.raises(OptionError, match="--plot: needs an image"):
        info([labels], plot=tmp_path / "other.png")
    assert not (tmp_path / "other.png").exists()


def test_a_label_file_is_described_by_itself(tmp_path):
    shapes = [shapely.box(0, 0, 9, 9), shapely.Point(500_031, 5_799_939), shapely.Point(1, 1)]
    columns = {"cover": ["tree", "road", None], "zone": ["a", "b", "b"]}
    path = write_labels(tmp_path / "labels.gpkg", shapes, columns, driver="GPKG")
    text = info([path]).to_text()
    assert "cover: text, 2 distinct (road, tree)" in text
    assert "cover, zone could each be the class; choose one, e.g. --class-field zone" in text
    text = info([path], class_field="cover").to_text()
    for expected in ("EPSG:32633", "road        1         0", "tree        0         1", "1 features have no class"):
        assert expected in text
    facts = json.loads(json.dumps(info([path], class_field="cover").to_dict()))
    assert facts["label_files"][0]["classes"][0] == {"name": "road", "points": 1, "polygons": 0}


def test_derived_layers_and_the_finer_grid_are_told(pair):
    text = info(pair, derive="slope", grid="lidar").to_text()
    assert "160 rows × 120 columns of 0.5 m" in text
    assert "dsm, slope of dsm" in text
    assert "hsi.tif: interpolated to the grid of dsm.tif, whose pixels are 4 times finer" in text


def test_facts_are_json(pair):
    facts = json.loads(json.dumps(info(pair).to_dict()))
    assert facts["scenes"][0]["valid_share"] == 0.75
    assert facts["scenes"][0]["alignments"][0]["ratio"] == pytest.approx(4)
    assert "labels" not in facts


def test_partial_overlap_is_told_not_refused(pair, tmp_path):
    write_raster(tmp_path / "half.tif", spectra(1, 40, 30), NORTH_UP @ Affine.translation(15, 0))
    assert "overlap 50.0 %" in info([pair[0], tmp_path / "half.tif"]).to_text()


def test_labels_need_an_image(tmp_path):
    with pytest.raises(OptionError, match="--labels: needs an image"):
        info([], labels=tmp_path / "labels.gpkg")


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (3, -2), (-4, 1)])
def test_a_shift_between_brightness_and_height_is_found(rows, columns):
    ground = blobs(90, 100)
    image = ground[10:74, 10:80]
    height = -3 * ground[10 - rows : 74 - rows, 10 - columns : 80 - columns]  # dark where high
    height = height + 0.05 * blobs(64, 70, seed=5)
    shift = estimate_shift(image, height, np.ones(image.shape, bool))
    assert shift is not None
    assert (shift.rows, shift.columns) == pytest.approx((rows, columns), abs=0.3)


def test_unrelated_images_have_no_shift():
    valid = np.ones((64, 70), bool)
    found = [estimate_shift(blobs(64, 70, seed), blobs(64, 70, seed + 100), valid) for seed in range(20)]
    assert found == [None] * 20


def test_a_flat_or_tiny_or_empty_image_has_no_shift():
    flat = np.ones((40, 40), np.float32)
    assert estimate_shift(flat, flat, np.ones((40, 40), bool)) is None
    assert estimate_shift(blobs(8, 8), blobs(8, 8), np.ones((8, 8), bool)) is None
    assert estimate_shift(blobs(40, 40), blobs(40, 40), np.zeros((40, 40), bool)) is None


def test_sjer_is_warned_of():
    folder = real_scene("sjer_052")
    found = info([folder / "SJER_052_hyperspectral.tif", folder / "SJER_052_CHM.tif"])
    shift = found.scenes[0].shift
    assert shift is not None
    assert shift.distance > 2
    assert "image and LiDAR seem 3.4 pixels apart" in found.to_text()


def test_berlin_enmap_lies_well():
    folder = real_scene("berlin_enmap")
    found = info([folder / "EnMAP_BerlinUrbanGradient.hdr", folder / "HighResolution_BerlinUrbanGradient.hdr"])
    shift = found.scenes[0].shift
    assert shift is not None
    assert shift.distance < 0.5
    assert found.scenes[0].warnings() == []
