"""Decides comparisons, choices and whole numbers where the numbers have errors.

The error of a number may reach the border of a decision, such as a comparison, a floor or the
argument of a maximum. Then both outcomes are possible. The result is an `ErrorBounded` of whole
numbers (`WHOLE`), with 0 for False and 1 for True, and its error reaches the other outcome.

`choose` covers both branches. An operation that needs one definite number calls `decided`, which
raises `Undecided` if there are several. The evaluator then goes on with the value, and gives all
outputs of the operation an infinite error.
"""

from typing import Any

import numpy as np

from tf1_mtl.baseline.error_bounds import (
    WHOLE,
    ErrorBounded,
    Function,
    Operand,
    all_exact,
    error_of,
    is_bounded,
    precision_of,
    value_of,
)


class Undecided(Exception):
    """Reports that an operation needs a definite number, and rounding leaves several possible."""


def choose(condition: Operand, a: Operand, b: Operand) -> Any:
    """Returns `a` where the condition holds and `b` elsewhere.

    Where the condition is not decided, the error covers both.
    """
    chosen = value_of(condition) != 0
    value = np.where(chosen, value_of(a), value_of(b))
    if not is_bounded(condition, a, b):
        return value
    error = np.where(chosen, error_of(a), error_of(b))
    if isinstance(condition, ErrorBounded):
        other = np.where(chosen, value_of(b), value_of(a))
        reach = np.abs(value - other) + np.where(chosen, error_of(b), error_of(a))
        error = np.where(condition.error != 0, np.maximum(error, reach), error)
    is_float = is_bounded(a, b) or value.dtype.kind == "f"
    return ErrorBounded(value, error, precision_of(a, b) if is_float else WHOLE)


def truth(value: np.ndarray, unsure: np.ndarray) -> Any:
    """Returns booleans, or an `ErrorBounded` if some are not decided."""
    return np.asarray(value) if all_exact(unsure) else ErrorBounded(value, unsure, WHOLE)


def compared(function: Function, a: Operand, b: Operand) -> Any:
    """Returns a comparison. It is not decided where the errors reach the other outcome.

    `np.equal` and `np.not_equal` take two equal values for copies of one number, although they
    have errors. The gradient of a maximum finds its element by such a comparison.
    """
    value = function(value_of(a), value_of(b))
    if not is_bounded(a, b):
        return value
    reach = error_of(a) + error_of(b)
    if all_exact(reach):
        return value
    unsure = ~(np.abs(value_of(a) - value_of(b)) > reach) & (reach != 0)
    if function in (np.equal, np.not_equal):
        unsure &= value_of(a) != value_of(b)
    return truth(value, unsure)


def logical(function: Function, *operands: Operand) -> Any:
    """Returns what a monotonic boolean function gives, such as `np.logical_and`."""
    value = function(*(value_of(x) != 0 for x in operands))
    if not is_bounded(*operands):
        return value
    lowest = function(*(value_of(x) - error_of(x) > 0 for x in operands))
    highest = function(*(value_of(x) + error_of(x) > 0 for x in operands))
    return truth(value, lowest != highest)


def whole(value: np.ndarray, error: np.ndarray, dtype: str) -> Any:
    """Returns whole numbers, or an `ErrorBounded` if some are not decided."""
    return (
        np.asarray(value).astype(dtype) if all_exact(error) else ErrorBounded(value, error, WHOLE)
    )


def decided(x: Operand) -> Any:
    """Returns whole numbers or booleans as a plain array.

    Raises:
      Undecided: The error of one reaches another number.
    """
    if not isinstance(x, ErrorBounded):
        return x
    if not all_exact(x.error):
        raise Undecided
    return x.value.astype(np.int64)


def gated(gradient: Operand, x: Operand, threshold: float = 0.0) -> Any:
    """Returns the gradient where `x` is above the threshold and 0 elsewhere, as `ReluGrad` does.

    Where the error of `x` reaches the threshold, the error of the result covers both.
    """
    if not is_bounded(gradient, x):
        return np.where(np.asarray(x) > threshold, value_of(gradient), 0.0)
    passes = compared(np.greater, x, np.float64(threshold))
    return choose(passes, gradient, np.zeros(np.shape(value_of(gradient))))
