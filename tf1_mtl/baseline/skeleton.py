"""Prints a port to fill in, for the tasks, feeds and weights of a recording."""

from tf1_mtl.baseline.case import Case, Task
from tf1_mtl.baseline.recorded_cases import cases_of

_ARTICLE = '''"""A port of the article to fill in. Check it: tf1-mtl check THIS_FILE.py"""

import numpy as np


class Port:
    def __init__(self, share_W, share_Y1, share_Y2):
        """Keeps the initial weights: float32 arrays [inputs, shared] and [shared, outputs]."""
        self.share_W, self.share_Y1, self.share_Y2 = share_W, share_Y1, share_Y2

    def step(self, task, X, Y1, Y2):
        """Trains once on task "Y1", "Y2" or "joint" and returns the loss before the update."""
        raise NotImplementedError

    def weights(self):
        """Returns the three weights by name, float32."""
        return {
            name: np.asarray(getattr(self, name), np.float32)
            for name in ("share_W", "share_Y1", "share_Y2")
        }
'''

_GENERAL = '''"""A port of {name} to fill in.

Check it: tf1-mtl check THIS_FILE.py --golden {name}
"""

import numpy as np


class Port:
    def __init__(self, weights):
        """Keeps the initial weights, arrays by name.

{weights}
        """
        self.variables = dict(weights)

    def step(self, task, feeds):
        """Trains once and returns the loss before the update.

        feeds holds arrays by name:
{feeds}
        """
{tasks}        raise ValueError(task)

    def weights(self):
        """Returns the weights by name.{averages}"""
        return {{name: np.asarray(value) for name, value in self.variables.items()}}
'''


def skeleton(golden: str) -> str:
    """Returns the source of a port that lacks its steps.

    Args:
      golden: The name of a golden, or the path of a recording. The first session counts.

    Raises:
      InputError: There is no such golden or recording, or it holds no graph.
    """
    case = cases_of(golden)[0]
    if case.is_article:
        return _ARTICLE
    weights = {name: case.initial[variable] for name, variable in case.weights.items()}
    shapes = case.feed_shapes()
    dtypes = {
        name: next(step.feeds[tensor].dtype for step in case.steps if tensor in step.feeds)
        for name, tensor in case.feeds.items()
    }
    return _GENERAL.format(
        name=case.name,
        weights="\n".join(
            f"        {name}: {array.dtype} {list(array.shape)}"
            f"{' (not trained)' if name in case.untrained else ''}"
            for name, array in weights.items()
        ),
        feeds="\n".join(f"          {n}: {dtypes[n]} {shapes[n]}" for n in shapes),
        averages=f" It may return {', '.join(case.averages)} too." if case.averages else "",
        tasks="".join(_branch(case, task) for task in case.tasks.values()),
    )


def _branch(case: Case, task: Task) -> str:
    names = ", ".join(case.trained_weights(task.name))
    loss = f"The loss is {task.loss}." if task.loss else "It has no loss: return None."
    return (
        f"        if task == {task.name!r}:\n"
        f"            # {loss} It {'trains' if task.loss else 'changes'} {names or 'no weight'}.\n"
        "            raise NotImplementedError\n"
    )
