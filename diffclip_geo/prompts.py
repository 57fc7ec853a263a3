"""Class texts: the prompt templates p1–p4 of the paper, and p5, a description of each class."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

from .errors import OptionError

TEMPLATES = {
    "p1": "a patch of a {class}.",
    "p2": "a nice patch of a {class}.",
    "p3": "a fusion patch of a {class}.",
    "p4": "a multimodal fusion patch of a {class} with strong semantic information.",
}
PROMPTS = (*TEMPLATES, "p5")


def class_prompts(names: Sequence[str], prompt: str, texts: Mapping[str, str] | None = None) -> list[str]:
    """One text per class.

    `prompt` is p1…p5 or a template of your own with ``{class}``; p5 takes the description of the class from `texts`
    (keys are compared without case), and falls back to p4 for a class that has none. Raises OptionError for any other
    prompt.
    """
    if prompt == "p5":
        described = {key.casefold(): text for key, text in (texts or {}).items()}
        return [described.get(name.casefold()) or TEMPLATES["p4"].replace("{class}", name) for name in names]
    template = TEMPLATES.get(prompt, prompt)
    if "{class}" not in template:
        raise OptionError(
            f"prompt {prompt!r}", "has no {class} in it", f"use one of {', '.join(PROMPTS)} or a template"
        )
    return [template.replace("{class}", name) for name in names]


def load_texts(path: Path | None = None) -> dict[str, str]:
    """Descriptions by class name from a TOML table ``[classes]``, or those of common land cover that ship here."""
    if path is None:
        source = resources.files("diffclip_geo.models.texts").joinpath("landcover.toml").read_text(encoding="utf-8")
        return dict(tomllib.loads(source)["classes"])
    if not path.is_file():
        raise OptionError(path, "there is no such class-text file", "check the path")
    try:
        classes = tomllib.loads(path.read_text(encoding="utf-8"))["classes"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise OptionError(
            path, f"is not a class-text file ({error})", 'write a table [classes] with lines like "tree" = "…"'
        ) from error
    if not all(isinstance(text, str) for text in classes.values()):
        raise OptionError(
            path, "has a class whose text is not a string", 'write lines like "tree" = "…" under [classes]'
        )
    return dict(classes)
