"""Writers of output rasters: label map and confidence map as Cloud-Optimised GeoTIFFs, streamed block by block.

Blocks go to an uncompressed tiled TIFF in the staging folder, in any order and of any size; on completion that file is
copied to its final layout with compression and overviews. So the bytes of the result do not depend on the order or the
size of the blocks, and memory stays flat however large the map.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import rasterio
import rasterio.features
import rasterio.shutil
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what GDAL's failure to flush to a full disk arrives as
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from .atomic import FileSet, check_outputs
from .categories import CLASS_NAMES_TAG, auxiliary_path, auxiliary_xml
from .classes import ClassTable
from .errors import OutputError
from .grid import Grid
from .ground import pixel_area
from .qml import classes_qml, confidence_qml, style_path
from .rasters import gdal

MEASURE_TAG = "CONFIDENCE_MEASURE"  # which of the measures a confidence map holds, by its name on the command line
BLOCK = 512  # pixels a side of the blocks of the rasters
_TAKEN = (".json", ".png", ".qml", ".xml", ".gpkg")  # endings of the files beside a map
_ROUNDING = 1e-5  # how far beyond [0, 1] float32 sums of probabilities may stray


def label_map_files(path: Path, envi: bool = False) -> list[Path]:
    """The files that `LabelMapWriter` makes for ``map.tif`` (or the ENVI image ``map.dat``), the map first."""
    return [path, *([path.with_suffix(".hdr")] if envi else []), auxiliary_path(path), style_path(path)]


def confidence_path(map_path: Path) -> Path:
    """``map_confidence.tif`` for ``map.tif``."""
    return map_path.with_name(f"{map_path.stem}_confidence{map_path.suffix}")


def confidence_files(path: Path, envi: bool = False) -> list[Path]:
    """The files that `ConfidenceWriter` makes for ``map_confidence.tif``, the map first."""
    return [path, *([path.with_suffix(".hdr"), auxiliary_path(path)] if envi else []), style_path(path)]


def probabilities_path(map_path: Path) -> Path:
    """``map_probabilities.tif`` for ``map.tif``."""
    return map_path.with_name(f"{map_path.stem}_probabilities{map_path.suffix}")


def probabilities_files(path: Path, envi: bool = False) -> list[Path]:
    """The files that `ProbabilitiesWriter` makes for ``map_probabilities.tif``."""
    return [path, *([path.with_suffix(".hdr"), auxiliary_path(path)] if envi else [])]


def check_name(path: Path, envi: bool) -> None:
    """Raise OutputError when the name of a raster does not fit its format."""
    tiff = path.suffix.lower() in (".tif", ".tiff")
    if not envi and not tiff:
        raise OutputError(path, "is not the name of a GeoTIFF", "let it end in .tif")
    if envi and (tiff or path.suffix.lower() in ("", ".hdr", *_TAKEN)):
        raise OutputError(path, "is not the name of an ENVI image", "let it end in .dat, .img or .bsq")


class MapWriter:
    """Writes one GeoTIFF, or ENVI image, on `grid`, in a ``with`` block, from one thread.

    Pixels that are never written hold `nodata`. With `files`, the raster joins that set and appears with it; else it
    appears when the block ends. Raises `OutputError` when the file exists, has a name that does not fit its format, or
    the disk is full.
    """

    def __init__(
        self,
        path: Path,
        grid: Grid,
        *,
        count: int,
        dtype: str,
        nodata: float,
        descriptions: Sequence[str],
        tags: Mapping[str, str] | None = None,
        resampling: str = "nearest",
        overwrite: bool = False,
        files: FileSet | None = None,
        envi: bool = False,
    ) -> None:
        self.path, self.grid, self.tags, self.envi = Path(path), grid, dict(tags or {}), envi
        check_name(self.path, envi)
        self._count, self._dtype, self._nodata, self._descriptions = count, dtype, nodata, tuple(descriptions)
        self._resampling = resampling
        self._overwrite, self._files = overwrite, files

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._files = self._files or stack.enter_context(FileSet(self.path, overwrite=self._overwrite))
            self._final = self._files.stage(self.path)
            check_outputs(self._sidecars(), self._files.overwrite)  # now, not when the work is done
            self._blocks_path = self._files.scratch(self.path.name)
            with self._disk_errors():
                self._blocks = self._open_blocks()
            stack.push(self._finish)
            self._begin()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def write(self, row: int, column: int, values: NDArray) -> None:
        """Write a block, [h, w] or [count, h, w], whose first pixel is at (row, column). Each pixel is written once."""
        block = values[None] if values.ndim == 2 else values
        count, height, width = block.shape
        inside = 0 <= row <= self.grid.height - height and 0 <= column <= self.grid.width - width
        if count != self._count or not inside:
            fault = f"block {block.shape} at ({row}, {column}) does not fit {self._count} bands of {self.grid.shape}"
            raise ValueError(fault)
        with self._disk_errors():
            self._blocks.write(block.astype(self._dtype, copy=False), window=Window(column, row, width, height))

    def _begin(self) -> None:
        """What must be in the file before the first pixel."""

    def _complete(self) -> None:
        """What is done to the pixels when all are there."""

    def _sidecars(self) -> list[Path]:
        """The files that appear with the raster."""
        return [self.path.with_suffix(".hdr"), auxiliary_path(self.path)] if self.envi else []

    def _write_sidecars(self, files: FileSet) -> None:
        """Stage the files that go with the raster. One left by an older raster of this name would be wrong."""
        if self.envi:  # GDAL wrote both; the second holds what the header of ENVI has no place for
            for path in (self.path.with_suffix(".hdr"), auxiliary_path(self.path)):
                if not files.stage(path).exists():
                    files.stage(path).write_text("<PAMDataset/>\n", encoding="utf-8")
        else:
            files.discard(auxiliary_path(self.path))

    def _open_blocks(self) -> DatasetWriter:
        return rasterio.open(
            self._blocks_path,
            "w+",
            driver="GTiff",
            height=self.grid.height,
            width=self.grid.width,
            count=self._count,
            dtype=self._dtype,
            nodata=self._nodata,
            crs=self.grid.crs,
            transform=self.grid.transform,
            tiled=True,
            blockxsize=BLOCK,
            blockysize=BLOCK,
            interleave="band",
            SPARSE_OK=True,
            BIGTIFF="IF_SAFER",
        )

    def _finish(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            with suppress(RasterioError, CPLE_BaseError):  # the file is dropped; a second error would hide the first
                self._blocks.close()
            return
        assert self._files is not None
        with self._disk_errors():
            self._complete()
            self._blocks.update_tags(**self.tags)
            for band, description in enumerate(self._descriptions, start=1):
                self._blocks.set_band_description(band, description)
            self._blocks.close()
            if self.envi:
                self._copy_to_envi()
            else:
                self._copy_to_cog()
            self._blocks_path.unlink()
        self._write_sidecars(self._files)

    def _copy_to_cog(self) -> None:
        rasterio.shutil.copy(
            self._blocks_path,
            self._final,
            driver="COG",
            COMPRESS="DEFLATE",
            PREDICTOR="YES" if np.issubdtype(self._dtype, np.floating) else "NO",
            BLOCKSIZE=BLOCK,
            OVERVIEW_RESAMPLING=self._resampling,
            BIGTIFF="IF_SAFER",
            NUM_THREADS="ALL_CPUS",
        )

    def _copy_to_envi(self) -> None:
        rasterio.shutil.copy(self._blocks_path, self._final, driver="ENVI", INTERLEAVE="BSQ")
        header = self._final.with_suffix(".hdr")  # which has for description the path where GDAL wrote it
        text = header.read_text(encoding="utf-8").replace(str(self._final), self.path.name, 1)
        header.write_text(text, encoding="utf-8")

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            with gdal():
                yield
        except (RasterioError, CPLE_BaseError, OSError) as error:
            fault = f"cannot be written ({' '.join(str(error).split())})"
            raise OutputError(self.path, fault, "check the free space and the permissions of the folder") from error


class LabelMapWriter(MapWriter):
    """Writes a label map: values 1 … K for the K classes, 0 for no data, with names, colours and pixel counts.

    uint8, or uint16 beyond 255 classes. With `sieve`, patches of fewer pixels take the class of their largest
    neighbour in the end; the map is then held in memory. As an ENVI image it is an ENVI Classification. Beside
    ``map.tif`` appear ``map.tif.aux.xml`` (GDAL's category names, colours and attribute table) and ``map.qml`` (the
    QGIS style). `counts` holds the pixels of each class so far, int64 [K].
    """

    def __init__(
        self,
        path: Path,
        grid: Grid,
        classes: ClassTable,
        tags: Mapping[str, str] | None = None,
        overwrite: bool = False,
        *,
        files: FileSet | None = None,
        envi: bool = False,
        sieve: int = 0,
    ) -> None:
        super().__init__(
            path,
            grid,
            count=1,
            dtype="uint8" if len(classes.names) <= 255 else "uint16",
            nodata=0,
            descriptions=["class"],
            tags={CLASS_NAMES_TAG: json.dumps(classes.names, ensure_ascii=False), **(tags or {})},
            overwrite=overwrite,
            files=files,
            envi=envi,
        )
        self.classes, self.sieve = classes, sieve
        self.counts = np.zeros(len(classes.names), np.int64)

    def write(self, row: int, column: int, values: NDArray) -> None:
        """Write a block of labels, [h, w], 0 … K, whose first pixel is at (row, column). Each pixel is written once."""
        pixels = np.bincount(values.ravel(), minlength=len(self.counts) + 1)
        if len(pixels) != len(self.counts) + 1:
            raise ValueError(f"label {len(pixels) - 1} is beyond the {len(self.counts)} classes")
        super().write(row, column, values)
        self.counts += pixels[1:]

    def _begin(self) -> None:
        colors = {value: (*color, 255) for value, color in enumerate(self.classes.colors, start=1)}
        self._blocks.write_colormap(1, {0: (0, 0, 0, 0), **colors})  # GDAL takes no colour table after the first pixel

    def _complete(self) -> None:
        if self.sieve > 1:
            labels = self._blocks.read(1)
            labels = rasterio.features.sieve(labels, self.sieve, mask=labels > 0)
            self._blocks.write(labels, 1)
            self.counts = np.bincount(labels.ravel(), minlength=len(self.counts) + 1)[1:].astype(np.int64)

    def _copy_to_envi(self) -> None:
        # GDAL writes the class names to the header when it finds them beside the file that it copies.
        # There commas part the names, and braces end the list.
        beside = auxiliary_path(self._blocks_path)
        names = tuple(name.translate(str.maketrans(",{}", ";()")) for name in self.classes.names)
        plain = ClassTable(names, self.classes.colors)
        beside.write_text(auxiliary_xml(plain, self.counts.tolist()), encoding="utf-8")
        super()._copy_to_envi()
        beside.unlink()

    def _sidecars(self) -> list[Path]:
        return label_map_files(self.path, self.envi)[1:]

    def _write_sidecars(self, files: FileSet) -> None:
        tags = self.tags if self.envi else None
        xml = auxiliary_xml(self.classes, self.counts.tolist(), pixel_area(self.grid), tags)
        if self.envi:
            files.stage(self.path.with_suffix(".hdr"))
        files.stage(auxiliary_path(self.path)).write_text(xml, encoding="utf-8")
        files.stage(style_path(self.path)).write_text(classes_qml(self.classes), encoding="utf-8")


class ConfidenceWriter(MapWriter):
    """Writes a confidence map: float32 in [0, 1], NaN for no data, with a QGIS style that shows 0 … 1.

    `definition` says in words what the number is; it goes to the tag ``CONFIDENCE``.
    """

    def __init__(
        self,
        path: Path,
        grid: Grid,
        definition: str,
        tags: Mapping[str, str] | None = None,
        overwrite: bool = False,
        *,
        files: FileSet | None = None,
        envi: bool = False,
    ) -> None:
        super().__init__(
            path,
            grid,
            count=1,
            dtype="float32",
            nodata=np.nan,
            descriptions=["confidence"],
            tags={"CONFIDENCE": definition, **(tags or {})},
            resampling="average",
            overwrite=overwrite,
            files=files,
            envi=envi,
        )

    def write(self, row: int, column: int, values: NDArray) -> None:
        """Write a block of confidences, [h, w], in [0, 1] or NaN, whose first pixel is at (row, column)."""
        if np.any((values < -_ROUNDING) | (values > 1 + _ROUNDING)):
            raise ValueError("confidence outside [0, 1]")
        super().write(row, column, np.clip(values, 0, 1))

    def _sidecars(self) -> list[Path]:
        return confidence_files(self.path, self.envi)[1:]

    def _write_sidecars(self, files: FileSet) -> None:
        super()._write_sidecars(files)
        files.stage(style_path(self.path)).write_text(confidence_qml(), encoding="utf-8")


class ProbabilitiesWriter(MapWriter):
    """Writes the probability of every class, one band each, named after it: float32 in [0, 1], NaN for no data."""

    def __init__(
        self,
        path: Path,
        grid: Grid,
        classes: ClassTable,
        tags: Mapping[str, str] | None = None,
        overwrite: bool = False,
        *,
        files: FileSet | None = None,
        envi: bool = False,
    ) -> None:
        super().__init__(
            path,
            grid,
            count=len(classes),
            dtype="float32",
            nodata=np.nan,
            descriptions=classes.names,
            tags=tags,
            resampling="average",
            overwrite=overwrite,
            files=files,
            envi=envi,
        )
