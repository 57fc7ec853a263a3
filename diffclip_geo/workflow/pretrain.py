"""`pretrain`: learn scenes from unlabelled pixels and open a workspace."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from .. import __version__
from ..devices import pick_device
from ..errors import OptionError, WorkspaceError
from ..images import SceneStats
from ..nn.mask_diffusion import MaskDiffusion
from ..plots import plot_losses, plot_restorations, write_columns
from ..presets import load_preset
from ..pretraining import Checkpoint, LossRecord, pretrain_windows, restore_samples
from ..sampling import sample_blocks
from ..scenes import Paths, Scene, agree, find_scenes, notes_of
from ..tensorfiles import save_tensors
from ..training import fit_views, margin_of, window_image
from ..views import with_relatives
from ..windows import WindowSource
from ..workspace import Workspace


@dataclass(frozen=True)
class Pretraining:
    """What `pretrain` did."""

    workspace: Path
    scenes: tuple[Scene, ...]
    windows: int  # valid pixels that windows were drawn from
    losses: tuple[LossRecord, ...]
    seconds: float


def pretrain(
    scene: Paths,
    lidar: Paths = (),
    *,
    workspace: str | PathLike[str] = "diffclip-work",
    preset: str = "compact",
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    mask: str | Path | None = None,
    bad_bands: str = "",
    allow_partial: bool = False,
    derive: str | Sequence[str] = (),
    grid: str = "image",
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> Pretraining:
    """Stage 1: train the shared encoder on windows of one or more scenes, and write it to the workspace.

    Parameters
    ----------
    scene, lidar
        Paths or glob patterns, see `scenes.find_scenes`. Several scenes must share their bands.
    steps
        Optimiser steps, instead of the preset's.
    mask
        Raster on any grid; pixels where it is 0 are left out.
    derive
        Layers to compute from the first LiDAR raster, here and whenever a scene is mapped: see `derived.LAYERS`.
    grid
        "image", or "lidar" to interpolate the image to the grid of the first LiDAR raster, which must be finer.
    resume
        Go on from the checkpoint of an interrupted run with the same inputs and settings, if there is one.
    overwrite
        Replace a workspace that holds a finished pretraining.
    say
        Called with what was understood of the rasters, line by line.

    Raises
    ------
    RasterError
        A raster cannot be used, or lies elsewhere.
    WorkspaceError
        The workspace is finished already, or cannot be written.
    """
    started = time.perf_counter()
    place = Workspace(Path(workspace))
    settings = load_preset(preset)
    if steps is not None:
        if steps < 1:
            raise OptionError("--steps", f"is {steps}", "give at least 1")
        settings = dataclasses.replace(settings, pretraining=dataclasses.replace(settings.pretraining, steps=steps))
    if place.manifest.exists() and not (overwrite or resume):
        raise WorkspaceError(
            place.folder, "holds a pretrained scene already", "use --overwrite, or another --workspace"
        )
    chosen = pick_device(device)
    scenes = agree(
        [
            Scene.open(
                hsi, layers, mask=mask, bad_bands=bad_bands, allow_partial=allow_partial, derive=derive, grid=grid
            )
            for hsi, layers in find_scenes(scene, lidar)
        ]
    )
    if say:
        for note in notes_of(scenes):
            say(note)
    margin = margin_of(settings)
    blocks = sample_blocks(scenes, margin, seed=seed)
    stats = SceneStats.fit(blocks, components=settings.input.components)
    views = with_relatives(fit_views(blocks, margin, settings), [one.grid.shape for one in scenes])
    side = settings.encoder.window
    source = WindowSource([window_image(stats, block, margin, side // 2) for block in blocks], side)
    place.create()
    described = [one.to_dict() for one in scenes]
    fingerprint = {"scenes": described, "preset": settings.to_dict(), "seed": seed, "version": __version__}
    model, losses = pretrain_windows(
        source,
        settings,
        seed=seed,
        device=chosen,
        checkpoint=Checkpoint(place.checkpoint, fingerprint),
        resume=resume,
        progress=progress,
    )
    _draw(place, model, source, losses)
    for stale in (place.classifier_manifest, place.classifier):  # they belong to another encoder
        stale.unlink(missing_ok=True)
    save_tensors(place.encoder, model.encoder.state_dict())
    seconds = time.perf_counter() - started
    place.write(
        place.manifest,
        {
            "version": __version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "scenes": described,
            "channels": list(source.channels),
            "stats": stats.to_dict(),
            "views": [view.to_dict() for view in views],
            "preset_name": preset,
            "preset": settings.to_dict(),
            "seed": seed,
            "steps": len(losses),
            "windows": len(source),
            "final_loss": losses[-1].denoising + losses[-1].restoration,
            "seconds": round(seconds, 1),
        },
    )
    place.checkpoint.unlink(missing_ok=True)
    return Pretraining(place.folder, tuple(scenes), len(source), tuple(losses), seconds)


def _draw(place: Workspace, model: MaskDiffusion, source: WindowSource, losses: Sequence[LossRecord]) -> None:
    """Write the training record and its pictures."""
    curves = {
        "denoising (visible)": [r.denoising for r in losses],
        "restoration (masked)": [r.restoration for r in losses],
    }
    write_columns(place.folder / "pretraining.csv", {"step": [r.step for r in losses], **curves})
    plot_losses(place.folder / "pretraining.png", curves, "Masked diffusion")
    names = ("image", "LiDAR")
    for modality, channels in enumerate(source.channels):
        plot_restorations(
            place.folder / f"pretraining_{names[modality].lower()}.png",
            restore_samples(model, source, modality),
            (0, 1, 2) if channels >= 3 else (0,),
            f"Windows of the {names[modality]}",
        )
