"""Defines arithmetic, comparisons, logic, choices, casts and reductions."""

from typing import Any, Callable, Dict

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.table import axes_of, gives, is_float, is_tensor, shape_of
from tf1_mtl.baseline.recorded_graph import Node

gives("Abs")(lambda node, x: abs(x))
gives("Add", "AddV2")(lambda node, a, b: a + b)
gives("DivNoNan")(lambda node, a, b: zero_where_zero(b, a / b))
gives("L2Loss")(lambda node, x: eb.total(x * x) * 0.5)
gives("Maximum")(lambda node, a, b: eb.monotonic(np.maximum, a, b))
gives("Minimum")(lambda node, a, b: eb.monotonic(np.minimum, a, b))
gives("Mul")(lambda node, a, b: a * b)
gives("MulNoNan")(lambda node, a, b: zero_where_zero(b, a * b))
gives("Neg")(lambda node, x: -x)
gives("RealDiv", "Div", "TruncateDiv")(lambda node, a, b: divided(a, b))
gives("Square")(lambda node, x: x * x)
gives("SquaredDifference")(lambda node, a, b: square(a - b))
gives("Sub")(lambda node, a, b: a - b)
gives("Xdivy")(lambda node, a, b: zero_where_zero(a, a / b))


@gives("AddN", "AccumulateNV2")
def add_n(node: Node, *terms: Any) -> Any:
    if len(terms) > 2 and is_tensor(terms[0]):
        return eb.total(eb.joined(np.stack, terms), axis=0)
    return sum(terms[1:], terms[0])  # lists of tensors add up by themselves


def divided(a: Any, b: Any) -> Any:
    """Returns the quotient, of whole numbers without its fraction."""
    if is_float(a):
        return a / b
    return np.trunc(a / b).astype(np.asarray(a).dtype)


@gives("FloorDiv")
def floor_div(node: Node, a: Any, b: Any) -> Any:
    return eb.pointwise(np.floor, a / b) if is_float(a) else np.floor_divide(a, b)


def _remainder(rounded: np.ufunc, of_whole: np.ufunc) -> Callable[..., Any]:
    def remainder(node: Node, a: Any, b: Any) -> Any:
        return a - eb.pointwise(rounded, a / b) * b if is_float(a) else of_whole(a, b)

    return remainder


gives("FloorMod")(_remainder(np.floor, np.mod))
gives("Mod", "TruncateMod")(_remainder(np.trunc, np.fmod))


def zero_where_zero(x: Any, result: Any) -> Any:
    """Returns the result, but 0 where `x` is 0."""
    is_zero = eb.compared(np.less_equal, abs(x), np.zeros(()))
    return eb.choose(is_zero, np.zeros(shape_of(result)), result)


def square(x: Any) -> Any:
    """Returns the squares."""
    return x * x


@gives("ClipByValue")
def clip_by_value(node: Node, x: Any, low: Any, high: Any) -> Any:
    return eb.monotonic(np.maximum, eb.monotonic(np.minimum, x, high), low)


# Comparisons, logic and choices


def _comparison(function: np.ufunc) -> Callable[..., Any]:
    return lambda node, a, b: eb.compared(function, a, b)


def _logic(function: np.ufunc) -> Callable[..., Any]:
    return lambda node, *operands: eb.logical(function, *operands)


gives("Equal")(_comparison(np.equal))
gives("NotEqual")(_comparison(np.not_equal))
gives("Greater")(_comparison(np.greater))
gives("GreaterEqual")(_comparison(np.greater_equal))
gives("Less")(_comparison(np.less))
gives("LessEqual")(_comparison(np.less_equal))
gives("LogicalAnd")(_logic(np.logical_and))
gives("LogicalOr")(_logic(np.logical_or))
gives("LogicalNot")(_logic(np.logical_not))
gives("IsFinite")(lambda node, x: np.isfinite(eb.value_of(x)))
gives("IsNan")(lambda node, x: np.isnan(eb.value_of(x)))
gives("IsInf")(lambda node, x: np.isinf(eb.value_of(x)))


