import math

import pytest
import torch

from diffclip_geo.diffusion import LinearSchedule, diffuse, split_tokens


def test_betas_rise_linearly_over_all_timesteps():
    schedule = LinearSchedule()
    expected = [1e-4 + (t - 1) * (0.02 - 1e-4) / 999 for t in range(1, 1001)]
    assert schedule.betas.tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("steps", [1000, 50])
def test_cumulative_alphas_are_the_product_of_one_minus_beta(steps):
    product, expected = 1.0, [1.0]
    for t in range(1, steps + 1):
        product *= 1 - (1e-4 + (t - 1) * (0.02 - 1e-4) / (steps - 1))
        expected.append(product)
    assert LinearSchedule(steps).alphas_cumprod.tolist() == pytest.approx(expected, rel=1e-10)


def test_a_thousand_timesteps_end_in_pure_noise():
    assert LinearSchedule().alphas_cumprod[1000] == pytest.approx(4.0358e-5, rel=1e-3)  # Ho et al.: about 4e-5


def test_moments_of_the_forward_process_match_the_closed_form():
    schedule, generator = LinearSchedule(), torch.Generator().manual_seed(0)
    count = 100_000
    for t in (1, 100, 500, 1000):
        kept = math.prod(1 - (1e-4 + s * (0.02 - 1e-4) / 999) for s in range(t))
        x = torch.tensor([-1.5, 0.0, 2.0]).expand(count, 3)
        noise = torch.randn(count, 3, generator=generator)
        drawn = diffuse(x, torch.full((count,), t), noise, schedule)
        error = 5 * math.sqrt((1 - kept) / count)  # five standard errors
        assert drawn.mean(0).tolist() == pytest.approx([math.sqrt(kept) * v for v in (-1.5, 0, 2)], abs=error)
        assert drawn.var(0).tolist() == pytest.approx([1 - kept] * 3, rel=0.03)


def test_every_sample_has_its_own_timestep():
    schedule = LinearSchedule()
    x, noise, timestep = torch.ones(3, 2, 4), torch.full((3, 2, 4), 2.0), torch.tensor([0, 10, 1000])
    drawn = diffuse(x, timestep, noise, schedule)
    for sample, t in enumerate(timestep.tolist()):
        kept = math.prod(1 - (1e-4 + s * (0.02 - 1e-4) / 999) for s in range(t))
        torch.testing.assert_close(drawn[sample], torch.full((2, 4), math.sqrt(kept) + 2 * math.sqrt(1 - kept)))


def test_timestep_zero_is_the_clean_image():
    x = torch.randn(2, 5, 3)
    assert torch.equal(diffuse(x, torch.zeros(2, dtype=torch.long), torch.randn(2, 5, 3), LinearSchedule()), x)


def test_timesteps_are_uniform_from_one_to_the_last():
    drawn = LinearSchedule(10).sample_timesteps(20_000, torch.Generator().manual_seed(0))
    count = torch.bincount(drawn, minlength=11)
    assert count[0] == 0 and len(count) == 11
    assert ((count[1:] - 2000).abs() < 5 * math.sqrt(2000)).all()


@pytest.mark.parametrize(("tokens", "ratio", "masked"), [(121, 0.7, 85), (25, 0.7, 18), (9, 0.0, 0), (9, 1.0, 8)])
def test_tokens_are_split_into_visible_and_masked_ones(tokens, ratio, masked):
    seen, hidden = split_tokens(64, tokens, ratio, torch.Generator().manual_seed(0))
    assert hidden.shape == (64, masked) and seen.shape == (64, tokens - masked)
    both = torch.cat([seen, hidden], 1)
    assert torch.equal(both.sort(1).values, torch.arange(tokens).expand(64, -1))
    assert torch.equal(seen, seen.sort(1).values) and torch.equal(hidden, hidden.sort(1).values)


def test_the_split_is_random_for_each_sample_and_fair_to_each_token():
    seen, _ = split_tokens(8000, 20, 0.7, torch.Generator().manual_seed(0))
    share = torch.bincount(seen.flatten(), minlength=20) / 8000
    assert (share - 0.3).abs().max() < 0.03
    assert len({tuple(row) for row in seen[:50].tolist()}) > 40
