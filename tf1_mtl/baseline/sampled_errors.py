"""Sharpens error bounds that say too little: those of deep networks.

A bound on the worst case grows from layer to layer, by a factor of 20 for a convolution with batch
normalization. Real rounding errors partly cancel. So where a bound is wide, the run is evaluated
several times with errors that are drawn (stochastic arithmetic: J. Vignes, "Discrete Stochastic
Arithmetic for Validating Results of Numerical Software", 2004). Every operation is off at random
by up to the bound on its own rounding. In half of the evaluations all elements of a tensor are off
by the same part of their bounds, as they are by an approximation that is always too small.
"""

from typing import Any, Collection, Dict, Mapping, Set, Tuple

import numpy as np

from tf1_mtl.baseline.error_bounds import WHOLE, ErrorBounded, error_of, nearest, value_of
from tf1_mtl.baseline.evaluator import GRAPH_ERRORS, Evaluation, Plan

#: The part of the size from which a bound is wide: of a single number such as a loss; of a gradient
#: or a step of a weight.
WIDE_NUMBER, WIDE_STEP = 1e-3, 1e-2
SAMPLES = 4
#: How many times the largest difference between samples a bound leaves.
ROOM = 3

_Key = Tuple[bool, str]  # whether it is a variable, and its name


class _Noise:
    """Draws errors. Of two that follow each other, one has the opposite signs of the other."""

    def __init__(self, number: int) -> None:
        pair, self._sign = number // 2, 1 - 2 * (number % 2)
        self._rng, self._is_common = np.random.RandomState(pair), bool(pair % 2)

    def __call__(self, x: ErrorBounded) -> ErrorBounded:
        """Returns what an operation gives, off by a part of its error, as an exact number."""
        if x.precision is WHOLE or not np.count_nonzero(x.error):
            return ErrorBounded(x.value, None, x.precision)
        value = self.drawn(x, 1.0).value
        return ErrorBounded(nearest(value, x.precision), None, x.precision)

    def drawn(self, x: ErrorBounded, part: float) -> ErrorBounded:
        """Returns a tensor that is off by up to a part of its error, and is not rounded."""
        drawn = self._sign * self._rng.uniform(-1, 1, () if self._is_common else x.shape)
        off = np.where(np.isfinite(x.error), x.error, 0) * drawn * part
        return ErrorBounded(x.value + off, None, x.precision)


def sharpened(
    plan: Plan,
    feeds: Mapping[str, Any],
    variables: Mapping[str, Any],
    found: Evaluation,
    weights: Collection[str],
) -> Evaluation:
    """Returns an evaluation with smaller errors where they are wide.

    Args:
      plan: What was evaluated.
      feeds: That were given to it.
      variables: Likewise. Slots may bring errors from earlier runs.
      found: What it gave, with bounds.
      weights: The variables that are given anew before each run.
    """
    wide = _wide(variables, found, weights)
    if not wide or any(not np.all(np.isfinite(error_of(x))) for x in variables.values()):
        return found
    bounds = _bounds(found)
    largest: Dict[_Key, Any] = {key: np.zeros(x.shape) for key, x in bounds.items()}
    for number in range(SAMPLES):
        noise = _Noise(number)
        started = {name: _started(x, name in weights, noise) for name, x in variables.items()}
        try:
            sample = _bounds(plan.run(feeds, started, noise=noise))
        except GRAPH_ERRORS:  # a drawn error took another branch
            return found
        for key, x in bounds.items():
            off = np.full(x.shape, np.inf)
            if key in sample and sample[key].shape == x.shape:
                # An update operation adds its own rounding, which is not drawn.
                off = np.abs(sample[key].value - x.value) + sample[key].error
            largest[key] = np.maximum(largest[key], off)
    sharp: Dict[_Key, Any] = {
        key: ErrorBounded(x.value, np.fmin(x.error, _with_room(largest[key])), x.precision)
        for key, x in bounds.items()
        if key in wide or (key[0] and key[1] not in weights)
    }
    return found._replace(
        values={name: sharp.get((False, name), x) for name, x in found.values.items()},
        variables={name: sharp.get((True, name), x) for name, x in found.variables.items()},
        sampled=frozenset(name for _, name in wide),
    )


def _started(x: Any, is_weight: bool, noise: _Noise) -> Any:
    """Returns the value of a variable before a run, off by what is likely.

    The bound of a slot comes from here and has room. It must not be given room again in each run.
    """
    if not isinstance(x, ErrorBounded):
        return x
    return noise.drawn(x, 1.0 if is_weight else 1 / (1.5 * ROOM))


def _bounds(evaluation: Evaluation) -> Dict[_Key, ErrorBounded]:
    """Returns the floats that an evaluation gives."""
    both = ((False, evaluation.values), (True, evaluation.variables))
    return {
        (is_variable, name): x
        for is_variable, found in both
        for name, x in found.items()
        if isinstance(x, ErrorBounded) and x.precision is not WHOLE
    }


def _wide(variables: Mapping[str, Any], found: Evaluation, weights: Collection[str]) -> Set[_Key]:
    """Returns what has a wide bound. The last rounding of a weight does not count."""
    wide = set()
    for (is_variable, name), x in _bounds(found).items():
        size, error, part = x.value, x.error, WIDE_STEP if x.shape else WIDE_NUMBER
        if is_variable:
            if name not in weights:
                continue
            size, part = x.value - value_of(variables[name]), WIDE_STEP
            error = np.maximum(error - 2 * x.precision.unit * np.abs(x.value), 0)
        if not _size(error) <= part * _size(size):
            wide.add((is_variable, name))
    return wide


def _size(x: np.ndarray) -> float:
    """Returns the root mean square."""
    return float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0


def _with_room(off: np.ndarray) -> np.ndarray:
    """Returns bounds from the largest differences. That of one element may be small by chance."""
    return ROOM * (off + _size(off) * (off != 0))
