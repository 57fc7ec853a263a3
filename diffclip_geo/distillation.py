"""Distilling a student network from a classifier, on unlabelled pixels of the scene."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .classifier import Classifier
from .engines import Engine
from .fast import network_inputs, open_session
from .normalisation import Array
from .scenes import Block, inset, inside
from .sidebyside import one_thread
from .student import Refinement, Student, feature_model, view_features
from .views import REACH, View

HIDDEN = (64, 64)
EPOCHS = 90
LEAST_STEPS = 600
BATCH = 512
RATE = 3e-3  # peak of the learning rate
DECAY = 1e-4  # of weights
SHARPNESS = 4.0  # of the cross-entropy: soft labels in units of their spread are nearly hard ones
SHARE = 0.3  # of the cross-entropy, and of the part that the kernel heads leave out, in the loss
LEAST = 1e-9  # of the teacher's probabilities, before logarithms are taken
WANTED = 0.988  # share of pixels that are to have the teacher's class; doubt grows until it is reached
NEGLIGIBLE = 0.001  # or until more doubt would bring no more than this
DOUBTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)  # in units of the spread of log-probabilities

Layer = tuple[Array, Array]  # weight [out, in], bias [out]


@dataclass(frozen=True)
class Lesson:
    """Pixels as the student sees them, and what the teacher says of them."""

    features: Array  # [N, F]
    target: Array  # [N, K], log-probabilities whose mean over the classes is 0
    kernels: Array | None  # [N, K], scores of the kernel heads, with the same mean

    @classmethod
    def join(cls, lessons: Sequence[Lesson]) -> Lesson:
        """One after another."""
        kernels = [one.kernels for one in lessons if one.kernels is not None]
        return cls(
            np.concatenate([one.features for one in lessons]),
            np.concatenate([one.target for one in lessons]),
            np.concatenate(kernels) if kernels else None,
        )


@dataclass(frozen=True)
class Teacher:
    """What lessons are made with: the exact engine, and the part of the student below its network."""

    classifier: Classifier
    engine: Engine
    views: tuple[View, ...]
    session: onnxruntime.InferenceSession

    @classmethod
    def of(cls, classifier: Classifier, engine: Engine, views: Sequence[View], bands: int, layers: int) -> Teacher:
        """For images of so many bands and LiDAR layers. The classifier's own views come first."""
        return cls(
            classifier,
            engine,
            tuple(views),
            open_session(feature_model(views, bands, layers).SerializeToString()),
        )

    def lesson(self, block: Block, margin: int) -> Lesson:
        """On the valid core pixels of a block that was read with `margin`, at least that of engine and student."""
        probabilities = self.engine.probabilities(block, margin)
        near = inset(block, margin - REACH)
        height, width = near.valid.shape
        inputs = network_inputs(near)
        features = self.session.run(None, inputs)[0].reshape(
            -1, inputs["valid"].shape[0] - 2 * REACH, width - 2 * REACH
        )
        features = features[:, : height - 2 * REACH][:, inside(block.valid, margin)].T
        return Lesson(features, _centred(np.log(np.maximum(probabilities, LEAST))), self._kernels(features))

    def _kernels(self, features: Array) -> Array | None:
        heads = self.classifier.kernels
        if heads is None:
            return None
        return _centred(heads([view_features(features, self.views, number) for number in range(len(self.views))]))


def distil_student(
    teacher: Teacher, training: Lesson, validation: Lesson, bands: int, layers: int, *, seed: int = 0
) -> Student:
    """Train a student on one lesson, and choose on another what counts as doubt. Deterministic given the seed."""
    unit = max(float(training.target.std(0).mean()), 1e-6)
    gain, left_out = _split(training)
    network = _train(training, left_out, unit, seed)
    plain = Student(teacher.views, bands, layers, network.hidden, network.output)
    heads = teacher.classifier.kernels
    if heads is None or validation.kernels is None:
        return plain
    hidden = _activations(plain, validation.features)
    scores = _applied(plain.output, hidden)
    decided = gain * validation.kernels + _applied(network.rest, hidden)
    doubt = _least_doubt(scores, decided, validation.target.argmax(1), unit)
    if not doubt:
        return plain
    refinement = Refinement(heads, gain, network.rest, doubt)
    return Student(teacher.views, bands, layers, network.hidden, network.output, refinement)


