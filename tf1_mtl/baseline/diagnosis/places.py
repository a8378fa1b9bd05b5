"""Finds the places of a recorded graph where an edit can be made, and groups of them."""

import functools
import itertools
import re
from typing import Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import catalogue, graph_edits
from tf1_mtl.baseline.recorded_graph import (
    SUMS,
    Node,
    RecordedGraph,
    needed_nodes,
    node_and_output,
    variable_of,
)

MOST_PLACES = 120  #: of one kind
MOST_ALONE = 12  #: of which each is tried alone


class Places(NamedTuple):
    """Holds the names of what can be edited in a task."""

    activations: Tuple[str, ...]
    losses: Tuple[str, ...]
    products: Tuple[str, ...]
    feeds: Tuple[str, ...]
    labels: Tuple[str, ...]  #: all feeds of floats, also those of other tasks
    numbers: Tuple[str, ...]  #: feeds of one float, as the probability of a dropout
    truths: Tuple[str, ...]  #: feeds of one bool, as whether the run trains
    weights: Tuple[str, ...]
    constants: Tuple[str, ...]


def places_of(case: Case, task: str) -> Places:
    """Returns where the graph of a task can be edited."""
    nodes = case.loss_nodes(task)
    activations = tuple(n for n, x in nodes.items() if x.op in catalogue.ACTIVATION_OPS)
    losses = tuple(n for n, x in nodes.items() if x.op == "L2Loss")
    products = tuple(n for n, x in nodes.items() if x.op in graph_edits.PRODUCTS)
    labels = tuple(n for n in case.feeds if _is_fed(case, n, "f", True))
    used = [n for n, tensor in case.feeds.items() if node_and_output(tensor)[0] in nodes]
    feeds = tuple(n for n in labels if n in used)
    numbers = tuple(n for n in used if _is_fed(case, n, "f", False))
    truths = tuple(n for n in used if _is_fed(case, n, "b", False))
    weights = tuple(n for n, v in case.weights.items() if v in nodes)
    compared = {x for node in nodes.values() if node.op in _EQUALITIES for x in node.data_inputs}
    constants = tuple(
        n
        for n, x in nodes.items()
        if (x.op == "Const" and _is_number(x) and n not in compared)
        or (x.op in _LIKE and of_floats(x))
    )
    return Places(activations, losses, products, feeds, labels, numbers, truths, weights, constants)


def _is_fed(case: Case, name: str, kind: str, are_arrays: bool) -> bool:
    """Returns whether values of a kind are fed: with dimensions, or without."""
    fed = [np.asarray(s.feeds[case.feeds[name]]) for s in case.steps if case.feeds[name] in s.feeds]
    return any(x.dtype.kind == kind and (x.ndim > 0) == are_arrays for x in fed)


_EQUALITIES = ("Equal", "NotEqual")  # with which a mask is made
_LIKE = {"ZerosLike": 0.0, "OnesLike": 1.0}


def value_of_constant(node: Node) -> float:
    """Returns the number of which a constant consists."""
    return _LIKE[node.op] if node.op in _LIKE else float(node.attributes["value"].ravel()[0])


def _is_number(node: Node) -> bool:
    value = node.attributes["value"]
    return value.dtype.kind == "f" and value.size == 1


def addends_of(graph: RecordedGraph, loss: str, depth: int) -> List[Tuple[str, str]]:
    """Returns the addends of a loss, each with the operation that adds it.

    A sum may be inside of a mean or a multiple.

    Args:
      graph: The graph.
      loss: The operation that gives the loss.
      depth: At 1 the addends are those of the outermost sum, at 2 theirs where they are sums.
    """
    found: List[Tuple[str, str]] = []
    node = graph.nodes[loss]
    while True:
        parts = [name for name in _sources(node) if not is_constant(graph, name)]
        is_linear = node.op in _ADDING or (node.op in _MULTIPLYING and len(parts) == 1)
        if not is_linear or not parts:
            return found
        if len(set(parts)) > 1:
            break
        node = graph.nodes[parts[0]]
    if node.op in _OF_ONE or len(set(parts)) != len(parts):
        return found
    for part in parts:
        inner = addends_of(graph, part, depth - 1) if depth > 1 else []
        found += inner or [(node.name, part)]
    return found


_OF_ONE = ("Mean", "Sum", "Neg", "Identity", "Reshape", "Squeeze", "ExpandDims")
_ADDING = (*SUMS, *_OF_ONE)
_MULTIPLYING = ("Mul", "RealDiv")


def _sources(node: Node) -> List[str]:
    """Returns the operations whose outputs a node computes with."""
    inputs = node.data_inputs[:1] if node.op in _OF_ONE else node.data_inputs
    return [node_and_output(x)[0] for x in inputs]


