"""Makes cases from recordings: a case for each session that trains."""

import os
import re
from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case, Step, Task, reading
from tf1_mtl.baseline.goldens import golden_names, load_golden
from tf1_mtl.baseline.operations.optimizers import SIGNATURES
from tf1_mtl.baseline.recorded_graph import (
    ASSIGNMENTS,
    RULES,
    VARIABLES,
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    node_and_output,
    variable_of,
)
from tf1_mtl.baseline.recordings import Recording, Run, Session, load_recording
from tf1_mtl.baseline.sparse_updates import as_one
from tf1_mtl.errors import InputError

ANY = -1  # size
ARTICLE_TASKS = ("Y1", "Y2", "joint")

_OF_CONSTANTS = ("Const", "Cast", "Identity")
_SUMMARIES = re.compile(r"\w+Summary(V2)?")
_PASS_GRADIENTS = ("Add", "AddV2", "AddN", "Sub", "Identity")
_GRADIENT_SCOPE = re.compile(r"^(?:.*/)?gradients(?:_\d+)?/(.+?)_grad/")


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
        if recording.steps(number):
            label = name if len(recording.sessions) == 1 else f"{name}, session {number}"
            with reading(f"{golden}: session {number}"):
                cases.append(_case(golden, label, recording, number))
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


def _case(golden: str, name: str, recording: Recording, number: int) -> Case:
    """Returns the case of one session."""
    session, runs = recording.sessions[number], recording.steps(number)
    graph = session.graph
    assert graph is not None  # cases_of has looked
    article = session.article
    tasks = _tasks(graph, runs, bool(article))
    untrained: List[str] = []
    if article:
        _check_article(golden, session, runs)
        weights = {key: article[key] for key in ("share_W", "share_Y1", "share_Y2")}
        feeds = {key: article[key] for key in ("X", "Y1", "Y2")}
    else:
        trained = _weights(session, tasks)
        untrained = _untrained(session, tasks, trained)
        weights = {key: key for key in (*trained, *untrained)}
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
            {
                tensor: value
                for tensor, value in run.fetched.items()
                if value is not None and not is_summary(graph, tensor)
            },
            changed,
        )
        for run, changed in zip(runs, _changed_before(recording, number))
    ]
    version = str(recording.manifest.get("recorded_by", {}).get("tensorflow", ""))
    case = Case(
        name, graph, tasks, weights, feeds, session.initial, tuple(steps), bool(article), version
    )
    averages = () if article else _averages(session, tasks, weights)
    return case._replace(untrained=tuple(untrained), averages=averages)


def _changed_before(recording: Recording, number: int) -> List[Dict[str, np.ndarray]]:
    """Returns for each training run what other runs have changed since the one before it."""
    found: List[Dict[str, np.ndarray]] = []
    trained: Optional[Mapping[str, np.ndarray]] = None  # the variables after a training run
    now: Mapping[str, np.ndarray] = {}
    for run in recording.runs[: recording.first_run_without_state]:
        if run.session != number:
            continue
        if run.task:
            known = trained if trained is not None else now
            found.append({name: x for name, x in now.items() if not _same(x, known.get(name))})
            trained = run.variables
        now = run.variables or now
    return found


def _same(x: np.ndarray, y: Optional[np.ndarray]) -> bool:
    return x is y or (y is not None and np.array_equal(x, y))


def is_summary(graph: RecordedGraph, tensor: str) -> bool:
    """Returns whether a tensor is a summary for TensorBoard: a string, which is not compared."""
    node = graph.nodes.get(node_and_output(tensor)[0])
    return node is not None and bool(_SUMMARIES.fullmatch(node.op))


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
        loss = loss_of(graph, operations, values)
        tasks[name] = Task(name, operations, loss, _trained_variables(graph, operations))
    return tasks


def _weights(session: Session, tasks: Mapping[str, Task]) -> List[str]:
    """Returns the variables that a port holds: those that some task trains."""
    trained = {name for task in tasks.values() for name in task.trained}
    return [x.name for x in session.variables if x.is_trainable and x.name in trained]


def _untrained(session: Session, tasks: Mapping[str, Task], trained: Sequence[str]) -> List[str]:
    """Returns the other variables of floats that a loss reads, such as those of a target network.

    A port needs to know where they start.
    """
    assert session.graph is not None
    losses = [task.loss for task in tasks.values() if task.loss]
    return [
        name
        for name, node in needed_nodes(session.graph.nodes, losses).items()
        if node.op in VARIABLES
        and name not in trained
        and name in session.initial
        and session.initial[name].dtype.kind == "f"
    ]


