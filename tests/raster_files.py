"""Small rasters and label files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS

UTM = CRS.from_epsg(32633)
NORTH_UP = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 5_800_000.0)
SHARED = Path(__file__).parent.parent.parent / "shared" / "data"


def real_scene(name: str) -> Path:
    """Folder of a real scene; the test is skipped where it is missing."""
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the real scene {name} is not here ({folder})")
    return folder


def spectra(bands: int, height: int, width: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Random positive values [B, H, W] that are constant in no band."""
    return np.random.default_rng(seed).uniform(1, 1000, (bands, height, width)).astype(dtype)


def write_raster(
    path: Path, values: np.ndarray, transform: Affine = NORTH_UP, crs: CRS | None = UTM, **profile: object
) -> Path:
    """Write values [B, H, W] or [H, W]; GeoTIFF unless `driver` says otherwise."""
    values = values[None] if values.ndim == 2 else values
    count, height, width = values.shape
    settings = {"driver": "GTiff", "dtype": values.dtype, "transform": transform, "crs": crs, **profile}
    with rasterio.open(path, "w", count=count, height=height, width=width, **settings) as dataset:
        dataset.write(values)
    return path


def write_envi(path: Path, values: np.ndarray, *, interleave: str = "bsq", fields: str = "") -> Path:
    """Write values [B, H, W] as an ENVI image with a hand-made header; returns the data file."""
    order = {"bsq": (0, 1, 2), "bil": (1, 0, 2), "bip": (1, 2, 0)}[interleave]
    path.write_bytes(np.ascontiguousarray(values.transpose(order)).tobytes())
    codes = {"uint8": 1, "int16": 2, "float32": 4, "uint16": 12}
    count, height, width = values.shape
    path.with_suffix(".hdr").write_text(
        f"ENVI\nsamples = {width}\nlines = {height}\nbands = {count}\nheader offset = 0\nfile type = ENVI Standard\n"
        f"data type = {codes[str(values.dtype)]}\ninterleave = {interleave}\nbyte order = 0\n"
        f"map info = {{UTM, 1, 1, 500000, 5800000, 2, 2, 33, North, WGS-84}}\n{fields}\n"
    )
    return path


def write_labels(
    path: Path, geometry: list, fields: dict[str, list], crs: CRS | str | None = UTM, **options: object
) -> Path:
    """Write geometries (None for a missing one) with their fields."""
    columns = [
        np.array(values, object if any(isinstance(v, str) or v is None for v in values) else None)
        for values in fields.values()
    ]
    pyogrio.raw.write(
        path,
        geometry=np.array([None if one is None else shapely.to_wkb(one) for one in geometry], object),
        field_data=columns,
        fields=list(fields),
        geometry_type=options.pop("geometry_type", "Unknown"),
        crs=None if crs is None else (crs if isinstance(crs, str) else crs.to_wkt()),
        **options,
    )
    return path
