"""`convert`: arrays and rasters of other formats as GeoTIFF, with wavelengths, nodata and scale kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.windows import Window

from .atomic import FileSet, check_outputs
from .bands import Bands, read_bands
from .errors import DiffClipGeoError, OptionError, OutputError, RasterError
from .grid import Grid
from .rasters import all_windows, data_file, files_of, gdal, open_raster, read_window, source_of
from .scenes import crs_name

_WINDOW = 256  # pixels a side that are copied at a time
_FEW_BANDS = 16  # beyond, the tiles of the GeoTIFF are 64 pixels a side: all bands of a pixel lie together
_SMALL = 3  # letters in which an array of fewer rows than this many is told from an image
_HDF5 = b"\x89HDF\r\n\x1a\n"  # signature; MATLAB 7.3 puts it behind a header of 512 bytes


@dataclass(frozen=True)
class Conversion:
    """What `convert` wrote."""

    path: Path
    height: int
    width: int
    count: int
    dtype: str
    wavelengths: tuple[float, ...] | None  # nm
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """Something to be written as a GeoTIFF: where it lies, and its values window by window."""

    grid: Grid
    dtype: str
    count: int
    bands: Bands | None
    nodata: float | None
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    values: Any  # NDArray [B, H, W], or an open raster

    def read(self, window: Window) -> NDArray[np.generic]:
        if isinstance(self.values, np.ndarray):
            rows, columns = window.toslices()
            return self.values[:, rows, columns]
        return read_window(self.values, window)


def convert(
    source: str | PathLike[str],
    out: str | PathLike[str],
    *,
    variable: str | None = None,
    wavelengths: str = "",
    like: str | PathLike[str] | None = None,
    crs: str | None = None,
    bounds: Sequence[float] | None = None,
    nodata: float | None = None,
    axes: str | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Write a MATLAB file (.mat, v5 or v7.3), a NumPy array (.npy) or a raster that GDAL reads as a GeoTIFF.

    Parameters
    ----------
    variable
        The array in a MATLAB file; found when only one can be an image.
    wavelengths
        In nm or µm: the name of a variable in the MATLAB file, a text file, "380-1050" for equal steps, or a list.
        Rasters bring their own.
    like, crs, bounds
        Where an array lies: on the same pixels as the raster `like`, or in the box `bounds` (left, bottom, right, top)
        of `crs`. Otherwise the GeoTIFF has no georeference.
    nodata
        Value that stands for no data.
    axes
        Order of an array's axes: "hwb" (as in the public benchmark scenes) or "bhw". By default the shortest axis of
        the first and the last is taken for the bands.

    Raises
    ------
    RasterError
        The source cannot be read, or holds no such array.
    OptionError
        An option does not fit the source.
    OutputError
        `out` exists, or cannot be written.
    """
    path, target = data_file(Path(source)), Path(out)
    check_outputs([target], overwrite, [path, *([Path(like)] if like is not None else [])])
    if path.suffix.lower() in {".mat", ".npy"}:
        found, notes = _of_array(path, variable, wavelengths, like, crs, bounds, nodata, axes)
        return _write(found, target, overwrite, notes)
    if variable is not None or axes is not None:
        raise OptionError("--variable and --axes", f"do not apply to {path.name}", "leave them out")
    with open_raster(path) as dataset:
        found = _of_raster(path, dataset, wavelengths, like, crs, bounds, nodata)
        check_outputs([target], overwrite, files_of(path))
        return _write(found, target, overwrite, [])


