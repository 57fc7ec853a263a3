"""Stage 2: few-shot language-driven classification (FLC) of windows."""

from __future__ import annotations

import copy
import dataclasses
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from .errors import OptionError
from .exact import MICRO_BATCH, equal_batches
from .nn.encoder import Encoder
from .nn.fusion import ImageEncoder, contrastive_loss
from .nn.ldc import AdapterFusion, LDCConfig, LDCHead, ldc_loss
from .nn.text import ProjectedTexts, TextEncoder, compact_vocabulary, encode_tokens, tokenize
from .presets import FewshotSettings, Preset
from .pretraining import step_generator
from .sidebyside import add_up, gradients, side_by_side
from .windows import WindowSource

HEADS = ("similarity", "ldc", "ldc-learned")  # cosines alone; the LDC head, its block weights fixed or learned
SPREAD_SAMPLE = 1024  # unlabelled windows
DECAY = 0.3  # factor of the learning rate after one half and three quarters of the steps


@dataclass(frozen=True)
class TrainingRecord:
    """One step of stage 2."""

    step: int
    loss: float
    learning_rate: float


@dataclass(frozen=True)
class LanguageModel:
    """A trained image encoder, the cached unit vectors of the class texts, `[K, D]`, and the LDC head if there is one:
    all that inference needs.
    """

    image: ImageEncoder
    text: Tensor
    temperature: float
    spread: float  # mean standard deviation of the logits over unlabelled pixels
    head: LDCHead | None = None

    @property
    def fusion(self) -> AdapterFusion | None:
        """The part of the head that works on tokens, for the engine."""
        return None if self.head is None else self.head.fusion

    @torch.inference_mode()
    def scores(self, embedded: Tensor) -> NDArray[np.float32]:
        """Logits of pixels `[pixels, K]`, in units of their spread over the scene: z_image·z_text / τ, or what the head
        makes of it.

        `embedded` is what the engine gives: z_image `[pixels, D]`, followed by the enhanced feature for a head.
        """
        if not len(embedded):
            return np.zeros((0, len(self.text)), np.float32)
        logits = torch.cat([self._logits(piece) for piece in equal_batches(embedded, MICRO_BATCH)])[: len(embedded)]
        scores: NDArray[np.float32] = (logits / self.spread).numpy()
        return scores

    def _logits(self, embedded: Tensor) -> Tensor:
        z_image, feature = embedded.tensor_split([self.text.shape[1]], 1)
        similarity = z_image @ self.text.T / self.temperature
        return similarity if self.head is None else self.head(similarity, feature).fused


