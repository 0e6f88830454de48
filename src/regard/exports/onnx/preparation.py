"""Preparation inside a graph: it then takes raw pixels, uint8 (height, width, 3), of a picture of any size.

ONNX's own Resize gives no whole grey levels, and knows neither Pillow's averaging of large pictures beforehand nor a
part of a picture that begins within a pixel. So it is Pillow's arithmetic that is written out here: for each side a
matrix of weights, (input's pixels, picture's pixels), in the whole numbers that Pillow rounds them to; two products of
matrices; and after each of them rounding to grey levels. What `regard.Preparation` gives of the same decoded pixels is
then the same to the bit. Sources: Pillow 13, src/libImaging/Resample.c and Reduce.c, Image.resize.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import onnx
import PIL
import torch
from onnx import helper

from regard.data.images.preparation import GAP, LUMA, WHOLE, Preparation
from regard.errors import UsageError
from regard.exports.onnx.arithmetic import BOOL, DOUBLE, FLOAT, INT32, INT64, UINT8, Nodes, Value

PICTURE = "picture"
"""The input of a graph that prepares its picture: uint8 (height, width, 3), red, green and blue, upright."""

SUPPORT = {"box": 0.5, "bilinear": 1.0, "hamming": 1.0, "bicubic": 2.0, "lanczos": 3.0}
"""How many of the larger of both pixels a filter reaches to either side."""

ONE = 2**22
"""What Pillow takes for a weight of one: weights are whole numbers."""


def prepared(model: onnx.ModelProto, preparation: Preparation) -> onnx.ModelProto:
    """The graph with its preparation before it: in the place of `pixels`, normalised, it takes one `PICTURE`.

    Raises `UsageError` for a preparation that is not written in a graph: "nearest", which weighs nothing.
    """
    if preparation.interpolation not in SUPPORT:
        raise UsageError(
            f"interpolation {preparation.interpolation!r} is not written into a graph, where it must be one of "
            f"{', '.join(SUPPORT)}; leave out --prepare, and feed the graph what regard's preparation gives"
        )
    nodes = Nodes("prepare.")
    pixels = _pixels(nodes, Value(nodes, PICTURE, UINT8), preparation)
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    entry = graph.input[0].name
    nodes.nodes.append(helper.make_node("Identity", [pixels.name], [entry], name="prepare.pixels"))
    inner = list(graph.node)
    del graph.node[:], graph.input[0]
    graph.node.extend([*nodes.nodes, *inner])
    graph.initializer.extend(nodes.constants)
    graph.input.insert(0, helper.make_tensor_value_info(PICTURE, UINT8, ["height", "width", 3]))
    del graph.value_info[:]  # their shapes have the batch, which is now one
    for output in graph.output:
        output.type.tensor_type.shape.dim[0].dim_value = 1
    return result


@dataclass(frozen=True)
class _Side:
    """One side of a picture, in pixels: what is read of it, `low` to `high`, is averaged by `factor`; of the `length`
    pixels that Pillow then filters, those from `offset` on are read, and from `start` to `stop` they become `inside`
    pixels of the input's `size`, `before` of which stay black."""

    size: int
    before: Value
    inside: Value
    start: Value
    stop: Value
    low: Value
    high: Value
    factor: Value
    offset: Value
    length: Value

    @property
    def number(self) -> Value:
        """How many pixels are filtered; the last may be an average of fewer."""
        return (self.high - self.low + self.factor - 1) / self.factor


def _pixels(nodes: Nodes, picture: Value, preparation: Preparation) -> Value:
    """(height, width, 3) uint8 → (1, channels, input's height, input's width) float32, normalised."""
    shape = nodes.add("Shape", picture, kind=INT64)
    size = [nodes.add("Gather", shape, nodes.constant(axis), kind=INT64, axis=0) for axis in (0, 1)]
    rows, columns = _sides(nodes, size, preparation)
    levels = _averaged(nodes, picture, rows, columns).turned(2, 0, 1)  # (3, rows.number, columns.number)
    across = _weights(nodes, columns, preparation.interpolation).turned(1, 0)
    down = _weights(nodes, rows, preparation.interpolation)
    levels = _filtered(nodes, levels, down, across, _rows_first(rows, columns))  # (3, height, width)
    return _normalised(nodes, levels.to(FLOAT).shaped(1, 3, preparation.height, preparation.width), preparation)


