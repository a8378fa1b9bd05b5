"""Computes with bounds on rounding errors. The tolerances of a check come from them.

An `ErrorBounded` is a float64 array and, for each element, a bound on the distance of any
evaluation in its precision from it. The operations of `operations` are written in the functions of
this module. They take plain float64 arrays too, and then compute values alone, which is several
times faster.

The rules are those of N. Higham, "Accuracy and Stability of Numerical Algorithms", chapters 2, 3:
one operation is off by at most u = 2^-24 of its result. A sum of n terms is off by at most
gamma_n = n u / (1 - n u) of the sum of the magnitudes. This holds in any order, with or without
fused multiply-add. Errors of the operands go through an operation by the largest change that they
can make. Two exceptions keep the bounds sharp where Adam needs it. A result that float32 holds
exactly has no error, so that a gradient of zero stays zero. A sum of products whose terms are
multiples of one power of two that is small enough is exact in any order.

Errors may become NaN, which means the same as infinite. Overflow inside of a run is not followed.
"""

from typing import Any, Callable, Dict, NamedTuple, Sequence, Tuple, Union

import numpy as np


class Precision(NamedTuple):
    """Describes the numbers of one dtype."""

    unit: float  #: one operation is off by at most this part of its result
    tiny: float  #: and by this much: below it, numbers are coarser or flushed to zero
    largest: float  #: finite number
    bits: int  #: of the significand


SINGLE = Precision(2.0**-24, 2.0**-126, float(np.finfo(np.float32).max), 24)
# The evaluator computes in float64 too, and so do its bounds. The unit of 2^-53 counts eight times:
# for the rounding of TensorFlow, of the evaluator, and of the bound itself.
DOUBLE = Precision(2.0**-50, 2.0**-1022, float(np.finfo(np.float64).max), 53)
HALF = Precision(2.0**-11, 2.0**-25, 65504.0, 11)
BFLOAT16 = Precision(2.0**-8, 2.0**-126, SINGLE.largest, 8)
# Whole numbers and booleans whose value is not decided. Their arithmetic does not round.
WHOLE = Precision(0.0, 0.0, np.inf, 53)
PRECISIONS: Dict[str, Precision] = {
    "float32": SINGLE,
    "float64": DOUBLE,
    "float16": HALF,
    "bfloat16": BFLOAT16,
}

UNIT = SINGLE.unit
# TensorFlow before 2.9 takes float32 square roots by an estimate and one Newton step (vectorized
# psqrt of Eigen). On the machine that recorded the goldens, 2 % of all mantissas are off by more
# than 1 ulp, and none by more than 4. From 2.9 on they are correctly rounded.
SQRT_ULPS = 4


class ErrorBounded:
    """Holds a float64 array, and the error that any evaluation in its precision may have."""

    __slots__ = ("error", "precision", "value")
    __array_ufunc__ = None  # NumPy leaves `array * bounded` to ErrorBounded

    def __init__(self, value: Any, error: Any = None, precision: Precision = SINGLE) -> None:
        """Pairs a value with its error.

        Args:
          value: float64 array.
          error: float64, of the same shape or broadcast to it. It is 0 where the value is exact.
            None is for a value that is exact everywhere.
          precision: The precision in which TensorFlow computes with it.
        """
        self.value = np.asarray(value, np.float64)
        self.precision = precision
        if error is None:
            self.error = np.zeros(self.value.shape)
            return
        self.error = np.asarray(error, np.float64)
        if self.error.shape != self.value.shape:
            self.error = np.broadcast_to(self.error, self.value.shape)

    @property
    def shape(self) -> Tuple[int, ...]:
        return self.value.shape

    def __getitem__(self, index: Any) -> "ErrorBounded":
        return ErrorBounded(self.value[index], self.error[index], self.precision)

    def reshape(self, sizes: Sequence[int]) -> "ErrorBounded":
        return ErrorBounded(self.value.reshape(sizes), self.error.reshape(sizes), self.precision)

    def __repr__(self) -> str:
        return f"ErrorBounded({self.value!r}, {self.error!r})"

    def __neg__(self) -> "ErrorBounded":
        return ErrorBounded(-self.value, self.error, self.precision)

    def __abs__(self) -> "ErrorBounded":
        return ErrorBounded(np.abs(self.value), self.error, self.precision)

    def __add__(self, other: "Operand") -> "ErrorBounded":
        b = _bounded(other, self.precision)
        return _rounded(self.value + b.value, self.error + b.error, self.precision)

    def __sub__(self, other: "Operand") -> "ErrorBounded":
        b = _bounded(other, self.precision)
        return _rounded(self.value - b.value, self.error + b.error, self.precision)

    def __mul__(self, other: "Operand") -> "ErrorBounded":
        b = _bounded(other, self.precision)
        error = np.abs(self.value) * b.error + self.error * (np.abs(b.value) + b.error)
        return _rounded(self.value * b.value, error, self.precision)

    def __truediv__(self, other: "Operand") -> "ErrorBounded":
        b = _bounded(other, self.precision)
        value = self.value / b.value
        smallest = np.abs(b.value) - b.error
        error = (np.abs(self.value) + self.error) / smallest - np.abs(value)
        if not np.all(smallest > 0):
            error = np.where(smallest > 0, error, np.inf)
        inherited = self.error + b.error
        if np.count_nonzero(inherited) < inherited.size:
            error = np.where(inherited != 0, error, 0.0)
        return _rounded(value, error, self.precision)

    def __radd__(self, other: "Operand") -> "ErrorBounded":
        return self + other

    def __rsub__(self, other: "Operand") -> "ErrorBounded":
        return _bounded(other, self.precision) - self

    def __rmul__(self, other: "Operand") -> "ErrorBounded":
        return self * other

    def __rtruediv__(self, other: "Operand") -> "ErrorBounded":
        return _bounded(other, self.precision) / self


