"""`fewshot`: learn the classes from a few labels."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from .. import __version__
from ..classifier import empty_encoder, save_classifier
from ..devices import pick_device
from ..errors import LabelError, OptionError
from ..grid import Grid
from ..images import SceneStats
from ..labels import LabelledPixels, keep_valid, read_labels
from ..language import HEADS, TrainingRecord
from ..merging import merge_labels
from ..plots import plot_losses, write_columns
from ..presets import Preset
from ..prompts import class_prompts, load_texts
from ..sampling import labelled_blocks, sample_blocks
from ..scenes import Scene
from ..tensorfiles import file_hash, load_tensors
from ..text_weights import clip_text_embeddings
from ..training import margin_of, train_classifier
from ..views import View
from ..workspace import Workspace

SCENE_SAMPLE = 2**14  # unlabelled pixels read again, to set the units of the scores


@dataclass(frozen=True)
class FewshotTraining:
    """What `fewshot` did."""

    workspace: Path
    pixels: LabelledPixels  # those it was trained on
    texts: tuple[str, ...]  # one per class
    losses: tuple[TrainingRecord, ...]
    seconds: float


def fewshot(
    labels: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    workspace: str | PathLike[str] = "diffclip-work",
    class_field: str | None = None,
    join: str | PathLike[str] | None = None,
    on: str | None = None,
    layer: str | None = None,
    legend: str | PathLike[str] | None = None,
    shots: int | None = None,
    prompt: str = "p5",
    texts: str | PathLike[str] | None = None,
    text_weights: str | PathLike[str] | None = None,
    head: str = "similarity",
    nearness: bool = True,
    seed: int = 0,
    device: str = "auto",
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> FewshotTraining:
    """Stage 2: align the pretrained encoder with the class texts on the labelled pixels, and write the classifier to
    the workspace.

    A classifier that the workspace holds already is replaced when training is done.

    Parameters
    ----------
    labels, class_field, join, on, layer, legend
        Points, polygons or a raster, see `labels.read_labels`; several files are joined. The other options are about
        the first of them; `class_field` is tried on the others too.
    shots
        Train on this many pixels per class, drawn with `seed` and spread over the polygons; all pixels by default.
    prompt, texts
        p1…p5 or a template with ``{class}``; descriptions for p5, a TOML file or a set by name, see `prompts`.
    text_weights
        File of pretrained CLIP text weights, used as they are; the map from its vectors to z_text is learned. By
        default a small text transformer is trained from scratch.
    head
        similarity, ldc or ldc-learned: class scores are similarities to the texts, or the LDC head corrects them.
    nearness
        Whether ground near a label may be the likelier to be of its class; how far it is, the labels show themselves.
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
    if not nearness:
        preset = replace(preset, blend=replace(preset.blend, nearness=0))
    scenes = [Scene.from_dict(one) for one in facts["scenes"]]
    chosen = pick_device(device)
    if shots is not None and shots < 1:
        raise OptionError("--shots", f"is {shots}", "give at least 1")
    if head not in HEADS:
        raise OptionError(f"--head {head}", "is not known", f"use one of {', '.join(HEADS)}")
    files = [Path(labels)] if isinstance(labels, str | PathLike) else [Path(one) for one in labels]
    grids = [scene.grid for scene in scenes]
    first = read_labels(
        files[0],
        grids,
        class_field=class_field,
        join=None if join is None else Path(join),
        on=on,
        layer=layer,
        legend=None if legend is None else Path(legend),
    )
    pixels = merge_labels([first, *(_read_further(one, grids, class_field) for one in files[1:])])
    if len(pixels.classes) < 2:
        fault = f"holds one class only, {pixels.classes.names[0]!r}"
        raise LabelError(files[0], fault, "label at least one more, or choose another field with --class-field")
    pixels = keep_valid(pixels, scenes)
    if shots is not None:
        pixels = pixels.sample(shots, seed)
    if say:
        say(pixels.table())
    count = _count(pixels, files[0])
    descriptions = class_prompts(pixels.classes.names, prompt, load_texts(texts))
    weights = None if text_weights is None else Path(text_weights)
    vectors = None if weights is None else clip_text_embeddings(weights, descriptions)
    encoder = empty_encoder(preset, facts["channels"])
    encoder.load_state_dict(load_tensors(place.encoder))
    margin = margin_of(preset)
    classifier, losses = train_classifier(
        encoder,
        stats,
        [View.from_dict(one) for one in facts["views"]],
        labelled_blocks(scenes, pixels, margin),
        sample_blocks(scenes, margin, budget=SCENE_SAMPLE, seed=seed),
        margin,
        pixels.classes,
        descriptions,
        preset,
        head=head,
        text_vectors=vectors,
        seed=seed,
        device=chosen,
        progress=progress,
    )
    if say and classifier.nearness is not None:
        say(f"Nearness: {classifier.nearness.describe()}.")
    curve = {"loss": [r.loss for r in losses]}
    write_columns(
        place.folder / "fewshot.csv",
        {"step": [r.step for r in losses], **curve, "learning_rate": [r.learning_rate for r in losses]},
    )
    plot_losses(place.folder / "fewshot.png", curve, "Few-shot training")
    write_columns(
        place.training_pixels,
        {
            "scene": pixels.scene.tolist(),
            "row": pixels.row.tolist(),
            "column": pixels.column.tolist(),
            "class": pixels.label.tolist(),
        },
    )
    seconds = time.perf_counter() - started
    save_classifier(
        place,
        classifier,
        {
            "version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "labels": " + ".join(str(one.resolve()) for one in files),
            "pixels": count,
            "prompt": prompt,
            "texts": descriptions,
            "text_weights": None if weights is None else {"path": str(weights.resolve()), "sha256": file_hash(weights)},
            "shots": shots,
            "seed": seed,
            "steps": len(losses),
            "final_loss": losses[-1].loss,
            "seconds": round(seconds, 1),
        },
    )
    return FewshotTraining(place.folder, pixels, tuple(descriptions), tuple(losses), seconds)


def _read_further(path: Path, grids: Sequence[Grid], class_field: str | None) -> LabelledPixels:
    """Labels of a file beside the first, which may call its class field otherwise."""
    if class_field is not None:
        with contextlib.suppress(LabelError):
            return read_labels(path, grids, class_field=class_field)
    return read_labels(path, grids)


def _count(pixels: LabelledPixels, labels: Path) -> list[int]:
    """Pixels per class. Raises LabelError when a class has none."""
    count: list[int] = pixels.counts().tolist()
    if 0 in count:
        lost = pixels.classes.names[count.index(0)]
        raise LabelError(labels, f"class {lost!r} has no pixel with data", "label it elsewhere or drop it")
    return count
