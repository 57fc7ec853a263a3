"""The folded encoder gives what the network gives."""

import pytest
import torch

from diffclip_geo.nn.encoder import Encoder, EncoderConfig
from diffclip_geo.nn.folded import FoldedEncoder
from diffclip_geo.nn.fusion import ImageEncoder
from diffclip_geo.nn.ldc import AdapterFusion, LDCConfig

CHANNELS = (3, 1)


def network(depth=2, centre=True, channels=CHANNELS):
    """A network whose biases and norms are not 0 and 1, where a forgotten one would not show."""
    torch.manual_seed(0)
    config = EncoderConfig(channels, 5, width=16, depth=depth, heads=2)
    return random(ImageEncoder(Encoder(config), 6, centre=centre)).eval()


def random(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module


def windows(channels=CHANNELS, count=7):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(count, 25, size, generator=generator) for size in channels]


@torch.inference_mode()
def folded(model, given, fusion=None):
    encoder = FoldedEncoder(model, fusion)
    result = encoder([encoder.project(pixels, modality) for modality, pixels in enumerate(given)])
    assert result.shape == (len(given[0]), encoder.features)
    return result


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("channels", [(3, 1), (4,)])
def test_z_image_is_that_of_the_network(depth, centre, channels):
    model, given = network(depth, centre, channels), windows(channels)
    torch.testing.assert_close(folded(model, given), model(given).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("centre", [True, False])
@pytest.mark.parametrize("learned", [True, False])
def test_the_enhanced_feature_is_that_of_the_adapters(centre, learned):
    model, given = network(3, centre), windows()
    fusion = random(AdapterFusion(LDCConfig(16, 3, 2, 4, 0.07, learned))).eval()
    with torch.inference_mode():
        z_image, levels = model.with_levels(given)
        expected = torch.cat([z_image, fusion(levels)], 1)
    torch.testing.assert_close(folded(model, given, fusion), expected, rtol=1e-4, atol=1e-5)


def test_what_it_is_given_stays_as_it_was():
    model, given = network(), windows()
    copies = [one.clone() for one in given]
    encoder = FoldedEncoder(model)
    projected = [encoder.project(pixels, modality).detach() for modality, pixels in enumerate(given)]
    before = [one.clone() for one in projected]
    encoder(projected)
    assert all(map(torch.equal, given, copies)) and all(map(torch.equal, projected, before))


def test_it_shares_nothing_with_the_model():
    model, given = network(), windows()
    encoder = FoldedEncoder(model)
    projected = [encoder.project(pixels, modality) for modality, pixels in enumerate(given)]
    before = encoder(projected)
    random(model)
    assert torch.equal(encoder(projected), before)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_sixteen_bits_are_near():
    """A GPU computes in 16 bits; bfloat16 is what every CPU has, and the coarser kind."""
    model, given = network(), windows()
    fusion = random(AdapterFusion(LDCConfig(16, 2, 2, 4, 0.07))).eval()
    expected = folded(model, given, fusion)
    encoder = FoldedEncoder(model, fusion).bfloat16()
    with torch.inference_mode():
        found = encoder([encoder.project(pixels.bfloat16(), modality) for modality, pixels in enumerate(given)])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)
