"""Makes mutations of gradients that leave the losses as they are."""

import functools
import itertools
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import catalogue, graph_edits, model_edits
from tf1_mtl.baseline.diagnosis.averages import time_mutations
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.graph_edits import elementwise
from tf1_mtl.baseline.diagnosis.model import Model, updates_of
from tf1_mtl.baseline.diagnosis.mutation import Mutation, graph_mutation
from tf1_mtl.baseline.diagnosis.mutations import substitute_mutation
from tf1_mtl.baseline.diagnosis.node_mutations import forgotten
from tf1_mtl.baseline.diagnosis.normalization_mutations import (
    all_normalizations,
    detached_mutations,
    epsilon_mutations,
    variance_mutations,
)
from tf1_mtl.baseline.diagnosis.path_mutations import missing_stops
from tf1_mtl.baseline.diagnosis.places import groups_of, places_of, subsets
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.gradient_scopes import branch_ends, prefixes_of
from tf1_mtl.baseline.recorded_graph import Node, needed_nodes, node_and_output

MOST_BRANCHES = 24  #: of which the gradient is stopped


def backward_mutations(case: Case) -> Iterator[Mutation]:
    """Yields mutations of gradients that leave the losses as they are."""
    activations: Dict[str, None] = {}
    products: Dict[str, None] = {}
    for task in case.tasks:
        if case.tasks[task].loss:
            places = places_of(case, task)
            activations.update(dict.fromkeys(places.activations))
            products.update(dict.fromkeys(places.products))
    for group in subsets([n for n in activations if case.graph.nodes[n].op == "Relu"]):
        for slope in catalogue.SLOPES_AT_ZERO:
            yield slope_mutation(group, slope)
        yield straight_mutation(group)
    passed = [n for n in case.weights if model_edits.with_moved_weights(Model(case), [n]).moved]
    for group in groups_of(passed):
        yield moved_mutation(group)
    yield from clipping_mutations(case)
    yield from row_mutations(case)
    yield from variance_mutations(case)
    yield from time_mutations(case)
    # Where the loss is known to a thousandth, another epsilon may show in the gradients alone.
    yield from epsilon_mutations(case, all_normalizations(case))
    yield from detached_mutations(case)
    for task, other in itertools.permutations(case.tasks, 2):
        yield substitute_mutation(task, other, True, False)
    for name in products:
        yield stop_mutation(name, case.tasks, name)
        if len(case.tasks) > 1:
            for task in case.tasks:
                yield stop_mutation(name, (task,), f"{task}/{name}")
    yield from missing_stops(case)
    losses = [task.loss for task in case.tasks.values() if task.loss]
    ends = {name: None for loss in losses for name in branch_ends(case.graph, loss)}
    for name in list(ends)[:MOST_BRANCHES]:
        yield stop_mutation(name, case.tasks, name, graph_edits.stop_branch)


def slope_mutation(places: Tuple[str, ...], slope: float) -> Mutation:
    """Returns a mutation that changes the gradient of a ReLU at exactly 0."""
    below = elementwise(lambda x: np.where(x == 0, slope, (x > 0) * 1.0))
    return _with_slope("slope at zero", places, slope, lambda dy, x: dy * below(x))


def straight_mutation(places: Tuple[str, ...]) -> Mutation:
    """Returns a mutation that passes the gradient through activations unchanged."""
    return _with_slope("slope ignored", places, None, lambda dy, x: dy)


def _with_slope(kind: str, places: Tuple[str, ...], value: Any, slope: Callable) -> Mutation:
    change = functools.partial(graph_edits.replace_pointwise, function=None, slope=slope)
    return graph_mutation(kind, places, value, change)


def clipping_mutations(case: Case) -> Iterator[Mutation]:
    """Yields mutations of the gradients that the graph clips after its backward pass."""
    clipped = [
        name
        for task in case.tasks
        for name, update in updates_of(case, task).items()
        if model_edits.is_clipped(case.graph, update)
    ]
    for group in groups_of(tuple(dict.fromkeys(clipped)))[::-1]:
        edit = Edit("clipping missing", group)
        yield Mutation(edit, functools.partial(model_edits.without_clipping, names=group))
        edit = Edit("gradient missing", group)
        stop = functools.partial(model_edits.with_gradients, function=lambda g, w: g * 0.0)
        yield Mutation(edit, functools.partial(stop, names=group))


