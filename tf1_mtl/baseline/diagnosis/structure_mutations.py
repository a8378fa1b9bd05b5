"""Makes mutations of how tensors are put together.

Parts may be in another order, a reduction or an axis may be another one, and a variable may take
the place of another one.
"""

import functools
import itertools
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import graph_edits, model_edits
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.model import Model
from tf1_mtl.baseline.diagnosis.mutation import Mutation, graph_mutation
from tf1_mtl.baseline.diagnosis.places import (
    alike,
    has_known_axes,
    last_parts,
    near_the_loss,
    of_floats,
)
from tf1_mtl.baseline.operations import OPERATIONS
from tf1_mtl.baseline.recorded_graph import Node, RecordedGraph, node_and_output

MOST_PAIRS = 24  #: of variables of one shape
MOST_PARTS = 16  #: whose order is reversed; see `graph_edits.joined_in_order`
CROSS_ENTROPIES = ("SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits")


def structure_mutations(case: Case, task: str) -> Iterator[Mutation]:
    """Yields edits of how a loss puts tensors together, those next to the loss first."""
    nodes = case.loss_nodes(task)
    for name in near_the_loss(nodes, lambda node: node.op in CROSS_ENTROPIES):
        yield softmax_twice(name)
    for name in near_the_loss(nodes, lambda node: node.op == "Softmax"):
        yield other_axis(name)
    largest = near_the_loss(
        nodes,
        lambda node: node.op == "MaxPool" or (node.op == "Max" and has_known_axes(nodes, node, 1)),
    )
    for places in alike(largest):
        yield averaged(places)
    split = near_the_loss(nodes, lambda node: node.op == "Split" and has_known_axes(nodes, node, 0))
    for places in alike(split):
        count = nodes[places[0]].attributes["num_split"]
        yield from (other_parts(places, order) for order in _orders(count))
    joined = near_the_loss(nodes, lambda node: node.op == "ConcatV2" and of_floats(node))
    weights = {
        node_and_output(node.data_inputs[0])[0]: node.data_inputs[1]
        for node in nodes.values()
        if node.op in graph_edits.PRODUCTS
    }
    for places in alike(joined, lambda name: weights.get(name, name), last_parts):
        count = len(nodes[places[0]].data_inputs) - 1
        yield from (other_inputs(places, order) for order in _orders(count))
    yield from _other_variables(case, nodes)


def _orders(count: int) -> List[Tuple[int, ...]]:
    """Returns the orders of a few parts that differ by a swap, and the reverse."""
    start = tuple(range(count))
    found = [start[::-1]] if 1 < count <= MOST_PARTS else []
    for i, j in itertools.combinations(start, 2) if count <= 4 else ():
        found.append(tuple({i: j, j: i}.get(k, k) for k in start))
    return list(dict.fromkeys(found))


# The functions of NumPy, and their slopes


def _softmax(x: Any, axis: int) -> Any:
    """Returns the softmax along an axis."""
    turned = eb.structural(lambda a: np.moveaxis(a, axis, -1), x)
    y = OPERATIONS["Softmax"].function(Node("", "Softmax", ()), turned)
    return eb.structural(lambda a: np.moveaxis(a, -1, axis), y)


def _softmax_slope(gradient: Any, x: Any, axis: int) -> Any:
    y = _softmax(x, axis)
    return y * (gradient - eb.total(gradient * y, axis % len(x.shape), True))


def softmax_twice(place: str) -> Mutation:
    """Returns a mutation by which a softmax is applied to the logits of a cross entropy."""
    change = functools.partial(
        graph_edits.edit_input,
        index=0,
        function=functools.partial(_softmax, axis=-1),
        slope=functools.partial(_softmax_slope, axis=-1),
    )
    return graph_mutation("activation added", (place,), "softmax", change)


def other_axis(place: str) -> Mutation:
    """Returns a mutation by which a softmax is taken over the rows."""
    change = functools.partial(
        graph_edits.replace_pointwise,
        function=functools.partial(_softmax, axis=0),
        slope=functools.partial(_softmax_slope, axis=0),
    )
    return graph_mutation("other axis", (place,), 0, change)


