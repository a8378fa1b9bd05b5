"""Defines functions of one variable and their gradients, such as activations.

How far TensorFlow may be off was measured over the floats of all magnitudes on 1.15.5 and 2.21.0,
and is taken about twice. `Sigmoid`, `Softplus`, `Elu` and `Selu` are off by a few units of one, not
of their value, where they are small: TensorFlow takes `exp(x) - 1` as it stands there, and before
2.0 an estimate of the logistic function with a fixed range.
"""

import math
from typing import Any, Callable, Dict, NamedTuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.arithmetic import square, zero_where_zero
from tf1_mtl.baseline.operations.table import gives, is_float, shape_of
from tf1_mtl.baseline.recorded_graph import Node

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


class _Function(NamedTuple):
    """Describes a monotonic function, and how far TensorFlow may be off."""

    of: Callable[[np.ndarray], np.ndarray]
    units: float = 0  #: in rounding units of the value
    absolute: float = 0  #: more, in rounding units of one


def _each(function: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    def guarded(x: float) -> float:
        try:
            return function(x)
        except (ValueError, OverflowError):
            return math.nan

    return np.vectorize(guarded, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    """Returns 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _selu(x: np.ndarray) -> np.ndarray:
    return _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0)))


FUNCTIONS: Dict[str, _Function] = {
    "Acos": _Function(np.arccos, 8, 4),
    "Asin": _Function(np.arcsin, 16),
    "Asinh": _Function(np.arcsinh, 6),
    "Acosh": _Function(np.arccosh, 6),
    "Atan": _Function(np.arctan, 8),
    "Atanh": _Function(np.arctanh, 6),
    "Ceil": _Function(np.ceil),
    "Elu": _Function(_elu, 4, 3),
    "Erf": _Function(_each(math.erf), 10),
    "Erfc": _Function(_each(math.erfc), 130),
    "Expm1": _Function(np.expm1, 10),
    "Floor": _Function(np.floor),
    "Log": _Function(np.log, 8, 1),
    "Log1p": _Function(np.log1p, 10),
    "Relu": _Function(lambda x: np.maximum(x, 0)),
    "Relu6": _Function(lambda x: np.clip(x, 0, 6)),
    "Rint": _Function(np.round),
    "Selu": _Function(_selu, 6, 6),
    "Sigmoid": _Function(_sigmoid, 16, 4),
    "Sign": _Function(np.sign),
    "Sinh": _Function(np.sinh, 6),
    "Softplus": _Function(lambda x: np.logaddexp(x, 0), 16, 4),
    "Softsign": _Function(lambda x: x / (1 + np.abs(x)), 4),
    "Tanh": _Function(np.tanh, 10),
}


def applied(name: str, x: Any) -> Any:
    """Returns what a function of the table gives."""
    function = FUNCTIONS[name]
    return eb.pointwise(function.of, x, function.units, function.absolute)


gives(*FUNCTIONS)(lambda node, x: applied(node.op, x))
gives("Cosh")(lambda node, x: eb.pointwise(np.cosh, abs(x), 6))
gives("Exp")(lambda node, x: exponential(x))
gives("Inv", "Reciprocal")(lambda node, x: reciprocal(x))
gives("Round")(lambda node, x: eb.pointwise(np.round, x) if is_float(x) else x)
gives("Rsqrt")(lambda node, x: 1.0 / eb.sqrt(x))
gives("Sqrt")(lambda node, x: eb.sqrt(x))
gives("Xlog1py")(lambda node, x, y: zero_where_zero(x, x * applied("Log1p", y)))
gives("Xlogy")(lambda node, x, y: zero_where_zero(x, x * applied("Log", y)))


def reciprocal(x: Any) -> Any:
    """Returns 1 / x, which TensorFlow 2 takes by an estimate."""
    result = 1.0 / x
    if not isinstance(result, eb.ErrorBounded):
        return result
    error = result.error + 5 * result.precision.unit * np.abs(result.value)
    return eb.ErrorBounded(result.value, error, result.precision)


def exponential(x: Any) -> Any:
    """Returns e^x, or infinity where its precision cannot hold the number."""
    if not isinstance(x, eb.ErrorBounded):
        return np.exp(x)
    return _in_range(eb.pointwise(np.exp, x, 4))


def _in_range(x: eb.ErrorBounded) -> eb.ErrorBounded:
    """Returns infinity with an infinite error where a value may overflow."""
    if x.value.size == 0 or np.max(x.value + x.error) < x.precision.largest / 2:
        return x
    over = x.value + x.error > x.precision.largest / 2
    value = np.where(x.value > x.precision.largest, np.inf, x.value)
    return eb.ErrorBounded(value, np.where(over, np.inf, x.error), x.precision)


def _wave(function: Callable[[np.ndarray], np.ndarray]) -> Callable[..., Any]:
    """Returns an operation for a function whose slope is at most 1 in magnitude, and its value."""

    def apply(node: Node, x: Any) -> Any:
        value = function(eb.value_of(x))
        if not isinstance(x, eb.ErrorBounded):
            return value
        rounding = x.precision.unit * (4 * np.abs(value) + np.minimum(np.abs(x.value), 1))
        return eb.ErrorBounded(value, np.minimum(x.error, 2) + rounding, x.precision)

    return apply


gives("Sin")(_wave(np.sin))
gives("Cos")(_wave(np.cos))


@gives("Tan")
def tan(node: Node, x: Any) -> Any:
    tangent = eb.pointwise(np.tan, x, 4)
    if not isinstance(x, eb.ErrorBounded):
        return tangent
    crosses = np.round((x.value + x.error) / np.pi) != np.round((x.value - x.error) / np.pi)
    return eb.ErrorBounded(tangent.value, np.where(crosses, np.inf, tangent.error), x.precision)


@gives("Lgamma")
def lgamma(node: Node, x: Any) -> Any:
    """Gives the logarithm of gamma, which falls up to about 1.46 and rises from there."""
    result = eb.pointwise(_each(math.lgamma), x, 6, 4)
    if not isinstance(x, eb.ErrorBounded):
        return result
    turns = (np.abs(x.value - 1.4616321) <= x.error) | ((x.value - x.error <= 0) & (x.error > 0))
    return eb.ErrorBounded(result.value, np.where(turns, np.inf, result.error), x.precision)


@gives("Pow")
def power(node: Node, a: Any, b: Any) -> Any:
    if not is_float(a):
        return np.power(a, b)
    value = np.power(eb.value_of(a), eb.value_of(b))
    if not eb.is_bounded(a, b):
        return value
    precision = eb.precision_of(a, b)
    error: Any = np.zeros(value.shape)
    # A power is monotonic in each argument, so its extremes are at the corners of the box.
    for x in (eb.value_of(a) - eb.error_of(a), eb.value_of(a) + eb.error_of(a)):
        for y in (eb.value_of(b) - eb.error_of(b), eb.value_of(b) + eb.error_of(b)):
            change = np.power(x, y) - value
            error = np.maximum(error, np.abs(np.where(np.isnan(value), 0, change)))
    around_zero = (np.abs(eb.value_of(a)) <= eb.error_of(a)) & (eb.error_of(a) > 0)
    falls = eb.value_of(b) - eb.error_of(b) < 0
    error = np.where(around_zero & falls, np.inf, error)
    # An implementation may compute exp(b * log(a)). Then the exponent is rounded.
    exponent = np.abs(eb.value_of(b) * np.log(np.abs(eb.value_of(a))))
    units = 4 + 2 * np.where(np.isfinite(exponent), exponent, 0)
    exact = (error == 0) & np.isin(eb.value_of(b), (0.0, 1.0))
    rounding = np.where(exact, 0, units * precision.unit * np.abs(value))
    tiny = np.where((value != 0) & ~exact, precision.tiny, 0)
    return _in_range(eb.ErrorBounded(value, error + rounding + tiny, precision))


@gives("LeakyRelu")
def leaky_relu(node: Node, x: Any) -> Any:
    slope = _alpha(node)
    return eb.pointwise(lambda v: np.where(v > 0, v, slope * v), x, 1)


def _alpha(node: Node) -> float:
    return float(np.float32(node.attributes.get("alpha", 0.2)))


def _is_negative(x: Any) -> Any:
    return eb.compared(np.less, x, np.zeros(()))


# Gradients: TensorFlow gives the input `x` or the output `y` of the function.


gives("EluGrad")(
    lambda node, gradient, y: eb.choose(_is_negative(y), gradient * (y + 1.0), gradient)
)


@gives("SeluGrad")
def selu_grad(node: Node, gradient: Any, y: Any) -> Any:
    below = gradient * eb.pointwise(lambda v: v + _SELU_SCALE * _SELU_ALPHA, y, 2)
    return eb.choose(_is_negative(y), below, eb.pointwise(lambda v: v * _SELU_SCALE, gradient, 2))


gives("SoftplusGrad")(lambda node, gradient, x: gradient * applied("Sigmoid", x))
gives("SoftsignGrad")(lambda node, gradient, x: gradient / square(1.0 + abs(x)))
gives("TanhGrad")(lambda node, y, gradient: gradient * (1.0 - y * y))
gives("SigmoidGrad")(lambda node, y, gradient: gradient * y * (1.0 - y))
gives("SqrtGrad")(lambda node, y, gradient: gradient * 0.5 / y)
gives("RsqrtGrad")(lambda node, y, gradient: gradient * -0.5 * (y * y * y))
gives("InvGrad", "ReciprocalGrad")(lambda node, y, gradient: -(gradient * (y * y)))
gives("ReluGrad")(lambda node, gradient, x: _gated(gradient, x))
gives("Relu6Grad")(lambda node, gradient, x: _gated(_gated(gradient, x), 6.0 - x))
gives("LeakyReluGrad")(
    lambda node, gradient, x: _where_positive(x, gradient, gradient * _alpha(node))
)


def _gated(gradient: Any, x: Any) -> Any:
    """Returns the gradient where `x` is positive, and 0 elsewhere."""
    return _where_positive(x, gradient, np.zeros(shape_of(gradient)))


def _where_positive(x: Any, a: Any, b: Any) -> Any:
    """Returns `a` where `x` is positive, `b` elsewhere, and both where that is not decided."""
    return eb.choose(eb.compared(np.greater, x, np.zeros(())), a, b)
