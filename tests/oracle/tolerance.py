"""How far another machine's recording may be from ours: derived, value by value.

A runtime sums in an order of its own, so each value is off from the exact one by at most the
rounding error that the arithmetic can accumulate up to there (`tf1_mtl.baseline.bounds`), and two
runtimes' values from each other by at most twice that.
"""

import numpy as np

from tf1_mtl.baseline.bounds import BoundedReference

from .cases import WEIGHTS, Recorded


def run(case):
    """A `Recorded` that holds, in the place of every value, the tolerance for it."""
    reference = BoundedReference(*(case.weights[name] for name in WEIGHTS))
    losses, variables = [], {}
    for step, batch in enumerate(case.batches):
        losses.append(2 * reference.step(*batch).error)
        if step in case.kept():
            variables[step] = {key: 2 * x.error for key, x in reference.variables.items()}
            for key, x in reference.slots.items():
                variables[step]["/".join(key)] = 2 * x.error
    return Recorded(np.array(losses), {}, variables)
