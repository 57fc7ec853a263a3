import json
from importlib import resources

import pytest

from diffclip_geo.errors import OptionError
from diffclip_geo.presets import Preset, load_preset, preset_names


@pytest.mark.parametrize("name", ["compact", "paper"])
def test_presets_come_with_the_package(name):
    assert name in preset_names()
    preset = load_preset(name)
    assert preset.description and preset.encoder.window == 11 and preset.pretraining.mask_ratio == 0.7
    assert Preset.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset


def test_the_paper_preset_has_the_published_settings():
    preset = load_preset("paper")
    encoder, decoder, stage1, stage2 = preset.encoder, preset.decoder, preset.pretraining, preset.fewshot
    assert (encoder.width, encoder.depth, encoder.heads, encoder.mlp_ratio, decoder.depth) == (128, 4, 8, 2, 3)
    assert (stage1.batch, stage1.learning_rate, stage1.weight_decay, stage1.timesteps) == (256, 1e-4, 1e-5, 1000)
    assert (stage2.epochs, stage2.batch, stage2.learning_rate, stage2.weight_decay) == (150, 64, 1e-4, 1e-5)
    assert (stage2.temperature, stage2.text_width, stage2.text_depth, stage2.text_heads) == (0.07, 128, 3, 8)
    assert preset.input.components == 0 and stage2.visible == 1 and not stage2.centre


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(OptionError, match=r"preset 'compcat': is not known; use one of .*compact.*paper.*\.toml"):
        load_preset("compcat")


def test_a_missing_file_is_named():
    with pytest.raises(OptionError, match=r"nowhere/mine\.toml: there is no such preset file"):
        load_preset("nowhere/mine.toml")


@pytest.fixture
def copy(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(resources.files("diffclip_geo.models.presets").joinpath("compact.toml").read_text())
    return path


def test_a_copy_of_a_preset_can_be_changed(copy):
    copy.write_text(copy.read_text().replace("mask_ratio = 0.7", "mask_ratio = 0.5"))
    assert load_preset(str(copy)).pretraining.mask_ratio == 0.5


def test_a_file_that_is_not_text_is_no_preset(copy):
    copy.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match=r"mine\.toml: is not a preset"):
        load_preset(str(copy))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("mask_ratio = 0.7", "", "mask_ratio"),
        ("mask_ratio = 0.7", "mask_ratio = 0.7\nmask_shape = 1", "mask_shape"),
        ("[decoder]", "[dekoder]", "decoder"),
        ("mask_ratio = 0.7", "mask_ratio = ", "line"),
        ("window = 11", 'window = "eleven"', "window of .encoder. is 'eleven', not a whole number"),
        ("window = 11", "window = 11.0", "window of .encoder. is 11.0, not a whole number"),
        ("window = 11", "window = 10", "window of .encoder. is 10, not an odd number"),
        ("centre = true", "centre = 1", "centre of .fewshot. is 1, not true or false"),
        ("temperature = 0.07", "temperature = -1", "temperature of .fewshot. is -1, not a number of 0 or more"),
    ],
)
def test_a_wrong_preset_says_what_is_wrong(copy, old, new, said):
    copy.write_text(copy.read_text().replace(old, new))
    with pytest.raises(OptionError, match=rf"mine\.toml: is not a preset \(.*{said}.*\); start from a copy"):
        load_preset(str(copy))