def is_constant(graph: RecordedGraph, name: str) -> bool:
    """Returns whether a tensor is computed from constants alone."""
    return all(node.op == "Const" for node in needed_nodes(graph.nodes, [name]).values())


def is_number(graph: RecordedGraph, tensor: str) -> bool:
    """Returns whether a tensor is computed from constants and shapes alone."""
    shapes = {name for name, node in graph.nodes.items() if node.op == "Shape"}
    needed = needed_nodes(graph.nodes, [tensor], known=shapes).values()
    return all(node.data_inputs or node.op == "Const" for node in needed)


def near_the_loss(nodes: Mapping[str, Node], chosen: Callable[[Node], bool]) -> List[str]:
    """Returns the chosen operations, those next to the loss first, and at most `MOST_PLACES`."""
    return [name for name, node in nodes.items() if chosen(node)][::-1][:MOST_PLACES]


def of_floats(node: Node) -> bool:
    """Returns whether an operation computes with floats, not with shapes or indices."""
    return not str(node.attributes.get("T", "")).startswith(("int", "uint", "bool"))


def is_layer(nodes: Mapping[str, Node], node: Node) -> bool:
    """Returns whether an operation is a product, adds to one, or adds a variable."""
    if node.op not in ("Add", "AddV2", "BiasAdd"):
        return node.op in graph_edits.PRODUCTS
    added = [nodes[node_and_output(x)[0]] for x in node.data_inputs]
    return any(x.op in graph_edits.PRODUCTS or variable_of(nodes, x.name) for x in added)


def has_known_axes(nodes: Mapping[str, Node], node: Node, index: int) -> bool:
    """Returns whether an operation computes with floats, over axes that are a constant input."""
    return of_floats(node) and nodes[node_and_output(node.data_inputs[index])[0]].op == "Const"


def without_numbers(name: str) -> str:
    """Returns a name without the numbers that tell operations of one kind apart."""
    return re.sub(r"_\d+(?=/|$)", "", name)


def last_parts(name: str) -> str:
    """Returns the last two parts of a name without numbers: a layer may stand in several scopes."""
    return "/".join(without_numbers(name).split("/")[-2:])


def alike(
    names: Sequence[str], *keys: Callable[[str], str], copies: int = MOST_PLACES
) -> List[Tuple[str, ...]]:
    """Returns operations that have a key in common together, then each alone.

    Args:
      names: The operations.
      keys: Functions of a name; those of copies of a layer if there are none.
      copies: Of a larger group no operation is returned alone.
    """
    groups: Dict[Tuple[str, ...], None] = {}
    for key in keys or (last_parts, without_numbers):
        by_key: Dict[str, List[str]] = {}
        for name in names:
            by_key.setdefault(key(name), []).append(name)
        groups.update(dict.fromkeys(tuple(x) for x in by_key.values() if len(x) > 1))
    many = {name for group in groups if len(group) > copies for name in group}
    return [*groups, *((name,) for name in names if name not in many)]


def _followed(nodes: Mapping[str, Node], name: str) -> str:
    """Returns the kind of an operation and of those whose outputs it takes."""
    before = (node_and_output(tensor) for tensor in nodes[name].data_inputs)
    return " ".join((nodes[name].op, *(f"{nodes[x].op}:{output}" for x, output in before)))


def subsets(names: Sequence[str]) -> List[Tuple[str, ...]]:
    """Returns subsets of the names, the largest first, and at most 16."""
    sizes = range(len(names), 0, -1)
    found = itertools.chain.from_iterable(itertools.combinations(names, k) for k in sizes)
    return list(itertools.islice(found, 16))


def groups_of(
    places: Sequence[str], nodes: Optional[Mapping[str, Node]] = None
) -> List[Tuple[str, ...]]:
    """Returns each place alone, the pairs of three or four places, and all places together.

    Of many places, such as those of an unrolled RNN, copies are together.

    Args:
      places: Their names.
      nodes: Of the graph, if those that follow the same kind of operation are to be together too.
    """
    found: List[Tuple[str, ...]] = [(place,) for place in places]
    if len(places) > MOST_ALONE:
        found = alike(places, copies=3)
        if nodes is not None:
            followed = functools.partial(_followed, nodes)
            keys = (followed, lambda name: last_parts(name) + followed(name))
            found += alike(places, *keys, copies=3)
            found = list(dict.fromkeys(found))
    if 2 < len(places) <= 4:
        found += [(a, b) for i, a in enumerate(places) for b in places[i + 1 :]]
    if len(places) > 1 and tuple(places) not in found:
        found.append(tuple(places))
    return found
