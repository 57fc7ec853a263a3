"""Writing class texts: an editable file with a description of each class of some labels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path

import numpy as np

from .chat import ChatEndpoint
from .errors import OptionError
from .grid import Grid
from .labels import read_labels
from .legends import read_legend
from .prompts import description_of
from .rasters import data_file, gdal, open_raster
from .scenes import natural
from .vectors import is_vector, read_features

FEWEST, MOST = 15, 30  # words of a description (prompt p5)
_LONGEST = 60  # words of an answer that may still be a description
_INSTRUCTIONS = (
    "You describe land-cover classes for a classifier that sees hyperspectral and LiDAR data from above. Answer with"
    " one sentence of 15 to 30 English words and nothing else: what the class is made of, its colour and spectrum, its"
    " height and texture, and how it differs from or lies next to the other classes. No list, no quotes, no preface."
)


def read_class_names(
    labels: str | PathLike[str],
    *,
    class_field: str | None = None,
    join: Path | None = None,
    on: str | None = None,
    layer: str | None = None,
    legend: Path | None = None,
) -> tuple[str, ...]:
    """The classes of points, polygons or a label raster, in natural order. Raises LabelError or RasterError."""
    path = Path(fspath(labels))
    if is_vector(path):
        features = read_features(path, class_field=class_field, join=join, on=on, layer=layer)
        values = sorted(np.unique(features.name).tolist(), key=int if features.numeric else natural)
        known = dict(features.legend.names) if features.numeric else {}
        known |= {} if legend is None else read_legend(legend).names
        return tuple(dict.fromkeys(known.get(value, value) for value in values))
    with gdal(), open_raster(data_file(path)) as dataset:
        grid = Grid.of(dataset)
    return read_labels(path, [grid], legend=legend).classes.names


def propose(name: str, names: Sequence[str], texts: Mapping[str, str]) -> tuple[str, str]:
    """A description of the class `name` among `names`, and where it is from: a class of `texts`, or "" (a general one).

    The class of `texts` is the one of this name, or the longest one whose words the name holds.
    """
    exact = description_of(name, texts)
    if exact:
        return exact, name
    words = {word.removesuffix("s") for word in re.findall(r"\w+", name.casefold().replace("_", " "))}
    inside = [key for key in texts if {word.removesuffix("s") for word in key.casefold().split()} <= words]
    if inside:
        key = max(inside, key=len)
        return texts[key], key
    others = [other for other in names if other != name][:2]
    beside = f"unlike {' and '.join(others)} nearby" if others else "unlike the ground around it"
    return f"{name} seen from above, with a colour, spectrum, height and texture of its own, {beside}.", ""


def describe(name: str, names: Sequence[str], endpoint: ChatEndpoint, model: str, *, context: str = "") -> str:
    """A description of the class `name` among `names` in the words of a language model.

    `context` tells it about the scene. An answer of other than 15–30 words is asked for once more; what comes then is
    taken. Raises OptionError when the answers are no descriptions.
    """
    others = ", ".join(other for other in names if other != name)
    question = f"Class: {name}. Other classes of the map: {others}." + (f" The scene: {context}." if context else "")
    text = _clean(endpoint.ask(model, _INSTRUCTIONS, question))
    if not FEWEST <= len(text.split()) <= MOST:
        again = f"{question} Your last answer had {len(text.split())} words; write 15 to 30."
        text = _clean(endpoint.ask(model, _INSTRUCTIONS, again)) or text
    if not 1 < len(text.split()) <= _LONGEST:
        fault = f"answers {len(text.split())} words for the class {name!r}"
        raise OptionError(endpoint.url, fault, "choose another --model, or write the text by hand")
    return text


def class_texts_toml(texts: Mapping[str, str], notes: Mapping[str, str], head: str) -> str:
    """A class-text file: comment `head`, then a line per class under ``[classes]``, after its note if it has one."""
    lines = [*(f"# {line}" for line in head.splitlines()), "[classes]"]
    for name, text in texts.items():
        if notes.get(name):
            lines.append(f"# {notes[name]}")
        lines.append(f"{_quoted(name)} = {_quoted(text)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _clean(answer: str) -> str:
    """The sentence of an answer: without a reasoning model's thoughts, line breaks and quotation marks around it."""
    spoken = re.sub(r"<think>.*?</think>", " ", answer, flags=re.DOTALL)
    return " ".join(spoken.split()).strip("\"'“”*` ")
