"""`diffclip-geo prompts init` and `diffclip-geo prompts describe`."""

from __future__ import annotations

from pathlib import Path

import click

from . import options

_out = click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("texts.toml"),
    show_default=True,
    help="The class-text file, TOML.",
)


@click.group()
def command() -> None:
    """Write the class texts that `fewshot --texts` learns from."""


@command.command()
@click.argument("labels", type=click.Path(path_type=Path))
@_out
@click.option(
    "--texts", metavar="NAME|FILE", help="Where proposals come from: a set by name or a file. [default: landcover]"
)
@options.labels
@options.overwrite
@options.verbose
def init(
    labels: Path,
    out: Path,
    texts: str | None,
    class_field: str | None,
    join: Path | None,
    on: str | None,
    layer: str | None,
    legend: Path | None,
    overwrite: bool,
) -> None:
    """Propose a description for every class of LABELS, in a file to edit."""
    from diffclip_geo import prompts_init

    done = prompts_init(
        labels,
        out=out,
        texts=texts,
        class_field=class_field,
        join=join,
        on=on,
        layer=layer,
        legend=legend,
        overwrite=overwrite,
    )
    width = max(map(len, done.texts))
    for name, text in done.texts.items():
        click.echo(f"  {name:<{width}}  {text}")
    if done.general:
        click.echo(f"No description known of {', '.join(done.general)}: write it yourself.")
    click.echo(f"Edit {done.path}, then: diffclip-geo fewshot {labels} --texts {done.path}")


@command.command()
@click.argument("labels", type=click.Path(path_type=Path))
@click.option("--endpoint", metavar="URL", required=True, help="Address of the server, e.g. http://localhost:11434/v1.")
@click.option("--model", metavar="NAME", help="Model to ask; may be left out when the server offers one only.")
@click.option("--api-key-env", metavar="VAR", help="Environment variable that holds the API key.")
@click.option("--context", default="", help="A few words about the scene: place, season, sensor.")
@click.option("--timeout", type=float, default=60.0, show_default=True, help="Seconds to wait for an answer.")
@_out
@options.labels
@options.overwrite
@options.verbose
def describe(
    labels: Path,
    endpoint: str,
    model: str | None,
    api_key_env: str | None,
    context: str,
    timeout: float,
    out: Path,
    class_field: str | None,
    join: Path | None,
    on: str | None,
    layer: str | None,
    legend: Path | None,
    overwrite: bool,
) -> None:
    """Have a language model describe every class of LABELS.

    Any OpenAI-compatible chat endpoint will do. Only the names of the classes and the context are sent.
    """
    from diffclip_geo import prompts_describe

    done = prompts_describe(
        labels,
        endpoint=endpoint,
        model=model,
        api_key_env=api_key_env,
        context=context,
        timeout=timeout,
        out=out,
        class_field=class_field,
        join=join,
        on=on,
        layer=layer,
        legend=legend,
        overwrite=overwrite,
        say=click.echo,
    )
    click.echo(f"Check {done.path}, then: diffclip-geo fewshot {labels} --texts {done.path}")