def row_mutations(case: Case) -> Iterator[Mutation]:
    """Yields mutations of sparse gradients that updates take."""
    nodes = case.graph.nodes
    rows: Dict[str, Dict[str, None]] = {}
    for task in case.tasks:
        for name, update in updates_of(case, task).items():
            before = node_and_output(update.node.data_inputs[update.gradient])[0]
            if update.indices is not None and nodes[before].op == "UnsortedSegmentSum":
                rows.setdefault(name, {})[before] = None
    for group in groups_of(tuple(rows)):
        yield rows_set(group, [place for name in group for place in rows[name]])


def rate_mutations(case: Case) -> Iterator[Mutation]:
    """Yields mutations of learning rates that follow from a step counter."""
    tensors = {
        update.node.data_inputs[update.hyper["rate"]]: None
        for task in case.tasks
        for update in updates_of(case, task).values()
        if "rate" in update.hyper
    }
    needed = needed_nodes(case.graph.nodes, tensors)
    counters = [name for name, node in needed.items() if _counts(node)]
    for name in (n for n, node in needed.items() if counters and node.op == "Floor"):
        yield forgotten((name,), 0)
    for shift, when in ((1, "early"), (-1, "late")) if counters else ():
        edit = Edit("schedule", tuple(case.tasks), f"that of the graph, one step {when}")
        shifted = functools.partial(_with_counters, counters=counters, needed=needed, shift=shift)
        yield Mutation(edit, shifted)


def _counts(node: Node) -> bool:
    """Returns whether an operation shows a step counter."""
    dtype = node.attributes.get("T") or node.attributes.get("dtype") or ""
    shows = node.op in ("Identity", "ReadVariableOp") or node.op.startswith("Placeholder")
    return shows and str(dtype).startswith("int")


def _with_counters(
    model: Model, counters: Sequence[str], needed: Mapping[str, Node], shift: int
) -> Model:
    """Adds a number to the counters from which rates follow."""
    shifted = {name: f"{name}/edited" for name in counters}
    changed = [graph_edits.edited(new, lambda x: x + shift, x) for x, new in shifted.items()]
    for name, node in needed.items():
        if name not in shifted and not shifted.keys().isdisjoint(node.inputs):
            inputs = tuple(shifted.get(x, x) for x in model.graph.nodes[name].inputs)
            changed.append(model.graph.nodes[name]._replace(inputs=inputs))
    return model.with_graph(graph_edits.with_nodes(model.graph, changed))


def rows_set(names: Tuple[str, ...], sums: Sequence[str]) -> Mutation:
    """Returns a mutation by which the last of several gradients of a row counts, not their sum.

    Args:
      names: Weights.
      sums: The operations that sum the gradients of each row of them.
    """

    def last(x: Any, places: Any, number: Any) -> Any:
        where = np.asarray(value_of(places), np.int64)

        def move(a: np.ndarray) -> np.ndarray:
            result = np.zeros((int(value_of(number)), *a.shape[1:]))
            result[where] = a
            return result

        return eb.structural(move, x)

    def apply(model: Model) -> Model:
        nodes = [model.graph.nodes[name] for name in sums]
        changed = [graph_edits.edited(node.name, last, *node.inputs) for node in nodes]
        return model.with_graph(graph_edits.with_nodes(model.graph, changed))

    return Mutation(Edit("rows set", names), apply)


def moved_mutation(names: Tuple[str, ...]) -> Mutation:
    """Returns a mutation that takes gradients through weights after their update."""
    return Mutation(
        Edit("gradients through moved weights", names),
        lambda model: model_edits.with_moved_weights(model, names),
    )


def stop_mutation(
    name: str, tasks: Iterable[str], place: str, stop: Callable = graph_edits.stop_gradient
) -> Mutation:
    """Returns a mutation that stops the gradient of some tasks at a node."""

    def apply(model: Model) -> Model:
        case, prefixes = model.case, set()
        for task in tasks:
            if task in case.tasks:
                prefixes |= prefixes_of(model.graph, case.tasks[task].operations)
        if name not in model.graph.nodes:
            return model
        return model.with_graph(stop(model.graph, name, prefixes))

    return Mutation(Edit("gradient stopped", (place,)), apply)
