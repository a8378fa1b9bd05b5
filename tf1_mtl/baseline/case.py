"""Reads cases: the training steps of a recorded session, and the graph that made them.

The names in a case are those of the port: of the article "share_W", "X", "Y1"; of any other
recording the names of TensorFlow without ":0". Where the two differ, `weights` and `Step.feeds`
translate.
"""

import contextlib
import os
import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.error_bounds import UNIT, ErrorBounded, decimal, error_of
from tf1_mtl.baseline.evaluator import Evaluation, Plan
from tf1_mtl.baseline.goldens import golden_names, load_golden
from tf1_mtl.baseline.recorded_graph import (
    ASSIGNMENTS,
    RULES,
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    variable_of,
)
from tf1_mtl.baseline.recordings import Recording, Run, Session, load_recording
from tf1_mtl.errors import InputError

ANY = -1  # size
ARTICLE_TASKS = ("Y1", "Y2", "joint")

_GRADIENT_SCOPE = re.compile(r"^(?:.*/)?gradients(?:_\d+)?/(.+?)_grad/")


class Task(NamedTuple):
    """Describes one kind of training run."""

    name: str  #: as the port is given it
    operations: Tuple[str, ...]  #: the training operations that were fetched
    loss: str  #: the tensor of the loss; "" where none was found

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

    def loss_nodes(self, task: str) -> Dict[str, Node]:
        """Returns the operations that compute the loss of a task."""
        return needed_nodes(self.graph.nodes, [self.tasks[task].loss])

    def __repr__(self) -> str:
        return f"Case({self.name!r}: {len(self.steps)} steps of {', '.join(self.tasks)})"


class Expected(NamedTuple):
    """Holds what the graph gives in one step: `ErrorBounded`, or float64 arrays without bounds."""

    loss: Any  #: None where the task has no loss
    weights: Dict[str, Any]  #: after the step, by name in the port


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
        self._plans: Dict[Any, Plan] = {}
        # A port may hold a hyper-parameter, such as a beta power, in double.
        self.state: Dict[str, Any] = {
            name: decimal(value) if value.shape == () and value.dtype.kind == "f" else value
            for name, value in case.initial.items()
        }

    def step(self, index: int, weights: Mapping[str, np.ndarray]) -> Expected:
        """Evaluates one step.

        Args:
          index: Of the step; all steps before it have been evaluated.
          weights: Before the step, by name in the port.
        """
        step = self.case.steps[index]
        task = self.case.tasks[step.task]
        with reading(f"{self.case.name}: step {index} ({step.task})"):
            evaluation = self.evaluate(task.fetches, step.feeds, weights)
        self.state.update(evaluation.variables)
        return Expected(
            evaluation.values.get(task.loss),
            {name: self.state[variable] for name, variable in self.case.weights.items()},
        )

    def evaluate(
        self, fetches: Sequence[str], feeds: Mapping[str, Any], weights: Mapping[str, np.ndarray]
    ) -> Evaluation:
        """Evaluates a run from some weights, without what it changes in the other variables.

        Args:
          fetches: Names of tensors and operations.
          feeds: Values by tensor.
          weights: Before the run, by name in the port.
        """
        key = (*fetches, "fed", *feeds)
        if key not in self._plans:
            self._plans[key] = Plan(self.case.graph, fetches, feeds)
        for name, variable in self.case.weights.items():
            self.state[variable] = self.weight(name, weights[name])
        return self._plans[key].run(feeds, self.state, self.bounds)

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


def cases_of(golden: str) -> Tuple[Case, ...]:
    """Returns the cases of a golden of the article or of a recording, one for each session.

    Args:
      golden: One of `golden_names()`, or the path of a recording.

    Raises:
      InputError: There is no such golden or file, it is not a recording, or no session in it can be
        checked.
    """
    name = golden if golden in golden_names() else os.path.basename(golden)
    recording = _recording(golden)
    cases = []
    for number in sorted(recording.sessions):
        steps = recording.steps(number)
        if steps:
            label = name if len(recording.sessions) == 1 else f"{name}, session {number}"
            version = recording.manifest.get("recorded_by", {}).get("tensorflow", "")
            with reading(f"{golden}: session {number}"):
                case = _case(golden, label, recording, number)
            cases.append(case._replace(recorded_by=str(version)))
    if not cases:
        raise InputError(_does_not_train(golden))
    return tuple(cases)


def graphs_of(golden: str) -> Tuple[RecordedGraph, ...]:
    """Returns the graphs of a golden or a recording, one for each session that trains.

    Args:
      golden: One of `golden_names()`, or the path of a recording.

    Raises:
      InputError: There is no such golden or file, it is not a recording, or it does not train.
    """
    sessions = sorted(_recording(golden).sessions.items())
    if not sessions:
        raise InputError(_does_not_train(golden))
    return tuple(session.graph for _, session in sessions if session.graph is not None)


def _recording(golden: str) -> Recording:
    recording = load_golden(golden) if golden in golden_names() else load_recording(golden)
    if any(session.graph is None for session in recording.sessions.values()):
        raise InputError(
            f"{golden}: holds no graph, since an earlier tf1_mtl recorded it; should hold the "
            "graph of each session that trains. Record it again with --record."
        )
    return recording


def _does_not_train(golden: str) -> str:
    return (
        f"{golden}: no session in it trains; should be a recording of a script that does. "
        "Record one with tf1-mtl run --record FILE.npz SCRIPT.py."
    )


@contextlib.contextmanager
def reading(where: str) -> Iterator[None]:
    """Raises InputError in place of what a graph raises that contradicts itself or its values."""
    try:
        yield
    except InputError:
        raise
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"{where}: cannot be read as training steps ({type(error).__name__}: {error!s:.200}); "
            "should be as TensorFlow ran it. Record it again."
        ) from error


