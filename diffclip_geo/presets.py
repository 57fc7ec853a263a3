"""Presets of the model zoo: an architecture and its training settings, by name or from a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from .errors import OptionError

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class InputSettings:
    """What the encoder sees of a spectrum: noise-whitened components, or (0) all standardised bands, as published."""

    components: int


@dataclass(frozen=True)
class EncoderSettings:
    """Architecture of the shared encoder."""

    window: int
    width: int
    depth: int
    heads: int
    mlp_ratio: float

    def __post_init__(self) -> None:
        if isinstance(self.window, int) and self.window % 2 == 0:
            raise TypeError(f"window of [encoder] is {self.window}, not an odd number: a window has a centre pixel")


@dataclass(frozen=True)
class DecoderSettings:
    """Architecture of each modality's decoder."""

    width: int
    depth: int
    heads: int


@dataclass(frozen=True)
class PretrainingSettings:
    """Stage 1. `steps` are optimiser steps of `batch` windows each."""

    steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    mask_ratio: float
    timesteps: int


@dataclass(frozen=True)
class FewshotSettings:
    """Stage 2. `epochs` passes over the labelled pixels, but `least_steps` to `most_steps` steps.

    `visible` is the share of a window's cells shown in each training step (1: all, as published); `centre` adds the
    centre pixel's tokens to the class tokens.
    """

    epochs: int
    least_steps: int
    most_steps: int
    batch: int
    learning_rate: float
    weight_decay: float
    temperature: float
    visible: float
    centre: bool
    text_width: int
    text_depth: int
    text_heads: int


@dataclass(frozen=True)
class BlendSettings:
    """Weights of the experts whose scores make a class: 0 leaves one out, and language alone is the published method.

    Every expert's scores are in units of their own spread over the unlabelled scene.
    """

    language: float  # similarity to the class texts
    kernel: float  # kernel head on brightness-free components
    raw_kernel: float  # kernel head on components with brightness
    local_kernel: float  # kernel head on both, that looks close around the shots
    context_kernel: float  # the same, in which all scales count alike
    relative: float  # in plots, what the heads' twins that see surroundings taken away count beside them (0: none)
    freedom: float  # of the kernel heads' weights: how far shots may move their logarithms (0: not at all)
    nearness: float  # pixels within which a shot makes its class likelier, as far as the shots bear that out


@dataclass(frozen=True)
class Preset:
    """Everything that fixes a model but its data and its seed."""

    description: str
    input: InputSettings
    encoder: EncoderSettings
    decoder: DecoderSettings
    pretraining: PretrainingSettings
    fewshot: FewshotSettings
    blend: BlendSettings

    def to_dict(self) -> dict[str, Any]:
        """Plain tables, as in the TOML file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tables: dict[str, Any]) -> Preset:
        """From plain tables. Raises TypeError or KeyError when a setting is missing, unknown or no such number."""
        return cls(
            tables.get("description", ""),
            _settings(InputSettings, tables, "input"),
            _settings(EncoderSettings, tables, "encoder"),
            _settings(DecoderSettings, tables, "decoder"),
            _settings(PretrainingSettings, tables, "pretraining"),
            _settings(FewshotSettings, tables, "fewshot"),
            _settings(BlendSettings, tables, "blend"),
        )


def _settings(kind: type[Settings], tables: dict[str, Any], name: str) -> Settings:
    """One of the tables. Raises TypeError for a value that is no such number, and KeyError for a missing table."""
    values = tables[name]
    settings = kind(**values)
    for field in fields(kind):  # type: ignore[arg-type]
        value: Any = values[field.name]
        allowed: Any = {"int": int, "float": (int, float), "bool": bool}[str(field.type)]
        number = field.type != "bool"
        if not isinstance(value, allowed) or (number and (isinstance(value, bool) or not value >= 0)):
            wanted = {"int": "a whole number of 0 or more", "float": "a number of 0 or more", "bool": "true or false"}
            raise TypeError(f"{field.name} of [{name}] is {value!r}, not {wanted[str(field.type)]}")
    return settings


def preset_names() -> Sequence[str]:
    """Presets that come with the package."""
    folder = resources.files("diffclip_geo.models.presets")
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_preset(name: str) -> Preset:
    """The preset called `name`, or the one in the TOML file `name`. Raises OptionError."""
    if name.endswith(".toml"):
        if not Path(name).is_file():
            raise OptionError(
                name, "there is no such preset file", f"give a file or one of {', '.join(preset_names())}"
            )
        source: Path | Traversable = Path(name)
    elif name in preset_names():
        source = resources.files("diffclip_geo.models.presets").joinpath(f"{name}.toml")
    else:
        raise OptionError(
            f"preset {name!r}", "is not known", f"use one of {', '.join(preset_names())}, or a .toml file"
        )
    try:
        return Preset.from_dict(tomllib.loads(source.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise OptionError(
            name, f"is not a preset ({error})", "start from a copy of one that comes with the package"
        ) from error
