import math

import pytest
import torch
import torch.nn.functional as F

from diffclip_geo.nn.encoder import Encoder, EncoderConfig
from diffclip_geo.nn.fusion import ImageEncoder, contrastive_loss


def image_encoder(channels=(3, 1), centre=True):
    torch.manual_seed(0)
    return ImageEncoder(
        Encoder(EncoderConfig(channels, window=5, width=16, depth=2, heads=2)), 12, centre=centre
    ).eval()


@pytest.mark.parametrize("channels", [(3, 1), (4,)])
@pytest.mark.parametrize("centre", [True, False])
def test_image_embeddings_have_unit_norm(channels, centre):
    model = image_encoder(channels, centre)
    embedded = model([torch.randn(6, 25, c) * 20 for c in channels])
    assert embedded.shape == (6, 12)
    torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(6))


def test_every_modality_reaches_the_embedding():
    model = image_encoder()
    windows = [torch.randn(2, 25, c) for c in (3, 1)]
    before = model(windows)
    for changed in (0, 1):
        other = [w + (m == changed) for m, w in enumerate(windows)]
        assert (model(other) - before).abs().max() > 1e-3


@pytest.mark.parametrize("centre", [True, False])
def test_the_embedding_projects_the_class_tokens_and_if_wanted_those_of_the_centre_pixel(centre):
    model = image_encoder(centre=centre)
    windows = [torch.randn(2, 25, c) for c in (3, 1)]
    chosen = [0, 13] if centre else [0]
    tokens = torch.cat([model.encoder(w, m)[:, chosen].flatten(1) for m, w in enumerate(windows)], 1)
    torch.testing.assert_close(model(windows), F.normalize(model.projection(tokens), dim=-1))


def test_a_window_shown_in_part_centre_first_means_the_same_as_one_shown_whole():
    model = image_encoder()
    windows = [torch.randn(2, 25, c) for c in (3, 1)]
    order = torch.tensor([12, *(cell for cell in range(25) if cell != 12)])
    shuffled = model([w[:, order] for w in windows], order.expand(2, -1))
    torch.testing.assert_close(shuffled, model(windows))


def test_equal_classes_in_a_batch_are_all_positives():
    # Two images of class 0, one of class 1; orthonormal texts. Similarities (rows: images): [1, 0], [0.6, 0.8], [0,
    # 1]; τ = 0.5.
    image, text = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), torch.eye(2)
    loss = contrastive_loss(image, text, torch.tensor([0, 0, 1]), 0.5)

    def log_softmax(logits, chosen):
        return logits[chosen] - math.log(sum(map(math.exp, logits)))

    image_to_text = -(log_softmax([2.0, 0.0], 0) + log_softmax([1.2, 1.6], 0) + log_softmax([0.0, 2.0], 1)) / 3
    first = [2.0, 1.2, 0.0]  # class 0 among the images: half the target on each of its two
    second = [0.0, 1.6, 2.0]
    text_to_image = -((log_softmax(first, 0) + log_softmax(first, 1)) / 2 + log_softmax(second, 2)) / 2
    assert loss.item() == pytest.approx((image_to_text + text_to_image) / 2, rel=1e-6)


def test_with_every_class_once_the_loss_is_that_of_clip():
    torch.manual_seed(0)
    image, text = F.normalize(torch.randn(4, 8), dim=-1), F.normalize(torch.randn(4, 8), dim=-1)
    logits = image @ text.T / 0.07
    expected = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))) / 2
    torch.testing.assert_close(contrastive_loss(image, text, torch.arange(4), 0.07), expected)


def test_classes_that_a_batch_lacks_are_negatives_of_its_images_and_nothing_else():
    image, text = torch.tensor([[1.0, 0.0, 0.0]]), torch.eye(3)
    loss = contrastive_loss(image, text, torch.tensor([0]), 1.0)
    assert loss.item() == pytest.approx(-math.log(math.e / (math.e + 2)) / 2)  # text→image: one image, no choice
