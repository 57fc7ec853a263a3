"""A scene: one hyperspectral image, which sets the grid, with LiDAR rasters laid over it, read window by window."""

from __future__ import annotations

import os
import re
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from .alignment import Alignment, align, is_unplaced, on_grid, read_view
from .bands import Bands, match_bands, read_bands
from .errors import RasterError
from .grid import Grid
from .rasters import (
    UNDECLARED_FILLS,
    all_windows,
    data_file,
    is_nodata,
    mask_window,
    open_raster,
    read_window,
    sample_windows,
)

_LEAST_OVERLAP = 0.95
_OPEN_SCENES = 8  # per thread; more would meet the limit on open files when many plots are one project


class Block(NamedTuple):
    """Pixels of a window. Invalid pixels hold 0 in both modalities; no value is NaN or infinite."""

    hsi: NDArray[np.float32]  # [B, h, w], kept bands
    lidar: NDArray[np.float32]  # [C, h, w], C = 0 without LiDAR
    valid: NDArray[np.bool_]  # [h, w]


@dataclass(frozen=True)
class Scene:
    """One image with its LiDAR, described by values only: cheap to copy, picklable, safe to read from many threads.

    A pixel is valid when every band in use and every LiDAR band is finite and not nodata, and the mask is not 0 there.
    In the image a nodata value of 0 counts only where the whole spectrum is 0, since single bands are 0 in dark places.
    Where the file declares no nodata, spectra that are 0, −9999, −32768 or −32767 throughout are taken as nodata.
    """

    hsi_path: Path
    lidar_paths: tuple[Path, ...]
    mask_path: Path | None
    grid: Grid
    bands: Bands
    band_indices: tuple[int, ...]  # what `read` returns, from 0, in this order
    lidar_names: tuple[str, ...]  # one per LiDAR band
    lidar_nodata: tuple[float | None, ...]  # one per LiDAR raster: declared, or found
    alignments: tuple[Alignment, ...]  # one per LiDAR raster
    notes: tuple[str, ...]  # what was understood and done, in words
    _key: str = field(default_factory=lambda: uuid.uuid4().hex, repr=False, compare=False)  # of the open files

    @classmethod
    def open(
        cls,
        hsi: Path | str,
        lidar: Sequence[Path | str] = (),
        *,
        mask: Path | str | None = None,
        bad_bands: str = "",
        allow_partial: bool = False,
    ) -> Scene:
        """Look at the rasters and decide how to read them. For an ENVI image the header or the data file may be named.

        Raises
        ------
        RasterError
            A raster is missing or unreadable, less than 95 % of the image lies on a LiDAR raster (unless
            `allow_partial`; no overlap at all is always an error), or no pixel is valid.
        OptionError
            `bad_bands` cannot be used.
        """
        hsi_path = data_file(Path(hsi))
        lidar_paths = tuple(data_file(Path(path)) for path in lidar)
        mask_path = None if mask is None else data_file(Path(mask))
        with open_raster(hsi_path) as dataset:
            grid, notes = _grid(hsi_path, dataset, lidar_paths)
            bands = _survey(dataset, read_bands(dataset, bad_bands))
        names: list[str] = []
        nodata: list[float | None] = []
        alignments: list[Alignment] = []
        for path in lidar_paths:
            with open_raster(path) as dataset:
                alignment = align(path, dataset, grid)
                pair = _Pair(hsi_path, grid, path, dataset, alignment)
                pair.check_overlap(allow_partial)
                names += _lidar_names(path, dataset)
                nodata.append(_lidar_nodata(dataset))
                alignments.append(alignment)
                notes += pair.notes(nodata[-1])
        if mask_path is not None:
            with open_raster(mask_path) as dataset:
                align(mask_path, dataset, grid)
        kept = tuple(int(index) for index in bands.kept)
        scene = cls(
            hsi_path,
            lidar_paths,
            mask_path,
            grid,
            bands,
            kept,
            tuple(names),
            tuple(nodata),
            tuple(alignments),
            tuple(notes),
        )
        scene._check_any_valid()
        return scene

    def read(self, row: int, column: int, height: int, width: int) -> Block:
        """The pixels of a window that lies inside the grid; values with the file's scale and offset applied.

        Raises
        ------
        ValueError
            The window leaves the grid.
        RasterError
            A file is damaged, gone, or not the raster it was when the scene was opened.
        """
        if row < 0 or column < 0 or row + height > self.grid.height or column + width > self.grid.width:
            raise ValueError(f"window {row}, {column}, {height}×{width} leaves the grid of {self.grid.shape}")
        window = Window(column, row, width, height)
        files = _open_files.of(self)
        hsi, valid = _read_hsi(files.hsi, self.band_indices, window)
        lidar = np.empty((len(self.lidar_names), height, width), np.float32)
        first = 0
        for dataset, nodata in zip(files.lidar, self.lidar_nodata, strict=True):
            layers = lidar[first : first + dataset.count]
            first += dataset.count
            valid &= _read_lidar(dataset, nodata, window, layers)
        if files.mask is not None:
            layer = read_window(files.mask, window, [1])[0]
            valid &= (layer != 0) & ~is_nodata(layer, files.mask.nodata)
        hsi[:, ~valid] = 0
        lidar[:, ~valid] = 0
        return Block(hsi, lidar, valid)

    def matching(self, bands: Bands) -> Scene:
        """This scene reading the kept bands of `bands` (another scene's), matched by wavelength, in their order.

        Raises
        ------
        RasterError
            A band is missing here, or holds no data.
        """
        indices = match_bands(bands, self.bands, self.hsi_path)
        empty = [int(index) for index in indices if self.bands.reasons[index] == "nodata"]
        if empty:
            name = self.bands.names[empty[0]]
            raise RasterError(self.hsi_path, f"holds no data in {name}, which is in use", "give another image")
        chosen = set(indices.tolist())
        ours = replace(
            self.bands,
            good=tuple(index in chosen for index in range(len(self.bands))),
            reasons=tuple(
                "" if index in chosen else reason or "other scenes" for index, reason in enumerate(self.bands.reasons)
            ),
        )
        return replace(self, bands=ours, band_indices=tuple(indices.tolist()), _key=uuid.uuid4().hex)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, with absolute paths."""
        return {
            "hsi": _absolute(self.hsi_path),
            "lidar": [_absolute(path) for path in self.lidar_paths],
            "mask": None if self.mask_path is None else _absolute(self.mask_path),
            "grid": {
                "height": self.grid.height,
                "width": self.grid.width,
                "transform": list(self.grid.transform)[:6],
                "crs": None if self.grid.crs is None else self.grid.crs.to_wkt(),
            },
            "bands": self.bands.to_dict(),
            "band_indices": list(self.band_indices),
            "lidar_names": list(self.lidar_names),
            "lidar_nodata": list(self.lidar_nodata),
            "alignments": [asdict(alignment) for alignment in self.alignments],
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Scene:
        """Inverse of `to_dict`. No file is opened; `read` raises RasterError when one has gone or changed."""
        grid = values["grid"]
        crs = None if grid["crs"] is None else CRS.from_wkt(grid["crs"])
        return cls(
            Path(values["hsi"]),
            tuple(Path(path) for path in values["lidar"]),
            None if values["mask"] is None else Path(values["mask"]),
            Grid(grid["height"], grid["width"], Affine(*grid["transform"]), crs),
            Bands.from_dict(values["bands"]),
            tuple(values["band_indices"]),
            tuple(values["lidar_names"]),
            tuple(values["lidar_nodata"]),
            tuple(
                Alignment(one["resampling"], one["ratio"], tuple(one["origin"]), one["overlap"])
                for one in values["alignments"]
            ),
            tuple(values["notes"]),
        )

    def _check_any_valid(self) -> None:
        windows = sample_windows(*self.grid.shape)
        whole = len(windows) == 1
        for window in [*windows, *([] if whole else all_windows(*self.grid.shape))]:
            if self.read(window.row_off, window.col_off, window.height, window.width).valid.any():
                return
        others = ", ".join(path.name for path in (*self.lidar_paths, *([self.mask_path] if self.mask_path else [])))
        remedy = "drop the bands that hold NaN or nodata with --bad-bands, or give rasters with data"
        raise RasterError(self.hsi_path, f"no pixel is valid{' together with ' + others if others else ''}", remedy)


def agree(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes, each reading the same bands in the same order: those of the first that all of them have and can use.

    A band that is constant in only some scenes stays: in a small plot that says little about the band.

    Raises
    ------
    RasterError
        Bands do not match, or the scenes have different numbers of LiDAR bands.
    """
    first = scenes[0]
    everything = replace(first.bands, good=(True,) * len(first.bands), reasons=("",) * len(first.bands))
    usable = np.zeros((len(scenes), len(first.bands)), bool)
    constant = np.zeros_like(usable)
    for position, scene in enumerate(scenes):
        if len(scene.lidar_names) != len(first.lidar_names):
            fault = (
                f"comes with {len(scene.lidar_names)} LiDAR bands, {first.hsi_path.name} with {len(first.lidar_names)}"
            )
            raise RasterError(scene.hsi_path, fault, "give every image the same LiDAR layers")
        for index, there in enumerate(match_bands(everything, scene.bands, scene.hsi_path)):
            constant[position, index] = scene.bands.reasons[there] == "constant"
            usable[position, index] = scene.bands.good[there] or constant[position, index]
    good = np.logical_and.reduce(usable, axis=0) & ~np.logical_and.reduce(constant, axis=0)
    if not good.any():
        raise RasterError(first.hsi_path, "shares no usable band with the other images", "give images of one sensor")
    reasons = tuple(
        "" if ok else reason or "other scenes" for ok, reason in zip(good.tolist(), first.bands.reasons, strict=True)
    )
    common = replace(first.bands, good=tuple(good.tolist()), reasons=reasons)
    return [scene.matching(common) for scene in scenes]


