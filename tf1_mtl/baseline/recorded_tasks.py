"""Reads off a recorded graph what its tasks are: weights that they train, losses, averages."""

from typing import Any, Collection, Dict, List, Mapping, Optional, Sequence, Set, Tuple

import numpy as np

from tf1_mtl.baseline.case import Task
from tf1_mtl.baseline.gradient_scopes import SCOPE
from tf1_mtl.baseline.operations.optimizers import SIGNATURES
from tf1_mtl.baseline.recorded_graph import (
    ASSIGNMENTS,
    RULES,
    SUMS,
    VARIABLES,
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    node_and_output,
    variable_of,
)
from tf1_mtl.baseline.recordings import Run, Session
from tf1_mtl.baseline.sparse_updates import as_one

_OF_CONSTANTS = ("Const", "Cast", "Identity")
_PASS_GRADIENTS = (*SUMS, "Identity")


def tasks_of(graph: RecordedGraph, runs: Sequence[Run], is_article: bool) -> Dict[str, Task]:
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


def trained_weights(session: Session, tasks: Mapping[str, Task]) -> List[str]:
    """Returns the variables that a port holds: those that some task trains."""
    trained = {name for task in tasks.values() for name in task.trained}
    return [x.name for x in session.variables if x.is_trainable and x.name in trained]


def untrained_weights(
    session: Session, tasks: Mapping[str, Task], trained: Sequence[str]
) -> List[str]:
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


def averages_of(
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
        scope = SCOPE.match(name)
        if scope and name in needed and scope.group(2) in graph.nodes:
            prefix, forward = scope.groups()
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
