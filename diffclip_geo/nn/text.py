"""The text tower of stage 2: CLIP's tokenizer and a small text transformer over the words that the class texts use."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONTEXT = 77  # CLIP's longest text, in tokens


def tokenize(texts: Sequence[str]) -> list[list[int]]:
    """CLIP's byte-pair tokens of each text between the start and end tokens; longer texts are cut to `CONTEXT`."""
    from open_clip.tokenizer import SimpleTokenizer  # imported here: it costs seconds

    tokenizer = SimpleTokenizer()
    start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
    return [[start, *tokenizer.encode(text)[: CONTEXT - 2], end] for text in texts]


def compact_vocabulary(tokens: Sequence[Sequence[int]]) -> list[int]:
    """The sorted token numbers that occur.

    A network trained from scratch learns nothing about other words, so it holds none. Sorting keeps the end token the
    largest, which is how the text transformer finds it.
    """
    return sorted({token for text in tokens for token in text})


def encode_tokens(tokens: Sequence[Sequence[int]], vocabulary: Sequence[int]) -> Tensor:
    """Tokens by their place in `vocabulary`, padded at the end with 0; int64 `[texts, longest]`."""
    place = {token: index for index, token in enumerate(vocabulary)}
    longest = max(map(len, tokens))
    return torch.tensor([[place[token] for token in text] + [0] * (longest - len(text)) for text in tokens])


class TextEncoder(nn.Module):
    """Texts → unit vectors z_text."""

    def __init__(self, vocabulary: int, context: int, width: int, depth: int, heads: int, out: int) -> None:
        super().__init__()
        from open_clip.transformer import TextTransformer

        self.transformer = TextTransformer(
            context_length=context, vocab_size=vocabulary, width=width, heads=heads, layers=depth, output_dim=out
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Encoded tokens `[texts, context]` → `[texts, out]` of unit length."""
        return F.normalize(self.transformer(tokens), dim=-1)


class ProjectedTexts(nn.Module):
    """Fixed vectors of texts, from a pretrained tower → unit vectors z_text, by a learned linear map."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, out)

    def forward(self, vectors: Tensor) -> Tensor:
        """`[texts, width]` → `[texts, out]` of unit length."""
        return F.normalize(self.projection(vectors), dim=-1)
