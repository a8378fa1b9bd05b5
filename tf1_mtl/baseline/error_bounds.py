"""Arithmetic that carries its own float32 rounding error; the tolerances of a check come from it.

An `ErrorBounded` is a float64 array and, for each element, a bound on the distance of any float32
evaluation from it. The operations of `operations` are written in the functions of this module. They
take plain float64 arrays too, and then compute values alone, which is several times faster.

The rules are those of N. Higham, "Accuracy and Stability of Numerical Algorithms", chapters 2, 3:
one operation is off by at most u = 2^-24 of its result. A sum of n terms, in any order, with or
without fused multiply-add, is off by gamma_n = n u / (1 - n u) of the sum of the magnitudes. Errors
of the operands go through an operation by the largest change that they can make. Two exceptions
keep the bounds sharp where Adam needs it. A result that float32 holds exactly has no error, so that
a gradient of zero stays zero. A sum of products whose terms are multiples of one power of two that
is small enough is exact in any order.
"""

from typing import Any, Callable, Tuple, Union

import numpy as np

UNIT = 2.0**-24
# The smallest normal float32: below it a runtime may flush to zero.
TINY = 2.0**-126
# TensorFlow before 2.9 takes float32 square roots by an estimate and one Newton step (Eigen's
# vectorized psqrt): of all mantissas 2 % are off by more than 1 ulp, none by more than 4, on the
# machine that recorded the goldens. From 2.9 on they are correctly rounded.
SQRT_ULPS = 4


class ErrorBounded:
    """A float64 array and the error that any float32 evaluation of it may have."""

    __slots__ = ("error", "value")
    __array_ufunc__ = None  # NumPy leaves `array * bounded` to ErrorBounded

    def __init__(self, value: Any, error: Any = 0.0) -> None:
        """Pair a value with its error.

        Args:
          value: float64 array.
          error: float64, of the same shape or broadcast to it; 0 where the value is exact.
        """
        self.value = np.asarray(value, np.float64)
        self.error = np.asarray(error, np.float64)
        if self.error.shape != self.value.shape:
            self.error = np.broadcast_to(self.error, self.value.shape)

    @property
    def shape(self) -> Tuple[int, ...]:
        return self.value.shape

    def __repr__(self) -> str:
        return f"ErrorBounded({self.value!r}, {self.error!r})"

    def __neg__(self) -> "ErrorBounded":
        return ErrorBounded(-self.value, self.error)

    def __add__(self, other: "Operand") -> "ErrorBounded":
        b = _bounded(other)
        return _rounded(self.value + b.value, self.error + b.error)

    def __sub__(self, other: "Operand") -> "ErrorBounded":
        b = _bounded(other)
        return _rounded(self.value - b.value, self.error + b.error)

    def __mul__(self, other: "Operand") -> "ErrorBounded":
        b = _bounded(other)
        error = np.abs(self.value) * b.error + self.error * (np.abs(b.value) + b.error)
        return _rounded(self.value * b.value, error)

    def __truediv__(self, other: "Operand") -> "ErrorBounded":
        b = _bounded(other)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self.value / b.value
            smallest = np.abs(b.value) - b.error
            error = (np.abs(self.value) + self.error) / smallest - np.abs(value)
        inherits = (self.error > 0) | (b.error > 0)
        return _rounded(value, np.where(inherits, np.where(smallest > 0, error, np.inf), 0.0))

    def __radd__(self, other: "Operand") -> "ErrorBounded":
        return self + other

    def __rsub__(self, other: "Operand") -> "ErrorBounded":
        return _bounded(other) - self

    def __rmul__(self, other: "Operand") -> "ErrorBounded":
        return self * other

    def __rtruediv__(self, other: "Operand") -> "ErrorBounded":
        return _bounded(other) / self


Operand = Union[ErrorBounded, np.ndarray, float]


def value_of(x: Operand) -> np.ndarray:
    """Return the float64 values without their errors."""
    return x.value if isinstance(x, ErrorBounded) else np.asarray(x)


def error_of(x: Operand) -> np.ndarray:
    """Return the errors; zeros for a plain array."""
    return x.error if isinstance(x, ErrorBounded) else np.zeros(np.shape(x))


def decimal(value: Any) -> ErrorBounded:
    """Return a float32 number that a port may hold in double, as 0.1 for float32(0.1).

    Args:
      value: float32 scalar. Its error is the distance to the shortest decimal that float32 rounds
        to it.
    """
    single = np.float32(value)
    if not np.isfinite(single):
        return ErrorBounded(float(single))
    return ErrorBounded(float(single), abs(float(single) - float(str(single))))


def structural(function: Callable[[np.ndarray], np.ndarray], x: Operand) -> Operand:
    """Apply a function that only moves elements to values and errors alike."""
    if isinstance(x, ErrorBounded):
        return ErrorBounded(function(x.value), function(x.error))
    return function(np.asarray(x))


def joined(function: Callable[..., np.ndarray], parts: Any) -> Operand:
    """Apply a function that moves the elements of several arrays into one."""
    if any(isinstance(x, ErrorBounded) for x in parts):
        return ErrorBounded(
            function([value_of(x) for x in parts]), function([error_of(x) for x in parts])
        )
    return function(list(parts))


def pointwise(function: Callable[[np.ndarray], np.ndarray], x: Operand, ulps: float = 0) -> Operand:
    """Apply a function that is monotonic between `value - error` and `value + error`.

    Args:
      function: From float64 array to float64 array.
      x: Its argument.
      ulps: How many ulps of its value, or of one if that is larger, an implementation may be off.
    """
    if not isinstance(x, ErrorBounded):
        return np.asarray(function(np.asarray(x)), np.float64)
    value, up, down = (
        np.asarray(function(a), np.float64) for a in (x.value, x.value + x.error, x.value - x.error)
    )
    error = np.maximum(np.abs(up - value), np.abs(down - value))
    return ErrorBounded(value, error + 2 * ulps * UNIT * np.maximum(np.abs(value), 1))


