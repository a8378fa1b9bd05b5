"""Makes mutations of feeds, layers and losses, at the places of a recorded graph."""

import functools
import itertools
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import catalogue, graph_edits, model_edits
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.graph_edits import elementwise
from tf1_mtl.baseline.diagnosis.model import Feeds, Model
from tf1_mtl.baseline.diagnosis.mutation import Mutation, graph_mutation
from tf1_mtl.baseline.diagnosis.places import alike, groups_of, places_of
from tf1_mtl.baseline.diagnosis.update_catalogue import Piece, program_of
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.gradient_scopes import prefixes_of
from tf1_mtl.baseline.recorded_graph import RecordedGraph, needed_nodes

LARGEST_BATCH = 1000  #: elements that a loss is taken to sum, for the bound on its rounding


def _replacing(function: Callable, slope: Callable) -> Callable[..., RecordedGraph]:
    """Returns a change for `graph_mutation` that replaces an operation of one input."""
    return functools.partial(graph_edits.replace_pointwise, function=function, slope=slope)


def activation_mutation(places: Tuple[str, ...], activation: catalogue.Activation) -> Mutation:
    """Returns a mutation that replaces activations, or removes them."""
    function, slope = elementwise(activation.function), elementwise(activation.slope)
    change = _replacing(function, lambda dy, x: dy * slope(x))
    if not activation.name:
        return graph_mutation("activation missing", places, None, change)
    return graph_mutation("other activation", places, activation.name, change)


def loss_mutation(place: str, loss: catalogue.Loss) -> Mutation:
    """Returns a mutation that replaces half the sum of squares by another loss."""
    function, slope = elementwise(loss.function, loss.rounding), elementwise(loss.slope)
    change = _replacing(lambda x: eb.total(function(x)), lambda dy, x: dy * slope(x))
    mutation = graph_mutation("other loss", (place,), loss.name, change)
    return mutation._replace(slack=LARGEST_BATCH * loss.rounding)


def norm_mutation(place: str) -> Mutation:
    """Returns a mutation that replaces half the sum of squares by the norm."""

    def norm(x: Any) -> Any:
        return eb.sqrt(eb.total(x * x))

    change = _replacing(norm, lambda dy, x: dy * x / (norm(x) + 1e-30))
    return graph_mutation("other loss", (place,), "norm", change)


#: Kinds of factors of a loss, with the divisor that the shape of its input gives.
DIVISORS: Dict[str, Callable[[Tuple[int, ...]], float]] = {
    "loss scaled": lambda shape: 1.0,
    "mean over outputs": lambda shape: float(np.prod(shape)) / 2,
    "mean over batch": lambda shape: float(shape[0] if shape else 1) / 2,
}


def scale_mutation(kind: str, place: str, value: float) -> Mutation:
    """Returns a mutation that multiplies a loss by a number over a divisor."""

    def change(graph: Any, name: str) -> Any:
        def scaled(y: Any, *x: Any) -> Any:
            return y * (value / DIVISORS[kind](np.shape(value_of(x[-1])) if x else ()))

        return graph_edits.edit_output(graph, name, scaled, scaled)

    return graph_mutation(kind, (place,), value, change)._replace(is_last=True)


def addend_mutation(total: str, addend: str, factor: float) -> Mutation:
    """Returns a mutation that multiplies one addend of a sum of losses by a number."""

    def apply(model: Model) -> Model:
        graph, case = model.graph, model.case
        if total not in graph.nodes:
            return model
        prefixes = set()
        for task in case.tasks.values():
            if task.loss and total in needed_nodes(graph.nodes, [task.loss]):
                prefixes |= prefixes_of(graph, task.operations)
        return model.with_graph(graph_edits.scale_addend(graph, total, addend, factor, prefixes))

    return Mutation(Edit("loss weight in the sum", (addend,), factor), apply, is_last=True)


def constant_mutation(places: Tuple[str, ...], value: float) -> Mutation:
    """Returns a mutation that gives constants another value."""

    def change(graph: Any, name: str) -> Any:
        return graph_edits.with_constant(graph, name, value)

    return graph_mutation("constant", places, value, change)


def product_mutation(places: Tuple[str, ...], name: str) -> Mutation:
    """Returns a mutation that rounds the operands of products to a precision, or results too."""
    operands, result = catalogue.PRODUCT_PRECISIONS[name]

    def change(graph: Any, place: str) -> Any:
        return graph_edits.round_products(graph, place, operands, result)

    mutation = graph_mutation("precision of products", places, name, change)
    return mutation._replace(is_hidden=operands is result)


