"""The graph as it goes into a page: weights stored in 16 bits and widened when it is opened, nothing beside."""

import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

SMALL = 16384
"""Values up to which a weight that 16 bits would change stays as it is, at hardly any price: norms and biases."""
HALF = ".half"


def halved(model: "onnx.ModelProto") -> tuple["onnx.ModelProto", bool]:
    """The graph with its large weights as fp16, each cast to float32 by a node of its own, which a runtime does once
    when it opens the graph (onnxruntime-web's kernels multiply no fp16); and whether that changes no value.

    A weight that fp16 cannot hold stays as it is. Names of files and traces that an exporter left are taken out.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    result = ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    casts = []
    exact = True
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        same = bool((half == values).all())
        if not same and (values.size <= SMALL or not np.isfinite(half).all()):
            continue
        exact = exact and same
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, name + HALF))
        casts.append(helper.make_node("Cast", [name + HALF], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.input, *graph.output, *graph.value_info):
        del value.metadata_props[:]
    del graph.value_info[:], graph.metadata_props[:], result.metadata_props[:]
    return result, exact


def deflated(content: bytes) -> bytes:
    """Deflated without a frame, as browsers take it."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    return deflate.compress(content) + deflate.flush()