def _sides(nodes: Nodes, sizes: list[Value], preparation: Preparation) -> tuple[_Side, _Side]:
    """What `Preparation.fitted` and Pillow's `resize` say of both sides of a picture of this (height, width)."""
    tall, wide = _resized(nodes, sizes, preparation)
    crops = (tall * wide) >= WHOLE * preparation.height * preparation.width + 1
    rows = _side(nodes, sizes[0], tall, preparation.height, crops, preparation)
    columns = _side(nodes, sizes[1], wide, preparation.width, crops, preparation)
    averages = (rows.factor * columns.factor) >= 2
    return _read(nodes, rows, averages, preparation), _read(nodes, columns, averages, preparation)


def _read(nodes: Nodes, side: _Side, averages: Value, preparation: Preparation) -> _Side:
    """The side with what is read of it: where pictures are averaged, Pillow cuts off beforehand what it takes to be of
    no use; else all that has a weight is read, and what is left out changes nothing."""
    extent = (side.stop - side.start) / side.inside.to(DOUBLE)
    support = SUPPORT[preparation.interpolation]
    around = nodes.where(averages, extent * (support - 0.5), extent.most(1.0) * support + 1.0)
    first = side.start + (-side.before).most(0).to(DOUBLE) * extent
    last = side.start + (-side.before + side.size).least(side.inside).to(DOUBLE) * extent
    start = nodes.where(averages, side.start, first)
    stop = nodes.where(averages, side.stop, last)
    low = (start - around).to(INT64).most(0)
    high = (stop + around).ceiling().to(INT64).least(side.length)
    shift = nodes.where(averages, low, 0).to(DOUBLE)
    start, stop = ((end - shift) / side.factor.to(DOUBLE) for end in (side.start, side.stop))
    result = replace(side, low=low, high=high, start=start, stop=stop, offset=nodes.where(averages, low * 0, low))
    return replace(result, length=nodes.where(averages, result.number, side.length))


def _resized(nodes: Nodes, sizes: list[Value], preparation: Preparation) -> list[Value]:
    """(height, width) of the whole picture before its centre is taken: `Preparation._resized`."""
    tall, wide = preparation.resized or (preparation.height, preparation.width)
    if preparation.mode == "centre":
        return sizes
    if preparation.mode == "squash":
        return [nodes.constant(tall), nodes.constant(wide)]
    if preparation.resized is None:
        tall, wide = (math.floor(side / preparation.crop) for side in (tall, wide))
    if tall == wide:
        short = sizes[0].least(sizes[1])
        return [size * tall / short for size in sizes]
    lengths = [size.to(DOUBLE) for size in sizes]
    ratio = (lengths[0] / float(tall)).least(lengths[1] / float(wide))
    return [(length / ratio).rounded().to(INT64) for length in lengths]


def _side(nodes: Nodes, pixels: Value, resized: Value, size: int, crops: Value, preparation: Preparation) -> _Side:
    """One side of a picture of so many pixels, all of which are read: as a whole, to be cut afterwards, or, where it
    `crops`, the part that is kept alone."""
    none = nodes.constant(0)
    end = pixels.to(DOUBLE)
    half = (resized - size).to(DOUBLE) / 2.0
    rounds = preparation.resized is None and preparation.mode == "crop"
    first = (half.rounded() if rounds else half).to(INT64)
    start = (first * pixels).to(DOUBLE) / resized.to(DOUBLE)
    stop = ((first + size) * pixels).to(DOUBLE) / resized.to(DOUBLE)
    scale = nodes.constant(size, DOUBLE) / (stop - start)
    before = ((-start).most(0.0) * scale).rounded().to(INT64)
    after = ((stop - end).most(0.0) * scale).rounded().to(INT64)
    inside = nodes.where(crops, -(before + after) + size, resized)
    before = nodes.where(crops, before, -first)
    start = nodes.where(crops, start.most(0.0), 0.0)
    stop = nodes.where(crops, stop.least(end), end)
    factor = ((stop - start) / inside.to(DOUBLE) / GAP).to(INT64).most(1)
    return _Side(size, before, inside, start, stop, low=none, high=pixels, factor=factor, offset=none, length=pixels)


