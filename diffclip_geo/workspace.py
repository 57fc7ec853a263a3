"""The workspace: the folder in which state passes between the commands.

workspace.json          scenes, bands, normalisation, preset, seed and provenance of stage 1
encoder.safetensors     weights of the shared encoder
classifier.json         classes, texts, settings and provenance of stage 2
classifier.safetensors  weights of the image encoder, cached text embeddings
model.onnx              the image encoder for ONNX Runtime
*.csv, *.png            training records and pictures
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import WorkspaceError
from .jsonfiles import save_json
from .nearness import Nearness

FORMAT = 4


@dataclass(frozen=True)
class Workspace:
    """Paths inside a workspace folder."""

    folder: Path

    @property
    def manifest(self) -> Path:
        """Facts of stage 1."""
        return self.folder / "workspace.json"

    @property
    def encoder(self) -> Path:
        """Weights of stage 1."""
        return self.folder / "encoder.safetensors"

    @property
    def checkpoint(self) -> Path:
        """State of an unfinished stage 1."""
        return self.folder / "checkpoint.safetensors"

    @property
    def classifier_manifest(self) -> Path:
        """Facts of stage 2."""
        return self.folder / "classifier.json"

    @property
    def classifier(self) -> Path:
        """Weights of stage 2."""
        return self.folder / "classifier.safetensors"

    @property
    def onnx(self) -> Path:
        """The image encoder of stage 2 for ONNX Runtime."""
        return self.folder / "model.onnx"

    @property
    def student(self) -> Path:
        """The network of the fast engine, as an ONNX model."""
        return self.folder / "student.onnx"

    @property
    def student_manifest(self) -> Path:
        """What the student was distilled from, and how well it agrees with its teacher."""
        return self.folder / "student.json"

    @property
    def training_pixels(self) -> Path:
        """Scene, row, column and class of the pixels that stage 2 was trained on."""
        return self.folder / "training_pixels.csv"

    def create(self) -> None:
        """Make the folder. Raises WorkspaceError when it cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkspaceError(
                self.folder, f"cannot be made ({error.strerror})", "choose another --workspace"
            ) from error
        if not os.access(self.folder, os.W_OK):
            raise WorkspaceError(self.folder, "cannot be written", "choose another --workspace")

    def read(self, path: Path, missing: str) -> dict[str, Any]:
        """The facts in one of the manifests; `missing` is the command that would write it. Raises WorkspaceError."""
        if not path.is_file():
            raise WorkspaceError(
                self.folder, f"holds no {path.name}", f"run `diffclip-geo {missing}` first, or name the --workspace"
            )
        try:
            facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            version = facts["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(path, f"cannot be read ({error})", f"run `diffclip-geo {missing}` again") from error
        if version != FORMAT:
            raise WorkspaceError(
                path, f"has format {version}, this version reads {FORMAT}", f"run `diffclip-geo {missing}` again"
            )
        return facts

    def write(self, path: Path, facts: dict[str, Any]) -> None:
        """Write one of the manifests, with the format of this version."""
        save_json(path, {"format": FORMAT, **facts})


def describe_workspace(folder: Path) -> str:
    """What a workspace holds, as text. Raises WorkspaceError."""
    workspace = Workspace(folder)
    facts = workspace.read(workspace.manifest, "pretrain")
    encoder = facts["preset"]["encoder"]
    lines = [
        f"Workspace {folder}",
        f"  pretrained   {facts['created']} by diffclip-geo {facts['version']}, preset {facts['preset_name']},"
        f" seed {facts['seed']}, {facts['steps']} steps, final loss {facts['final_loss']:.3f}",
        f"  encoder      window {encoder['window']}, width {encoder['width']}, depth {encoder['depth']},"
        f" heads {encoder['heads']}, channels {' + '.join(map(str, facts['channels']))}",
    ]
    lines += [f"  scene        {' + '.join([s['hsi'], *s['lidar']])}" for s in facts["scenes"]]
    if not workspace.classifier_manifest.is_file():
        return "\n".join([*lines, "  classifier   none yet: run `diffclip-geo fewshot`"])
    classes = workspace.read(workspace.classifier_manifest, "fewshot")
    lines.append(
        f"  classifier   {classes['created']}, {len(classes['classes']['names'])} classes from {classes['labels']}"
    )
    if classes["nearness"] is not None:
        lines.append(f"  nearness     {Nearness(**classes['nearness']).describe()}")
    for name, count in zip(classes["classes"]["names"], classes["pixels"], strict=True):
        lines.append(f"    {name}: {count} pixels")
    return "\n".join(lines)
