import threading

import pytest
import torch
from tiny import random_image, tiny_preset

from diffclip_geo import sidebyside
from diffclip_geo.language import train_language_model
from diffclip_geo.pretraining import build_encoder, build_mask_diffusion, pretrain_windows, step_generator
from diffclip_geo.sidebyside import PART, add_up, gradients, side_by_side
from diffclip_geo.windows import WindowSource


def test_parts_add_up_to_the_gradient_of_the_batch():
    network = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 1))
    unused = torch.nn.Parameter(torch.ones(2))
    parameters = [*network.parameters(), unused]
    batch = torch.randn(3 * PART - 2, 5)
    network(batch).square().mean().backward()
    expected = [parameter.grad for parameter in parameters]
    with side_by_side("cpu") as crew:
        slices = crew.slices(len(batch))
        assert [part.stop - part.start for part in slices] == [PART, PART, PART - 2]
        outputs = crew.map(lambda part: network(batch[part]), slices)
        given = [2 * output.detach() / len(batch) for output in outputs]
        add_up(parameters, crew.map(lambda output, by: gradients(output, parameters, by), outputs, given))
    assert unused.grad is None and expected[-1] is None
    for parameter, gradient in zip(parameters[:-1], expected, strict=False):
        assert torch.allclose(parameter.grad, gradient, atol=1e-6)


def test_operations_stay_on_the_threads_of_the_parts(monkeypatch):
    monkeypatch.setattr(sidebyside, "cores", lambda: 3)
    before = torch.get_num_threads()
    gate = threading.Barrier(3, timeout=10)  # passed only by three at a time

    def part(_):
        gate.wait()
        return torch.get_num_threads()

    with side_by_side("cpu") as crew:
        assert crew.map(part, range(3)) == [1, 1, 1] and torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_a_gpu_takes_a_batch_whole():
    with side_by_side("meta") as crew:
        assert crew.slices(100) == [slice(0, 100)]
        assert crew.map(lambda part: threading.current_thread() is threading.main_thread(), [0]) == [True]


def test_the_number_of_cores_changes_no_byte_of_a_training(monkeypatch):
    source = WindowSource([random_image()], 5)
    batch = {"batch": 2 * PART + 3}
    preset = tiny_preset(pretraining=batch, fewshot=batch)
    label = torch.arange(len(source)) % 3
    results = []
    for count in (1, 4):
        monkeypatch.setattr(sidebyside, "cores", lambda count=count: count)
        diffusion, losses = pretrain_windows(source, preset)
        model, records = train_language_model(
            build_encoder(preset, source.channels, 0), source, label, source, ["a", "b", "c"], preset
        )
        tensors = [*diffusion.state_dict().values(), *model.image.state_dict().values(), model.text]
        results.append((b"".join(tensor.numpy().tobytes() for tensor in tensors), losses, records))
    assert results[0] == results[1]


def test_losses_are_those_of_the_whole_batch():
    source = WindowSource([random_image()], 5)
    preset = tiny_preset(pretraining={"batch": 2 * PART + 3, "steps": 1})
    _, (record,) = pretrain_windows(source, preset, seed=4)
    model, generator = build_mask_diffusion(preset, source.channels, 4), step_generator(4, 0)
    which = torch.randint(len(source), (2 * PART + 3,), generator=generator)
    windows = source.gather(which, torch.randint(8, (len(which),), generator=generator))
    losses = model(windows, model.corrupt(windows, generator))
    assert record.denoising == pytest.approx(losses.denoising.item(), rel=1e-5)
    assert record.restoration == pytest.approx(losses.restoration.item(), rel=1e-5)


def test_both_sides_of_the_language_model_learn():
    source = WindowSource([random_image()], 5)
    label = torch.arange(len(source)) % 3
    models = []
    for steps in (1, 5):
        preset = tiny_preset(fewshot={"batch": 2 * PART, "least_steps": steps, "most_steps": steps})
        encoder = build_encoder(preset, source.channels, 0)
        models.append(train_language_model(encoder, source, label, source, ["a", "b", "c"], preset)[0])
    first, later = models
    assert (first.text - later.text).abs().max() > 1e-3
    assert (first.image.projection.weight - later.image.projection.weight).abs().max() > 1e-3
