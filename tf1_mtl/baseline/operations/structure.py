"""Defines constants, shapes, new tensors and diagonals."""

from typing import Any, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.table import (
    Variable,
    gives,
    integer,
    ints,
    is_float,
    moves,
    precision_named,
    refers,
    shape_of,
)
from tf1_mtl.baseline.recorded_graph import Node
from tf1_mtl.errors import InputError


@gives("Const")
def const(node: Node) -> Any:
    value = node.attributes["value"]
    if value.dtype.kind != "f":
        return value
    precision = precision_named(node, "dtype")
    if value.ndim == 0 and precision is eb.SINGLE:
        return eb.decimal(value[()])
    return eb.ErrorBounded(value, None, precision)


gives("CheckNumerics", "DeepCopy", "EnsureShape", "PlaceholderWithDefault", "Print", "Snapshot")(
    lambda node, x, *_: x
)
gives("IdentityN")(lambda node, *x: x)
gives("NoOp", "ControlTrigger", "Assert", "PrintV2")(lambda node, *_: ())
refers(1, "ReadVariableOp")(lambda node, variable: variable.value)
# Only messages use a text, so it is empty.
gives("StringFormat", "AsString", "StringJoin")(lambda node, *_: np.array(b""))
# An optional holds what a branch computed, for its gradient in v2 control flow. Here it is a list.
gives("OptionalFromValue")(lambda node, *x: list(x))
gives("OptionalNone")(lambda node: [])
gives("OptionalGetValue")(lambda node, x: tuple(x))


# Shapes


def _sizes(node: Node, sizes: Any) -> np.ndarray:
    return np.array(sizes, node.attributes.get("out_type", "int32"))


@gives("Shape")
@refers(1, "VariableShape")
def shape(node: Node, x: Any) -> np.ndarray:
    return _sizes(node, shape_of(x.value if isinstance(x, Variable) else x))


gives("ShapeN")(lambda node, *x: tuple(_sizes(node, shape_of(one)) for one in x))
gives("Size")(lambda node, x: _sizes(node, np.size(eb.value_of(x))))
gives("Rank")(lambda node, x: np.array(len(shape_of(x)), np.int32))
moves("Reshape")(lambda node, a, sizes: a.reshape(ints(sizes)))
moves("ExpandDims")(lambda node, a, axis: np.expand_dims(a, integer(axis)))
moves("BroadcastTo")(lambda node, a, sizes: np.broadcast_to(a, ints(sizes)))


@moves("Squeeze")
def squeeze(node: Node, a: np.ndarray) -> np.ndarray:
    axes = node.attributes.get("squeeze_dims") or node.attributes.get("axis")
    return np.squeeze(a, tuple(axes) if axes else None)


@gives("BroadcastArgs")
def broadcast_args(node: Node, a: Any, b: Any) -> np.ndarray:
    sizes = np.broadcast(np.empty(ints(a)), np.empty(ints(b))).shape
    return np.array(sizes, np.asarray(a).dtype)


@gives("BroadcastGradientArgs")
def broadcast_gradient_args(node: Node, a: Any, b: Any) -> Tuple[np.ndarray, np.ndarray]:
    rank = max(len(a), len(b))
    sizes = [np.concatenate([np.ones(rank - len(s), int), np.asarray(s, int)]) for s in (a, b)]
    # Both are reduced where both have size 1, as the kernel does.
    reduced = [
        np.flatnonzero((size == 1) & ((other != 1) | (sizes[0] == sizes[1])))
        for size, other in (sizes, sizes[::-1])
    ]
    dtype = np.asarray(a).dtype
    return reduced[0].astype(dtype), reduced[1].astype(dtype)


# New tensors


gives("Fill")(lambda node, sizes, x: eb.structural(lambda a: np.full(ints(sizes), a), x))
gives("ZerosLike")(lambda node, x: zeros_like(x))
gives("OnesLike")(lambda node, x: _filled_like(x, 1))


