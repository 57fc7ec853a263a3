"""The image encoder of a classifier as an ONNX model.

Inputs are the windows of each modality, normalised as in training and cell after cell: ``hsi`` and ``lidar``
`[batch, side², channels]`; a cell that is missing holds the pixel in the centre. Outputs are ``z_image`` `[batch, D]`,
and for an LDC head its enhanced feature, ``feature`` `[batch, features]`. The graph computes what `FoldedEncoder` does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import helper
from torch import Tensor, nn

from . import __version__
from .classifier import Classifier
from .nn.folded import FeedForward, FoldedBlock, FoldedEncoder, LastBlock
from .nn.ldc import AdapterFusion
from .onnx_graph import Graph

MODALITIES = ("hsi", "lidar")


def onnx_model(classifier: Classifier, source: str) -> onnx.ModelProto:
    """The image encoder of `classifier`, which was read from a file with the hash `source`.

    Its metadata say so, and hold the side of the windows, the names of the classes, the normalisation as in
    workspace.json, and our version.
    """
    encoder = FoldedEncoder(classifier.model.image, classifier.model.fusion)
    model = encoder_model(encoder)
    metadata = {
        "version": __version__,
        "window": str(encoder.config.window),
        "classes": json.dumps(classifier.classes.names),
        "normalisation": json.dumps(classifier.stats.to_dict()),
        "classifier": source,
    }
    helper.set_model_props(model, metadata)
    return model


def encoder_model(encoder: FoldedEncoder) -> onnx.ModelProto:
    """The encoder alone."""
    graph, config = _Graph(), encoder.config
    channels = dict(zip(MODALITIES, config.channels, strict=False))
    modalities, count = len(channels), 1 + config.tokens
    windows = [_embedded(graph, encoder, modality, name) for modality, name in enumerate(channels)]
    rows = graph.reshape(graph.add("Concat", *windows, axis=0), -1, config.width)  # the modalities share all blocks
    levels = _levels(graph, encoder, rows)
    wanted = _pick(graph, levels[-1], count, config.width, encoder.wanted) if encoder.fusion else levels[-1]
    summary = graph.side_by_side(wanted, modalities, len(encoder.wanted) * config.width)
    projected = graph.add("MatMul", summary, graph.constant(encoder.projection.weight.T))
    length = graph.add("Max", graph.add("ReduceL2", projected, axes=[-1]), graph.constant(1e-12))
    graph.add("Div", projected, length, name="z_image")
    outputs = {"z_image": encoder.projection.out_features}
    if encoder.fusion:
        feature = _fused(graph, encoder.fusion, levels, count)
        graph.side_by_side(feature, modalities, config.width, name="feature")
        outputs["feature"] = encoder.fusion.features
    return graph.model(
        "image_encoder",
        {name: ["batch", config.tokens, size] for name, size in channels.items()},
        {name: ["batch", size] for name, size in outputs.items()},
    )


class _Graph(Graph):
    """With what transformers are made of."""

    def constant(self, value: ArrayLike | Tensor, dtype: DTypeLike = np.float32) -> str:
        """An array or a tensor."""
        return super().constant(value.numpy() if isinstance(value, Tensor) else value, dtype)

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(shape, np.int64))

    def side_by_side(self, x: str, modalities: int, width: int, name: str | None = None) -> str:
        """The values of one modality below those of another → `[batch, modalities · width]`."""
        below = self.reshape(x, modalities, -1, width)
        shape = self.constant([-1, modalities * width], np.int64)
        return self.add("Reshape", self.add("Transpose", below, perm=[1, 0, 2]), shape, name=name)

    def linear(self, x: str, linear: nn.Linear) -> str:
        return self.add("Gemm", x, self.constant(linear.weight.T), self.constant(linear.bias))

    def norm(self, x: str, width: int, epsilon: float) -> str:
        return self._norm(x, np.ones(width), np.zeros(width), epsilon)

    def layer_norm(self, x: str, norm: nn.LayerNorm) -> str:
        return self._norm(x, norm.weight, norm.bias, norm.eps)

    def _norm(self, x: str, weight: ArrayLike | Tensor, bias: ArrayLike | Tensor, epsilon: float) -> str:
        return self.add("LayerNormalization", x, self.constant(weight), self.constant(bias), epsilon=epsilon)


def _embedded(graph: _Graph, encoder: FoldedEncoder, modality: int, windows: str) -> str:
    """Tokens `[batch, 1 + side², D]` of the windows of one modality."""
    projection = cast(nn.Linear, encoder.projections[modality])
    projected = graph.add("MatMul", windows, graph.constant(projection.weight.T))
    pixels = graph.add("Add", projected, graph.constant(projection.bias + encoder.table[1:]))
    one_each = graph.constant([1, encoder.config.width], np.int64)
    shape = graph.add("Concat", graph.add("Shape", windows, start=0, end=1), one_each, axis=0)
    return graph.add("Concat", graph.add("Expand", graph.constant(encoder.table[:1]), shape), pixels, axis=1)


def _levels(graph: _Graph, encoder: FoldedEncoder, rows: str) -> list[str]:
    """Embedded tokens `[windows · tokens, D]` → levels as those of `FoldedEncoder`, in rows as well."""
    count = 1 + encoder.config.tokens
    levels = []
    for block in encoder.blocks:
        rows = _block(graph, cast(FoldedBlock, block), rows, count)
        levels.append(rows)
    if encoder.last:
        return [graph.layer_norm(_last_block(graph, encoder.last, rows, count, encoder.wanted), encoder.norm)]
    levels[-1] = graph.layer_norm(rows, encoder.norm)
    return levels


def _block(graph: _Graph, block: FoldedBlock, rows: str, count: int) -> str:
    width, heads = block.out.out_features, block.heads
    normed = graph.norm(rows, width, block.epsilon)
    query, key, value = (graph.constant(weight.T) for weight in block.qkv.weight.chunk(3))
    query = graph.add("Gemm", normed, query, graph.constant(block.qkv.bias[:width]))
    key, value = (graph.add("MatMul", normed, weight) for weight in (key, value))  # folded: they have no bias
    query, key, value = (graph.reshape(one, -1, count, heads, width // heads) for one in (query, key, value))
    query, value = (graph.add("Transpose", one, perm=[0, 2, 1, 3]) for one in (query, value))
    logits = graph.add("MatMul", query, graph.add("Transpose", key, perm=[0, 2, 3, 1]))
    attended = graph.add("MatMul", graph.add("Softmax", logits, axis=-1), value)
    joined = graph.reshape(graph.add("Transpose", attended, perm=[0, 2, 1, 3]), -1, width)
    return _feed_forward(graph, block.feed_forward, graph.add("Add", rows, graph.linear(joined, block.out)))


def _last_block(graph: _Graph, block: LastBlock, rows: str, count: int, wanted: Sequence[int]) -> str:
    """Wanted tokens `[batch · wanted, D]`."""
    width, joined = block.out.out_features, block.out.in_features
    normed = graph.norm(rows, width, block.epsilon)
    query = graph.linear(_pick(graph, normed, count, width, wanted), block.query)
    query = graph.reshape(query, -1, len(wanted) * joined // width, width)
    tokens = graph.reshape(normed, -1, count, width)
    logits = graph.add("MatMul", query, graph.add("Transpose", tokens, perm=[0, 2, 1]))
    attended = graph.reshape(graph.add("MatMul", graph.add("Softmax", logits, axis=-1), tokens), -1, joined)
    chosen = graph.add("Add", _pick(graph, rows, count, width, wanted), graph.linear(attended, block.out))
    return _feed_forward(graph, block.feed_forward, chosen)


def _feed_forward(graph: _Graph, part: FeedForward, rows: str) -> str:
    hidden = graph.linear(graph.norm(rows, part.down.out_features, part.epsilon), part.up)
    # GELU in the form that graph optimisers look for.
    error = graph.add("Erf", graph.add("Div", hidden, graph.constant(np.sqrt(2))))
    activated = graph.add("Mul", hidden, graph.add("Add", error, graph.constant(1)))
    activated = graph.add("Mul", activated, graph.constant(0.5))
    return graph.add("Add", rows, graph.linear(activated, part.down))


def _pick(graph: _Graph, rows: str, count: int, width: int, wanted: Sequence[int]) -> str:
    """The `wanted` ones of every `count` rows `[batch · count, width]`."""
    windows = graph.reshape(rows, -1, count, width)
    return graph.reshape(graph.add("Gather", windows, graph.constant(wanted, np.int64), axis=1), -1, width)


def _fused(graph: _Graph, fusion: AdapterFusion, levels: Sequence[str], count: int) -> str:
    """The enhanced feature of each window `[windows, D]`."""
    parts = []
    for weight, adapter, rows in zip(fusion.weights, fusion.adapters, levels, strict=True):
        linear, norm, _ = cast(Any, adapter)
        adapted = graph.add("Relu", graph.layer_norm(graph.linear(rows, linear), norm))
        mean = graph.add("ReduceMean", graph.reshape(adapted, -1, count, linear.out_features), axes=[1], keepdims=0)
        parts.append(graph.add("Mul", mean, graph.constant(weight)))
    return graph.add("Sum", *parts)
