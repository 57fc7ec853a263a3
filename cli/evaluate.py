"""`diffclip-geo evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.argument("map_path", metavar="MAP", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@click.option(
    "--class-field", metavar="NAME", help="Field of TRUTH that holds the classes; found when only one can be it."
)
@click.option("--report", type=click.Path(path_type=Path), metavar="FILE.json", help="Write all scores as JSON, too.")
@options.overwrite
@options.verbose
def command(map_path: Path, truth: Path, class_field: str | None, report: Path | None, overwrite: bool) -> None:
    """Compare a label map with the truth: points, polygons or a label raster.

    Prints overall accuracy (OA), average accuracy (AA), kappa, the scores of each class, and the confusion matrix with
    the truth in rows and the map in columns. Classes are matched by name. Pixels that the map leaves unclassified count
    as wrong.
    """
    from diffclip_geo.evaluation import evaluate

    accuracy = evaluate(map_path, truth, class_field=class_field, report=report, overwrite=overwrite)
    click.echo(f"{map_path} against {truth}\n\n{accuracy.to_text()}")
    if report is not None:
        click.echo(f"\nWritten: {report}")
