"""A built-in scene: a simulated town edge with hyperspectral image, lidar, labels and full ground truth.

`materials` knows the classes and their spectra, `layout` draws the town (on a `canvas`, in the frame of its `streets`),
`radiometry` lights, mixes and measures it with a `sensor`, `files` writes the rasters.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from diffclip_geo.grid import Grid

__all__ = ["SimulatedScene", "simulate"]

_NAMES = (
    "scene.tif", "scene.bsq", "scene.hdr", "lidar.tif", "lidar.bsq", "lidar.hdr", "truth.tif", "truth.tif.aux.xml",
    "labels.shp", "labels.shx", "labels.dbf", "labels.prj", "labels.cpg",
)  # fmt: skip
_EPSG = 32633
_ORIGIN = 389_000.0, 5_819_000.0  # the east of zone 33N, near Berlin


@dataclass(frozen=True)
class SimulatedScene:
    """The files of a simulated scene and its class names (class 1…K of the truth in order)."""

    hsi: Path
    lidar: Path
    labels: Path
    truth: Path
    hsi_envi: Path  # header
    lidar_envi: Path  # header
    classes: tuple[str, ...]


def simulate(
    out: str | os.PathLike[str],
    *,
    size: tuple[int, int] = (128, 128),
    bands: int = 144,
    seed: int = 0,
    labels_per_class: int = 10,
    pixel_size: float = 2.5,
    overwrite: bool = False,
) -> SimulatedScene:
    """Write a simulated town edge into folder `out`, created when missing.

    The files are `scene` (reflectance × 10000, int16, 400–2500 nm, bad bands flagged) and `lidar` (first-surface
    height in metres and intensity), each as GeoTIFF and as ENVI; `labels.shp` (points, `labels_per_class` of each
    class, on pixels that are mostly one class); `truth.tif` (the class that fills most of each pixel, 0 = nodata). The
    corner beyond the flight line's edge is nodata. The same arguments give the same bytes.

    `size` is (rows, columns), `pixel_size` is in metres. Every class occurs in scenes of about 300 m × 300 m and more.
    Files appear under their names when all are complete.

    Raises `OptionError` for values out of range, `OutputError` when a file exists (unless `overwrite`) or cannot be
    written.
    """
    _check_options(size, bands, seed, labels_per_class, pixel_size)
    folder = Path(out)
    _check_folder(folder, overwrite)

    # Heavy imports here, so that importing the package (and the command line's --help) costs nothing.
    from affine import Affine
    from rasterio.crs import CRS

    from diffclip_geo.grid import Grid

    from .files import write_labels, write_truth
    from .materials import CLASSES

    transform = Affine(pixel_size, 0, _ORIGIN[0], 0, -pixel_size, _ORIGIN[1])
    grid = Grid(*size, transform, CRS.from_epsg(_EPSG))
    work = Path(tempfile.mkdtemp(prefix=".simulate-", dir=folder))
    try:
        truth, purity = _write_rasters(work, grid, bands, seed)
        write_truth(work / "truth.tif", grid, truth)
        write_labels(work / "labels.shp", grid, *_choose_labels(truth, purity, labels_per_class, seed), seed=seed)
        for name in _NAMES:
            (work / name).replace(folder / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return SimulatedScene(
        hsi=folder / "scene.tif",
        lidar=folder / "lidar.tif",
        labels=folder / "labels.shp",
        truth=folder / "truth.tif",
        hsi_envi=folder / "scene.hdr",
        lidar_envi=folder / "lidar.hdr",
        classes=tuple(c.name for c in CLASSES),
    )


def _check_options(size: tuple[int, int], bands: int, seed: int, labels_per_class: int, pixel_size: float) -> None:
    from diffclip_geo.errors import OptionError

    if min(size) < 16:
        raise OptionError("size", f"{size[0]}x{size[1]} pixels is too small for a scene", "give at least 16x16")
    if not 4 <= bands <= 1000:
        raise OptionError("bands", f"{bands} is out of range", "give 4 to 1000")
    if seed < 0:
        raise OptionError("seed", f"{seed} is negative", "give 0 or more")
    if labels_per_class < 1:
        raise OptionError("labels per class", f"{labels_per_class} is out of range", "give 1 or more")
    if not 0.5 <= pixel_size <= 10:
        raise OptionError("pixel size", f"{pixel_size} m is out of range", "give 0.5 to 10 m")


def _check_folder(folder: Path, overwrite: bool) -> None:
    """Fail before any work: the folder cannot be made or written, or holds a file of ours."""
    from diffclip_geo.errors import OutputError

    if folder.exists() and not folder.is_dir():
        raise OutputError(folder, "is a file, not a folder", "give another folder")
    present = [name for name in _NAMES if (folder / name).exists()]
    if present and not overwrite:
        raise OutputError(folder / present[0], "exists already", "use --overwrite or another folder")
    for name in present:
        if (folder / name).is_dir():
            raise OutputError(folder / name, "is a folder", "remove it or give another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(folder, f"cannot be created ({error.strerror})", "give another folder") from None
    if not os.access(folder, os.W_OK):
        raise OutputError(folder, "is not writable", "give another folder or change its permissions")


def _write_rasters(work: Path, grid: Grid, bands: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Stream the HSI and the lidar to file; returns the truth and the share of each pixel that its class fills."""
    import numpy as np

    from .files import NODATA, SCALE, RasterPair
    from .layout import draw_town
    from .radiometry import FACTOR, MARGIN, observe
    from .sensor import Sensor

    sensor = Sensor.evenly(bands)
    cell = grid.transform.a / FACTOR
    town = draw_town(seed, ((grid.height + 2 * MARGIN) * FACTOR, (grid.width + 2 * MARGIN) * FACTOR), cell)
    seen = _inside_flight_line(grid.shape, seed)
    truth = np.zeros(grid.shape, np.uint8)
    purity = np.zeros(grid.shape, np.float32)
    names = tuple(f"{w:.1f} nm" for w in sensor.wavelengths)
    with (
        RasterPair(work / "scene", grid, names, "int16", sensor) as hsi,
        RasterPair(work / "lidar", grid, ("DSM", "intensity"), "float32") as lidar,
    ):
        for rows in observe(town, sensor, seed, cell):
            here = slice(rows.start, rows.start + rows.height.shape[0])
            stored = np.clip(np.rint(rows.reflectance * SCALE), 0, 16000).astype(np.int16)
            hsi.write(rows.start, np.where(seen[here], stored, np.int16(NODATA)))
            lidar.write(rows.start, np.stack([rows.height, rows.intensity]))
            truth[here] = np.where(seen[here], rows.fractions.argmax(axis=0) + 1, 0)
            purity[here] = rows.fractions.max(axis=0)
    return truth, purity


