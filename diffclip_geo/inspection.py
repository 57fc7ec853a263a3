"""`info`: what the program understands of rasters, labels and workspaces, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .atomic import check_outputs
from .errors import OptionError
from .labelfiles import LabelFile, describe_labels
from .labels import LabelledPixels, keep_valid, read_labels
from .overview import write_overview
from .rasters import all_windows, sample_windows
from .registration import Shift, estimate_shift
from .scenes import Scene, crs_name, find_scenes
from .vectors import is_vector

_WHOLE = 50_000_000  # values (pixels × bands) up to which every pixel is looked at
_SIDE = 512  # pixels a side of the middle part on which misregistration is estimated
_TOO_FAR = 1.0  # pixels of misregistration that call for a warning


@dataclass(frozen=True)
class SceneReport:
    """What was understood of one image and its LiDAR rasters."""

    scene: Scene
    valid_share: float
    sampled: bool  # `valid_share` is of sampled windows
    shift: Shift | None  # of the first LiDAR band against the image; None when there is none or it cannot be told

    def to_text(self) -> str:
        """A few lines: file, grid, bands, LiDAR, data, and warnings."""
        scene, grid = self.scene, self.scene.grid
        about = " (of sampled parts)" if self.sampled else ""
        lines = [
            str(scene.hsi_path),
            f"  grid     {grid.height} rows × {grid.width} columns of {_pixel_size(scene)}, {crs_name(grid.crs)}",
            f"  extent   {_extent(scene)}",
            f"  bands    {scene.bands.to_text()}",
        ]
        if scene.lidar_paths:
            lines.append(f"  LiDAR    {', '.join(_lidar_rasters(scene))}")
        lines.append(f"  data     {100 * self.valid_share:.1f} % of pixels valid{about}")
        if self.shift is not None:
            rows, columns = self.shift.rows, self.shift.columns
            lines.append(f"  shift    LiDAR edges lie {rows:+.1f} rows, {columns:+.1f} columns from those of the image")
        return "\n".join([*lines, *(f"  note     {note}" for note in (*scene.notes, *self.warnings()))])

    def warnings(self) -> list[str]:
        """What needs the user's eye."""
        if self.shift is None or self.shift.distance <= _TOO_FAR:
            return []
        far = f"{self.shift.distance:.1f} pixels"
        return [f"image and LiDAR seem {far} apart: check their georeference (positive is down and right)"]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        shift = None if self.shift is None else asdict(self.shift)
        found = {"valid_share": self.valid_share, "sampled": self.sampled, "shift": shift, "warnings": self.warnings()}
        return {**self.scene.to_dict(), **found}


