import csv
import pickle
from dataclasses import replace

import numpy as np
import open_clip
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from benchmark_cases import NAMES, tiny_case
from diffclip_geo.cli.main import main
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

from diffclip_geo.benchmarking import benchmark, clip_tower
from diffclip_geo.benchmarking.clip_tower import ClipFile, clip_input, colour_bands, true_colour
from diffclip_geo.benchmarking.methods import METHODS, choose_methods
from diffclip_geo.benchmarking.splits import few_shot_split
from diffclip_geo.errors import OptionError
from diffclip_geo.prompts import PROMPTS, class_prompts, load_texts
from diffclip_geo.simulation import simulate

VISION = CLIPVisionCfg(layers=2, width=64, head_width=64, patch_size=8, image_size=32)
TEXT = CLIPTextCfg(layers=1, width=64, heads=1)


def tiny_clip(vision=VISION, **options):
    torch.manual_seed(0)
    return CLIP(16, vision, TEXT, **options).eval()


@pytest.fixture(scope="module")
def model():
    return tiny_clip()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "tiny.safetensors"
    save_file(model.state_dict(), path)
    return path


def prepared(name, weights, case, cache=None, model=None):
    return replace(METHODS[name], source=ClipFile.open(weights, model)).prepare(case.images, cache)


def window(picture, valid, row, column):
    """The 11 × 11 pixels around one, those that are missing like the one in the middle."""
    found = np.empty((11, 11, 3), np.uint8)
    for i in range(11):
        for j in range(11):
            r, c = row + i - 5, column + j - 5
            there = 0 <= r < valid.shape[0] and 0 <= c < valid.shape[1] and valid[r, c]
            found[i, j] = picture[r, c] if there else picture[row, column]
    return found


def by_open_clip(model, windows):
    """Unit vectors of windows, without the step from window to input."""
    inputs = clip_input(torch.from_numpy(np.stack(windows)).permute(0, 3, 1, 2), (32, 32), torch.device("cpu"))
    with torch.inference_mode():
        return F.normalize(model.encode_image(inputs), dim=1)


def test_windows_become_inputs_as_photographs_do():
    windows = np.random.default_rng(0).integers(
        70, 180, (3, 11, 11, 3), np.uint8
    )  # no overshoots, which PIL clips twice
    prepare = open_clip.image_transform(224, is_train=False)
    expected = torch.stack([prepare(PIL.Image.fromarray(one)) for one in windows])
    found = clip_input(torch.from_numpy(windows).permute(0, 3, 1, 2), (224, 224), torch.device("cpu"))
    assert found.shape == (3, 3, 224, 224)
    assert (found - expected).abs().max() < 1.1 / 255 / 0.26  # PIL rounds to whole numbers after each of two passes


@pytest.mark.parametrize("quick", [False, True])
def test_windows_get_the_vectors_that_open_clip_gives_them(tmp_path, quick):
    model = tiny_clip(quick_gelu=quick)
    path = tmp_path / ("tiny-quickgelu.safetensors" if quick else "tiny.safetensors")
    save_file({f"module.{name}": tensor for name, tensor in model.state_dict().items()}, path)
    case = tiny_case()
    first, second = true_colour(case.images, colour_bands("town", 6))
    assert not first[1][1, 2]  # an invalid pixel, near those at the upper left
    places = [(first, 0, 0), (first, 4, 6), (first, 8, 9), (second, 11, 15)]
    numbers = np.array([0, 4 * 20 + 6, 8 * 20 + 9, 16 * 20 + 11 * 16 + 15])
    windows = [window(*pair, row, column) for pair, row, column in places]
    found = prepared("clip-probe", path, case).embeddings.at(numbers)
    assert found.dtype == np.float32 and np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.allclose(found, by_open_clip(model, windows), atol=1e-5)
    assert not np.allclose(found, by_open_clip(tiny_clip(quick_gelu=not quick), windows), atol=1e-3)


def test_colours_are_those_nearest_to_red_green_and_blue_where_they_are_known():
    assert colour_bands("idtrees_mlbs", 369) == (56, 35, 21)
    assert colour_bands("trento", 63) == (28, 17, 9)
    assert colour_bands("trento", 101) == colour_bands("town", 101) == (60, 40, 20)