def share_in_doubt(student: Student, features: Array) -> float:
    """Of pixels with these features `[N, F]`, the share that the kernel heads decide."""
    if student.refinement is None:
        return 0.0
    lead = _lead(_applied(student.output, _activations(student, features)))
    return float((lead < student.refinement.doubt).mean())


@dataclass(frozen=True)
class _Network:
    """Layers that take features as they are and give log-probabilities."""

    hidden: tuple[Layer, ...]
    output: Layer
    rest: Layer


def _split(lesson: Lesson) -> tuple[float, Array]:
    """The gain of the kernel scores that leaves least of the target, and what it leaves `[N, K]`."""
    if lesson.kernels is None:
        return 0.0, lesson.target
    square = float((lesson.kernels.astype(np.float64) ** 2).sum())
    gain = float((lesson.kernels.astype(np.float64) * lesson.target).sum()) / max(square, 1e-12)
    return gain, (lesson.target - gain * lesson.kernels).astype(np.float32)


def _train(lesson: Lesson, left_out: Array, unit: float, seed: int) -> _Network:
    """Fit the network to the target, and a second output to what the kernel heads leave out of it."""
    mean, spread = lesson.features.mean(0), lesson.features.std(0) + 1e-6
    small = max(float(left_out.std(0).mean()), 1e-6)
    inputs = torch.from_numpy(((lesson.features - mean) / spread).astype(np.float32))
    target, rest = torch.from_numpy(lesson.target / unit), torch.from_numpy(left_out / small)
    soft = (target * SHARPNESS).softmax(1)
    classes = target.shape[1]
    steps = max(LEAST_STEPS, EPOCHS * len(inputs) // BATCH)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = [inputs.shape[1], *HIDDEN, 2 * classes]
        linears = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        network = nn.Sequential(*(part for one in linears[:-1] for part in (one, nn.ReLU())), linears[-1])
        optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps + 1, pct_start=0.1)
        for which in _batches(len(inputs), steps):
            scores, more = network(inputs[which]).split(classes, 1)
            loss = F.mse_loss(_level(scores), target[which])
            loss = loss + SHARE * F.cross_entropy(scores * SHARPNESS, soft[which])
            loss = loss + SHARE * F.mse_loss(_level(more), rest[which])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    first, *others, last = [(_array(one.weight), _array(one.bias)) for one in linears]
    folded = (first[0] / spread, first[1] - (first[0] / spread) @ mean)  # the network takes features as they are
    return _Network(
        (folded, *others),
        (last[0][:classes] * unit, last[1][:classes] * unit),
        (last[0][classes:] * small, last[1][classes:] * small),
    )


def _least_doubt(scores: Array, decided: Array, label: Array, unit: float) -> float:
    """The least lead below which pixels had better be decided by the kernel heads, so that enough have their `label`.

    `scores` and `decided` `[N, K]` are what the network and the kernel heads say.
    """
    lead, right, helped = _lead(scores), scores.argmax(1) == label, decided.argmax(1) == label
    same = [float(np.where(lead < doubt * unit, helped, right).mean()) for doubt in DOUBTS]
    enough = min(WANTED, same[-1] - NEGLIGIBLE)
    return unit * next(doubt for doubt, share in zip(DOUBTS, same, strict=True) if share >= enough)


def _activations(student: Student, features: Array) -> Array:
    """Of the last hidden layer; `[N, F]` → `[N, hidden]`."""
    for layer in student.hidden:
        features = np.maximum(_applied(layer, features), 0)
    return features


def _lead(scores: Array) -> Array:
    """Of the first class over the second; `[N, K]` → `[N]`."""
    second, first = np.partition(scores, -2, axis=1)[:, -2:].T
    lead: Array = first - second
    return lead


def _batches(count: int, steps: int) -> Iterator[Tensor]:
    """Random batches, in which every item comes equally often."""
    per_epoch = max(1, count // BATCH)
    order = torch.randperm(count)
    for step in range(steps):
        place = step % per_epoch
        if place == 0:
            order = torch.randperm(count)
        yield order[place * BATCH : (place + 1) * BATCH]


def _level(scores: Tensor) -> Tensor:
    return scores - scores.mean(1, keepdim=True)


def _centred(scores: Array) -> Array:
    centred: Array = (scores - scores.mean(1, keepdims=True)).astype(np.float32)
    return centred


def _applied(layer: Layer, rows: Array) -> Array:
    weight, bias = layer
    result: Array = rows @ weight.T + bias
    return result


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().numpy()
    return array