@gives("ApproximateEqual")
def approximate_equal(node: Node, a: Any, b: Any) -> Any:
    tolerance = node.attributes.get("tolerance", 1e-5)
    return eb.compared(np.less, abs(a - b), float(tolerance))


@gives("Select", "SelectV2")
def select(node: Node, condition: Any, a: Any, b: Any) -> Any:
    rank = len(shape_of(a))
    if node.op == "Select" and len(shape_of(condition)) == 1 and rank > 1:
        # A vector chooses whole rows.
        condition = condition.reshape([-1] + [1] * (rank - 1))
    return eb.choose(condition, a, b)


# Casts


@gives("Cast")
def cast(node: Node, x: Any) -> Any:
    target = node.attributes["DstT"]
    if target in eb.PRECISIONS:
        return to_float(x, eb.PRECISIONS[target])
    if not isinstance(x, eb.ErrorBounded):
        return np.asarray(x).astype(target)
    if target == "bool":
        return eb.compared(np.not_equal, x, np.zeros(()))
    whole = eb.pointwise(np.trunc, x)
    return eb.whole(whole.value, whole.error, target)


def to_float(x: Any, precision: eb.Precision) -> eb.ErrorBounded:
    """Returns numbers rounded to a precision."""
    value, error = eb.value_of(x).astype(np.float64), eb.error_of(x)
    if isinstance(x, eb.ErrorBounded) and x.precision.bits <= precision.bits:
        return eb.ErrorBounded(value, error, precision)
    rounded = eb.nearest(value, precision)
    rounding = np.abs(value) * precision.unit + precision.tiny
    exact = (error == 0) | (np.abs(value) > precision.largest)
    return eb.ErrorBounded(
        np.where(exact, rounded, value), np.where(exact, error, error + rounding), precision
    )


