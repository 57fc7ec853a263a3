import pytest
import torch

from diffclip_geo.nn.text import CONTEXT, TextEncoder, compact_vocabulary, encode_tokens, tokenize

START, END = 49406, 49407  # of CLIP's vocabulary
TEXTS = ["a patch of a tree.", "a patch of a metal roof.", "water"]


@pytest.fixture(scope="module")
def tokens():
    return tokenize(TEXTS)


@pytest.fixture(scope="module")
def encoder(tokens):
    torch.manual_seed(0)
    built = TextEncoder(
        len(compact_vocabulary(tokens)), max(map(len, tokens)), width=16, depth=2, heads=2, out=12
    ).eval()
    for name, parameter in built.named_parameters():
        if "embedding" in name:  # CLIP starts these near zero, where texts are nearly equal
            torch.nn.init.normal_(parameter)
    return built


def test_texts_become_clips_tokens_between_start_and_end(tokens):
    assert [text[0] for text in tokens] == [START] * 3 and [text[-1] for text in tokens] == [END] * 3
    assert [len(text) for text in tokens] == [8, 9, 3]  # a, patch, of, a, tree, .
    assert tokens[0][1] == tokens[0][4] == 320  # "a" in CLIP
    assert END not in tokens[0][:-1]


def test_long_texts_are_cut_and_still_end():
    (cut,) = tokenize(["tree " * 200])
    assert len(cut) == CONTEXT == 77 and cut[-1] == END


def test_the_compact_vocabulary_holds_what_occurs_and_keeps_the_end_token_the_largest(tokens):
    vocabulary = compact_vocabulary(tokens)
    assert set(vocabulary) == {token for text in tokens for token in text}
    assert len(vocabulary) == len(set(vocabulary)) and vocabulary[-1] == END
    encoded = encode_tokens(tokens, vocabulary)
    assert encoded.max() == len(vocabulary) - 1
    assert encoded.argmax(1).tolist() == [len(text) - 1 for text in tokens]


def test_encoded_tokens_stand_for_the_same_words_and_are_padded_behind_the_end(tokens):
    vocabulary = compact_vocabulary(tokens)
    encoded = encode_tokens(tokens, vocabulary)
    assert encoded.shape == (3, 9) and encoded.dtype == torch.int64
    for row, text in zip(encoded.tolist(), tokens, strict=True):
        assert [vocabulary[place] for place in row[: len(text)]] == text
        assert row[len(text) :] == [0] * (9 - len(text))


def test_text_embeddings_have_unit_norm_and_differ(tokens, encoder):
    embedded = encoder(encode_tokens(tokens, compact_vocabulary(tokens)))
    assert embedded.shape == (3, 12)
    torch.testing.assert_close(embedded.norm(dim=-1), torch.ones(3))
    assert (embedded @ embedded.T - 2 * torch.eye(3)).max() < 0.999


def test_what_stands_behind_the_end_token_means_nothing(tokens, encoder):
    encoded = encode_tokens(tokens, compact_vocabulary(tokens))
    other = encoded.clone()
    other[2, len(tokens[2]) :] = 3
    torch.testing.assert_close(encoder(other), encoder(encoded))


def test_every_word_counts(tokens, encoder):
    encoded = encode_tokens(tokens, compact_vocabulary(tokens))
    before = encoder(encoded)
    for place in range(1, len(tokens[1]) - 1):
        other = encoded.clone()
        other[1, place] = (other[1, place] + 1) % encoded.max()
        assert (encoder(other)[1] - before[1]).abs().max() > 1e-4
