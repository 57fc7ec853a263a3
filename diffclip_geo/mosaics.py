"""Several rasters as one: the text of a GDAL virtual raster (VRT) over tiles of one lattice, with gaps as nodata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from .errors import RasterError
from .grid import Grid

LIST_ENDINGS = (".txt", ".lst")  # a file that names tiles, one per line, as gdalbuildvrt takes it
NAME_DOMAIN = "DIFFCLIP_GEO"  # of the tag that names, in the text of a VRT, the file it stands for
_OFF_LATTICE = 0.02  # pixels by which the corner of a tile may miss the lattice of the first
_TYPES = {
    "uint8": "Byte",
    "int8": "Int8",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float32": "Float32",
    "float64": "Float64",
}


def listed_tiles(path: Path) -> list[Path]:
    """The rasters named in a list, one per line; names that are not absolute start at the folder of the list.

    Raises
    ------
    RasterError
        It is not such a list.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise RasterError(path, "is not a list of rasters", "name one raster per line, in UTF-8") from error
    tiles = [path.parent / line for line in lines if line and not line.startswith("#")]
    if not tiles:
        raise RasterError(path, "lists no rasters", "name one raster per line")
    for tile in tiles:
        if not tile.exists():
            raise RasterError(path, f"lists {tile.name[:80]}, which does not exist", "name one raster per line")
    return tiles


def mosaic_vrt(path: Path, tiles: Sequence[DatasetReader]) -> str:
    """The VRT of tiles on one lattice; bands, scale factors and metadata are those of the first.

    Where tiles overlap the later one is on top. Gaps hold the nodata value of the tiles or, when one declares none,
    NaN, for which whole numbers become float32.

    Raises
    ------
    RasterError
        Tiles differ in bands, coordinate system or lattice. `path`, the list, is named.
    """
    first, grid = tiles[0], Grid.of(tiles[0])
    corners = [_corner(path, first, grid, tile) for tile in tiles]
    top, left = min(row for row, _ in corners), min(column for _, column in corners)
    height = max(row + tile.height for (row, _), tile in zip(corners, tiles, strict=True)) - top
    width = max(column + tile.width for (_, column), tile in zip(corners, tiles, strict=True)) - left
    whole = grid.part(top, left, height, width)
    return _vrt(
        str(path),
        whole,
        [_Placed(tile, row - top, column - left) for tile, (row, column) in zip(tiles, corners, strict=True)],
    )


@dataclass(frozen=True)
class _Placed:
    dataset: DatasetReader
    row: int
    column: int


def _corner(path: Path, first: DatasetReader, grid: Grid, tile: DatasetReader) -> tuple[int, int]:
    """Row and column of a tile's first pixel on the lattice of the first tile."""
    name, other = Path(tile.name).name, Path(first.name).name
    if tile.count != first.count:
        fault = f"{name} has {tile.count} bands, {other} {first.count}"
        raise RasterError(path, fault, "list tiles of one image")
    if tile.crs != first.crs:
        fault = f"{name} has another coordinate system than {other}"
        raise RasterError(path, fault, "bring the tiles into one, e.g. with gdalwarp")
    columns, rows = grid.to_pixels(np.array([tile.transform.c]), np.array([tile.transform.f]))
    row, column = float(rows[0]), float(columns[0])
    same_pixels = np.allclose(tile.transform[:2] + tile.transform[3:5], grid.transform[:2] + grid.transform[3:5])
    if not same_pixels or max(abs(row - round(row)), abs(column - round(column))) > _OFF_LATTICE:
        fault = f"the pixels of {name} do not continue those of {other}"
        raise RasterError(path, fault, "resample the tiles to one lattice, e.g. with gdalwarp -tap")
    return round(row), round(column)


def _vrt(name: str, grid: Grid, tiles: Sequence[_Placed]) -> str:
    first = tiles[0].dataset
    # Nodata can be told by value only when every tile has one and no mask band says more than it.
    by_value = all(tile.dataset.nodata is not None and not has_mask(tile.dataset) for tile in tiles)
    root = ET.Element("VRTDataset", rasterXSize=str(grid.width), rasterYSize=str(grid.height))
    if grid.crs is not None:
        ET.SubElement(root, "SRS").text = grid.crs.to_wkt()
    if not grid.transform.is_identity:
        ET.SubElement(root, "GeoTransform").text = ", ".join(repr(float(value)) for value in grid.transform.to_gdal())
    _put_tags(root, first, 0)
    ET.SubElement(ET.SubElement(root, "Metadata", domain=NAME_DOMAIN), "MDI", key="name").text = name
    for band in range(1, first.count + 1):
        kind = first.dtypes[band - 1] if by_value else np.promote_types(first.dtypes[band - 1], "float32").name
        element = ET.SubElement(root, "VRTRasterBand", dataType=_TYPES[kind], band=str(band))
        if first.descriptions[band - 1]:
            ET.SubElement(element, "Description").text = first.descriptions[band - 1]
        _put_tags(element, first, band)
        ET.SubElement(element, "NoDataValue").text = repr(first.nodatavals[band - 1]) if by_value else "nan"
        ET.SubElement(element, "Scale").text = repr(first.scales[band - 1])
        ET.SubElement(element, "Offset").text = repr(first.offsets[band - 1])
        for tile in tiles:
            _put_source(element, tile, band, by_value)
    return ET.tostring(root, encoding="unicode")


def has_mask(dataset: DatasetReader) -> bool:
    """Whether a mask band (not a nodata value) tells valid pixels."""
    flags = dataset.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags and MaskFlags.nodata not in flags


def _put_tags(element: ET.Element, dataset: DatasetReader, band: int) -> None:
    for domain in ("", "ENVI", "IMAGERY"):
        tags = dataset.tags(band, ns=domain or None)
        if tags:
            metadata = ET.SubElement(element, "Metadata", {"domain": domain} if domain else {})
            for key, value in tags.items():
                ET.SubElement(metadata, "MDI", key=key).text = value


def _put_source(element: ET.Element, tile: _Placed, band: int, by_value: bool) -> None:
    dataset = tile.dataset
    source = ET.SubElement(element, "ComplexSource")
    inside = Path(dataset.name)
    name = str(inside.resolve()) if inside.exists() else dataset.name
    ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = name
    ET.SubElement(source, "SourceBand").text = str(band)
    block_height, block_width = dataset.block_shapes[band - 1]
    sizes = {"RasterXSize": dataset.width, "RasterYSize": dataset.height}
    sizes |= {"BlockXSize": block_width, "BlockYSize": block_height}
    properties = {key: str(value) for key, value in sizes.items()} | {"DataType": _TYPES[dataset.dtypes[band - 1]]}
    ET.SubElement(source, "SourceProperties", properties)
    size = {"xSize": str(dataset.width), "ySize": str(dataset.height)}
    ET.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **size})
    ET.SubElement(source, "DstRect", {"xOff": str(tile.column), "yOff": str(tile.row), **size})
    if by_value:
        ET.SubElement(source, "NODATA").text = repr(dataset.nodatavals[band - 1])
    else:
        ET.SubElement(source, "UseMaskBand").text = "true"
