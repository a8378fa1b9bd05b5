"""Derives how far the recording of another machine may be from ours, value by value.

Each runtime has its own order of summation. So a value is off from the exact one by at most the
rounding error that the arithmetic can accumulate (`tf1_mtl.baseline.error_bounds`). The values of
two runtimes differ by at most twice that.
"""

import numpy as np

from tf1_mtl.baseline import error_bounds
from tf1_mtl.baseline.error_bounds import ErrorBounded
from tf1_mtl.baseline.reference import Reference

from .cases import WEIGHTS, Recorded


class BoundedReference(Reference):
    """The reference, whose variables, slots and losses are `ErrorBounded`."""

    def array(self, value):
        return ErrorBounded(value)

    def number(self, value):
        """Returns a hyper-parameter, which a runtime may keep in double."""
        return error_bounds.decimal(value)

    def matmul(self, a, b):
        return error_bounds.matmul(a, b)

    def transposed(self, a):
        return error_bounds.structural(np.transpose, a)

    def total(self, x):
        return error_bounds.total(x)

    def sqrt(self, x):
        return error_bounds.sqrt(x)

    def average(self, old, new, weight):
        return error_bounds.average(old, new, weight)

    def pointwise(self, function, x):
        return error_bounds.pointwise(function, x)


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
