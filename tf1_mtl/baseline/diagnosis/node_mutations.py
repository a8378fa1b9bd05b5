"""Makes mutations that the graph of any script allows: at an operation, or at an input of one.

An operation may be missing, scaled, or followed by an activation. An input of it may be left out.
"""

import functools
from typing import Any, Dict, Iterator, List, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import catalogue, graph_edits
from tf1_mtl.baseline.diagnosis.graph_edits import elementwise
from tf1_mtl.baseline.diagnosis.mutation import Mutation, graph_mutation
from tf1_mtl.baseline.diagnosis.places import (
    alike,
    is_constant,
    is_layer,
    is_number,
    near_the_loss,
    of_floats,
    without_numbers,
)
from tf1_mtl.baseline.gradient_scopes import gradient_scopes
from tf1_mtl.baseline.recorded_graph import SUMS, Node, node_and_output

#: Operations that a port may forget: the input takes the place of the output.
FORGETTABLE = (
    *("Square", "Sqrt", "Rsqrt", "Pow", "Exp", "Log", "Log1p", "Abs", "Neg", "Softmax"),
    *("Maximum", "Minimum", "LRN", "ReverseV2", "ReverseSequence", "Transpose"),
)
DIVISIONS = ("RealDiv", "Div", "DivNoNan")
FACTORS = ("Mul", *DIVISIONS)
ADDED = ("relu", "tanh", "sigmoid")  #: activations that a port may add
_ROOT = catalogue.Activation(
    "the square root",
    lambda x: np.sqrt(np.maximum(x, 0)),
    lambda x: 0.5 / np.sqrt(np.maximum(x, 1e-30)),
)
MOST_INPUTS = 4  #: of a sum, of which one is left out


def node_mutations(case: Case, task: str) -> Iterator[Mutation]:
    """Yields edits of the operations that a loss needs, those next to the loss first."""
    nodes = case.loss_nodes(task)
    yield from _forgotten_operations(case, nodes)
    for index in range(MOST_INPUTS):
        yield from _left_out_inputs(case, nodes, index)
    yield from _left_out_offsets(case, nodes)
    yield from _added_activations(case, nodes)
    taken = near_the_loss(nodes, lambda node: _subtracts_from_one(case, node))
    gates = dict.fromkeys(nodes[name].data_inputs[1] for name in taken)
    for places in alike([x for x in gates if x in nodes and gradient_scopes(case.graph, x)]):
        yield complement(places)


def _forgotten_operations(case: Case, nodes: Dict[str, Node]) -> Iterator[Mutation]:
    found = near_the_loss(nodes, lambda node: node.op in FORGETTABLE)
    for places in alike(found):
        for index in _inputs(case, nodes[places[0]])[:1]:
            yield forgotten(places, index)


def _left_out_inputs(case: Case, nodes: Dict[str, Node], index: int) -> Iterator[Mutation]:
    inputs = {
        name: nodes[name].data_inputs[index]
        for name in near_the_loss(
            nodes, lambda node: node.op in (*SUMS, "BiasAdd", *FACTORS) and of_floats(node)
        )
        if index in _inputs(case, nodes[name]) and len(nodes[name].data_inputs) > 1
    }
    for places in alike(
        list(inputs),
        inputs.__getitem__,
        lambda name: f"{without_numbers(inputs[name])} in {without_numbers(name)}",
    ):
        yield left_out(places, index, nodes)


def _left_out_offsets(case: Case, nodes: Dict[str, Node]) -> Iterator[Mutation]:
    """Yields edits by which whole numbers, such as rows of a table, are not shifted."""
    for name in near_the_loss(nodes, lambda node: node.op in SUMS and not of_floats(node)):
        is_shift = [is_number(case.graph, tensor) for tensor in nodes[name].data_inputs]
        if sum(is_shift) == 1 and len(is_shift) == 2:
            yield left_out((name,), is_shift.index(True), nodes)


def _added_activations(case: Case, nodes: Dict[str, Node]) -> Iterator[Mutation]:
    activations = [x for x in catalogue.ACTIVATIONS if x.name in ADDED]
    followed = {
        node_and_output(x)[0] for n in nodes.values() if _is_activation(n) for x in n.inputs
    }
    logits = {
        node_and_output(x)[0]
        for node in nodes.values()
        if "logistic_loss" in node.name
        for x in node.data_inputs
        if "logistic_loss" not in x
    }
    found = near_the_loss(
        nodes,
        lambda x: x.name in logits or (is_layer(case.graph.nodes, x) and x.name not in followed),
    )
    for places in alike(found, lambda name: (nodes[name].data_inputs or (name,))[-1]):
        yield from (added(places, activation) for activation in activations)
    reduced = near_the_loss(nodes, lambda node: node.op in ("Sum", "Mean") and of_floats(node))
    for places in alike(reduced):
        yield added(places, _ROOT)
    for places in alike(
        near_the_loss(nodes, lambda node: node.op in ("Square", "Pow") and of_floats(node))
    ):
        yield absolute(places)


