"""Opening rasters: which file is meant, one-line errors, and which values stand for "no data"."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Interleaving
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from .errors import RasterError
from .mosaics import LIST_ENDINGS, NAME_DOMAIN, has_mask, listed_tiles, mosaic_vrt

Raster: TypeAlias = DatasetReader | WarpedVRT  # the latter warps what has control points instead of a transform

# GDAL leaves a ".properties" file beside a compressed ENVI image it has read; inputs stay as they are.
_GDAL_OPTIONS = {"CPL_VSIL_GZIP_WRITE_PROPERTIES": "NO"}
_ENVI_ENDINGS = ("", ".bsq", ".bil", ".bip", ".dat", ".img", ".raw", ".bin", ".cub", ".rfl", ".env")
# Values that files use as fill without declaring it. No elevation, height or reflectance takes them by chance.
UNDECLARED_FILLS = (-9999.0, -32768.0, -32767.0)
_LARGEST = 1e30  # beyond it lies fill: ±3.4e38 in float32
_ARCHIVE = re.compile(r"^(?P<kind>/vsi(?:zip|tar|gzip|7z)/)(?P<inside>[^/].*)$")
_INSIDE = re.compile(r'^(?P<driver>[A-Z][A-Z0-9_]{2,}):"?(?P<file>[^"]+?)"?(?P<rest>:[^"]*)$')


@contextmanager
def gdal(**options: str) -> Iterator[None]:
    """GDAL set up for reading: no side files, no warning about rasters without georeference (Scene notes those)."""
    with rasterio.Env(**_GDAL_OPTIONS, **options), warnings.catch_warnings():
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


def open_raster(path: Path) -> Raster:
    """Open a raster for reading; close it, or use it in a `with`.

    A text file that lists rasters (.txt, .lst) opens as their mosaic, a container with one image (HDF5, NetCDF) as that
    image. A raster with ground control points or rational polynomials instead of a transform is seen through a warp to
    a regular grid (nearest pixel); `source_of` gives the file behind it.

    Raises
    ------
    RasterError
        The file is missing, a folder, not a raster, without bands, complex-valued, or shorter than its header says.
    """
    path = data_file(path)
    _check_exists(path)
    with gdal():
        dataset = _open_list(path) if path.suffix.lower() in LIST_ENDINGS else _open_file(path, gdal_name(path))
        try:
            _check_usable(path, dataset)
        except RasterError:
            dataset.close()
            raise
        return _placed(dataset)


def open_for_tiles(path: Path) -> tuple[Raster, bool]:
    """Open a raster of which tile after tile will be read, and whether all its bands are to be read at a time.

    Tiles of a TIFF that holds the bands of a pixel together, and values as they are, GDAL reads in a quarter of the
    time when it leaves out its cache of blocks; but then some of the bands take it many times as long as all. TIFFs in
    strips are not read that way: the end of a file that was cut short would come as zeros, without an error. Nor are
    files in archives or on servers, where many small reads are slow.

    Raises RasterError as `open_raster` does.
    """
    raster = open_raster(path)
    together = raster.count > 1 and raster.interleaving is Interleaving.pixel and raster.compression is None
    in_tiles = raster.driver == "GTiff" and raster.block_shapes[0][1] < raster.width
    if not (in_tiles and together and path.is_file()):
        return raster, False
    raster.close()
    with gdal(GTIFF_DIRECT_IO="YES"):
        return open_raster(path), True


def _reading(dataset: Raster) -> dict[str, str]:
    """Options for reading windows: ENVI images by band or by line are read in half the time past GDAL's cache."""
    apart = dataset.driver == "ENVI" and dataset.interleaving is not Interleaving.pixel
    return {"GDAL_ONE_BIG_READ": "YES"} if apart else {}


def source_of(dataset: Raster) -> DatasetReader:
    """The dataset of the file, for its tags and types; the dataset itself unless it is a warped view."""
    while isinstance(dataset, WarpedVRT):
        dataset = dataset.src_dataset
    return dataset


