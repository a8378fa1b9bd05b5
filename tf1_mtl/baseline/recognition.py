"""Finds the article in any graph, by structure: names are data, never asked.

A graph is the article's when it holds exactly two losses of this form, on the same X and share_W:

    L2Loss(Y1 - Relu(MatMul(Relu(MatMul(X, share_W)), share_Y1)))

The first one made is task 1's. An optimizer is one Adam, known by its beta1 power; its task is
told by which of the three weights its ApplyAdam ops move.
"""

from typing import Any, Dict, FrozenSet, Iterable, List, NamedTuple, Optional, Set, Tuple

from tf1_mtl.baseline.reference import OPTIMIZERS
from tf1_mtl.baseline.trajectory import SlotKey
from tf1_mtl.walk import VARIABLES, variable_read

_MOVES = {
    frozenset({"share_W", "share_Y1", "share_Y2"}): "joint",
    frozenset({"share_W", "share_Y1"}): "Y1",
    frozenset({"share_W", "share_Y2"}): "Y2",
}
_TRAINING = ("Apply", "SparseApply", "ResourceApply", "ResourceSparseApply")
_CONTROL_FLOW = ("Enter", "Switch", "While", "StatelessWhile", "If", "StatelessIf")


class Adam(NamedTuple):
    """One `AdamOptimizer`."""

    name: str  #: "Optimiser", "Y1_op" or "Y2_op"; in another graph its name scope
    task: str  #: "joint", "Y1" or "Y2"; "" in another graph
    ops: FrozenSet[Any]  #: its ApplyAdam operations


class Recognised(NamedTuple):
    """What a graph's operations are."""

    is_article: bool
    feeds: Dict[Any, str]  #: placeholder operation: "X", "Y1" or "Y2"; empty in another graph
    losses: Dict[Any, str]  #: loss operation: its task; empty in another graph
    weights: Dict[Any, str]  #: variable operation: "share_W", ...; in another graph its own name
    slots: Dict[Any, SlotKey]  #: variable operation: its key
    adams: List[Adam]


def recognise(operations: Iterable[Any]) -> Recognised:
    """Finds the article's parts, or of any other graph the variables and the Adam slots.

    Args:
      operations: A `tf.Graph`'s, in the order of creation.
    """
    operations = list(operations)
    feeds, losses, names = _article(operations)
    adams, slots = _adams(operations, names)
    tasks = [adam.task for adam in adams]
    if names and ("" in tasks or len(tasks) != len(set(tasks))):
        # Some optimizer is not the article's: then it is another graph with the article's layers.
        feeds, losses, names = {}, {}, {}
        adams, slots = _adams(operations, names)
    weights = {
        op: names.get(op, op.name) for op in operations if op.type in VARIABLES and op not in slots
    }
    return Recognised(bool(names), feeds, losses, weights, slots, adams)


def trains(operations: Set[Any]) -> bool:
    """True when one of the operations moves a variable by an optimizer's rule."""
    return any(op.type.startswith(_TRAINING) for op in operations)


def task_of(recognised: Recognised, operations: Set[Any]) -> str:
    """The task of the article's one training step that these operations are, or ""."""
    if any(op.type in _CONTROL_FLOW for op in operations):
        return ""  # a loop may make many steps, a condition none
    driven = [adam for adam in recognised.adams if adam.ops & operations]
    return driven[0].task if len(driven) == 1 and driven[0].ops <= operations else ""


def _article(operations: List[Any]) -> Tuple[Dict[Any, str], Dict[Any, str], Dict[Any, str]]:
    """The article's placeholders, losses and weights; all empty in another graph."""
    towers = [tower for tower in map(_tower, operations) if tower]
    if len(towers) != 2 or towers[0][:2] != towers[1][:2]:
        return {}, {}, {}
    (X, share_W, Y1, share_Y1, Y1_Loss), (_, _, Y2, share_Y2, Y2_Loss) = towers
    losses = {Y1_Loss: "Y1", Y2_Loss: "Y2"}
    for op in operations:
        if op.type in ("Add", "AddV2") and {tensor.op for tensor in op.inputs} == set(losses):
            losses[op] = "joint"
            break
    weights = {share_W: "share_W", share_Y1: "share_Y1", share_Y2: "share_Y2"}
    feeds = {X: "X", Y1: "Y1", Y2: "Y2"}
    return (feeds, losses, weights) if len(weights) == len(feeds) == 3 else ({}, {}, {})


def _tower(loss: Any) -> Optional[Tuple[Any, ...]]:
    """(X, shared weights, label, head, loss) of one task's loss, or None if it is none."""
    found: Dict[str, Any] = {}
    op = loss
    # What each operation must be, which input leads on, and what the other input is.
    for kind, onward, aside in (
        ("L2Loss", 0, None),
        ("Sub", 1, "label"),
        ("Relu", 0, None),
        ("MatMul", 0, "head"),
        ("Relu", 0, None),
        ("MatMul", 0, "shared"),
    ):
        if op.type != kind:
            return None
        if aside is not None:
            found[aside] = op.inputs[1 - onward]
        op = op.inputs[onward].op
    label, head, shared = (
        found["label"].op,
        variable_read(found["head"]),
        variable_read(found["shared"]),
    )
    if op.type != "Placeholder" or label.type != "Placeholder" or None in (head, shared):
        return None
    return op, shared, label, head, loss


def _adams(operations: List[Any], names: Dict[Any, str]) -> Tuple[List[Adam], Dict[Any, SlotKey]]:
    """Every Adam, and every slot and beta power.

    Args:
      names: The article's weights, by variable operation; of another graph none.
    """
    updates: Dict[Any, List[Any]] = {}  # of each optimizer, known by its beta1 power
    for op in operations:
        if op.type in ("ApplyAdam", "ResourceApplyAdam"):
            of_this = [variable_read(tensor) for tensor in op.inputs[:5]]
            if None not in of_this:
                updates.setdefault(of_this[3], []).append((op, of_this))
    adams: List[Adam] = []
    slots: Dict[Any, SlotKey] = {}
    for beta1_power, of_one in updates.items():
        moved = frozenset(names.get(variables[0], "") for _, variables in of_one)
        task = _MOVES.get(moved, "")
        name = OPTIMIZERS.get(task) or of_one[0][0].name.split("/update_")[0]
        adams.append(Adam(name, task, frozenset(op for op, _ in of_one)))
        slots[beta1_power] = (name, "", "beta1_power")
        for _, (variable, m, v, _, beta2_power) in of_one:
            weight = names.get(variable, variable.name)
            slots[m], slots[v] = (name, weight, "m"), (name, weight, "v")
            slots[beta2_power] = (name, "", "beta2_power")
    return adams, slots