@dataclass(frozen=True)
class Inspection:
    """What was understood of everything asked about."""

    workspaces: tuple[str, ...]
    scenes: tuple[SceneReport, ...]
    labels: LabelledPixels | None
    label_files: tuple[LabelFile, ...] = ()

    def to_text(self) -> str:
        """The whole, for people."""
        parts = [*self.workspaces]
        parts += [scene.to_text() for scene in self.scenes]
        parts += [file.to_text() for file in self.label_files]
        if self.labels is not None:
            parts.append(self.labels.table())
        return "\n\n".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form."""
        found: dict[str, Any] = {"scenes": [scene.to_dict() for scene in self.scenes]}
        if self.workspaces:
            found["workspaces"] = list(self.workspaces)
        if self.label_files:
            found["label_files"] = [file.to_dict() for file in self.label_files]
        if self.labels is not None:
            report = {key: value for key, value in asdict(self.labels.report).items() if key != "notes"}
            found["labels"] = {
                **self.labels.classes.to_dict(),
                **report,
                "notes": list(self.labels.report.notes),
            }
        return found


def info(
    paths: Sequence[Path | str],
    *,
    labels: Path | str | None = None,
    class_field: str | None = None,
    join: Path | None = None,
    on: str | None = None,
    layer: str | None = None,
    legend: Path | None = None,
    mask: Path | str | None = None,
    bad_bands: str = "",
    derive: str | Sequence[str] = (),
    grid: str = "image",
    plot: Path | None = None,
    overwrite: bool = False,
) -> Inspection:
    """Describe an image with LiDAR rasters (the first path is the image), or several by glob patterns, or workspaces,
    or files of points and polygons.

    Rasters that cover only part of the image are described too; training them needs `allow_partial`. With `labels`, the
    table of classes on the valid pixels of these images is included. `plot` is a PNG to draw the images to, with the
    labels on top.

    Raises
    ------
    RasterError, LabelError
        As `Scene.open` and `read_labels`.
    OptionError
        Labels or `plot` are given without an image.
    OutputError
        `plot` exists or cannot be written.
    """
    if plot is not None:
        check_outputs([plot], overwrite, [Path(path) for path in paths])
    folders = [Path(path) for path in paths if (Path(path) / "workspace.json").is_file()]
    vectors = [Path(path) for path in paths if Path(path) not in folders and is_vector(Path(path))]
    rasters = [path for path in paths if Path(path) not in folders and Path(path) not in vectors]
    pairs = find_scenes(rasters[0], rasters[1:]) if rasters else []
    scenes = [
        Scene.open(hsi, lidar, mask=mask, bad_bands=bad_bands, allow_partial=True, derive=derive, grid=grid)
        for hsi, lidar in pairs
    ]
    pixels = None
    if labels is not None:
        if not scenes:
            raise OptionError("--labels", "needs an image to lay the labels on", "name the image first")
        grids = [scene.grid for scene in scenes]
        pixels = read_labels(labels, grids, class_field=class_field, join=join, on=on, layer=layer, legend=legend)
        pixels = keep_valid(pixels, scenes)
    if plot is not None:
        if not scenes:
            raise OptionError("--plot", "needs an image to draw", "name the image first")
        write_overview(plot, scenes, pixels, overwrite=overwrite)
    files = tuple(describe_labels(path, class_field=class_field, join=join, on=on, layer=layer) for path in vectors)
    return Inspection(tuple(map(_describe, folders)), tuple(map(_report, scenes)), pixels, files)


def _describe(folder: Path) -> str:
    from .workspace import describe_workspace  # here: it knows networks, which take a second to import

    return describe_workspace(folder)


def _report(scene: Scene) -> SceneReport:
    height, width = scene.grid.shape
    sampled = height * width * len(scene.band_indices) > _WHOLE
    windows = sample_windows(height, width) if sampled else all_windows(height, width)
    valid = pixels = 0
    for window in windows:
        block = scene.read(window.row_off, window.col_off, window.height, window.width)
        valid += int(block.valid.sum())
        pixels += block.valid.size
    return SceneReport(scene, valid / pixels, sampled, _shift(scene) if scene.lidar_paths else None)


def _shift(scene: Scene) -> Shift | None:
    """Misregistration in the middle of the scene, between mean brightness and the first LiDAR band."""
    height, width = min(scene.grid.height, _SIDE), min(scene.grid.width, _SIDE)
    block = scene.read((scene.grid.height - height) // 2, (scene.grid.width - width) // 2, height, width)
    return estimate_shift(block.hsi.mean(axis=0), block.lidar[0], block.valid)


def _lidar_rasters(scene: Scene) -> list[str]:
    """LiDAR rasters, each with its number of bands when there are several, and the derived layers."""
    own = list(scene.lidar_names[: len(scene.lidar_names) - len(scene.derived)])
    counted = [
        (path.stem, sum(name == path.stem or name.startswith(f"{path.stem}: ") for name in own))
        for path in scene.lidar_paths
    ]
    rasters = [name if count < 2 else f"{name} ({count} bands)" for name, count in counted]
    return [*rasters, *scene.lidar_names[len(own) :]]


def _pixel_size(scene: Scene) -> str:
    """Pixel size in map units, e.g. "30 m" or "0.5 × 1 m", from the lengths of a pixel's sides."""
    transform, crs = scene.grid.transform, scene.grid.crs
    across, down = float(np.hypot(transform.a, transform.d)), float(np.hypot(transform.b, transform.e))
    unit = crs.units_factor[0].lower() if crs is not None else "units"
    unit = {"metre": "m", "meter": "m", "degree": "°"}.get(unit, unit)
    size = f"{across:.6g}" if np.isclose(across, down, rtol=1e-6) else f"{across:.6g} × {down:.6g}"
    tilt = np.degrees(np.arctan2(transform.d, transform.a))
    rotated = f", rotated by {tilt:.1f}°" if min(abs(tilt), 180 - abs(tilt)) > 0.05 else ""
    return f"{size} {unit}{rotated}"


def _extent(scene: Scene) -> str:
    left, bottom, right, top = scene.grid.bounds
    digits = 5 if max(abs(left), abs(right)) <= 360 else 1
    return f"x {left:.{digits}f} … {right:.{digits}f}, y {bottom:.{digits}f} … {top:.{digits}f}"
