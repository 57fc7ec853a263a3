"""Class texts: the prompt templates p1–p4 of the paper, and p5, a description of each class."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from os import PathLike, fspath
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
    (see `description_of`), and falls back to p4 for a class that has none. Raises OptionError for any other prompt.
    """
    if prompt == "p5":
        return [description_of(name, texts or {}) or TEMPLATES["p4"].replace("{class}", name) for name in names]
    template = TEMPLATES.get(prompt, prompt)
    if "{class}" not in template:
        raise OptionError(
            f"prompt {prompt!r}", "has no {class} in it", f"use one of {', '.join(PROMPTS)} or a template"
        )
    return [template.replace("{class}", name) for name in names]


def description_of(name: str, texts: Mapping[str, str]) -> str | None:
    """The text of a class: by its name without regard to case, underscores or a plural s; None when there is none."""
    described = {_plain(key): text for key, text in texts.items()}
    wanted = _plain(name)
    return described.get(wanted) or described.get(wanted.removesuffix("s")) or described.get(f"{wanted}s")


def _plain(name: str) -> str:
    return " ".join(re.sub(r"[_-]", " ", name).casefold().split())


def text_sets() -> Sequence[str]:
    """Names of the class-text sets that come with the package."""
    folder = resources.files("diffclip_geo.models.texts")
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_texts(source: str | PathLike[str] | None = None) -> dict[str, str]:
    """Descriptions by class name from a TOML table ``[classes]``: a file, or a set that comes with the package.

    Without a `source` they are those of common land cover. Raises OptionError.
    """
    name = "landcover" if source is None else fspath(source)
    if name in text_sets():
        folder = resources.files("diffclip_geo.models.texts")
        return dict(tomllib.loads(folder.joinpath(f"{name}.toml").read_text(encoding="utf-8"))["classes"])
    path = Path(name)
    if not path.is_file():
        raise OptionError(
            path, "there is no such class-text file", f"check the path, or use one of {', '.join(text_sets())}"
        )
    try:
        classes = tomllib.loads(path.read_text(encoding="utf-8"))["classes"]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise OptionError(
            path, f"is not a class-text file ({error})", 'write a table [classes] with lines like "tree" = "…"'
        ) from error
    if not isinstance(classes, dict) or not all(isinstance(text, str) for text in classes.values()):
        raise OptionError(
            path, "has a class whose text is not a string", 'write lines like "tree" = "…" under [classes]'
        )
    return dict(classes)
