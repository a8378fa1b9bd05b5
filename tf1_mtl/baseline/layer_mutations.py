"""Makes mutations of layers as other frameworks have them.

A mask may not count, a convolution may pad on both sides, an image may be flattened with the
channels first, a normalization may have another epsilon, a loss may be divided by another count.
"""

import functools
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline import graph_edits
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.edits import Edit
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.model import Model, updates_of
from tf1_mtl.baseline.model_edits import has_gradient, with_variables
from tf1_mtl.baseline.mutation import Mutation, graph_mutation
from tf1_mtl.baseline.places import alike, groups_of, is_number, near_the_loss, of_floats
from tf1_mtl.baseline.recorded_graph import (
    Node,
    RecordedGraph,
    needed_nodes,
    node_and_output,
    variable_of,
)

EPSILONS = (1e-5, 1e-3, 1e-8, 1e-6, 1e-4, 1e-2, 1e-12)
NORMALIZATIONS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
CROSS_ENTROPIES = ("SoftmaxCrossEntropyWithLogits",)
DIVISIONS = ("RealDiv", "Div", "DivNoNan")


def layer_mutations(case: Case, task: str) -> Iterator[Mutation]:
    """Yields edits of the layers that a loss needs, those next to the loss first."""
    nodes = case.loss_nodes(task)
    for places in alike(near_the_loss(nodes, _is_mask)):
        yield mask_missing(places)
    for name in dict.fromkeys(_smoothed(case, nodes)):
        yield smoothing_missing(name, nodes)
    yield from _other_counts(case, nodes)
    means = near_the_loss(nodes, lambda node: node.op == "Mean" and _keeps_axes(node))
    for places in groups_of(means)[::-1]:
        yield over_all_axes(places)
    for name in near_the_loss(nodes, lambda node: node.op == "Reshape" and of_floats(node)):
        yield channels_first(name)
    yield from _paddings(case, nodes)
    for name in near_the_loss(nodes, lambda node: node.op in ("Sub", "SquaredDifference")):
        yield from (rows_broadcast(name, index, nodes) for index in range(2))
    yield from _other_networks(case, nodes)
    normalized = near_the_loss(nodes, _normalizes)
    for group in dict.fromkeys((tuple(normalized), *alike(normalized))):
        yield from epsilon_mutations(case, group)


# Masks, labels and counts


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
    for name in near_the_loss(nodes, lambda node: node.op in CROSS_ENTROPIES):
        labels = node_and_output(nodes[name].data_inputs[1])[0]
        for before in needed_nodes(nodes, [labels]).values():
            if before.op in ("Add", "AddV2") and _is_multiple_and_number(case.graph, before):
                yield before.name


