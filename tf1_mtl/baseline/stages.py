"""Names the stages of a step, and finds the one that a wrong update shows."""

from typing import List, NamedTuple, Tuple

import numpy as np

RETURNED, FORWARD, GRADIENTS, EITHER, OPTIMIZER, LONG_RUN = STAGES = (
    "dtype and shape",
    "forward and loss",
    "gradients",
    "gradients or optimizer",  # where the weights cannot tell
    "optimizer",
    "long run",
)


class Move(NamedTuple):
    """Holds what one step did to one variable: arrays of its shape, in float64."""

    weights: np.ndarray  #: before the step
    expected: np.ndarray
    obtained: np.ndarray
    error: np.ndarray  #: the tolerance
    first: bool  #: no step before has trained this variable

    @property
    def is_decay(self) -> bool:
        """Returns whether what is wrong, if anything, is a fixed part of each weight."""
        wrong = self.obtained - self.expected
        squares = (self.weights**2).sum()
        rate = (wrong * self.weights).sum() / squares if squares else 0.0
        rounding = 2 * np.spacing(np.abs(self.weights).astype(np.float32))
        return bool((np.abs(wrong - rate * self.weights) <= self.error + rounding).all())

    @property
    def is_right(self) -> np.ndarray:
        """Returns which elements moved as they should."""
        moved = np.abs(self.expected) > self.error
        return moved & (np.abs(self.obtained - self.expected) <= self.error)


def stage_of_update(
    moves: List[Move], task_is_new: bool, step_is_first: bool
) -> Tuple[str, List[str]]:
    """Tells wrong gradients from a wrong optimizer.

    The first update of a variable by Adam goes against the sign of its gradient, so the sign shows.
    A move the other way, or where the gradient is zero, may still be momentum of an earlier step.
    A move in proportion to the weights is their decay. A variable that rests while others move as
    they should gets no gradient. Where all rest, the optimizer may do nothing.

    Args:
      moves: Of the variables that are not where they should be, and of those that are.
      task_is_new: No step before has trained this task.
      step_is_first: No step before has trained anything.

    Returns:
      The stage, and what is right before it.
    """
    if not task_is_new:
        return OPTIMIZER, ["the first update of this task"]
    doubtful = False
    some_are_right = any(move.is_right.any() for move in moves)
    all_rest = not any((np.abs(move.obtained) > move.error).any() for move in moves)
    for move in (move for move in moves if not move.is_decay):
        goes, gone = np.abs(move.expected) > move.error, np.abs(move.obtained) > move.error
        opposite = goes & gone & (np.sign(move.expected) != np.sign(move.obtained))
        rests, stirs = goes & ~gone, gone & ~goes
        shown = move.first and (opposite.any() or (some_are_right and rests.any()))
        if shown or (step_is_first and stirs.any()):
            return GRADIENTS, []
        doubtful |= bool(opposite.any() or stirs.any() or (some_are_right and rests.any()))
    if doubtful or all_rest:
        return EITHER, []
    return OPTIMIZER, ["the sign of every gradient, as the first update of this task shows it"]
