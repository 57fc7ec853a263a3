"""Stage 2: few-shot language-driven classification (FLC) of windows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from .nn.encoder import Encoder
from .nn.fusion import ImageEncoder, contrastive_loss
from .nn.text import TextEncoder, compact_vocabulary, encode_tokens, tokenize
from .presets import FewshotSettings, Preset
from .pretraining import step_generator
from .windows import WindowSource

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
    """A trained image encoder and the cached unit vectors of the class texts, `[K, D]`: all that inference needs."""

    image: ImageEncoder
    text: Tensor
    temperature: float
    spread: float  # mean standard deviation of the logits over unlabelled pixels

    def scores(self, embedded: Tensor) -> NDArray[np.float32]:
        """z_image·z_text / τ of embedded pixels `[pixels, D]`, in units of their spread over the scene; `[pixels,
        K]`.
        """
        logits: NDArray[np.float32] = (embedded @ self.text.T / self.temperature / self.spread).numpy()
        return logits


def training_steps(settings: FewshotSettings, labelled: int) -> int:
    """Steps of stage 2: the epochs, but never so few that a handful of labels leaves the network where it started."""
    per_epoch = -(-labelled // settings.batch)
    return max(settings.least_steps, settings.epochs * per_epoch)


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
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> tuple[LanguageModel, list[TrainingRecord]]:
    """Fine-tune a copy of the encoder so that each labelled window meets the text of its class.

    `label` `[N]` in 0…K−1 belongs to the pixels of `source` in order, `texts` holds one text per class. Batches are
    balanced over the classes; windows are turned and mirrored at random, all modalities alike. Deterministic given the
    seed. The spread of the logits is measured on unlabelled windows of `scene`.
    """
    settings = preset.fewshot
    tokens = tokenize(texts)
    vocabulary = compact_vocabulary(tokens)
    words = encode_tokens(tokens, vocabulary).to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 2)
        image = ImageEncoder(copy.deepcopy(encoder), settings.text_width, centre=settings.centre)
        text = TextEncoder(
            len(vocabulary),
            words.shape[1],
            settings.text_width,
            settings.text_depth,
            settings.text_heads,
            settings.text_width,
        )
    image, text = image.to(device).train(), text.to(device).train()
    parameters = [*image.parameters(), *text.parameters()]
    optimiser = torch.optim.Adam(parameters, settings.learning_rate, weight_decay=settings.weight_decay)
    steps = training_steps(settings, len(label))
    weight = 1 / torch.bincount(label, minlength=len(texts)).clamp(min=1)[label].float()
    cells = source.side**2
    shown = max(1, round(settings.visible * cells))
    records = []
    for step in tqdm(range(steps), desc="fewshot", unit="step", disable=not progress):
        rate = step_rate(step, steps, settings.learning_rate)
        for group in optimiser.param_groups:
            group["lr"] = rate
        generator = step_generator(seed, step)
        which = torch.multinomial(weight, settings.batch, replacement=True, generator=generator)
        symmetry = torch.randint(8, (settings.batch,), generator=generator)
        windows = [w.to(device) for w in source.gather(which, symmetry)]
        visible = None
        if shown < cells:
            order = torch.rand(settings.batch, cells, generator=generator)
            order[:, cells // 2] = -1  # the centre is always shown, and first
            visible = order.argsort(1)[:, :shown].to(device)
            windows = [w.gather(1, visible[..., None].expand(-1, -1, w.shape[-1])) for w in windows]
        loss = contrastive_loss(image(windows, visible), text(words), label[which].to(device), settings.temperature)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        records.append(TrainingRecord(step + 1, loss.item(), rate))
    with torch.inference_mode():
        embeddings = text.eval()(words).cpu()
        image = image.eval()
        which = torch.randint(len(scene), (SPREAD_SAMPLE,), generator=torch.Generator().manual_seed(seed))
        embedded = torch.cat([image([w.to(device) for w in scene.gather(part)]).cpu() for part in which.split(256)])
        spread = float((embedded @ embeddings.T / settings.temperature).std(0).mean())
    return LanguageModel(image.cpu(), embeddings.clone(), settings.temperature, max(spread, 1e-6)), records
