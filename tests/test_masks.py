"""Which pixels a mask leaves, whichever way it is kept."""

from pathlib import Path

import numpy as np
import pyogrio.raw
import pytest
import rasterio
import shapely
from rasterio.transform import Affine
from rasterio.windows import Window

from diffclip_geo.errors import LabelError
from diffclip_geo.grid import Grid
from diffclip_geo.masks import open_mask

GRID = Grid(3, 4, Affine(1, 0, 300_000, 0, -1, 5_800_000), rasterio.CRS.from_epsg(32633))
VALUES = np.array([[1, 0, 9, 1], [2, 1, 0, 1], [9, 1, 1, 0]], np.uint8)


def write(path: Path, nodata: int | None = None, own: np.ndarray | None = None) -> Path:
    """`VALUES` as a raster on the grid, with a nodata value or a mask of its own inside."""
    facts = {"height": 3, "width": 4, "count": 1, "dtype": "uint8", "crs": GRID.crs, "transform": GRID.transform}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", nodata=nodata, **facts) as target,
    ):
        target.write(VALUES, 1)
        if own is not None:
            target.write_mask(own)
    return path


def test_zero_and_nodata_of_a_raster_are_left_out(tmp_path: Path) -> None:
    mask = open_mask(write(tmp_path / "mask.tif", nodata=9), GRID)
    np.testing.assert_array_equal(mask.covers(Window(0, 0, 4, 3)), (VALUES != 0) & (VALUES != 9))
    np.testing.assert_array_equal(mask.covers(Window(1, 1, 2, 2)), VALUES[1:3, 1:3] != 0)
    mask.close()


def test_what_the_raster_itself_masks_is_left_out(tmp_path: Path) -> None:
    own = np.ones((3, 4), bool)
    own[:, 3] = False
    mask = open_mask(write(tmp_path / "mask.tif", own=own), GRID)
    np.testing.assert_array_equal(mask.covers(Window(0, 0, 4, 3)), (VALUES != 0) & own)


def test_polygons_leave_the_pixels_whose_centre_they_cover(tmp_path: Path) -> None:
    path = tmp_path / "mask.gpkg"
    strip = shapely.box(300_000.6, 5_799_997, 300_002.4, 5_800_000)  # over the centre of the second column alone
    pyogrio.raw.write(path, np.array([shapely.to_wkb(strip)]), [], [], geometry_type="Polygon", crs="EPSG:32633")
    covered = open_mask(path, GRID).covers(Window(0, 0, 4, 3))
    np.testing.assert_array_equal(covered, np.tile([False, True, False, False], (3, 1)))


def test_a_file_without_polygons_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(LabelError, match=r"mask\.geojson"):
        open_mask(path, GRID)
