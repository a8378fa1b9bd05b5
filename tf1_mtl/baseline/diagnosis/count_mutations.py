"""Makes mutations of which terms a loss counts, and how often.

A mean may be a sum, or a sum a mean. A mask may be 1 everywhere, labels may not be smoothed,
weighted terms may be divided by another count, and rows of one tensor may meet all rows of another
one.
"""

import functools
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import graph_edits
from tf1_mtl.baseline.diagnosis.mutation import Mutation, graph_mutation
from tf1_mtl.baseline.diagnosis.node_mutations import DIVISIONS
from tf1_mtl.baseline.diagnosis.passed_gradients import WITHOUT_GRADIENT
from tf1_mtl.baseline.diagnosis.places import (
    alike,
    has_known_axes,
    is_number,
    last_parts,
    near_the_loss,
    of_floats,
)
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.gradient_scopes import gradient_scopes
from tf1_mtl.baseline.recorded_graph import Node, RecordedGraph, needed_nodes, node_and_output


def count_mutations(case: Case, task: str) -> Iterator[Mutation]:
    """Yields edits of the terms that a loss counts, those next to the loss first."""
    nodes = case.loss_nodes(task)
    for places in alike(near_the_loss(nodes, _is_mask)):
        yield mask_missing(places)
    for name in dict.fromkeys(_smoothed(case, nodes)):
        yield smoothing_missing(name, nodes)
        yield smoothing_of_others(name, nodes)
    yield from _other_counts(case, nodes)
    for name in near_the_loss(nodes, lambda node: node.op in ("Sub", "SquaredDifference")):
        yield from (rows_broadcast(name, index, nodes) for index in range(2))
    reductions = near_the_loss(
        nodes, lambda node: node.op in ("Mean", "Sum") and has_known_axes(nodes, node, 1)
    )
    for places in alike(reductions, lambda name: nodes[name].op + last_parts(name)):
        yield mean_or_sum(places, nodes)


def mean_or_sum(places: Tuple[str, ...], nodes: Dict[str, Node]) -> Mutation:
    """Returns a mutation by which sums take the place of means, or means that of sums."""
    is_mean = nodes[places[0]].op == "Mean"

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        node = graph.nodes[name]
        axes = np.ravel(graph.nodes[node_and_output(node.data_inputs[1])[0]].attributes["value"])

        def factor(x: Any) -> float:
            count = float(np.prod([x.shape[int(axis)] for axis in axes]))
            return count if is_mean else 1.0 / max(count, 1.0)

        return graph_edits.edit_input(
            graph, name, 0, lambda x: x * factor(x), lambda gradient, x: gradient * factor(x)
        )

    return graph_mutation("other reduction", places, "sum" if is_mean else "mean", change)


def _is_mask(node: Node) -> bool:
    to = str(node.attributes.get("DstT"))
    return (node.op, node.attributes.get("SrcT")) == ("Cast", "bool") and to.startswith("float")


def mask_missing(places: Tuple[str, ...]) -> Mutation:
    """Returns a mutation by which masks are 1 everywhere."""

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        ones = graph_edits.wrapped(graph, name, lambda x: x * 0.0 + 1.0)
        return graph_edits.with_nodes(graph, ones)

    return graph_mutation("mask missing", places, None, change)


def _smoothed(case: Case, nodes: Dict[str, Node]) -> Iterator[str]:
    """Yields the operations that smooth the labels of a cross entropy."""
    for name in near_the_loss(nodes, lambda node: node.op == "SoftmaxCrossEntropyWithLogits"):
        labels = node_and_output(nodes[name].data_inputs[1])[0]
        for before in needed_nodes(nodes, [labels]).values():
            if before.op in ("Add", "AddV2") and _is_multiple_and_number(case.graph, before):
                yield before.name


def _is_multiple_and_number(graph: RecordedGraph, node: Node) -> bool:
    """Returns whether an operation adds a number to a multiple of a tensor without gradient."""
    product, number = node.data_inputs
    before = graph.nodes[node_and_output(product)[0]]
    return (
        not gradient_scopes(graph, node.name)
        and before.op == "Mul"
        and is_number(graph, number)
        and is_number(graph, before.data_inputs[1])
        and not is_number(graph, before.data_inputs[0])
    )


def smoothing_missing(place: str, nodes: Dict[str, Node]) -> Mutation:
    """Returns a mutation by which labels are not smoothed."""
    product = nodes[node_and_output(nodes[place].data_inputs[0])[0]]

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        labels = graph_edits.edited(name, lambda x: x, product.data_inputs[0])
        return graph_edits.with_nodes(graph, [labels])

    return graph_mutation("smoothing missing", (place,), None, change)