def _is_multiple_and_number(graph: RecordedGraph, node: Node) -> bool:
    """Returns whether an operation adds a number to a multiple of a tensor without gradient."""
    product, number = node.data_inputs
    before = graph.nodes[node_and_output(product)[0]]
    return (
        not graph_edits.gradient_scopes(graph, node.name)
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


#: What a loss of weighted terms may be divided by: from the weights, in the shape of the terms, and
#: what they are divided by, to a factor of each term.
COUNTS: Dict[str, Callable[[Any, Any], Any]] = {
    "the number of terms": lambda weights, divisor: divisor * (1.0 / _size(weights)),
    "the sum of weights": lambda weights, divisor: divisor / eb.total(weights),
    "the weights of each row, and the rows": lambda weights, divisor: (
        divisor / (_of_rows(weights) * _rows(weights))
    ),
}


def _size(x: Any) -> float:
    return float(max(np.size(value_of(x)), 1))


def _rows(x: Any) -> float:
    return float(np.shape(value_of(x))[0])


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


def _weights_of(case: Case, node: Node) -> List[str]:
    """Returns the factor without a gradient of the products that an operation sums."""
    product = case.graph.nodes[node_and_output(node.data_inputs[0])[0]]
    if product.op != "Mul":
        return []
    has_gradient = [
        bool(graph_edits.gradient_scopes(case.graph, node_and_output(x)[0]))
        for x in product.data_inputs
    ]
    return [x for x, has in zip(product.data_inputs, has_gradient) if not has][: sum(has_gradient)]


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
        return x * COUNTS[count](wide, divisor[0] if divisor else _size(x))

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        more = (weights, divisor) if divisor else (weights,)
        return graph_edits.edit_input(graph, total, 0, factor, factor, is_linear=True, more=more)

    return graph_mutation("divided by", places, (count, divisor or "their number"), change)


# Axes


def _keeps_axes(node: Node) -> bool:
    return bool(node.attributes.get("keep_dims")) and of_floats(node)


def over_all_axes(places: Tuple[str, ...]) -> Mutation:
    """Returns a mutation by which means with kept axes are taken over all axes."""

    def spread(x: Any, shape: Tuple[int, ...]) -> Any:
        return eb.structural(lambda a: np.broadcast_to(a, shape), x)

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        node = graph.nodes[name]
        axes = graph.nodes[node_and_output(node.data_inputs[1])[0]].attributes["value"]

        def kept(x: Any) -> Tuple[int, ...]:
            shape = np.shape(value_of(x))
            over = {int(axis) % len(shape) for axis in np.ravel(axes)}
            return tuple(1 if i in over else n for i, n in enumerate(shape))

        def mean(x: Any) -> Any:
            return spread(eb.total(x, keepdims=True) * (1.0 / _size(x)), kept(x))

        def slope(gradient: Any, x: Any) -> Any:
            each = eb.total(gradient, keepdims=True) * (1.0 / _size(x))
            return spread(each, np.shape(value_of(x)))

        return graph_edits.replace_pointwise(graph, name, mean, slope)

    return graph_mutation("other reduction", places, "mean over all axes", change)


def channels_first(place: str) -> Mutation:
    """Returns a mutation by which images are flattened with the channels before the rest."""

    def turned(a: np.ndarray) -> np.ndarray:
        if a.ndim < 3:
            raise ValueError("not images")
        return np.moveaxis(a, -1, 1)

    def back(gradient: Any, x: Any) -> Any:
        shape = turned(value_of(x)).shape  # that of the graph may be a constant
        return eb.structural(lambda a: np.moveaxis(a.reshape(shape), 1, -1), gradient)

    forward = functools.partial(eb.structural, turned)
    change = functools.partial(graph_edits.edit_input, index=0, function=forward, slope=back)
    return graph_mutation("channels first", (place,), None, change)


def _pads(node: Node) -> bool:
    return node.op in ("Conv2D", "MaxPool", "AvgPool")


def _pads_one_side(node: Node) -> bool:
    """Returns whether a convolution may pad an image more at its end than at its start."""
    return node.op == "Conv2D" and max(node.attributes["strides"]) > 1


def _paddings(case: Case, nodes: Dict[str, Node]) -> Iterator[Mutation]:
    """Yields edits of how convolutions and pools pad images."""
    for places in alike(near_the_loss(nodes, _pads)):
        paddings = {nodes[name].attributes["padding"] for name in places}
        if len(paddings) > 1 or not paddings <= {"SAME", "VALID"}:
            continue
        same = paddings == {"SAME"}
        strided = tuple(x for x in places if same and _pads_one_side(nodes[x]))
        if strided:
            yield symmetric_padding(strided, case)
        yield other_padding(places, "VALID" if same else "SAME")


def other_padding(places: Tuple[str, ...], padding: str) -> Mutation:
    """Returns a mutation by which convolutions or pools pad otherwise."""

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        return _with_attributes(graph, name, "padding", {"padding": padding})

    words = "nothing (VALID)" if padding == "VALID" else "as SAME does"
    return graph_mutation("padding", places, words, change)


def symmetric_padding(places: Tuple[str, ...], case: Case) -> Mutation:
    """Returns a mutation by which convolutions pad both sides by half the size of the kernel."""

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        node = graph.nodes[name]
        kernel = case.initial[variable_of(graph.nodes, node.data_inputs[1]) or ""]
        sides = [(k // 2, k // 2) for k in kernel.shape[:2]]
        is_first = node.attributes.get("data_format") == "NCHW"
        pairs = [(0, 0), (0, 0), *sides] if is_first else [(0, 0), *sides, (0, 0)]
        padding = {"padding": "EXPLICIT", "explicit_paddings": [n for pair in pairs for n in pair]}
        return _with_attributes(graph, name, "padding", padding)

    return graph_mutation("padding", places, "both sides alike", change)


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
        return 1.0 / _size(x) if is_mean else 1.0

    def slope(gradient: Any, x: Any) -> Any:
        shape = np.shape(value_of(x))
        return eb.structural(lambda a: np.broadcast_to(a, shape), gradient * part(x))

    return graph_edits.replace_pointwise(graph, name, lambda x: eb.total(x) * part(x), slope)


def _with_attributes(
    graph: RecordedGraph, name: str, known: str, attributes: Dict[str, Any]
) -> RecordedGraph:
    """Gives an operation other attributes, and those of its gradient that have the known one."""
    names = [name, *(x for s in graph_edits.gradient_scopes(graph, name) for x in s.nodes)]
    nodes = [graph.nodes[x] for x in names if known in graph.nodes[x].attributes]
    changed = [node._replace(attributes={**node.attributes, **attributes}) for node in nodes]
    return graph_edits.with_nodes(graph, changed)


# Networks


def _other_networks(case: Case, nodes: Dict[str, Node]) -> Iterator[Mutation]:
    """Yields edits by which all variables of a scope take the place of those of another one."""
    scopes: Dict[str, Dict[str, str]] = {}
    for name, variable in case.weights.items():
        parts = name.split("/")
        for depth in range(1, len(parts)):
            scope, rest = "/".join(parts[:depth]), "/".join(parts[depth:])
            scopes.setdefault(scope, {})[rest] = name if variable in nodes else ""
    for one, own in scopes.items():
        for other, others in scopes.items():
            if one == other or own.keys() != others.keys() or len(own) < 2 or "" in own.values():
                continue
            shapes = [
                {rest: case.initial[case.weights[name]].shape for rest, name in group.items()}
                for group in (own, others)
                if "" not in group.values()
            ]
            if len(shapes) == 2 and shapes[0] == shapes[1]:
                yield other_network(one, other, {own[rest]: others[rest] for rest in own})


def other_network(one: str, other: str, instead: Dict[str, str]) -> Mutation:
    """Returns a mutation by which the variables of a scope are used in place of another one."""

    def apply(model: Model) -> Model:
        return with_variables(model, instead)

    return Mutation(Edit("variable of another", (one,), other), apply)


# Normalization


def _normalizes(node: Node) -> bool:
    return node.op in NORMALIZATIONS


def epsilon_mutations(case: Case, places: Sequence[str]) -> Iterator[Mutation]:
    """Yields edits of the epsilon of some batch normalizations."""
    known = [float(case.graph.nodes[name].attributes["epsilon"]) for name in places]
    for value in EPSILONS:
        if any(abs(epsilon / value - 1) > 1e-3 for epsilon in known):
            yield other_epsilon(tuple(places), value)


def all_normalizations(case: Case) -> List[str]:
    """Returns all batch normalizations of a graph."""
    return [name for name, node in case.graph.nodes.items() if _normalizes(node)]


def other_epsilon(places: Tuple[str, ...], value: float) -> Mutation:
    """Returns a mutation by which batch normalization has another epsilon."""

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        return _with_attributes(graph, name, "epsilon", {"epsilon": value})

    return graph_mutation("epsilon", places, value, change)


def variance_mutations(case: Case) -> Iterator[Mutation]:
    """Yields edits by which moving averages take the variance over n or over n - 1."""
    found: Dict[str, _Variance] = {}
    for task in case.tasks:
        for name, update in updates_of(case, task).items():
            if not has_gradient(case.graph, update):
                found.update((name, x) for x in _variance(case.graph, update.node))
    for is_unbiased in (True, False):
        names = tuple(name for name, x in found.items() if x.is_unbiased == is_unbiased)
        for group in groups_of(names)[::-1]:
            yield other_variance(group, found)


class _Variance(NamedTuple):
    """Describes the variance that a moving average takes."""

    difference: str  #: the operation that subtracts it from the average
    source: str  #: a tensor of which it is the variance, or whose mean it is
    is_unbiased: bool  #: whether it is divided by n - 1


def _variance(graph: RecordedGraph, node: Node) -> Iterator[_Variance]:
    """Yields the variance by which an update moves an average."""
    product = graph.nodes[node_and_output(node.data_inputs[-1])[0]]
    for tensor in product.data_inputs if product.op == "Mul" else ():
        difference = graph.nodes[node_and_output(tensor)[0]]
        waiting, seen = list(difference.data_inputs[1:]), set()
        while waiting and difference.op == "Sub":
            name, output = node_and_output(waiting.pop())
            before = graph.nodes[name]
            is_unbiased = before.op in NORMALIZATIONS and output == 2
            is_mean = before.op == "Mean" and _op(graph, before) == "SquaredDifference"
            if is_unbiased or is_mean:
                yield _Variance(difference.name, before.data_inputs[0], is_unbiased)
            elif name not in seen and before.op in ("Merge", "Identity", "Squeeze"):
                seen.add(name)
                waiting += before.data_inputs


def _op(graph: RecordedGraph, node: Node) -> str:
    return graph.nodes[node_and_output(node.data_inputs[0])[0]].op


def other_variance(names: Tuple[str, ...], found: Mapping[str, _Variance]) -> Mutation:
    """Returns a mutation by which moving averages take the other variance.

    Args:
      names: Of the moving averages.
      found: What they take in the graph.
    """

    def apply(model: Model) -> Model:
        changed = []
        for difference, source, is_unbiased in map(found.__getitem__, names):

            def other(variance: Any, x: Any, is_unbiased: bool = is_unbiased) -> Any:
                n = _size(x) / _size(variance)
                return variance * ((n - 1) / n if is_unbiased else n / max(n - 1, 1e-300))

            node, taken = model.graph.nodes[difference], f"{difference}/edited variance"
            average, variance = node.data_inputs
            changed.append(graph_edits.edited(taken, other, variance, source))
            changed.append(node._replace(inputs=(average, taken, *node.inputs[2:])))
        return model.with_graph(graph_edits.with_nodes(model.graph, changed))

    divisor = "n" if found[names[0]].is_unbiased else "n - 1"
    return Mutation(Edit("other variance", names, divisor), apply)
