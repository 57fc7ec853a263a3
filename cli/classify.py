"""`diffclip-geo classify`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The label map, a GeoTIFF.")
@options.workspace
@click.option("--scene", help="Hyperspectral image to map; by default the one of the workspace.")
@click.option("--lidar", multiple=True, help="Its LiDAR raster; may be repeated.")
@click.option("--mask", type=click.Path(path_type=Path), help="Raster; pixels where it is 0 stay unclassified.")
@click.option("--allow-partial", is_flag=True, help="Accept LiDAR that covers less than 95 % of the image.")
@click.option(
    "--confidence",
    type=click.Choice(["max-prob", "margin", "entropy"]),
    default="max-prob",
    show_default=True,
    help="What the confidence map holds.",
)
@click.option("--tile", type=int, default=64, show_default=True, help="Side of the tiles, in pixels.")
@click.option("--workers", type=int, help="Tiles computed at a time; by default one per CPU core.")
@options.device
@options.overwrite
@options.verbose
def command(
    out: Path,
    workspace: Path,
    scene: str | None,
    lidar: tuple[str, ...],
    mask: Path | None,
    allow_partial: bool,
    confidence: str,
    tile: int,
    workers: int | None,
    device: str,
    overwrite: bool,
) -> None:
    """Map a scene: class labels with names and colours, confidence, provenance and a quicklook."""
    from diffclip_geo import classify

    done = classify(
        out,
        workspace=workspace,
        scene=scene,
        lidar=lidar,
        mask=mask,
        allow_partial=allow_partial,
        confidence=confidence,
        tile=tile,
        workers=workers,
        device=device,
        overwrite=overwrite,
        progress=True,
        say=click.echo,
    )
    click.echo(
        f"Classified {done.pixels:,} pixels in {done.seconds:.0f} s ({done.pixels / done.seconds:,.0f} pixels/s):"
    )
    width = max(map(len, done.classes.names))
    for name, count in zip(done.classes.names, done.counts, strict=True):
        click.echo(f"  {name:<{width}}  {count:>10,}  {count / max(done.pixels, 1):6.1%}")
    click.echo(f"{done.label_map}, {done.confidence_map.name}, {done.quicklook.name}")
