"""Finds the gradient operations of forward operations.

TensorFlow names the gradient operations of `name` `<scope>/name_grad/...`, with one scope for each
loss: `gradients`, `gradients_1`.
"""

import re
from typing import Dict, Iterable, List, Mapping, NamedTuple, Sequence, Set, Tuple

from tf1_mtl.baseline.recorded_graph import (
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    node_and_output,
)


class GradientScope(NamedTuple):
    """Names the gradient operations of one forward operation for one loss."""

    prefix: str  #: "gradients_1/"
    nodes: Tuple[str, ...]
    leaving: Tuple[str, ...]  #: tensors that nodes outside of the scope take
    entering: Tuple[str, ...]  #: tensors of gradients that the scope takes from outside


#: Names of gradient operations: the prefix, and the forward operation behind it.
GRADIENTS = re.compile(r"((?:.*/)?gradients(?:_\d+)?/)")
SCOPE = re.compile(r"((?:.*/)?gradients(?:_\d+)?/)(.+?)_grad/")


class _Index(NamedTuple):
    """Holds what edits look up in a graph."""

    nodes: Mapping[str, Node]  #: of the graph, so that their identity stays taken
    scopes: Dict[str, Dict[str, List[str]]]  #: by forward operation and prefix
    users: Dict[str, List[Tuple[str, str]]]  #: by node: who takes which tensor of it


_INDEXES: Dict[int, _Index] = {}


def _index(graph: RecordedGraph) -> _Index:
    """Returns the index of a graph, made once while the graph is in use."""
    if id(graph.nodes) not in _INDEXES:
        if len(_INDEXES) > 1000:
            _INDEXES.clear()
        index = _INDEXES[id(graph.nodes)] = _Index(graph.nodes, {}, {})
        for name, node in graph.nodes.items():
            match = SCOPE.match(name)
            if match:
                prefix, forward = match.groups()
                index.scopes.setdefault(forward, {}).setdefault(prefix, []).append(name)
            for tensor in node.data_inputs:
                users = index.users.setdefault(node_and_output(tensor)[0], [])
                users.append((name, canonical(tensor)))
    return _INDEXES[id(graph.nodes)]


def gradient_scopes(graph: RecordedGraph, name: str) -> List[GradientScope]:
    """Returns the gradient operations of a forward operation, one scope for each loss."""
    index = _index(graph)
    forward = {name, *(node_and_output(x)[0] for x in graph.nodes[name].data_inputs)}
    found = []
    for prefix, nodes in index.scopes.get(name, {}).items():
        inside = set(nodes)
        leaving: Dict[str, None] = {}
        entering: Dict[str, None] = {}
        for inner in nodes:
            for user, tensor in users_of(graph, inner):
                if user not in inside:
                    leaving[tensor] = None
            for tensor in graph.nodes[inner].data_inputs:
                source = node_and_output(tensor)[0]
                if source not in inside and source not in forward and source.startswith(prefix):
                    entering[tensor] = None
        found.append(GradientScope(prefix, tuple(nodes), tuple(leaving), tuple(entering)))
    return found


def users_of(graph: RecordedGraph, name: str) -> Sequence[Tuple[str, str]]:
    """Returns the operations that take a tensor of an operation, each with the tensor."""
    return _index(graph).users.get(name, ())


def prefixes_of(graph: RecordedGraph, operations: Iterable[str]) -> Set[str]:
    """Returns the prefixes of the gradient operations that training operations need."""
    found = (GRADIENTS.match(name) for name in needed_nodes(graph.nodes, operations))
    return {match.group(1) for match in found if match}


def branch_ends(graph: RecordedGraph, loss: str) -> List[str]:
    """Returns the operations whose gradients meet those of others: where branches are joined."""
    found: Dict[str, None] = {}
    for node in needed_nodes(graph.nodes, [loss]).values():
        names = dict.fromkeys(node_and_output(x)[0] for x in node.data_inputs)
        branches = [name for name in names if gradient_scopes(graph, name)]
        if len(branches) > 1:
            found.update(dict.fromkeys(branches))
    return list(found)