def smoothing_of_others(place: str, nodes: Dict[str, Node]) -> Mutation:
    """Returns a mutation by which labels are smoothed without a part for the right class."""
    product = nodes[node_and_output(nodes[place].data_inputs[0])[0]]

    def smoothed(labels: Any, kept: Any) -> Any:
        part = np.round(1 - float(np.ravel(value_of(kept))[0]), 6)
        classes = np.shape(value_of(labels))[-1]
        return labels * (1 - part - part / (classes - 1)) + part / (classes - 1)

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        return graph_edits.with_nodes(
            graph, [graph_edits.edited(name, smoothed, *product.data_inputs)]
        )

    return graph_mutation("smoothing of others", (place,), None, change)


#: What a loss of weighted terms may be divided by: from the weights, in the shape of the terms, and
#: what they are divided by, to a factor of each term.
COUNTS: Dict[str, Callable[[Any, Any], Any]] = {
    "the number of terms": lambda weights, divisor: divisor * (1.0 / size_of(weights)),
    "the number of rows": lambda weights, divisor: divisor * (1.0 / _rows(weights)),
    "the sum of weights": lambda weights, divisor: divisor / eb.total(weights),
    "the weights of each row, and the rows": lambda weights, divisor: (
        divisor / (_of_rows(weights) * _rows(weights))
    ),
}


def size_of(x: Any) -> float:
    """Returns the number of elements, at least 1."""
    return float(max(np.size(value_of(x)), 1))


def _rows(x: Any) -> float:
    return float(max(np.shape(value_of(x))[0], 1))


def _of_rows(x: Any) -> Any:
    return eb.total(x, axis=tuple(range(1, np.ndim(value_of(x)))), keepdims=True)


def _other_counts(case: Case, nodes: Dict[str, Node]) -> Iterator[Mutation]:
    """Yields edits by which weighted terms are divided by another count."""
    for name in near_the_loss(nodes, lambda node: node.op == "Mean" and of_floats(node)):
        for weights in _weights_of(case, nodes[name]):
            yield other_count((name,), name, weights, "", "the sum of weights")
    for name in near_the_loss(nodes, lambda node: node.op in DIVISIONS):
        inner, divisor = nodes[name].data_inputs
        total = nodes[node_and_output(inner)[0]]
        while total.op == "Sum" and nodes[node_and_output(total.data_inputs[0])[0]].op == "Sum":
            total = nodes[node_and_output(total.data_inputs[0])[0]]
        for weights in _weights_of(case, total) if total.op == "Sum" else ():
            for count in COUNTS:
                yield other_count((name,), total.name, weights, divisor, count)
        if inner != divisor:
            yield root_of_divisor(name, divisor)
    for name in near_the_loss(
        nodes, lambda node: node.op == "Sum" and has_known_axes(nodes, node, 1)
    ):
        for weights in _weights_of(case, nodes[name]):
            yield weighted_mean(name, weights, nodes)
    segments = near_the_loss(nodes, lambda node: node.op in SEGMENTS)
    for places in alike(segments, lambda name: nodes[name].op + last_parts(name)):
        others = (op for op in SEGMENTS if op != nodes[places[0]].op)
        yield from (other_segments(places, nodes, op) for op in others)


def _weights_of(case: Case, node: Node) -> List[str]:
    """Returns the factor of the products that an operation sums that has no gradient."""
    nodes, weights = case.graph.nodes, case.weights.values()
    stops = {name for name, x in nodes.items() if x.op in WITHOUT_GRADIENT}
    product = nodes[node_and_output(node.data_inputs[0])[0]]
    if product.op != "Mul":
        return []
    is_learned = [
        not needed_nodes(nodes, [x], known=stops).keys().isdisjoint(weights)
        for x in product.data_inputs
    ]
    return [x for x, learned in zip(product.data_inputs, is_learned) if not learned][
        : sum(is_learned)
    ]


def other_count(
    places: Tuple[str, ...], total: str, weights: str, divisor: str, count: str
) -> Mutation:
    """Returns a mutation by which weighted terms are divided by another count.

    Args:
      places: The operation that divides.
      total: The operation that sums the terms.
      weights: The tensor that multiplies the terms.
      divisor: The tensor that they are divided by; "" for their number.
      count: A key of `COUNTS`.
    """

    def factor(x: Any, weights: Any, *divisor: Any) -> Any:
        wide = eb.structural(lambda a: np.broadcast_to(a, np.shape(value_of(x))), weights)
        return x * COUNTS[count](wide, divisor[0] if divisor else size_of(x))

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        more = (weights, divisor) if divisor else (weights,)
        return graph_edits.edit_input(graph, total, 0, factor, factor, is_linear=True, more=more)

    return graph_mutation("divided by", places, (count, divisor or "their number"), change)