Operand = Union[ErrorBounded, np.ndarray, float]
Function = Callable[..., np.ndarray]


def value_of(x: Operand) -> np.ndarray:
    """Returns the values without their errors."""
    return x.value if isinstance(x, ErrorBounded) else np.asarray(x)


def error_of(x: Operand) -> np.ndarray:
    """Returns the errors, or zeros for a plain array."""
    return x.error if isinstance(x, ErrorBounded) else np.zeros(np.shape(x))


def all_exact(errors: np.ndarray) -> bool:
    """Returns whether all errors are zero. On small arrays `any` takes five times longer."""
    return not np.count_nonzero(errors)


def precision_of(*operands: Operand) -> Precision:
    """Returns the precision in which an operation on these computes."""
    return next((x.precision for x in operands if isinstance(x, ErrorBounded)), SINGLE)


def is_bounded(*operands: Operand) -> bool:
    """Returns whether one of the operands carries an error."""
    return any(isinstance(x, ErrorBounded) for x in operands)


def decimal(value: Any) -> ErrorBounded:
    """Returns a float32 number that a port may hold in double, as 0.1 for float32(0.1).

    Args:
      value: float32 scalar. Its error is the distance to the shortest decimal that float32 rounds
        to it.
    """
    single = np.float32(value)
    if not np.isfinite(single):
        return ErrorBounded(float(single))
    return ErrorBounded(float(single), abs(float(single) - float(str(single))))


def unknown(x: Operand) -> ErrorBounded:
    """Returns the values with errors that say nothing."""
    is_whole = not isinstance(x, ErrorBounded) and np.asarray(x).dtype.kind != "f"
    return ErrorBounded(value_of(x), np.inf, WHOLE if is_whole else precision_of(x))


def settled(x: ErrorBounded) -> ErrorBounded:
    """Returns a result whose errors are not NaN, and infinite where the value may overflow."""
    largest = np.abs(x.value) + x.error
    if x.value.size == 0 or largest.max() <= x.precision.largest:
        return x
    beyond = ~(largest <= x.precision.largest)
    value = np.where(np.abs(x.value) > x.precision.largest, np.sign(x.value) * np.inf, x.value)
    return ErrorBounded(value, np.where(beyond, np.inf, x.error), x.precision)


def nearest(value: np.ndarray, precision: Precision) -> np.ndarray:
    """Returns float64 numbers rounded to a precision."""
    if precision is SINGLE:
        return value.astype(np.float32).astype(np.float64)
    if precision is HALF:
        return value.astype(np.float16).astype(np.float64)
    mantissa, exponent = np.frexp(value)
    return np.ldexp(np.round(mantissa * 2.0**precision.bits), exponent - precision.bits)


def structural(function: Callable[..., Any], x: Operand) -> Any:
    """Applies a function that only moves elements to values and errors alike.

    It may return a tuple of arrays, the parts of the one that it takes.
    """
    if not isinstance(x, ErrorBounded):
        return function(np.asarray(x))
    value, error = function(x.value), function(x.error)
    if isinstance(value, tuple):
        return tuple(ErrorBounded(*pair, x.precision) for pair in zip(value, error))
    return ErrorBounded(value, error, x.precision)


