"""From a pretrained encoder, views and labelled blocks to a classifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .classes import ClassTable
from .classifier import Classifier
from .conformal import HeldOutShots
from .images import Image, SceneStats
from .kernel_heads import fit_kernel_heads, head_weights
from .language import TrainingRecord, train_language_model
from .nearness import Nearness, Spots, closeness_without, fit_weight
from .nn.encoder import Encoder
from .normalisation import Array
from .presets import Preset
from .sampling import LabelledBlock
from .scenes import Block, inset, inside
from .temperature import map_temperature, softmax
from .views import REACH, View, both_views
from .windows import WindowSource

MOST_SHOTS = 3000  # of the kernel heads: their cost grows with the square
SCENE_SAMPLE = 8000  # unlabelled pixels that set the units of the scores


def train_classifier(
    encoder: Encoder,
    stats: SceneStats,
    views: Sequence[View],
    labelled: Iterable[LabelledBlock],
    scene: Sequence[Block],
    margin: int,
    classes: ClassTable,
    texts: Sequence[str],
    preset: Preset,
    *,
    head: str = "similarity",
    text_vectors: Tensor | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> tuple[Classifier, list[TrainingRecord]]:
    """Stage 2 and the kernel heads on the valid labelled pixels; `scene` holds unlabelled blocks. All were read with
    `margin`.

    Every class must have a valid pixel. Nothing but the labelled pixels and unlabelled data enters: the weights of the
    kernel heads and the temperature come from the scores that shots get when they are left out, and how much nearness
    counts, too; where pixels have no place it does not. `head` and `text_vectors` are those of `train_language_model`.
    """
    side = preset.encoder.window
    shown = [_Shown.of(one, stats, views, margin, side // 2) for one in labelled]
    label = np.concatenate([one.label for one in shown])
    group = np.concatenate([one.group for one in shown])
    shots = WindowSource([one.image for one in shown], side, [torch.from_numpy(one.wanted) for one in shown])
    unlabelled = WindowSource([window_image(stats, block, margin, side // 2) for block in scene], side)
    model, losses = train_language_model(
        encoder,
        shots,
        torch.from_numpy(label),
        unlabelled,
        texts,
        preset,
        head=head,
        text_vectors=text_vectors,
        seed=seed,
        device=device,
        progress=progress,
    )
    blend = preset.blend
    if not views:
        return Classifier(classes, stats, model, (), None, blend, blend.language / model.spread), losses
    rng = np.random.default_rng(seed)
    kept = _fair_sample(label, MOST_SHOTS, rng)
    mine: list[Array] = []
    pixels: list[Array] = []
    for number, view in enumerate(views):
        everything = np.concatenate([view(block, margin) for block in scene])
        if not pixels:
            sample = np.sort(rng.permutation(len(everything))[:SCENE_SAMPLE])
        pixels.append(everything[sample])
        mine.append(np.concatenate([one.features[number] for one in shown])[kept])
    scales = len(views[0].weights)
    kernels, scores = fit_kernel_heads(blend, mine, label[kept], group[kept], len(classes), pixels, scales)
    far, near, spread, weight = scores.far, scores.near, scores.spread, 0.0
    if blend.nearness and all(one.spots is not None for one in shown):
        spots = Spots.join([one.spots for one in shown if one.spots is not None]).take(kept)
        groups = group[kept], np.arange(len(kept))
        without = [closeness_without(spots, label[kept], each, len(classes), blend.nearness) for each in groups]
        weight = fit_weight(far, without[0], label[kept], spread)
        far, near = far + weight * without[0], near + weight * without[1]
    # The language model is not trained again without each shot: its share is taken to widen the scores as independent
    # scores of unit spread would, and the temperature with them.
    narrow = map_temperature(far, near, label[kept], spread)
    held_out = HeldOutShots.of(softmax(far / narrow), label[kept], group[kept])
    temperature = narrow * float(np.hypot(spread, blend.language)) / spread
    nearness = Nearness(weight / temperature, blend.nearness) if weight else None
    return Classifier(classes, stats, model, tuple(views), kernels, blend, temperature, held_out, nearness), losses


@dataclass(frozen=True)
class _Shown:
    """What training sees of a labelled block."""

    image: Image  # with the margin of a window
    wanted: NDArray[np.bool_]  # labelled and valid, [h, w]
    label: NDArray[np.int64]  # 0…K−1, [N]
    group: NDArray[np.int64]  # [N]
    features: tuple[Array, ...]  # [N, F] of each view
    spots: Spots | None

    @classmethod
    def of(cls, one: LabelledBlock, stats: SceneStats, views: Sequence[View], margin: int, radius: int) -> _Shown:
        valid = inside(one.block.valid, margin)
        wanted = (one.label > 0) & valid
        return cls(
            window_image(stats, one.block, margin, radius),
            wanted,
            one.label[wanted] - 1,
            one.group[wanted],
            tuple(view(one.block, margin)[wanted[valid]] for view in views),
            None if one.spots is None else one.spots.take(np.flatnonzero(wanted)),
        )


def window_image(stats: SceneStats, block: Block, margin: int, radius: int) -> Image:
    """The image of a block that was read with `margin`, with no more of it than windows of this radius see."""
    return stats.normalise(inset(block, margin - radius), radius)


def margin_of(preset: Preset) -> int:
    """Pixels of context that windows and views need around a block."""
    return max(REACH, preset.encoder.window // 2)


def fit_views(blocks: Sequence[Block], margin: int, preset: Preset) -> tuple[View, ...]:
    """The views that the preset's blend asks for: both, or none."""
    return both_views(blocks, margin, preset.input.components) if head_weights(preset.blend) else ()


def _fair_sample(label: NDArray[np.integer], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Indices, ascending, of at most so many pixels, of all classes in turn, so that a rare class loses none."""
    order = rng.permutation(len(label))
    turn = np.zeros(len(label), np.int64)
    for one in np.unique(label):
        mine = label[order] == one
        turn[mine] = np.arange(mine.sum())
    return np.sort(order[np.argsort(turn, kind="stable")[:most]])
