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
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.windows import Window

from .alignment import Alignment, align, is_unplaced, on_grid, read_view
from .bands import Bands, match_bands, read_bands
from .derived import Spacing, derive, halo, parse_layers
from .errors import OptionError, RasterError
from .grid import Grid
from .rasters import (
    UNDECLARED_FILLS,
    Raster,
    absolute_name,
    all_windows,
    data_file,
    files_of,
    gdal,
    how_placed,
    is_nodata,
    mask_window,
    name_of,
    open_for_tiles,
    open_raster,
    read_thinned,
    read_window,
    reflectance_divisor,
    sample_windows,
    source_of,
)
from .resampling import crop_to, interpolated, pixels_per_pixel
from .scratch import scratch

if TYPE_CHECKING:
    from .masks import Mask

Paths = str | Path | Sequence[str | Path]

_LEAST_OVERLAP = 0.95
_SCANNED = 128  # pixels a side of the windows in which a whole image is looked through for data
_OPEN_SCENES = 8  # per thread; more would meet the limit on open files when many plots are one project


class Block(NamedTuple):
    """Pixels of a window. Invalid pixels hold 0 in both modalities; no value is NaN or infinite."""

    hsi: NDArray[np.float32]  # [B, h, w], kept bands
    lidar: NDArray[np.float32]  # [C, h, w], C = 0 without LiDAR
    valid: NDArray[np.bool_]  # [h, w]


def inside(pixels: NDArray, margin: int) -> NDArray:
    """What lies inside a margin: `[H, W, …]` → `[H − 2·margin, W − 2·margin, …]`."""
    height, width = pixels.shape[:2]
    return pixels[margin : height - margin, margin : width - margin]


def inset(block: Block, border: int) -> Block:
    """A block without its outer pixels."""
    height, width = block.valid.shape
    window = np.s_[..., border : height - border, border : width - border]
    return Block(block.hsi[window], block.lidar[window], block.valid[window])