def bias_mutation(places: Tuple[str, ...], start: float, pieces: Sequence[Piece]) -> Mutation:
    """Returns a mutation that adds biases. They are trained as the weights, but with the pieces."""
    program = program_of(pieces)

    def apply(model: Model) -> Model:
        for place in places:
            model = model_edits.with_bias(model, place, start, program)
        return model

    return Mutation(Edit("bias added", places), apply, is_hidden=True)


def penalty_mutation(names: Tuple[str, ...], factor: float, resting: bool = False) -> Mutation:
    """Returns a mutation that adds a penalty; see `model_edits.with_penalty`."""
    return Mutation(
        Edit("penalty in the loss", names, factor),
        lambda model: model_edits.with_penalty(model, names, factor, resting),
    )


def feed_mutation(
    kind: str, names: Tuple[str, ...], value: Any, function: Callable[[np.ndarray], np.ndarray]
) -> Mutation:
    """Returns a mutation that feeds what a function gives for each of these feeds."""

    def apply(model: Model) -> Model:
        tensors = {model.case.feeds[name] for name in names if name in model.case.feeds}

        def fed(index: int, feeds: Feeds) -> Feeds:
            given = {x: np.asarray(feeds[x], np.float64) for x in tensors.intersection(feeds)}
            dtypes = {x: bool if np.asarray(feeds[x]).dtype == bool else np.float32 for x in given}
            changed = {x: np.asarray(function(y)).astype(dtypes[x]) for x, y in given.items()}
            return {**feeds, **changed}

        return model.with_feeds(fed)

    return Mutation(Edit(kind, names, value), apply)


def scaled_feed(names: Tuple[str, ...], factor: float) -> Mutation:
    """Returns a mutation that multiplies feeds by a number."""
    return feed_mutation("feed scaled", names, factor, lambda x: x * factor)


def shifted_feed(names: Tuple[str, ...], shift: float) -> Mutation:
    """Returns a mutation that adds a number to feeds."""
    return feed_mutation("feed shifted", names, shift, lambda x: x + shift)


def leaky_mutation(places: Tuple[str, ...], slope: float) -> Mutation:
    """Returns a mutation that replaces activations by a leaky ReLU of this slope."""
    return activation_mutation(places, catalogue.leaky(slope))


def swap_mutation(*names: str) -> Mutation:
    """Returns a mutation that swaps feeds: the first with the second, and so on."""

    def apply(model: Model) -> Model:
        tensors = [model.case.feeds.get(name, "") for name in names]
        pairs = list(zip(tensors[::2], tensors[1::2]))

        def fed(index: int, feeds: Feeds) -> Feeds:
            known = [(a, b) for a, b in pairs if a in feeds and b in feeds]
            swapped = ({a: feeds[b], b: feeds[a]} for a, b in known)
            return functools.reduce(lambda x, y: {**x, **y}, swapped, feeds)

        return model.with_feeds(fed)

    return Mutation(Edit("feeds swapped", names), apply)


def replaced_feed(name: str, other: str) -> Mutation:
    """Returns a mutation by which one feed takes the place of another one too."""

    def apply(model: Model) -> Model:
        a, b = (model.case.feeds.get(x, "") for x in (name, other))
        return model.with_feeds(
            lambda index, feeds: {**feeds, a: feeds[b]} if a in feeds and b in feeds else feeds
        )

    return Mutation(Edit("feed of another", (name,), other), apply)


def stale_mutation() -> Mutation:
    """Returns a mutation that evaluates each run at the weights of the run before."""
    return Mutation(Edit("weights stale", ()), lambda model: model._replace(is_stale=True))


def earlier_mutation(which: str, names: Tuple[str, ...]) -> Mutation:
    """Returns a mutation that feeds what an earlier step was given."""

    def apply(model: Model) -> Model:
        steps = model.case.steps

        def source(index: int) -> int:
            if which == "run before":
                return max(index - 1, 0)
            same = [i for i in range(index + 1) if steps[i].task == steps[index].task]
            return same[0] if which == "first batch of the task" else same[max(len(same) - 2, 0)]

        return model.with_feeds(lambda index, feeds: {**feeds, **steps[source(index)].feeds})

    return Mutation(Edit("feed of an earlier step", names, None), apply)


