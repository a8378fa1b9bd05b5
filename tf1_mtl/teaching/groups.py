"""Groups the nodes of a graph: placeholders, shared layer, tasks, losses, optimizers.

The groups follow from how nodes are connected, and from names that TensorFlow gives. `tf.gradients`
works in a scope "gradients" and names the part of each op "<op>_grad". An optimizer updates a
variable in "<optimizer>/update_<variable>". The initial value and the first assignment of a
variable are in its own scope.
"""

import re
from typing import Dict, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

import tensorflow.compat.v1 as tf

from tf1_mtl.walk import PLACEHOLDERS, READS, VARIABLES, accesses, needed, variable_of

_GRADIENTS = re.compile(r"((?:.*/)?gradients(?:_\d+)?)/")
_APPLY = re.compile(r"(Resource)?(Sparse)?Apply")

Ops = Tuple[tf.Operation, ...]


class Optimizer(NamedTuple):
    """Holds what one `minimize` call added to the graph."""

    name: str  #: of the op that `minimize` returns, such as "Adam_1"
    loss: Optional[tf.Operation]  #: what it minimizes, or None if that is not known
    updates: Ops  #: the ops that change what it trains
    trained: Ops  #: the variables that it trains
    own: Ops  #: its slots and its other variables
    nodes: Ops  #: its ops, and the ops of its variables


class Task(NamedTuple):
    """Holds a task of a graph. It has a loss."""

    loss: tf.Operation
    label: Optional[tf.Operation]  #: the placeholder that no other task needs
    nodes: Set[tf.Operation]  #: all that the loss needs


class Gradients(NamedTuple):
    """Holds what one call of `tf.gradients` added to the graph."""

    scope: str  #: such as "gradients_1"
    loss: Optional[tf.Operation]  #: what is differentiated, or None if that is not known
    nodes: Ops


class Structure(NamedTuple):
    """Holds the parts of a graph."""

    placeholders: Ops
    forward: Ops  #: from placeholders and weights to the losses and other last values
    tasks: Tuple[Task, ...]
    losses: Ops  #: of the tasks, and what is computed from them and minimized
    gradients: Tuple[Gradients, ...]
    optimizers: Tuple[Optimizer, ...]
    family: Dict[tf.Operation, tf.Operation]  #: nodes that belong to a variable -> the variable


def structure(graph: tf.Graph) -> Structure:
    """Returns the parts of a graph. Nothing runs."""
    ops = graph.get_operations()
    family = _families(ops)
    gradients = _gradients(ops)
    optimizers = _optimizers(ops, family, gradients)

    behind = {op for part in gradients for op in part.nodes}
    behind.update(op for optimizer in optimizers for op in optimizer.nodes)
    minimized = [optimizer.loss for optimizer in optimizers if optimizer.loss is not None]
    sinks = _sinks(ops, behind, family)
    forward = needed([*minimized, *sinks])
    ends = minimized or sinks
    towards = needed(ends)
    tasks = _tasks(ops, ends)
    below = {op for task in tasks for op in task.nodes if op is not task.loss}
    return Structure(
        placeholders=tuple(op for op in ops if op.type in PLACEHOLDERS),
        forward=tuple(op for op in ops if op in forward),
        tasks=tasks,
        losses=tuple(op for op in ops if op in towards and op not in below),
        gradients=gradients,
        optimizers=optimizers,
        family=family,
    )


def group(graph: tf.Graph, names: Mapping[str, str]) -> Dict[str, Tuple[str, ...]]:
    """Returns every node of a graph, in exactly one group.

    Args:
      graph: Any v1 graph.
      names: Other names for nodes, such as {"Adam_1": "Y1_op"}.

    Returns:
      Node names by group, both in the order of the graph. The groups are "placeholders",
      "shared layer", "task 1 (Y1)" and so on, "losses", "gradients of ...", "optimizer ...",
      "initialization" and "other". Several tasks need the shared layer. A graph with one task has
      "model" instead of "task 1 (...)".
    """
    parts = structure(graph)

    def spoken(op: tf.Operation) -> str:
        return names.get(op.name, op.name)

    titles = [
        f"task {number} ({spoken(task.label or task.loss)})"
        for number, task in enumerate(parts.tasks, 1)
    ]
    if len(titles) == 1:
        titles = ["model"]
    place: Dict[tf.Operation, str] = {}
    order = ["placeholders", "shared layer", *titles, "losses"]
    for op in parts.forward:
        reached = [title for title, task in zip(titles, parts.tasks) if op in task.nodes]
        if reached:
            place[op] = reached[0] if len(reached) == 1 else "shared layer"
    place.update(dict.fromkeys(parts.losses, "losses"))
    place.update(dict.fromkeys(parts.placeholders, "placeholders"))
    for part in parts.gradients:
        title = f"gradients of {part.scope if part.loss is None else spoken(part.loss)}"
        order.append(title)
        place.update(dict.fromkeys(part.nodes, title))
    for optimizer in parts.optimizers:
        title = f"optimizer {names.get(optimizer.name, optimizer.name)}"
        order.append(title)
        place.update(dict.fromkeys(optimizer.nodes, title))
    for op, variable in parts.family.items():
        place[op] = place.get(variable, "other") if _is_value(op) else "initialization"
    for op in graph.get_operations():
        before = op.control_inputs
        if op not in place and before and all(place.get(b) == "initialization" for b in before):
            place[op] = "initialization"

    groups: Dict[str, List[str]] = {title: [] for title in [*order, "initialization", "other"]}
    for op in graph.get_operations():
        groups[place.get(op, "other")].append(op.name)
    return {title: tuple(nodes) for title, nodes in groups.items() if nodes}


