import pytest

from diffclip_geo.errors import OptionError
from diffclip_geo.prompts import PROMPTS, class_prompts, load_texts


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("p1", "a patch of a metal roof."),
        ("p2", "a nice patch of a metal roof."),
        ("p3", "a fusion patch of a metal roof."),
        ("p4", "a multimodal fusion patch of a metal roof with strong semantic information."),
        ("an aerial view of {class}", "an aerial view of metal roof"),
    ],
)
def test_templates_are_filled_with_the_class(prompt, text):
    assert class_prompts(["tree", "metal roof"], prompt)[1] == text


def test_the_fifth_prompt_describes_each_class():
    found = class_prompts(["Tree", "moss"], "p5", {"TREE": "a tall crown.", "road": "grey."})
    assert found == ["a tall crown.", "a multimodal fusion patch of a moss with strong semantic information."]


def test_there_are_five_prompts():
    assert PROMPTS == ("p1", "p2", "p3", "p4", "p5")


def test_a_class_name_with_braces_is_taken_as_it_is():
    assert class_prompts(["{x} 50%"], "p1") == ["a patch of a {x} 50%."]


def test_a_template_without_a_place_for_the_class_is_refused():
    with pytest.raises(OptionError, match=r"prompt 'p6': has no \{class\} in it; use one of p1, p2, p3, p4, p5"):
        class_prompts(["tree"], "p6")


def test_descriptions_that_ship_are_fifteen_to_thirty_words():
    texts = load_texts()
    assert {"tree", "water", "road"} <= texts.keys()
    assert all(15 <= len(text.split()) <= 30 for text in texts.values())


def test_descriptions_of_ones_own(tmp_path):
    path = tmp_path / "texts.toml"
    path.write_text('[classes]\n"Fichte" = "a dark spruce."\n', encoding="utf-8")
    assert load_texts(path) == {"Fichte": "a dark spruce."}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "no such class-text file"),
        (b"[texts]\na = 'b'", "classes"),
        (b"[classes]\na = ", "is not a class-text file"),
        (b"[classes]\na = 3", "text is not a string"),
        (b"\xff\xfe[classes]", "is not a class-text file"),
        (b"classes = 3", "class"),
    ],
)
def test_a_wrong_class_text_file_says_what_is_wrong(tmp_path, content, fault):
    path = tmp_path / "texts.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionError, match=rf"texts\.toml: .*{fault}"):
        load_texts(path)
