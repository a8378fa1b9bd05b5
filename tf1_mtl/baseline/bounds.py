"""Where the check's tolerances come from: arithmetic that carries its own float32 rounding error.

A `Bounded` is a float64 array and, for each element, a bound on how far any float32 evaluation may
be from it. `BoundedReference` runs the reference's own lines on such arrays, so that each of its
results comes with the tolerance that is derived for exactly this result.

The rules are those of N. Higham, "Accuracy and Stability of Numerical Algorithms", chapters 2, 3:
one operation is off by at most u = 2^-24 of its result; a sum of n terms, in any order, with or
without fused multiply-add, by gamma_n = n u / (1 - n u) of the sum of the terms' magnitudes; errors
of the operands go through an operation by the largest change they can make. Two exceptions make
them sharp where Adam needs it: a result that float32 holds exactly has no error (so a gradient that
is zero stays zero, whose sign Adam would turn into a full step), and a product or sum whose terms
are multiples of one power of two small enough is exact in any order.
"""

from typing import Any, Callable, Tuple, Union

import numpy as np

from tf1_mtl.baseline.reference import Reference

UNIT = 2.0**-24
# The smallest normal float32: below it a runtime may flush to zero.
TINY = 2.0**-126
# TensorFlow before 2.9 takes float32 square roots by an estimate and one Newton step (Eigen's
# vectorised psqrt): of all mantissas 2 % are off by more than 1 ulp, none by more than 4, on the
# machine that recorded the goldens. From 2.9 on they are right.
SQRT_ULPS = 4

Operand = Union["Bounded", float]


class Bounded:
    """A float64 array and the error that any float32 evaluation of it may have."""

    __slots__ = ("error", "value")
    __array_ufunc__ = None  # NumPy leaves `array * bounded` to Bounded

    def __init__(self, value: Any, error: Any = 0.0) -> None:
        self.value = np.asarray(value, np.float64)
        self.error = np.asarray(error, np.float64)
        if self.error.shape != self.value.shape:
            self.error = np.broadcast_to(self.error, self.value.shape)

    @property
    def T(self) -> "Bounded":
        return Bounded(self.value.T, self.error.T)

    @property
    def shape(self) -> Tuple[int, ...]:
        return self.value.shape

    def __add__(self, other: Operand) -> "Bounded":
        b = _bounded(other)
        return _rounded(self.value + b.value, self.error + b.error)

    def __sub__(self, other: Operand) -> "Bounded":
        b = _bounded(other)
        return _rounded(self.value - b.value, self.error + b.error)

    def __mul__(self, other: Operand) -> "Bounded":
        b = _bounded(other)
        error = np.abs(self.value) * b.error + self.error * (np.abs(b.value) + b.error)
        return _rounded(self.value * b.value, error)

    def __truediv__(self, other: Operand) -> "Bounded":
        b = _bounded(other)
        value = self.value / b.value
        smallest = np.abs(b.value) - b.error
        with np.errstate(divide="ignore", invalid="ignore"):
            error = (np.abs(self.value) + self.error) / smallest - np.abs(value)
        return _rounded(value, np.where(smallest > 0, error, np.inf))

    def __matmul__(self, b: "Bounded") -> "Bounded":
        value = self.value @ b.value
        size_a, size_b = np.abs(self.value), np.abs(b.value)
        magnitude = size_a @ size_b
        if _is_exact(self) and _is_exact(b):
            inherited: Any = 0.0
            if magnitude.max() <= _unit(self.value) * _unit(b.value) / UNIT:
                return Bounded(value)
        else:
            largest = (size_a + self.error) @ (size_b + b.error)
            inherited, magnitude = largest - magnitude, largest
        return Bounded(value, inherited + gamma(self.value.shape[-1]) * magnitude)

    def sum(self) -> "Bounded":
        value, magnitude = self.value.sum(), np.abs(self.value).sum()
        if _is_exact(self) and magnitude <= _unit(self.value) / UNIT:
            return Bounded(value)
        inherited = self.error.sum()
        return Bounded(value, inherited + gamma(self.value.size) * (magnitude + inherited))

    def pointwise(self, function: Callable[[np.ndarray], np.ndarray]) -> "Bounded":
        """A function that is monotonic between `value - error` and `value + error`."""
        value, up, down = (
            function(x).astype(np.float64)
            for x in (self.value, self.value + self.error, self.value - self.error)
        )
        return Bounded(value, np.maximum(np.abs(up - value), np.abs(down - value)))


class BoundedReference(Reference):
    """The reference, whose variables, slots and losses are `Bounded`."""

    def array(self, value: Any) -> Bounded:
        return Bounded(value)

    def number(self, value: float) -> Bounded:
        """A hyper-parameter: TensorFlow's float32 number, which a port may keep in double."""
        single = float(np.float32(value))
        return Bounded(single, abs(single - value))

    def matmul(self, a: Bounded, b: Bounded) -> Bounded:
        return a @ b

    def sqrt(self, x: Bounded) -> Bounded:
        root = x.pointwise(lambda value: np.sqrt(np.maximum(value, 0)))
        return Bounded(root.value, root.error + 2 * SQRT_ULPS * UNIT * root.value)

    def average(self, old: Bounded, new: Bounded, weight: Bounded) -> Bounded:
        """`old + (new - old) * weight`, or `old * (1 - weight) + new * weight`: as one operation.

        Taken as three, the error of `old` would count twice and grow from step to step.
        """
        keep = 1 - weight.value
        value = keep * old.value + weight.value * new.value
        error = keep * old.error + weight.value * new.error
        error = error + weight.error * (np.abs(old.value) + np.abs(new.value))
        rounding = keep * np.abs(old.value) + weight.value * np.abs(new.value)
        return _rounded(value, error + UNIT * rounding)

    def pointwise(self, function: Callable, x: Bounded, ulps: int = 0) -> Bounded:
        y = x.pointwise(function)
        return Bounded(y.value, y.error + 2 * ulps * UNIT * np.maximum(np.abs(y.value), 1))


def gamma(terms: int) -> float:
    """The bound on a float32 sum of so many terms, relative to the sum of their magnitudes."""
    return terms * UNIT / (1 - terms * UNIT)


def _bounded(x: Operand) -> Bounded:
    return x if isinstance(x, Bounded) else Bounded(x)


def _rounded(value: np.ndarray, error: np.ndarray) -> Bounded:
    """The result of one float32 operation, whose operands bring it this error."""
    rounding = UNIT * np.abs(value) + TINY
    if error.all():
        return Bounded(value, error + rounding)
    exact = (error == 0) & (value == value.astype(np.float32))
    return Bounded(value, np.where(exact, 0.0, error + rounding))


def _is_exact(x: Bounded) -> bool:
    return not x.error.any()


def _unit(value: np.ndarray) -> float:
    """The largest power of two of which every element, a float32, is a multiple."""
    mantissa, exponent = np.frexp(value[value != 0])
    if not mantissa.size:
        return 1.0
    digits = (mantissa * 2**24).astype(np.int64)
    return float(np.min((digits & -digits) * 2.0 ** (exponent - 24)))
