"""Makes mutations of batch normalization.

It may have another epsilon, average another variance, follow the activation, or stop the gradients
of its moments.
"""

from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence, Set, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import catalogue, graph_edits
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.graph_edits import elementwise
from tf1_mtl.baseline.diagnosis.model import Model, updates_of
from tf1_mtl.baseline.diagnosis.model_edits import has_gradient
from tf1_mtl.baseline.diagnosis.mutation import Mutation, graph_mutation
from tf1_mtl.baseline.diagnosis.places import alike, groups_of, is_layer, near_the_loss
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.gradient_scopes import gradient_scopes
from tf1_mtl.baseline.recorded_graph import Node, RecordedGraph, needed_nodes, node_and_output

EPSILONS = (1e-5, 1e-3, 1e-8, 1e-6, 1e-4, 1e-2, 1e-12)
NORMALIZATIONS = ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")


def is_normalization(node: Node) -> bool:
    """Returns whether an operation is a batch normalization."""
    return node.op in NORMALIZATIONS


def epsilon_mutations(case: Case, places: Sequence[str]) -> Iterator[Mutation]:
    """Yields edits of the epsilon of some batch normalizations."""
    known = [float(case.graph.nodes[name].attributes["epsilon"]) for name in places]
    for value in EPSILONS:
        if any(abs(epsilon / value - 1) > 1e-3 for epsilon in known):
            yield other_epsilon(tuple(places), value)


def all_normalizations(case: Case) -> List[str]:
    """Returns all batch normalizations of a graph."""
    return [name for name, node in case.graph.nodes.items() if is_normalization(node)]


def other_epsilon(places: Tuple[str, ...], value: float) -> Mutation:
    """Returns a mutation by which batch normalization has another epsilon."""

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        return graph_edits.with_attributes(graph, name, "epsilon", {"epsilon": value})

    return graph_mutation("epsilon", places, value, change)


def order_mutations(nodes: Mapping[str, Node]) -> Iterator[Mutation]:
    """Yields mutations by which activations come before the normalizations that they follow."""
    activations = near_the_loss(nodes, lambda node: node.op in catalogue.ACTIVATION_OPS)
    layers = {name: x for name in activations for x in _normalized(nodes, name)}
    for places in alike(list(layers)):
        yield activation_first({name: layers[name] for name in places}, nodes)


def _normalized(nodes: Mapping[str, Node], activation: str) -> Iterator[str]:
    """Yields the layer whose normalized output an activation takes, if it takes one."""
    waiting = list(nodes[activation].data_inputs)
    seen: Set[str] = set()
    layers: Set[str] = set()
    is_normalized = False
    while waiting:
        name = node_and_output(waiting.pop())[0]
        node = nodes[name]
        if is_layer(nodes, node):
            layers.add(name)
        elif name not in seen and (is_normalization(node) or node.op in _NORMALIZING):
            seen.add(name)
            is_normalized |= is_normalization(node) or node.op == "Mean"
            waiting += node.data_inputs[: 1 if is_normalization(node) else None]
    if is_normalized and len(layers) == 1:
        yield layers.pop()


#: Operations between a layer and an activation that normalize.
_NORMALIZING = (
    *("Add", "AddV2", "Sub", "Mul", "RealDiv", "Div", "Square", "SquaredDifference", "Mean"),
    *("Sqrt", "Rsqrt", "Pow", "Identity", "StopGradient", "Squeeze", "Switch", "Merge"),
)


def activation_first(layers: Mapping[str, str], nodes: Mapping[str, Node]) -> Mutation:
    """Returns a mutation by which activations follow layers before the layers are normalized.

    Args:
      layers: By activation, the layer whose normalized output it takes.
      nodes: Of the recorded graph.
    """

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        activation = catalogue.activation_of(nodes[name].op, nodes[name].attributes)
        function, slope = elementwise(activation.function), elementwise(activation.slope)
        graph = graph_edits.replace_pointwise(graph, name, lambda x: x, lambda dy, x: dy)
        return graph_edits.edit_output(
            graph, layers[name], lambda y, *_: function(y), lambda dy, y, *_: dy * slope(y)
        )

    return graph_mutation("activation first", tuple(layers), None, change)


def detached_mutations(case: Case) -> Iterator[Mutation]:
    """Yields mutations by which no gradient passes the moments of batches, those of all first."""
    losses = [task.loss for task in case.tasks.values() if task.loss]
    nodes = needed_nodes(case.graph.nodes, losses)
    fused = [x.name for x in nodes.values() if is_normalization(x) and _trains(x)]
    moments: Dict[str, Tuple[str, ...]] = {name: (name,) for name in fused}
    for node in nodes.values():
        if node.op == "Mean" and _op(case.graph, node) == "SquaredDifference":
            difference = nodes[node_and_output(node.data_inputs[0])[0]]
            mean = nodes[node_and_output(difference.data_inputs[1])[0]]
            while mean.op in ("StopGradient", "Identity"):
                mean = nodes[node_and_output(mean.data_inputs[0])[0]]
            if mean.op == "Mean" and mean.data_inputs[0] == difference.data_inputs[0]:
                moments[mean.name] = (mean.name, node.name)
    for group in groups_of(tuple(moments))[::-1]:
        yield detached({name: moments[name] for name in group})


def detached(moments: Mapping[str, Sequence[str]]) -> Mutation:
    """Returns a mutation by which no gradient passes the mean and variance of a batch.

    Args:
      moments: Batch normalizations as one operation, or means, with the operations that give both
        moments.
    """

    def change(graph: RecordedGraph, name: str) -> RecordedGraph:
        if is_normalization(graph.nodes[name]):  # moments that are known have no gradient
            inner = [x for scope in gradient_scopes(graph, name) for x in scope.nodes]
            return graph_edits.with_nodes(
                graph, [_with_known_moments(graph.nodes[x]) for x in inner]
            )
        for moment in moments[name]:
            graph = graph_edits.stop_branch(graph, moment, None)
        return graph

    return graph_mutation("moments detached", tuple(moments), None, change)


def _with_known_moments(node: Node) -> Node:
    is_gradient = node.op.startswith("FusedBatchNormGrad")
    known = {**node.attributes, "is_training": False}
    return node._replace(attributes=known) if is_gradient else node


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
            is_unbiased = is_normalization(before) and output == 2 and _trains(before)
            is_mean = before.op == "Mean" and _op(graph, before) == "SquaredDifference"
            if is_unbiased or is_mean:
                yield _Variance(difference.name, before.data_inputs[0], is_unbiased)
            elif name not in seen and before.op in ("Merge", "Identity", "Squeeze"):
                seen.add(name)
                waiting += before.data_inputs


def _trains(node: Node) -> bool:
    """Returns whether a batch normalization takes the moments of its input, not known ones."""
    return bool(node.attributes.get("is_training", True))


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
                n = np.size(value_of(x)) / np.size(value_of(variance))
                if n <= 1:
                    raise ValueError("the variance of one number has no other divisor")
                return variance * ((n - 1) / n if is_unbiased else n / (n - 1))

            node, taken = model.graph.nodes[difference], f"{difference}/edited variance"
            average, variance = node.data_inputs
            changed.append(graph_edits.edited(taken, other, variance, source))
            changed.append(node._replace(inputs=(average, taken, *node.inputs[2:])))
        return model.with_graph(graph_edits.with_nodes(model.graph, changed))

    divisor = "n" if found[names[0]].is_unbiased else "n - 1"
    return Mutation(Edit("other variance", names, divisor), apply)
