"""Pretrained CLIP text towers from local files: texts → fixed vectors, which stage 2 maps to z_text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .errors import OptionError
from .nn.text import CONTEXT, tokenize

VOCABULARY = 49408  # of CLIP's tokenizer
_HEAD_WIDTH = 64  # of every published CLIP text tower
_REMEDY = "give the state dict of an OpenAI or open_clip CLIP model, saved by safetensors"
_PREFIXES = ("", "module.", "text.", "module.text.")  # as saved, from parallel training, CustomTextCLIP of open_clip
_OPENAI = {"input_resolution", "context_length", "vocab_size"}  # buffers that OpenAI's own state dicts carry


def clip_text_embeddings(path: Path, texts: Sequence[str]) -> Tensor:
    """Unit vectors of the texts by the CLIP text tower in a file; float32 `[texts, D]`.

    The file is a state dict of OpenAI's CLIP or of open_clip, as safetensors: a .pt file is a pickle, and is
    refused. Its activation is GELU, but for OpenAI's own dicts and file names with openai or quickgelu in them,
    which have x·σ(1.702x). Raises OptionError for any other file.
    """
    tensors, quick = _text_tensors(path)
    tower = _tower(path, tensors, quick)
    tokens = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
    for row, text in zip(tokens, tokenize(texts), strict=True):
        row[: len(text)] = torch.tensor(text)
    with torch.inference_mode():
        embedded: Tensor = F.normalize(tower.eval()(tokens), dim=-1)
    return embedded.clone()


def _text_tensors(path: Path) -> tuple[dict[str, Tensor], bool]:
    """The tensors of the text tower by open_clip's names, float32, and whether its activation is QuickGELU."""
    if not path.is_file():
        raise OptionError(path, "there is no such file of text weights", "check the path")
    quick = any(word in path.name.casefold() for word in ("openai", "quickgelu"))
    if path.suffix != ".safetensors":
        raise OptionError(path, "is not a .safetensors file", _REMEDY)
    try:
        with safe_open(str(path), "pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys() if not name.startswith("visual.")}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise OptionError(path, "cannot be read as a file of tensors", _REMEDY) from error
    prefix = next((prefix for prefix in _PREFIXES if f"{prefix}token_embedding.weight" in found), None)
    if prefix is None:
        raise OptionError(path, "holds no CLIP text tower (no token_embedding.weight)", _REMEDY)
    wanted = ("token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection")
    text = {
        name.removeprefix(prefix): tensor.float()
        for name, tensor in found.items()
        if name.startswith(prefix) and name.removeprefix(prefix).startswith(wanted)
    }
    return text, quick or found.keys() >= _OPENAI


def _tower(path: Path, tensors: dict[str, Tensor], quick: bool) -> nn.Module:
    from open_clip.transformer import QuickGELU, TextTransformer

    vocabulary, width = tensors["token_embedding.weight"].shape
    if vocabulary != VOCABULARY:
        raise OptionError(path, f"knows {vocabulary} tokens, CLIP's tokenizer has {VOCABULARY}", _REMEDY)
    layers = {int(name.split(".")[2]) for name in tensors if name.startswith("transformer.resblocks.")}
    try:
        tower = TextTransformer(
            context_length=CONTEXT,
            vocab_size=vocabulary,
            width=width,
            heads=max(1, width // _HEAD_WIDTH),
            layers=len(layers),
            output_dim=tensors["text_projection"].shape[1],
            act_layer=QuickGELU if quick else nn.GELU,
        )
        tower.load_state_dict(tensors)
    except (KeyError, IndexError, ValueError, RuntimeError, AssertionError) as error:
        raise OptionError(path, "has a text tower of another layout", _REMEDY) from error
    return tower
