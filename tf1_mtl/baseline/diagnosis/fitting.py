"""Fits numbers to what a port did, and finds the digits that are meant."""

from typing import Callable, Iterator, List, Optional

import numpy as np

MOST_PARTS = 100  #: of which a number may be one


def nice(value: float, errors: np.ndarray) -> float:
    """Returns the shortest decimal that is within the error of a number."""
    room = float(np.nanmin(errors)) if np.size(errors) else 0.0
    for digits in range(1, 9):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= max(2 * room, 3e-7 * abs(value)):
            return short
    return value


def shortened(value: float, least: float = 0.0) -> List[float]:
    """Returns a number in more and more digits, after the power of ten that is closest.

    One part in n, such as 1 / 3, comes before the three digits that are nearly the same.

    Args:
      value: The number.
      least: Up to this size, 0 comes first.
    """
    if not value:
        return [0.0]
    first = [0.0] if abs(value) <= least else []
    first.append(float(np.sign(value)) * float(f"1e{int(np.round(np.log10(abs(value))))}"))
    first += [float(f"{value:.{digits}g}") for digits in (1, 2)]
    whole = float(np.round(1 / value))
    first += [1 / whole] if is_part(value, whole, 2e-4) else []
    first += [float(f"{value:.{digits}g}") for digits in (3, 4, 6)]
    return list(dict.fromkeys(first))


def is_part(value: float, whole: float, room: float) -> bool:
    """Returns whether a number is 1 / `whole`, as a mean in place of a sum makes it.

    Args:
      value: The number.
      whole: A whole number; of more than 100 parts nothing is said.
      room: The relative error of the number.
    """
    return 0 < abs(whole) <= MOST_PARTS and abs(value * whole - 1) <= room


def roots(function: Callable[[float], float], grid: np.ndarray) -> Iterator[float]:
    """Yields where a function changes its sign between two points of a grid, by bisection."""
    values = [function(x) for x in grid]
    for low, high, at_low, at_high in zip(grid, grid[1:], values, values[1:]):
        if not (np.isfinite(at_low) and np.isfinite(at_high)) or at_low * at_high > 0:
            continue
        for _ in range(45):
            middle = (low + high) / 2
            at = function(middle)
            if at_low * at <= 0:
                high = middle
            else:
                low, at_low = middle, at
        yield (low + high) / 2


def secant(
    function: Callable[[float], float], a: float, b: float, tolerance: float
) -> Optional[float]:
    """Returns where a function is zero, by the secant method; None where that does not settle.

    Args:
      function: Of a number.
      a, b: Two numbers to start with.
      tolerance: Of the function; a quarter of it counts as zero.
    """
    at_a, at_b = function(a), function(b)
    for _ in range(12):
        if not np.isfinite(at_b) or at_a == at_b:
            return None
        a, b, at_a = b, b - at_b * (b - a) / (at_b - at_a), at_b
        at_b = function(b)
        if abs(at_b) <= tolerance / 4:
            return b
    return None


def least(function: Callable[[float], float], low: float, high: float) -> float:
    """Returns where a function is least, by golden-section search."""
    ratio = (5**0.5 - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = function(a), function(b)
    for _ in range(24):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = function(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = function(b)
    return (low + high) / 2
