"""`diffclip-geo classify`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import options


@click.command()
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="The label map, a GeoTIFF; for several scenes a folder.",
)
@options.workspace
@click.option(
    "--scene",
    multiple=True,
    help="Image to map, or a quoted pattern; may be repeated. By default those of the workspace.",
)
@click.option("--lidar", multiple=True, help="Its LiDAR raster, or a pattern; may be repeated.")
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    help="Raster that is 0, or polygons outside which pixels stay unclassified.",
)
@click.option("--allow-partial", is_flag=True, help="Accept LiDAR that covers less than 95 % of the image.")
@click.option(
    "--confidence",
    type=click.Choice(["max-prob", "margin", "entropy"]),
    default="max-prob",
    show_default=True,
    help="What the confidence map holds.",
)
@click.option("--proba", is_flag=True, help="Write the probability of every class, too, in one band each.")
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Leave pixels with less confidence unclassified.",
)
@click.option(
    "--sieve",
    type=click.IntRange(0),
    default=0,
    metavar="PIXELS",
    help="Give patches of fewer pixels the class of their largest neighbour.",
)
@click.option("--polygons", type=click.Path(path_type=Path), metavar="FILE.gpkg", help="Write polygons, too.")
@click.option(
    "--format",
    type=click.Choice(["cog", "envi"]),
    default="cog",
    show_default=True,
    help="Cloud-Optimised GeoTIFFs, or ENVI images (map.dat, an ENVI Classification).",
)
@click.option(
    "--sets",
    type=float,
    metavar="COVERAGE",
    help="Write class sets, too, that hold the true class of this share of pixels (0.9): their size, their classes.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "exact", "fast"]),
    default="auto",
    show_default=True,
    help="exact: the network on every pixel. fast: a student of it, which is distilled first. auto: exact for few"
    " pixels or on a GPU, fast for many.",
)
@click.option(
    "--accept-agreement",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Share of pixels to which the fast engine has to give the class of the exact one, instead of 0.95.",
)
@click.option(
    "--runtime",
    type=click.Choice(["torch", "onnx"]),
    default="torch",
    show_default=True,
    help="What computes the network of the exact engine: PyTorch, or ONNX Runtime.",
)
@click.option("--ram", metavar="SIZE", help="Memory to keep to, such as 4GB; by default half of what is free, to 8GB.")
@click.option("--tile", type=int, metavar="PIXELS", help="Side of the tiles; by default what --ram allows.")
@click.option(
    "--scheduler",
    default="threads",
    show_default=True,
    metavar="threads|processes|ADDRESS",
    help="Who computes: threads, processes, or a dask scheduler such as tcp://host:8786 whose workers see the files.",
)
@click.option("--workers", type=int, metavar="COUNT", help="Tiles computed at a time; by default one per CPU core.")
@options.device
@click.option("--dry-run", is_flag=True, help="Say what the map would take: time, memory, disk. Writes nothing.")
@click.option("--resume", is_flag=True, help="Go on from the tiles that an interrupted run left.")
@options.overwrite
@options.verbose
def command(out: Path, dry_run: bool, resume: bool, overwrite: bool, **given: Any) -> None:
    """Map a scene: class labels with names and colours, confidence, provenance and a quicklook."""
    from diffclip_geo.workflow.classify import classify_scenes
    from diffclip_geo.workflow.forecast import forecast_scenes

    given |= {"scene": given["scene"] or None, "say": click.echo}
    if dry_run:
        forecast_scenes(out, **given)
        return
    done = classify_scenes(out, resume=resume, overwrite=overwrite, progress=True, **given)
    for one in done:
        pace = f"{one.pixels / one.seconds:,.0f} pixels/s"
        click.echo(f"Classified {one.pixels:,} pixels in {one.seconds:.0f} s ({pace}):")
        width = max(map(len, one.classes.names))
        for name, count in zip(one.classes.names, one.counts, strict=True):
            click.echo(f"  {name:<{width}}  {count:>10,}  {count / max(one.pixels, 1):6.1%}")
        files = [one.confidence_map, one.quicklook, *one.others]
        click.echo(", ".join([str(one.label_map), *(path.name for path in files)]))
