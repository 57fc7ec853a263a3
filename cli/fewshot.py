"""`diffclip-geo fewshot`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@click.command()
@click.argument("labels", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="LABELS...")
@options.workspace
@options.labels
@click.option(
    "--shots",
    type=int,
    help="Train on this many pixels per class, drawn at random, from as many polygons as possible; all by default.",
)
@click.option("--prompt", default="p5", show_default=True, help="p1 … p5, or a template with {class}.")
@click.option(
    "--texts",
    metavar="NAME|FILE",
    help="Descriptions of the classes for p5: a TOML file, see `prompts init`, or a set that comes with the program:"
    " houston2013, trento, muufl, berlin_urban, idtrees, simulated. [default: landcover]",
)
@click.option(
    "--text-weights",
    type=click.Path(path_type=Path),
    help="Pretrained CLIP weights for the texts: a local .safetensors file of OpenAI's CLIP or open_clip.",
)
@click.option(
    "--head",
    type=click.Choice(["similarity", "ldc", "ldc-learned"]),
    default="similarity",
    show_default=True,
    help="similarity to the class texts alone, or corrected by the LDC head, its block weights fixed or learned.",
)
@click.option(
    "--nearness/--no-nearness",
    default=True,
    show_default=True,
    help="Let ground near a label be the likelier to be of its class, as far as the labels themselves bear that out.",
)
@options.seed
@options.device
@options.verbose
def command(
    labels: tuple[Path, ...],
    workspace: Path,
    class_field: str | None,
    join: Path | None,
    on: str | None,
    layer: str | None,
    legend: Path | None,
    shots: int | None,
    prompt: str,
    texts: str | None,
    text_weights: Path | None,
    head: str,
    nearness: bool,
    seed: int,
    device: str,
) -> None:
    """Learn the classes of LABELS: points, polygons, or a label raster; several files are joined."""
    from diffclip_geo import fewshot

    done = fewshot(
        labels,
        workspace=workspace,
        class_field=class_field,
        join=join,
        on=on,
        layer=layer,
        legend=legend,
        shots=shots,
        prompt=prompt,
        texts=texts,
        text_weights=text_weights,
        head=head,
        nearness=nearness,
        seed=seed,
        device=device,
        progress=True,
        say=click.echo,
    )
    click.echo(f"Learned {len(done.texts)} classes from {len(done.pixels.label)} pixels in {done.seconds:.0f} s.")
    click.echo("Next: diffclip-geo classify --out map.tif")
