"""Makes mutations of layers as other frameworks have them.

A dropout may be left out, a convolution may pad on both sides, an image may be flattened with the
channels first, a mean may be taken over all axes, and one network may stand for its copy.
"""

import functools
import itertools
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import graph_edits
from tf1_mtl.baseline.diagnosis.count_mutations import size_of
from tf1_mtl.baseline.diagnosis.graph_edits import elementwise
from tf1_mtl.baseline.diagnosis.mutation import Mutation, graph_mutation
from tf1_mtl.baseline.diagnosis.normalization_mutations import (
    epsilon_mutations,
    is_normalization,
    order_mutations,
)
from tf1_mtl.baseline.diagnosis.places import alike, groups_of, near_the_loss, of_floats
from tf1_mtl.baseline.diagnosis.structure_mutations import other_variables
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.recorded_graph import (
    Node,
    RecordedGraph,
    needed_nodes,
    node_and_output,
    variable_of,
)


def layer_mutations(case: Case, task: str) -> Iterator[Mutation]:
    """Yields edits of the layers that a loss needs, those next to the loss first."""
    nodes = case.loss_nodes(task)
    for places in groups_of([name for name in nodes if _dropout(nodes, name)]):
        yield dropout_mutation(places, is_masked=False)
        yield dropout_mutation(places, is_masked=True)
        yield other_dropout(places, is_swapped=True)
        yield other_dropout(places, is_swapped=False)
    means = near_the_loss(nodes, lambda node: node.op == "Mean" and _keeps_axes(node))
    for places in groups_of(means)[::-1]:
        yield over_all_axes(places)
    for name in near_the_loss(nodes, lambda node: node.op == "Reshape" and of_floats(node)):
        yield channels_first(name)
    yield from _paddings(case, nodes)
    yield from _other_networks(case, nodes)
    normalized = near_the_loss(nodes, is_normalization)
    for group in dict.fromkeys((tuple(normalized), *alike(normalized))):
        yield from epsilon_mutations(case, group)
    yield from order_mutations(nodes)


class _Dropout(NamedTuple):
    """Holds the parts of a dropout."""

    scaled: str  #: divides by the probability to keep
    kept: int  #: which input of the operation that masks comes from it
    mask: str  #: compares random numbers with a probability
    compared: Tuple[str, int]  #: the operation and the input of it that is this probability


def _dropout(nodes: Mapping[str, Node], name: str) -> Optional[_Dropout]:
    """Returns the parts of the dropout whose mask an operation applies; None for no dropout."""
    masked = {"Mul": ((0, 1), (1, 0)), "Select": ((1, 0),), "SelectV2": ((1, 0),)}
    for kept, mask in masked.get(nodes[name].op, ()):
        inputs = nodes[name].data_inputs
        before = nodes[node_and_output(inputs[mask])[0]]
        scaled = nodes[node_and_output(inputs[kept])[0]]
        if before.op == "Cast":
            before = nodes[node_and_output(before.data_inputs[0])[0]]
        if before.op not in ("Floor", "GreaterEqual") or scaled.op not in ("Mul", "RealDiv"):
            continue
        # Either floor(probability + random) or random >= probability.
        added = before if before.op != "Floor" else nodes[node_and_output(before.data_inputs[0])[0]]
        is_drawn = [_is_drawn(nodes, x) for x in added.data_inputs]
        is_known = before.op == "Floor" or is_drawn[0]
        if sum(is_drawn) == 1 and len(is_drawn) == 2 and is_known:
            return _Dropout(scaled.name, kept, before.name, (added.name, is_drawn.index(False)))
    return None


def _is_drawn(nodes: Mapping[str, Node], tensor: str) -> bool:
    return any(x.op == "RandomUniform" for x in needed_nodes(nodes, [tensor]).values())


def dropout_mutation(places: Tuple[str, ...], is_masked: bool) -> Mutation:
    """Returns a mutation by which dropouts do not scale what they keep.

    Args:
      places: The operations that apply the masks.
      is_masked: False leaves out the masks too, and so the dropouts.
    """

    def passed(graph: RecordedGraph, name: str, index: int) -> RecordedGraph:
        return graph_edits.replace_pointwise(
            graph, name, lambda x: x, lambda gradient, x: gradient, index
        )

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        dropout = _dropout(graph.nodes, name)
        if dropout is None:
            return graph
        return passed(graph if is_masked else passed(graph, name, dropout.kept), dropout.scaled, 0)

    kind = "dropout not scaled" if is_masked else "dropout missing"
    return graph_mutation(kind, places, None, change)


def other_dropout(places: Tuple[str, ...], is_swapped: bool) -> Mutation:
    """Returns a mutation by which dropouts keep other elements.

    Args:
      places: The operations that apply the masks.
      is_swapped: Whether the probability to keep is taken for that to drop. Otherwise the elements
        are kept whose random numbers are below it.
    """
    # A port may compute this from another decimal than the float32 of the graph.
    complement = elementwise(lambda p: np.round(1 - p, 6))
    inverse = elementwise(lambda scale: 1 / np.round(1 - 1 / scale, 6))

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        dropout = _dropout(graph.nodes, name)
        if dropout is None:
            return graph
        graph = graph_edits.edit_input(graph, *dropout.compared, complement, _none)
        mask, scaled = graph.nodes[dropout.mask], graph.nodes[dropout.scaled]
        if is_swapped:
            other = inverse if scaled.op == "Mul" else complement
            return graph_edits.edit_input(graph, scaled.name, 1, other, _none)
        if mask.op == "Floor":
            return graph_edits.edit_output(graph, mask.name, lambda y, x: 1.0 - y, _none)
        return graph_edits.with_nodes(graph, [mask._replace(op="Less")])

    return graph_mutation(
        "dropout probability" if is_swapped else "dropout mask", places, None, change
    )


