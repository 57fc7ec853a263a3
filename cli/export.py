"""`diffclip-geo export`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--format", "format_", type=click.Choice(["stac", "onnx"]), default="stac", show_default=True, help="What to write."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="By default map.stac.json, model.stac.json or model.onnx."
)
@options.overwrite
@options.verbose
def command(source: Path, format_: str, out: Path | None, overwrite: bool) -> None:
    """Write SOURCE, a label map or a workspace folder, in another form.

    stac: a STAC Item for catalogues, of a map or a model; a model's has the fields of the machine-learning-model (MLM)
    extension. onnx: the image encoder of a workspace, for ONNX Runtime.
    """
    from diffclip_geo import export

    click.echo(export(source, out, format=format_, overwrite=overwrite))
