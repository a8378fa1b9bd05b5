"""Makes mutations of the ways of tensors and their gradients.

An operation may take another tensor, such as the one before an activation that others take. A
gradient may pass a `StopGradient` of the graph.
"""

import collections
import functools
from typing import AbstractSet, Callable, Dict, FrozenSet, Iterator, List, Mapping, Sequence, Tuple

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import catalogue
from tf1_mtl.baseline.diagnosis.edits import Edit, listed
from tf1_mtl.baseline.diagnosis.graph_edits import edited, free_name, is_of_input, with_nodes
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, Model, updates_of
from tf1_mtl.baseline.diagnosis.model_edits import has_gradient, with_more_gradient
from tf1_mtl.baseline.diagnosis.mutation import Mutation
from tf1_mtl.baseline.diagnosis.node_mutations import FACTORS
from tf1_mtl.baseline.diagnosis.passed_gradients import PassedGradients
from tf1_mtl.baseline.diagnosis.places import (
    groups_of,
    is_layer,
    last_parts,
    near_the_loss,
    subsets,
    without_numbers,
)
from tf1_mtl.baseline.gradient_scopes import GRADIENTS, gradient_scopes
from tf1_mtl.baseline.recorded_graph import Node, needed_nodes, node_and_output, variable_of

Shape = Tuple[int, ...]
Input = Tuple[str, int]  #: an operation, and the index of one of its inputs
MOST_COPIES = 4  #: of an operation, of which one may be taken in place of another one
MOST_OTHERS = 300  #: tensors that are tried in place of others


# Gradients that are not stopped


def missing_stops(case: Case) -> Iterator[Mutation]:
    """Yields mutations for the operations at which the gradients of losses stop."""
    losses = [task.loss for task in case.tasks.values() if task.loss]
    nodes = needed_nodes(case.graph.nodes, losses)
    stops = tuple(name for name, node in nodes.items() if node.op == "StopGradient")
    trained = _trained(case)
    for group in groups_of(stops):
        yield Mutation(
            Edit("stop missing", group),
            functools.partial(_passing, places=group, trained=trained),
        )


def _trained(case: Case) -> FrozenSet[str]:
    """Returns the variables that some task trains."""
    return frozenset(
        case.weights[name]
        for task in case.tasks
        for name, update in updates_of(case, task).items()
        if has_gradient(case.graph, update)
    )


def _passing(model: Model, places: Sequence[str], trained: AbstractSet[str]) -> Model:
    """Returns a model in which the gradient passes operations that stop it."""
    for place in places:
        if place not in model.graph.nodes:
            continue

        def way(passed: PassedGradients, place: str = place) -> None:
            gradient = passed.behind(place)
            if gradient:
                passed.pass_below(place, gradient)

        known = model.graph
        model = _with_passed(model, place, trained, way)
        if model.graph is known:
            raise DoesNotFit
    return model


def _with_passed(
    model: Model, label: str, trained: AbstractSet[str], way: Callable[[PassedGradients], None]
) -> Model:
    """Returns a model in which the gradients of each loss pass on another way.

    Args:
      model: The model.
      label: A part of the names of new nodes.
      trained: The variables that a task trains.
      way: Passes the gradients of one loss.

    Raises:
      DoesNotFit: See `PassedGradients`.
    """
    graph = model.graph
    prefixes = {match.group(1) for match in map(GRADIENTS.match, graph.nodes) if match}
    try:
        for prefix in sorted(prefixes):
            passed = PassedGradients(graph, prefix, label, trained)
            way(passed)
            changed, of_variables = passed.made()
            if changed:
                model = model.with_graph(with_nodes(model.graph, changed.values()))
            for variable, gradient in of_variables.items():
                model = with_more_gradient(model, variable, prefix, gradient)
    except RecursionError as error:
        raise DoesNotFit from error
    return model


# Tensors that are taken in place of others


def other_tensors(case: Case, task: str, shapes: Mapping[str, Shape]) -> Iterator[Mutation]:
    """Yields mutations by which an operation takes another tensor of the same shape.

    Args:
      case: The case.
      task: Whose loss needs the operations.
      shapes: Of what operations give, in a step of the task.
    """
    nodes = case.loss_nodes(task)
    fed = {node_and_output(tensor)[0] for tensor in case.feeds.values()}
    copies = collections.Counter(map(without_numbers, nodes))
    outputs = [
        name
        for name, shape in shapes.items()
        if name in fed
        or (name in nodes and shape and _is_output(nodes, nodes[name]))
        or (name in nodes and shape and _has_copies(copies, nodes[name]))
    ]
    takers = {name: _takers(case, nodes, name) for name in outputs}
    trained = _trained(case)
    for takes in (*_around_layers(nodes, takers), *_whole_tables(case, nodes)):
        yield other_tensor(takes, nodes, trained)
    needs = {name: needed_nodes(nodes, [name]) for name in outputs}
    count = 0
    for taken in outputs[::-1]:
        for other in outputs[::-1]:
            if other == taken or shapes[other] != shapes[taken]:
                continue
            are_outputs = all(x in fed or _is_output(nodes, nodes[x]) for x in (taken, other))
            if not are_outputs and without_numbers(taken) != without_numbers(other):
                continue
            for place, index in takers[taken]:
                if place in needs[other]:
                    continue
                if count == MOST_OTHERS:
                    return
                count += 1
                yield other_tensor({(place, index): other}, nodes, trained)