def reflectance_divisor(dataset: Raster) -> float:
    """What the ENVI header says values are to be divided by, beyond the scale that GDAL knows; 1 if it says nothing."""
    try:
        divisor = float(source_of(dataset).tags(ns="ENVI").get("reflectance_scale_factor", 1))
    except ValueError:
        return 1.0
    return divisor if divisor > 0 else 1.0


def name_of(dataset: Raster) -> str:
    """The name of the file behind a dataset, for messages."""
    source = source_of(dataset)
    return str(source.tags(ns=NAME_DOMAIN).get("name", source.name))


def how_placed(dataset: Raster) -> str:
    """How a raster without a transform of its own was georeferenced; "" when it needed nothing."""
    if not isinstance(dataset, WarpedVRT):
        return ""
    points = len(dataset.src_dataset.gcps[0])
    return f"{points} ground control points" if points else "rational polynomial coefficients (RPC) at mean height"


def gdal_name(path: Path) -> str:
    """The name for GDAL, with the slash that `Path` takes from double ones: HDF5:"file"://variable, https://…"""
    name = re.sub(r"^(HDF5:.+):/+([^:]*)$", r"\1://\2", str(path))
    name = re.sub(r"^(https?|ftp|s3|gs|az|zip|tar):/+(?=[^/])", r"\1://", name)
    archive = _ARCHIVE.match(name)
    if archive and not Path(archive["inside"]).exists():
        root = next((part for part in Path("/", archive["inside"]).parents if part.is_file()), None)
        name = f"{archive['kind']}/{archive['inside']}" if root else name
    return name


def file_of(path: Path) -> Path:
    """The file itself, of a name such as NETCDF:"file.nc":variable; any other path as it is."""
    match = _INSIDE.match(str(path))
    return Path(match["file"]) if match else path


def absolute_name(path: Path) -> str:
    """The name with the absolute path of the file in it."""
    match = _INSIDE.match(str(path))
    if match:
        return f'{match["driver"]}:"{Path(match["file"]).resolve()}"{match["rest"]}'
    return str(path.resolve()) if path.exists() else str(path)


def files_of(path: Path) -> list[Path]:
    """The files that a raster is made of: itself, and the tiles it lists."""
    return [path, *listed_tiles(path)] if path.suffix.lower() in LIST_ENDINGS else [file_of(path)]


def read_window(
    dataset: Raster, window: Window, bands: list[int] | None = None, out: NDArray[np.generic] | None = None
) -> NDArray[np.generic]:
    """Raw values [B, h, w] of a window, in `out` if it is given; `bands` counts from 1.

    Raises
    ------
    RasterError
        The file is damaged there.
    """
    with gdal(**_reading(dataset)):
        try:
            values: NDArray[np.generic] = dataset.read(bands, out, window=window)
        except RasterioError as error:
            row, column, name = int(window.row_off), int(window.col_off), name_of(dataset)
            fault = f"cannot be read at row {row}, column {column} ({_reason(error, name)})"
            raise RasterError(name, fault, "the file seems damaged or cut short: copy or write it again") from error
    return values


def read_thinned(dataset: Raster, bands: list[int], height: int, width: int) -> NDArray[np.generic]:
    """Raw values [B, height, width] of bands (from 1) over the whole raster, each the nearest pixel's.

    Line by line, as GDAL reads, every line would fetch a whole row of stored blocks with all their bands, when these do
    not fit its cache together: so each block is read once, unless smaller copies (overviews) are stored, too.
    """
    high, wide = dataset.block_shapes[0]
    if wide >= dataset.width or dataset.overviews(1):
        with gdal():
            values: NDArray[np.generic] = dataset.read(bands, out_shape=(len(bands), height, width))
        return values
    thinned = np.empty((len(bands), height, width), dataset.dtypes[0])
    across = list(_nearest(width, dataset.width, wide))
    for top, rows in _nearest(height, dataset.height, high):
        for left, columns in across:
            size = min(wide, dataset.width - left), min(high, dataset.height - top)
            block = read_window(dataset, Window(left, top, *size), bands)
            thinned[:, rows[0][:, None], columns[0]] = block[:, rows[1][:, None], columns[1]]
    return thinned


