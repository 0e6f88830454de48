"""How weights are stored in a page: 16 bits where that says the same or they are many, 32 where neither holds."""

import zlib

import numpy as np
import onnxruntime
from onnx import TensorProto, checker, helper, numpy_helper

from regard.exports.web.weights import deflated, halved


def product(weights):
    """x · weights, with a trace that an exporter left."""
    node = helper.make_node("MatMul", ["x", "weights"], ["y"])
    node.metadata_props.add(key="trace", value="/home/somebody/secret.py")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None]) for name in ("x", "y")]
    body = helper.make_graph([node], "product", ends[:1], ends[1:], [numpy_helper.from_array(weights, "weights")])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def answer(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def kinds(model):
    return {each.name: each.data_type for each in model.graph.initializer}


def test_weights_are_halved_where_that_changes_nothing_or_they_are_many():
    rng = np.random.default_rng(0)
    many = rng.standard_normal((256, 128)).astype(np.float32)
    few = many[:64, :64].copy()
    large = many.copy()
    large[0, 0] = 1e6
    same = many.astype(np.float16).astype(np.float32)
    for weights, half, exact in ((many, True, False), (few, False, True), (large, False, True), (same, True, True)):
        model = product(weights)
        stored, unchanged = halved(model)
        checker.check_model(stored)
        assert unchanged == exact
        assert kinds(stored) == ({"weights.half": TensorProto.FLOAT16} if half else {"weights": TensorProto.FLOAT})
        assert b"somebody" not in stored.SerializeToString()
        x = rng.standard_normal((1, len(weights))).astype(np.float32)
        if exact:
            np.testing.assert_array_equal(answer(stored, x), answer(model, x))
        else:
            difference = np.abs(answer(stored, x) - answer(model, x)).max()
            assert 0 < difference < 1e-3 * np.abs(answer(model, x)).max()
        assert kinds(model) == {"weights": TensorProto.FLOAT}  # what was given stays


def test_what_is_deflated_comes_back():
    assert zlib.decompress(deflated(b"regard" * 1000), -15) == b"regard" * 1000
