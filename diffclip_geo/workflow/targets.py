"""Which scenes `classify` maps, and where each map goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import OptionError, OutputError, RasterError
from ..scenes import Paths, Scene, find_scenes
from ..workspace import Workspace


def scenes_to_map(
    place: Workspace, scene: Paths | None, lidar: Paths, mask: str | Path | None, allow_partial: bool
) -> list[Scene]:
    """The scenes of the workspace, or those given, reading the bands it was trained on and deriving the same layers.

    Raises
    ------
    RasterError
        A scene lacks a band or a LiDAR layer that the classifier knows, or a file is gone.
    """
    facts = place.read(place.manifest, "pretrain")
    trained = [Scene.from_dict(one) for one in facts["scenes"]]
    if scene is None:
        for one in trained:
            one.check_files()
        return trained if mask is None else [one.masked(mask) for one in trained]
    return [
        _like(trained[0], image, layers, mask, allow_partial).matching(trained[0].bands)
        for image, layers in find_scenes(scene, lidar)
    ]


def _like(trained: Scene, image: Path, layers: Sequence[Path], mask: str | Path | None, allow_partial: bool) -> Scene:
    """A scene opened the way the trained one was, with as many LiDAR bands."""
    wanted = len(trained.lidar_names)
    if wanted and not layers:
        names = ", ".join(trained.lidar_names)
        fault = f"comes without LiDAR, and the classifier was trained with {names}"
        raise RasterError(image, fault, "name the LiDAR raster with --lidar, or pretrain on the image alone")
    opened = Scene.open(
        image,
        layers,
        mask=mask,
        allow_partial=allow_partial,
        derive=trained.derived,
        grid="image" if trained.image_grid is None else "lidar",
    )
    if len(opened.lidar_names) != wanted:
        fault = f"comes with {len(opened.lidar_names)} LiDAR bands, training had {wanted}"
        raise RasterError(opened.hsi_path, fault, "give the same LiDAR layers with --lidar")
    return opened


def map_paths(out: Path, scenes: Sequence[Scene]) -> list[Path]:
    """`out` for a single scene; for several the maps in the folder `out`, each named after its image.

    Raises
    ------
    OptionError
        `out` is a file for several scenes, or two of them have one name.
    OutputError
        The folder cannot be made, or `out` is a folder for a single scene.
    """
    if len(scenes) == 1 and not out.is_dir():
        return [out]
    if len(scenes) > 1 and out.suffix.lower() in {".tif", ".tiff"} and not out.is_dir():
        raise OptionError("--out", f"is one file for {len(scenes)} scenes", "name a folder for the maps")
    if len(scenes) == 1:
        raise OutputError(out, "is a folder", "give the name of a file")
    if not out.exists():
        try:
            out.mkdir()
        except OSError as error:
            raise OutputError(out, f"cannot be made ({error.strerror})", "choose another folder") from error
    elif not out.is_dir():
        raise OutputError(out, "is not a folder", f"name a folder for the {len(scenes)} maps")
    names = [f"{scene.hsi_path.stem}.tif" for scene in scenes]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise OptionError("--out", f"would get two maps named {twice}", "map images of one name in separate runs")
    return [out / name for name in names]