# Reductions


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns an operation for a function of a tensor, its axes and whether to keep them."""

    def reduce(node: Node, x: Any, axes: Any) -> Any:
        chosen = axes_of(axes, len(shape_of(x)))
        return function(x, chosen, bool(node.attributes.get("keep_dims")))

    return reduce


def mean(x: Any, axes: Any, keep: bool = False) -> Any:
    """Returns the mean over the axes."""
    count = np.prod([shape_of(x)[axis] for axis in axes])
    summed = eb.total(x, axes, keep)
    return divided(summed, float(count) if is_float(x) else int(count))


def _prod(x: Any, axes: Any, keep: bool) -> Any:
    terms = int(np.prod([shape_of(x)[axis] for axis in axes]))
    return _multiplied(lambda a: np.prod(a, axis=axes, keepdims=keep), x, terms)


def _multiplied(function: Callable[[np.ndarray], np.ndarray], x: Any, terms: int) -> Any:
    """Returns products of elements of `x`, of so many at most."""
    if not isinstance(x, eb.ErrorBounded):
        return np.asarray(function(x), np.asarray(x).dtype)
    largest, magnitude = function(np.abs(x.value) + x.error), function(np.abs(x.value))
    error = largest - magnitude + eb.gamma(terms, x.precision) * largest
    return eb.ErrorBounded(function(x.value), error, x.precision)


def _most(function: Callable[..., np.ndarray], of_nothing: float) -> Callable[..., Any]:
    def most(x: Any, axes: Any, keep: bool) -> Any:
        # NumPy takes no start for whole numbers, which have no infinity.
        start = {"initial": of_nothing} if is_float(x) else {}
        return eb.monotonic(lambda a: function(a, axis=axes, keepdims=keep, **start), x)

    return most


largest = _most(np.max, -np.inf)
gives("Sum")(_reduction(eb.total))
gives("Mean")(_reduction(mean))
gives("Prod")(_reduction(_prod))
gives("Max")(_reduction(largest))
gives("Min")(_reduction(_most(np.min, np.inf)))


def _logic_over(function: Callable[..., np.ndarray]) -> Callable[..., Any]:
    def reduce(x: Any, axes: Any, keep: bool) -> Any:
        return eb.logical(lambda a: function(a, axis=axes, keepdims=keep), x)

    return _reduction(reduce)


gives("All")(_logic_over(np.all))
gives("Any")(_logic_over(np.any))


@gives("EuclideanNorm")
def euclidean_norm(node: Node, x: Any, axes: Any) -> Any:
    return eb.sqrt(_reduction(eb.total)(node, x * x, axes))


@gives("ArgMax")
def arg_max(node: Node, x: Any, axis: Any) -> Any:
    """Returns the first of the largest, or any index that the error leaves possible."""
    (chosen,) = axes_of(axis, len(shape_of(x)))
    value = np.argmax(eb.value_of(x), axis=chosen)
    reach = np.zeros(value.shape)
    if isinstance(x, eb.ErrorBounded) and x.error.any():
        lowest = np.max(x.value - x.error, axis=chosen, keepdims=True)
        possible = ~(x.value + x.error < lowest)
        places = np.arange(x.shape[chosen]).reshape([-1] + [1] * (x.value.ndim - 1 - chosen))
        distance = np.abs(places - np.expand_dims(value, chosen))
        reach = np.max(np.where(possible, distance, 0), axis=chosen)
    return eb.whole(value, reach, node.attributes.get("output_type", "int64"))


gives("ArgMin")(lambda node, x, axis: arg_max(node, -x, axis))


def _running(function: np.ufunc) -> Callable[..., Any]:
    """Returns an operation that accumulates along an axis."""
    start = function.identity

    def accumulate(node: Node, x: Any, axis: Any) -> Any:
        (chosen,) = axes_of(axis, len(shape_of(x)))
        is_reversed, is_exclusive = (node.attributes.get(k) for k in ("reverse", "exclusive"))

        def running(a: np.ndarray) -> np.ndarray:
            a = np.flip(a, chosen) if is_reversed else a
            a = function.accumulate(a, axis=chosen, dtype=a.dtype)
            if is_exclusive:
                first = np.full_like(np.take(a, [0], chosen), start) if a.size else a
                a = np.concatenate([first, np.delete(a, -1, chosen)], chosen) if a.size else a
            return np.flip(a, chosen) if is_reversed else a

        apply = eb.summed if function is np.add else _multiplied
        return apply(running, x, shape_of(x)[chosen])

    return accumulate


gives("Cumsum")(_running(np.add))
gives("Cumprod")(_running(np.multiply))


# Products of matrices


@gives("MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3")
def mat_mul(node: Node, a: Any, b: Any) -> Any:
    a, b = turned(node, a, "transpose_a", "adj_x"), turned(node, b, "transpose_b", "adj_y")
    return eb.matmul(a, b)


def turned(node: Node, x: Any, *attributes: str) -> Any:
    """Returns matrices, transposed if an attribute of the node says so."""
    if not any(node.attributes.get(name) for name in attributes):
        return x
    return eb.structural(lambda a: np.swapaxes(a, -1, -2), x)


@gives("Einsum")
def einsum(node: Node, *operands: Any) -> Any:
    equation = node.attributes["equation"]
    sizes: Dict[str, int] = {}
    inputs, _, output = equation.partition("->")
    for letters, x in zip(inputs.split(","), operands):
        sizes.update(zip(letters, shape_of(x)))
    terms = int(np.prod([n for letter, n in sizes.items() if letter not in output]))
    if len(operands) == 1:
        return eb.summed(lambda a: np.einsum(equation, a), operands[0], terms)
    return eb.bilinear(lambda a, b: np.einsum(equation, a, b), operands[0], operands[1], terms)
