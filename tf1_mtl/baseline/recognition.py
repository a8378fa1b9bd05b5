"""Finds the article in a recorded graph, by structure: names are data, never asked.

A graph is that of the article if it holds exactly two losses of this form, on the same X and
share_W. Its optimizers are Adams: at most one for each loss, and one for their sum.

    L2Loss(Y1 - Relu(MatMul(Relu(MatMul(X, share_W)), share_Y1)))

The loss that was made first is that of task 1.
"""

from typing import Any, Dict, FrozenSet, Mapping, NamedTuple, Optional, Set

from tf1_mtl.baseline.recorded_graph import RULES, Node, RecordedGraph, node_and_output, variable_of

_ADAMS = ("ApplyAdam", "ResourceApplyAdam")
_MOVES = {
    frozenset({"share_W", "share_Y1", "share_Y2"}): "joint",
    frozenset({"share_W", "share_Y1"}): "Y1",
    frozenset({"share_W", "share_Y2"}): "Y2",
}


class Article(NamedTuple):
    """Names the parts of the article in a graph."""

    names: Mapping[str, str]  #: the names in the graph of X, share_W, Y1_Loss, ...
    updates: Mapping[str, FrozenSet[str]]  #: the ApplyAdam operations of each task
    beta_powers: FrozenSet[str]  #: variables


def find_article(graph: RecordedGraph) -> Optional[Article]:
    """Returns the parts of the article, or None if it is another graph."""
    towers = [tower for tower in (_tower(graph.nodes, x) for x in graph.nodes.values()) if tower]
    if len(towers) != 2 or any(towers[0][name] != towers[1][name] for name in ("X", "share_W")):
        return None
    names = {"X": towers[0]["X"], "share_W": towers[0]["share_W"]}
    for task, tower in zip(("Y1", "Y2"), towers):
        names.update({task: tower["label"], f"share_{task}": tower["head"]})
        names[f"{task}_Loss"] = tower["loss"]
    if len(set(names.values())) != len(names):
        return None
    losses = {names["Y1_Loss"], names["Y2_Loss"]}
    for node in graph.nodes.values():
        if node.op in ("Add", "AddV2") and set(node.data_inputs) == losses:
            names["Joint_Loss"] = node.name
            break
    return _with_adams(graph.nodes, names)


def short_name(updates: Mapping[str, Optional[str]], article: Optional[Article]) -> str:
    """Returns the name in the article of the step that makes these updates, or "".

    Args:
      updates: The variable that each operation changes.
    """
    if article is None:
        return ""
    tasks = [task for task, ops in article.updates.items() if ops <= set(updates)]
    steps: Set[str] = set().union(*(article.updates[task] for task in tasks))
    others = (variable for name, variable in updates.items() if name not in steps)
    return "+".join(sorted(tasks)) if article.beta_powers.issuperset(others) else ""


def _tower(nodes: Mapping[str, Node], loss: Node) -> Optional[Dict[str, str]]:
    """Returns the names in the loss of one task: X, share_W, head, label, loss; else None."""
    found = {"loss": loss.name}
    node = loss
    # What each operation must be, which input leads on, and what the other input is.
    for kind, onward, aside in (
        ("L2Loss", 0, ""),
        ("Sub", 1, "label"),
        ("Relu", 0, ""),
        ("MatMul", 0, "head"),
        ("Relu", 0, ""),
        ("MatMul", 0, "share_W"),
    ):
        if node.op != kind:
            return None
        if aside:
            found[aside] = node.data_inputs[1 - onward]
        node = nodes[node_and_output(node.data_inputs[onward])[0]]
    found["X"] = node.name
    if node.op != "Placeholder" or nodes[node_and_output(found["label"])[0]].op != "Placeholder":
        return None
    for name in ("head", "share_W"):
        variable = variable_of(nodes, found[name])
        if variable is None:
            return None
        found[name] = variable
    return found


def _with_adams(nodes: Mapping[str, Node], names: Mapping[str, str]) -> Optional[Article]:
    """Returns the article with its optimizers; None where the graph has another one."""
    weights = {names[name]: name for name in ("share_W", "share_Y1", "share_Y2")}
    moves: Dict[Any, Dict[str, str]] = {}  # of each Adam, known by its beta powers
    for node in nodes.values():
        if RULES.fullmatch(node.op):
            moved, _, _, *powers = (variable_of(nodes, tensor) for tensor in node.data_inputs[:5])
            if node.op not in _ADAMS or moved not in weights or None in powers:
                return None
            moves.setdefault(tuple(powers), {})[node.name] = weights[moved]
    tasks: Dict[str, FrozenSet[str]] = {}
    for updates in moves.values():
        task = _MOVES.get(frozenset(updates.values()))
        if task is None or task in tasks:
            return None
        tasks[task] = frozenset(updates)
    return Article(names, tasks, frozenset(power for powers in moves for power in powers))
