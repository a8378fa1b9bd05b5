"""Fits the number of an edit of updates to the steps that a port made."""

import itertools
from typing import Dict, List, Optional, Tuple

import numpy as np

from tf1_mtl.baseline.diagnosis.edits import Pair
from tf1_mtl.baseline.diagnosis.fitting import least
from tf1_mtl.baseline.diagnosis.replay import RIGHT, Program, replay
from tf1_mtl.baseline.diagnosis.step_comparison import StepComparison, are_one
from tf1_mtl.baseline.diagnosis.update_catalogue import Family, Piece, program_of

RUNS, STEPS = 3, 4  #: to which a number is fitted


class UpdateFit:
    """Fits numbers to the updates of a weight in a task."""

    def __init__(self, comparison: StepComparison) -> None:
        self.comparison = comparison
        self._telling_runs: Dict[Pair, List[int]] = {}

    def fitted(
        self, family: Family, more: Tuple[Piece, ...], pair: Pair, any_rate: bool
    ) -> Optional[Tuple[int, float]]:
        """Returns the value of a family that explains a pair, and in how many digits.

        Args:
          family: Has the limits of the value.
          more: What the optimizers do beside it.
          pair: The task and the weight.
          any_rate: Whether the learning rate may differ too.
        """
        task, variable = pair

        def program(value: float) -> Program:
            return program_of((*more, family.make(value)))

        def off(exponent: float) -> float:
            self.comparison.check_time()
            now = program(float(np.exp(exponent)))
            return sum(self._off(number, now, pair, any_rate) for number in self._telling(pair))

        grid = np.linspace(np.log(family.low), np.log(family.high), 20)
        values = np.array([off(x) for x in grid])
        if not np.isfinite(values).any():
            return None
        best = int(np.nanargmin(values))
        exponent = least(off, grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
        enough = 1.1 * off(exponent) + 1e-3
        for digits in (1, 2, 3, 4):
            value = float(f"{np.exp(exponent):.{digits}g}")
            if off(float(np.log(value))) <= enough:
                steps = self.comparison.compared(variable, program(value), [task]).get(task)
                return (digits, value) if steps and (any_rate or are_one(steps)) else None
        return None

    def _off(self, number: int, program: Program, pair: Pair, any_rate: bool) -> float:
        """Returns how far the first steps of a program are from those of the port in a run."""
        task, variable = pair
        replayed = replay(self.comparison.runs[number], variable, program)
        few = itertools.islice((moved for moved in replayed if moved.task == task), STEPS)
        return sum(self.comparison.off(number, m.at, variable, m.after, any_rate) for m in few)

    def _telling(self, pair: Pair) -> List[int]:
        """Returns the runs whose first steps are furthest from those of TensorFlow."""
        if pair not in self._telling_runs:
            off = [
                self._off(number, RIGHT, pair, any_rate=False)
                for number in range(len(self.comparison.runs))
            ]
            self._telling_runs[pair] = sorted(range(len(off)), key=lambda n: -off[n])[:RUNS]
        return self._telling_runs[pair]