def sqrt(x: Operand) -> Operand:
    """Return the square root, which TensorFlow before 2.9 takes up to 4 ulp off."""
    root = pointwise(lambda value: np.sqrt(np.maximum(value, 0)), x)
    if isinstance(root, ErrorBounded):
        return ErrorBounded(root.value, root.error + 2 * SQRT_ULPS * UNIT * root.value)
    return root


def average(old: Operand, new: Operand, weight: Operand) -> Operand:
    """Return `old + (new - old) * weight` as one operation.

    It may be computed as `old * (1 - weight) + new * weight`, too. Taken as three operations, the
    error of `old` would count twice and grow from step to step.
    """
    keep = 1 - value_of(weight)
    value = keep * value_of(old) + value_of(weight) * value_of(new)
    if not any(isinstance(x, ErrorBounded) for x in (old, new, weight)):
        return value
    size_old, size_new = np.abs(value_of(old)), np.abs(value_of(new))
    error = np.abs(keep) * error_of(old) + np.abs(value_of(weight)) * error_of(new)
    error = error + error_of(weight) * (size_old + size_new)
    rounding = np.abs(keep) * size_old + np.abs(value_of(weight)) * size_new
    return _rounded(value, error + UNIT * rounding)


def matmul(a: Operand, b: Operand) -> Operand:
    """Return the matrix product over the last two axes; leading axes are a batch."""
    if not (isinstance(a, ErrorBounded) or isinstance(b, ErrorBounded)):
        return np.matmul(a, b)
    a, b = _bounded(a), _bounded(b)
    value = np.matmul(a.value, b.value)
    size_a, size_b = np.abs(a.value), np.abs(b.value)
    magnitude = np.matmul(size_a, size_b)
    inherited: Any = 0.0
    if _is_exact(a) and _is_exact(b):
        if magnitude.max(initial=0) <= _grain(a.value) * _grain(b.value) / UNIT:
            return ErrorBounded(value)
    else:
        largest = np.matmul(size_a + a.error, size_b + b.error)
        inherited, magnitude = largest - magnitude, largest
    return ErrorBounded(value, inherited + gamma(a.shape[-1]) * magnitude)


def total(x: Operand, axis: Any = None, keepdims: bool = False) -> Operand:
    """Return the sum over the axes, as float32 may take it in any order."""
    value = value_of(x).sum(axis=axis, keepdims=keepdims)
    if not isinstance(x, ErrorBounded):
        return value
    magnitude = np.abs(x.value).sum(axis=axis, keepdims=keepdims)
    if _is_exact(x) and magnitude.max(initial=0) <= _grain(x.value) / UNIT:
        return ErrorBounded(value)
    terms = x.value.size // max(1, np.size(value))
    inherited = x.error.sum(axis=axis, keepdims=keepdims)
    return ErrorBounded(value, inherited + gamma(terms) * (magnitude + inherited))


def choose(condition: np.ndarray, a: Operand, b: Operand) -> Operand:
    """Return `a` where the condition holds and `b` elsewhere."""
    value = np.where(condition, value_of(a), value_of(b))
    if isinstance(a, ErrorBounded) or isinstance(b, ErrorBounded):
        return ErrorBounded(value, np.where(condition, error_of(a), error_of(b)))
    return value


def gated(gradient: Operand, x: Operand, threshold: float = 0.0) -> Operand:
    """Return the gradient where `x` is above the threshold and 0 elsewhere, as `ReluGrad` does.

    Where the error of `x` reaches the threshold, either of the two may be computed.
    """
    passes = value_of(x) > threshold
    result = choose(passes, gradient, np.zeros(np.shape(value_of(gradient))))
    if not (isinstance(x, ErrorBounded) and isinstance(result, ErrorBounded)):
        return result
    unsure = (np.abs(x.value - threshold) <= x.error) & (x.error > 0)
    either = np.abs(value_of(gradient)) + error_of(gradient)
    return ErrorBounded(result.value, np.where(unsure, either, result.error))


def gamma(terms: int) -> float:
    """Return the bound on a float32 sum of so many terms, relative to the sum of magnitudes."""
    return terms * UNIT / (1 - terms * UNIT)


def _bounded(x: Operand) -> ErrorBounded:
    return x if isinstance(x, ErrorBounded) else ErrorBounded(x)


def _rounded(value: np.ndarray, error: np.ndarray) -> ErrorBounded:
    """Return the result of one float32 operation whose operands bring this error."""
    rounded = error + (np.abs(value) * UNIT + TINY)
    if not error.all():
        with np.errstate(over="ignore"):
            exact = (error == 0) & (value == value.astype(np.float32))
        rounded = np.where(exact, 0.0, rounded)
    # The shapes are equal. Without the checks of __init__ a step takes a tenth less time.
    result = ErrorBounded.__new__(ErrorBounded)
    result.value, result.error = value, rounded
    return result


def _is_exact(x: ErrorBounded) -> bool:
    return not x.error.any()


def _grain(value: np.ndarray) -> float:
    """Return the largest power of two of which every element, a float32, is a multiple."""
    finite = value[np.isfinite(value) & (value != 0)]
    mantissa, exponent = np.frexp(finite)
    if not mantissa.size:
        return 1.0
    digits = (mantissa * 2**24).astype(np.int64)
    return float(np.min((digits & -digits) * 2.0 ** (exponent - 24)))