def test_each_band_is_stretched_over_the_valid_pixels_of_all_images():
    images = tiny_case().images
    pictures = true_colour(images, (4, 2, 0))
    pixels = np.concatenate([block.hsi[[4, 2, 0]][:, block.valid].T for block in images.blocks])
    low, high = np.percentile(pixels, (2, 98), axis=0)
    expected = np.clip(np.rint((images.blocks[1].hsi[[4, 2, 0], 3, 5] - low) / (high - low) * 255), 0, 255)
    assert np.array_equal(pictures[1][0][3, 5], expected)
    assert all(picture.dtype == np.uint8 and picture.shape == (*valid.shape, 3) for picture, valid in pictures)


def test_zero_shot_takes_the_nearest_class_text(model, weights):
    case = tiny_case()
    pixels = np.flatnonzero(case.truth)
    made = prepared("clip-zero-shot", weights, case)
    found = made.fit(case.shots(pixels[:1]), 0).predict(pixels)
    with torch.inference_mode():
        texts = sum(
            F.normalize(model.encode_text(open_clip.tokenize(class_prompts(NAMES, one, load_texts()))), dim=1)
            for one in PROMPTS
        )
        cosines = torch.from_numpy(made.embeddings.at(pixels)) @ F.normalize(texts, dim=1).T
        expected = (model.logit_scale.exp() * cosines).softmax(1)
    assert np.allclose(found.probability, expected, atol=1e-5)
    assert np.array_equal(found.label, expected.argmax(1) + 1) and found.score is None


@pytest.mark.parametrize("classes", [2, 3])
def test_the_probe_is_the_logistic_regression_of_scikit_learn(weights, classes):
    case = tiny_case(classes=classes)
    train, test = few_shot_split(case.truth, case.group, 4, 0, "random")
    made = prepared("clip-probe", weights, case)
    found = made.fit(case.shots(train), 0).predict(test)
    expected = LogisticRegression(C=30, max_iter=1000).fit(made.embeddings.at(train), case.truth[train])
    assert np.allclose(found.probability, expected.predict_proba(made.embeddings.at(test)), atol=1e-4)
    assert (found.label == case.truth[test]).mean() > 1.5 / classes
    assert (found.score is None) == (classes == 3)


def test_a_class_without_a_shot_is_never_mapped_by_the_probe(weights):
    case = tiny_case()
    train, test = few_shot_split(case.truth, case.group, 4, 0, "random")
    fitted = prepared("clip-probe", weights, case).fit(case.shots(train[case.truth[train] != 2]), 0)
    found = fitted.predict(test)
    assert set(found.label) <= {1, 3} and not found.probability[:, 1].any()
    assert fitted.state()["known"].tolist() == [1, 3]


def test_a_vector_depends_on_its_window_alone(weights):
    case = tiny_case()
    labelled = np.flatnonzero(case.truth)
    ahead, alone = (prepared("clip-probe", weights, case) for _ in range(2))
    ahead.embed(labelled)
    few = labelled[[70, 3, 41]]
    assert np.allclose(ahead.embeddings.at(few), alone.embeddings.at(few), atol=1e-6)


