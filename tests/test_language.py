import numpy as np
import pytest
import torch
from tiny import tiny_preset

from diffclip_geo.images import Image
from diffclip_geo.language import Batch, step_rate, train_language_model, training_steps
from diffclip_geo.pretraining import build_encoder
from diffclip_geo.windows import WindowSource

TEXTS = ["a patch of a tree.", "a patch of a road.", "a patch of some water."]


@pytest.fixture(scope="module")
def scene():
    """Three strips of ground that differ in both modalities, and their classes 0, 1, 2."""
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 6)[:, None].repeat(8, 1)
    level = np.pad(label - 1.0, 2)[..., None]
    valid = torch.from_numpy(np.pad(np.ones(label.shape, bool), 2))
    pixels = [
        torch.from_numpy((level * scale + 0.2 * rng.normal(size=(*valid.shape, 1))).astype(np.float32))
        * valid[..., None]
        for scale in (np.array([1, -1, 0.5]), np.array([1]))
    ]
    return Image(tuple(pixels), valid, 2), torch.from_numpy(label.flatten())


def train(scene, seed=0, **fewshot):
    image, label = scene
    preset = tiny_preset(fewshot=fewshot)
    source = WindowSource([image], 5)
    encoder = build_encoder(preset, source.channels, 0)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    model, records = train_language_model(encoder, source, label, source, TEXTS, preset, seed=seed)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())  # a copy was tuned
    return model, records, source, label


def test_windows_meet_the_text_of_their_class(scene):
    model, records, source, label = train(scene, least_steps=60, learning_rate=3e-3)
    with torch.inference_mode():
        embedded = model.image(source.gather(torch.arange(len(source))))
    assert ((embedded @ model.text.T).argmax(1) == label).float().mean() > 0.95
    assert records[-1].loss < records[0].loss / 2


def test_cached_text_and_image_vectors_have_unit_norm(scene):
    model, _, source, _ = train(scene)
    torch.testing.assert_close(model.text.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(model.image(source.gather(torch.arange(5))).norm(dim=-1), torch.ones(5))
    assert not model.text.requires_grad and not model.image.training
    assert model.temperature == 0.07


def test_the_seed_alone_decides(scene):
    torch.manual_seed(1)
    first, losses, *_ = train(scene, seed=4)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, again, *_ = train(scene, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    assert losses == again and torch.equal(first.text, second.text)
    for a, b in zip(first.image.state_dict().values(), second.image.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(train(scene, seed=5)[0].text, first.text)


def test_batches_are_balanced_over_the_classes_and_turned_in_register(scene, monkeypatch):
    image, label = scene
    few = torch.cat([torch.arange(48), torch.tensor([60, 100])])  # 48 of class 0, one each of the others
    wanted = torch.zeros(len(label), dtype=torch.bool)
    wanted[few] = True
    source = WindowSource([image], 5, [wanted.view(18, 8)])
    drawn, turned = [], []
    gather = source.gather

    def spy(which, symmetry=None):
        drawn.append(label[few][which])
        turned.append(symmetry)
        return gather(which, symmetry)

    monkeypatch.setattr(source, "gather", spy)
    preset = tiny_preset(fewshot={"batch": 64})
    encoder = build_encoder(preset, source.channels, 0)
    train_language_model(encoder, source, label[few], WindowSource([image], 5), TEXTS, preset)
    share = torch.bincount(torch.cat(drawn), minlength=3) / (64 * 6)
    assert (share - 1 / 3).abs().max() < 0.1
    assert set(torch.cat(turned).tolist()) == set(range(8))


def test_the_centre_is_among_the_cells_shown(scene, monkeypatch):
    from diffclip_geo.nn.fusion import ImageEncoder

    shown = []
    forward = ImageEncoder.forward

    def spy(self, windows, visible=None):
        shown.append(visible)
        return forward(self, windows, visible)

    monkeypatch.setattr(ImageEncoder, "forward", spy)
    train(scene, visible=0.3)
    parts = [visible for visible in shown if visible is not None]
    assert len(parts) == 18 and all(visible.shape == (8, 8) for visible in parts)  # 0.3 of 25 cells
    assert all((visible[:, 0] == 12).all() for visible in parts)
    assert all(len(set(row)) == 8 for visible in parts for row in visible.tolist())
    shown.clear()
    train(scene, visible=1.0)
    assert all(visible is None for visible in shown)


def test_the_epochs_count_but_a_handful_of_labels_gets_its_least_steps():
    settings = tiny_preset(fewshot={"epochs": 10, "least_steps": 25, "batch": 8}).fewshot
    assert training_steps(settings, 4) == 25
    assert training_steps(settings, 24) == 30
    assert training_steps(settings, 25) == 40
    assert training_steps(settings, 100_000) == settings.most_steps


def test_the_learning_rate_steps_down_after_a_half_and_three_quarters():
    rate = [step_rate(step, 200, 1.0) for step in range(200)]
    assert rate[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rate[10:100] == [1.0] * 90
    assert rate[100:150] == pytest.approx([0.3] * 50) and rate[150:] == pytest.approx([0.09] * 50)


@pytest.mark.parametrize("visible", [1.0, 0.4])
def test_each_label_of_a_batch_meets_the_window_of_its_pixel(scene, visible):
    image, label = scene
    source = WindowSource([image], 5)
    weight = torch.zeros(len(label))
    weight[[3, 60]] = 1.0
    settings = tiny_preset(fewshot={"batch": 64, "visible": visible}).fewshot
    batch = Batch.draw(source, weight, settings, torch.Generator().manual_seed(0))
    assert len(batch.pixel) == 64 and set(batch.pixel.tolist()) == {3, 60}
    centre = 12 if batch.visible is None else 0
    for windows, whole in zip(batch.windows, source.gather(batch.pixel), strict=True):
        shown = windows[batch.window]
        torch.testing.assert_close(shown[:, centre], whole[:, 12])
        if batch.visible is None:  # every symmetry keeps the pixels of a window
            torch.testing.assert_close(shown.sort(1).values, whole.sort(1).values)


def test_labels_that_are_drawn_twice_share_a_window(scene):
    image, label = scene
    weight = torch.zeros(len(label))
    weight[5] = 1.0
    settings = tiny_preset(fewshot={"batch": 64, "visible": 1.0}).fewshot
    batch = Batch.draw(WindowSource([image], 5), weight, settings, torch.Generator().manual_seed(0))
    assert len(batch.windows[0]) == 8 and len(batch.pixel) == 64
