import copy

import pytest
import torch

from diffclip_geo.nn.encoder import Encoder, EncoderConfig


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(EncoderConfig((3, 1), window=5, width=16, depth=2, heads=2)).eval()


@pytest.mark.parametrize("modality", [0, 1])
@pytest.mark.parametrize("depth", [1, 3])
def test_the_summary_equals_the_same_tokens_of_the_full_pass(modality, depth):
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig((3, 1), window=5, width=16, depth=depth, heads=2)).eval()
    for parameter in encoder.parameters():  # biases and norms start at 0 and 1, where a forgotten one would not show
        torch.nn.init.normal_(parameter, std=0.3)
    pixels = torch.randn(7, 25, (3, 1)[modality])
    whole, projected = encoder(pixels, modality), encoder.project(pixels, modality)
    torch.testing.assert_close(encoder.summarise(projected, False), whole[:, :1], rtol=1e-4, atol=1e-5)
    class_token_and_centre_cell = whole[:, [0, 1 + 12]]
    torch.testing.assert_close(encoder.summarise(projected, True), class_token_and_centre_cell, rtol=1e-4, atol=1e-5)


def test_the_summary_of_visible_cells_takes_the_first_for_the_centre():
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig((3, 1), window=5, width=16, depth=2, heads=2)).eval()
    pixels, visible = torch.randn(4, 7, 3), torch.stack([torch.randperm(25)[:7] for _ in range(4)])
    whole = encoder(pixels, 0, visible=visible)
    summary = encoder.summarise(encoder.project(pixels, 0), True, visible)
    torch.testing.assert_close(summary, whole[:, [0, 1]], rtol=1e-4, atol=1e-5)


def test_features_are_given_for_the_class_token_and_each_pixel(encoder):
    assert encoder(torch.randn(4, 25, 3), 0).shape == (4, 26, 16)
    assert encoder(torch.randn(4, 7, 1), 1, visible=torch.arange(7).expand(4, -1)).shape == (4, 8, 16)
    assert len(encoder.features(torch.randn(4, 25, 3), 0)) == 2


def test_without_a_timestep_the_image_is_taken_for_clean(encoder):
    pixels = torch.randn(4, 25, 3)
    zero = encoder(pixels, 0, timestep=torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(encoder(pixels, 0), zero)
    assert (encoder(pixels, 0, timestep=torch.full((4,), 400)) - zero).abs().max() > 1e-3


def test_each_sample_gets_its_own_timestep(encoder):
    pixels, timestep = torch.randn(3, 25, 3), torch.tensor([1, 40, 900])
    together = encoder(pixels, 0, timestep=timestep)
    for sample in range(3):
        alone = encoder(pixels[sample : sample + 1], 0, timestep=timestep[sample : sample + 1])
        torch.testing.assert_close(together[sample : sample + 1], alone)


def test_tokens_are_told_apart_by_their_cell_not_by_their_order(encoder):
    pixels, visible = torch.randn(2, 6, 3), torch.tensor([[0, 3, 7, 11, 20, 24]] * 2)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    straight = encoder(pixels, 0, visible=visible)
    shuffled = encoder(pixels[:, order], 0, visible=visible[:, order])
    torch.testing.assert_close(shuffled[:, 0], straight[:, 0])
    torch.testing.assert_close(shuffled[:, 1:], straight[:, 1:][:, order])
    assert (encoder(pixels, 0, visible=visible.flip(1))[:, 0] - straight[:, 0]).abs().max() > 1e-3


def test_all_cells_in_order_are_the_default(encoder):
    pixels = torch.randn(2, 25, 3)
    torch.testing.assert_close(encoder(pixels, 0), encoder(pixels, 0, visible=torch.arange(25).expand(2, -1)))


def test_modalities_differ_in_their_projection_only(encoder):
    per_modality = {name for name, _ in encoder.named_parameters() if name.startswith("projections.")}
    assert per_modality == {f"projections.{m}.{part}" for m in (0, 1) for part in ("weight", "bias")}
    other = copy.deepcopy(encoder)
    other.projections = torch.nn.ModuleList([torch.nn.Linear(2, 16), encoder.projections[0]])
    pixels = torch.randn(2, 25, 3)
    assert torch.equal(other(pixels, 1), encoder(pixels, 0))  # what is projected no longer knows its modality
