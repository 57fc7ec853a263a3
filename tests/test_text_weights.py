import pickle

import open_clip
import pytest
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from safetensors.torch import save_file

from diffclip_geo.errors import OptionError
from diffclip_geo.text_weights import clip_text_embeddings

TEXTS = ["a tall tree.", "a dark flat road of asphalt.", "water"]


def tiny_clip(quick_gelu=False):
    """A CLIP with the layout of the published ones, and random weights."""
    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=1, width=64, head_width=64, patch_size=4, image_size=8)
    model = CLIP(24, vision, CLIPTextCfg(width=128, heads=2, layers=2), quick_gelu=quick_gelu).eval()
    for parameter in model.transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def oracle(model):
    with torch.inference_mode():
        return F.normalize(model.encode_text(open_clip.tokenize(TEXTS)), dim=-1)


@pytest.fixture(scope="module")
def model():
    return tiny_clip()


@pytest.mark.parametrize("prefix", ["", "text.", "module."])
def test_texts_get_the_vectors_that_open_clip_gives_them(model, tmp_path, prefix):
    save_file({prefix + name: t for name, t in model.state_dict().items()}, tmp_path / "clip.safetensors")
    found = clip_text_embeddings(tmp_path / "clip.safetensors", TEXTS)
    assert found.shape == (3, 24) and not found.requires_grad
    torch.testing.assert_close(found, oracle(model), rtol=1e-5, atol=1e-6)


def test_openais_dicts_and_names_have_their_own_activation(tmp_path):
    model = tiny_clip(quick_gelu=True)
    tensors = model.state_dict()
    save_file(tensors, tmp_path / "ViT-B-32-quickgelu.safetensors")
    sizes = {name: torch.tensor(8) for name in ("input_resolution", "context_length", "vocab_size")}
    save_file(tensors | sizes, tmp_path / "clip.safetensors")
    for name in ("ViT-B-32-quickgelu.safetensors", "clip.safetensors"):
        found = clip_text_embeddings(tmp_path / name, TEXTS)
        torch.testing.assert_close(found, oracle(model), rtol=1e-5, atol=1e-6)
        assert (found - oracle(tiny_clip())).abs().max() > 1e-3


def test_half_precision_is_widened(model, tmp_path):
    save_file({name: t.half() for name, t in model.state_dict().items()}, tmp_path / "clip.safetensors")
    found = clip_text_embeddings(tmp_path / "clip.safetensors", TEXTS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, oracle(model), rtol=1e-2, atol=1e-2)


class _Evil:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("clip.safetensors", None, "there is no such file"),
        ("clip.safetensors", b"nonsense", "cannot be read as a file of tensors"),
        ("clip.safetensors", pickle.dumps(_Evil()), "cannot be read as a file of tensors"),
        ("clip.pt", pickle.dumps(_Evil()), "is not a .safetensors file"),
    ],
)
def test_other_files_are_refused_and_nothing_in_them_is_executed(tmp_path, capsys, name, content, fault):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(OptionError, match=fault):
        clip_text_embeddings(tmp_path / name, TEXTS)
    assert "executed" not in capsys.readouterr().out


def test_other_layouts_are_told_apart(model, tmp_path):
    path = tmp_path / "other.safetensors"
    tensors = dict(model.state_dict())
    save_file({"text_model.embeddings.weight": torch.zeros(3)}, path)
    with pytest.raises(OptionError, match="holds no CLIP text tower"):
        clip_text_embeddings(path, TEXTS)
    save_file({**tensors, "token_embedding.weight": torch.zeros(250_000 // 50, 128)}, path)
    with pytest.raises(OptionError, match="knows 5000 tokens, CLIP's tokenizer has 49408"):
        clip_text_embeddings(path, TEXTS)
    for broken in ({"ln_final.bias": torch.zeros(7)}, {"text_projection": torch.zeros(7)}):
        save_file({**tensors, **broken}, path)
        with pytest.raises(OptionError, match="text tower of another layout"):
            clip_text_embeddings(path, TEXTS)
    save_file({name: t for name, t in tensors.items() if "positional" not in name}, path)
    with pytest.raises(OptionError, match="text tower of another layout"):
        clip_text_embeddings(path, TEXTS)
