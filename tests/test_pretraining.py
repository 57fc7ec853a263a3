import math
from itertools import pairwise

import pytest
import torch
from tiny import random_image, tiny_preset

from diffclip_geo import pretraining
from diffclip_geo.pretraining import (
    Checkpoint,
    build_encoder,
    build_mask_diffusion,
    cosine_rate,
    pretrain_windows,
    restore_samples,
)
from diffclip_geo.windows import WindowSource

FACTS = {"scenes": [{"origin": (0.0, 0.5), "nodata": math.nan}], "seed": 3}  # a scene's facts hold tuples and NaN


@pytest.fixture
def source():
    return WindowSource([random_image(seed=1), random_image(8, 8, seed=2)], 5)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def interrupted(source, preset, path, after, facts=FACTS):
    """Start training and stop it by Ctrl-C after so many steps."""

    def stop(record):
        if record.step == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain_windows(source, preset, seed=3, checkpoint=Checkpoint(path, facts), on_step=stop)


@pytest.mark.parametrize("after", [1, 3, 5])
def test_an_interrupted_training_resumes_to_the_weights_of_an_undisturbed_one(source, tmp_path, monkeypatch, after):
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 2)
    preset, path = tiny_preset(), tmp_path / "checkpoint.safetensors"
    whole, losses = pretrain_windows(source, preset, seed=3)
    interrupted(source, preset, path, after)
    assert path.is_file() == (after >= 3)
    began = []
    resumed, again = pretrain_windows(
        source, preset, seed=3, checkpoint=Checkpoint(path, FACTS), resume=True, on_step=lambda r: began.append(r.step)
    )
    assert began[0] == (after - 1) // 2 * 2 + 1  # steps before the checkpoint are not done again
    assert_equal(weights(whole), weights(resumed))
    assert losses == again


def test_a_checkpoint_of_another_training_is_not_taken_up(source, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 2)
    path = tmp_path / "checkpoint.safetensors"
    interrupted(source, tiny_preset(), path, 5, FACTS | {"seed": 4})
    began = []
    pretrain_windows(
        source,
        tiny_preset(),
        seed=3,
        checkpoint=Checkpoint(path, FACTS),
        resume=True,
        on_step=lambda record: began.append(record.step),
    )
    assert began == [1, 2, 3, 4, 5, 6]


def test_training_starts_anew_unless_asked_to_resume(source, tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 2)
    path = tmp_path / "checkpoint.safetensors"
    interrupted(source, tiny_preset(), path, 5)
    began = []
    pretrain_windows(source, tiny_preset(), checkpoint=Checkpoint(path, FACTS), on_step=lambda r: began.append(r.step))
    assert began[0] == 1


def test_the_seed_alone_decides(source):
    torch.manual_seed(1)
    first, losses = pretrain_windows(source, tiny_preset(), seed=5)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, again = pretrain_windows(source, tiny_preset(), seed=5)
    assert torch.equal(torch.get_rng_state(), state)  # and the caller's random numbers are left alone
    assert_equal(weights(first), weights(second))
    assert losses == again
    other, _ = pretrain_windows(source, tiny_preset(), seed=6)
    assert not torch.equal(weights(first)["encoder.class_token"], weights(other)["encoder.class_token"])


def test_the_loss_goes_down(source):
    preset = tiny_preset(pretraining={"steps": 60, "learning_rate": 3e-3})
    _, losses = pretrain_windows(source, preset)
    total = [r.denoising + r.restoration for r in losses]
    assert [r.step for r in losses] == list(range(1, 61))
    assert sum(total[-10:]) < 0.8 * sum(total[:10])


def test_the_preset_fixes_the_network(source):
    preset = tiny_preset(decoder={"depth": 3}, pretraining={"mask_ratio": 0.5, "timesteps": 20})
    model = build_mask_diffusion(preset, source.channels, 0)
    assert (len(model.encoder.blocks), len(model.decoders), len(model.decoders[0].blocks)) == (2, 2, 3)
    assert (model.mask_ratio, model.schedule.steps, model.encoder.config.window) == (0.5, 20, 5)
    assert_equal(weights(build_encoder(preset, (3, 1), 0)), weights(model.encoder))


def test_the_learning_rate_warms_up_and_falls_along_a_half_cosine():
    rate = [cosine_rate(step, 100, 2.0) for step in range(100)]
    assert rate[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert rate[5] == pytest.approx(2.0)
    assert rate[5 + 19] == pytest.approx(1 + math.cos(math.pi * 0.2))
    assert all(a > b for a, b in pairwise(rate[5:]))
    assert 0 < rate[-1] < 0.01
    assert cosine_rate(0, 1, 2.0) == 2.0


def test_samples_show_what_the_encoder_sees_and_what_it_makes_of_it(source):
    model, _ = pretrain_windows(source, tiny_preset())
    for modality, channels in enumerate((3, 1)):
        samples = restore_samples(model, source, modality, count=3)
        assert len(samples) == 3
        assert all(a.timestep < b.timestep for a, b in pairwise(samples))
        for sample in samples:
            assert sample.clean.shape == sample.noised.shape == sample.restored.shape == (5, 5, channels)
            seen = ~sample.noised.isnan().all(-1)
            assert seen.sum() == 25 - round(0.7 * 25)
            assert sample.restored.isfinite().all()
        light = samples[0]
        kept = model.schedule.alphas_cumprod[light.timestep].sqrt()
        seen = ~light.noised.isnan()
        assert (light.noised - kept * light.clean)[seen].std() < 1  # the clean pixel, noised, on its own cell
