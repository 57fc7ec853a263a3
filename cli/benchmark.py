"""`diffclip-geo benchmark`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from . import options


def _integers(context: click.Context, parameter: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not a list of numbers such as 2,8,20") from error


@click.command("benchmark", short_help="Compare methods on scenes with known classes.")
@click.argument("scenes", nargs=-1)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Stem of the results: OUT.jsonl, OUT.txt, OUT.csv, OUT.html. Run it again to go on.",
)
@click.option(
    "--data", type=click.Path(path_type=Path), default=Path("data"), show_default=True, help="Folder of the scenes."
)
@click.option("--hsi", help="Image, or pattern of images, of a scene of your own.")
@click.option("--lidar", multiple=True, help="Its LiDAR rasters.")
@click.option("--labels", type=click.Path(path_type=Path), help="Its labels.")
@click.option("--class-field", help="Field of the labels that holds the class.")
@click.option(
    "-m",
    "--method",
    "methods",
    multiple=True,
    default=("ours", "peers"),
    show_default=True,
    help="Method or group; again for more.",
)
@click.option("--shots", default="2,8,20", show_default=True, callback=_integers, help="Labelled pixels per class.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Number of draws of the shots.")
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(["random", "group"]),
    default=("random", "group"),
    show_default=True,
    help="How pixels are dealt; group: tests lie in other polygons, blocks or plots than shots.",
)
@click.option("--published", type=click.Path(path_type=Path), help="CSV of published figures to show beside.")
@click.option(
    "--clip-weights",
    type=click.Path(path_type=Path),
    help="CLIP model for the methods of the group clip: a .safetensors file of OpenAI's or open_clip's.",
)
@click.option("--clip-model", help="Its name in open_clip, where the file does not tell what it is, e.g. RN50.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or auto, for the networks.")
@click.option("--list-methods", is_flag=True, help="Print methods, groups and scenes, and stop.")
@click.option("--overwrite", is_flag=True, help="Forget earlier results instead of going on from them.")
@options.verbose
def command(
    scenes: tuple[str, ...],
    out: Path | None,
    data: Path,
    hsi: str | None,
    lidar: tuple[str, ...],
    labels: Path | None,
    class_field: str | None,
    methods: tuple[str, ...],
    shots: tuple[int, ...],
    seeds: int,
    splits: tuple[str, ...],
    published: Path | None,
    clip_weights: Path | None,
    clip_model: str | None,
    device: str,
    list_methods: bool,
    overwrite: bool,
) -> None:
    """Compare methods on SCENES with known classes, from a few labelled pixels per class.

    SCENES are berlin_hymap, houston_campus, idtrees_mlbs, houston2013, trento or muufl, each in the folder of that name
    in --data, or NAME=FOLDER. A scene of your own is given by --hsi, --lidar and --labels.

    Every method gets the same shots and is tested on the same pixels. No label of a pixel that is not among the shots
    reaches a method.
    """
    if list_methods:
        _list()
        return
    if out is None:
        raise click.UsageError("Missing option '--out' / '-o'.")
    if (hsi is None) != (labels is None):
        raise click.UsageError("--hsi and --labels go together.")
    from diffclip_geo.benchmarking import benchmark
    from diffclip_geo.benchmarking.cases import Case
    from diffclip_geo.benchmarking.catalogue import open_scene
    from diffclip_geo.benchmarking.run import table_files

    cases = [open_scene(scene, data) for scene in scenes]
    if hsi is not None and labels is not None:
        cases.append(Case.from_files(hsi, lidar, labels, class_field=class_field))
    say: Callable[[str], None] = click.echo
    benchmark(
        cases,
        out,
        methods=methods,
        shots=shots,
        seeds=seeds,
        splits=splits,
        published=published,
        clip_weights=clip_weights,
        clip_model=clip_model,
        device=device,
        overwrite=overwrite,
        say=say,
    )
    _, text, table, page, *_ = table_files(out)
    click.echo(f"\nWritten: {text}, {table}, {page}")


def _list() -> None:
    from diffclip_geo.benchmarking.catalogue import SCENES
    from diffclip_geo.benchmarking.methods import GROUPS, METHODS

    for name, method in METHODS.items():
        click.echo(f"{name:32}{method.description}")
    for name, group in GROUPS.items():
        click.echo(f"\nGroup {name}: {', '.join(one.name for one in group)}")
    click.echo(f"\nScenes: {', '.join(SCENES)}")