def substitute_mutation(task: str, other: str, trains: bool, returns: bool) -> Mutation:
    """Returns a mutation by which one task trains on the loss of another task, or returns it."""

    def apply(model: Model) -> Model:
        if task not in model.case.tasks or other not in model.case.tasks:
            return model
        trained, returned = (other if trains else task), (other if returns else task)
        return model._replace(
            trains={**model.trains, task: trained}, returns={**model.returns, task: returned}
        )

    kind = "trains another task" if trains else "loss of another task"
    return Mutation(Edit(kind, (task,), other), apply)


def forward_mutations(case: Case, task: str) -> List[Mutation]:
    """Returns all known mutations of what a task computes, the likeliest first."""
    places = places_of(case, task)
    found: List[Mutation] = []
    for other in case.tasks:
        if other != task and case.tasks[other].loss:
            found.append(substitute_mutation(task, other, True, True))
            found.append(substitute_mutation(task, other, False, True))
    groups = groups_of(places.activations, case.graph.nodes)
    for activation in catalogue.ACTIVATIONS:
        for group in groups:
            ops = {catalogue.ACTIVATION_OPS.get(case.graph.nodes[n].op, "") for n in group}
            if activation.name not in ops or activation.name.startswith("leaky relu"):
                found.append(activation_mutation(group, activation))
    for place in places.losses:
        found += [loss_mutation(place, loss) for loss in catalogue.LOSSES]
        found.append(norm_mutation(place))
    for one, other in _interchangeable(case):
        found.append(swap_mutation(one, other))
        found += [replaced_feed(one, other), replaced_feed(other, one)]
    for group in _of_one_shape(case, places.feeds):
        for some in dict.fromkeys((*groups_of(group), *alike(group))):
            found.append(feed_mutation("feed always", some, 0, np.zeros_like))
        if len(group) > 2 and len(group) % 2 == 0:  # such as the two parts of each LSTM state
            found.append(swap_mutation(*group))
    for name in places.feeds:
        found += [scaled_feed((name,), v) for v in catalogue.FEED_FACTORS]
        found += [shifted_feed((name,), v) for v in catalogue.FEED_SHIFTS]
        found += [
            feed_mutation(e.kind, (name,), e.value, e.function)
            for e in catalogue.FEEDS
            if e.kind != "labels smoothed" or name != "X"
        ]
    for name in places.numbers:
        found += [feed_mutation(e.kind, (name,), e.value, e.function) for e in catalogue.NUMBERS]
        found += [scaled_feed((name,), v) for v in catalogue.FEED_FACTORS]
    for name in places.truths:
        found += [feed_mutation(e.kind, (name,), e.value, e.function) for e in catalogue.TRUTHS]
    found += [scaled_feed(places.labels, v) for v in catalogue.FEED_FACTORS]
    found += [
        feed_mutation(e.kind, places.labels, e.value, e.function)
        for e in catalogue.FEEDS
        if e.kind == "feed rounded"
    ]
    found += [earlier_mutation(which, tuple(case.feeds)) for which in catalogue.EARLIER]
    found.append(stale_mutation())
    for name, (operands, result) in catalogue.PRODUCT_PRECISIONS.items():
        groups = groups_of(places.products)
        if operands is result:  # a setting of the whole model
            groups = groups[-1:]
        found += [product_mutation(group, name) for group in groups]
    return found


def _interchangeable(case: Case) -> Iterator[Tuple[str, str]]:
    """Yields feeds that have the same type and shape in every step that is fed both."""
    for one, other in itertools.combinations(case.feeds, 2):
        a, b = case.feeds[one], case.feeds[other]
        fed = [
            (np.asarray(s.feeds[a]), np.asarray(s.feeds[b]))
            for s in case.steps
            if {a, b} <= s.feeds.keys()
        ]
        if fed and all(x.shape == y.shape and x.dtype == y.dtype for x, y in fed):
            yield one, other


def _of_one_shape(case: Case, names: Sequence[str]) -> Iterator[Tuple[str, ...]]:
    """Yields the feeds among some that can be interchanged, together; those of no other alone."""
    pairs, left = set(_interchangeable(case)), list(names)
    while left:
        group = tuple(x for x in left if x == left[0] or (left[0], x) in pairs)
        left = [name for name in left if name not in group]
        yield group
