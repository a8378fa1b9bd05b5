"""Finds what a run of a recorded graph does: which fetches train, and on which random values."""

import re
from typing import Collection, Iterable, Iterator, List, Mapping, Optional, Sequence, Set

from tf1_mtl.baseline.recognition import Article, short_name
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

_RANDOM = re.compile(
    r"(Stateful|Stateless|Parameterized)?(Random\w*|TruncatedNormal\w*|Multinomial)"
    r"|Stateful(Uniform|StandardNormal)\w*|\w+CandidateSampler|(Stateless)?SampleDistorted\w+"
)
_NO_NUMBERS = re.compile(r"Random\w*(Queue|Dataset)\w*")
_PIPELINES = re.compile(
    r"IteratorGetNext(Sync)?|(QueueDequeue|ReaderRead)\w*|(OrderedMap|Map)?Unstage\w*"
    r"|(Eager)?PyFunc(Stateless)?|BarrierTakeMany|LookupTableFind\w*|RecordInput"
)
_PASSES = 8  # over nodes nearly in order. A loop needs two passes, each loop inside it one more.
_PLACEHOLDERS = ("Placeholder", "PlaceholderV2", "PlaceholderWithDefault")


def is_source(op: str) -> bool:
    """Returns whether an operation gives random numbers, or examples from a pipeline."""
    is_random = _RANDOM.fullmatch(op) and not _NO_NUMBERS.fullmatch(op)
    return bool(is_random or _PIPELINES.fullmatch(op))


def task_of(
    graph: RecordedGraph,
    fetches: Iterable[str],
    fed: Collection[str],
    article: Optional[Article],
    local: Collection[str] = (),
) -> str:
    """Returns the task of a run: the names of the fetched operations that train.

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
            node.name: variable_of(nodes, node.data_inputs[0]) if node.data_inputs else None
            for node in nodes.values()
            if _is_update(graph, nodes, node, fed, local)
        }
        if updates:
            tasks.add(short_name(updates, article) or node_and_output(fetch)[0])
    return "+".join(sorted(tasks))


def _is_update(
    graph: RecordedGraph,
    nodes: Mapping[str, Node],
    node: Node,
    fed: Collection[str],
    local: Collection[str],
) -> bool:
    """Returns whether an operation trains a variable."""
    if RULES.fullmatch(node.op):
        return True
    if ASSIGNMENTS.fullmatch(node.op):
        variable = variable_of(nodes, node.data_inputs[0])
        # TensorFlow gives this name to the initializer of a variable. It may read other variables.
        is_initializer = node.name == f"{variable}/Assign"
        return not is_initializer and variable not in local and _varies(nodes, node, fed)
    return any(_function_updates(graph, name, set()) for name in _functions(node))


def _varies(nodes: Mapping[str, Node], assignment: Node, fed: Collection[str]) -> bool:
    """Returns whether what is assigned is computed from feeds, examples or variables."""
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
    """Returns whether a function, or one that it calls, changes a variable."""
    if name in seen or name not in graph.functions:
        return False
    seen.add(name)
    return any(
        RULES.fullmatch(node.op)
        or ASSIGNMENTS.fullmatch(node.op)
        or any(_function_updates(graph, inner, seen) for inner in _functions(node))
        for node in graph.functions[name].nodes.values()
    )


def _functions(node: Node) -> Iterator[str]:
    """Yields the names of the functions that a node calls."""
    for value in node.attributes.values():
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, dict):
                yield one["function"]


def fetchable_sources(nodes: Mapping[str, Node]) -> List[str]:
    """Returns the sources of a run that lie outside of loops and branches; see `is_source`.

    Args:
      nodes: From `needed_nodes`.
    """
    depths = dict.fromkeys(nodes, 0)
    for _ in range(_PASSES):
        before = dict(depths)
        for node in nodes.values():
            inputs = [nodes[name] for name in _inputs(node) if name in nodes]
            outside = max((depths[x.name] for x in inputs), default=0)
            depths[node.name] = max(outside + _deeper(node, inputs), 0)
        if depths == before:
            break
    return [name for name, depth in depths.items() if depth == 0 and is_source(nodes[name].op)]


def _deeper(node: Node, inputs: Sequence[Node]) -> int:
    """Returns 1 for a node that enters a v1 loop or branch, -1 for one that leaves it, else 0."""
    op = node.op[3:] if node.op.startswith("Ref") else node.op
    kinds = {x.op[3:] if x.op.startswith("Ref") else x.op for x in inputs}
    if op == "Enter" or (op == "Switch" and "LoopCond" not in kinds):
        return 1
    if op == "Exit" or (op == "Merge" and not kinds & {"Enter", "NextIteration"}):
        return -1
    return 0


def _inputs(node: Node) -> Iterator[str]:
    """Returns the names of the nodes that a node takes its inputs from."""
    return (node_and_output(tensor)[0] for tensor in node.inputs)
