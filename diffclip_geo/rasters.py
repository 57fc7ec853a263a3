"""Opening rasters: which file is meant, one-line errors, and which values stand for "no data"."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from .errors import RasterError

# GDAL leaves a ".properties" file beside a compressed ENVI image it has read; inputs stay as they are.
_GDAL_OPTIONS = {"CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO"}
_ENVI_ENDINGS = ("", ".bsq", ".bil", ".bip", ".dat", ".img", ".raw", ".bin", ".cub", ".rfl", ".env")
# Values that files use as fill without declaring it. No elevation, height or reflectance takes them by chance.
UNDECLARED_FILLS = (-9999.0, -32768.0, -32767.0)
_LARGEST = 1e30  # beyond it lies fill: ±3.4e38 in float32


@contextmanager
def gdal() -> Iterator[None]:
    """GDAL set up for reading: no side files, no warning about rasters without georeference (Scene notes those)."""
    with rasterio.Env(**_GDAL_OPTIONS), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def data_file(path: Path) -> Path:
    """The file to open: the data file when the header of an ENVI image is given, else the path itself."""
    if path.suffix.lower() != ".hdr":
        return path
    base = path.with_suffix("")
    for ending in _ENVI_ENDINGS:
        for candidate in (Path(f"{base}{ending}"), Path(f"{base}{ending.upper()}")):
            if candidate.is_file():
                return candidate
    raise RasterError(
        path, "is a header without a data file beside it", f"put {base.name}.bsq (or .bil, .bip, .dat, .img) there"
    )


def open_raster(path: Path) -> DatasetReader:
    """Open a raster for reading; close it, or use it in a `with`.

    Raises
    ------
    RasterError
        The file is missing, a folder, not a raster, without bands, complex-valued, or shorter than its header says.
    """
    path = data_file(path)
    _check_exists(path)
    with gdal():
        try:
            dataset = rasterio.open(path)
        except RasterioError as error:
            raise RasterError(
                path, f"cannot be read as a raster ({_reason(error, path)})", _remedy_unreadable(path)
            ) from error
        try:
            _check_usable(path, dataset)
        except RasterError:
            dataset.close()
            raise
        return dataset


def read_window(dataset: DatasetReader, window: Window, bands: list[int] | None = None) -> NDArray[np.generic]:
    """Raw values [B, h, w] of a window; `bands` counts from 1.

    Raises
    ------
    RasterError
        The file is damaged there.
    """
    with gdal():
        try:
            values: NDArray[np.generic] = dataset.read(bands, window=window)
        except RasterioError as error:
            row, column = int(window.row_off), int(window.col_off)
            fault = f"cannot be read at row {row}, column {column} ({_reason(error, dataset.name)})"
            raise RasterError(
                dataset.name, fault, "the file seems damaged or cut short: copy or write it again"
            ) from error
    return values


def is_nodata(values: NDArray[np.generic], nodata: float | None) -> NDArray[np.bool_]:
    """Where values are NaN, infinite, fill beyond 1e30, or the nodata value; same shape as `values`."""
    if np.issubdtype(values.dtype, np.floating):
        bad: NDArray[np.bool_] = ~(np.abs(values) < _LARGEST)  # written so that NaN counts as bad
        if nodata is not None and np.isfinite(nodata):
            bad |= values == values.dtype.type(nodata)  # compared in the file's precision, as it was stored
        return bad
    if nodata is None or not float(nodata).is_integer():
        return np.zeros(values.shape, bool)
    limits = np.iinfo(np.dtype(values.dtype).name)
    if not limits.min <= nodata <= limits.max:
        return np.zeros(values.shape, bool)
    return values == values.dtype.type(int(nodata))


def mask_window(dataset: DatasetReader, window: Window) -> NDArray[np.bool_] | None:
    """True where the file's own mask band (not a nodata value) says valid, [h, w]; None without such a band."""
    flags = dataset.mask_flag_enums[0]
    if MaskFlags.per_dataset not in flags or MaskFlags.nodata in flags:
        return None
    with gdal():
        valid: NDArray[np.bool_] = dataset.dataset_mask(window=window) > 0
    return valid


def sample_windows(height: int, width: int, side: int = 32, per_axis: int = 6) -> list[Window]:
    """Windows to judge a raster by without reading all of it: the whole of a small one, else a lattice of squares."""
    if height * width <= (side * per_axis) ** 2 * 2:
        return [Window(0, 0, width, height)]
    rows = np.unique(np.linspace(0, max(height - side, 0), per_axis).astype(int))
    columns = np.unique(np.linspace(0, max(width - side, 0), per_axis).astype(int))
    return [Window(int(column), int(row), min(side, width), min(side, height)) for row in rows for column in columns]


def all_windows(height: int, width: int, side: int = 512) -> Iterator[Window]:
    """Windows that cover the raster once."""
    for row in range(0, height, side):
        for column in range(0, width, side):
            yield Window(column, row, min(side, width - column), min(side, height - row))


def _check_exists(path: Path) -> None:
    name = str(path)
    if name.startswith(("/vsi", "https:/", "http:/")) or re.match(r"^[A-Za-z][A-Za-z0-9_]{2,}:", name):
        return  # GDAL's own kinds of names: /vsizip/…, NETCDF:file.nc:variable
    if path.is_dir():
        raise RasterError(path, "is a folder", f"name a raster in it, or several in quotes: '{path / '*.tif'}'")
    if not path.exists():
        raise RasterError(path, "does not exist", "check the path")


def _check_usable(path: Path, dataset: DatasetReader) -> None:
    if dataset.count == 0:
        inside = ", ".join(dataset.subdatasets[:3])
        remedy = f"name one of the rasters inside: {inside}" if inside else "give another raster"
        raise RasterError(path, "has no bands of its own", remedy)
    if any("complex" in dtype for dtype in dataset.dtypes):
        raise RasterError(path, "holds complex numbers", "convert it to real values first, e.g. amplitude")
    header = dataset.tags(ns="ENVI") if dataset.driver == "ENVI" else {}
    if header and header.get("file_compression", "0") == "0" and path.is_file():
        values = dataset.count * dataset.height * dataset.width
        expected = int(header.get("header_offset", 0)) + values * np.dtype(dataset.dtypes[0]).itemsize
        if path.stat().st_size < expected:
            fault = f"has {path.stat().st_size} bytes where its header asks for {expected}"
            raise RasterError(path, fault, "copy the file again, or correct the header")


def _remedy_unreadable(path: Path) -> str:
    if path.suffix.lower() in {".bsq", ".bil", ".bip", ".dat", ".img", ".raw", ".bin", ""}:
        return "an ENVI image needs its .hdr file beside it"
    if path.suffix.lower() == ".mat":
        return "convert MATLAB arrays to GeoTIFF first"
    return "give a GeoTIFF, an ENVI image or another raster that GDAL reads"


def _reason(error: Exception, path: str | Path) -> str:
    """GDAL's message on one line, without the path, which the error names already."""
    text = " ".join(str(error.__cause__ or error).split())
    return text.replace(f"'{path}' ", "").replace(f"{path}: ", "").replace(f"{path}, ", "").rstrip(".")