def find_scenes(
    hsi: str | Path | Sequence[str | Path], lidar: str | Path | Sequence[str | Path] = ()
) -> list[tuple[Path, list[Path]]]:
    """Pair images with their LiDAR rasters: [(image, [LiDAR, …]), …].

    Each argument is a path or a glob pattern ('HSI/*.tif'). With one image, all LiDAR rasters are its layers. With
    several, each LiDAR pattern must find as many files as there are images, paired by file name where the names agree
    and in natural order otherwise; plain LiDAR paths, one per image, are paired in the order given, and a single plain
    path serves all images (a mosaic).

    Raises
    ------
    RasterError
        A pattern finds nothing, or the numbers do not pair.
    """
    images = [path for argument in _as_list(hsi) for path in _expand(argument)]
    arguments = _as_list(lidar)
    found = [_expand(argument) for argument in arguments]
    if len(images) == 1:
        return [(images[0], [path for paths in found for path in paths])]
    if found and all(len(paths) == 1 for paths in found) and len(found) == len(images):
        return [(image, paths) for image, paths in zip(images, found, strict=True)]
    layers: list[list[Path]] = []
    for argument, paths in zip(arguments, found, strict=True):
        if len(paths) == 1 and not _is_pattern(argument):
            layers.append(paths * len(images))
        elif len(paths) != len(images):
            fault = f"finds {len(paths)} rasters for {len(images)} images"
            raise RasterError(str(argument), fault, "name one LiDAR raster per image, or narrow the pattern")
        else:
            by_name = {path.stem: path for path in paths}
            paired = set(by_name) == {image.stem for image in images}
            layers.append([by_name[image.stem] for image in images] if paired else paths)
    return [(image, [paths[index] for paths in layers]) for index, image in enumerate(images)]


