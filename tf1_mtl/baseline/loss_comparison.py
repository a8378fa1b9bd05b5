"""Compares the losses that a port returned with those of a model."""

from typing import List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import catalogue

LEAST = 1e-12  #: a loss that is smaller is rounding


class Sample(NamedTuple):
    """One observed loss."""

    run: int
    at: int
    observed: float
    tolerance: float  #: which leaves room for the rounding of an edited model
    sharp: float  #: error bound of a right port
    at_after: bool = False  #: whether it is the loss of the weights after the step

    def loosened(self, room: float) -> "Sample":
        """Return the sample with more room for another rounding."""
        return self._replace(tolerance=self.tolerance + room, sharp=self.sharp + room)


def in_turn(lists: Sequence[List[Sample]]) -> List[Sample]:
    """Return the first of each list, then the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    return [one[i] for i in range(longest) for one in lists if i < len(one)]


def with_slack(slack: float, samples: Sequence[Sample]) -> List[Sample]:
    """Return samples with room for the rounding of the edits of a model."""
    return [s._replace(tolerance=s.tolerance + slack) for s in samples]


def may_fit(predicted: np.ndarray, samples: Sequence[Sample]) -> bool:
    """Return whether samples of one run are right but for a factor."""
    if not np.isfinite(predicted).all():
        return False
    ratios, errors = ratios_of(predicted, samples)
    return len(samples) < 2 or common_ratio(ratios, errors) is not None


def ratios_of(predicted: np.ndarray, samples: Sequence[Sample]) -> Tuple[np.ndarray, np.ndarray]:
    """Return observed / predicted with errors; NaN where the numbers say nothing."""
    observed = np.array([s.observed for s in samples])
    tolerance = np.array([s.tolerance for s in samples])
    with np.errstate(all="ignore"):
        ratios = observed / predicted
        errors = tolerance / np.abs(predicted) + 2e-6 * np.abs(ratios)
    nothing = (np.abs(predicted) <= tolerance) & (np.abs(observed) <= tolerance)
    return np.where(nothing, np.nan, ratios), errors


def common_ratio(ratios: np.ndarray, errors: np.ndarray) -> Optional[float]:
    """Return the ratio that all have in common, or None."""
    known = ~np.isnan(ratios)
    if not known.any() or not np.isfinite(ratios[known]).all():
        return None
    weights = 1 / np.maximum(errors[known], 1e-300)
    best = float((ratios[known] * weights).sum() / weights.sum())
    return best if np.all(np.abs(ratios[known] - best) <= 2 * errors[known]) else None


def nice(value: float, errors: np.ndarray) -> float:
    """Return the shortest decimal that is within the error of a number."""
    room = float(np.nanmin(errors)) if np.size(errors) else 0.0
    for digits in range(1, 9):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= max(2 * room, 3e-7 * abs(value)):
            return short
    return value


def rounding_of(samples: Sequence[Sample]) -> Optional[Tuple[str, List[Sample]]]:
    """Return to what all losses are rounded, and the samples with room for it."""
    observed = np.array([s.observed for s in samples])
    if len(samples) < 4:
        return None
    for digits in (0, 1, 2, 3):
        unit = 10.0**-digits
        if np.all(np.abs(observed - np.round(observed, digits)) <= 1e-7 * np.abs(observed)):
            small = np.abs(observed) < 2**23 * unit
            if small.sum() >= 3 and len(set(observed[small] % 1)) > (1 if digits else 0):
                name = f"{digits} decimals" if digits else "integers"
                room = unit if not digits else unit / 2 * 1.01
                return name, [s.loosened(room) for s in samples]
    for name in ("float16", "bfloat16"):
        with np.errstate(over="ignore"):
            rounded = catalogue.PRECISIONS[name](observed)
        finite = np.isfinite(rounded)
        if finite.sum() >= 3 and np.all(rounded[finite] == observed[finite]):
            unit, least = (2.0**-11, 2.0**-25) if name == "float16" else (2.0**-8, 0.0)
            return name, [s.loosened(1.01 * max(unit * abs(s.observed), least)) for s in samples]
    return None


def late(losses: Sequence[float], index: int) -> Optional[float]:
    return losses[index + 1] if index + 1 < len(losses) else None


def from_running_mean(losses: Sequence[float], index: int) -> Optional[float]:
    if not index:
        return losses[0]
    return (index + 1) * losses[index] - index * losses[index - 1]


def from_smoothed(losses: Sequence[float], index: int) -> Optional[float]:
    return (losses[index] - 0.9 * losses[index - 1]) / 0.1 if index else losses[0]
