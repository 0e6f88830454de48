"""Nodes of an ONNX graph, written as arithmetic: `centre = start + (index + 0.5) * scale` adds three of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

BOOL = TensorProto.BOOL
UINT8 = TensorProto.UINT8
INT32 = TensorProto.INT32
INT64 = TensorProto.INT64
FLOAT = TensorProto.FLOAT
DOUBLE = TensorProto.DOUBLE

Number = float | int


class Nodes:
    """What is added one after the other: nodes, and the constants that they read; all names begin with `prefix`."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._names: dict[tuple[bytes, tuple[int, ...], str], str] = {}

    def add(self, operator: str, *inputs: "Value", kind: int | None = None, **attributes: Any) -> "Value":
        """One node with one output, of the type of its last input where `kind` names no other."""
        name = f"{self.prefix}{len(self.nodes)}"
        names = [each.name for each in inputs]
        self.nodes.append(helper.make_node(operator, names, [name], name=f"{name}.{operator}", **attributes))
        return Value(self, name, inputs[-1].kind if kind is None else kind)

    def constant(self, value: Number | NDArray[Any] | list[int], kind: int = INT64) -> "Value":
        """A constant; the same one is stored once."""
        array = np.asarray(value, helper.tensor_dtype_to_np_dtype(kind))
        key = (array.tobytes(), array.shape, array.dtype.str)
        if key not in self._names:
            self._names[key] = f"{self.prefix}c{len(self._names)}"
            self.constants.append(numpy_helper.from_array(array, self._names[key]))
        return Value(self, self._names[key], kind)

    def count(self, number: "Value") -> "Value":
        """0.0, 1.0, ... below a scalar, (number,)."""
        ends = self.constant(0.0, DOUBLE), number.to(DOUBLE), self.constant(1.0, DOUBLE)
        return self.add("Range", *ends)

    def where(self, condition: "Value", yes: "Value", no: "Value | Number") -> "Value":
        """The values of one where the condition holds, and of the other elsewhere."""
        return self.add("Where", condition, yes, yes.like(no))


@dataclass(frozen=True, eq=False)
class Value:
    """An output of a node, or a constant: its name and the type of its elements. Numbers beside it become its type."""

    of: Nodes
    name: str
    kind: int

    def like(self, other: "Value | Number") -> "Value":
        return other if isinstance(other, Value) else self.of.constant(other, self.kind)

    def __add__(self, other: "Value | Number") -> "Value":
        return self.of.add("Add", self, self.like(other))

    def __sub__(self, other: "Value | Number") -> "Value":
        return self.of.add("Sub", self, self.like(other))

    def __mul__(self, other: "Value | Number") -> "Value":
        return self.of.add("Mul", self, self.like(other))

    def __truediv__(self, other: "Value | Number") -> "Value":
        """Of whole numbers without a sign, as all are here, what Python's `//` gives."""
        return self.of.add("Div", self, self.like(other))

    def __neg__(self) -> "Value":
        return self.of.add("Neg", self)

    def __and__(self, other: "Value") -> "Value":
        return self.of.add("And", self, other)

    def __lt__(self, other: "Value | Number") -> "Value":
        return self.of.add("Less", self, self.like(other), kind=BOOL)

    def __ge__(self, other: "Value | Number") -> "Value":
        return self.of.add("GreaterOrEqual", self, self.like(other), kind=BOOL)

    def equals(self, other: "Value | Number") -> "Value":
        return self.of.add("Equal", self, self.like(other), kind=BOOL)

    def least(self, other: "Value | Number") -> "Value":
        """The smaller of both."""
        return self.of.add("Min", self, self.like(other))

    def most(self, other: "Value | Number") -> "Value":
        """The larger of both."""
        return self.of.add("Max", self, self.like(other))

    def floor(self) -> "Value":
        return self.of.add("Floor", self)

    def ceiling(self) -> "Value":
        return self.of.add("Ceil", self)

    def rounded(self) -> "Value":
        """To the nearest whole number, halves to the even one, as Python rounds."""
        return self.of.add("Round", self)

    def to(self, kind: int) -> "Value":
        """Of another type; what becomes whole loses its fraction, towards zero, as by Python's `int`."""
        return self if kind == self.kind else self.of.add("Cast", self, kind=kind, to=kind)

    def total(self, axis: int, keep: bool = True) -> "Value":
        """The sum along an axis, which stays, of length 1, or goes."""
        return self.of.add("ReduceSum", self, self.of.constant([axis]), kind=self.kind, keepdims=int(keep))

    def shaped(self, *sides: "Value | int") -> "Value":
        """In another shape; -1 is what remains."""
        shape = [self.of.constant([side]) if isinstance(side, int) else side.flat() for side in sides]
        return self.of.add("Reshape", self, self.of.add("Concat", *shape, axis=0), kind=self.kind)

    def flat(self) -> "Value":
        """A scalar as an array of one."""
        return self.of.add("Reshape", self, self.of.constant([-1]), kind=self.kind)

    def turned(self, *order: int) -> "Value":
        """With its axes in another order."""
        return self.of.add("Transpose", self, perm=list(order))
