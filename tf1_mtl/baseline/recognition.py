"""Finds what the runs of a recorded graph do: which of their fetches train, and on what values.

A graph is the article's when it holds exactly two losses of this form, on the same X and share_W,
and no optimizers but an Adam for one loss, for the other or for their sum, one each at most:

    L2Loss(Y1 - Relu(MatMul(Relu(MatMul(X, share_W)), share_Y1)))

The first one made is task 1's. Names are data, never asked.
"""

import re
from typing import (
    Any,
    Collection,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
)

from tf1_mtl.baseline.recorded_graph import (
    REF_VARIABLES,
    RESOURCE_VARIABLES,
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    node_and_output,
)

VARIABLES = (*REF_VARIABLES, *RESOURCE_VARIABLES)
_RULES = re.compile(r"(Resource)?(Sparse)?Apply[A-Z]\w*")  # of optimizers
_ASSIGNMENTS = re.compile(
    r"Assign(Add|Sub)?(VariableOp)?|(Resource)?StridedSliceAssign"
    r"|(Resource)?Scatter(Nd)?(Add|Sub|Mul|Div|Min|Max|Update)"
)
_RANDOM = re.compile(
    r"(Stateful|Stateless|Parameterized)?(Random\w*|TruncatedNormal\w*|Multinomial)"
    r"|Stateful(Uniform|StandardNormal)\w*|\w+CandidateSampler|(Stateless)?SampleDistorted\w+"
)
_NO_NUMBERS = re.compile(r"Random\w*(Queue|Dataset)\w*")
_PIPELINES = re.compile(
    r"IteratorGetNext(Sync)?|(QueueDequeue|ReaderRead)\w*|(OrderedMap|Map)?Unstage\w*"
    r"|(Eager)?PyFunc(Stateless)?|BarrierTakeMany|LookupTableFind\w*|RecordInput"
)
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")
_ADAMS = ("ApplyAdam", "ResourceApplyAdam")
_MOVES = {
    frozenset({"share_W", "share_Y1", "share_Y2"}): "joint",
    frozenset({"share_W", "share_Y1"}): "Y1",
    frozenset({"share_W", "share_Y2"}): "Y2",
}


class Article(NamedTuple):
    """The parts of the article in a graph."""

    names: Mapping[str, str]  #: TensorFlow's names of X, share_W, Y1_Loss, ...
    updates: Mapping[str, FrozenSet[str]]  #: the ApplyAdam operations of each task
    beta_powers: FrozenSet[str]  #: variables


def is_source(op: str) -> bool:
    """Return whether an operation gives random numbers, or examples from a pipeline."""
    is_random = _RANDOM.fullmatch(op) and not _NO_NUMBERS.fullmatch(op)
    return bool(is_random or _PIPELINES.fullmatch(op))


def task_of(
    graph: RecordedGraph,
    fetches: Iterable[str],
    fed: Collection[str],
    article: Optional[Article],
    local: Collection[str] = (),
) -> str:
    """Return the task of a run: the names of the fetched operations that train.

    Args:
      graph: The graph that is run.
      fetches: Names of tensors and operations.
      fed: Names of tensors.
      article: What `find_article` returned.
      local: Variables that no assignment trains, such as those of metrics.
    """
    tasks = set()
    for fetch in fetches:
        nodes = needed_nodes(graph.nodes, [fetch], fed)
        updates = {
            node.name: _variable(nodes, node.data_inputs[0]) if node.data_inputs else None
            for node in nodes.values()
            if _is_update(graph, nodes, node, fed, local)
        }
        if updates:
            tasks.add(_short(updates, article) or node_and_output(fetch)[0])
    return "+".join(sorted(tasks))


def find_article(graph: RecordedGraph) -> Optional[Article]:
    """Return the parts of the article, or None if it is another graph."""
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


def _tower(nodes: Mapping[str, Node], loss: Node) -> Optional[Dict[str, str]]:
    """Return the names in one task's loss: X, share_W, head, label, loss; None if it is not one."""
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
        variable = _variable(nodes, found[name])
        if variable is None:
            return None
        found[name] = variable
    return found


def _with_adams(nodes: Mapping[str, Node], names: Mapping[str, str]) -> Optional[Article]:
    """Return the article with its optimizers; None where the graph has another one."""
    weights = {names[name]: name for name in ("share_W", "share_Y1", "share_Y2")}
    moves: Dict[Any, Dict[str, str]] = {}  # of each Adam, known by its beta powers
    for node in nodes.values():
        if _RULES.fullmatch(node.op):
            moved, _, _, *powers = (_variable(nodes, tensor) for tensor in node.data_inputs[:5])
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