def _none(gradient: Any, *_: Any) -> Any:
    return gradient * 0.0


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
            return spread(eb.total(x, keepdims=True) * (1.0 / size_of(x)), kept(x))

        def slope(gradient: Any, x: Any) -> Any:
            each = eb.total(gradient, keepdims=True) * (1.0 / size_of(x))
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


_TRANSPOSED = "Conv2DBackpropInput"


def _pads(node: Node) -> bool:
    return node.op in ("Conv2D", _TRANSPOSED, "MaxPool", "AvgPool")


def _pads_one_side(node: Node) -> bool:
    """Returns whether a convolution may pad an image more at its end than at its start."""
    return node.op in ("Conv2D", _TRANSPOSED) and max(node.attributes["strides"]) > 1


def _paddings(case: Case, nodes: Dict[str, Node]) -> Iterator[Mutation]:
    """Yields edits of how convolutions and pools pad images."""
    for places in alike(near_the_loss(nodes, _pads)):
        paddings = {nodes[name].attributes["padding"] for name in places}
        if len(paddings) > 1 or not paddings <= {"SAME", "VALID"}:
            continue
        same = paddings == {"SAME"}
        strided = tuple(x for x in places if same and _pads_one_side(nodes[x]))
        if strided:
            yield symmetric_padding(strided, nodes, case)
        if same and nodes[places[0]].op == "AvgPool":
            yield counted_padding(places)
        if nodes[places[0]].op != _TRANSPOSED:  # which would give another shape
            yield other_padding(places, "VALID" if same else "SAME")


def other_padding(places: Tuple[str, ...], padding: str) -> Mutation:
    """Returns a mutation by which convolutions or pools pad otherwise."""

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        return graph_edits.with_attributes(graph, name, "padding", {"padding": padding})

    words = "nothing (VALID)" if padding == "VALID" else "as SAME does"
    return graph_mutation("padding", places, words, change)


def counted_padding(places: Tuple[str, ...]) -> Mutation:
    """Returns a mutation by which means of windows count the zeros outside of the image."""

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        node = graph.nodes[name]

        def counted(y: Any, x: Any) -> Any:
            sides = zip(np.shape(value_of(x)), node.attributes["ksize"], node.attributes["strides"])
            parts = np.ix_(*(_inside(*side) for side in sides))
            return y * functools.reduce(np.multiply, parts)

        def slope(gradient: Any, y: Any, x: Any) -> Any:
            return counted(gradient, x)

        return graph_edits.edit_output(graph, name, counted, slope)

    return graph_mutation("padding", places, "zeros that count in the mean", change)


def _inside(length: int, window: int, stride: int) -> np.ndarray:
    """Returns for each window of one axis, padded as SAME does, which part lies in the image."""
    steps = -(-length // stride)
    before = max((steps - 1) * stride + window - length, 0) // 2
    starts = np.arange(steps) * stride - before
    return (np.minimum(starts + window, length) - np.maximum(starts, 0)) / window


def symmetric_padding(places: Tuple[str, ...], nodes: Mapping[str, Node], case: Case) -> Mutation:
    """Returns a mutation by which convolutions pad both sides by half the size of the kernel.

    PyTorch crops what a transposed convolution gives in this way: more at the start.
    """

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        node = graph.nodes[name]
        kernel = case.initial[variable_of(graph.nodes, node.data_inputs[1]) or ""]
        is_first = node.attributes.get("data_format") == "NCHW"
        sides = [(k // 2, k // 2) for k in kernel.shape[:2]]
        if node.op == _TRANSPOSED:
            strides = node.attributes["strides"][2:] if is_first else node.attributes["strides"][1:]
            more = [max(k - s, 0) for k, s in zip(kernel.shape[:2], strides)]
            sides = [(n - n // 2, n // 2) for n in more]
        pairs = [(0, 0), (0, 0), *sides] if is_first else [(0, 0), *sides, (0, 0)]
        padding = {"padding": "EXPLICIT", "explicit_paddings": [n for pair in pairs for n in pair]}
        return graph_edits.with_attributes(graph, name, "padding", padding)

    is_transposed = nodes[places[0]].op == _TRANSPOSED
    words = "the start more than the end" if is_transposed else "both sides alike"
    return graph_mutation("padding", places, words, change)


def _other_networks(case: Case, nodes: Dict[str, Node]) -> Iterator[Mutation]:
    """Yields edits by which all variables of a scope take the place of those of another one."""
    scopes: Dict[str, Dict[str, str]] = {}
    for name in case.weights:
        parts = name.split("/")
        for depth in range(1, len(parts)):
            scopes.setdefault("/".join(parts[:depth]), {})["/".join(parts[depth:])] = name
    read = {
        scope: own
        for scope, own in scopes.items()
        if len(own) > 1 and all(case.weights[name] in nodes for name in own.values())
    }
    for one, other in itertools.permutations(read, 2):
        if _shapes(case, read[one]) == _shapes(case, read[other]):
            instead = {name: read[other][rest] for rest, name in read[one].items()}
            yield other_variables("variable of another", (one,), other, instead)


def _shapes(case: Case, names: Dict[str, str]) -> Dict[str, Tuple[int, ...]]:
    """Returns the shapes of the variables of a scope, by the rest of their names."""
    return {rest: np.shape(case.initial[case.weights[name]]) for rest, name in names.items()}
