"""A graph written by hand, in the place of a network: patches, a layer, logits and each patch's share in them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES = ("ant", "bee", "cat", "dog", "eel")
WIDTH, HIDDEN = 64, 256


def graph(outlier: float = 1.0) -> onnx.ModelProto:
    """Patches of pixels (batch, 3, 16, 24), a layer with GELU, logits of their mean, and each patch's share in them.

    One hidden channel is `outlier` times as large as without, and counts as much less.
    """
    random = np.random.default_rng(0)
    gain = np.ones(HIDDEN)
    gain[3] = outlier
    weights = {
        "embed": random.normal(size=(192, WIDTH)) / 14,
        "up": random.normal(size=(WIDTH, HIDDEN)) / 8,
        "gain": gain,
        "down": random.normal(size=(WIDTH, HIDDEN)) / 16 / gain,  # turned in the graph, as an exporter may leave it
        "head": random.normal(size=(WIDTH, len(CLASSES))) / 8,
        "direction": random.normal(size=(WIDTH, 2 * 32)) / 8,
        "shape": np.array([-1, 6, 192], np.int64),
        "grid": np.array([0, -1, 2, 3], np.int64),
    }
    steps = [
        ("Reshape", ["pixels", "shape"], "patches", {}),
        ("MatMul", ["patches", "embed"], "tokens", {}),
        ("MatMul", ["tokens", "up"], "wide", {}),
        ("Relu", ["wide"], "positive", {}),
        ("Mul", ["positive", "gain"], "active", {}),
        ("Transpose", ["down"], "turned", {"perm": [1, 0]}),
        ("MatMul", ["active", "turned"], "out", {}),
        ("ReduceMean", ["out", "axis"], "pooled", {"keepdims": 0}),
        ("MatMul", ["pooled", "head"], "logits", {}),
        ("MatMul", ["out", "direction"], "shares", {}),
        ("Transpose", ["shares"], "by class", {"perm": [0, 2, 1]}),
        ("Reshape", ["by class", "grid"], "map", {}),
    ]
    constants = [
        numpy_helper.from_array(each if each.dtype == np.int64 else each.astype(np.float32), name)
        for name, each in {**weights, "axis": np.array([1], np.int64)}.items()
    ]
    made = helper.make_graph(
        [helper.make_node(kind, inputs, [name], name=name, **more) for kind, inputs, name, more in steps],
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, 16, 24])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(CLASSES)]),
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["batch", 64, 2, 3]),
        ],
        constants,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