def _averaged(nodes: Nodes, picture: Value, rows: _Side, columns: _Side) -> Value:
    """Means of `factor` × `factor` pixels, (rows.number, columns.number, 3) float64 whole numbers: Pillow's `reduce`.

    Rows are added up one after the other, so that a large picture is never there as numbers of four bytes a level.
    """
    starts = nodes.add("Concat", rows.low.flat(), columns.low.flat(), axis=0)
    ends = nodes.add("Concat", rows.high.flat(), columns.high.flat(), axis=0)
    part = nodes.add("Slice", picture, starts, ends, nodes.constant([0, 1]), kind=UINT8)
    missing = [side.number * side.factor - (side.high - side.low) for side in (rows, columns)]
    none = nodes.constant([0])
    pads = nodes.add("Concat", none, none, none, *(each.flat() for each in missing), none, axis=0)
    part = nodes.add("Pad", part, pads, kind=UINT8)  # (rows.number · factor, columns.number · factor, 3)
    sums = _sum_of_rows(nodes, part, rows, columns.number * columns.factor)
    sums = sums.shaped(rows.number, columns.number, columns.factor, 3).total(2, keep=False).to(INT64)
    down, over = (
        (side.high - side.low).to(DOUBLE) - nodes.count(side.number) * side.factor.to(DOUBLE)
        for side in (rows, columns)
    )
    down = down.to(INT64).least(rows.factor).shaped(-1, 1, 1)
    over = over.to(INT64).least(columns.factor).shaped(1, -1, 1)
    counts = down * over
    inverse = nodes.constant(2**24) / counts  # as Pillow divides
    return ((sums + counts / 2) * inverse / 2**24).to(DOUBLE)


def _sum_of_rows(nodes: Nodes, part: Value, rows: _Side, width: Value) -> Value:
    """(rows.number · factor, width, 3) uint8 → (rows.number, width, 3) int32, every `factor` rows added up."""
    body = Nodes(f"{nodes.prefix}row.")
    index = Value(body, f"{body.prefix}index", INT64)
    total = Value(body, f"{body.prefix}total", INT32)
    every = [Value(body, each.name, each.kind) for each in (part, rows.factor.flat())]  # of the graph around it
    last = body.constant([2**31 - 1])
    some = body.add("Slice", every[0], index.flat(), last, body.constant([0]), every[1], kind=UINT8)
    total_after = total + some.to(INT32)
    going_on = body.add("Identity", Value(body, f"{body.prefix}more", BOOL))
    graph = helper.make_graph(
        body.nodes,
        "row",
        [
            helper.make_tensor_value_info(index.name, INT64, []),
            helper.make_tensor_value_info(f"{body.prefix}more", BOOL, []),
            helper.make_tensor_value_info(total.name, INT32, None),
        ],
        [
            helper.make_tensor_value_info(going_on.name, BOOL, []),
            helper.make_tensor_value_info(total_after.name, INT32, None),
        ],
        body.constants,
    )
    shape = nodes.add("Concat", rows.number.flat(), width.flat(), nodes.constant([3]), axis=0)
    zero = helper.make_tensor("zero", INT32, [1], [0])
    start = nodes.add("ConstantOfShape", shape, kind=INT32, value=zero)
    return nodes.add("Loop", rows.factor, nodes.constant(True, BOOL), start, body=graph)


def _weights(nodes: Nodes, side: _Side, interpolation: str) -> Value:
    """(side.size, side.number) float64: how much each pixel of the input has of each of the picture's, of `ONE`."""
    start, stop = (end.to(FLOAT) for end in (side.start, side.stop))  # as Pillow has them
    scale = (stop - start).to(DOUBLE) / side.inside.to(DOUBLE)
    stretch = scale.most(1.0)
    reach = stretch * SUPPORT[interpolation]
    inverse = nodes.constant(1.0, DOUBLE) / stretch
    index = (nodes.count(nodes.constant(side.size)) - side.before.to(DOUBLE)).shaped(-1, 1)
    tap = nodes.count(side.number) + side.offset.to(DOUBLE)
    centre = start.to(DOUBLE) + (index + 0.5) * scale  # (size, 1)
    first = (centre - reach + 0.5).to(INT64).to(DOUBLE)
    last = (centre + reach + 0.5).to(INT64).to(DOUBLE)
    within = (index >= 0.0) & (index < side.inside.to(DOUBLE)) & (tap >= first) & (tap < last)
    weight = nodes.where(within, _filter(nodes, (tap - centre + 0.5) * inverse, interpolation), 0.0)
    total = weight.total(1)
    share = weight / nodes.where(total.equals(0.0), nodes.constant(1.0, DOUBLE), total) * float(ONE)
    sign = nodes.add("Sign", share)
    return nodes.add("Abs", share * sign + 0.5).floor() * sign


