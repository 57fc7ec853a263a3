"""Small projects for tests of whole commands: plots, labels, and a preset that trains in a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from raster_files import NORTH_UP, UTM, write_labels, write_raster
from scipy import ndimage
from tiny import tiny_preset


def preset_file(path: Path) -> Path:
    """A tiny preset as a TOML file."""
    lines = []
    for name, value in tiny_preset().to_dict().items():
        lines.append(f"[{name}]" if isinstance(value, dict) else f"{name} = {json.dumps(value)}")
        for key, setting in value.items() if isinstance(value, dict) else ():
            lines.append(f"{key} = {json.dumps(setting)}")
    # Top-level keys come before tables.
    lines = [line for line in lines if line.startswith(("description",))] + [
        line for line in lines if not line.startswith("description")
    ]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def plot(
    folder: Path, name: str, seed: int, *, height: int = 20, width: int = 16, column: int = 0
) -> tuple[Path, Path]:
    """A plot of two covers, bright in different bands and of different height; returns image and LiDAR raster."""
    random = np.random.default_rng(seed)
    cover = np.zeros((height, width), int)
    cover[:, width // 2 :] = 1
    spectra = np.array([[200, 400, 300, 900, 800], [500, 450, 500, 400, 300]])
    image = spectra[cover].transpose(2, 0, 1) + random.normal(0, 20, (5, height, width))
    heights = ndimage.gaussian_filter(cover * 9.0, 0.5) + random.normal(0, 0.2, (height, width))
    place = NORTH_UP @ Affine.translation(column, 0)
    (folder / "HSI").mkdir(exist_ok=True)
    (folder / "CHM").mkdir(exist_ok=True)
    return (
        write_raster(folder / "HSI" / f"{name}.tif", image.astype("int16"), place),
        write_raster(folder / "CHM" / f"{name}.tif", heights.astype("float32"), place),
    )


def labels(path: Path, columns: tuple[int, ...] = (0,), *, width: int = 16, height: int = 20) -> Path:
    """Points on both covers of plots that start at these columns."""
    points, names = [], []
    for start in columns:
        for name, across in (("grass", 3.5), ("tree", width - 3.5)):
            for row in range(2, height - 2, 4):
                points.append(shapely.Point(500_000 + 2 * (start + across), 5_800_000 - 2 * (row + 0.5)))
                names.append(name)
    return write_labels(path, points, {"cover": names}, UTM, driver="GPKG", geometry_type="Point")
