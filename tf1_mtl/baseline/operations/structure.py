"""Constants, shapes, new tensors and diagonals."""

from typing import Any, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.decisions import decided
from tf1_mtl.baseline.operations.table import (
    Variable,
    gives,
    integer,
    ints,
    is_float,
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


@gives("CheckNumerics", "DeepCopy", "EnsureShape", "PlaceholderWithDefault", "Print", "Snapshot")
def identity(node: Node, x: Any, *_: Any) -> Any:
    return x


@refers(1, "ReadVariableOp")
def read_variable(node: Node, variable: Variable) -> Any:
    return variable.value


@gives("IdentityN")
def identity_n(node: Node, *x: Any) -> Any:
    return x


@gives("OptionalFromValue")
def optional(node: Node, *x: Any) -> Any:
    """Gives values as one: a gradient of v2 control flow hands over so what a branch computed."""
    return _Optional(x)


@gives("OptionalNone")
def no_optional(node: Node) -> Any:
    return _Optional(())


@gives("OptionalGetValue")
def optional_values(node: Node, x: Any) -> Any:
    return x.values


class _Optional:
    def __init__(self, values: Tuple[Any, ...]) -> None:
        self.values = values


@gives("NoOp", "ControlTrigger", "Assert", "PrintV2")
def no_op(node: Node, *_: Any) -> Tuple:
    return ()


@gives("StringFormat", "AsString", "StringJoin")
def no_text(node: Node, *_: Any) -> np.ndarray:
    """Gives an empty text: only messages use it."""
    return np.array(b"")


# Shapes


def _sizes(node: Node, sizes: Any) -> np.ndarray:
    return np.array(sizes, node.attributes.get("out_type", "int32"))


@gives("Shape")
@refers(1, "VariableShape")
def shape(node: Node, x: Any) -> np.ndarray:
    return _sizes(node, shape_of(x.value if isinstance(x, Variable) else x))


@gives("ShapeN")
def shape_n(node: Node, *x: Any) -> Any:
    return tuple(_sizes(node, shape_of(one)) for one in x)


@gives("Size")
def size(node: Node, x: Any) -> np.ndarray:
    return _sizes(node, np.size(eb.value_of(x)))


@gives("Rank")
def rank(node: Node, x: Any) -> np.ndarray:
    return np.array(len(shape_of(x)), np.int32)


@gives("Reshape")
def reshape(node: Node, x: Any, sizes: Any) -> Any:
    return eb.structural(lambda a: a.reshape(ints(sizes)), x)


@gives("ExpandDims")
def expand_dims(node: Node, x: Any, axis: Any) -> Any:
    at = integer(axis)
    return eb.structural(lambda a: np.expand_dims(a, at), x)


@gives("Squeeze")
def squeeze(node: Node, x: Any) -> Any:
    axes = node.attributes.get("squeeze_dims") or node.attributes.get("axis")
    return eb.structural(lambda a: np.squeeze(a, tuple(axes) if axes else None), x)


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


@gives("BroadcastTo")
def broadcast_to(node: Node, x: Any, sizes: Any) -> Any:
    return eb.structural(lambda a: np.broadcast_to(a, ints(sizes)), x)


# New tensors


@gives("Fill")
def fill(node: Node, sizes: Any, x: Any) -> Any:
    return eb.structural(lambda a: np.full(ints(sizes), a), x)


@gives("ZerosLike")
def zeros_like(node: Node, x: Any) -> Any:
    if hasattr(x, "zeros_like"):
        return x.zeros_like()
    return _filled_like(x, 0)


@gives("OnesLike")
def ones_like(node: Node, x: Any) -> Any:
    return _filled_like(x, 1)


def _filled_like(x: Any, number: int) -> Any:
    value = np.full_like(eb.value_of(x), number)
    return eb.ErrorBounded(value, None, x.precision) if eb.is_bounded(x) else value


@gives("Range")
def range_(node: Node, start: Any, limit: Any, step: Any) -> Any:
    precision = eb.precision_of(start, limit, step)
    if not is_float(start) or precision is eb.WHOLE:
        dtype = node.attributes.get("Tidx", "int32")
        return np.arange(*(decided(x) for x in (start, limit, step)), dtype=dtype)
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
    places = np.expand_dims(np.asarray(decided(indices)), axis)
    where = axis % places.ndim
    classes = np.arange(integer(depth)).reshape([-1] + [1] * (places.ndim - 1 - where))
    return eb.joined(lambda x: np.where(places == classes, x[0], x[1]), [on, off])


@gives("MatrixBandPart")
def matrix_band_part(node: Node, x: Any, lower: Any, upper: Any) -> Any:
    below, above = integer(lower), integer(upper)
    rows, columns = np.indices(shape_of(x)[-2:])
    kept = ((below < 0) | (rows - columns <= below)) & ((above < 0) | (columns - rows <= above))
    return eb.structural(lambda a: np.where(kept, a, np.zeros((), a.dtype)), x)


def _only_main_diagonal(node: Node, options: Sequence[Any]) -> None:
    """Checks the options of the newer operations on diagonals, from which one first numbers."""
    if options and any(ints(options[0])):
        raise InputError(
            f"node {node.name!r}: {node.op} of diagonals {ints(options[0])}; the evaluator knows 0 "
            "only, the main diagonal. Add the others to tf1_mtl/baseline/operations/structure.py."
        )


@gives("MatrixDiag", "MatrixDiagV2", "MatrixDiagV3")
def matrix_diag(node: Node, x: Any, *options: Any) -> Any:
    _only_main_diagonal(node, options)
    unit = np.eye(shape_of(x)[-1])
    return eb.structural(lambda a: (a[..., None] * unit).astype(a.dtype), x)


@gives("MatrixDiagPart", "MatrixDiagPartV2", "MatrixDiagPartV3")
def matrix_diag_part(node: Node, x: Any, *options: Any) -> Any:
    _only_main_diagonal(node, options)
    return eb.structural(lambda a: np.diagonal(a, axis1=-2, axis2=-1), x)


@gives("MatrixSetDiag", "MatrixSetDiagV2", "MatrixSetDiagV3")
def matrix_set_diag(node: Node, x: Any, diagonal: Any, *options: Any) -> Any:
    _only_main_diagonal(node, options)
    rows, columns = shape_of(x)[-2:]
    unit = np.eye(rows, columns) > 0
    count = min(unit.shape)
    spread = eb.structural(
        lambda a: np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, unit.shape[1] - count)], "constant"),
        diagonal,
    )
    return eb.joined(lambda p: np.where(unit, p[0][..., None, :], p[1]), [spread, x])


@gives("Diag")
def diag(node: Node, x: Any) -> Any:
    def spread(a: np.ndarray) -> np.ndarray:
        return np.diag(a.ravel()).reshape(a.shape * 2)

    return eb.structural(spread, x)


@gives("DiagPart")
def diag_part(node: Node, x: Any) -> Any:
    half = shape_of(x)[: len(shape_of(x)) // 2]
    count = int(np.prod(half))
    return eb.structural(lambda a: np.diagonal(a.reshape(count, count)).reshape(half), x)