def _case(golden: str, name: str, recording: Recording, number: int) -> Case:
    """Returns the case of one session."""
    session, runs = recording.sessions[number], recording.steps(number)
    graph = session.graph
    assert graph is not None  # cases_of has looked
    article = session.article
    tasks = _tasks(graph, runs, bool(article))
    if article:
        _check_article(golden, session, runs)
        weights = {key: article[key] for key in ("share_W", "share_Y1", "share_Y2")}
        feeds = {key: article[key] for key in ("X", "Y1", "Y2")}
    else:
        weights = {key: key for key in _weights(session, tasks)}
        fed = {tensor: None for run in runs for tensor in (*run.feeds, *run.outputs)}
        feeds = {tensor: tensor for tensor in fed}
    for key, variable in weights.items():
        _need_finite(f"{golden}: before step 0", key, session.initial.get(variable))
    for index, run in enumerate(runs):
        where = f"{golden}: step {index} ({run.task})"
        for key, tensor in feeds.items():
            if tensor in run.feeds:
                _need_finite(where, key, run.feeds[tensor])
        if run.variables is not None:
            for key, variable in weights.items():
                _need_finite(where, key, run.variables.get(variable))
    steps = [
        Step(
            run.task,
            {**run.feeds, **run.outputs},
            run.fetched.get(tasks[run.task].loss),
            run.variables,
            {tensor: value for tensor, value in run.fetched.items() if value is not None},
        )
        for run in runs
    ]
    return Case(name, graph, tasks, weights, feeds, session.initial, tuple(steps), bool(article))


def _check_article(golden: str, session: Session, runs: Sequence[Run]) -> None:
    """Raises InputError unless a port of the article can be called with what was recorded."""

    def size(where: str, key: str, arrays: Mapping[str, np.ndarray], *shape: int) -> List[int]:
        return _need_matrix(where, key, arrays.get(session.article[key]), shape)

    start = f"{golden}: before step 0"
    inputs, shared = size(start, "share_W", session.initial, ANY, ANY)
    outputs = {
        task: size(start, "share_" + task, session.initial, shared, ANY)[1] for task in ("Y1", "Y2")
    }
    for index, run in enumerate(runs):
        where = f"{golden}: step {index} ({run.task})"
        if run.task not in ARTICLE_TASKS:
            raise InputError(
                f"{where}: should be one of {', '.join(ARTICLE_TASKS)}. Record such steps."
            )
        rows, _ = size(where, "X", run.feeds, ANY, inputs)
        for task in ("Y1", "Y2") if run.task == "joint" else (run.task,):
            size(where, task, run.feeds, rows, outputs[task])


def _need_matrix(
    where: str, name: str, array: Optional[np.ndarray], shape: Sequence[int]
) -> List[int]:
    """Returns the shape of an array; raise InputError unless it is there and has this shape."""
    fits = array is not None and array.ndim == len(shape)
    if array is None or not fits or any(a not in (ANY, b) for a, b in zip(shape, array.shape)):
        found = "missing" if array is None else f"of shape {list(array.shape)}"
        should = ["any" if size == ANY else size for size in shape]
        raise InputError(
            f"{where}: {name} is {found}, should be of shape [{', '.join(map(str, should))}]. Feed "
            "or record it."
        )
    return list(array.shape)


def _need_finite(where: str, name: str, array: Optional[np.ndarray]) -> None:
    """Raises InputError unless a recorded array is there and holds finite numbers."""
    if array is None:
        raise InputError(f"{where}: {name} is missing, should be there. Record it again.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(
            f"{where}: {name} is {array.dtype} {list(array.shape)} with NaN or infinity, should be "
            "finite. Record a session that stays finite."
        )


def _tasks(graph: RecordedGraph, runs: Sequence[Run], is_article: bool) -> Dict[str, Task]:
    """Returns the tasks in the order in which they first ran.

    The name of a task joins the training operations by "+". The tasks of the article have short
    names, so there the operations are what was fetched and gave no value.
    """
    fetched: Dict[str, Dict[str, Any]] = {}
    for run in runs:
        values = fetched.setdefault(run.task, {})
        values.update({name: value for name, value in run.fetched.items() if name not in values})
    tasks = {}
    for name, values in fetched.items():
        without_value = sorted(key for key, value in values.items() if value is None)
        operations = tuple(without_value if is_article else name.split("+"))
        tasks[name] = Task(name, operations, loss_of(graph, operations, values))
    return tasks


def _weights(session: Session, tasks: Mapping[str, Task]) -> List[str]:
    """Returns the variables that a port holds: those that some task trains."""
    assert session.graph is not None
    written: Dict[str, None] = {}
    for task in tasks.values():
        written.update(dict.fromkeys(trained_variables(session.graph, task.operations)))
    trainable = [variable.name for variable in session.variables if variable.is_trainable]
    return [name for name in trainable if name in written]


def trained_variables(graph: RecordedGraph, operations: Tuple[str, ...]) -> List[str]:
    """Returns the variables that these operations change as the first input of an update.

    Slots are changed by the same updates, but are not their first input. Counters and moving
    averages are among the result.
    """
    updates = (
        variable_of(graph.nodes, node.data_inputs[0])
        for node in needed_nodes(graph.nodes, operations).values()
        if RULES.fullmatch(node.op) or ASSIGNMENTS.fullmatch(node.op)
    )
    return list(dict.fromkeys(variable for variable in updates if variable))


def loss_of(graph: RecordedGraph, operations: Tuple[str, ...], fetched: Mapping[str, Any]) -> str:
    """Returns the tensor whose gradient the training operations take; "" where none is found.

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
