"""The student of the fast engine as a model for the QGIS plugin Deepness: one raster layer in, one map of classes out.

The plugin hands over square tiles `[1, C, T, T]` of one layer, its values divided by 255, and takes as many channels
`[1, K + 1, T, T]` back: the probability of "no data" and of each class. What it asks users for (type, tile, overlap,
resolution, names of the classes) it reads from the model's metadata, whose values are JSON.

Channels are all bands of the image in the order of the file, then those of the LiDAR rasters: an image alone is a layer
that fits as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .errors import OptionError
from .onnx_graph import Graph
from .rasters import UNDECLARED_FILLS, open_raster, reflectance_divisor
from .scenes import Scene
from .views import REACH

TILE = 256  # pixels a side
OVERLAP = math.ceil(100 * (2 * REACH + 1) / TILE)  # percent; tiles then keep only pixels that see their whole context
NO_DATA = "no data"
_DIVISOR = 255.0  # of the plugin
_LARGEST = 1e30  # beyond it lies fill
_PRECISION = 1e-6  # with which values come back from a division in float32
_CENTIMETRES = 100


def deepness_model(student: bytes, scene: Scene, names: Sequence[str]) -> onnx.ModelProto:
    """The student in ONNX form, which was distilled on `scene`, with what the plugin expects around it.

    Raises RasterError when the rasters of the scene cannot be read, and OptionError as `check_scene` does.
    """
    check_scene(scene)
    channels, fills, count = _channels(scene)
    graph = Graph("tile_")
    _given(graph, channels, fills, len(scene.band_indices), count)
    inner = onnx.load_model_from_string(student).graph
    graph.nodes += inner.node
    graph.constants += inner.initializer
    _taken(graph)
    taken, given = [1, count, TILE, TILE], [1, len(names) + 1, TILE, TILE]
    model = graph.model("deepness", {"image": taken}, {"classes": given})
    helper.set_model_props(model, {key: json.dumps(value) for key, value in _facts(scene, names).items()})
    return model


def check_scene(scene: Scene) -> None:
    """Raise OptionError when a scene has what is not in its rasters: derived layers, an image on another grid."""
    if scene.derived:
        raise _unfit("has layers derived from LiDAR, which the plugin does not derive")
    if scene.image_grid is not None:
        raise _unfit("has an image interpolated to the grid of LiDAR, which the plugin does not do")


def _unfit(fault: str) -> OptionError:
    return OptionError("--format deepness", f"cannot be used: the workspace {fault}", "use classify --engine fast")


def _facts(scene: Scene, names: Sequence[str]) -> dict[str, object]:
    facts: dict[str, object] = {
        "model_type": "Segmentor",
        "class_names": {str(number): name for number, name in enumerate([NO_DATA, *names])},
        "tile_size": TILE,
        "tiles_size": TILE,
        "tiles_overlap": OVERLAP,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
    crs = scene.grid.crs
    if crs is not None and crs.is_projected:
        facts["resolution"] = round(_CENTIMETRES * crs.linear_units_factor[1] * abs(scene.grid.transform.a), 6)
    return facts


@dataclass(frozen=True)
class _Channel:
    """How a band in use is read from the layer."""

    index: int  # in the layer, from 0
    factor: float  # of its values, after the scale that GDAL applies
    nodata: float | None  # in the layer's values; None as well where 0 counts for whole spectra only


def _channels(scene: Scene) -> tuple[list[_Channel], tuple[float, ...], int]:
    """The bands in use, first those of the image; values that fill whole spectra; the number of bands in the layer."""
    with open_raster(scene.hsi_path) as image:
        factor, total = 1 / reflectance_divisor(image), image.count
        found = [_Channel(index, factor, _finite(image.nodatavals[index]) or None) for index in scene.band_indices]
        undeclared = image.nodata is None or math.isnan(image.nodata)
        zero = image.nodata == 0
    fills: tuple[float, ...] = (0.0,) if zero else ()
    if undeclared and len(found) > 1:
        fills = (0.0, *UNDECLARED_FILLS)
    for path, nodata in zip(scene.lidar_paths, scene.lidar_nodata, strict=True):
        with open_raster(path) as raster:
            found += [_Channel(total + band, 1.0, _finite(nodata)) for band in range(raster.count)]
            total += raster.count
    return found, fills, total


def _finite(nodata: float | None) -> float | None:
    """A value that can be compared with; QGIS leaves it as the file has it, whatever the scale of the band."""
    return nodata if nodata is not None and math.isfinite(nodata) else None


def _given(graph: Graph, channels: Sequence[_Channel], fills: Sequence[float], bands: int, count: int) -> None:
    """Add what makes the inputs of the student, with a margin of invalid pixels, of a tile with `count` channels.

    The first `bands` of the `channels` are those of the image.
    """
    tile = graph.add("Reshape", "image", graph.integers([count, TILE, TILE]))
    values = graph.add("Gather", tile, graph.integers([one.index for one in channels]), axis=0)
    values = graph.add("Mul", values, graph.constant(_DIVISOR))
    invalid = _invalid(graph, values, channels, fills, bands)
    factors = graph.constant(np.array([one.factor for one in channels])[:, None, None])
    values = graph.add("Where", invalid, graph.constant(0), graph.add("Mul", values, factors))
    border = graph.integers([0, REACH, REACH, 0, REACH, REACH])
    values = graph.add("Pad", values, border)
    graph.add("Slice", values, graph.integers([0]), graph.integers([bands]), graph.integers([0]), name="hsi")
    if bands < len(channels):
        ends = graph.integers([bands]), graph.integers([len(channels)])
        graph.add("Slice", values, *ends, graph.integers([0]), name="lidar")
    graph.add("Cast", graph.add("Not", invalid), to=TensorProto.FLOAT, name="tile_valid")
    side = graph.integers([TILE + 2 * REACH] * 2)
    graph.add("Reshape", graph.add("Pad", "tile_valid", border), side, name="valid")


def _invalid(graph: Graph, values: str, channels: Sequence[_Channel], fills: Sequence[float], bands: int) -> str:
    """Which pixels are nodata, by the rules of `Scene`; `[C, T, T]` → `[1, T, T]`."""
    finite = graph.add("Less", graph.add("Abs", values), graph.constant(_LARGEST))  # False for NaN, too
    invalid = graph.add("Not", _all(graph, finite))
    declared = [number for number, one in enumerate(channels) if one.nodata is not None]
    if declared:
        some = graph.add("Gather", values, graph.integers(declared), axis=0)
        away = _away(graph, some, np.array([channels[number].nodata for number in declared], np.float64))
        invalid = graph.add("Or", invalid, graph.add("Not", _all(graph, away)))
    spectrum = graph.add("Slice", values, graph.integers([0]), graph.integers([bands]), graph.integers([0]))
    for fill in fills:
        filled = _all(graph, graph.add("Not", _away(graph, spectrum, np.full(bands, fill))))
        invalid = graph.add("Or", invalid, filled)
    return invalid


def _all(graph: Graph, test: str) -> str:
    """Whether a test `[C, T, T]` holds in all channels; `[1, T, T]`."""
    least = graph.add("ReduceMin", graph.add("Cast", test, to=TensorProto.FLOAT), axes=[0], keepdims=1)
    return graph.add("Greater", least, graph.constant(0.5))


def _away(graph: Graph, values: str, fill: NDArray[np.float64]) -> str:
    """Where channels differ from their fill by more than the division by the plugin can have changed them."""
    distance = graph.add("Abs", graph.add("Sub", values, graph.constant(fill[:, None, None])))
    return graph.add("Greater", distance, graph.constant((_PRECISION * np.abs(fill))[:, None, None]))


def _taken(graph: Graph) -> None:
    """Add what makes the plugin's channels of the student's probabilities."""
    classes = graph.add("Transpose", "probabilities", perm=[2, 0, 1])
    known = graph.add("Mul", classes, "tile_valid")
    nothing = graph.add("Sub", graph.constant(1), "tile_valid")
    graph.add("Unsqueeze", graph.add("Concat", nothing, known, axis=0), graph.integers([0]), name="classes")
