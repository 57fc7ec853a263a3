"""`diffclip-geo simulate`: write the built-in scene."""

from __future__ import annotations

import re
from pathlib import Path

import click

from . import options


class Size(click.ParamType):
    """Rows and columns as HxW."""

    name = "HxW"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(rows, columns); a usage error for anything else."""
        match = re.fullmatch(r"(\d+)[xX×](\d+)", str(value))
        if not match:
            self.fail(f"{value!r} is not rows x columns, such as 128x128", param, ctx)
        return int(match[1]), int(match[2])


@click.command
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the files; made when missing.")
@click.option("--size", type=Size(), default="128x128", show_default=True, help="Rows x columns in pixels.")
@click.option("--bands", type=int, default=144, show_default=True, help="Bands between 400 and 2500 nm.")
@click.option("--labels-per-class", type=int, default=10, show_default=True, help="Labelled points of each class.")
@click.option("--pixel-size", type=float, default=2.5, show_default=True, help="Pixel size in metres.")
@options.seed
@options.overwrite
@options.verbose
def command(
    *,
    out: Path,
    size: tuple[int, int],
    bands: int,
    labels_per_class: int,
    pixel_size: float,
    seed: int,
    overwrite: bool,
) -> None:
    """Write a simulated town edge: hyperspectral image, lidar, labels and full ground truth.

    The same options give the same files.

    \b
    scene.tif, scene.bsq + .hdr   reflectance x 10000, bad bands flagged
    lidar.tif, lidar.bsq + .hdr   first-surface height (m) and intensity
    labels.shp                    labelled points: fields class and color
    truth.tif                     the class of every pixel, 0 = nodata
    """
    from diffclip_geo.simulation import simulate

    scene = simulate(
        out,
        size=size,
        bands=bands,
        seed=seed,
        labels_per_class=labels_per_class,
        pixel_size=pixel_size,
        overwrite=overwrite,
    )
    click.echo(f"{scene.hsi}: {size[0]} x {size[1]} pixels of {pixel_size:g} m, {bands} bands; also {scene.hsi_envi}")
    click.echo(f"{scene.lidar}: height and intensity; also {scene.lidar_envi}")
    click.echo(f"{scene.labels}: up to {labels_per_class} points for each of {len(scene.classes)} classes")
    click.echo(f"{scene.truth}: the class of every pixel")