def _inside_flight_line(shape: tuple[int, int], seed: int) -> NDArray[np.bool_]:
    """False beyond the slanted, slightly ragged edge of the flight line, in one lower corner."""
    import numpy as np

    rng = np.random.default_rng([seed, 4])
    rows, columns = shape
    # The edge cuts about a quarter of the height and an eighth of the width; the aircraft's roll makes it wander.
    roll = np.convolve(rng.normal(0, 1.2, rows + 14), np.ones(15) / 15, "valid")
    start = columns - (np.arange(rows) - 0.74 * rows) / (0.26 * rows) * (columns / 8) + roll
    inside = np.arange(columns)[None, :] < start[:, None]
    inside[: int(0.74 * rows)] = True
    return inside if rng.random() < 0.5 else inside[:, ::-1]


def _choose_labels(
    truth: NDArray[np.uint8], purity: NDArray[np.float32], per_class: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, column and label of the points an analyst would click: clear pixels, spread over the scene."""
    import numpy as np

    rng = np.random.default_rng([seed, 6])
    chosen: list[NDArray[np.int64]] = []
    for label in np.unique(truth[truth > 0]):
        pixels = np.argwhere(truth == label)
        clear = purity[truth == label]
        # The purest half suffices where a class is rare or narrow; elsewhere only clearly single-class pixels.
        pixels = rng.permutation(pixels[clear >= min(0.85, np.median(clear))])
        chosen.append(np.column_stack([_spread(pixels, per_class), np.full(min(per_class, len(pixels)), label)]))
    row, column, value = np.concatenate(chosen).astype(np.int64).T
    return row, column, value


def _spread(pixels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The first `count` of shuffled pixels [N, 2] that keep a distance; where room runs out, the distance shrinks."""
    import numpy as np

    taken: list[NDArray[np.int64]] = []
    distance = 40.0
    left = pixels[: 50 * count]
    while len(taken) < count and len(left):
        rest = []
        for pixel in left:
            near = taken and np.min(np.hypot(*(np.array(taken) - pixel).T)) < distance
            if near or len(taken) == count:
                rest.append(pixel)
            else:
                taken.append(pixel)
        left, distance = np.array(rest), distance / 1.5
    return np.array(taken).reshape(-1, 2)
