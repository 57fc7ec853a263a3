"""`demo`: the whole job on the built-in scene, judged against its full truth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ..atomic import check_outputs
from ..evaluation import Evaluation, evaluate
from ..maps import confidence_path
from ..quicklook import rgb_composite, write_quicklook
from ..scenes import Scene
from ..simulation import simulate
from .classify import Classification, classify
from .fewshot import fewshot
from .pretrain import pretrain


@dataclass(frozen=True)
class Demo:
    """What `demo` made."""

    evaluation: Evaluation
    classification: Classification
    picture: Path
    seconds: float


def demo(
    out: str | PathLike[str] = "diffclip-demo",
    *,
    preset: str = "compact",
    steps: int | None = None,
    size: tuple[int, int] = (128, 128),
    labels_per_class: int = 10,
    seed: int = 0,
    device: str = "auto",
    overwrite: bool = False,
    progress: bool = False,
    say: Callable[[str], None] | None = None,
) -> Demo:
    """Simulate a scene, learn it and its classes from a few points, map it, and compare the map with the truth.

    Everything goes to the folder `out`: scene, workspace, ``map.tif`` with its companions, ``accuracy.json`` and
    ``demo.png``, which shows image, map, confidence and truth. `preset`, `steps` and `device` are those of `pretrain`.

    Raises
    ------
    OutputError
        The folder holds files of an earlier demo and `overwrite` is not set.
    """
    started = time.perf_counter()
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    picture, report, label_map = folder / "demo.png", folder / "accuracy.json", folder / "map.tif"
    check_outputs([picture, report, label_map], overwrite)

    def announce(text: str) -> None:
        if say:
            say(text)

    announce("1/5 simulate: a town edge, with LiDAR, labels and truth")
    scene = simulate(folder / "scene", size=size, labels_per_class=labels_per_class, seed=seed, overwrite=overwrite)
    announce("2/5 pretrain: learn the scene without labels")
    workspace = folder / "work"
    pretrain(
        scene.hsi,
        scene.lidar,
        workspace=workspace,
        preset=preset,
        steps=steps,
        seed=seed,
        device=device,
        overwrite=overwrite,
        progress=progress,
    )
    announce(f"3/5 fewshot: learn {len(scene.classes)} classes from {labels_per_class} points each")
    fewshot(scene.labels, workspace=workspace, seed=seed, device=device, progress=progress, say=say)
    announce("4/5 classify: map every pixel")
    classification = classify(label_map, workspace=workspace, device=device, overwrite=overwrite, progress=progress)
    announce("5/5 evaluate: compare with the truth")
    found = evaluate(label_map, scene.truth, confidence=confidence_path(label_map), report=report, overwrite=overwrite)
    write_quicklook(
        label_map,
        picture,
        rgb=rgb_composite(Scene.open(scene.hsi)),
        confidence=confidence_path(label_map),
        truth=scene.truth,
        title=f"diffclip-geo demo: {found.oa:.1%} of pixels right from {labels_per_class} labels per class",
        overwrite=overwrite,
    )
    return Demo(found, classification, picture, time.perf_counter() - started)
