"""Stage 1: learn a scene from unlabelled windows by masked diffusion."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from .diffusion import LinearSchedule
from .nn.encoder import Encoder, EncoderConfig
from .nn.mask_diffusion import Corruption, Losses, MaskDiffusion
from .presets import Preset
from .sidebyside import Gradients, add_up, gradients, side_by_side
from .tensorfiles import load_facts, load_tensors, optimiser_tensors, restore_optimiser, save_tensors
from .windows import WindowSource

CHECKPOINT_EVERY = 50  # steps


@dataclass(frozen=True)
class LossRecord:
    """Losses of one step, each the sum over the modalities of a mean squared error in units of the scene's variance."""

    step: int
    denoising: float
    restoration: float


def build_encoder(preset: Preset, channels: Sequence[int], seed: int) -> Encoder:
    """A freshly initialised encoder; the same seed gives the same weights."""
    settings = preset.encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(
            EncoderConfig(
                tuple(channels), settings.window, settings.width, settings.depth, settings.heads, settings.mlp_ratio
            )
        )


def build_mask_diffusion(preset: Preset, channels: Sequence[int], seed: int) -> MaskDiffusion:
    """The encoder with its decoders, freshly initialised."""
    encoder = build_encoder(preset, channels, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return MaskDiffusion(
            encoder,
            decoder_width=preset.decoder.width,
            decoder_depth=preset.decoder.depth,
            decoder_heads=preset.decoder.heads,
            mask_ratio=preset.pretraining.mask_ratio,
            schedule=LinearSchedule(preset.pretraining.timesteps),
        )


def cosine_rate(step: int, steps: int, peak: float, warmup: float = 0.05) -> float:
    """Learning rate at `step` (from 0): linear warm-up over a share of the steps, then a half cosine down to 0."""
    start = max(1, round(warmup * steps))
    if step < start:
        return peak * (step + 1) / start
    return peak * 0.5 * (1 + math.cos(math.pi * (step - start) / max(1, steps - start)))


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one training step, the same whether or not training was interrupted before it."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


class Checkpoint:
    """The state of an interrupted pretraining in one file."""

    def __init__(self, path: Path, facts: dict[str, object]) -> None:
        self.path, self.facts = path, facts

    def save(self, model: MaskDiffusion, optimiser: torch.optim.Optimizer, records: Sequence[LossRecord]) -> None:
        """Write weights, optimiser and losses so far."""
        tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | optimiser_tensors(optimiser)
        losses = [[r.denoising, r.restoration] for r in records]
        save_tensors(self.path, tensors, {"fingerprint": self.facts, "losses": losses})

    def load(self, model: MaskDiffusion, optimiser: torch.optim.Optimizer) -> list[LossRecord]:
        """Put model and optimiser back; empty when there is no checkpoint, or one of another training."""
        if not self.path.is_file():
            return []
        facts = load_facts(self.path)
        if _canonical(facts.get("fingerprint")) != _canonical(self.facts):
            return []
        tensors = load_tensors(self.path)
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        restore_optimiser(optimiser, tensors)
        return [LossRecord(i + 1, *pair) for i, pair in enumerate(facts["losses"])]


def _canonical(facts: object) -> str:
    """Facts as text, in which tuples are lists and NaN (a nodata value) equals itself, as before and after a file."""
    return json.dumps(facts, sort_keys=True)


def pretrain_windows(
    source: WindowSource,
    preset: Preset,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    checkpoint: Checkpoint | None = None,
    resume: bool = False,
    progress: bool = False,
    on_step: Callable[[LossRecord], None] | None = None,
) -> tuple[MaskDiffusion, list[LossRecord]]:
    """Train encoder and decoders on windows drawn uniformly from all valid pixels, turned and mirrored at random.

    Deterministic given the seed (on one device), also across an interruption and `resume`, and whatever the number of
    CPU cores.
    """
    settings = preset.pretraining
    model = build_mask_diffusion(preset, source.channels, seed).to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    records = checkpoint.load(model, optimiser) if checkpoint and resume else []
    bar = tqdm(
        range(len(records), settings.steps),
        desc="pretrain",
        initial=len(records),
        total=settings.steps,
        unit="step",
        disable=not progress,
    )
    parameters = list(model.parameters())
    with side_by_side(device) as crew:
        for step in bar:
            for group in optimiser.param_groups:
                group["lr"] = cosine_rate(step, settings.steps, settings.learning_rate)
            generator = step_generator(seed, step)
            which = torch.randint(len(source), (settings.batch,), generator=generator)
            symmetry = torch.randint(8, (settings.batch,), generator=generator)
            windows = [w.to(device, non_blocking=True) for w in source.gather(which, symmetry)]
            part = partial(_part, model, parameters, windows, model.corrupt(windows, generator))
            losses, found = zip(*crew.map(part, crew.slices(len(which))), strict=True)
            add_up(parameters, found)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)  # one glint must not undo the steps before it
            optimiser.step()
            record = LossRecord(
                step + 1,
                sum(one.denoising.item() for one in losses),
                sum(one.restoration.item() for one in losses),
            )
            records.append(record)
            bar.set_postfix(loss=f"{record.denoising + record.restoration:.3f}", refresh=False)
            if on_step:
                on_step(record)
            if checkpoint and (step + 1) % CHECKPOINT_EVERY == 0:
                checkpoint.save(model, optimiser, records)
    return model.eval(), records


def _part(
    model: MaskDiffusion,
    parameters: Sequence[Tensor],
    windows: Sequence[Tensor],
    corruptions: Sequence[Corruption],
    where: slice,
) -> tuple[Losses, Gradients]:
    """What some windows contribute to the losses of the batch, and to the gradients of their sum."""
    mine = model([w[where] for w in windows], [one.part(where) for one in corruptions])
    share = len(windows[0][where]) / len(windows[0])
    losses = Losses(share * mine.denoising, share * mine.restoration)
    return Losses(*(loss.detach() for loss in losses)), gradients(losses.total, parameters)


@dataclass(frozen=True)
class Restoration:
    """One window as stage 1 sees it; each picture float32 `[side, side, C]`, NaN where the encoder sees nothing."""

    clean: Tensor
    noised: Tensor
    restored: Tensor
    timestep: int


@torch.inference_mode()
def restore_samples(
    model: MaskDiffusion, source: WindowSource, modality: int, *, count: int = 4, seed: int = 0
) -> list[Restoration]:
    """Corrupt and restore `count` random windows, to be looked at; timesteps are spread from light to heavy noise."""
    from .diffusion import diffuse
    from .nn.mask_diffusion import pick

    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(len(source), (count,), generator=generator)
    device = next(model.parameters()).device
    windows = [w.to(device) for w in source.gather(which)]
    corruption = model.corrupt(windows, generator)[modality]
    timestep = torch.linspace(0.05, 0.6, count).mul(model.schedule.steps).long().to(device)
    corruption = corruption._replace(timestep=timestep)
    pixels, side = windows[modality], source.side
    seen = diffuse(pick(pixels, corruption.visible), timestep, corruption.noise, model.schedule)
    noised = torch.full_like(pixels, torch.nan).scatter(1, corruption.visible[..., None].expand_as(seen), seen)
    restored = model.restore(pixels, modality, corruption)
    shape = (side, side, pixels.shape[-1])
    pictures = [t.view(count, *shape).cpu() for t in (pixels, noised, restored)]
    return [Restoration(clean, seen, whole, int(t)) for clean, seen, whole, t in zip(*pictures, timestep, strict=True)]
