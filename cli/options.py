"""Options that several commands share, defined once so that they read and behave the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

workspace = click.option(
    "-w",
    "--workspace",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("diffclip-work"),
    envvar="DIFFCLIP_GEO_WORKSPACE",
    show_default=True,
    show_envvar=True,
    help="Folder in which state passes between the commands.",
)
seed = click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything random.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace existing outputs.")
device = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N; auto takes a GPU when there is one."
)
derive = click.option(
    "--derive",
    default="",
    metavar="LIST",
    help="Layers to compute from the first LiDAR raster: slope, height-above-ground, roughness, local-range.",
)
grid = click.option(
    "--grid",
    type=click.Choice(["image", "lidar"]),
    default="image",
    show_default=True,
    help="Work on the pixels of the image, or of the first LiDAR raster where that is finer.",
)
verbose = click.option("-v", "--verbose", count=True, expose_value=False, help="-vv shows a traceback on errors.")


def labels(function: Callable[..., Any]) -> Callable[..., Any]:
    """How to read classes from a label file."""
    for option in (
        click.option(
            "--legend", type=click.Path(path_type=Path), help="Names of class codes: a CSV table code,name or a .qml."
        ),
        click.option("--layer", help="Layer of the label file, when it has several."),
        click.option("--on", help="Field that labels and --join table share."),
        click.option("--join", type=click.Path(path_type=Path), help="CSV table with further fields of the labels."),
        click.option("--class-field", help="Field that holds the class; found by itself when only one can be meant."),
    ):
        function = option(function)
    return function