def _filter(nodes: Nodes, x: Value, interpolation: str) -> Value:
    """The filter's height at `x`, as Pillow has it; what lies beyond its support is left out elsewhere too."""
    away = nodes.add("Abs", x)
    if interpolation == "box":
        return ((-x < 0.5) & (-x >= -0.5)).to(DOUBLE)
    if interpolation == "bilinear":
        return (-away + 1.0).most(0.0)
    if interpolation == "bicubic":
        near = (away * 1.5 - 2.5) * away * away + 1.0
        far = (((away - 5.0) * away + 8.0) * away - 4.0) * -0.5
        return nodes.where(away < 1.0, near, nodes.where(away < 2.0, far, 0.0))
    if interpolation == "hamming":
        angle = x * math.pi
        value = _sinc(nodes, x) * (nodes.add("Cos", angle) * 0.46 + 0.54)
        return nodes.where(away < 1.0, value, 0.0)
    value = _sinc(nodes, x) * _sinc(nodes, x / 3.0)
    return nodes.where(away < 3.0, value, 0.0)


def _sinc(nodes: Nodes, x: Value) -> Value:
    angle = x * math.pi
    one = nodes.constant(1.0, DOUBLE)
    return nodes.where(x.equals(0.0), one, nodes.add("Sin", angle) / nodes.where(x.equals(0.0), one, angle))


def _rows_first(rows: _Side, columns: _Side) -> Value:
    """Whether the installed Pillow filters from top to bottom first: from 13 on, where a picture is much taller."""
    if int(PIL.__version__.partition(".")[0]) < 13:
        return rows.length < 0
    less = rows.length - rows.inside
    return (less >= 1) & (((columns.length - columns.inside) * 2) < less)


def _filtered(nodes: Nodes, levels: Value, down: Value, across: Value, rows_first: Value) -> Value:
    """(3, picture's rows, columns) times both matrices of weights → (3, rows, columns) of the input, whole levels.

    Levels become whole after each product, so that the order of the two is seen in the result.
    """
    branches = {}
    for name in ("then_branch", "else_branch"):
        body = Nodes(f"{nodes.prefix}{name[:4]}.")
        inner, left, right = (Value(body, each.name, each.kind) for each in (levels, down, across))
        if name == "then_branch":
            inner = _whole(body.add("MatMul", _whole(body.add("MatMul", left, inner)), right))
        else:
            inner = _whole(body.add("MatMul", left, _whole(body.add("MatMul", inner, right))))
        result = helper.make_tensor_value_info(inner.name, DOUBLE, [3, None, None])
        branches[name] = helper.make_graph(body.nodes, name, [], [result], body.constants)
    return nodes.add("If", rows_first, kind=DOUBLE, **branches)


def _whole(sums: Value) -> Value:
    """Sums of levels times weights of `ONE` → grey levels, rounded and within black and white."""
    return ((sums + ONE / 2) / float(ONE)).floor().most(0.0).least(255.0)


def _normalised(nodes: Nodes, planes: Value, preparation: Preparation) -> Value:
    """(1, 3, height, width) in 0..255 → what `Preparation.normalise` gives."""
    if preparation.colours == "BGR":
        planes = nodes.add("Gather", planes, nodes.constant([2, 1, 0]), kind=FLOAT, axis=1)
    elif preparation.colours == "L":
        luma = nodes.constant(np.array(LUMA).reshape(3, 1, 1), FLOAT)
        planes = (planes * luma).total(1)
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (preparation.mean, preparation.std))
    scale = nodes.constant((1 / (255 * std)).numpy(), FLOAT)
    return planes * scale - nodes.constant((mean / std).numpy(), FLOAT)