def _of_raster(
    path: Path,
    dataset: Any,
    wavelengths: str,
    like: str | PathLike[str] | None,
    crs: str | None,
    bounds: Sequence[float] | None,
    nodata: float | None,
) -> _Source:
    bands = read_bands(dataset)
    if wavelengths:
        bands = _bands(bands.names, _wavelengths(wavelengths, dataset.count, {}))
    own = Grid.of(dataset)
    grid = own if like is None and crs is None and bounds is None else _placed(own.shape, like, crs, bounds, own)
    declared = dataset.nodata if nodata is None else nodata
    source = source_of(dataset)
    scales, offsets = tuple(source.scales), tuple(source.offsets)
    divisor = source.tags(ns="ENVI").get("reflectance_scale_factor", "")
    try:
        factor = float(divisor) if divisor else 1.0
    except ValueError:
        factor = 1.0
    if factor > 0 and factor != 1:
        scales, offsets = tuple(one / factor for one in scales), tuple(one / factor for one in offsets)
    kinds = {np.dtype(name) for name in dataset.dtypes}
    return _Source(grid, np.result_type(*kinds).name, dataset.count, bands, declared, scales, offsets, dataset)


def _of_array(
    path: Path,
    variable: str | None,
    wavelengths: str,
    like: str | PathLike[str] | None,
    crs: str | None,
    bounds: Sequence[float] | None,
    nodata: float | None,
    axes: str | None,
) -> tuple[_Source, list[str]]:
    arrays = _arrays(path)
    name, values = _pick(path, arrays, variable)
    image, how = _band_first(path, name, values, axes)
    notes = [f"{path.name}: {name + ' ' if name else ''}{' × '.join(map(str, values.shape))} read as {how}"]
    count, height, width = image.shape
    known = _wavelengths(wavelengths, count, arrays) if wavelengths else None
    names = tuple(f"band {index}" for index in range(1, count + 1)) if count > 1 else (name or path.stem,)
    grid = _placed((height, width), like, crs, bounds, None)
    if image.dtype == bool:
        image = image.astype(np.uint8)
    if image.dtype == np.float16:
        image = image.astype(np.float32)
    ones, zeros = (1.0,) * count, (0.0,) * count
    return _Source(grid, image.dtype.name, count, _bands(names, known), nodata, ones, zeros, image), notes


def _arrays(path: Path) -> dict[str, NDArray]:
    """The numeric arrays in a file, by name, axes in the order that MATLAB or NumPy shows them."""
    if path.is_dir() or not path.exists():
        raise RasterError(path, "is a folder" if path.is_dir() else "does not exist", "check the path")
    try:
        if path.suffix.lower() == ".npy":
            return {"": np.load(path, mmap_mode="r", allow_pickle=False)}
        with path.open("rb") as file:
            head = file.read(520)
        if head.startswith(_HDF5) or head[512:].startswith(_HDF5):
            return dict(_hdf5_arrays(path))
        from scipy.io import loadmat

        found = loadmat(path)
    except (DiffClipGeoError, MemoryError):
        raise
    except Exception as error:  # scipy and numpy raise whatever a damaged file provokes
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise RasterError(path, f"cannot be read ({reason})", "save or download it again") from error
    return {
        name: value
        for name, value in found.items()
        if not name.startswith("__") and isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
    }


def _hdf5_arrays(path: Path) -> Iterator[tuple[str, NDArray]]:
    """Arrays of a MATLAB 7.3 file, which is HDF5 with the axes reversed. GDAL reads it, one array as one raster."""
    with gdal():
        try:
            with rasterio.open(path) as whole:
                names = list(whole.subdatasets) or [f'HDF5:"{path}"://']
                lone = whole.read() if not whole.subdatasets else None
        except RasterioError as error:
            reason = " ".join(str(error).split())
            raise RasterError(path, f"cannot be read ({reason})", "save or download it again") from error
        for name in names:
            if "#refs#" in name:  # cells and text
                continue
            try:
                if lone is not None:
                    values = lone
                else:
                    with rasterio.open(name) as dataset:
                        values = dataset.read()
            except RasterioError:
                continue  # not numbers
            array = values.transpose(2, 1, 0)
            yield name.rpartition("/")[2], array[..., 0] if array.shape[-1] == 1 else array


