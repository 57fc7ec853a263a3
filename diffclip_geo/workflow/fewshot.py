"""`fewshot`: learn the classes from a few labels."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from .. import __version__
from ..classifier import empty_encoder, save_language_model
from ..devices import pick_device
from ..errors import LabelError, OptionError
from ..images import SceneStats
from ..labels import LabelledPixels, read_labels
from ..language import TrainingRecord, train_language_model
from ..plots import plot_losses, write_columns
from ..presets import Preset
from ..prompts import class_prompts, load_texts
from ..sampling import labelled_blocks
from ..scenes import Scene
from ..tensorfiles import load_tensors
from ..windows import WindowSource
from ..workspace import Workspace


@dataclass(frozen=True)
class FewshotTraining:
    """What `fewshot` did."""

    workspace: Path
    pixels: LabelledPixels  # those it was trained on
    texts: tuple[str, ...]  # one per class
    losses: tuple[TrainingRecord, ...]
    seconds: float


def fewshot(
    labels: str | PathLike[str],
    *,
    workspace: str | PathLike[str] = "diffclip-work",
    class_field: str | None = None,
    join: str | PathLike[str] | None = None,
    on: str | None = None,
    layer: str | None = None,
    shots: int | None = None,
    prompt: str = "p5",
    texts: str | PathLike[str] | None = None,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> FewshotTraining:
    """Stage 2: align the pretrained encoder with the class texts on the labelled pixels, and write the classifier to the workspace.

    A classifier that the workspace holds already is replaced when training is done.

    Parameters
    ----------
    labels, class_field, join, on, layer
        Points, polygons or a raster, see `labels.read_labels`.
    shots
        Train on this many pixels per class, drawn with `seed` and spread over the polygons; all pixels by default.
    prompt, texts
        p1…p5 or a template with ``{class}``; descriptions for p5 (TOML), see `prompts`.
    say
        Called with the table of labels before training, and with notes.

    Raises
    ------
    LabelError
        The labels cannot be used with the scenes of the workspace.
    WorkspaceError
        There is no pretrained encoder.
    """
    started = time.perf_counter()
    place = Workspace(Path(workspace))
    facts = place.read(place.manifest, "pretrain")
    preset, stats = Preset.from_dict(facts["preset"]), SceneStats.from_dict(facts["stats"])
    scenes = [Scene.from_dict(one) for one in facts["scenes"]]
    chosen = pick_device(device)
    if shots is not None and shots < 1:
        raise OptionError("--shots", f"is {shots}", "give at least 1")
    pixels = read_labels(
        Path(labels),
        [scene.grid for scene in scenes],
        class_field=class_field,
        join=None if join is None else Path(join),
        on=on,
        layer=layer,
    )
    if shots is not None:
        pixels = pixels.sample(shots, seed)
    if say:
        say(pixels.table())
    descriptions = class_prompts(pixels.classes.names, prompt, load_texts(None if texts is None else Path(texts)))
    encoder = empty_encoder(preset, facts["channels"])
    encoder.load_state_dict(load_tensors(place.encoder))
    source, label = labelled_windows(scenes, pixels, stats, preset.encoder.window)
    count = np.bincount(label.numpy(), minlength=len(pixels.classes.names))
    if not count.all():
        lost = pixels.classes.names[int(np.flatnonzero(count == 0)[0])]
        raise LabelError(labels, f"class {lost!r} has no pixel with data", "label it elsewhere or drop it")
    if say and len(label) < len(pixels.label):
        say(f"{len(pixels.label) - len(label)} labelled pixels lie on nodata and are left out.")
    model, losses = train_language_model(
        encoder, source, label, descriptions, preset, seed=seed, device=chosen, progress=progress
    )
    save_language_model(place, model)
    curve = {"loss": [r.loss for r in losses]}
    write_columns(
        place.folder / "fewshot.csv",
        {"step": [r.step for r in losses], **curve, "learning_rate": [r.learning_rate for r in losses]},
    )
    plot_losses(place.folder / "fewshot.png", curve, "Few-shot training")
    seconds = time.perf_counter() - started
    place.write(
        place.classifier_manifest,
        {
            "version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "labels": str(Path(labels).resolve()),
            "classes": pixels.classes.to_dict(),
            "pixels": count.tolist(),
            "prompt": prompt,
            "texts": descriptions,
            "temperature": model.temperature,
            "shots": shots,
            "seed": seed,
            "steps": len(losses),
            "final_loss": losses[-1].loss,
            "seconds": round(seconds, 1),
        },
    )
    return FewshotTraining(place.folder, pixels, tuple(descriptions), tuple(losses), seconds)


def labelled_windows(
    scenes: list[Scene], pixels: LabelledPixels, stats: SceneStats, side: int
) -> tuple[WindowSource, torch.Tensor]:
    """Windows of the labelled pixels that have data, and their labels 0…K−1 in the same order."""
    margin = side // 2
    blocks = labelled_blocks(scenes, pixels, margin)
    images = [stats.normalise(one.block, margin) for one in blocks]
    wanted = [torch.from_numpy(one.label > 0) for one in blocks]
    label = torch.cat(
        [torch.from_numpy(one.label)[want & image.core] for one, image, want in zip(blocks, images, wanted, strict=True)]
    )
    return WindowSource(images, side, wanted), label - 1
