"""`prompts init` and `prompts describe`: write an editable class-text file for the classes of some labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ..atomic import FileSet, check_outputs
from ..chat import ChatEndpoint, key_from
from ..class_texts import class_texts_toml, describe, propose, read_class_names
from ..errors import OptionError
from ..prompts import load_texts

_HEAD = (
    "Descriptions of the classes (prompt p5). Best are 15 to 30 words: what the class is made of, how it looks from\n"
    "above, how high it is, what surrounds it. Edit them, then: diffclip-geo fewshot LABELS --texts "
)


@dataclass(frozen=True)
class ClassTexts:
    """What was written."""

    path: Path
    texts: Mapping[str, str]  # by class
    general: tuple[str, ...]  # classes that got a general sentence, to be made specific by hand


def prompts_init(
    labels: str | PathLike[str],
    *,
    out: str | PathLike[str] = "texts.toml",
    texts: str | PathLike[str] | None = None,
    class_field: str | None = None,
    join: str | PathLike[str] | None = None,
    on: str | None = None,
    layer: str | None = None,
    legend: str | PathLike[str] | None = None,
    overwrite: bool = False,
) -> ClassTexts:
    """Write a class-text file with a proposal for every class of the labels, to be edited.

    Proposals come from `texts`, a class-text set by name or a file (common land cover by default): the class of the
    same name, else one whose words are part of the name, else a general sentence.

    Raises
    ------
    LabelError
        The labels cannot be read.
    OutputError
        `out` exists, or cannot be written.
    """
    path = _checked(out, overwrite)
    names = read_class_names(
        labels,
        class_field=class_field,
        join=None if join is None else Path(join),
        on=on,
        layer=layer,
        legend=None if legend is None else Path(legend),
    )
    known = load_texts(texts)
    proposed = {name: propose(name, names, known) for name in names}
    notes = {name: _origin(name, source) for name, (_, source) in proposed.items()}
    found = {name: text for name, (text, _) in proposed.items()}
    _write(path, found, notes, overwrite)
    return ClassTexts(path, found, tuple(name for name, (_, source) in proposed.items() if not source))


def prompts_describe(
    labels: str | PathLike[str],
    *,
    endpoint: str,
    model: str | None = None,
    api_key_env: str | None = None,
    context: str = "",
    out: str | PathLike[str] = "texts.toml",
    class_field: str | None = None,
    join: str | PathLike[str] | None = None,
    on: str | None = None,
    layer: str | None = None,
    legend: str | PathLike[str] | None = None,
    timeout: float = 60.0,
    overwrite: bool = False,
    say: Callable[[str], None] | None = None,
) -> ClassTexts:
    """Write a class-text file with descriptions by a language model behind an OpenAI-compatible chat endpoint.

    Only class names and `context` (a few words about the scene) are sent, never pixels. Without a `model` the endpoint
    must offer exactly one. `api_key_env` names the environment variable that holds the key.

    Raises
    ------
    LabelError
        The labels cannot be read.
    OptionError
        The endpoint cannot be reached, refuses, or answers something else.
    OutputError
        `out` exists, or cannot be written.
    """
    if timeout <= 0:
        raise OptionError("--timeout", f"is {timeout:g}", "give seconds above 0")
    path = _checked(out, overwrite)
    server = ChatEndpoint(endpoint, key_from(api_key_env), timeout)
    names = read_class_names(
        labels,
        class_field=class_field,
        join=None if join is None else Path(join),
        on=on,
        layer=layer,
        legend=None if legend is None else Path(legend),
    )
    chosen = model or _only_model(server)
    texts = {}
    for name in names:
        texts[name] = describe(name, names, server, chosen, context=context)
        if say:
            say(f"{name}: {texts[name]}")
    _write(path, texts, {}, overwrite, written_by=chosen)
    return ClassTexts(path, texts, ())


def _only_model(server: ChatEndpoint) -> str:
    offered = server.models()
    if len(offered) != 1:
        some = ", ".join(offered[:5]) or "none"
        raise OptionError(server.url, f"offers {len(offered)} models ({some})", "choose one with --model")
    return offered[0]


def _checked(out: str | PathLike[str], overwrite: bool) -> Path:
    path = Path(out)
    check_outputs([path], overwrite)
    return path


def _origin(name: str, source: str) -> str:
    if not source:
        return "a general sentence: say what this class is"
    return "" if source == name else f"taken from {source!r}: check it"


def _write(
    path: Path, texts: Mapping[str, str], notes: Mapping[str, str], overwrite: bool, written_by: str = ""
) -> None:
    head = f"{_HEAD}{path.name}" + (f"\nWritten by {' '.join(written_by.split())}; check them." if written_by else "")
    with FileSet(path, overwrite=overwrite) as files:
        files.stage(path).write_text(class_texts_toml(texts, notes, head), encoding="utf-8")