def _pick(path: Path, arrays: dict[str, NDArray], wanted: str | None) -> tuple[str, NDArray]:
    listed = ", ".join(f"{name} ({'×'.join(map(str, array.shape))})" for name, array in arrays.items() if name)
    if wanted is not None:
        if wanted not in arrays:
            raise OptionError("--variable", f"{wanted!r} is not in {path.name}", f"choose from {listed or 'none'}")
        return wanted, arrays[wanted]
    cubes = [name for name, array in arrays.items() if array.ndim == 3]
    flat = [name for name, array in arrays.items() if array.ndim == 2 and min(array.shape) >= _SMALL]
    candidates = cubes or flat
    if not candidates:
        raise RasterError(path, f"holds no image ({listed or 'no numeric array'})", "give another file")
    if len(candidates) > 1:
        raise RasterError(path, f"holds {listed}", f"choose one, e.g. --variable {candidates[0]}")
    return candidates[0], arrays[candidates[0]]


def _band_first(path: Path, name: str, values: NDArray, axes: str | None) -> tuple[NDArray, str]:
    """The array as [B, H, W], and how it was understood."""
    if values.ndim == 2:
        return values[None], f"{values.shape[0]} rows × {values.shape[1]} columns"
    if values.ndim != 3:
        fault = f"{name or 'the array'} has {values.ndim} axes"
        raise RasterError(path, fault, "give an array of rows × columns × bands")
    if axes not in (None, "hwb", "bhw"):
        raise OptionError("--axes", f"{axes!r} is not known", "use hwb or bhw")
    order = axes or ("bhw" if values.shape[0] < min(values.shape[1:]) else "hwb")
    image = values if order == "bhw" else values.transpose(2, 0, 1)
    return image, "{1} rows × {2} columns × {0} bands".format(*image.shape)


def _wavelengths(text: str, count: int, arrays: dict[str, NDArray]) -> tuple[float, ...]:
    """Wavelengths in nm from the name of an array or text file, a range, or a list."""
    if text in arrays:
        values = np.asarray(arrays[text], float).ravel()
    elif Path(text).is_file():
        values = _numbers_in(text, Path(text).read_text(encoding="utf-8", errors="replace"))
    elif text.count("-") == 1 and "," not in text and count > 1:
        ends = _numbers_in(text, text.replace("-", " "))
        values = np.linspace(ends[0], ends[-1], count) if len(ends) == 2 else ends
    else:
        values = _numbers_in(text, text)
    if len(values) != count or not np.all(np.isfinite(values)) or np.any(values <= 0):
        fault = f"{text!r} gives {len(values)} values for {count} bands"
        raise OptionError("--wavelengths", fault, "give one per band, first-last, a text file or a variable")
    return tuple(float(value) for value in (values * 1000 if values.max() < 50 else values))


def _numbers_in(argument: str, text: str) -> NDArray[np.float64]:
    try:
        return np.array([float(piece) for piece in text.replace(",", " ").replace(";", " ").split()])
    except ValueError as error:
        fault = f"cannot read numbers from {argument!r}"
        raise OptionError("--wavelengths", fault, "give a list in nm, first-last, a text file or a variable") from error


def _bands(names: tuple[str, ...], wavelengths: tuple[float, ...] | None) -> Bands:
    return Bands(names, wavelengths, None, (True,) * len(names), ("",) * len(names))


def _placed(
    shape: tuple[int, int],
    like: str | PathLike[str] | None,
    crs: str | None,
    bounds: Sequence[float] | None,
    own: Grid | None,
) -> Grid:
    height, width = shape
    if like is not None:
        with open_raster(Path(like)) as dataset:
            grid = Grid.of(dataset)
        if grid.shape != shape:
            fault = f"has {grid.height}×{grid.width} pixels, the image {height}×{width}"
            raise RasterError(like, fault, "give a raster on the same pixels, or --crs and --bounds")
        return grid
    try:
        system = None if crs is None else CRS.from_user_input(crs)
    except CRSError as error:
        raise OptionError("--crs", f"{crs!r} is not known", "give a code such as EPSG:32633") from error
    if bounds is None:
        return Grid(height, width, Affine.identity(), system) if own is None else Grid(*shape, own.transform, system)
    left, bottom, right, top = bounds
    if left >= right or bottom >= top:
        raise OptionError("--bounds", "are not left, bottom, right, top", "give the smaller numbers first")
    place = Affine((right - left) / width, 0, left, 0, (bottom - top) / height, top)
    return Grid(height, width, place, system or (own.crs if own is not None else None))


