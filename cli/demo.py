"""`diffclip-geo demo`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("diffclip-demo"),
    show_default=True,
    help="Folder for everything.",
)
@click.option("--preset", default="compact", show_default=True, help="compact, paper, or a TOML file of your own.")
@click.option("--steps", type=int, help="Pretraining steps, instead of the preset's.")
@options.seed
@options.device
@options.overwrite
@options.verbose
def command(out: Path, preset: str, steps: int | None, seed: int, device: str, overwrite: bool) -> None:
    """Simulate a scene, learn it, map it, and compare the map with the truth; minutes on two CPU cores."""
    from diffclip_geo import demo

    done = demo(
        out, preset=preset, steps=steps, seed=seed, device=device, overwrite=overwrite, progress=True, say=click.echo
    )
    click.echo(done.evaluation.to_text())
    click.echo(
        f"\nDone in {done.seconds:.0f} s. Look at {done.picture}, or open {done.classification.label_map} in QGIS."
    )
