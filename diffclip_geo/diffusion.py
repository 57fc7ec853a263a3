"""The forward diffusion process and the masks of stage 1 (Ho et al., NeurIPS 2020; Zhang et al., AAAI 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class LinearSchedule:
    """β rises linearly from `first` to `last` over `steps` timesteps; with no steps there is no noise."""

    steps: int = 1000
    first: float = 1e-4
    last: float = 0.02

    @cached_property
    def betas(self) -> Tensor:
        """β_1 … β_T; float64 `[T]`, element t−1 belongs to timestep t."""
        return torch.linspace(self.first, self.last, self.steps, dtype=torch.float64)

    @cached_property
    def alphas_cumprod(self) -> Tensor:
        """ᾱ_0 … ᾱ_T with ᾱ_0 = 1 and ᾱ_t = ∏_{s≤t} (1 − β_s); float64 `[T + 1]`, indexed by the timestep itself."""
        return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - self.betas, 0)])

    def sample_timesteps(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Timesteps uniform in 1…T, all 0 for T = 0; int64 `[count]`."""
        return torch.randint(min(1, self.steps), self.steps + 1, (count,), generator=generator)


def diffuse(x: Tensor, timestep: Tensor, noise: Tensor, schedule: LinearSchedule) -> Tensor:
    """Draw from q(x_t | x_0): x_t = √ᾱ_t · x_0 + √(1 − ᾱ_t) · ε.

    `x` and `noise` are `[B, …]`, `timestep` is `[B]` in 0…T; timestep 0 returns `x` itself.
    """
    kept = schedule.alphas_cumprod.to(x.device)[timestep.to(x.device)].view(-1, *[1] * (x.dim() - 1))
    return kept.sqrt().to(x.dtype) * x + (1 - kept).sqrt().to(x.dtype) * noise


def split_tokens(
    batch: int, tokens: int, mask_ratio: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Split each sample's tokens at random into visible and masked ones.

    Returns indices (visible `[B, V]`, masked `[B, M]`), each ascending, with M = round(mask_ratio · tokens) and V =
    tokens − M ≥ 1.
    """
    visible = max(1, tokens - round(mask_ratio * tokens))
    order = torch.rand(batch, tokens, generator=generator).argsort(1)
    return order[:, :visible].sort(1).values, order[:, visible:].sort(1).values
