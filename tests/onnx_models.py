"""Write small ONNX models, byte by byte: what they need of the format is less than its library.

The numbers are the fields of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

FLOAT = 1
Side = int | str


def colour_classifier(
    path: Path,
    *,
    sides: Sequence[Side] = (8, 8),
    metadata: Mapping[str, str] | None = None,
    operator: str = "",
    channels_last: bool = False,
) -> Path:
    """Write a classifier with three outputs: how much red, green and blue a picture has.

    ``sides`` are height and width, a text for any. ``operator`` is applied to the three numbers.
    """
    nodes = [_node("GlobalAveragePool", "picture", "means"), _node("Flatten", "means", "colours")]
    shape: tuple[Side, ...] = (1, 3, *sides)
    if channels_last:
        nodes, shape = [_node("ReduceMean", "picture", "colours") + _MEAN_OF_SIDES], (1, *sides, 3)
    if operator:
        nodes.append(_node(operator, "colours", "scores"))
    result = "scores" if operator else "colours"
    graph = b"".join(_field(1, node) for node in nodes)
    graph += _field(2, b"colours")
    graph += _field(11, _value("picture", shape))
    graph += _field(12, _value(result, (1, 3)))
    model = _number(1, 8) + _field(7, graph) + _field(8, _number(2, 13))
    for name, text in (metadata or {}).items():
        model += _field(14, _field(1, name.encode()) + _field(2, text.encode()))
    path.write_bytes(model)
    return path


def _node(operator: str, source: str, target: str) -> bytes:
    texts = {1: source, 2: target, 3: target, 4: operator}
    return b"".join(_field(number, text.encode()) for number, text in texts.items())


def _value(name: str, shape: Sequence[Side]) -> bytes:
    dimensions = b"".join(
        _field(1, _field(2, side.encode()) if isinstance(side, str) else _number(1, side))
        for side in shape
    )
    tensor = _number(1, FLOAT) + _field(2, dimensions)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# Attributes: the axes 1 and 2 (a list of numbers, type 7), which are not kept (a number, type 2).
_MEAN_OF_SIDES = _field(
    5, _field(1, b"axes") + _number(8, 1) + _number(8, 2) + _number(20, 7)
) + _field(5, _field(1, b"keepdims") + _number(3, 0) + _number(20, 2))
