"""Sharpens error bounds that say too little: those of deep networks.

A bound on the worst case grows from layer to layer, by a factor of 20 for a convolution with batch
normalization. Real rounding errors partly cancel. So where a bound is wide, the run is evaluated
several times with errors that are drawn (stochastic arithmetic: J. Vignes, "Discrete Stochastic
Arithmetic for Validating Results of Numerical Software", 2004). Every operation is off at random
by up to the bound on its own rounding. In every second evaluation all elements of a tensor are off
by the same part of their bounds, as they are by an approximation that is always too small.
"""

from typing import Any, Collection, Dict, Mapping, Tuple

import numpy as np

from tf1_mtl.baseline.error_bounds import WHOLE, ErrorBounded, nearest, value_of
from tf1_mtl.baseline.evaluator import Evaluation, Plan

#: The part of the size from which a bound is wide: of a loss, of a gradient or a step of a weight.
WIDE_LOSS, WIDE_STEP = 1e-3, 1e-2
SAMPLES = 4
#: How many times the largest difference between samples a bound leaves.
ROOM = 3

_Key = Tuple[bool, str]  # whether it is a variable, and its name


class _Noise:
    """Draws errors."""

    def __init__(self, seed: int) -> None:
        self._rng, self._is_common = np.random.RandomState(seed), bool(seed % 2)

    def __call__(self, x: ErrorBounded) -> ErrorBounded:
        """Returns a tensor that is off by a part of its error, and counts as exact."""
        if x.precision is WHOLE or not np.count_nonzero(x.error):
            return ErrorBounded(x.value, None, x.precision)
        part = self._rng.uniform(-1, 1, () if self._is_common else x.shape)
        off = np.where(np.isfinite(x.error), x.error, 0) * part
        value = np.where(off != 0, nearest(x.value + off, x.precision), x.value)
        return ErrorBounded(value, None, x.precision)


def sharpened(
    plan: Plan,
    feeds: Mapping[str, Any],
    variables: Mapping[str, Any],
    found: Evaluation,
    weights: Collection[str],
) -> Evaluation:
    """Returns an evaluation with smaller errors, if some of them are wide.

    Args:
      plan: What was evaluated.
      feeds: That were given to it.
      variables: Likewise.
      found: What it gave, with bounds.
      weights: The variables whose bounds matter; those of slots do where a weight shows them.
    """
    if not _is_wide(variables, found, weights):
        return found
    bounds = _bounds(found)
    largest: Dict[_Key, Any] = {key: np.zeros(x.shape) for key, x in bounds.items()}
    for seed in range(SAMPLES):
        noise = _Noise(seed)
        started = {name: _started(x, noise) for name, x in variables.items()}
        sample = _bounds(plan.run(feeds, started, noise=noise))
        for key, x in bounds.items():
            off = np.full(x.shape, np.inf)
            if key in sample and sample[key].shape == x.shape:
                # An update operation adds its own rounding, which is not drawn.
                off = np.abs(sample[key].value - x.value) + sample[key].error
            largest[key] = np.maximum(largest[key], off)
    sharp: Dict[_Key, Any] = {
        key: ErrorBounded(x.value, np.fmin(x.error, _with_room(largest[key])), x.precision)
        for key, x in bounds.items()
    }
    return found._replace(
        values={name: sharp.get((False, name), x) for name, x in found.values.items()},
        variables={name: sharp.get((True, name), x) for name, x in found.variables.items()},
    )


def _started(x: Any, noise: _Noise) -> Any:
    """Returns the value of a variable before a run, off by what is likely.

    Its bound may come from here and have room. It must not be given room again with every run.
    """
    if not isinstance(x, ErrorBounded):
        return x
    return noise(ErrorBounded(x.value, x.error / (1.5 * ROOM), x.precision))


def _bounds(evaluation: Evaluation) -> Dict[_Key, ErrorBounded]:
    """Returns the floats that an evaluation gives."""
    both = ((False, evaluation.values), (True, evaluation.variables))
    return {
        (is_variable, name): x
        for is_variable, found in both
        for name, x in found.items()
        if isinstance(x, ErrorBounded) and x.precision is not WHOLE
    }


def _is_wide(variables: Mapping[str, Any], found: Evaluation, weights: Collection[str]) -> bool:
    """Returns whether some bounds are wide."""
    for (is_variable, name), x in _bounds(found).items():
        size, part = x.value, WIDE_STEP if x.shape else WIDE_LOSS
        if is_variable:
            if name not in weights:
                continue
            size, part = x.value - value_of(variables[name]), WIDE_STEP
        if not _size(x.error) <= part * _size(size):
            return True
    return False


def _size(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) if x.size else 0.0


def _with_room(off: np.ndarray) -> np.ndarray:
    """Returns bounds from the largest differences: a single one may be small by chance."""
    return ROOM * (off + _size(off) * (off != 0))
