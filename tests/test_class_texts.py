import tomllib

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import from_origin
from test_chat import stub  # noqa: F401

from diffclip_geo import prompts_describe, prompts_init
from diffclip_geo.class_texts import class_texts_toml, propose, read_class_names
from diffclip_geo.errors import OptionError, OutputError
from diffclip_geo.prompts import load_texts, text_sets

GOOD = "a tall crown of green leaves with a steep red edge, rough from above, standing over lawns and roads nearby."


@pytest.fixture
def labels(tmp_path):
    names = np.array(["Trees", "metal_roof", "old apple orchards", "Zwischenmoor", "Trees", None], object)
    points = shapely.to_wkb(shapely.points(np.arange(6.0), np.arange(6.0)))
    path = tmp_path / "labels.gpkg"
    pyogrio.raw.write(path, points, [names], ["class"], geometry_type="Point", crs="EPSG:32633")
    return path


def test_the_classes_of_points_are_read_without_a_scene(labels):
    assert read_class_names(labels) == ("Trees", "Zwischenmoor", "metal_roof", "old apple orchards")


def test_the_classes_of_a_label_raster(tmp_path):
    profile = {"driver": "GTiff", "count": 1, "height": 2, "width": 2, "dtype": "uint8", "crs": "EPSG:32633"}
    with rasterio.open(tmp_path / "truth.tif", "w", transform=from_origin(0, 9, 1, 1), **profile) as dataset:
        dataset.write(np.array([[[0, 10], [9, 9]]], np.uint8))
    assert read_class_names(tmp_path / "truth.tif") == ("9", "10")


def test_a_proposal_is_made_for_every_class_and_is_ready_for_fewshot(labels, tmp_path):
    out = tmp_path / "mine.toml"
    done = prompts_init(labels, out=out)
    shipped = load_texts()
    assert load_texts(out) == done.texts
    assert done.texts["Trees"] == shipped["tree"] and done.texts["metal_roof"] == shipped["metal roof"]
    assert done.texts["old apple orchards"] == shipped["orchard"]
    assert "# taken from 'orchard': check it" in out.read_text()
    assert done.general == ("Zwischenmoor",) and done.texts["Zwischenmoor"].startswith("Zwischenmoor seen from above")
    assert all(15 <= len(text.split()) <= 30 for text in done.texts.values())


def test_an_edited_file_is_never_lost(labels, tmp_path):
    out = tmp_path / "mine.toml"
    out.write_text("mine")
    with pytest.raises(OutputError, match=r"mine\.toml: exists already"):
        prompts_init(labels, out=out)
    assert out.read_text() == "mine"
    prompts_init(labels, out=out, overwrite=True)
    assert "Trees" in load_texts(out)


def test_proposals_can_come_from_another_set(labels, tmp_path):
    done = prompts_init(labels, out=tmp_path / "a.toml", texts="trento")
    assert done.general == ("Trees", "Zwischenmoor", "metal_roof", "old apple orchards")
    with pytest.raises(OptionError, match="no such class-text file; check the path, or use one of berlin_urban"):
        prompts_init(labels, out=tmp_path / "b.toml", texts="trient")
    assert not (tmp_path / "b.toml").exists()


@given(st.dictionaries(st.text(min_size=1).filter(lambda s: s.isprintable() or "\x7f" in s), st.text(), min_size=1))
def test_any_name_and_text_survives_the_file(texts):
    texts = {k: v for k, v in texts.items() if _encodable(k) and _encodable(v)}
    assert tomllib.loads(class_texts_toml(texts, {}, "head\nand more"))["classes"] == texts


def _encodable(text):
    return not any("\ud800" <= c <= "\udfff" for c in text)


@pytest.mark.parametrize("name", ["x", "one two three four five"])
@pytest.mark.parametrize("names", [("x",), ("x", "b", "c c c"), ("x", "b", "c", "d")])
def test_general_sentences_have_the_length_of_a_description(name, names):
    text, source = propose(name, names, {})
    assert source == "" and 15 <= len(text.split()) <= 30


@pytest.mark.parametrize("name", text_sets())
def test_sets_that_ship_describe_each_class_in_fifteen_to_thirty_words(name):
    texts = load_texts(name)
    assert texts and all(15 <= len(text.split()) <= 30 for text in texts.values())


@pytest.mark.parametrize(
    ("name", "classes"),
    [("houston2013", 15), ("trento", 6), ("simulated", 12), ("idtrees", 33)],
)
def test_sets_hold_every_class_of_their_scene_and_tell_them_apart(name, classes):
    texts = load_texts(name)
    assert len(texts) == classes == len(set(texts.values()))


def test_the_set_of_the_built_in_scene_has_its_class_names():
    from diffclip_geo.simulation.materials import CLASSES

    assert set(load_texts("simulated")) == {one.name for one in CLASSES}


def test_a_language_model_describes_the_classes(labels, tmp_path, stub):  # noqa: F811
    stub.answers.append((200, {"data": [{"id": "only"}]}))
    stub.say(f'<think>hm\nhm</think>\n"{GOOD}"', "too short", GOOD, GOOD, GOOD)
    said = []
    done = prompts_describe(
        labels, endpoint=stub.url, context="a moor in May", out=tmp_path / "t.toml", say=said.append
    )
    assert load_texts(done.path) == done.texts == dict.fromkeys(read_class_names(labels), GOOD)
    assert "Written by only" in done.path.read_text() and len(said) == 4
    asked = [body["messages"][1]["content"] for _, _, body in stub.requests[1:]]
    assert "Class: Trees." in asked[0] and "Zwischenmoor" in asked[0] and "a moor in May" in asked[0]
    assert "Your last answer had 2 words" in asked[2] and len(asked) == 5


def test_an_endpoint_with_many_models_wants_a_choice(labels, tmp_path, stub):  # noqa: F811
    stub.answers.append((200, {"data": [{"id": "a"}, {"id": "b"}]}))
    with pytest.raises(OptionError, match=r"offers 2 models \(a, b\); choose one with --model"):
        prompts_describe(labels, endpoint=stub.url, out=tmp_path / "t.toml")


@pytest.mark.parametrize("answer", ["", "word " * 100])
def test_no_description_is_an_error_and_writes_nothing(labels, tmp_path, stub, answer):  # noqa: F811
    stub.say(answer, answer)
    with pytest.raises(OptionError, match="words for the class 'Trees'"):
        prompts_describe(labels, endpoint=stub.url, model="m", out=tmp_path / "t.toml")
    assert not (tmp_path / "t.toml").exists()
