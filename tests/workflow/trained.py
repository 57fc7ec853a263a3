"""A workspace that is trained in seconds, on a small simulated scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffclip_geo.simulation import simulate
from diffclip_geo.workflow.fewshot import fewshot
from diffclip_geo.workflow.pretrain import pretrain

SETTINGS: dict[str, dict[str, Any]] = {
    "encoder": {"window": 5, "width": 16, "depth": 2, "heads": 2},
    "decoder": {"width": 16, "depth": 1, "heads": 2},
    "pretraining": {"steps": 4, "batch": 16},
    "fewshot": {"epochs": 1, "least_steps": 4, "batch": 16, "text_width": 16, "text_depth": 1, "text_heads": 2},
}


@dataclass(frozen=True)
class Trained:
    """Where everything is."""

    folder: Path
    workspace: Path
    scene: Path
    lidar: Path
    labels: Path
    truth: Path
    classes: tuple[str, ...]


def write_preset(path: Path) -> Path:
    """The compact preset with small networks and few steps."""
    from diffclip_geo.presets import load_preset

    settings = load_preset("compact").to_dict()
    lines = [f"{key} = {_toml(value)}" for key, value in settings.items() if not isinstance(value, dict)]
    for name, table in settings.items():
        if not isinstance(table, dict):
            continue
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml(value)}" for key, value in (table | SETTINGS.get(name, {})).items()]
    path.write_text("\n".join(lines) + "\n")
    return path


def train(folder: Path) -> Trained:
    """Simulate, pretrain and learn the classes."""
    scene = simulate(folder / "scene", size=(40, 48), bands=12, labels_per_class=4)
    workspace = folder / "work"
    pretrain(scene.hsi, scene.lidar, workspace=workspace, preset=str(write_preset(folder / "tiny.toml")))
    fewshot(scene.labels, workspace=workspace, shots=3)
    from diffclip_geo.workspace import Workspace

    place = Workspace(workspace)
    names = tuple(place.read(place.classifier_manifest, "fewshot")["classes"]["names"])
    return Trained(folder, workspace, scene.hsi, scene.lidar, scene.labels, scene.truth, names)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(list(value) if isinstance(value, tuple) else value)
