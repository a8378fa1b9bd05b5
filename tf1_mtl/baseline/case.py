"""A case of a check: the training steps of one recorded session, and the graph that made them.

The names in a case are those of the port: of the article "share_W", "X", "Y1"; of any other
recording the names of TensorFlow without ":0". Where the two differ, `weights` and `Step.feeds`
translate.
"""

import re
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from tf1_mtl.baseline.error_bounds import UNIT, ErrorBounded, decimal, error_of
from tf1_mtl.baseline.evaluator import Plan
from tf1_mtl.baseline.recorded_graph import RecordedGraph, canonical, needed_nodes, node_and_output

_UPDATE = re.compile(r"^(Resource)?(Sparse)?Apply")
_GRADIENT_SCOPE = re.compile(r"^(?:.*/)?gradients(?:_\d+)?/(.+?)_grad/")


class Task(NamedTuple):
    """One kind of training run."""

    name: str  #: as the port is given it
    operations: Tuple[str, ...]  #: the training operations that were fetched
    loss: str  #: the tensor of the loss; "" where none was found

    @property
    def fetches(self) -> Tuple[str, ...]:
        """Return everything that an evaluation of the task fetches."""
        return (*self.operations, self.loss) if self.loss else self.operations


class Step(NamedTuple):
    """One recorded training run."""

    task: str
    feeds: Mapping[str, np.ndarray]  #: by tensor: placeholders, and outputs of random operations
    loss: Optional[np.ndarray]  #: as TensorFlow gave it; None where it was not fetched
    variables: Optional[Mapping[str, np.ndarray]]  #: after the run; None where they were not kept
    fetched: Mapping[str, np.ndarray] = {}  #: every tensor that the run fetched


class Case(NamedTuple):
    """What a port is checked on."""

    name: str
    graph: RecordedGraph
    tasks: Mapping[str, Task]
    weights: Mapping[str, str]  #: name in the port: name of the variable, in the order of creation
    feeds: Mapping[str, str]  #: name in the port: tensor
    initial: Mapping[str, np.ndarray]  #: the variables before the first step
    steps: Tuple[Step, ...]
    is_article: bool = False  #: the port has the contract of the article
    recorded_by: str = ""  #: version of TensorFlow

    def __repr__(self) -> str:
        return f"Case({self.name!r}: {len(self.steps)} steps of {', '.join(self.tasks)})"


class Expected(NamedTuple):
    """What one step gives by the graph: `ErrorBounded`, or float64 arrays without bounds."""

    loss: Any  #: None where the task has no loss
    weights: Dict[str, Any]  #: after the step, by name in the port


class CaseEvaluator:
    """Evaluates the steps of a case one after the other, each from weights that the caller gives.

    All other variables (slots, beta powers, counters, moving averages) go on from step to step.
    """

    def __init__(self, case: Case, bounds: bool = True) -> None:
        """Start at the initial variables of the case.

        Args:
          case: A recorded case, or one whose graph or initial variables were edited.
          bounds: False evaluates values alone, which is several times faster.
        """
        self.case, self._bounds = case, bounds
        self._plans: Dict[Tuple[str, Tuple[str, ...]], Plan] = {}
        # A port may hold a hyper-parameter, such as a beta power, in double.
        self.state: Dict[str, Any] = {
            name: decimal(value) if value.shape == () and value.dtype.kind == "f" else value
            for name, value in case.initial.items()
        }

    def step(self, index: int, weights: Mapping[str, np.ndarray]) -> Expected:
        """Evaluate one step.

        Args:
          index: Of the step; all steps before it have been evaluated.
          weights: Before the step, by name in the port. A weight that a step has computed may be
            kept in more digits than float32 shows, so it counts as exact to half an ulp.
        """
        step = self.case.steps[index]
        task = self.case.tasks[step.task]
        for name, variable in self.case.weights.items():
            value = np.asarray(weights[name], np.float64)
            computed = error_of(self.state[variable]) != 0
            self.state[variable] = ErrorBounded(value, np.where(computed, UNIT * np.abs(value), 0))
        key = (step.task, tuple(step.feeds))
        if key not in self._plans:
            self._plans[key] = Plan(self.case.graph, task.fetches, step.feeds)
        evaluation = self._plans[key].run(step.feeds, self.state, self._bounds)
        self.state.update(evaluation.variables)
        return Expected(
            evaluation.values.get(task.loss),
            {name: self.state[variable] for name, variable in self.case.weights.items()},
        )


def trained_variables(graph: RecordedGraph, operations: Tuple[str, ...]) -> List[str]:
    """Return the variables that optimizers of these training operations update, slots excluded."""
    found: Dict[str, None] = {}
    for node in needed_nodes(graph.nodes, operations).values():
        if _UPDATE.match(node.op):
            found[node_and_output(node.inputs[0])[0]] = None
    return list(found)


def loss_of(graph: RecordedGraph, operations: Tuple[str, ...], fetched: Mapping[str, Any]) -> str:
    """Return the tensor whose gradient the training operations take; "" where none is found.

    TensorFlow names the gradient of an operation `gradients/<operation>_grad/...` and builds that
    of the loss first. A fetched scalar that is such a loss comes first, then one that was not
    fetched, then any other fetched scalar of floats.

    Args:
      graph: The recorded graph.
      operations: Names of the training operations.
      fetched: Values that the run returned, by tensor.
    """
    needed = needed_nodes(graph.nodes, operations)
    first_of_scope: Dict[str, str] = {}
    for name in graph.nodes:  # in the order of creation
        scope = _GRADIENT_SCOPE.match(name)
        if scope and name in needed and scope.group(1) in graph.nodes:
            first_of_scope.setdefault(name[: scope.start(1)], scope.group(1))
    losses = list(first_of_scope.values())
    scalars = [
        canonical(name)
        for name, value in fetched.items()
        if value is not None and np.shape(value) == () and np.asarray(value).dtype.kind == "f"
    ]
    for candidates in ([name for name in scalars if name in losses], losses, scalars):
        if candidates:
            return candidates[0]
    return ""
