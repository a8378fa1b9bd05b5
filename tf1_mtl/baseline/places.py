"""Finds the places of a recorded graph where an edit can be made, and groups of them."""

import itertools
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import catalogue, graph_edits
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.recorded_graph import Node, node_and_output


class Places(NamedTuple):
    """Holds the names of what can be edited in a task."""

    activations: Tuple[str, ...]
    losses: Tuple[str, ...]
    products: Tuple[str, ...]
    feeds: Tuple[str, ...]
    labels: Tuple[str, ...]  #: all feeds of floats, also those of other tasks
    weights: Tuple[str, ...]
    constants: Tuple[str, ...]


def places_of(case: Case, task: str) -> Places:
    """Returns where the graph of a task can be edited."""
    nodes = case.loss_nodes(task)
    activations = tuple(n for n, x in nodes.items() if x.op in catalogue.ACTIVATION_OPS)
    losses = tuple(n for n, x in nodes.items() if x.op == "L2Loss")
    products = tuple(n for n, x in nodes.items() if x.op in graph_edits.PRODUCTS)
    floats = {
        name
        for name, tensor in case.feeds.items()
        if any(
            np.asarray(s.feeds[tensor]).dtype.kind == "f" and np.ndim(s.feeds[tensor]) > 0
            for s in case.steps
            if tensor in s.feeds
        )
    }
    feeds = tuple(
        n for n, t in case.feeds.items() if n in floats and node_and_output(t)[0] in nodes
    )
    labels = tuple(n for n in case.feeds if n in floats)
    weights = tuple(n for n, v in case.weights.items() if v in nodes)
    constants = tuple(n for n, x in nodes.items() if x.op == "Const" and _is_number(x))
    return Places(activations, losses, products, feeds, labels, weights, constants)


def _is_number(node: Node) -> bool:
    value = node.attributes["value"]
    return value.dtype.kind == "f" and value.size == 1


def subsets(names: Sequence[str]) -> List[Tuple[str, ...]]:
    """Returns subsets of the names, the largest first, and at most 16."""
    sizes = range(len(names), 0, -1)
    found = itertools.chain.from_iterable(itertools.combinations(names, k) for k in sizes)
    return list(itertools.islice(found, 16))


def groups_of(places: Sequence[str]) -> List[Tuple[str, ...]]:
    """Returns each place alone, the pairs of three or four places, and all places together."""
    found: List[Tuple[str, ...]] = [(place,) for place in places]
    if 2 < len(places) <= 4:
        found += [(a, b) for i, a in enumerate(places) for b in places[i + 1 :]]
    if len(places) > 1:
        found.append(tuple(places))
    return found
