import numpy as np
import pytest
import torch
from tiny import tiny_preset

from diffclip_geo import training
from diffclip_geo.arrays import ArrayModel
from diffclip_geo.views import REACH

NAMES = ["tree", "road", "water"]


def settings(folder, **changes):
    """A tiny preset as a TOML file."""
    path = folder / "tiny.toml"
    lines = []
    for table, values in tiny_preset(**changes).to_dict().items():
        if isinstance(values, dict):
            lines += [f"[{table}]", *(f"{key} = {str(value).lower()}" for key, value in values.items())]
    path.write_text("\n".join(lines))
    return str(path)


@pytest.fixture(scope="module")
def ground():
    """Spectra and heights of three strips, what they are, and a few labels; one pixel has no data."""
    rng = np.random.default_rng(0)
    truth = np.repeat([1, 2, 3], 7)[:, None].repeat(16, 1)
    spectra = rng.uniform(50, 100, (4, 9))[truth] * rng.uniform(0.8, 1.2, (*truth.shape, 1))
    hsi = spectra + rng.normal(size=spectra.shape)
    hsi[10, 3, 4] = np.nan
    lidar = (truth * 3.0 + rng.normal(size=truth.shape) * 0.1)[..., None]
    labels = np.where(rng.random(truth.shape) < 0.12, truth, 0)
    return (hsi, lidar), truth, labels


def trained(folder, images, labels, seed=0):
    model = ArrayModel(preset=settings(folder, input={"components": 4}), seed=seed, device="cpu")
    model.pretrain([images])
    model.fewshot([images], [labels], NAMES, prompt="p1")
    return model


@pytest.mark.parametrize("modalities", [1, 2])
def test_arrays_are_mapped(tmp_path, ground, modalities):
    images, truth, labels = ground
    model = trained(tmp_path, images[:modalities], labels)
    label, probability = model.classify(images[:modalities])
    assert label.shape == truth.shape and probability.shape == (*truth.shape, 3)
    valid = np.ones(truth.shape, bool)
    valid[10, 3] = False
    assert label[10, 3] == 0 and np.isnan(probability[10, 3]).all()
    assert (label == truth)[valid].mean() > 0.95
    assert probability[valid].sum(-1) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(probability[valid].argmax(-1) + 1, label[valid])


def test_stage_2_takes_a_head_and_texts_of_ones_own(tmp_path, ground):
    images, _, labels = ground
    model = ArrayModel(preset=settings(tmp_path, input={"components": 4}), device="cpu")
    model.pretrain([images])
    texts = tmp_path / "texts.toml"
    texts.write_text('[classes]\ntree = "a crown"\nroad = "asphalt"\nwater = "a pond"\n')
    plain, described, corrected = (
        model.fewshot([images], [labels], NAMES, **options) for options in ({}, {"texts": texts}, {"head": "ldc"})
    )
    assert plain != described and plain != corrected
    assert model.classify(images)[1].shape[-1] == 3


def test_the_seed_alone_decides(tmp_path, ground):
    images, _, labels = ground
    found = []
    for state in (1, 2):
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002
        found.append(trained(tmp_path, images, labels, seed=3).classify(images)[1])
    assert found[0].tobytes() == found[1].tobytes()


def test_pixels_are_not_changed_by_what_lies_far_away(tmp_path, ground):
    images, _, labels = ground
    model = trained(tmp_path, images, labels)
    short = tuple(np.concatenate([m, m[::-1], m]) for m in images)
    long = tuple(np.concatenate([m, m[::-1]]) for m in short)
    assert len(short[0]) >= 5 + REACH
    _, short_probability = model.classify(short)
    _, long_probability = model.classify(long)
    assert long_probability[:5] == pytest.approx(short_probability[:5], abs=1e-4, nan_ok=True)


def test_a_rare_class_among_many_labels_stays_on_the_map(tmp_path, ground, monkeypatch):
    images, truth, _ = ground
    labels = np.where(truth == 3, 0, truth)
    labels[16, 8:10] = 3  # two pixels, against 223 of the others
    monkeypatch.setattr(training, "MOST_SHOTS", 12)
    label, _ = trained(tmp_path, images, labels).classify(images)
    assert (label == truth)[truth == 3].mean() > 0.9


def test_in_plots_classes_are_told_relative_to_the_surroundings(tmp_path):
    rng = np.random.default_rng(1)
    spectra = rng.uniform(50, 100, (4, 9))
    plots = []
    for _ in range(6):
        truth = rng.integers(1, 4, (7, 7)).repeat(2, 0).repeat(2, 1)
        light = rng.uniform(-60, 60, 9)  # of each plot its own, stronger than what tells the classes apart
        plots.append(((spectra[truth] + light + rng.normal(size=(14, 14, 9)),), truth))
    labels = [np.where(rng.random(truth.shape) < 0.1, truth, 0) for _, truth in plots[:4]]
    right = []
    for relative in (0.0, 1.0):
        preset = settings(tmp_path, input={"components": 4}, blend={"language": 0.0, "relative": relative})
        model = ArrayModel(preset=preset, device="cpu")
        model.pretrain([image for image, _ in plots[:4]])
        model.fewshot([image for image, _ in plots[:4]], labels, NAMES, prompt="p1")
        right.append(np.mean([model.classify(image)[0] == truth for image, truth in plots[4:]]))
    assert right[0] < 0.8 and right[1] > 0.95


def test_arrays_that_do_not_fit_are_refused(tmp_path, ground):
    (hsi, lidar), _, labels = ground
    model = ArrayModel(preset=settings(tmp_path, input={"components": 4}), device="cpu")
    with pytest.raises(ValueError, match="one grid"):
        model.pretrain([(hsi, lidar[:5])])
    with pytest.raises(ValueError, match=r"\[H, W, C\]"):
        model.pretrain([(hsi, lidar[..., 0])])
    model.pretrain([(hsi, lidar)])
    with pytest.raises(ValueError, match=r"hold labels \[1, 2\], names ask for 1…3"):
        model.fewshot([(hsi, lidar)], [np.where(labels == 3, 0, labels)], NAMES)