def averaged(places: Tuple[str, ...]) -> Mutation:
    """Returns a mutation by which means take the place of the largest elements."""

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        node = graph.nodes[name]
        if node.op == "MaxPool":
            return graph_edits.replace_pointwise(graph, name, *_pool_of_means(node))
        axes = graph.nodes[node_and_output(node.data_inputs[1])[0]].attributes["value"]
        return graph_edits.replace_pointwise(graph, name, *_mean_over(node, axes))

    return graph_mutation("other reduction", places, "mean", change)


def _pool_of_means(node: Node) -> Tuple[Any, Any]:
    """Returns the pooling of a node with means, and its slope."""
    pool, slope = (OPERATIONS[op].function for op in ("AvgPool", "AvgPoolGrad"))
    return (
        lambda x: pool(node, x),
        lambda gradient, x: slope(node, np.array(x.shape, np.int64), gradient),
    )


def _mean_over(node: Node, axes: np.ndarray) -> Tuple[Any, Any]:
    """Returns the mean over the axes of a node, and its slope."""

    def slope(gradient: Any, x: Any) -> Any:
        over = tuple(int(axis) % len(x.shape) for axis in np.ravel(axes))
        kept = [1 if i in over else n for i, n in enumerate(x.shape)]
        count = np.prod([x.shape[i] for i in over])
        wide = eb.structural(lambda a: np.broadcast_to(a.reshape(kept), x.shape), gradient)
        return wide * (1.0 / count)

    return lambda x: OPERATIONS["Mean"].function(node, x, axes), slope


# Other orders


def other_parts(places: Tuple[str, ...], order: Sequence[int]) -> Mutation:
    """Returns a mutation by which a tensor is split into parts of another order."""

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        node = graph.nodes[name]
        constant = graph.nodes[node_and_output(node.data_inputs[0])[0]]
        axis = int(constant.attributes["value"])

        def ordered(x: Any, order: Sequence[int]) -> Any:
            def move(a: np.ndarray) -> np.ndarray:
                parts = np.split(a, len(order), axis)
                return np.concatenate([parts[i] for i in order], axis)

            return eb.structural(move, x)

        forward = functools.partial(ordered, order=order)
        back = functools.partial(ordered, order=[int(i) for i in np.argsort(order)])
        return graph_edits.edit_input(graph, name, 1, forward, back, is_linear=True)

    return graph_mutation("parts in another order", places, _in_words(order), change)


def other_inputs(places: Tuple[str, ...], order: Sequence[int]) -> Mutation:
    """Returns a mutation by which tensors are joined in another order."""
    change = functools.partial(graph_edits.joined_in_order, order=order)
    return graph_mutation("parts in another order", places, _in_words(order), change)


def _in_words(order: Sequence[int]) -> str:
    return ", ".join(str(i) for i in order)


# Variables


def _other_variables(case: Case, nodes: Dict[str, Node]) -> Iterator[Mutation]:
    """Yields edits by which one variable takes the place of another one of its shape, or both."""
    shapes: Dict[Any, List[str]] = {}
    for name, variable in case.weights.items():
        if variable in nodes and np.ndim(case.initial[variable]):
            shapes.setdefault(np.shape(case.initial[variable]), []).append(name)
    pairs = [pair for names in shapes.values() for pair in itertools.combinations(names, 2)]
    for one, other in pairs[:MOST_PAIRS]:
        yield other_variables("variables swapped", (one, other), None, {one: other, other: one})
        yield other_variables("variable of another", (one,), other, {one: other})
        yield other_variables("variable of another", (other,), one, {other: one})


def other_variables(
    kind: str, places: Tuple[str, ...], value: Any, instead: Dict[str, str]
) -> Mutation:
    """Returns a mutation by which variables are used in place of others, by name."""

    def apply(model: Model) -> Model:
        return model_edits.with_variables(model, instead)

    return Mutation(Edit(kind, places, value), apply)