def _short(updates: Mapping[str, Optional[str]], article: Optional[Article]) -> str:
    """Return the article's name of the step that makes these updates, or "" if it is not one.

    Args:
      updates: The variable that each operation changes.
    """
    if article is None:
        return ""
    tasks = [task for task, ops in article.updates.items() if ops <= set(updates)]
    steps: Set[str] = set().union(*(article.updates[task] for task in tasks))
    others = (variable for name, variable in updates.items() if name not in steps)
    return "+".join(sorted(tasks)) if article.beta_powers.issuperset(others) else ""


def _is_update(
    graph: RecordedGraph,
    nodes: Mapping[str, Node],
    node: Node,
    fed: Collection[str],
    local: Collection[str],
) -> bool:
    """Return whether an operation trains a variable."""
    if _RULES.fullmatch(node.op):
        return True
    if _ASSIGNMENTS.fullmatch(node.op):
        variable = _variable(nodes, node.data_inputs[0])
        # TensorFlow calls the initializer of a variable so. It may read other variables.
        is_initializer = node.name == f"{variable}/Assign"
        return not is_initializer and variable not in local and _varies(nodes, node, fed)
    return any(_function_updates(graph, name, set()) for name in _functions(node))


def _varies(nodes: Mapping[str, Node], assignment: Node, fed: Collection[str]) -> bool:
    """Return whether what is assigned is computed from feeds, examples or variables."""
    waiting, seen = list(assignment.data_inputs[1:]), set()
    while waiting:
        tensor = waiting.pop()
        node = nodes.get(node_and_output(tensor)[0])
        if canonical(tensor) in fed:
            return True
        if node is None or node.name in seen or node.op.startswith("Restore"):
            continue
        if node.op in VARIABLES or node.op in _PLACEHOLDERS or _PIPELINES.fullmatch(node.op):
            return True
        seen.add(node.name)
        waiting.extend(node.data_inputs)
    return False


def _function_updates(graph: RecordedGraph, name: str, seen: Set[str]) -> bool:
    """Return whether a function, or one that it calls, changes a variable."""
    if name in seen or name not in graph.functions:
        return False
    seen.add(name)
    return any(
        _RULES.fullmatch(node.op)
        or _ASSIGNMENTS.fullmatch(node.op)
        or any(_function_updates(graph, inner, seen) for inner in _functions(node))
        for node in graph.functions[name].nodes.values()
    )


def _functions(node: Node) -> Iterator[str]:
    for value in node.attributes.values():
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, dict):
                yield one["function"]


def _variable(nodes: Mapping[str, Node], tensor: str) -> Optional[str]:
    """Return the variable that a tensor holds or stands for, or None."""
    seen: Set[str] = set()
    node = nodes.get(node_and_output(tensor)[0])
    while node is not None and node.name not in seen:
        if node.op in VARIABLES:
            return node.name
        passes_on = ("Identity", "ReadVariableOp", "Enter", "RefEnter", "Switch", "RefSwitch")
        if node.op not in passes_on and not _ASSIGNMENTS.fullmatch(node.op):
            return None
        seen.add(node.name)
        node = nodes.get(node_and_output(node.data_inputs[0])[0]) if node.data_inputs else None
    return None


def fetchable_sources(nodes: Mapping[str, Node]) -> Sequence[str]:
    """Return the sources among the nodes of a run that lie outside of loops and branches.

    Args:
      nodes: Each after its inputs, from `needed_nodes`.
    """
    depths: Dict[str, int] = {}
    for node in nodes.values():
        inputs = [nodes[name] for name in map(_node_of, node.inputs) if name in nodes]
        depth = max((depths.get(before.name, 0) for before in inputs), default=0)
        if node.op in ("Enter", "RefEnter"):
            depth += 1
        elif node.op in ("Exit", "RefExit"):
            depth -= 1
        elif node.op in ("Switch", "RefSwitch") and not _any_is(inputs, "LoopCond"):
            depth += 1
        elif node.op in ("Merge", "RefMerge") and not _any_is(inputs, "NextIteration", "Enter"):
            depth -= 1
        depths[node.name] = max(depth, 0)
    return [name for name, depth in depths.items() if depth == 0 and is_source(nodes[name].op)]


def _any_is(nodes: Iterable[Node], *ops: str) -> bool:
    return any(node.op in ops or node.op in {f"Ref{op}" for op in ops} for node in nodes)


def _node_of(tensor: str) -> str:
    return node_and_output(tensor)[0]