@dataclass(frozen=True)
class Scene:
    """One image with its LiDAR, described by values only: cheap to copy, picklable, safe to read from many threads.

    A pixel is valid when every band in use and every LiDAR band is finite and not nodata, and the mask is not 0 there.
    In the image a nodata value of 0 counts only where the whole spectrum is 0, since single bands are 0 in dark places.
    Where the file declares no nodata, spectra that are 0, −9999, −32768 or −32767 throughout are taken as nodata.

    The grid is that of the image, unless the scene was opened with ``grid="lidar"``: then it is the first LiDAR
    raster's, cut to the image, and the image is interpolated between its pixels.
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
    derived: tuple[
        str, ...
    ] = ()  # layers computed from the first band of the first LiDAR raster; last in `lidar_names`
    image_grid: Grid | None = None  # of the image, when it is interpolated to the grid of a LiDAR raster
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
        derive: str | Sequence[str] = (),
        grid: str = "image",
    ) -> Scene:
        """Look at the rasters and decide how to read them. For an ENVI image the header or the data file may be named.

        `mask` is a raster (0 = leave out) or a file of polygons (outside = leave out). `derive` names layers to compute
        from the first LiDAR raster, see `derived.LAYERS`. `grid` is "image" or "lidar".

        Raises
        ------
        RasterError
            A raster is missing or unreadable, less than 95 % of the image lies on a LiDAR raster (unless
            `allow_partial`; no overlap at all is always an error), or no pixel is valid.
        OptionError
            `bad_bands` or `derive` cannot be used, or the grid is to be that of a LiDAR raster which is not finer.
        """
        layers = parse_layers(derive)
        _check_options(layers, grid, lidar)
        hsi_path = data_file(Path(hsi))
        lidar_paths = tuple(data_file(Path(path)) for path in lidar)
        mask_path = None if mask is None else data_file(Path(mask))
        with _Image.open(hsi_path) as image:
            place, notes = _grid(hsi_path, image.raster, lidar_paths)
            bands = _survey(image, read_bands(image.raster, bad_bands))
        image_grid = None
        if grid == "lidar":
            image_grid = place
            place, note = _lidar_grid(hsi_path, image_grid, lidar_paths[0])
            notes.append(note)
        names: list[str] = []
        nodata: list[float | None] = []
        alignments: list[Alignment] = []
        for path in lidar_paths:
            with open_raster(path) as dataset:
                alignment = align(path, dataset, place)
                pair = _Pair(hsi_path, place, path, dataset, alignment)
                pair.check_overlap(allow_partial)
                names += _lidar_names(path, dataset)
                nodata.append(_lidar_nodata(dataset))
                alignments.append(alignment)
                notes += pair.notes(nodata[-1])
        if mask_path is not None:
            _open_mask(mask_path, place)
        kept = tuple(int(index) for index in bands.kept)
        scene = cls(
            hsi_path,
            lidar_paths,
            mask_path,
            place,
            bands,
            kept,
            (*names, *(f"{layer} of {lidar_paths[0].stem}" for layer in layers)),
            tuple(nodata),
            tuple(alignments),
            tuple(notes),
            layers,
            image_grid,
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
        hsi, lidar = (
            np.empty((count, height, width), np.float32) for count in (len(self.band_indices), len(self.lidar_names))
        )
        return Block(hsi, lidar, self.read_into(row, column, hsi, lidar))

    def read_into(
        self, row: int, column: int, hsi: NDArray[np.float32], lidar: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Fill `hsi` [B, h, w] and `lidar` [C, h, w] with the window that begins there; return which pixels are valid,
        [h, w]. Raises as `read` does.
        """
        height, width = hsi.shape[1:]
        if row < 0 or column < 0 or row + height > self.grid.height or column + width > self.grid.width:
            raise ValueError(f"window {row}, {column}, {height}×{width} leaves the grid of {self.grid.shape}")
        window = Window(column, row, width, height)
        files = _open_files.of(self)
        valid = self._read_image(files, window, hsi)
        first = 0
        for index, (dataset, nodata) in enumerate(zip(files.lidar, self.lidar_nodata, strict=True)):
            layers = lidar[first : first + dataset.count]
            first += dataset.count
            if index == 0 and self.derived:
                valid &= self._read_derived(dataset, nodata, window, layers, lidar[len(lidar) - len(self.derived) :])
            else:
                valid &= _read_lidar(dataset, nodata, window, layers)
        if files.mask is not None:
            valid &= files.mask.covers(window)
        if not valid.all():
            hsi[:, ~valid] = 0
            lidar[:, ~valid] = 0
        return valid

    def may_be_valid(self, row: int, column: int, height: int, width: int) -> NDArray[np.bool_]:
        """Which pixels of a window may be valid, [h, w], judged from the mask and one band alone: False is certain.

        Raises RasterError like `read`.
        """
        window = Window(column, row, width, height)
        files = _open_files.of(self)
        shape = window.height, window.width
        valid = np.ones(shape, bool) if files.mask is None else files.mask.covers(window)
        if valid.any() and self.image_grid is None:
            index = self.band_indices[len(self.band_indices) // 2]
            image = files.image
            valid &= ~_missing(image.bands(window, [index])[0], image.raster.nodatavals[index])
            own = mask_window(image.raster, window)
            valid &= True if own is None else own
        return valid

    @property
    def bands_apart(self) -> bool:
        """Whether one band of the image is read in less time than all."""
        return not _open_files.of(self).image.whole

    def preview(self, indices: Sequence[int], height: int, width: int) -> NDArray[np.float32]:
        """Bands of the image (from 0) thinned to [N, height, width] over the whole grid; NaN is nodata."""
        with open_raster(self.hsi_path) as image, gdal():
            dataset = image if self.image_grid is None else on_grid(image, self.grid, "nearest", image.nodata)
            read: Any = read_thinned(dataset, [index + 1 for index in indices], height, width)
            values = np.where(is_nodata(read, dataset.nodata), np.nan, read).astype(np.float32)
            values[:, _padding(read, dataset)] = np.nan
        return values

    def check_files(self) -> None:
        """Raise RasterError when a file is gone, damaged, or not the raster it was when the scene was opened."""
        _open_files.of(self)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files on disk that the scene is read from: image, LiDAR rasters and mask, with the tiles of mosaics."""
        paths = (self.hsi_path, *self.lidar_paths, *([self.mask_path] if self.mask_path else []))
        return tuple(dict.fromkeys(file for path in paths for file in files_of(path) if file.is_file()))

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

    def masked(self, mask: Path | str) -> Scene:
        """This scene with another mask, a raster or polygons. Raises RasterError or LabelError if it cannot be used."""
        path = data_file(Path(mask))
        scene = replace(self, mask_path=path, _key=uuid.uuid4().hex)
        scene._check_any_valid()
        return scene

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, with absolute paths."""
        return {
            "hsi": absolute_name(self.hsi_path),
            "lidar": [absolute_name(path) for path in self.lidar_paths],
            "mask": None if self.mask_path is None else absolute_name(self.mask_path),
            "grid": _grid_facts(self.grid),
            "image_grid": None if self.image_grid is None else _grid_facts(self.image_grid),
            "derived": list(self.derived),
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
        image_grid = values.get("image_grid")
        return cls(
            Path(values["hsi"]),
            tuple(Path(path) for path in values["lidar"]),
            None if values["mask"] is None else Path(values["mask"]),
            _grid_from(values["grid"]),
            Bands.from_dict(values["bands"]),
            tuple(values["band_indices"]),
            tuple(values["lidar_names"]),
            tuple(values["lidar_nodata"]),
            tuple(
                Alignment(one["resampling"], one["ratio"], tuple(one["origin"]), one["overlap"])
                for one in values["alignments"]
            ),
            tuple(values["notes"]),
            tuple(values.get("derived", ())),
            None if image_grid is None else _grid_from(image_grid),
        )

    def _read_image(self, files: _Files, window: Window, out: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Fill `out` [B, h, w] with the spectra of a window of the grid; return which pixels are valid, [h, w]."""
        if self.image_grid is None:
            return _read_hsi(files.image, self.band_indices, window, out)

        def read(there: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
            spectra = np.empty((len(out), there.height, there.width), np.float32)
            return spectra, _read_hsi(files.image, self.band_indices, there, spectra)

        out[:], valid = interpolated(self.grid, self.image_grid, window, read, len(out))
        return valid

    def _read_derived(
        self,
        dataset: Raster,
        nodata: float | None,
        window: Window,
        out: NDArray[np.float32],
        layers: NDArray[np.float32],
    ) -> NDArray[np.bool_]:
        """As `_read_lidar`, and fill `layers` with what is derived from the first band in the window and its halo."""
        spacing = Spacing.of(self.grid)
        reach = halo(self.derived, spacing)
        top, left = max(window.row_off - reach, 0), max(window.col_off - reach, 0)
        bottom = min(window.row_off + window.height + reach, self.grid.height)
        right = min(window.col_off + window.width + reach, self.grid.width)
        around = np.empty((dataset.count, bottom - top, right - left), np.float32)
        valid = _read_lidar(dataset, nodata, Window(left, top, right - left, bottom - top), around)
        rows = slice(window.row_off - top, window.row_off - top + window.height)
        columns = slice(window.col_off - left, window.col_off - left + window.width)
        layers[:] = derive(self.derived, around[0], valid, spacing)[:, rows, columns]
        out[:] = around[:, rows, columns]
        return valid[rows, columns]

    def _check_any_valid(self) -> None:
        windows = sample_windows(*self.grid.shape)
        whole = len(windows) == 1
        for window in chain(windows, () if whole else all_windows(*self.grid.shape, side=_SCANNED)):
            place = (window.row_off, window.col_off, window.height, window.width)
            if self.may_be_valid(*place).any() and self.read(*place).valid.any():
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


def notes_of(scenes: Sequence[Scene]) -> list[str]:
    """The notes of all scenes; what is said of several files is said once."""
    named: dict[str, list[str]] = {}
    for note in dict.fromkeys(note for scene in scenes for note in scene.notes):
        name, _, text = note.partition(": ")
        named.setdefault(text, []).append(name)
    return [f"{_and_others(names)}: {text}" for text, names in named.items()]


def _and_others(names: Sequence[str]) -> str:
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]} and {len(names) - 1} others"


def find_scenes(hsi: Paths, lidar: Paths = ()) -> list[tuple[Path, list[Path]]]:
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
class _Image:
    """An open image, to be used in a ``with`` block or closed."""

    raster: Raster
    whole: bool  # all bands are to be read at a time

    @classmethod
    def open(cls, path: Path) -> _Image:
        return cls(*open_for_tiles(path))

    def __enter__(self) -> _Image:
        return self

    def __exit__(self, *failure: Any) -> None:
        self.raster.close()

    def bands(self, window: Window, indices: Sequence[int]) -> Sequence[NDArray[np.generic]]:
        """Raw values of bands (from 0), [h, w] each; those of the call before may be gone."""
        if self.whole:
            shape = self.raster.count, window.height, window.width
            raw = read_window(self.raster, window, out=scratch("bands of a pixel", shape, self.raster.dtypes[0]))
            return [raw[index] for index in indices]
        return list(read_view(self.raster, window, [index + 1 for index in indices]))


@dataclass(frozen=True)
class _Files:
    """The open datasets of a scene in one thread."""

    image: _Image
    lidar: tuple[Raster, ...]
    mask: Mask | None
    sources: tuple[Raster, ...]  # what the views in `lidar` read from

    def close(self) -> None:
        for dataset in (*self.lidar, self.mask, *self.sources, self.image.raster):
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
    image = _Image.open(scene.hsi_path)
    hsi = image.raster
    if (hsi.height, hsi.width, hsi.count) != (*(scene.image_grid or scene.grid).shape, len(scene.bands)):
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
    if sum(source.count for source in sources) != len(scene.lidar_names) - len(scene.derived):
        raise RasterError(
            scene.hsi_path, "its LiDAR rasters have changed since it was opened", "start again from pretrain"
        )
    mask = None if scene.mask_path is None else _open_mask(scene.mask_path, scene.grid)
    return _Files(image, lidar, mask, tuple(sources))


def _open_mask(path: Path, grid: Grid) -> Mask:
    """A mask seen on the grid. Raises RasterError or LabelError when it cannot be read or placed."""
    from .masks import open_mask  # and what reads vectors: a second that few runs need

    return open_mask(path, grid)


def _read_hsi(image: _Image, indices: Sequence[int], window: Window, out: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Fill `out` [B, h, w] with scaled values; return which pixels are valid [h, w]."""
    dataset, raw = image.raster, image.bands(window, indices)
    valid, nodata = ~_padding(raw, dataset), dataset.nodatavals
    for layer, band, index in zip(out, raw, indices, strict=True):  # one after the other: they fit the cache
        valid &= ~_missing(band, nodata[index])
        layer[:] = band
    own_mask = mask_window(dataset, window)
    if own_mask is not None:
        valid &= own_mask
    scale, offset = _scaling(dataset, indices)
    if scale is not None:
        out *= scale[:, None, None]
        out += offset[:, None, None]
    if scale is not None or raw[0].dtype.itemsize > out.itemsize:  # which may leave the range of float32
        valid &= np.isfinite(out).all(axis=0)
    return valid


def _read_lidar(dataset: Raster, nodata: float | None, window: Window, out: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Fill `out` [C, h, w] with scaled values; return which pixels are valid [h, w]."""
    raw = read_view(dataset, window)
    missing = is_nodata(raw, nodata)
    out[:] = raw
    source = source_of(dataset)
    scales, offsets = np.asarray(source.scales, np.float32), np.asarray(source.offsets, np.float32)
    out *= scales[:, None, None]
    out += offsets[:, None, None]
    invalid: NDArray[np.bool_] = missing | ~np.isfinite(out)
    valid = np.logical_not(np.logical_or.reduce(invalid, axis=0))
    own_mask = mask_window(dataset, window)  # of a warped raster it is part of the view
    return valid if own_mask is None else valid & own_mask


def _missing(band: NDArray[np.generic], nodata: float | None) -> NDArray[np.bool_]:
    """Where single values are NaN, infinite or nodata; same shape. Nodata of 0 is left to `_padding`."""
    return is_nodata(band, None if nodata == 0 else nodata)


def _padding(raw: Sequence[NDArray[np.generic]], dataset: Raster) -> NDArray[np.bool_]:
    """Where all bands are nodata 0 or, with nothing (or NaN) declared, one of the usual fills; same shape as a band."""
    first, fills = raw[0], [0.0, *UNDECLARED_FILLS]
    if dataset.nodata is not None and not np.isnan(dataset.nodata):
        fills = fills[:1] if dataset.nodata == 0 else []
    elif len(raw) < 2:
        fills = []  # in a single band 0 may well be a value
    same: NDArray[np.bool_] = np.isin(first, np.array(fills))
    for band in raw[1:]:
        if not same.any():
            break
        same &= band == first
    return same


def _scaling(dataset: Raster, indices: Sequence[int]) -> tuple[NDArray[np.float32] | None, NDArray[np.float32]]:
    """Per band scale (None: nothing to do) and offset, of GDAL and of ENVI's "reflectance scale factor" (a divisor)."""
    dataset = source_of(dataset)
    scale, offset = (np.array(every, np.float64)[list(indices)] for every in (dataset.scales, dataset.offsets))
    divisor = reflectance_divisor(dataset)
    scale, offset = scale / divisor, offset / divisor
    if np.all(scale == 1) and np.all(offset == 0):
        return None, offset.astype(np.float32)
    return scale.astype(np.float32), offset.astype(np.float32)


def _check_options(layers: Sequence[str], grid: str, lidar: Sequence[Path | str]) -> None:
    if layers and not lidar:
        raise OptionError("--derive", "needs a LiDAR raster", "name one beside the image, or leave the option out")
    if grid not in ("image", "lidar"):
        raise OptionError("--grid", f"{grid!r} is not known", "use image or lidar")
    if grid == "lidar" and not lidar:
        raise OptionError("--grid", "needs a LiDAR raster", "name one beside the image, or leave the option out")


def _lidar_grid(hsi: Path, image: Grid, lidar: Path) -> tuple[Grid, str]:
    """The grid of the LiDAR raster where it lies on the image, and a note."""
    with open_raster(lidar) as raster:
        grid = Grid.of(raster)
    if is_unplaced(grid) or is_unplaced(image):
        raise RasterError(lidar if is_unplaced(grid) else hsi, "has no georeference", "leave --grid at image")
    grid = replace(grid, crs=grid.crs or image.crs)
    cut = crop_to(grid, image)
    if cut is None:
        raise RasterError(lidar, f"does not overlap {hsi.name}", "give rasters of the same place")
    coarser = pixels_per_pixel(cut, image)
    if coarser < 1 / 1.001:
        fault = f"cannot be {lidar.name}: its pixels are {1 / coarser:.3g} times coarser than those of {hsi.name}"
        raise OptionError("--grid", fault, "leave --grid at image")
    return cut, f"{hsi.name}: interpolated to the grid of {lidar.name}, whose pixels are {coarser:.3g} times finer"


def _grid_facts(grid: Grid) -> dict[str, Any]:
    return {
        "height": grid.height,
        "width": grid.width,
        "transform": list(grid.transform)[:6],
        "crs": None if grid.crs is None else grid.crs.to_wkt(),
    }


def _grid_from(facts: Mapping[str, Any]) -> Grid:
    crs = None if facts["crs"] is None else CRS.from_wkt(facts["crs"])
    return Grid(facts["height"], facts["width"], Affine(*facts["transform"]), crs)


def _grid(path: Path, dataset: Raster, lidar: Sequence[Path]) -> tuple[Grid, list[str]]:
    """The grid of the image, with the LiDAR's coordinate system when it has none itself."""
    grid = Grid.of(dataset)
    if is_unplaced(grid):
        return grid, [f"{path.name}: has no georeference; maps will have none either"]
    if how_placed(dataset):
        way = f"seen on a regular grid in {crs_name(grid.crs)} (nearest pixel)"
        return grid, [f"{path.name}: placed by {how_placed(dataset)}, {way}"]
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


def _survey(image: _Image, bands: Bands) -> Bands:
    """Drop bands without data and constant bands, judged on sampled windows (all pixels of a small image).

    Raises
    ------
    RasterError
        The image holds nodata only, or every band is constant.
    """
    path = Path(name_of(image.raster))
    pixels, missing = _sample(image, bands.kept.tolist())
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


def _sample(image: _Image, indices: Sequence[int]) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """Spectra [B, N] outside padding, from sampled windows (else from anywhere), and which values miss in them."""
    dataset, nodata = image.raster, image.raster.nodatavals
    numbers = [index + 1 for index in indices]
    windows = sample_windows(dataset.height, dataset.width)
    found, found_missing = [], []
    for last, group in (
        (len(windows) == 1, windows),
        (True, all_windows(dataset.height, dataset.width, side=_SCANNED)),
    ):
        for window in group:
            some = image.bands(window, indices) if image.whole else list(read_window(dataset, window, numbers))
            raw = np.stack(some).reshape(len(indices), -1)
            missing = np.stack([_missing(band, nodata[index]) for band, index in zip(raw, indices, strict=True)])
            inside = ~missing.all(axis=0) & ~_padding(list(raw), dataset)
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
    dataset: Raster
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
            if how_placed(self.dataset):
                notes.append(f"{name}: placed by {how_placed(self.dataset)}")
            if self.dataset.crs is None and self.grid.crs is not None:
                notes.append(f"{name}: has no coordinate system; taken as {crs_name(self.grid.crs)}, that of {image}")
        if self.dataset.nodata is None and nodata is not None:
            notes.append(f"{name}: declares no nodata; {nodata:g} is taken as such")
        return notes


def _lidar_names(path: Path, dataset: Raster) -> list[str]:
    if dataset.count == 1:
        return [path.stem]
    return [f"{path.stem}: {text or index}" for index, text in enumerate(dataset.descriptions, start=1)]


def _lidar_nodata(dataset: Raster) -> float | None:
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
