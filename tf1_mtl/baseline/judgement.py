"""Tells whether the reference with rules changed does, within rounding, what a port did.

Every step is judged from where the port itself stood: the loss and the update are computed from the
weights that the port showed before the step.
"""

from typing import Any, Mapping

import numpy as np

from tf1_mtl.baseline.bounds import UNIT, Bounded
from tf1_mtl.baseline.deviations import BoundedDeviant
from tf1_mtl.baseline.play import Played, Weights
from tf1_mtl.baseline.reference import WEIGHTS


def agrees(played: Played, rules: Mapping[str, Any], steps: int) -> bool:
    """Return whether a port is within the bounds of the reference with these rules.

    Args:
      played: What the port did.
      rules: Fields of `deviations.Rules`.
      steps: How many steps are judged.
    """
    initial = played.golden.sessions[0].initial
    model = BoundedDeviant(*(initial[name] for name in WEIGHTS), **rules)
    if played.before and not _within(played.before[0], model.shown()):
        return False
    for step in range(min(steps, len(played.losses))):
        _load(model, played.before[step])
        loss = model.step(*played.batch(step))
        if _is_off(np.array(played.losses[step]), loss):
            return False
        if step < len(played.after) and not _within(played.after[step], model.shown()):
            return False
    return True


def _within(obtained: Weights, expected: Mapping[str, Bounded]) -> bool:
    return not any(np.any(_is_off(obtained[name], expected[name])) for name in WEIGHTS)


def _load(model: BoundedDeviant, shown: Weights) -> None:
    """Put the weights of the port before a step into the model.

    A weight that was computed may be kept in more digits than are shown: half an ulp.
    """
    expected = model.shown()
    before = {name: x.astype(np.float64) for name, x in shown.items()}
    model.show(
        {
            name: Bounded(x, np.where(expected[name].error == 0, 0, UNIT * np.abs(x)))
            for name, x in before.items()
        }
    )


def _is_off(obtained: Any, expected: Bounded) -> Any:
    """Which elements are further off than their bound; what is expected not to be finite may be."""
    with np.errstate(invalid="ignore"):
        within = np.abs(obtained - expected.value) <= expected.error
    return ~(within | (~np.isfinite(expected.value) & ~np.isfinite(obtained)))