def zeros_like(x: Any) -> Any:
    """Returns zeros in the shape of a tensor or of a list of tensors."""
    return x.zeros_like() if hasattr(x, "zeros_like") else _filled_like(x, 0)


def _filled_like(x: Any, number: int) -> Any:
    value = np.full_like(eb.value_of(x), number)
    return eb.ErrorBounded(value, None, x.precision) if eb.is_bounded(x) else value


@gives("Range")
def range_(node: Node, start: Any, limit: Any, step: Any) -> Any:
    precision = eb.precision_of(start, limit, step)
    if not is_float(start) or precision is eb.WHOLE:
        dtype = node.attributes.get("Tidx", "int32")
        return np.arange(*map(integer, (start, limit, step)), dtype=dtype)
    value = np.arange(*(float(eb.value_of(x)) for x in (start, limit, step)))
    return eb.ErrorBounded(value, 2 * precision.unit * np.abs(value), precision)


@gives("LinSpace")
def lin_space(node: Node, start: Any, stop: Any, number: Any) -> Any:
    value = np.linspace(float(eb.value_of(start)), float(eb.value_of(stop)), integer(number))
    precision, largest = eb.precision_of(start, stop), np.max(np.abs(value), initial=0)
    return eb.ErrorBounded(value, 4 * precision.unit * largest, precision)


@gives("OneHot")
def one_hot(node: Node, indices: Any, depth: Any, on: Any, off: Any) -> Any:
    axis = node.attributes.get("axis", -1)
    places = np.expand_dims(eb.decided(indices), axis)
    where = axis % places.ndim
    classes = np.arange(integer(depth)).reshape([-1] + [1] * (places.ndim - 1 - where))
    return eb.joined(lambda x: np.where(places == classes, x[0], x[1]), [on, off])


@moves("MatrixBandPart")
def matrix_band_part(node: Node, a: np.ndarray, lower: Any, upper: Any) -> np.ndarray:
    below, above = integer(lower), integer(upper)
    rows, columns = np.indices(a.shape[-2:])
    kept = ((below < 0) | (rows - columns <= below)) & ((above < 0) | (columns - rows <= above))
    return np.where(kept, a, np.zeros((), a.dtype))


def _only_main_diagonal(node: Node, options: Sequence[Any]) -> None:
    """Checks the options of the newer operations on diagonals, from which one first numbers."""
    if options and any(ints(options[0])):
        raise InputError(
            f"node {node.name!r}: {node.op} of diagonals {ints(options[0])}; the evaluator knows 0 "
            "only, the main diagonal. Add the others to tf1_mtl/baseline/operations/structure.py."
        )


@moves("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3")
def matrix_diag(node: Node, a: np.ndarray, *options: Any) -> np.ndarray:
    _only_main_diagonal(node, options)
    return (a[..., None] * np.eye(a.shape[-1])).astype(a.dtype)


@moves("MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3")
def matrix_diag_part(node: Node, a: np.ndarray, *options: Any) -> np.ndarray:
    _only_main_diagonal(node, options)
    return np.diagonal(a, axis1=-2, axis2=-1)


@gives("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3")
def matrix_set_diag(node: Node, x: Any, diagonal: Any, *options: Any) -> Any:
    _only_main_diagonal(node, options)
    rows, columns = shape_of(x)[-2:]

    def replace(parts: Sequence[np.ndarray]) -> np.ndarray:
        widths = [(0, 0)] * (parts[1].ndim - 1) + [(0, columns - min(rows, columns))]
        spread = np.pad(parts[1], widths, "constant")
        return np.where(np.eye(rows, columns) > 0, spread[..., None, :], parts[0])

    return eb.joined(replace, [x, diagonal])


moves("Diag")(lambda node, a: np.diag(a.ravel()).reshape(a.shape * 2))


@moves("DiagPart")
def diag_part(node: Node, a: np.ndarray) -> np.ndarray:
    half = a.shape[: a.ndim // 2]
    count = int(np.prod(half))
    return np.diagonal(a.reshape(count, count)).reshape(half)