def joined(function: Function, parts: Any) -> Any:
    """Applies a function that moves the elements of several arrays into one."""
    if is_bounded(*parts):
        values, errors = [value_of(x) for x in parts], [error_of(x) for x in parts]
        return ErrorBounded(function(values), function(errors), precision_of(*parts))
    return function(list(parts))


def monotonic(function: Function, *operands: Operand) -> Any:
    """Applies a function that rises in each operand, or falls in each, without rounding."""
    values = [value_of(x) for x in operands]
    if not is_bounded(*operands):
        return function(*values)
    value = np.asarray(function(*values), np.float64)
    errors = [error_of(x) for x in operands]
    precision = precision_of(*operands)
    if all(map(all_exact, errors)):
        return ErrorBounded(value, None, precision)
    up = function(*(x + error for x, error in zip(values, errors)))
    down = function(*(x - error for x, error in zip(values, errors)))
    return ErrorBounded(value, np.maximum(np.abs(up - value), np.abs(down - value)), precision)


def pointwise(function: Function, x: Operand, units: float = 0, absolute: float = 0) -> Any:
    """Applies a function of each element that is monotonic from `value - error` to `value + error`.

    Args:
      function: From float64 array to float64 array.
      x: Its argument.
      units: How far an implementation may be off, in rounding units of the value.
      absolute: How much further, in rounding units of one.
    """
    result = monotonic(function, x)
    if not isinstance(result, ErrorBounded):
        return np.asarray(result, np.float64)
    value, error, precision = result.value, result.error, result.precision
    if absolute:
        error = error + absolute * precision.unit
    if units:
        error = error + (units * precision.unit * np.abs(value) + precision.tiny * (value != 0))
    return ErrorBounded(value, error, precision)


def sqrt(x: Operand) -> Any:
    """Returns the square root, which TensorFlow before 2.9 takes up to 4 ulp off.

    A number counts as not negative, even if its error would let it be: it is a sum of squares.
    """
    return pointwise(lambda value: np.sqrt(np.maximum(value, 0)), x, 2 * SQRT_ULPS)


def average(old: Operand, new: Operand, weight: Operand) -> Any:
    """Returns `old + (new - old) * weight` as one operation.

    It may be computed as `old * (1 - weight) + new * weight`, too. Taken as three operations, the
    error of `old` would count twice and grow from step to step.
    """
    keep = 1 - value_of(weight)
    value = keep * value_of(old) + value_of(weight) * value_of(new)
    if not is_bounded(old, new, weight):
        return value
    precision = precision_of(old, new, weight)
    size_old, size_new = np.abs(value_of(old)), np.abs(value_of(new))
    error = np.abs(keep) * error_of(old) + np.abs(value_of(weight)) * error_of(new)
    error = error + error_of(weight) * (size_old + size_new)
    rounding = np.abs(keep) * size_old + np.abs(value_of(weight)) * size_new
    return _rounded(value, error + precision.unit * rounding, precision)


def bilinear(function: Function, a: Operand, b: Operand, terms: int) -> Any:
    """Returns a sum of products, each of an element of `a` with one of `b`.

    Args:
      function: Maps two arrays to the sums. It is linear in both, with weights of 0 and 1.
      a, b: Its arguments.
      terms: The largest number of products in an element of the result.
    """
    if not is_bounded(a, b):
        return function(a, b)
    precision = precision_of(a, b)
    a, b = _bounded(a, precision), _bounded(b, precision)
    value = function(a.value, b.value)
    size_a, size_b = np.abs(a.value), np.abs(b.value)
    magnitude = function(size_a, size_b)
    inherited: Any = 0.0
    if not (all_exact(a.error) and all_exact(b.error)):
        largest = function(size_a + a.error, size_b + b.error)
        inherited, magnitude = largest - magnitude, largest
    elif _is_exact(magnitude, _grain(a) * _grain(b), precision):
        return ErrorBounded(value, None, precision)
    return ErrorBounded(value, inherited + gamma(terms, precision) * magnitude, precision)


def matmul(a: Operand, b: Operand) -> Any:
    """Returns the matrix product over the last two axes. Leading axes are a batch."""
    return bilinear(np.matmul, a, b, np.shape(value_of(a))[-1])