def root_of_divisor(place: str, divisor: str) -> Mutation:
    """Returns a mutation that divides by the square root of a tensor."""

    def slope(gradient: Any, x: Any) -> Any:
        return gradient / (eb.sqrt(x) * 2.0)

    change = functools.partial(graph_edits.edit_input, index=1, function=eb.sqrt, slope=slope)
    return graph_mutation("divided by", (place,), ("its square root", divisor), change)


def weighted_mean(place: str, weights: str, nodes: Mapping[str, Node]) -> Mutation:
    """Returns a mutation by which a sum of weighted terms is divided by the sum of weights."""
    axes = np.ravel(nodes[node_and_output(nodes[place].data_inputs[1])[0]].attributes["value"])

    def divided(x: Any, weights: Any) -> Any:
        shape = np.shape(value_of(x))
        wide = eb.structural(lambda a: np.broadcast_to(a, shape), weights)
        over = tuple(int(axis) % len(shape) for axis in axes)
        return x / eb.total(wide, axis=over, keepdims=True)

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        more = (weights,)
        return graph_edits.edit_input(graph, name, 0, divided, divided, is_linear=True, more=more)

    return graph_mutation("other reduction", (place,), f"mean weighted by {weights}", change)


#: How the rows of a lookup are put together, with the power of their number that they are divided
#: by.
SEGMENTS = {"SparseSegmentSum": 0.0, "SparseSegmentSqrtN": 0.5, "SparseSegmentMean": 1.0}


def other_segments(places: Tuple[str, ...], nodes: Mapping[str, Node], op: str) -> Mutation:
    """Returns a mutation by which the rows of lookups are put together in another way."""
    power = SEGMENTS[op] - SEGMENTS[nodes[places[0]].op]

    def divided(y: Any, segments: Any) -> Any:
        shape = np.shape(value_of(y))
        numbers = np.bincount(np.asarray(value_of(segments), np.int64), minlength=shape[0])
        factors = np.maximum(numbers, 1) ** -power
        return y * factors.reshape(-1, *(1 for _ in shape[1:]))

    def slope(gradient: Any, y: Any, segments: Any) -> Any:
        return divided(gradient, segments)

    change = functools.partial(graph_edits.edit_output, function=divided, slope=slope, index=2)
    words = {"SparseSegmentSum": "sum", "SparseSegmentSqrtN": "sum over the root of the number"}
    return graph_mutation("other reduction", places, words.get(op, "mean"), change)


def rows_broadcast(place: str, index: int, nodes: Mapping[str, Node]) -> Mutation:
    """Returns a mutation by which [n] meets [n, 1], so that each row meets all rows.

    Args:
      place: The operation that two tensors of n rows meet in.
      index: Of the input that becomes [n, 1], or [n] if it is [n, 1].
      nodes: That the loss needs. Sums and means behind the operation are taken over all axes.
    """

    def turned(x: Any) -> Any:
        def move(a: np.ndarray) -> np.ndarray:
            if a.ndim == 1:
                return a[:, np.newaxis]
            if a.ndim != 2 or a.shape[1] != 1:
                raise ValueError("not rows of one number")
            return a[:, 0]

        return eb.structural(move, x)

    def back(gradient: Any, x: Any) -> Any:
        return eb.structural(lambda a: a.reshape(np.shape(value_of(x))), gradient)

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        graph = graph_edits.edit_input(graph, name, index, turned, back)
        for reduction in _reductions_behind(nodes, name):
            graph = _over_everything(graph, reduction)
        return graph

    return graph_mutation("rows broadcast", (place,), None, change)


ELEMENTWISE = ("Mul", "Square", "Abs", "Add", "AddV2", "Sub", "Maximum", "Neg", "Sqrt", "Pow")


def _reductions_behind(nodes: Mapping[str, Node], place: str) -> List[str]:
    """Returns the sums and means over rows that elements behind an operation reach first."""
    reached, found = {place}, []
    for name, node in nodes.items():  # each after its inputs
        if reached.isdisjoint(node_and_output(x)[0] for x in node.data_inputs):
            continue
        if node.op in ELEMENTWISE:
            reached.add(name)
        elif node.op in ("Sum", "Mean") and not node.attributes.get("keep_dims"):
            found.append(name)
    return found


def _over_everything(graph: RecordedGraph, name: str) -> RecordedGraph:
    """Takes a sum or mean over all elements."""
    is_mean = graph.nodes[name].op == "Mean"

    def part(x: Any) -> float:
        return 1.0 / size_of(x) if is_mean else 1.0

    def slope(gradient: Any, x: Any) -> Any:
        shape = np.shape(value_of(x))
        return eb.structural(lambda a: np.broadcast_to(a, shape), gradient * part(x))

    return graph_edits.replace_pointwise(graph, name, lambda x: eb.total(x) * part(x), slope)