def _write(source: _Source, target: Path, overwrite: bool, notes: list[str]) -> Conversion:
    grid = source.grid
    if source.nodata is not None and not _fits(source.nodata, source.dtype):
        raise OptionError("--nodata", f"{source.nodata:g} is no {source.dtype}", "give a value of that type")
    profile: dict[str, Any] = {"driver": "GTiff", "count": source.count, "height": grid.height, "width": grid.width}
    profile |= {"dtype": source.dtype, "nodata": source.nodata, "crs": grid.crs}
    side = 256 if source.count <= _FEW_BANDS else 64
    profile |= {"tiled": True, "blockxsize": side, "blockysize": side, "interleave": "pixel"}
    profile |= {
        "compress": "deflate",
        "predictor": 3 if np.dtype(source.dtype).kind == "f" else 2,
        "bigtiff": "if_safer",
        "num_threads": "all_cpus",
    }
    if not grid.transform.is_identity:
        profile["transform"] = grid.transform
    with FileSet(target, overwrite=overwrite) as files, gdal():
        try:
            with rasterio.open(files.stage(target), "w", **profile) as dataset:
                for window in all_windows(grid.height, grid.width, _WINDOW):
                    dataset.write(source.read(window).astype(source.dtype, copy=False), window=window)
                _describe(dataset, source)
        except RasterioError as error:
            reason = " ".join(str(error).split())
            raise OutputError(
                target, f"cannot be written ({reason})", "check the free space and the permissions of the folder"
            ) from error
    wavelengths = None if source.bands is None else source.bands.wavelengths
    if grid.transform.is_identity:
        notes = [*notes, f"{target.name}: has no georeference"]
    elif grid.crs is None:
        notes = [*notes, f"{target.name}: is placed, without a coordinate system; name one with --crs"]
    else:
        notes = [*notes, f"{target.name}: is in {crs_name(grid.crs)}"]
    return Conversion(target, grid.height, grid.width, source.count, source.dtype, wavelengths, tuple(notes))


def _describe(dataset: Any, source: _Source) -> None:
    """Names, wavelengths, bad bands and scale, where GDAL, QGIS, EnMAP-Box and this program look for them."""
    if any(scale != 1 for scale in source.scales) or any(offset != 0 for offset in source.offsets):
        dataset.scales, dataset.offsets = source.scales, source.offsets
    bands = source.bands
    if bands is None:
        return
    dataset.descriptions = bands.names
    lists: dict[str, str] = {}
    if bands.wavelengths is not None:
        lists |= {"wavelength_units": "Nanometers", "wavelength": _envi_list(bands.wavelengths)}
    if bands.fwhm is not None:
        lists["fwhm"] = _envi_list(bands.fwhm)
    if not all(bands.good):
        lists["bbl"] = _envi_list([int(good) for good in bands.good])
    if lists:
        dataset.update_tags(ns="ENVI", **lists)
    for index, wavelength in enumerate(bands.wavelengths or (), start=1):
        widths = {} if bands.fwhm is None else {"FWHM_UM": f"{bands.fwhm[index - 1] / 1000:.6g}"}
        dataset.update_tags(index, ns="IMAGERY", CENTRAL_WAVELENGTH_UM=f"{wavelength / 1000:.6g}", **widths)


def _envi_list(values: Sequence[float]) -> str:
    return "{" + ", ".join(f"{value:.9g}" for value in values) + "}"


def _fits(value: float, dtype: str) -> bool:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return True
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max