def _is_output(nodes: Mapping[str, Node], node: Node) -> bool:
    """Returns whether an operation gives what a layer gives, or joins or adds such tensors."""
    joins = ("ConcatV2", "Add", "AddV2")
    return node.op in (*catalogue.ACTIVATION_OPS, *joins) or is_layer(nodes, node)


def _has_copies(copies: Mapping[str, int], node: Node) -> bool:
    """Returns whether an operation has a few copies, such as one for each of two inputs."""
    return node.op in FACTORS and 1 < copies[without_numbers(node.name)] <= MOST_COPIES


def _takers(case: Case, nodes: Mapping[str, Node], name: str) -> List[Input]:
    """Returns the inputs of operations with gradients that take what an operation gives."""
    return [
        (user, index)
        for user, node in nodes.items()
        if gradient_scopes(case.graph, user)
        for index, x in enumerate(node.data_inputs)
        if x == name and node.data_inputs.count(x) == 1
    ]


def _around_layers(
    nodes: Mapping[str, Node], takers: Mapping[str, List[Input]]
) -> Iterator[Dict[Input, str]]:
    """Yields what takes the input of an activation, where others take its output; copies first."""
    found: Dict[Tuple[str, int, str], Dict[Input, str]] = {}
    for name, inputs in takers.items():
        if len(inputs) > 1 and nodes[name].op in catalogue.ACTIVATION_OPS:
            for place, index in inputs:
                key = last_parts(place), index, last_parts(name)
                found.setdefault(key, {})[place, index] = nodes[name].data_inputs[0]
    yield from (around for around in found.values() if len(around) > 1)
    yield from ({place: x} for around in found.values() for place, x in around.items())


def _whole_tables(case: Case, nodes: Mapping[str, Node]) -> Iterator[Dict[Input, str]]:
    """Yields squares of whole tables in place of some of their rows."""
    found: Dict[str, str] = {}
    for name in near_the_loss(nodes, lambda node: node.op in ("L2Loss", "Square")):
        rows = nodes[node_and_output(nodes[name].data_inputs[0])[0]]
        while rows.op == "Identity":
            rows = nodes[node_and_output(rows.data_inputs[0])[0]]
        table = variable_of(nodes, rows.data_inputs[0]) if "Gather" in rows.op else None
        if table in case.weights.values():
            found[name] = str(table)
    for group in subsets(list(found)):
        yield {(place, 0): found[place] for place in group}


def other_tensor(
    takes: Mapping[Input, str], nodes: Mapping[str, Node], trained: AbstractSet[str]
) -> Mutation:
    """Returns a mutation by which operations take other tensors.

    Args:
      takes: By the input of an operation, the tensor that it takes.
      nodes: Of the recorded graph.
      trained: The variables that a task trains.
    """

    def apply(model: Model) -> Model:
        for (place, index), tensor in takes.items():
            if place in model.graph.nodes:
                model = _taking(model, place, index, tensor, trained)
        return model

    inputs = sorted(takes)
    after = dict.fromkeys(takes[x] for x in inputs)
    before = dict.fromkeys(nodes[place].data_inputs[index] for place, index in inputs)
    value = f"{listed([*after])} in place of {listed([*before])}"
    return Mutation(Edit("other tensor", tuple(place for place, _ in inputs), value), apply)


def _taking(model: Model, place: str, index: int, tensor: str, trained: AbstractSet[str]) -> Model:
    """Returns a model in which an operation takes another tensor, which gets the gradient."""
    graph = model.graph
    node = graph.nodes[place]
    known = node.data_inputs[index]
    scopes = gradient_scopes(graph, place)
    taking = [graph.nodes[x] for x in (place, *(x for scope in scopes for x in scope.nodes))]
    taken = free_name(graph, f"{place}/taken")  # also of a resource, which is no tensor
    changed = {
        x.name: x._replace(inputs=tuple(taken if y == known else y for y in x.inputs))
        for x in taking
    }
    changed[taken] = edited(taken, lambda x: x, tensor)
    gradients: Dict[str, str] = {}
    for scope in scopes:
        for leaving in scope.leaving:
            if leaving not in graph.nodes:  # one of several outputs
                raise DoesNotFit
            if is_of_input(leaving, scope, index, node):
                inner = gradients[scope.prefix] = free_name(graph, f"{leaving}/before the edit")
                changed[inner] = changed[leaving]._replace(name=inner)
                changed[leaving] = edited(leaving, lambda x: x * 0.0, known)
    model = model.with_graph(with_nodes(graph, changed.values()))

    def way(passed: PassedGradients) -> None:
        if passed.prefix in gradients:
            passed.pass_below(node_and_output(tensor)[0], gradients[passed.prefix])

    return _with_passed(model, place, trained, way)
