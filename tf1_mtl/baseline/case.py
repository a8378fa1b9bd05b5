"""Defines cases: the training steps of a recorded session, and the graph that made them.

The names in a case are those of the port: of the article "share_W", "X", "Y1"; of any other
recording the names of TensorFlow without ":0". Where the two differ, `weights` and `Step.feeds`
translate.
"""

import contextlib
from typing import (
    Any,
    Collection,
    Dict,
    FrozenSet,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline.error_bounds import UNIT, ErrorBounded, decimal, error_of
from tf1_mtl.baseline.evaluator import GRAPH_ERRORS, Evaluation, Plan
from tf1_mtl.baseline.recorded_graph import Node, RecordedGraph, needed_nodes
from tf1_mtl.baseline.sampled_errors import sharpened
from tf1_mtl.errors import InputError


class Task(NamedTuple):
    """Describes one kind of training run."""

    name: str  #: as the port is given it
    operations: Tuple[str, ...]  #: the training operations that were fetched
    loss: str  #: the tensor of the loss; "" where none was found
    trained: Tuple[str, ...] = ()  #: the variables that the operations train

    @property
    def fetches(self) -> Tuple[str, ...]:
        """Returns everything that an evaluation of the task fetches."""
        return (*self.operations, self.loss) if self.loss else self.operations


class Step(NamedTuple):
    """Holds one recorded training run."""

    task: str
    feeds: Mapping[str, np.ndarray]  #: by tensor: placeholders, and outputs of random operations
    loss: Optional[np.ndarray]  #: as TensorFlow gave it; None where it was not fetched
    variables: Optional[Mapping[str, np.ndarray]]  #: after the run; None where they were not kept
    fetched: Mapping[str, np.ndarray] = {}  #: every tensor that the run fetched
    #: Variables that other runs have changed since the step before, such as sums set to zero.
    changed_before: Mapping[str, np.ndarray] = {}


class Case(NamedTuple):
    """Holds what a port is checked on."""

    name: str
    graph: RecordedGraph
    tasks: Mapping[str, Task]
    weights: Mapping[str, str]  #: name in the port: name of the variable, in the order of creation
    feeds: Mapping[str, str]  #: name in the port: tensor
    initial: Mapping[str, np.ndarray]  #: the variables before the first step
    steps: Tuple[Step, ...]
    is_article: bool = False  #: the port has the contract of the article
    recorded_by: str = ""  #: version of TensorFlow
    #: Of the weights: those that a loss reads and no gradient trains, such as a target network.
    #: A port need not return them.
    untrained: Tuple[str, ...] = ()
    #: Variables that the runs move and that no loss reads, such as moving averages of weights. A
    #: port is not given them. They are judged where it returns them.
    averages: Tuple[str, ...] = ()

    def returned(self, names: Collection[Any]) -> "Case":
        """Returns the case of a port that returns these weights."""
        left_out = [name for name in self.untrained if name not in names]
        kept = {name: x for name, x in self.weights.items() if name not in left_out}
        kept.update({name: name for name in self.averages if name in names})
        return self._replace(
            weights=kept,
            untrained=tuple(name for name in self.untrained if name in names),
        )

    @property
    def given(self) -> Dict[str, str]:
        """Returns the weights that a port is built from: name in the port, and of the variable."""
        return {name: x for name, x in self.weights.items() if name not in self.averages}

    @property
    def not_judged(self) -> List[str]:
        """Returns the moving averages that a port does not return."""
        return [name for name in self.averages if name not in self.weights]

    def trained_weights(self, task: str) -> List[str]:
        """Returns the weights that a task trains, by name in the port."""
        trained = self.tasks[task].trained
        return [name for name, variable in self.weights.items() if variable in trained]

    def feed_shapes(self) -> Dict[str, str]:
        """Returns the shapes of each feed: "[8, 3]", or "[4 to 8, 3]" where batches differ."""
        found = {}
        for name, tensor in self.feeds.items():
            shapes = dict.fromkeys(
                np.shape(s.feeds[tensor]) for s in self.steps if tensor in s.feeds
            )
            ranks = dict.fromkeys(map(len, shapes))
            alike = ([x for x in shapes if len(x) == rank] for rank in ranks)
            found[name] = " or ".join(map(_ranges, alike))
        return found

    def place(self, step: int) -> str:
        """Returns where a step is: "golden 'joint', step 3 (joint)"; -1 is before the first."""
        when = f"step {step} ({self.steps[step].task})" if step >= 0 else "before step 0"
        return f"golden '{self.name}', {when}"

    def loss_nodes(self, task: str) -> Dict[str, Node]:
        """Returns the operations that compute the loss of a task."""
        return needed_nodes(self.graph.nodes, [self.tasks[task].loss])

    def __repr__(self) -> str:
        return f"Case({self.name!r}: {len(self.steps)} steps of {', '.join(self.tasks)})"


def _ranges(shapes: Sequence[Tuple[int, ...]]) -> str:
    """Returns shapes of one rank in one text."""
    lengths = ((min(axis), max(axis)) for axis in zip(*shapes))
    return f"[{', '.join(f'{low} to {high}' if low < high else f'{low}' for low, high in lengths)}]"


class Expected(NamedTuple):
    """Holds what the graph gives in one step: `ErrorBounded`, or float64 arrays without bounds."""

    loss: Any  #: None where the task has no loss
    weights: Dict[str, Any]  #: after the step, by name in the port
    sampled: FrozenSet[str] = frozenset()  #: the loss and the variables whose bounds are sampled


class CaseEvaluator:
    """Evaluates the steps of a case one after the other, each from weights that the caller gives.

    All other variables (slots, beta powers, counters, moving averages) go on from step to step.
    """

    def __init__(self, case: Case, bounds: bool = True) -> None:
        """Starts at the initial variables of the case.

        Args:
          case: A recorded case, or one whose graph or initial variables were edited.
          bounds: False evaluates values alone, which is several times faster.
        """
        self.case, self.bounds = case, bounds
        #: Whether wide bounds are sharpened. The caller must give the weights before each step.
        self.sharpens = True
        self._plans: Dict[Any, Plan] = {}
        self.state: Dict[str, Any] = {name: _held(value) for name, value in case.initial.items()}

    def step(self, index: int, weights: Mapping[str, np.ndarray]) -> Expected:
        """Evaluates one step.

        Args:
          index: Of the step; all steps before it have been evaluated.
          weights: Before the step, by name in the port.
        """
        step = self.case.steps[index]
        task = self.case.tasks[step.task]
        self.begin(index)
        with reading(f"{self.case.name}: step {index} ({step.task})"):
            evaluation = self.evaluate(task.fetches, step.feeds, weights)
        self.state.update(evaluation.variables)
        return Expected(
            evaluation.values.get(task.loss),
            {name: self.state[variable] for name, variable in self.case.weights.items()},
            evaluation.sampled,
        )

    def begin(self, index: int) -> None:
        """Takes over what other runs have changed before a step, except in what a port holds."""
        held = set(self.case.weights.values())
        changed = self.case.steps[index].changed_before
        self.state.update((name, _held(x)) for name, x in changed.items() if name not in held)

    def evaluate(
        self, fetches: Sequence[str], feeds: Mapping[str, Any], weights: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Evaluates a run from some weights, without what it changes in the other variables.

        Args:
          fetches: Names of tensors and operations.
          feeds: Values by tensor.
          weights: Before the run, by name in the port. A weight that is not given stays.
        """
        key = (*fetches, "fed", *feeds)
        if key not in self._plans:
            self._plans[key] = Plan(self.case.graph, fetches, feeds)
        for name, variable in self.case.weights.items():
            if name in weights:
                self.state[variable] = self.weight(name, weights[name])
        plan = self._plans[key]
        evaluation = plan.run(feeds, self.state, self.bounds)
        if not (self.bounds and self.sharpens):
            return evaluation
        return sharpened(plan, feeds, self.state, evaluation, self.case.weights.values())

    def weight(self, name: str, value: np.ndarray) -> Any:
        """Returns a weight as an evaluation takes it.

        One that a step has computed may be kept in more digits than float32 shows, so it counts as
        exact to half an ulp.
        """
        value = np.asarray(value, np.float64)
        if not self.bounds:
            return value
        computed = error_of(self.state[self.case.weights[name]]) != 0
        return ErrorBounded(value, np.where(computed, UNIT * np.abs(value), 0))


def _held(value: np.ndarray) -> Any:
    """Returns a variable as a port may hold it: a number such as a beta power in double."""
    return decimal(value) if value.shape == () and value.dtype.kind == "f" else value


@contextlib.contextmanager
def reading(where: str) -> Iterator[None]:
    """Raises InputError in place of what a graph raises that contradicts itself or its values."""
    try:
        yield
    except InputError:
        raise
    except GRAPH_ERRORS as error:
        raise InputError(
            f"{where}: cannot be read as training steps ({type(error).__name__}: {error!s:.200}); "
            "should be as TensorFlow ran it. Record it again."
        ) from error