def _counts(nodes: Mapping[str, Node], node: Node) -> bool:
    """Returns whether an operation adds a constant to a variable."""
    added = needed_nodes(nodes, node.data_inputs[1:]).values()
    return node.op.startswith("AssignAdd") and all(x.op in _OF_CONSTANTS for x in added)


def _averages(
    session: Session, tasks: Mapping[str, Task], weights: Collection[str]
) -> Tuple[str, ...]:
    """Returns the variables of floats that tasks move, without weights, slots and counters."""
    assert session.graph is not None
    nodes = session.graph.nodes
    moved = dict.fromkeys(name for task in tasks.values() for name in task.trained)
    kept: Set[Optional[str]] = set()
    for task in tasks.values():
        for node in needed_nodes(nodes, task.operations).values():
            update = as_one(nodes, node)
            if update.op in SIGNATURES:
                kept.update(variable_of(nodes, tensor) for tensor in update.data_inputs)
            elif _counts(nodes, node):
                kept.add(variable_of(nodes, node.data_inputs[0]))
    return tuple(
        name
        for name in moved
        if name not in weights
        and name in session.initial
        and session.initial[name].dtype.kind == "f"
        and name not in kept
    )


def _trained_variables(graph: RecordedGraph, operations: Tuple[str, ...]) -> Tuple[str, ...]:
    """Returns the variables that these operations change as the first input of an update.

    Slots are changed by the same updates, but are not their first input. Counters and moving
    averages are among the result.
    """
    updates = (
        variable_of(graph.nodes, node.data_inputs[0])
        for node in needed_nodes(graph.nodes, operations).values()
        if RULES.fullmatch(node.op) or ASSIGNMENTS.fullmatch(node.op)
    )
    return tuple(dict.fromkeys(variable for variable in updates if variable))


def loss_of(graph: RecordedGraph, operations: Tuple[str, ...], fetched: Mapping[str, Any]) -> str:
    """Returns the tensor whose gradient the training operations take; "" where none is found.

    TensorFlow names the gradient of an operation `gradients/<operation>_grad/...` and builds that
    of the loss first. A fetched scalar that is such a loss comes first, then one that is computed
    from several, then one that was not fetched, then any other fetched scalar of floats.

    Args:
      graph: The recorded graph.
      operations: Names of the training operations.
      fetched: Values that the run returned, by tensor.
    """
    scalars = [
        canonical(name)
        for name, value in fetched.items()
        if value is not None and np.shape(value) == () and np.asarray(value).dtype.kind == "f"
    ]
    losses = _differentiated(graph, operations, scalars)
    fetched_losses = [name for name in scalars if name in losses]
    sums = [name for name in scalars if len(losses) > 1 and _needs(graph, name, losses)]
    for candidates in (fetched_losses, sums, losses, scalars):
        if candidates:
            return candidates[0]
    return ""


def _differentiated(
    graph: RecordedGraph, operations: Tuple[str, ...], scalars: Sequence[str]
) -> List[str]:
    """Returns the tensor from which each scope of gradients starts."""
    needed = needed_nodes(graph.nodes, operations)
    first_of_scope: Dict[str, str] = {}
    starts: Dict[str, Set[str]] = {}
    for name, node in graph.nodes.items():  # in the order of creation
        scope = _GRADIENT_SCOPE.match(name)
        if scope and name in needed and scope.group(1) in graph.nodes:
            prefix, forward = name[: scope.start(1)], scope.group(1)
            first_of_scope.setdefault(prefix, forward)
            if {f"{prefix}Fill", f"{prefix}grad_ys_0"}.intersection(node.data_inputs):
                starts.setdefault(prefix, set()).add(forward)
    return [
        _sum_of(graph, starts.get(prefix, set()) | {first}, scalars) or first
        for prefix, first in first_of_scope.items()
    ]


def _sum_of(graph: RecordedGraph, starts: Set[str], scalars: Sequence[str]) -> str:
    """Returns the sum that gives its own gradient to all of these operations, or "".

    `tf.gradients` makes no operation for the gradient of such a sum.
    """
    if len(starts) == 1 and starts.intersection(scalars):
        return ""
    others = graph.nodes if len(starts) > 1 else ()
    for tensor in (*scalars, *others):
        reached, waiting = set(), [tensor]
        while waiting:
            name = node_and_output(waiting.pop())[0]
            if name not in reached and graph.nodes[name].op in _PASS_GRADIENTS:
                waiting += graph.nodes[name].data_inputs
            reached.add(name)
        if starts <= reached:
            return tensor
    return ""


def _needs(graph: RecordedGraph, tensor: str, others: Sequence[str]) -> bool:
    """Returns whether a tensor is computed from all the others."""
    return {node_and_output(name)[0] for name in others} <= set(needed_nodes(graph.nodes, [tensor]))
