"""The same graph in smaller numbers: weights in 16 bits, or products of matrices in 8.

Inputs and outputs stay float32 either way, and so do attention, norms, the embedding of patches, the head, and what
makes the maps.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from regard.exports.onnx.runner import Runner

SMALLEST = 1024
"""Constants of fewer numbers stay as they are: norms, biases, what shapes are made of."""

POWER = 0.7
"""How much of the way large activations are moved into the weights: see `int8`."""


def fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with its large constants stored in 16 bits and cast to 32 when it is opened.

    Arithmetic stays in 32 bits: onnxruntime's CPU has no products of 16, and a cast of a constant is done once. What 16
    bits cannot hold stays as it is.
    """
    result = _copied(model)
    casts = []
    for tensor in result.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALLEST:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.isfinite(half).all():
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    _put_nodes(result, [*casts, *result.graph.node])
    return result


def int8(model: onnx.ModelProto, calibration: NDArray[np.float32]) -> onnx.ModelProto:
    """The graph with its products of activations and weights in 8 bits: weights by output channel, activations by the
    range that they have in each call.

    A few channels of a vision transformer are far larger than all others (behind GELU above all), and one range for all
    would leave the others a handful of levels. So each channel is divided beforehand, and its weights multiplied, by
    a^p / w^(1 - p), of the largest activation a and weight w that it has, which changes nothing in exact arithmetic
    (SmoothQuant, arXiv 2211.10438). `calibration` (n, channels, height, width) are the prepared pictures that a is
    taken from: never those that are scored.
    """
    result = _copied(model)
    chosen = dict(_products(result))
    largest = _largest(model, [node.input[0] for node in result.graph.node if node.output[0] in chosen], calibration)
    nodes: list[onnx.NodeProto] = []
    for node in result.graph.node:
        weight = chosen.get(node.output[0])
        nodes.extend([node] if weight is None else _in_eight_bits(result.graph, node, weight, largest[node.input[0]]))
    _put_nodes(result, nodes)
    return result


def _in_eight_bits(
    graph: onnx.GraphProto, node: onnx.NodeProto, weight: NDArray[np.float32], largest: NDArray[np.float32]
) -> Iterator[onnx.NodeProto]:
    """What stands in the place of a product with `weight` (inputs, outputs): the pattern that onnxruntime fuses."""
    (out,) = node.output
    peaks = np.maximum(np.abs(weight).max(axis=1), 1e-5)
    smooth = np.maximum(largest, 1e-5) ** POWER / peaks ** (1 - POWER)
    smooth = (smooth / np.exp(np.log(smooth).mean())).astype(np.float32)  # (inputs,)
    weight = weight * smooth[:, None]
    scale = np.maximum(np.abs(weight).max(axis=0), 1e-12).astype(np.float32) / 127  # (outputs,)
    values = np.rint(weight / scale).astype(np.int8)
    constants = {"smooth": 1 / smooth, "weight": values, "scale": scale, "zero": np.zeros_like(scale, np.int8)}
    graph.initializer.extend(numpy_helper.from_array(value, f"{out}.{name}") for name, value in constants.items())

    def step(operator: str, inputs: list[str], *outputs: str, **attributes: Any) -> onnx.NodeProto:
        return helper.make_node(operator, inputs, list(outputs), name=f"{outputs[0]}.{operator}", **attributes)

    yield step("Mul", [node.input[0], f"{out}.smooth"], f"{out}.even")
    yield step("DynamicQuantizeLinear", [f"{out}.even"], f"{out}.levels", f"{out}.step", f"{out}.middle")
    yield step("MatMulInteger", [f"{out}.levels", f"{out}.weight", f"{out}.middle", f"{out}.zero"], f"{out}.sums")
    yield step("Cast", [f"{out}.sums"], f"{out}.whole", to=TensorProto.FLOAT)
    yield step("Mul", [f"{out}.step", f"{out}.scale"], f"{out}.steps")
    yield step("Mul", [f"{out}.whole", f"{out}.steps"], out)


def _products(model: onnx.ModelProto) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """The output and weight (inputs, outputs) of each product with a constant on the way to the logits, the head's and
    those that make maps alone left out."""
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    logits = next((each for each in graph.output if each.name == "logits"), graph.output[0])
    classes = logits.type.tensor_type.shape.dim[1].dim_value
    open_names = [logits.name]
    on_way = set()
    while open_names:
        name = open_names.pop()
        if name not in on_way and name in makers:
            on_way.add(name)
            open_names.extend(makers[name].input)
    for node in graph.node:
        if node.op_type != "MatMul" or node.output[0] not in on_way:
            continue
        name = node.input[1]
        maker = makers.get(name)
        turned = maker is not None and maker.op_type == "Transpose"
        tensor = constants.get(maker.input[0] if maker is not None and turned else name)
        if tensor is None or len(tensor.dims) != 2 or tensor.data_type != TensorProto.FLOAT:
            continue
        weight = numpy_helper.to_array(tensor)
        weight = weight.T if turned else weight
        if weight.shape[1] != classes and weight.size >= SMALLEST:
            yield node.output[0], weight


def _largest(model: onnx.ModelProto, names: list[str], pixels: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """(channels,) by name: the largest magnitude that values between the nodes have on these pictures."""
    probe = _copied(model)
    names = list(dict.fromkeys(names))
    del probe.graph.output[:]
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    largest: dict[str, NDArray[np.float32]] = {}
    runner = Runner(probe) if names else None
    for picture in pixels:
        for name, value in (runner(picture[None]) if runner is not None else {}).items():
            peaks = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest.get(name, 0), peaks)
    return largest


def _copied(model: onnx.ModelProto) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    return result


def _put_nodes(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    """Give a graph these nodes, and drop the nodes and constants that nothing reads any more."""
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    ends = {output.name for output in model.graph.output}
    while True:
        used = ends | {name for node in nodes for name in node.input}
        fewer = [node for node in nodes if used.intersection(node.output)]
        if len(fewer) == len(nodes):
            break
        nodes = fewer
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    constants = [each for each in model.graph.initializer if each.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
