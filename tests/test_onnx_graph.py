import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from diffclip_geo.onnx_graph import IR, OPSET, Graph


def test_a_graph_computes_what_its_nodes_say():
    graph = Graph()
    body = Graph("step_")
    body.add("Add", "step_sum", body.constant([1.0, 2.0]), name="step_more")
    body.add("Identity", "step_condition", name="step_again")
    given = [
        ("step_number", TensorProto.INT64, []),
        ("step_condition", TensorProto.BOOL, []),
        ("step_sum", TensorProto.FLOAT, None),
    ]
    loop = body.body("step", given, ["step_again", "step_more"])
    start = graph.slice("numbers", graph.integers([1]), graph.integers([3]), 0)
    graph.add("Loop", graph.constant(3, np.int64), graph.constant(True, np.bool_), start, body=loop, name="sums")
    model = graph.model("sums", {"numbers": [4]}, {"sums": [2]})
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == IR and [one.version for one in model.opset_import] == [OPSET]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"numbers": np.arange(4, dtype=np.float32)})
    assert found == pytest.approx([4, 8])
