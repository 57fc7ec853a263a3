"""The LDC head and pretrained text vectors through training, engine and files."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from tiny import random_block, random_image, tiny_preset

from diffclip_geo.classes import ClassTable
from diffclip_geo.classifier import load_classifier, save_classifier
from diffclip_geo.errors import OptionError
from diffclip_geo.exact import ExactEngine
from diffclip_geo.images import SceneStats
from diffclip_geo.language import HEADS, build_head, train_language_model
from diffclip_geo.nn.fusion import ImageEncoder
from diffclip_geo.pretraining import build_encoder
from diffclip_geo.sampling import LabelledBlock
from diffclip_geo.training import fit_views, margin_of, train_classifier
from diffclip_geo.windows import WindowSource
from diffclip_geo.workspace import Workspace

TEXTS = ["a patch of a tree.", "a patch of a road.", "a patch of some water."]


def trained(head="ldc", seed=0, vectors=None, **fewshot):
    """A language model for three classes that differ in their first channel, the source of its windows, and labels."""
    image = random_image(gaps=0.0)
    label = torch.from_numpy(np.random.default_rng(3).integers(0, 3, (12, 10)))
    image.modalities[0][2:-2, 2:-2, 0] += 4 * (label - 1)
    preset = tiny_preset(fewshot=fewshot)
    source = WindowSource([image], 5)
    encoder = build_encoder(preset, source.channels, 0)
    model, records = train_language_model(
        encoder, source, label.flatten(), source, TEXTS, preset, head=head, text_vectors=vectors, seed=seed
    )
    return model, records, image, label.flatten().numpy()


@pytest.mark.parametrize("head", ["ldc", "ldc-learned"])
def test_the_head_learns_the_classes(head):
    model, records, image, label = trained(head, least_steps=60, learning_rate=3e-3)
    scores = model.scores(ExactEngine(model.image, fusion=model.fusion).embed(image))
    assert (scores.argmax(1) == label).mean() > 0.9
    assert scores.std(0).mean() == pytest.approx(1, abs=0.2)  # units of the spread over the scene
    assert records[-1].loss < records[0].loss / 2


def test_training_moves_the_weights_of_the_blocks_only_when_they_are_to_be_learned():
    assert not torch.equal(trained("ldc-learned")[0].fusion.weights, build_fusion("ldc-learned").weights)
    assert torch.equal(trained("ldc")[0].fusion.weights, build_fusion("ldc").weights)


def build_fusion(head):
    return build_head(head, tiny_preset(), 2, 3).fusion


@pytest.mark.parametrize("head", HEADS)
def test_the_seed_alone_decides(head):
    torch.manual_seed(1)
    first, losses, image, _ = trained(head, seed=4)
    torch.manual_seed(2)
    second, again, *_ = trained(head, seed=4)
    assert losses == again and first.spread == second.spread
    embedded = ExactEngine(first.image, fusion=first.fusion).embed(image)
    assert np.array_equal(first.scores(embedded), second.scores(embedded))


def test_without_a_head_there_is_none():
    model = trained("similarity")[0]
    assert model.head is None and model.fusion is None
    with pytest.raises(OptionError, match="head 'lcd': is not known; use one of similarity, ldc, ldc-learned"):
        build_head("lcd", tiny_preset(), 2, 3)


@pytest.mark.parametrize("centre", [True, False])
def test_the_engine_gives_the_feature_of_the_network_beside_the_embedding(centre):
    model, _, image, _ = trained(centre=centre)
    source = WindowSource([image], 5)
    with torch.inference_mode():
        z_image, levels = model.image.with_levels(source.gather(torch.arange(len(source))))
        expected = torch.cat([z_image, model.fusion(levels)], 1)
    found = ExactEngine(model.image, fusion=model.fusion).embed(image)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[:, :16], ExactEngine(model.image).embed(image), rtol=1e-4, atol=1e-5)
    empty = dataclasses.replace(image, valid=torch.zeros_like(image.valid))
    assert ExactEngine(model.image, fusion=model.fusion).embed(empty).shape == (0, 16 + 32)


def test_without_a_head_the_last_block_is_computed_for_the_summary_alone(monkeypatch):
    model, _, image, _ = trained("similarity")
    monkeypatch.setattr(type(model.image.encoder), "levels", None)
    monkeypatch.setattr(ImageEncoder, "with_levels", None)
    assert len(ExactEngine(model.image).embed(image)) == 120


def test_fixed_text_vectors_are_mapped_to_the_text_space():
    vectors = torch.nn.functional.normalize(torch.randn(3, 40, generator=torch.Generator().manual_seed(0)), dim=-1)
    before = vectors.clone()
    model, _, image, label = trained("similarity", vectors=vectors, least_steps=60, learning_rate=3e-3)
    assert torch.equal(vectors, before)
    torch.testing.assert_close(model.text.norm(dim=-1), torch.ones(3))
    assert model.text.shape == (3, 16)
    assert (model.scores(ExactEngine(model.image).embed(image)).argmax(1) == label).mean() > 0.9


@pytest.mark.parametrize("head", HEADS)
def test_a_classifier_that_was_saved_gives_the_same_probabilities(tmp_path, head):
    preset = tiny_preset(input={"components": 4})
    margin = margin_of(preset)
    block = random_block(20 + 2 * margin, 18 + 2 * margin, bands=9)
    smooth = gaussian_filter(block.hsi, (0, 2, 2)) + 0.02 * block.hsi  # signal above its noise
    block = block._replace(hsi=(smooth * block.valid).astype(np.float32))
    stats, views = SceneStats.fit([block]), fit_views([block], margin, preset)
    label = np.random.default_rng(0).integers(0, 4, (20, 18)) * block.valid[margin:-margin, margin:-margin]
    labelled = LabelledBlock(block, label, np.arange(1, 361).reshape(20, 18))
    channels = stats.channels
    classifier, _ = train_classifier(
        build_encoder(preset, channels, 0),
        stats,
        views,
        [labelled],
        [block],
        margin,
        ClassTable(("a", "b", "c"), ((1, 2, 3), (4, 5, 6), (7, 8, 9))),
        TEXTS,
        preset,
        head=head,
    )
    place = Workspace(tmp_path)
    facts = {"preset": preset.to_dict(), "channels": list(channels), "stats": stats.to_dict()}
    place.write(place.manifest, facts | {"views": [view.to_dict() for view in views]})
    save_classifier(place, classifier, {})
    loaded = load_classifier(place)
    expected = classifier.probabilities(classifier.engine(), block, margin)
    assert (loaded.model.head is None) == (head == "similarity")
    np.testing.assert_array_equal(loaded.probabilities(loaded.engine(), block, margin), expected)
    np.testing.assert_allclose(expected.sum(1), 1, rtol=1e-5)