def _families(ops: Sequence[tf.Operation]) -> Dict[tf.Operation, tf.Operation]:
    variables = {op.name: op for op in ops if op.type in VARIABLES}
    family: Dict[tf.Operation, tf.Operation] = {}
    for op in ops:
        # The longest name wins: "share_W/Adam/read" belongs to the slot, not to share_W.
        parts = op.name.split("/")
        for length in range(len(parts), 0, -1):
            variable = variables.get("/".join(parts[:length]))
            if variable is not None:
                family[op] = variable
                break
    return family


def _is_value(op: tf.Operation) -> bool:
    """Returns True for a variable or a read of it, False for an op that initializes it."""
    return op.type in (*VARIABLES, *READS) and "/Initializer/" not in op.name


def _gradients(ops: Sequence[tf.Operation]) -> Tuple[Gradients, ...]:
    scopes: Dict[str, List[tf.Operation]] = {}
    for op in ops:
        match = _GRADIENTS.match(op.name)
        if match:
            scopes.setdefault(match.group(1), []).append(op)
    found = []
    for scope, nodes in scopes.items():
        differentiated = {re.sub(r"_grad/.*", "", op.name[len(scope) + 1 :]) for op in nodes}
        # Of the ops that are differentiated, the loss was made last.
        losses = [op for op in ops if op.name in differentiated]
        found.append(Gradients(scope, losses[-1] if losses else None, tuple(nodes)))
    return tuple(found)


def _optimizers(
    ops: Sequence[tf.Operation],
    family: Mapping[tf.Operation, tf.Operation],
    gradients: Sequence[Gradients],
) -> Tuple[Optimizer, ...]:
    updates: Dict[str, List[tf.Operation]] = {}
    for op in ops:
        if _APPLY.match(op.type) and "/update_" in op.name:
            updates.setdefault(op.name.split("/update_")[0], []).append(op)
    targets = {op: variable_of(op.inputs[0]) for applied in updates.values() for op in applied}
    found = []
    for name, applied in updates.items():
        scope = [op for op in ops if op.name == name or op.name.startswith(name + "/")]
        written = {a.variable for op in scope for a in accesses(op) if a.writes}
        # A step counter, an integer, belongs to the user.
        numbers = {variable for variable in written if variable.get_attr("dtype").is_floating}
        own = [op for op in ops if op in numbers and op not in targets.values()]
        # If an update needs several gradients, the outermost were computed last.
        before = needed(applied)
        losses = [part.loss for part in gradients if not before.isdisjoint(part.nodes)]
        found.append(
            Optimizer(
                name=name,
                loss=losses[-1] if losses else None,
                updates=tuple(applied),
                trained=tuple(op for op in ops if op in {targets[a] for a in applied}),
                own=tuple(own),
                nodes=(*scope, *(op for op in family if family[op] in own)),
            )
        )
    return tuple(found)


def _sinks(
    ops: Sequence[tf.Operation],
    behind: Set[tf.Operation],
    family: Mapping[tf.Operation, tf.Operation],
) -> List[tf.Operation]:
    """Returns the numbers that depend on a variable and that no other forward op uses."""

    def is_sink(op: tf.Operation) -> bool:
        if op in behind or op in family or any(access.writes for access in accesses(op)):
            return False
        users = {user for tensor in op.outputs for user in tensor.consumers()}
        numbers = any(tensor.dtype.base_dtype.is_floating for tensor in op.outputs)
        from_variable = any(before.type in VARIABLES for before in needed([op]))
        return numbers and users <= behind and from_variable

    return [op for op in ops if is_sink(op)]


def _tasks(ops: Sequence[tf.Operation], ends: Sequence[tf.Operation]) -> Tuple[Task, ...]:
    """Returns the tasks. Their losses are the first scalars on the way to what is minimized."""

    def is_loss(op: tf.Operation) -> bool:
        if len(op.outputs) != 1 or op.outputs[0].shape.ndims != 0:
            return False
        types = {before.type for before in needed([op])}
        return not types.isdisjoint(VARIABLES) and not types.isdisjoint(PLACEHOLDERS)

    on_the_way = needed(ends)
    scalars = [op for op in ops if op in on_the_way and is_loss(op)]
    first = [op for op in scalars if not any(o is not op and o in needed([op]) for o in scalars)]
    losses = first or list(ends)
    nodes = {loss: needed([loss]) for loss in losses}
    tasks = []
    for loss in losses:
        others: Set[tf.Operation] = set().union(*(nodes[o] for o in losses if o is not loss))
        labels = [op for op in ops if op.type in PLACEHOLDERS and op in nodes[loss] - others]
        tasks.append(Task(loss, labels[-1] if labels and others else None, nodes[loss]))
    return tuple(tasks)
