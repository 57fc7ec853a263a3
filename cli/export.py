"""`diffclip-geo export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from . import options


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "format_",
    type=click.Choice(["stac", "onnx", "student", "deepness"]),
    default="stac",
    show_default=True,
    help="What to write.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="By default a file beside the map or in the workspace."
)
@click.option(
    "--accept-agreement",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Share of pixels to which the fast engine has to give the class of the exact one, instead of 0.95.",
)
@options.overwrite
@options.verbose
def command(source: Path, format_: str, out: Path | None, accept_agreement: float | None, overwrite: bool) -> None:
    """Write SOURCE, a label map or a workspace folder, in another form.

    stac: a STAC Item for catalogues, of a map or a model; a model's has the fields of the machine-learning-model (MLM)
    extension. onnx: the image encoder of a workspace, for ONNX Runtime. student: the fast engine, from rasters to
    probabilities, for ONNX Runtime. deepness: the fast engine as a model for the QGIS plugin Deepness.
    """
    from diffclip_geo import export

    say = partial(click.echo, err=True)
    click.echo(export(source, out, format=format_, accept_agreement=accept_agreement, overwrite=overwrite, say=say))
