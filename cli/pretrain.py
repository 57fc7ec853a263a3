"""`diffclip-geo pretrain`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.argument("scene")
@click.argument("lidar", nargs=-1)
@options.workspace
@click.option("--preset", default="compact", show_default=True, help="compact, paper, or a TOML file of your own.")
@click.option("--steps", type=int, help="Training steps, instead of the preset's.")
@click.option(
    "--mask",
    type=click.Path(path_type=Path),
    help="Raster that is 0 where pixels are to be left out, or polygons around those to be used.",
)
@options.derive
@options.grid
@click.option("--bad-bands", default="", help="Bands of the image to drop, counted from 1, as in 1-4,105-120.")
@click.option("--allow-partial", is_flag=True, help="Accept LiDAR that covers less than 95 % of the image.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted run stopped.")
@options.seed
@options.device
@options.overwrite
@options.verbose
def command(
    scene: str,
    lidar: tuple[str, ...],
    workspace: Path,
    preset: str,
    steps: int | None,
    mask: Path | None,
    bad_bands: str,
    allow_partial: bool,
    derive: str,
    grid: str,
    resume: bool,
    seed: int,
    device: str,
    overwrite: bool,
) -> None:
    """Learn SCENE, a hyperspectral image, with any number of LIDAR rasters, from unlabelled pixels.

    Several scenes are given as quoted patterns: 'HSI/*.tif' 'CHM/*.tif'.
    """
    from diffclip_geo import pretrain

    done = pretrain(
        scene,
        lidar,
        workspace=workspace,
        preset=preset,
        steps=steps,
        mask=mask,
        bad_bands=bad_bands,
        allow_partial=allow_partial,
        derive=derive,
        grid=grid,
        resume=resume,
        seed=seed,
        device=device,
        overwrite=overwrite,
        progress=True,
        say=click.echo,
    )
    last = done.losses[-1]
    click.echo(
        f"Pretrained on {done.windows:,} pixels in {done.seconds:.0f} s:"
        f" denoising loss {last.denoising:.3f}, restoration loss {last.restoration:.3f}."
    )
    click.echo(f"Workspace {done.workspace}. Next: diffclip-geo fewshot LABELS")
