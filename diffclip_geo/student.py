"""The student of the fast engine: a fully convolutional network as an ONNX model.

It sees what the kernel heads see, the views of a scene (whitened components of all channels, as they are and smoothed
at several scales), and has one small network on top. Where that network is in doubt between two classes, the kernel
heads themselves are computed, and the network only adds what they leave out.

Inputs are ``hsi`` `[S, H, W]` and ``lidar`` `[C, H, W]` in raster values, and ``valid`` `[H, W]`, 1 or 0; the output
``probabilities`` is `[H − 2·margin, W − 2·margin, K]`. H is a multiple of 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from .fast import ROWS
from .kernel import Term
from .kernel_heads import KernelHeads
from .normalisation import CLIP, Array, ChannelTransform
from .onnx_graph import Graph
from .views import CUT, REACH, SCALES, View

PIECE = 512  # doubtful pixels whose kernels are computed at a time: their distances fit the cache


@dataclass(frozen=True)
class Refinement:
    """How pixels in doubt are decided: scores of the kernel heads, and what the network adds to them."""

    kernels: KernelHeads
    gain: float  # of the kernel scores
    rest: tuple[Array, Array]  # weight [K, hidden] and bias [K]
    doubt: float  # lead of the first class over the second, in log-probability, below which a pixel is in doubt


@dataclass(frozen=True)
class Student:
    """What the network is made of. Layers are pairs of weight `[out, in]` and bias `[out]`."""

    views: tuple[View, ...]
    bands: int  # S
    layers: int  # C, of LiDAR
    hidden: tuple[tuple[Array, Array], ...]
    output: tuple[Array, Array]  # log-probabilities, up to a constant
    refinement: Refinement | None = None

    @property
    def classes(self) -> int:
        """K."""
        return len(self.output[1])

    def model(self) -> onnx.ModelProto:
        """The network as an ONNX model."""
        graph = Graph()
        features = _features(graph, _plain(self.views), self.bands, self.layers)
        hidden = features
        for layer in self.hidden:
            hidden = graph.add("Relu", _linear(graph, layer, hidden))
        scores = _linear(graph, self.output, hidden)
        pixels = graph.add("Transpose", scores, perm=[1, 0])
        if self.refinement:
            doubtful = _doubtful(graph, scores, self.refinement.doubt)
            pixels = _refined(graph, self.refinement, self.views, doubtful, features, hidden, pixels)
        shape = graph.add("Concat", _core_shape(graph), graph.integers([self.classes]), axis=0)
        graph.add("Reshape", graph.add("Softmax", pixels, axis=-1), shape, name="probabilities")
        return graph.model("student", _inputs(self.bands, self.layers), {"probabilities": ["h", "w", self.classes]})


def feature_model(views: Sequence[View], bands: int, layers: int) -> onnx.ModelProto:
    """The part of the model below the network: its output is ``features`` `[F, pixels]`, scale by scale, in each those
    of one plain view after those of another.
    """
    graph = Graph()
    plain = _plain(views)
    graph.add("Identity", _features(graph, plain, bands, layers), name="features")
    size = sum(view.transform.channels for view in plain) * (1 + len(SCALES))
    return graph.model("student", _inputs(bands, layers), {"features": [size, "pixels"]})


def view_rows(views: Sequence[View], view: int, *, widest: bool = False) -> NDArray[np.int64]:
    """Which rows of the features belong to a view, in its own order: scale by scale, component by component.

    With `widest`, at every scale the rows of the widest one: what a relative view takes from the others. It shares its
    rows with the plain view that it is the relative of.
    """
    sizes = [one.transform.channels for one in _plain(views)]
    view %= len(sizes)
    first, total = sum(sizes[:view]), sum(sizes)
    scale = np.full(1 + len(SCALES), len(SCALES)) if widest else np.arange(1 + len(SCALES))
    return (scale[:, None] * total + first + np.arange(sizes[view])).ravel()


def view_features(features: Array, views: Sequence[View], view: int) -> Array:
    """What a view gives, from the features `[N, F]` of the model; `[N, components · (1 + scales)]`."""
    mine = features[:, view_rows(views, view)]
    if views[view].relative:
        mine = mine - features[:, view_rows(views, view, widest=True)]
    return mine * view_weights(views[view])


def _plain(views: Sequence[View]) -> list[View]:
    """Those that are not relative; they come first, and the relative ones in the same order."""
    return [view for view in views if not view.relative]


def view_weights(view: View) -> Array:
    """What the features of a view are multiplied by to be as `View` gives them, row by row."""
    return np.repeat(view.weights, view.transform.channels)


def _linear(graph: Graph, layer: tuple[Array, Array], columns: str) -> str:
    """Weight · columns + bias; `[in, N]` → `[out, N]`."""
    weight, bias = layer
    return graph.add("Gemm", graph.constant(weight), columns, graph.constant(bias[:, None]))


def _inputs(bands: int, layers: int) -> dict[str, list[Any]]:
    lidar = {"lidar": [layers, "H", "W"]} if layers else {}
    return {"hsi": [bands, "H", "W"], **lidar, "valid": ["H", "W"]}


def _core_shape(graph: Graph) -> str:
    """Height and width without the margin."""
    return graph.add("Sub", graph.add("Shape", "valid"), graph.integers([2 * REACH]))


def _features(graph: Graph, views: Sequence[View], bands: int, layers: int) -> str:
    """Components of all views at all scales, without the weights of the scales; `[F, core pixels]`."""
    whole = graph.add("Concat", graph.integers([1, -1]), graph.add("Shape", "valid"), axis=0)
    valid = graph.add("Reshape", "valid", whole)
    components = graph.add("Reshape", _components(graph, views, bands, layers), whole)
    components = graph.add("Mul", components, valid)
    count = sum(view.transform.channels for view in views)
    scales = [_cropped(graph, components, REACH)]
    for scale in SCALES:
        total, known = _smooth(graph, components, count, scale), _smooth(graph, valid, 1, scale)
        scales.append(graph.add("Div", total, graph.add("Max", known, graph.constant(1e-6))))
    rows = graph.integers([count, -1])
    return graph.add("Concat", *(graph.add("Reshape", one, rows) for one in scales), axis=0)


def _components(graph: Graph, views: Sequence[View], bands: int, layers: int) -> str:
    """What the transforms of the views make of each pixel, `[components, H, W]`.

    A clipped band enters a component linearly: one matrix product makes all components of a view. A few rows at a time
    are clipped and multiplied while they are in the caches.
    """
    rows = Graph("rows_")
    start = rows.add("Mul", "rows_number", rows.integers([ROWS]))
    strip = rows.slice("hsi", start, rows.add("Add", start, rows.integers([ROWS])), 1)
    pixels = rows.add("Reshape", strip, rows.integers([bands, -1]))
    parts = [_spectral(rows, view.transform, pixels, bands) for view in views]
    shape = rows.add("Concat", rows.integers([-1]), rows.add("Shape", strip, start=1), axis=0)
    rows.add("Reshape", rows.add("Concat", *parts, axis=0), shape, name="rows_components")
    rows.add("Identity", "rows_condition", name="rows_again")
    inputs: list[tuple[str, int, Any]] = [
        ("rows_number", TensorProto.INT64, []),
        ("rows_condition", TensorProto.BOOL, []),
    ]
    height = graph.add("Reshape", graph.add("Shape", "hsi", start=1, end=2), graph.integers([]))
    strips = graph.add("Div", height, graph.constant(ROWS, np.int64))
    loop = rows.body("rows", inputs, ["rows_again", "rows_components"])
    stacked = graph.add("Loop", strips, graph.constant(True, np.bool_), body=loop)
    count = sum(view.transform.channels for view in views)
    spectral = graph.add("Reshape", graph.add("Transpose", stacked, perm=[1, 0, 2, 3]), graph.integers([count, -1]))
    return graph.add("Add", spectral, _offsets(graph, views, bands, layers))


def _spectral(graph: Graph, transform: ChannelTransform, pixels: str, bands: int) -> str:
    """The share of the spectrum `[S, n]` in the components `[D, n]`, but for their constant part."""
    low = transform.centre[:bands].astype(np.float64) - CLIP * transform.scale[:bands]
    high = low + 2 * CLIP * transform.scale[:bands]
    weight = (_mixing(transform)[:bands] / transform.scale[:bands, None]).T
    if transform.reference is not None:
        reference = transform.reference.astype(np.float64)
        brightness = graph.add(
            "MatMul", graph.constant(1 / (reference**2 * bands)[None]), graph.add("Mul", pixels, pixels)
        )
        dark = graph.add("Sqrt", graph.add("Max", brightness, graph.constant(1e-30)))
        pixels = graph.add("Mul", pixels, graph.add("Reciprocal", dark))
        ends = np.sort([reference * low, reference * high], 0)
        low, high, weight = ends[0], ends[1], weight / reference
    clipped = graph.add("Max", graph.add("Min", pixels, graph.constant(high[:, None])), graph.constant(low[:, None]))
    return graph.add("MatMul", graph.constant(weight), clipped)


def _offsets(graph: Graph, views: Sequence[View], bands: int, layers: int) -> str:
    """The constant part of the components and the share of LiDAR in them, `[components, 1]` or `[components, H·W]`."""
    spectra = [view.transform.centre[:bands] / view.transform.scale[:bands] for view in views]
    mixing = [_mixing(view.transform) for view in views]
    constant = np.concatenate([-one @ m[:bands] for one, m in zip(spectra, mixing, strict=True)])[:, None]
    if not layers:
        return graph.constant(constant)
    shared = views[0].transform  # all views standardise LiDAR alike
    values = graph.add("Reshape", "lidar", graph.integers([layers, -1]))
    values = graph.add("Sub", values, graph.constant(shared.centre[bands:, None]))
    values = graph.add("Div", values, graph.constant(shared.scale[bands:, None]))
    values = graph.add("Clip", values, graph.constant(-CLIP), graph.constant(CLIP))
    return graph.add(
        "Gemm", graph.constant(np.concatenate([m[bands:].T for m in mixing])), values, graph.constant(constant)
    )


def _mixing(transform: ChannelTransform) -> NDArray[np.float64]:
    """`[channels, components]`."""
    return np.eye(transform.channels) if transform.mixing is None else transform.mixing.astype(np.float64)


def _smooth(graph: Graph, image: str, channels: int, scale: float) -> str:
    """Gaussian sum of each channel inside the margin; `[1, C, H, W]` → `[1, C, h, w]`."""
    radius = int(CUT * scale + 0.5)
    near = _cropped(graph, image, REACH - radius)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / scale) ** 2)
    kernel = np.tile(kernel / kernel.sum(), (channels, 1))
    across = graph.add("Conv", near, graph.constant(kernel[:, None, None, :]), group=channels)
    return graph.add("Conv", across, graph.constant(kernel[:, None, :, None]), group=channels)


def _cropped(graph: Graph, image: str, border: int) -> str:
    """Images `[1, C, H, W]` without a border."""
    if not border:
        return image
    ends = graph.integers([border, border]), graph.integers([-border, -border])
    return graph.add("Slice", image, *ends, graph.integers([2, 3]))


def _doubtful(graph: Graph, scores: str, doubt: float) -> str:
    """Indices of the valid core pixels whose first class leads by less than `doubt`; `[n]`."""
    first = graph.add("ReduceMax", scores, axes=[0], keepdims=1)
    others = graph.add("Where", graph.add("Equal", scores, first), graph.constant(-1e30), scores)
    lead = graph.add("Sub", first, graph.add("ReduceMax", others, axes=[0], keepdims=1))
    ends = graph.integers([REACH, REACH]), graph.integers([-REACH, -REACH]), graph.integers([0, 1])
    valid = graph.add("Reshape", graph.add("Slice", "valid", *ends), graph.integers([1, -1]))
    unsure = graph.add("Less", lead, graph.constant(doubt))
    both = graph.add("And", unsure, graph.add("Greater", valid, graph.constant(0)))
    column = graph.slice(graph.add("NonZero", both), graph.integers([1]), graph.integers([2]), 0)
    return graph.add("Reshape", column, graph.integers([-1]))


def _refined(
    graph: Graph,
    refinement: Refinement,
    views: Sequence[View],
    doubtful: str,
    features: str,
    hidden: str,
    pixels: str,
) -> str:
    """`pixels` `[N, K]` with those in doubt decided by the kernel heads, piece by piece."""
    count = graph.add("Size", doubtful)
    body = Graph("piece_")
    start = body.add("Mul", "piece_number", body.integers([PIECE]))
    end = body.add("Min", body.add("Add", start, body.integers([PIECE])), count)
    index = body.slice(doubtful, start, end, 0)
    seen = body.add("Gather", features, index, axis=1)
    rest = _linear(body, refinement.rest, body.add("Gather", hidden, index, axis=1))
    scores = body.add("Add", _kernel_scores(body, refinement, views, seen), rest)
    places = body.add("Unsqueeze", index, body.integers([1]))
    body.add("ScatterND", "piece_pixels", places, body.add("Transpose", scores, perm=[1, 0]), name="piece_decided")
    body.add("Identity", "piece_condition", name="piece_again")
    inputs: list[tuple[str, int, Any]] = [
        ("piece_number", TensorProto.INT64, []),
        ("piece_condition", TensorProto.BOOL, []),
        ("piece_pixels", TensorProto.FLOAT, None),
    ]
    more = graph.add("Add", count, graph.constant(PIECE - 1, np.int64))
    pieces = graph.add("Div", more, graph.constant(PIECE, np.int64))
    loop = body.body("piece", inputs, ["piece_again", "piece_decided"])
    return graph.add("Loop", pieces, graph.constant(True, np.bool_), pixels, body=loop)


def _kernel_scores(graph: Graph, refinement: Refinement, views: Sequence[View], features: str) -> str:
    """Scores of the kernel heads; features `[F, n]` → `[K, n]`."""
    parts = []
    heads = refinement.kernels
    for head, weight in zip(heads.heads, heads.weights, strict=True):
        kernels = [_kernel(graph, term, views, features) for term in head.terms]
        coefficients = graph.constant(refinement.gain * weight * head.coefficients.T)
        parts.append(graph.add("MatMul", coefficients, graph.add("Sum", *kernels)))
    return graph.add("Sum", *parts)


def _kernel(graph: Graph, term: Term, views: Sequence[View], features: str) -> str:
    """Similarity to the shots, times the share; features `[F, n]` → `[shots, n]`."""
    mine = graph.add("Gather", features, graph.integers(view_rows(views, term.view).tolist()), axis=0)
    if views[term.view].relative:
        widest = view_rows(views, term.view, widest=True).tolist()
        mine = graph.add("Sub", mine, graph.add("Gather", features, graph.integers(widest), axis=0))
    mine = graph.add("Mul", mine, graph.constant((view_weights(views[term.view]) * term.scale)[:, None]))
    distance = {"gaussian": _squared_distance, "laplace": _city_block_distance}[term.metric](graph, mine, term.shots)
    return graph.add(
        "Mul", graph.add("Exp", graph.add("Mul", distance, graph.constant(-1 / term.width))), graph.constant(term.share)
    )


def _squared_distance(graph: Graph, pixels: str, shots: Array) -> str:
    """Of columns `[F, n]` to shots `[shots, F]`; `[shots, n]`."""
    product = graph.add("Gemm", graph.constant(-2 * shots), pixels, graph.constant((shots**2).sum(1)[:, None]))
    square = graph.add("Add", product, graph.add("ReduceSumSquare", pixels, axes=[0], keepdims=1))
    return graph.add("Max", square, graph.constant(0))


def _city_block_distance(graph: Graph, pixels: str, shots: Array) -> str:
    """Of columns `[F, n]` to shots `[shots, F]`, feature by feature; `[shots, n]`.

    Σ|a − b| = 2 Σ max(a, b) − Σa − Σb, whose sums of one side alone leave two operations per pair for three.
    """
    prefix = f"{graph.prefix}{len(graph.nodes)}_"
    body = Graph(prefix)
    larger = body.add("Max", f"{prefix}pixel", body.add("Unsqueeze", f"{prefix}shot", body.integers([1])))
    body.add("Add", larger, f"{prefix}sum", name=f"{prefix}total")
    inputs = [(f"{prefix}{name}", TensorProto.FLOAT, None) for name in ("sum", "pixel", "shot")]
    loop = body.body(f"{prefix}feature", inputs, [f"{prefix}total"])
    alone = graph.add("Add", graph.constant(shots.sum(1)[:, None]), graph.add("ReduceSum", pixels, graph.integers([0])))
    start = graph.add("Mul", alone, graph.constant(-0.5))
    half = graph.add("Scan", start, pixels, graph.constant(shots.T), body=loop, num_scan_inputs=2)
    return graph.add("Mul", half, graph.constant(2))
