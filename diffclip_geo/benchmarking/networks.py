"""The method of this package, in its presets and with parts of it taken away."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from .. import __version__
from ..classes import ClassTable
from ..classifier import Classifier
from ..devices import pick_device
from ..images import Image, SceneStats
from ..kernel_heads import head_weights
from ..margins import pad
from ..nearness import Spots, closeness_to, weigh
from ..nn.encoder import Encoder
from ..normalisation import Array
from ..palette import class_colors
from ..presets import Preset, load_preset
from ..pretraining import build_encoder, pretrain_windows
from ..prompts import class_prompts, load_texts
from ..sampling import LabelledBlock
from ..scenes import Block, inside
from ..tensorfiles import load_facts, load_tensors, save_tensors
from ..training import margin_of, train_classifier
from ..views import View, both_views, with_relatives
from ..windows import WindowSource
from .cases import Images, Int, Shots
from .protocol import Prediction

PRETRAINING_SEED = 0  # pretraining sees no label: once per scene is enough


@dataclass(frozen=True)
class NetworkMethod:
    """A preset with some settings changed."""

    name: str
    description: str
    preset: str = "compact"
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # table → setting → value
    prompt: str = "p5"
    head: str = "similarity"
    named: bool = True  # False: class numbers stand for the class names, so that texts say nothing
    pretrained: bool = True
    patches: int | None = None  # windows that pretraining sees; by default all of the scene
    whitened: bool = True  # False: standardised bands for encoder and kernel heads
    context: bool = True  # False: the kernel heads see single pixels
    device: str = "cpu"

    def settings(self) -> Preset:
        """The preset with the changes."""
        tables = load_preset(self.preset).to_dict()
        for table, values in self.changes.items():
            tables[table] = tables[table] | dict(values)
        return Preset.from_dict(tables)

    def prepare(self, images: Images, cache: Path | None) -> PreparedNetwork:
        """Normalisation, views and pretraining: everything before the labels."""
        preset = self.settings()
        seen = _see(
            images,
            margin_of(preset),
            preset.input.components,
            self.whitened,
            self.context,
            bool(head_weights(preset.blend)),
        )
        encoder, pretraining = self._encoder(images, seen.stats.image, preset, cache)
        return PreparedNetwork(
            self, images.classes, preset, seen.mosaic, seen.stats, seen.views, encoder, seen.seconds + pretraining
        )

    def _encoder(self, images: Images, image: Image, preset: Preset, cache: Path | None) -> tuple[Encoder, float]:
        """The pretrained encoder and the seconds it took, now or when it was put into the cache."""
        side = preset.encoder.window
        wanted = None if self.patches is None else [_some(image.core, self.patches)]
        source = WindowSource([image], side, wanted)
        encoder = build_encoder(preset, source.channels, PRETRAINING_SEED)
        if not self.pretrained:
            return encoder, 0.0
        tables = preset.to_dict()
        facts = {name: tables[name] for name in ("input", "encoder", "decoder", "pretraining")}
        facts |= {
            "scene": images.digest,
            "patches": self.patches,
            "whitened": self.whitened,
            "version": __version__,
            "device": self.device,
        }
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        file = None if cache is None else cache / f"{images.name}-{key}.safetensors"
        if file is not None and file.exists():
            encoder.load_state_dict(load_tensors(file))
            return encoder, float(load_facts(file)["seconds"])
        started = time.perf_counter()
        model, _ = pretrain_windows(source, preset, seed=PRETRAINING_SEED, device=pick_device(self.device))
        seconds = time.perf_counter() - started
        trained = model.encoder.cpu()
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(file, trained.state_dict(), {"seconds": seconds})
        return trained, seconds


@dataclass(frozen=True)
class PreparedNetwork:
    """A pretrained encoder and the scene as all trainings see it."""

    method: NetworkMethod
    classes: tuple[str, ...]
    preset: Preset
    mosaic: Mosaic
    stats: RememberedStats
    views: tuple[RememberedView, ...]
    encoder: Encoder
    seconds: float

    def fit(self, shots: Shots, seed: int) -> FittedNetwork:
        """Stage 2 and the kernel heads on the shots; classes without a shot are not known."""
        known = np.unique(shots.label)
        names = [self.classes[one - 1] for one in known]
        margin = margin_of(self.preset)
        label, group = (np.zeros(self.mosaic.core(margin).shape, np.int64) for _ in range(2))
        spots = self.mosaic.spots(*np.indices(label.shape).reshape(2, -1))
        where = self.mosaic.row[shots.index], self.mosaic.column[shots.index]
        label[where] = np.searchsorted(known, shots.label) + 1
        group[where] = shots.group
        texts = class_prompts(
            names if self.method.named else [str(one) for one in known], self.method.prompt, load_texts()
        )
        classifier, _ = train_classifier(
            self.encoder,
            self.stats,
            self.views,
            [LabelledBlock(self.mosaic.block, label, group, spots)],
            [self.mosaic.block],
            margin,
            ClassTable(tuple(names), tuple(class_colors(names))),
            texts,
            self.preset,
            head=self.method.head,
            seed=seed,
            device=pick_device(self.method.device),
        )
        return FittedNetwork(self, classifier, known, shots)


@dataclass(frozen=True)
class FittedNetwork:
    """A trained classifier and the classes 1…K that its own classes are."""

    prepared: PreparedNetwork
    classifier: Classifier
    known: Int
    shots: Shots

    def predict(self, pixels: Int) -> Prediction:
        """Classes and calibrated probabilities, of these pixels only."""
        mosaic, margin = self.prepared.mosaic, margin_of(self.prepared.preset)
        wanted = np.zeros(mosaic.core(margin).shape, bool)
        wanted[mosaic.row[pixels], mosaic.column[pixels]] = True
        probability = np.zeros((len(pixels), len(self.prepared.classes)), np.float32)
        found = probabilities_at(
            self.classifier, mosaic.block, margin, wanted, pick_device(self.prepared.method.device)
        )
        probability[:, self.known - 1] = self._weighed(found, pixels)
        score = probability[:, 1] if len(self.prepared.classes) == 2 else None
        return Prediction(probability.argmax(1) + 1, probability, score)

    def _weighed(self, probability: Array, pixels: Int) -> Array:
        """Probabilities `[N, known]` of pixels with the classifier's nearness to the shots."""
        nearness, mosaic = self.classifier.nearness, self.prepared.mosaic
        if nearness is None:
            return probability
        spots, near = (mosaic.spots(mosaic.row[some], mosaic.column[some]) for some in (pixels, self.shots.index))
        label = np.searchsorted(self.known, self.shots.label)
        closeness = closeness_to(spots, near, label, len(self.known), nearness.reach)
        return weigh(probability, nearness.weights(closeness))

    def state(self) -> dict[str, Any]:
        """Weights, text vectors, shots and coefficients of the kernels, the temperatures, and what nearness counts."""
        language = self.classifier.model
        state: dict[str, Any] = {f"image.{k}": v.numpy() for k, v in language.image.state_dict().items()}
        state |= {"text": language.text.numpy(), "language": [language.temperature, language.spread]}
        if language.head is not None:
            state |= {f"head.{k}": v.numpy() for k, v in language.head.state_dict().items()}
        for number, kernel in enumerate(self.classifier.kernels.heads if self.classifier.kernels else ()):
            state[f"kernel.{number}"] = kernel.coefficients
            for place, term in enumerate(kernel.terms):
                state |= {f"kernel.{number}.{place}.{name}": value for name, value in vars(term).items()}
        nearness = self.classifier.nearness
        return state | {
            "temperature": self.classifier.temperature,
            "nearness": 0.0 if nearness is None else nearness.strength,
            "known": self.known,
        }


