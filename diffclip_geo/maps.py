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
from .qml import classes_qml, confidence_qml, style_path
from .rasters import gdal

MEASURE_TAG = "CONFIDENCE_MEASURE"  # which of the measures a confidence map holds, by its name on the command line
_TILE = 512
_ROUNDING = 1e-5  # how far beyond [0, 1] float32 sums of probabilities may stray


def label_map_files(path: Path) -> list[Path]:
    """The files that `LabelMapWriter` makes for ``map.tif``, the map first."""
    return [path, auxiliary_path(path), style_path(path)]


def confidence_path(map_path: Path) -> Path:
    """``map_confidence.tif`` for ``map.tif``."""
    return map_path.with_name(f"{map_path.stem}_confidence{map_path.suffix}")


def confidence_files(path: Path) -> list[Path]:
    """The files that `ConfidenceWriter` makes for ``map_confidence.tif``, the map first."""
    return [path, style_path(path)]


class MapWriter:
    """Writes one GeoTIFF on `grid`, in a ``with`` block, from one thread.

    Pixels that are never written hold `nodata`. With `files`, the raster joins that set and appears with it; else it
    appears when the block ends. Raises `OutputError` when the file exists, has no TIFF name, or the disk is full.
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
    ) -> None:
        self.path, self.grid, self.tags = Path(path), grid, dict(tags or {})
        if self.path.suffix.lower() not in (".tif", ".tiff"):
            raise OutputError(self.path, "is not the name of a GeoTIFF", "let it end in .tif")
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

    def _sidecars(self) -> list[Path]:
        """The files that `_write_sidecars` makes."""
        return []

    def _write_sidecars(self, files: FileSet) -> None:
        """Stage the files that go with the raster. One left by an older raster of this name would be wrong."""
        files.discard(auxiliary_path(self.path))

    def _open_blocks(self) -> DatasetWriter:
        return rasterio.open(
            self._blocks_path,
            "w",
            driver="GTiff",
            height=self.grid.height,
            width=self.grid.width,
            count=self._count,
            dtype=self._dtype,
            nodata=self._nodata,
            crs=self.grid.crs,
            transform=self.grid.transform,
            tiled=True,
            blockxsize=_TILE,
            blockysize=_TILE,
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
            self._blocks.update_tags(**self.tags)
            for band, description in enumerate(self._descriptions, start=1):
                self._blocks.set_band_description(band, description)
            self._blocks.close()
            rasterio.shutil.copy(
                self._blocks_path,
                self._final,
                driver="COG",
                COMPRESS="DEFLATE",
                PREDICTOR="YES" if np.issubdtype(self._dtype, np.floating) else "NO",
                BLOCKSIZE=_TILE,
                OVERVIEW_RESAMPLING=self._resampling,
                BIGTIFF="IF_SAFER",
                NUM_THREADS="ALL_CPUS",
            )
            self._blocks_path.unlink()
        self._write_sidecars(self._files)

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

    uint8, or uint16 beyond 255 classes. Beside ``map.tif`` appear ``map.tif.aux.xml`` (GDAL's category names and
    attribute table) and ``map.qml`` (the QGIS style). `counts` holds the pixels of each class so far, int64 [K].
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
        )
        self.classes = classes
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

    def _sidecars(self) -> list[Path]:
        return label_map_files(self.path)[1:]

    def _write_sidecars(self, files: FileSet) -> None:
        xml = auxiliary_xml(self.classes, self.counts.tolist())
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
        )

    def write(self, row: int, column: int, values: NDArray) -> None:
        """Write a block of confidences, [h, w], in [0, 1] or NaN, whose first pixel is at (row, column)."""
        if np.any((values < -_ROUNDING) | (values > 1 + _ROUNDING)):
            raise ValueError("confidence outside [0, 1]")
        super().write(row, column, np.clip(values, 0, 1))

    def _sidecars(self) -> list[Path]:
        return confidence_files(self.path)[1:]

    def _write_sidecars(self, files: FileSet) -> None:
        super()._write_sidecars(files)
        files.stage(style_path(self.path)).write_text(confidence_qml(), encoding="utf-8")
