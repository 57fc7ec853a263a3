"""`diffclip-geo export`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--format", "format_", type=click.Choice(["stac"]), default="stac", show_default=True, help="What to write."
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="By default map.stac.json, or model.stac.json.")
@options.overwrite
@options.verbose
def command(source: Path, format_: str, out: Path | None, overwrite: bool) -> None:
    """Describe SOURCE, a label map or a workspace folder, for catalogues: as a STAC Item.

    A model's Item has the fields of the machine-learning-model (MLM) extension.
    """
    from diffclip_geo import export

    click.echo(export(source, out, format=format_, overwrite=overwrite))