class Seen(NamedTuple):
    """The images of a case as a method sees them, and the seconds it took to look."""

    mosaic: Mosaic
    stats: RememberedStats
    views: tuple[RememberedView, ...]
    seconds: float


@lru_cache(maxsize=1)  # methods that differ in what comes after it take turns on one scene
def _see(images: Images, margin: int, components: int, whitened: bool, context: bool, kernels: bool) -> Seen:
    """Normalisation and, for `kernels`, views."""
    started = time.perf_counter()
    mosaic = Mosaic.of(images.blocks, margin)
    blocks = [mosaic.block]
    stats = SceneStats.fit(blocks, components=components if whitened else 0)
    views: tuple[View, ...] = both_views(blocks, margin, components) if kernels else ()
    if not whitened:
        views = tuple(_without_whitening(view, mosaic.block, margin) for view in views)
    if not context:
        views = tuple(_without_context(view) for view in views)
    else:
        views = with_relatives(views, [block.valid.shape for block in images.blocks])
    kept = RememberedStats(stats.transforms, stats.normalise(mosaic.block, margin))
    remembered = tuple(RememberedView(**vars(view), features=view(mosaic.block, margin)) for view in views)
    return Seen(mosaic, kept, remembered, time.perf_counter() - started)


def probabilities_at(
    classifier: Classifier, block: Block, margin: int, wanted: NDArray[np.bool_], device: torch.device | str = "cpu"
) -> Array:
    """Probabilities of the `wanted` valid core pixels of a block, in row-major order; float32 `[pixels, K]`.

    Equal to those of `Classifier.probabilities` for the whole block, at the cost of these pixels alone.
    """
    valid = block.valid[margin : block.valid.shape[0] - margin, margin : block.valid.shape[1] - margin]
    image = classifier.stats.normalise(block, margin)
    picked = PickedImage(image.modalities, image.valid, image.margin, torch.from_numpy(wanted))
    stats = RememberedStats(classifier.stats.transforms, picked)
    views = tuple(
        RememberedView(view.transform, view.weights, view.relative, view(block, margin)[wanted[valid]])
        for view in classifier.views
    )
    return replace(classifier, stats=stats, views=views).probabilities(classifier.engine(device), block, margin)


