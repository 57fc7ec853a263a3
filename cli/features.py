"""`diffclip-geo features`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The picture, a GeoTIFF.")
@options.workspace
@click.option("--scene", help="Image to look at; by default the first one of the workspace.")
@click.option("--lidar", multiple=True, help="Its LiDAR raster; may be repeated.")
@click.option("--mask", type=click.Path(path_type=Path), help="Raster that is 0 where pixels are left out.")
@click.option("--allow-partial", is_flag=True, help="Accept LiDAR that covers less than 95 % of the image.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Labelled pixels of the scatter; by default those used."
)
@click.option("--class-field", metavar="NAME", help="Field of --labels that holds the class.")
@click.option("--points", type=int, default=20, show_default=True, help="Pixels of each class in the scatter.")
@options.seed
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
    labels: Path | None,
    class_field: str | None,
    points: int,
    seed: int,
    device: str,
    overwrite: bool,
) -> None:
    """See what the encoder makes of a scene.

    Writes the first three principal components of its features as colours, and beside them, as PNG, labelled pixels in
    the plane (t-SNE and principal components), of both modalities, before and after few-shot training.
    """
    from diffclip_geo import features

    done = features(
        out,
        workspace=workspace,
        scene=scene,
        lidar=lidar,
        mask=mask,
        allow_partial=allow_partial,
        labels=labels,
        class_field=class_field,
        points=points,
        seed=seed,
        device=device,
        overwrite=overwrite,
        progress=True,
        say=click.echo,
    )
    parts = ", ".join(f"{part:.0%}" for part in done.share)
    click.echo(f"{done.components}: three principal components with {parts} of the variance")
    if done.scatter is not None:
        click.echo(f"{done.scatter}: {done.points} labelled pixels")