def _nearest(count: int, length: int, block: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Where each block begins that is needed to thin `length` pixels to `count`; with the numbers of the thinned pixels
    and, below them, of their pixels in the block, [2, n].
    """
    pixel = (2 * np.arange(count) + 1) * length // (2 * count)
    for first in np.unique(pixel // block * block).tolist():
        mine = np.flatnonzero(pixel // block * block == first)
        yield first, np.stack([mine, pixel[mine] - first])


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


def mask_window(dataset: Raster, window: Window) -> NDArray[np.bool_] | None:
    """True where the file's own mask band (not a nodata value) says valid, [h, w]; None without such a band."""
    if isinstance(dataset, WarpedVRT) or not has_mask(dataset):
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
    if name.startswith(("/vsi", "https:/", "http:/")):
        return  # GDAL's own kinds of names
    path = file_of(path)
    if path.is_dir():
        raise RasterError(path, "is a folder", f"name a raster in it, or several in quotes: '{path / '*.tif'}'")
    if not path.exists():
        raise RasterError(path, "does not exist", "check the path")


def _open_file(path: Path, name: str) -> DatasetReader:
    try:
        dataset = rasterio.open(name)
    except RasterioError as error:
        raise RasterError(
            path, f"cannot be read as a raster ({_reason(error, path)})", _remedy_unreadable(path)
        ) from error
    if dataset.count == 0 and dataset.subdatasets:
        inside = list(dataset.subdatasets)
        dataset.close()
        return _open_file(path, _only_image(path, inside))
    return dataset


def _only_image(path: Path, names: list[str]) -> str:
    """The image in a container: its only raster, or the only one with several bands."""
    images = names if len(names) == 1 else []
    for name in names if not images else []:
        try:
            with rasterio.open(name) as dataset:
                images += [name] if dataset.count > 1 else []
        except RasterioError:
            continue  # tables and scalars
    if len(images) == 1:
        return images[0]
    listed = ", ".join(f"'{name}'" for name in (images or names)[:4])
    raise RasterError(path, f"holds {len(images or names)} rasters", f"name one of them: {listed}")


def _open_list(path: Path) -> DatasetReader:
    tiles: list[DatasetReader] = []
    try:
        for tile in listed_tiles(path):
            opened = open_raster(tile)
            if isinstance(opened, WarpedVRT):
                fault = f"lists {tile.name}, which has control points instead of a transform"
                raise RasterError(path, fault, "warp it first, e.g. with gdalwarp")
            tiles.append(opened)
        return rasterio.open(mosaic_vrt(path, tiles))
    finally:
        for opened in tiles:
            opened.close()


def _placed(dataset: DatasetReader) -> Raster:
    """A raster with control points or polynomials seen on a regular grid; any other as it is.

    Pixels of the grid that the image does not cover hold its nodata value or, without one, NaN.
    """
    points, crs = dataset.gcps
    if not dataset.transform.is_identity or not (points or dataset.rpcs):
        return dataset
    crs = (crs if points else None) or "EPSG:4326"
    by_value = dataset.nodata is not None
    return WarpedVRT(
        dataset,
        src_crs=crs,
        crs=crs,
        tolerance=1e-6,
        nodata=dataset.nodata if by_value else np.nan,
        dtype=dataset.dtypes[0] if by_value else np.promote_types(dataset.dtypes[0], "float32").name,
    )


def _check_usable(path: Path, dataset: DatasetReader) -> None:
    if dataset.count == 0:
        raise RasterError(path, "has no bands", "give another raster")
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
        return "turn it into a GeoTIFF with diffclip-geo convert"
    return "give a GeoTIFF, an ENVI image or another raster that GDAL reads"


def _reason(error: Exception, path: str | Path) -> str:
    """GDAL's message on one line, without the path, which the error names already."""
    text = " ".join(str(error.__cause__ or error).split())
    return text.replace(f"'{path}' ", "").replace(f"{path}: ", "").replace(f"{path}, ", "").rstrip(".")