def summed(function: Function, x: Operand, terms: int) -> Any:
    """Returns sums of elements of `x`, as they may be taken in any order.

    Args:
      function: Maps an array to the sums. It is linear, with weights of 0 and 1.
      x: Its argument.
      terms: The largest number of elements in an element of the result.
    """
    if not isinstance(x, ErrorBounded):
        array = np.asarray(x)
        return np.asarray(function(array), array.dtype)
    value, magnitude = function(x.value), function(np.abs(x.value))
    inherited: Any = 0.0
    if not all_exact(x.error):
        inherited = function(x.error)
    elif _is_exact(magnitude, _grain(x), x.precision):
        return ErrorBounded(value, None, x.precision)
    rounding = gamma(terms - 1, x.precision) * (magnitude + inherited)
    return ErrorBounded(value, inherited + rounding, x.precision)


def total(x: Operand, axis: Any = None, keepdims: bool = False) -> Any:
    """Returns the sum over the axes."""
    size = np.size(value_of(x))
    lengths = np.shape(value_of(x))
    terms = size if axis is None else np.prod([lengths[i] for i in np.atleast_1d(axis)])
    return summed(lambda a: a.sum(axis=axis, keepdims=keepdims), x, int(terms))


def gamma(terms: int, precision: Precision = SINGLE) -> float:
    """Returns the bound on a sum of so many terms, relative to the sum of magnitudes."""
    rounding = terms * precision.unit
    return rounding / (1 - rounding) if rounding < 1 else np.inf


# Decisions
#
# The error of a number may reach the border of a decision, such as a comparison, a floor or the
# argument of a maximum. Then both outcomes are possible. The result is an `ErrorBounded` of whole
# numbers (`WHOLE`), with 0 for False and 1 for True, and its error reaches the other outcome.
#
# `choose` covers both branches. An operation that needs one definite number calls `decided`, which
# raises `Undecided` if there are several. The evaluator then goes on with the value, and gives all
# outputs of the operation an infinite error.


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
    return whole(value, unsure, "bool")


def logical(function: Function, *operands: Operand) -> Any:
    """Returns what a monotonic boolean function gives, such as `np.logical_and`."""
    value = function(*(value_of(x) != 0 for x in operands))
    if not is_bounded(*operands):
        return value
    lowest = function(*(value_of(x) - error_of(x) > 0 for x in operands))
    highest = function(*(value_of(x) + error_of(x) > 0 for x in operands))
    return whole(value, lowest != highest, "bool")


def whole(value: np.ndarray, error: np.ndarray, dtype: str) -> Any:
    """Returns whole numbers or booleans, or an `ErrorBounded` if some are not decided."""
    if all_exact(error):
        return np.asarray(value).astype(dtype)
    return ErrorBounded(value, error, WHOLE)


def decided(x: Operand) -> np.ndarray:
    """Returns whole numbers or booleans as a plain array.

    Raises:
      Undecided: The error of one reaches another number.
    """
    if not isinstance(x, ErrorBounded):
        return np.asarray(x)
    if not all_exact(x.error):
        raise Undecided
    return x.value.astype(np.int64)


def _bounded(x: Operand, precision: Precision) -> ErrorBounded:
    return x if isinstance(x, ErrorBounded) else ErrorBounded(x, None, precision)


def _rounded(value: np.ndarray, error: np.ndarray, precision: Precision) -> ErrorBounded:
    """Returns the result of one operation whose operands bring this error."""
    rounded = error + (np.abs(value) * precision.unit + precision.tiny)
    if np.count_nonzero(error) < error.size:
        is_exact = (error == 0) & (value == nearest(value, precision))
        rounded = np.where(is_exact, 0.0, rounded)
    # The shapes are equal. Without the checks of __init__ a step takes a tenth less time.
    result = ErrorBounded.__new__(ErrorBounded)
    result.value, result.error, result.precision = value, rounded, precision
    return result


def _is_exact(magnitude: np.ndarray, grain: float, precision: Precision) -> bool:
    """Returns whether sums of multiples of the grain have so few digits that none is rounded."""
    if precision is DOUBLE or precision is WHOLE:
        return precision is WHOLE
    return bool(magnitude.max(initial=0) <= grain / precision.unit)


def _grain(x: ErrorBounded) -> float:
    """Returns the largest power of two of which every element, a float32, is a multiple."""
    finite = x.value[np.isfinite(x.value) & (x.value != 0)]
    mantissa, exponent = np.frexp(finite)
    if not mantissa.size:
        return 1.0
    digits = (mantissa * 2**24).astype(np.int64)
    return float(np.min((digits & -digits) * 2.0 ** (exponent - 24)))