@dataclass(frozen=True)
class _Files:
    """The open datasets of a scene in one thread."""

    hsi: DatasetReader
    lidar: tuple[DatasetReader | WarpedVRT, ...]
    mask: DatasetReader | WarpedVRT | None
    sources: tuple[DatasetReader, ...]  # what the views in `lidar` and `mask` read from

    def close(self) -> None:
        for dataset in (*self.lidar, self.mask, *self.sources, self.hsi):
            if dataset is not None:
                dataset.close()


class _OpenFiles(threading.local):
    """Open datasets of the scenes last read, per thread and process, because GDAL datasets cannot be shared."""

    def __init__(self) -> None:
        self._files: OrderedDict[tuple[int, str], _Files] = OrderedDict()

    def of(self, scene: Scene) -> _Files:
        key = (os.getpid(), scene._key)
        if key not in self._files:
            self._files[key] = _open_scene(scene)
            while len(self._files) > _OPEN_SCENES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(key)
        return self._files[key]


_open_files = _OpenFiles()


def _open_scene(scene: Scene) -> _Files:
    hsi = open_raster(scene.hsi_path)
    if (hsi.height, hsi.width, hsi.count) != (*scene.grid.shape, len(scene.bands)):
        fault = (
            f"is now {hsi.height}×{hsi.width} with {hsi.count} bands, and was another raster when the scene was opened"
        )
        hsi.close()
        raise RasterError(scene.hsi_path, fault, "restore the file, or start again from pretrain")
    sources = [open_raster(path) for path in scene.lidar_paths]
    lidar = tuple(
        on_grid(source, scene.grid, alignment.resampling, nodata)
        for source, alignment, nodata in zip(sources, scene.alignments, scene.lidar_nodata, strict=True)
    )
    if sum(source.count for source in sources) != len(scene.lidar_names):
        raise RasterError(
            scene.hsi_path, "its LiDAR rasters have changed since it was opened", "start again from pretrain"
        )
    mask = None
    if scene.mask_path is not None:
        source = open_raster(scene.mask_path)
        same = align(scene.mask_path, source, scene.grid).resampling == "none"
        mask = on_grid(source, scene.grid, "none" if same else "nearest", source.nodata)
        sources.append(source)
    return _Files(hsi, lidar, mask, tuple(sources))


