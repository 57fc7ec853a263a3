"""Building ONNX models node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike
from onnx import TensorProto, helper, numpy_helper

from . import __version__

OPSET, IR = 17, 8  # as old as ONNX Runtime in plugins of QGIS; 17 brought LayerNormalization, and its files are of IR 8


class Graph:
    """Nodes and constants; values go by the names of the outputs that hold them."""

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []

    def constant(self, value: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        """An array."""
        name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype, order="C"), name))
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Integers, as shapes and indices are."""
        return self.constant(values, np.int64)

    def add(self, operator: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """A node; returns its output."""
        output = name or f"{self.prefix}{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def slice(self, x: str, start: str, end: str, axis: int) -> str:
        """Part of an axis; the bounds hold one integer each."""
        return self.add("Slice", x, start, end, self.integers([axis]))

    def body(self, name: str, inputs: Sequence[tuple[str, int, Any]], outputs: Sequence[str]) -> onnx.GraphProto:
        """The nodes as the body of a loop; inputs are name, type and shape."""
        given = [helper.make_tensor_value_info(*one) for one in inputs]
        result = [helper.make_empty_tensor_value_info(one) for one in outputs]
        return helper.make_graph(self.nodes, name, given, result, self.constants)

    def model(self, name: str, inputs: Mapping[str, list[Any]], outputs: Mapping[str, list[Any]]) -> onnx.ModelProto:
        """The model, with the shapes of its inputs and outputs, all float32."""
        given, result = (
            [helper.make_tensor_value_info(value, TensorProto.FLOAT, shape) for value, shape in one.items()]
            for one in (inputs, outputs)
        )
        return helper.make_model(
            helper.make_graph(self.nodes, name, given, result, self.constants),
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR,
            producer_name="diffclip-geo",
            producer_version=__version__,
        )