def _subtracts_from_one(case: Case, node: Node) -> bool:
    if node.op != "Sub" or not of_floats(node):
        return False
    one = case.graph.nodes[node_and_output(node.data_inputs[0])[0]]
    return one.op == "Const" and bool(np.all(one.attributes["value"] == 1))


def divided(case: Case, task: str) -> List[Tuple[str, str]]:
    """Returns the operations that divide, and the tensors by which they do."""
    nodes = case.loss_nodes(task)
    found = near_the_loss(nodes, lambda node: node.op in DIVISIONS)
    return [(x, nodes[x].data_inputs[1]) for x in found if 1 in _inputs(case, nodes[x])]


def scalable(case: Case, task: str) -> List[str]:
    """Returns the operations whose output a port may multiply by a number."""
    nodes = case.loss_nodes(task)
    return near_the_loss(nodes, lambda node: bool(gradient_scopes(case.graph, node.name)))


def _inputs(case: Case, node: Node) -> List[int]:
    """Returns the indices of the inputs of an operation that are not constants."""
    return [
        index
        for index, tensor in enumerate(node.data_inputs)
        if node.data_inputs.count(tensor) == 1 and not is_constant(case.graph, tensor)
    ]


def _is_activation(node: Node) -> bool:
    return node.op in catalogue.ACTIVATION_OPS


def _same(x: Any, *_: Any) -> Any:
    return x


def _zero(x: Any, *_: Any) -> Any:
    return x * 0  # also of whole numbers


def _one(x: Any) -> Any:
    return x * 0.0 + 1.0


def forgotten(places: Tuple[str, ...], index: int) -> Mutation:
    """Returns a mutation by which operations give one of their inputs."""
    change = functools.partial(
        graph_edits.replace_pointwise, function=_same, slope=_same, index=index
    )
    return graph_mutation("operation missing", places, None, change)


def left_out(places: Tuple[str, ...], index: int, nodes: Dict[str, Node]) -> Mutation:
    """Returns a mutation by which an addend or a factor is left out."""
    function = _one if nodes[places[0]].op in FACTORS else _zero
    change = functools.partial(graph_edits.edit_input, index=index, function=function, slope=_zero)
    left = dict.fromkeys(nodes[name].data_inputs[index] for name in places)
    return graph_mutation("input left out", places, ", ".join(left), change)


def added(places: Tuple[str, ...], activation: catalogue.Activation) -> Mutation:
    """Returns a mutation by which an activation follows an operation."""
    function, slope = elementwise(activation.function), elementwise(activation.slope)
    change = functools.partial(
        graph_edits.edit_output,
        function=lambda y, *_: function(y),
        slope=lambda dy, y, *_: dy * slope(y),
    )
    return graph_mutation("activation added", places, activation.name, change)


def complement(places: Tuple[str, ...]) -> Mutation:
    """Returns a mutation by which operations give 1 minus what they gave."""
    change = functools.partial(
        graph_edits.edit_output, function=lambda y, *_: 1.0 - y, slope=lambda dy, *_: dy * -1.0
    )
    return graph_mutation("complement", places, None, change)


def absolute(places: Tuple[str, ...]) -> Mutation:
    """Returns a mutation by which operations give the absolute value in place of the square."""
    sign = elementwise(np.sign)
    change = functools.partial(
        graph_edits.replace_pointwise, function=elementwise(np.abs), slope=lambda g, x: g * sign(x)
    )
    return graph_mutation("other function", places, "the absolute value", change)


def divided_by(place: str, tensor: str, value: float) -> Mutation:
    """Returns a mutation that divides by a number in place of a tensor."""
    change = functools.partial(
        graph_edits.edit_input, index=1, function=lambda x: x * 0.0 + value, slope=_zero
    )
    return graph_mutation("divided by", (place,), (value, tensor), change)


def scaled(places: Tuple[str, ...], value: float) -> Mutation:
    """Returns a mutation that multiplies what operations give."""

    def times(y: Any, *_: Any) -> Any:
        return y * value

    change = functools.partial(graph_edits.edit_output, function=times, slope=times)
    return graph_mutation("output scaled", places, value, change)
