import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from raster_files import spectra, write_envi, write_raster
from rasterio.windows import Window

from diffclip_geo.errors import RasterError
from diffclip_geo.margins import read_with_margin
from diffclip_geo.rasters import open_for_tiles, open_raster, read_thinned, read_window
from diffclip_geo.scenes import Scene

BLOCKS = {"tiled": True, "blockxsize": 16, "blockysize": 16}


@pytest.fixture
def values() -> np.ndarray:
    return spectra(5, 40, 60)


@pytest.mark.parametrize(
    ("profile", "whole"),
    [
        (BLOCKS | {"interleave": "pixel"}, True),
        (BLOCKS | {"interleave": "pixel", "BIGTIFF": "YES", "ENDIANNESS": "BIG"}, True),
        (BLOCKS | {"interleave": "pixel", "compress": "deflate"}, False),
        (BLOCKS | {"interleave": "band"}, False),
        ({"interleave": "pixel"}, False),  # in strips
    ],
)
def test_bands_are_read_at_a_time_where_they_are_stored_together(tmp_path, values, profile, whole):
    path = write_raster(tmp_path / "image.tif", values, **profile)
    dataset, together = open_for_tiles(path)
    with dataset:
        assert together is whole
        assert np.array_equal(read_window(dataset, Window(7, 5, 50, 30)), values[:, 5:35, 7:57])


def test_archives_are_read_through_the_cache(tmp_path, values):
    path = write_raster(tmp_path / "image.tif", values, interleave="pixel", **BLOCKS)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.write(path, "image.tif")
    dataset, together = open_for_tiles(Path(f"/vsizip/{tmp_path}/images.zip/image.tif"))
    with dataset:
        assert not together
        assert np.array_equal(read_window(dataset, Window(7, 5, 50, 30)), values[:, 5:35, 7:57])


@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("shape", [(40, 60), (39, 7), (3, 59), (1, 1), (13, 20)])
def test_a_thinned_raster_holds_the_pixels_nearest_to_the_middle_of_its_own(tmp_path, values, interleave, shape):
    tiled = write_raster(tmp_path / "tiled.tif", values, interleave=interleave, **BLOCKS)
    lines = write_raster(tmp_path / "lines.tif", values, interleave=interleave)  # which GDAL thins
    rows, columns = (((np.arange(n) + 0.5) * size / n).astype(int) for n, size in zip(shape, (40, 60), strict=True))
    for path in (tiled, lines):
        with open_raster(path) as dataset:
            thinned = read_thinned(dataset, [4, 2], *shape)
        assert np.array_equal(thinned, values[[3, 1]][:, rows[:, None], columns])


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_scenes_are_what_is_stored_however_it_is_stored(tmp_path, values, interleave, dtype):
    values = values.astype(dtype)
    values[2] = 7  # a band without content, which is left out
    path = write_raster(tmp_path / "image.tif", values, interleave=interleave, **BLOCKS)
    block = read_with_margin(Scene.open(path), 8, 20, 32, 40, 9)
    expected = np.zeros((4, 50, 58), np.float32)  # from row -1, column 11
    expected[:, 1:41, :49] = values[[0, 1, 3, 4], :, 11:]
    assert np.array_equal(block.hsi, expected)
    assert np.array_equal(block.valid, expected[0] != 0)


def test_blocks_that_were_never_written_are_nodata(tmp_path, values):
    path = tmp_path / "sparse.tif"
    profile = BLOCKS | {"driver": "GTiff", "interleave": "pixel", "dtype": "float32", "nodata": -1, "SPARSE_OK": True}
    with rasterio.open(path, "w", count=5, height=40, width=60, **profile) as dataset:
        dataset.write(values[:, :16, :16], window=Window(16, 16, 16, 16))
    valid = Scene.open(path).read(0, 0, 40, 60).valid
    assert valid[16:32, 16:32].all() and valid.sum() == 256


def test_a_tile_beyond_the_end_of_the_file_is_told(tmp_path, values):
    path = write_raster(tmp_path / "image.tif", values, interleave="pixel", **BLOCKS)
    scene = Scene.open(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
    with pytest.raises(RasterError, match="damaged or cut short"):
        scene.read(0, 0, 40, 60)


@pytest.mark.parametrize("interleave", ["bsq", "bil", "bip"])
def test_windows_of_envi_images_are_what_is_stored(tmp_path, values, interleave):
    path = write_envi(tmp_path / "image.dat", values, interleave=interleave)
    with open_for_tiles(path)[0] as dataset:
        assert np.array_equal(read_window(dataset, Window(7, 5, 50, 30), [4, 1]), values[[3, 0], 5:35, 7:57])
