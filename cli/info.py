"""`diffclip-geo info`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import options


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--labels", metavar="PATH", help="Points, polygons or a label raster to count on the image.")
@options.labels
@click.option("--mask", type=click.Path(path_type=Path), help="Raster that is 0 where pixels are not to be used.")
@click.option("--bad-bands", default="", metavar="LIST", help="Bands to drop, counted from 1: 1-4,105-120.")
@options.derive
@options.grid
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="Draw the image, labels on top.")
@options.overwrite
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options.verbose
def command(
    paths: tuple[str, ...],
    *,
    labels: str | None,
    class_field: str | None,
    join: Path | None,
    on: str | None,
    layer: str | None,
    legend: Path | None,
    mask: Path | None,
    bad_bands: str,
    derive: str,
    grid: str,
    plot: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Show what is understood of rasters, labels or a workspace.

    PATH... is an image and the LiDAR rasters that go with it, a file of points or polygons, or the folder of a
    workspace. Patterns in quotes stand for several images: 'HSI/*.tif' 'CHM/*.tif'.
    """
    from diffclip_geo.inspection import info

    found = info(
        paths,
        labels=labels,
        class_field=class_field,
        join=join,
        on=on,
        layer=layer,
        legend=legend,
        mask=mask,
        bad_bands=bad_bands,
        derive=derive,
        grid=grid,
        plot=plot,
        overwrite=overwrite,
    )
    click.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else found.to_text())
