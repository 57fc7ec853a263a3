"""`diffclip-geo suggest`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from . import options


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="The points, a GeoPackage.")
@click.option("-n", "--count", type=int, default=25, show_default=True, help="How many points.")
@click.option(
    "--min-distance",
    type=float,
    metavar="UNITS",
    help="Least distance between points and from earlier labels, in map units; by default a quarter of their spacing.",
)
@options.workspace
@options.seed
@options.device
@options.overwrite
@options.verbose
def command(
    out: Path,
    count: int,
    min_distance: float | None,
    workspace: Path,
    seed: int,
    device: str,
    overwrite: bool,
) -> None:
    """Choose the points that are most useful to label next.

    Open the file in QGIS, fill in the field "class" (empty now) of the points you can tell, and give it to fewshot
    together with the earlier labels.
    """
    from diffclip_geo import suggest

    done = suggest(
        out,
        count,
        workspace=workspace,
        min_distance=min_distance,
        seed=seed,
        device=device,
        overwrite=overwrite,
        say=click.echo,
    )
    click.echo(f"{len(done.points)} points at least {done.min_distance:.3g} map units apart, the most useful first.")
    if done.classes is not None:
        taken = ", ".join(f"{number} {name}" for name, number in Counter(done.points.proposed).most_common())
        click.echo(f"So far taken for: {taken}")
    earlier = "" if done.labels is None else f"{done.labels} "
    click.echo(f"Fill in the field class of {done.path}, then: diffclip-geo fewshot {earlier}{done.path}")
