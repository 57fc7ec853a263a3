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
@click.option(
    "--design",
    type=click.Choice(["unknown", "random", "stratified"]),
    default="unknown",
    show_default=True,
    help="How the truth pixels were chosen: at random over the whole map, at random within its classes (or --strata),"
    " or otherwise; only samples drawn at random give unbiased areas.",
)
@click.option(
    "--strata", type=click.Path(path_type=Path), help="Raster of the strata, when they are not the map classes."
)
@click.option(
    "--confidence-map",
    type=click.Path(path_type=Path),
    help="Probability of the mapped class, to check its calibration; by default the map's own.",
)
@click.option("--exclude-training", is_flag=True, help="Leave out the workspace's training pixels and their windows.")
@options.workspace
@click.option(
    "--report", type=click.Path(path_type=Path), metavar="NAME", help="Write NAME.html, NAME.json and NAME.csv, too."
)
@options.overwrite
@options.verbose
def command(
    map_path: Path,
    truth: Path,
    class_field: str | None,
    design: str,
    strata: Path | None,
    confidence_map: Path | None,
    exclude_training: bool,
    workspace: Path,
    report: Path | None,
    overwrite: bool,
) -> None:
    """Compare a label map with the truth: points, polygons or a label raster.

    Prints overall accuracy (OA), average accuracy (AA), kappa, the scores of each class, the confusion matrix with the
    truth in rows and the map in columns, the calibration of the confidence, and the area of each class. Classes are
    matched by name. Pixels that the map leaves unclassified count as wrong. A report NAME with the ending .html, .json
    or .csv is that file alone.
    """
    from diffclip_geo.evaluation import evaluate, report_files

    found = evaluate(
        map_path,
        truth,
        class_field=class_field,
        design=design,
        strata=strata,
        confidence=confidence_map,
        exclude_training=workspace if exclude_training else None,
        report=report,
        overwrite=overwrite,
    )
    click.echo(f"{map_path} against {truth}\n\n{found.to_text()}")
    if report is not None:
        click.echo(f"\nWritten: {', '.join(map(str, report_files(report)))}")