def test_vectors_are_computed_once_per_scene_and_model(weights, tmp_path, monkeypatch):
    seen = []
    original = clip_tower.clip_input

    def counted(windows, *arguments):
        seen.append(len(windows))
        return original(windows, *arguments)

    monkeypatch.setattr(clip_tower, "clip_input", counted)
    case = tiny_case()
    results = benchmark(
        [case], tmp_path / "acc", methods=("clip",), shots=(2, 4), seeds=2, clip_weights=weights, splits=("random",)
    )
    labelled = int((case.truth > 0).sum())
    assert sum(seen) == labelled and len(list((tmp_path / "acc.cache").iterdir())) == 1
    assert {row.method for row in results.rows} == {"clip-probe", "clip-zero-shot"}
    assert all(row.seconds("prepare") > 0 for row in results.rows)
    again = prepared("clip-zero-shot", weights, case, tmp_path / "acc.cache")
    kept = again.seconds
    assert kept > 0 and np.isfinite(again.embeddings.at(np.flatnonzero(case.truth))).all()
    assert sum(seen) == labelled
    other = weights.with_name("other.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in tiny_clip().state_dict().items()}, other)
    prepared("clip-probe", other, case, tmp_path / "acc.cache").embed(np.array([0]))
    prepared("clip-probe", weights, tiny_case(seed=1), tmp_path / "acc.cache").embed(np.array([0]))
    assert sum(seen) == labelled + 2 and len(list((tmp_path / "acc.cache").iterdir())) == 3


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14-336", "ViT-H-14", "ViT-bigG-14"])
def test_sizes_of_published_towers_are_told_from_their_tensors(name):
    config = open_clip.get_model_config(name)
    with torch.device("meta"):
        known = CLIP(config["embed_dim"], config["vision_cfg"], TEXT).visual
        shapes = {key: tuple(tensor.shape) for key, tensor in known.state_dict().items()}
        length, sizes = clip_tower._vision_transformer(shapes)
        told = CLIP(length, sizes, TEXT).visual
    assert {key: tuple(tensor.shape) for key, tensor in told.state_dict().items()} == shapes
    assert told.image_size == known.image_size
    heads = [tower.transformer.resblocks[0].attn.num_heads for tower in (known, told)]
    assert heads[0] == heads[1]


def test_other_towers_need_their_name(tmp_path, monkeypatch):
    vision = {"layers": [1, 1, 1, 1], "width": 8, "image_size": 32}
    settings = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": {}}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-resnet", settings)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-quick", settings | {"quick_gelu": True})
    model = tiny_clip(CLIPVisionCfg(**vision))
    path = tmp_path / "clip.safetensors"
    save_file(model.state_dict(), path)
    with pytest.raises(
        OptionError, match=r"is no plain vision transformer; name its open_clip model with --clip-model"
    ):
        ClipFile.open(path)
    case = tiny_case()
    (first, _) = true_colour(case.images, colour_bands("town", 6))
    found = prepared("clip-probe", path, case, model="tiny-resnet").embeddings.at(np.array([8 * 20 + 9]))
    assert np.allclose(found, by_open_clip(model, [window(*first, 8, 9)]), atol=1e-5)
    for name in ("tiny", "hf-hub:someone/model"):
        with pytest.raises(OptionError, match="is not known to open_clip"):
            ClipFile.open(path, name)
    with pytest.raises(OptionError, match="put quickgelu into the name of the file"):
        ClipFile.open(path, "tiny-quick")
    with pytest.raises(OptionError, match="has an image tower of another layout"):
        ClipFile.open(path, "ViT-B-32").tower()


class _Evil:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("clip.safetensors", None, "there is no such file of CLIP weights"),
        ("clip.safetensors", pickle.dumps(_Evil()), "cannot be read as a file of tensors"),
        ("clip.pt", pickle.dumps(_Evil()), r"clip\.pt: is not a \.safetensors file"),
    ],
)
def test_other_files_are_refused_and_nothing_in_them_is_executed(tmp_path, capsys, name, content, fault):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(OptionError, match=fault):
        benchmark([tiny_case()], tmp_path / "acc", methods=("clip",), clip_weights=tmp_path / name)
    assert "executed" not in capsys.readouterr().out and not (tmp_path / "acc.jsonl").exists()


def test_a_file_without_an_image_tower_is_refused(tmp_path):
    save_file({"token_embedding.weight": torch.zeros(3)}, tmp_path / "text.safetensors")
    with pytest.raises(OptionError, match="holds no CLIP image tower"):
        ClipFile.open(tmp_path / "text.safetensors")


def test_the_command_line(tmp_path, weights, capsys):
    simulate(tmp_path, size=(48, 48), bands=20)
    arguments = ["benchmark", "--hsi", str(tmp_path / "scene.tif"), "--labels", str(tmp_path / "labels.shp")]
    arguments += ["-o", str(tmp_path / "acc"), "-m", "clip", "--shots", "2", "--seeds", "1"]
    assert main(arguments) == 1
    assert capsys.readouterr().err.splitlines() == [
        "Error: method 'clip-zero-shot': needs a CLIP model; name a .safetensors file with --clip-weights"
    ]
    assert main([*arguments, "--clip-weights", str(weights)]) == 0
    rows = list(csv.DictReader((tmp_path / "acc.csv").open()))
    assert {row["method"] for row in rows} == {"clip-zero-shot", "clip-probe"}
    assert all(0 <= float(row["oa_mean"]) <= 100 and row["ece_mean"] for row in rows)


def test_the_model_and_the_device_reach_the_methods(weights):
    source = ClipFile.open(weights)
    assert [(one.source, one.device) for one in choose_methods(["clip"], "cuda:1", source)] == [(source, "cuda:1")] * 2