@dataclass(frozen=True)
class PickedImage(Image):
    """An image of which only some core pixels are asked for; their windows still see all valid pixels."""

    wanted: torch.Tensor

    @property
    def core(self) -> torch.Tensor:
        """The valid core pixels that are asked for."""
        return super().core & self.wanted


@dataclass(frozen=True)
class RememberedStats(SceneStats):
    """The normalisation of one block, done once for all trainings on it."""

    image: Image

    def normalise(self, block: Block, margin: int) -> Image:
        """The image that was normalised before."""
        return self.image


@dataclass(frozen=True)
class RememberedView(View):
    """The view of one block, computed once for all trainings on it."""

    features: Array

    def __call__(self, block: Block, margin: int) -> Array:
        """The features that were computed before."""
        return self.features


@dataclass(frozen=True)
class Mosaic:
    """All images of a case in one block, below each other, each with its own margin so that none sees another.

    `row` and `column` place the pixels of the case, in their order, in the core of the block.
    """

    block: Block
    row: Int
    column: Int
    tops: tuple[int, ...]  # row of the core at which each image begins

    @classmethod
    def of(cls, blocks: Sequence[Block], margin: int) -> Mosaic:
        """Stack the blocks, the narrower ones filled up with invalid pixels."""
        widest = max(block.valid.shape[1] for block in blocks)
        padded, rows, columns, tops, top = [], [], [], [], 0
        for block in blocks:
            tops.append(top)
            height, width = block.valid.shape
            padded.append(pad(block, ((margin, margin), (margin, margin + widest - width))))
            row, column = np.indices((height, width))
            rows.append(row.ravel() + top)
            columns.append(column.ravel())
            top += height + 2 * margin
        parts = (np.concatenate([one[part] for one in padded], -2) for part in range(3))
        return cls(Block(*parts), np.concatenate(rows), np.concatenate(columns), tuple(tops))

    def core(self, margin: int) -> NDArray[np.bool_]:
        """Validity inside the outer margin."""
        return inside(self.block.valid, margin)

    def spots(self, row: Int, column: Int) -> Spots:
        """The places of core pixels; how the images lie to each other is not known."""
        return Spots(np.searchsorted(self.tops, row, side="right"), row.astype(np.float64), column.astype(np.float64))


def _some(core: torch.Tensor, count: int) -> torch.Tensor:
    """At most `count` of the marked pixels, at random, always the same ones."""
    marked = core.flatten().nonzero()[:, 0]
    order = torch.randperm(len(marked), generator=torch.Generator().manual_seed(PRETRAINING_SEED))
    chosen = torch.zeros(core.numel(), dtype=torch.bool)
    chosen[marked[order[:count]]] = True
    return chosen.view(core.shape)


def _without_context(view: View) -> View:
    """The view of single pixels: no smoothed components."""
    weights = np.zeros_like(view.weights)
    weights[0] = 1
    return replace(view, weights=weights)


def _without_whitening(view: View, block: Block, margin: int) -> View:
    """The view of standardised bands, in which each scale has the share of the variance that it has in `view`."""
    plain = View(replace(view.transform, mixing=None), np.ones_like(view.weights), False)
    share, spread = (_variances(one(block, margin), len(view.weights)) for one in (view, plain))
    return replace(plain, weights=np.sqrt(share / np.maximum(spread, 1e-12)).astype(np.float32))


def _variances(features: Array, scales: int) -> Array:
    """Total variance of the features of each scale, `[scales]`."""
    totals: Array = features.var(0).reshape(scales, -1).sum(1)
    return totals