def training_steps(settings: FewshotSettings, labelled: int) -> int:
    """Steps of stage 2: the epochs, within bounds.

    A handful of labels must not leave the network where it started, nor may whole polygons take hours.
    """
    per_epoch = -(-labelled // settings.batch)
    return min(max(settings.least_steps, settings.epochs * per_epoch), settings.most_steps)


def step_rate(step: int, steps: int, peak: float) -> float:
    """Step schedule of the learning rate, with a short linear warm-up."""
    warm = min(1.0, (step + 1) / max(1, steps // 20))
    return peak * warm * DECAY ** ((step >= steps // 2) + (step >= 3 * steps // 4))


def train_language_model(
    encoder: Encoder,
    source: WindowSource,
    label: Tensor,
    scene: WindowSource,
    texts: Sequence[str],
    preset: Preset,
    *,
    head: str = "similarity",
    text_vectors: Tensor | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> tuple[LanguageModel, list[TrainingRecord]]:
    """Fine-tune a copy of the encoder so that each labelled window meets the text of its class.

    `label` `[N]` in 0…K−1 belongs to the pixels of `source` in order, `texts` holds one text per class. Batches are
    balanced over the classes; windows are turned and mirrored at random, all modalities alike. Deterministic given the
    seed. The spread of the logits is measured on unlabelled windows of `scene`. `head` is one of `HEADS`. With
    `text_vectors` `[K, E]`, of a pretrained text tower, a linear map of them is learned in place of a text transformer.
    The number of CPU cores changes nothing.
    """
    settings = preset.fewshot
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 2)
        image = ImageEncoder(copy.deepcopy(encoder), settings.text_width, centre=settings.centre)
        text, words = _text_side(texts, text_vectors, settings)
        ldc = build_head(head, preset, len(source.channels), len(texts))
    image, text, words = image.to(device).train(), text.to(device).train(), words.to(device)
    parameters = [*image.parameters(), *text.parameters()]
    if ldc is not None:
        ldc = ldc.to(device).train()
        parameters += ldc.parameters()
    optimiser = torch.optim.Adam(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    steps = training_steps(settings, len(label))
    weight = 1 / torch.bincount(label, minlength=len(texts)).clamp(min=1)[label].float()
    records = []
    with side_by_side(device) as crew:
        for step in tqdm(range(steps), desc="fewshot", unit="step", disable=not progress):
            rate = step_rate(step, steps, settings.learning_rate)
            for group in optimiser.param_groups:
                group["lr"] = rate
            batch = Batch.draw(source, weight, settings, step_generator(seed, step))
            windows = [w.to(device) for w in batch.windows]
            visible = None if batch.visible is None else batch.visible.to(device)
            forward = [partial(text, words)]
            forward += [
                partial(_embed_part, image, ldc, windows, visible, part) for part in crew.slices(len(windows[0]))
            ]
            outputs = crew.map(operator.call, forward)
            leaves = [output.detach().requires_grad_() for output in outputs]
            z_text, wanted = leaves[0], label[batch.pixel].to(device)
            embedded = torch.cat(leaves[1:])[batch.window.to(device)]
            z_image, feature = embedded.tensor_split([settings.text_width], 1)
            loss = contrastive_loss(z_image, z_text, wanted, settings.temperature)
            if ldc is not None:
                similarity = z_image @ z_text.T / settings.temperature
                loss = loss + ldc_loss(ldc(similarity, feature), similarity, wanted)
            given = gradients(loss, [*leaves, *parameters])
            parts = crew.map(lambda one, by: gradients(one, parameters, by), outputs, given[: len(leaves)])
            add_up(parameters, [given[len(leaves) :], *parts])
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            records.append(TrainingRecord(step + 1, loss.item(), rate))
    with torch.inference_mode():
        embeddings = text.eval()(words).cpu()
        image, ldc = image.eval(), None if ldc is None else ldc.eval()
        which = torch.randint(len(scene), (SPREAD_SAMPLE,), generator=torch.Generator().manual_seed(seed))
        embedded = torch.cat(
            [_embed(image, ldc, [w.to(device) for w in scene.gather(part)]).cpu() for part in which.split(256)]
        )
    model = LanguageModel(
        image.cpu(), embeddings.clone(), settings.temperature, 1.0, None if ldc is None else ldc.cpu()
    )
    spread = float(model.scores(embedded).std(0, ddof=1).mean())
    return dataclasses.replace(model, spread=max(spread, 1e-6)), records


class Batch(NamedTuple):
    """What one step of stage 2 sees."""

    pixel: Tensor  # labelled pixels by index, int64 [B]
    window: Tensor  # the window of each of them, int64 [B]
    windows: Sequence[Tensor]  # turned, [W, V, C] for each modality
    visible: Tensor | None  # the cells that are shown, int64 [W, V]; None: all, in order

    @classmethod
    def draw(cls, source: WindowSource, weight: Tensor, settings: FewshotSettings, generator: torch.Generator) -> Batch:
        """Labelled pixels at random, by weight. Those that are drawn twice, turned alike, share a window: from a few
        shots, many do.
        """
        pixel = torch.multinomial(weight, settings.batch, replacement=True, generator=generator)
        symmetry = torch.randint(8, (settings.batch,), generator=generator)
        cells = source.side**2
        shown = max(1, round(settings.visible * cells))
        if shown == cells:
            turned, window = torch.unique(8 * pixel + symmetry, return_inverse=True)
            return cls(pixel, window, source.gather(turned // 8, turned % 8), None)
        order = torch.rand(settings.batch, cells, generator=generator)
        order[:, cells // 2] = -1  # the centre is always shown, and first
        visible = order.argsort(1)[:, :shown]
        windows = [w.gather(1, visible[..., None].expand(-1, -1, w.shape[-1])) for w in source.gather(pixel, symmetry)]
        return cls(pixel, torch.arange(settings.batch), windows, visible)


def _embed(
    image: ImageEncoder, ldc: LDCHead | None, windows: Sequence[Tensor], visible: Tensor | None = None
) -> Tensor:
    """z_image of windows, followed by the enhanced feature for a head, as from the engine."""
    if ldc is None:
        return image(windows, visible)
    z_image, levels = image.with_levels(windows, visible)
    return torch.cat([z_image, ldc.fusion(levels)], 1)


def _embed_part(
    image: ImageEncoder, ldc: LDCHead | None, windows: Sequence[Tensor], visible: Tensor | None, where: slice
) -> Tensor:
    return _embed(image, ldc, [w[where] for w in windows], None if visible is None else visible[where])


def build_head(head: str, preset: Preset, modalities: int, classes: int) -> LDCHead | None:
    """The head called `head`, untrained; None for "similarity", which needs none. Raises OptionError."""
    if head not in HEADS:
        raise OptionError(f"head {head!r}", "is not known", f"use one of {', '.join(HEADS)}")
    if head == "similarity":
        return None
    encoder = preset.encoder
    return LDCHead(
        LDCConfig(encoder.width, encoder.depth, modalities, classes, preset.fewshot.temperature, head == "ldc-learned")
    )


def head_name(head: LDCHead | None) -> str:
    """The name by which `build_head` makes one like it."""
    if head is None:
        return "similarity"
    return "ldc-learned" if head.config.learned else "ldc"


def _text_side(texts: Sequence[str], vectors: Tensor | None, settings: FewshotSettings) -> tuple[nn.Module, Tensor]:
    """The network that makes z_text, and what it takes."""
    if vectors is not None:
        return ProjectedTexts(vectors.shape[1], settings.text_width), vectors
    tokens = tokenize(texts)
    vocabulary = compact_vocabulary(tokens)
    words = encode_tokens(tokens, vocabulary)
    width = settings.text_width
    return TextEncoder(len(vocabulary), words.shape[1], width, settings.text_depth, settings.text_heads, width), words
