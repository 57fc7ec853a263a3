"""A label map as polygons: one per patch of one class, with its area and mean confidence, styled for QGIS."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyogrio
import rasterio.features
import shapely
from numpy.typing import NDArray
from scipy import ndimage

from .atomic import FileSet
from .classes import ClassTable
from .errors import OutputError, RasterError
from .grid import Grid
from .ground import pixel_area
from .legends import read_raster_legend
from .qml import polygons_qml
from .rasters import open_raster

LAYER = "classes"
_NO_COLOUR = (128, 128, 128)


def write_polygons(map_path: Path, out: Path, *, confidence: Path | None = None, overwrite: bool = False) -> int:
    """Write the patches of a label map as polygons to the GeoPackage `out`; returns their number.

    A patch is what hangs together by pixel edges. Fields: ``class``, ``value``, ``pixels``, ``area_m2`` (where the map
    is projected) and ``confidence`` (the mean of a confidence map on the same grid). The style is inside the file.
    The map is held in memory.

    Raises
    ------
    OutputError
        `out` exists, has another ending, or cannot be written.
    RasterError
        A map cannot be read, or the confidence lies on another grid.
    """
    if out.suffix.lower() != ".gpkg":
        raise OutputError(out, "is not the name of a GeoPackage", "let it end in .gpkg")
    with open_raster(map_path) as dataset:
        grid, labels, legend = Grid.of(dataset), dataset.read(1), read_raster_legend(dataset)
    sure = None
    if confidence is not None:
        with open_raster(confidence) as dataset:
            if dataset.shape != grid.shape:
                raise RasterError(confidence, f"is not on the grid of {map_path.name}", "give the map's own confidence")
            sure = dataset.read(1)
    patches = list(_patches(labels, sure, grid))
    names = np.array([legend.names.get(str(patch.value), str(patch.value)) for patch in patches], dtype=object)
    fields = {
        "class": names,
        "value": np.array([patch.value for patch in patches], np.int32),
        "pixels": np.array([patch.pixels for patch in patches], np.int64),
    }
    area = pixel_area(grid)
    if area is not None:
        fields["area_m2"] = fields["pixels"] * area
    if sure is not None:
        fields["confidence"] = np.array([patch.confidence for patch in patches], np.float64)
    shown = sorted(int(value) for value in legend.names if int(value) > 0)
    classes = ClassTable(
        tuple(legend.names[str(value)] for value in shown),
        tuple(legend.colors.get(str(value), _NO_COLOUR) for value in shown),
    )
    with FileSet(out, overwrite=overwrite) as files:
        staged = files.stage(out)
        try:
            pyogrio.raw.write(
                staged,
                geometry=shapely.to_wkb(np.array([patch.polygon for patch in patches], dtype=object)),
                field_data=list(fields.values()),
                fields=list(fields),
                geometry_type="Polygon",
                crs=None if grid.crs is None else grid.crs.to_wkt(),
                layer=LAYER,
                driver="GPKG",
            )
        except (OSError, RuntimeError) as error:
            raise OutputError(out, f"cannot be written ({error})", "check the free space of the disk") from error
        _add_style(staged, polygons_qml(classes))
    return len(patches)


class _Patch(NamedTuple):
    value: int
    polygon: shapely.Polygon
    pixels: int
    confidence: float


def _patches(labels: NDArray[np.integer], sure: NDArray[np.floating] | None, grid: Grid) -> Iterator[_Patch]:
    """Patches class by class, from the upper left to the lower right."""
    for value in np.unique(labels[labels > 0]).tolist():
        numbers, count = ndimage.label(labels == value)
        flat = numbers.ravel()
        pixels = np.bincount(flat, minlength=count + 1)
        mean = np.full(count + 1, np.nan)
        if sure is not None:
            known = np.isfinite(sure.ravel())
            weight = np.bincount(flat[known], minlength=count + 1)
            total = np.bincount(flat[known], sure.ravel()[known], minlength=count + 1)
            np.divide(total, weight, out=mean, where=weight > 0)
        for outline, number in rasterio.features.shapes(
            numbers.astype(np.int32), mask=numbers > 0, connectivity=4, transform=grid.transform
        ):
            place = int(number)
            yield _Patch(value, shapely.geometry.shape(outline), int(pixels[place]), float(mean[place]))


def _add_style(path: Path, qml: str) -> None:
    """Put a default style into a GeoPackage, in the table where QGIS looks for it."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE layer_styles (id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),"
            " f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30),"
            " styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),"
            " update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"
        )
        database.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName,"
            " styleQML, styleSLD, useAsDefault, description, owner) VALUES ('', '', ?, 'geom', ?, ?, '', 1, '', '')",
            (LAYER, LAYER, qml),
        )
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes',"
            " 'layer_styles')"
        )
