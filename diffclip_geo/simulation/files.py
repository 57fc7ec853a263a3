"""Writing a scene: GeoTIFF and ENVI side by side, row by row."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from xml.sax.saxutils import escape

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from diffclip_geo.grid import Grid

from .materials import CLASSES
from .sensor import Sensor

NODATA = -9999
SCALE = 10000  # stored value = reflectance × SCALE
_ENVI_TYPE = {"int16": 2, "float32": 4}


class RasterPair:
    """One raster as GeoTIFF (tiled, all bands of a pixel together) and as ENVI (band sequential), written together."""

    def __init__(
        self, stem: Path, grid: Grid, bands: tuple[str, ...], dtype: str, sensor: Sensor | None = None
    ) -> None:
        self._stack = ExitStack()
        profile = {
            "driver": "GTiff", "height": grid.height, "width": grid.width, "count": len(bands), "dtype": dtype,
            "crs": grid.crs, "transform": grid.transform, "nodata": NODATA, "interleave": "pixel", "tiled": True,
            "blockxsize": 128, "blockysize": 128, "compress": "deflate", "zlevel": 1,
            "predictor": 3 if dtype == "float32" else 2, "bigtiff": "if_safer",
        }  # fmt: skip
        self._tiff = self._stack.enter_context(rasterio.open(stem.with_suffix(".tif"), "w", **profile))
        for number, name in enumerate(bands, 1):
            self._tiff.set_band_description(number, name)
        if sensor is not None:
            _describe_bands(self._tiff, sensor)
        shape = (len(bands), *grid.shape)
        self._envi = np.memmap(stem.with_suffix(".bsq"), np.dtype(dtype).newbyteorder("<"), "w+", shape=shape)
        stem.with_suffix(".hdr").write_text(_header(grid, bands, dtype, sensor), encoding="utf-8")

    def write(self, row: int, values: NDArray) -> None:
        """Write `values` [bands, rows, columns] from `row` on, over the full width."""
        self._tiff.write(values, window=Window(0, row, values.shape[2], values.shape[1]))
        self._envi[:, row : row + values.shape[1]] = values

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        self._envi.flush()
        del self._envi


def _describe_bands(dataset: rasterio.io.DatasetWriter, sensor: Sensor) -> None:
    """Wavelengths where programs look for them: the ENVI domain (EnMAP-Box, us) and GDAL's IMAGERY domain."""
    dataset.update_tags(ns="ENVI", wavelength_units="Nanometers", **_band_lists(sensor))
    for number, (centre, width) in enumerate(zip(sensor.wavelengths, sensor.fwhm, strict=True), 1):
        tags = {"CENTRAL_WAVELENGTH_UM": f"{centre / 1000:.5f}", "FWHM_UM": f"{width / 1000:.5f}"}
        dataset.update_tags(number, ns="IMAGERY", **tags)
    dataset.scales = (1 / SCALE,) * dataset.count


def _band_lists(sensor: Sensor) -> dict[str, str]:
    def listed(values: list[str]) -> str:
        return "{" + ", ".join(values) + "}"

    return {
        "wavelength": listed([f"{value:.2f}" for value in sensor.wavelengths]),
        "fwhm": listed([f"{value:.2f}" for value in sensor.fwhm]),
        "bbl": listed([str(int(value)) for value in sensor.good]),
    }


def _header(grid: Grid, bands: tuple[str, ...], dtype: str, sensor: Sensor | None) -> str:
    assert grid.crs is not None
    zone = grid.crs.to_epsg() % 100
    x, y, size = grid.transform.c, grid.transform.f, grid.transform.a
    lines = [
        "ENVI",
        "description = {Simulated town edge, diffclip-geo}",
        f"samples = {grid.width}",
        f"lines = {grid.height}",
        f"bands = {len(bands)}",
        "header offset = 0",
        "file type = ENVI Standard",
        f"data type = {_ENVI_TYPE[dtype]}",
        "interleave = bsq",
        "byte order = 0",
        f"data ignore value = {NODATA}",
        f"map info = {{UTM, 1, 1, {x!r}, {y!r}, {size!r}, {size!r}, {zone}, North, WGS-84, units=Meters}}",
        f"coordinate system string = {{{grid.crs.to_wkt(version='WKT1_ESRI')}}}",
        f"band names = {{{', '.join(bands)}}}",
    ]
    if sensor is not None:
        lines += [f"reflectance scale factor = {SCALE}", "wavelength units = Nanometers"]
        lines += [f"{key} = {values}" for key, values in _band_lists(sensor).items()]
    return "\n".join(lines) + "\n"


def write_truth(path: Path, grid: Grid, truth: NDArray[np.uint8]) -> None:
    """A class raster [rows, columns], 0 = nodata, with colour table; class names as GDAL categories in `.aux.xml`."""
    profile = {
        "driver": "GTiff", "height": grid.height, "width": grid.width, "count": 1, "dtype": "uint8", "crs": grid.crs,
        "transform": grid.transform, "nodata": 0, "tiled": True, "blockxsize": 256, "blockysize": 256,
        "compress": "deflate",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write_colormap(1, {0: (0, 0, 0, 0), **{k: (*c.color, 255) for k, c in enumerate(CLASSES, 1)}})
        dataset.set_band_description(1, "class")
        dataset.write(truth, 1)
    names = "".join(f"      <Category>{escape(name)}</Category>\n" for name in ("", *(c.name for c in CLASSES)))
    path.with_name(path.name + ".aux.xml").write_text(
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        f"{names}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n",
        encoding="utf-8",
    )


def write_labels(
    path: Path, grid: Grid, row: NDArray[np.int64], column: NDArray[np.int64], label: NDArray[np.int64], *, seed: int
) -> None:
    """Labelled points as a shapefile with fields `id`, `class` (name) and `color` (#rrggbb); label 1…K."""
    import pyogrio
    import shapely

    assert grid.crs is not None
    # Nobody clicks on the exact centre of a pixel.
    jitter = np.random.default_rng([seed, 5]).uniform(-0.3, 0.3, (2, len(row)))
    x, y = grid.centre_of(row + jitter[0], column + jitter[1])
    names = np.array([CLASSES[k - 1].name for k in label], object)
    colors = np.array(["#{:02x}{:02x}{:02x}".format(*CLASSES[k - 1].color) for k in label], object)
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(shapely.points(x, y)),
        field_data=[np.arange(1, len(row) + 1, dtype=np.int32), names, colors],
        fields=["id", "class", "color"],
        geometry_type="Point",
        crs=grid.crs.to_wkt(),
        driver="ESRI Shapefile",
        encoding="UTF-8",
        # Else today's date goes into the file, and the same seed does not give the same bytes.
        DBF_DATE_LAST_UPDATE="2024-06-21",
    )