def _read_hsi(
    dataset: DatasetReader, indices: Sequence[int], window: Window
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values [B, h, w] with scale and offset applied, and which pixels are valid [h, w]."""
    raw = read_window(dataset, window, [index + 1 for index in indices])
    missing = _missing(raw, [dataset.nodatavals[index] for index in indices])
    valid: NDArray[np.bool_] = ~(missing.any(axis=0) | _padding(raw, dataset))
    own_mask = mask_window(dataset, window)
    if own_mask is not None:
        valid &= own_mask
    values = raw.astype(np.float32)
    scale, offset = _scaling(dataset, indices)
    if scale is not None:
        values = values * scale[:, None, None] + offset[:, None, None]
    valid &= np.isfinite(values).all(axis=0)  # float64 may leave the range of float32
    return values, valid


def _read_lidar(
    dataset: DatasetReader | WarpedVRT, nodata: float | None, window: Window, out: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Fill `out` [C, h, w] with scaled values; return which pixels are valid [h, w]."""
    raw = read_view(dataset, window)
    missing = is_nodata(raw, nodata)
    out[:] = raw
    scales, offsets = np.asarray(dataset.scales, np.float32), np.asarray(dataset.offsets, np.float32)
    out *= scales[:, None, None]
    out += offsets[:, None, None]
    invalid: NDArray[np.bool_] = missing | ~np.isfinite(out)
    return np.logical_not(np.logical_or.reduce(invalid, axis=0))


def _missing(raw: NDArray[np.generic], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """Where single values [B, …] are NaN, infinite or nodata. Nodata of 0 is left to `_padding`."""
    values = [None if value == 0 else value for value in nodata]
    if len(set(map(str, values))) == 1:
        return is_nodata(raw, values[0])
    return np.stack([is_nodata(band, value) for band, value in zip(raw, values, strict=True)])


def _padding(raw: NDArray[np.generic], dataset: DatasetReader) -> NDArray[np.bool_]:
    """Where the whole spectrum [B, …] is nodata 0 or, with nothing declared, one of the usual fills."""
    if dataset.nodata is not None:
        return (raw == 0).all(axis=0) if dataset.nodata == 0 else np.zeros(raw.shape[1:], bool)
    if raw.shape[0] < 2:
        return np.zeros(raw.shape[1:], bool)  # in a single band 0 may well be a value
    fill = np.isin(raw[0], np.array([0.0, *UNDECLARED_FILLS]))
    same = np.logical_and.reduce(raw == raw[0], axis=0)
    return np.asarray(fill & same, bool)


def _scaling(dataset: DatasetReader, indices: Sequence[int]) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    """Per band scale (None: nothing to do) and offset, of GDAL and of ENVI's "reflectance scale factor" (a divisor)."""
    scale = np.array([dataset.scales[index] for index in indices], np.float64)
    offset = np.array([dataset.offsets[index] for index in indices], np.float64)
    try:
        divisor = float(dataset.tags(ns="ENVI").get("reflectance_scale_factor", 1))
    except ValueError:
        divisor = 1.0
    if divisor > 0:
        scale, offset = scale / divisor, offset / divisor
    if np.all(scale == 1) and np.all(offset == 0):
        return None, offset.astype(np.float32)
    return scale.astype(np.float32), offset.astype(np.float32)


def _grid(path: Path, dataset: DatasetReader, lidar: Sequence[Path]) -> tuple[Grid, list[str]]:
    """The grid of the image, with the LiDAR's coordinate system when it has none itself."""
    grid = Grid.of(dataset)
    if is_unplaced(grid):
        return grid, [f"{path.name}: has no georeference; maps will have none either"]
    if grid.crs is None:
        for other in lidar:
            with open_raster(other) as raster:
                if raster.crs is not None:
                    grid = replace(grid, crs=raster.crs)
                    return grid, [
                        f"{path.name}: has no coordinate system; taken as {crs_name(raster.crs)}, that of {other.name}"
                    ]
        return grid, [f"{path.name}: has no coordinate system; labels and LiDAR are taken to be in the same one"]
    return grid, []


def _survey(dataset: DatasetReader, bands: Bands) -> Bands:
    """Drop bands without data and constant bands, judged on sampled windows (all pixels of a small image).

    Raises
    ------
    RasterError
        The image holds nodata only, or every band is constant.
    """
    path = Path(dataset.name)
    nodata = [dataset.nodatavals[index] for index in bands.kept]
    pixels, missing = _sample(dataset, bands.kept, nodata)
    if not pixels.size:
        raise RasterError(path, "holds nodata in every pixel", "give an image with data")
    empty = missing.all(axis=1)
    low = np.where(missing, np.inf, pixels).min(axis=1)
    high = np.where(missing, -np.inf, pixels).max(axis=1)
    constant = ~empty & (low == high)
    if pixels.shape[1] > 1 and (empty | constant).all():
        raise RasterError(path, "is constant in every band", "give an image with data")
    if pixels.shape[1] == 1:
        return bands  # one pixel cannot tell
    kept = bands.kept
    return bands.drop(kept[empty], "nodata").drop(kept[constant], "constant")


def _sample(
    dataset: DatasetReader, kept: NDArray[np.int64], nodata: Sequence[float | None]
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Spectra [B, N] outside padding, from sampled windows (else from anywhere), and which values miss in them."""
    indices = [int(index) + 1 for index in kept]
    windows = sample_windows(dataset.height, dataset.width)
    found, found_missing = [], []
    for last, group in ((len(windows) == 1, windows), (True, all_windows(dataset.height, dataset.width))):
        for window in group:
            raw = read_window(dataset, window, indices).reshape(len(indices), -1)
            missing = _missing(raw, nodata)
            inside = ~missing.all(axis=0) & ~_padding(raw, dataset)
            if inside.any():
                found.append(raw[:, inside])
                found_missing.append(missing[:, inside])
                if last and len(windows) > 1:
                    break  # a full scan stops at the first data
        if found or last:
            break
    if not found:
        return np.empty((len(indices), 0)), np.empty((len(indices), 0), bool)
    return np.concatenate(found, axis=1), np.concatenate(found_missing, axis=1)


@dataclass(frozen=True)
class _Pair:
    """The image and a LiDAR raster that is looked at."""

    hsi_path: Path
    grid: Grid
    path: Path
    dataset: DatasetReader
    alignment: Alignment

    def check_overlap(self, allow_partial: bool) -> None:
        """Raise RasterError when the LiDAR raster covers none, or too little, of the image."""
        overlap = self.alignment.overlap
        if overlap == 0:
            sides = ((self.path, self.dataset.crs), (self.hsi_path, self.grid.crs))
            missing = " and ".join(path.name for path, crs in sides if crs is None)
            remedy = f"give {missing} its coordinate system" if missing else "give rasters of the same place"
            raise RasterError(self.path, f"does not overlap {self.hsi_path.name}", remedy)
        if overlap < _LEAST_OVERLAP and not allow_partial:
            fault = f"covers only {100 * overlap:.1f} % of {self.hsi_path.name}"
            remedy = "give a raster that covers 95 %, or add --allow-partial to map the common part"
            raise RasterError(self.path, fault, remedy)

    def notes(self, nodata: float | None) -> list[str]:
        """How the LiDAR raster is brought onto the grid, and what had to be assumed."""
        name, image = self.path.name, self.hsi_path.name
        if is_unplaced(Grid.of(self.dataset)) or is_unplaced(self.grid):
            notes = [f"{name}: paired with {image} by row and column, for want of a georeference"]
        else:
            notes = [f"{name}: {self.alignment.to_text()}"]
            if self.dataset.crs is None and self.grid.crs is not None:
                notes.append(f"{name}: has no coordinate system; taken as {crs_name(self.grid.crs)}, that of {image}")
        if self.dataset.nodata is None and nodata is not None:
            notes.append(f"{name}: declares no nodata; {nodata:g} is taken as such")
        return notes


def _lidar_names(path: Path, dataset: DatasetReader) -> list[str]:
    if dataset.count == 1:
        return [path.stem]
    return [f"{path.stem}: {text or index}" for index, text in enumerate(dataset.descriptions, start=1)]


def _lidar_nodata(dataset: DatasetReader) -> float | None:
    """The declared nodata value or, without one, a usual fill value that occurs."""
    if dataset.nodata is not None:
        return float(dataset.nodata)
    for window in sample_windows(dataset.height, dataset.width):
        values = read_window(dataset, window)
        for fill in UNDECLARED_FILLS:
            if (values == fill).any():
                return fill
    return None


def crs_name(crs: CRS | None) -> str:
    """A short name: "EPSG:32633", else the name in the definition, else "unknown"."""
    if crs is None:
        return "unknown"
    code = crs.to_epsg()
    if code is not None:
        return f"EPSG:{code}"
    named = re.match(r'\s*\w+\["([^"]+)"', crs.to_wkt())
    return named[1] if named else "unknown"


def _as_list(argument: str | Path | Sequence[str | Path]) -> list[str | Path]:
    return [argument] if isinstance(argument, str | Path) else list(argument)


def _is_pattern(argument: str | Path) -> bool:
    return not Path(argument).exists() and any(sign in str(argument) for sign in "*?[")


def _expand(argument: str | Path) -> list[Path]:
    """The files of a glob pattern in natural order (plot_2 before plot_10); a plain path as it is."""
    if not _is_pattern(argument):
        return [Path(argument)]
    sidecars = (".hdr", ".xml", ".ovr", ".qml", ".tfw", ".prj", ".properties")
    found = glob(str(argument), recursive=True)  # noqa: PTH207  (patterns may be absolute)
    paths = [Path(name) for name in found if not name.lower().endswith(sidecars)]
    if not paths:
        raise RasterError(str(argument), "no file has a name like this", "check the pattern")
    return sorted(paths, key=natural)


def natural(text: str | Path) -> list[tuple[int, int, str]]:
    """Sort key in which numbers count as numbers: "plot_2" before "plot_10"."""
    return [
        (0, int(piece), "") if piece.isdigit() else (1, 0, piece) for piece in re.split(r"(\d+)", str(text)) if piece
    ]


def _absolute(path: Path) -> str:
    return str(path.resolve()) if path.exists() else str(path)
