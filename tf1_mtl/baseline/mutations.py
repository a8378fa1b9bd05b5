"""Makes mutations: single edits of what a port computes, at the places of a recorded graph."""

import functools
import itertools
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline import catalogue, graph_edits, model_edits
from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.edits import Edit
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.graph_edits import elementwise
from tf1_mtl.baseline.model import Feeds, Model, updates_of
from tf1_mtl.baseline.places import groups_of, places_of, subsets
from tf1_mtl.baseline.recorded_graph import needed_nodes
from tf1_mtl.baseline.update_catalogue import Piece, program_of

MOST_BRANCHES = 24  #: of which the gradient is stopped
LARGEST_BATCH = 1000  #: elements that a loss is taken to sum, for the bound on its rounding


class Mutation(NamedTuple):
    """Holds an edit and the function that makes it in a model."""

    edit: Edit
    apply: Callable[[Model], Model]
    is_hidden: bool = False  #: whether the port trains variables that weights() does not return
    is_last: bool = False  #: whether it is made last: it changes what other edits put into a node
    slack: float = 0.0  #: rounding error of the loss beyond the usual bound


class Forward(NamedTuple):
    """Holds what explains the losses."""

    mutations: Tuple[Mutation, ...] = ()
    reports: Tuple[Edit, ...] = ()  #: edits of the losses that are returned, not of the training

    @property
    def edits(self) -> Tuple[Edit, ...]:
        """Returns all edits."""
        return (*(mutation.edit for mutation in self.mutations), *self.reports)

    @property
    def slack(self) -> float:
        """Returns the rounding error of the losses beyond the usual bound."""
        return sum(mutation.slack for mutation in self.mutations)

    def extended(self, *mutations: Mutation) -> "Forward":
        """Returns this with more mutations."""
        return self._replace(mutations=(*self.mutations, *mutations))

    def model(self, case: Case) -> Model:
        """Returns the model of a case with all mutations."""
        model = Model(case)
        for mutation in in_order(self.mutations):
            model = mutation.apply(model)
        return model


NOTHING = Forward()  #: the port computes what the graph computes


def in_order(mutations: Sequence[Mutation]) -> Tuple[Mutation, ...]:
    """Returns mutations in the order in which they are made."""
    return tuple(sorted(mutations, key=lambda mutation: mutation.is_last))


# Edits of feeds, layers and losses


def graph_mutation(kind: str, places: Tuple[str, ...], value: Any, change: Callable) -> Mutation:
    """Returns a mutation that changes the graph at each place that a graph has."""

    def apply(model: Model) -> Model:
        graph = model.graph
        for place in places:
            if place in graph.nodes:
                graph = change(graph, place)
        return model.with_graph(graph)

    return Mutation(Edit(kind, places, value), apply)


def _replacing(
    function: Optional[Callable[[Any], Any]], slope: Callable[[Any, Any], Any]
) -> Callable[[Any, str], Any]:
    """Returns a change for `graph_mutation` with the arguments of `replace_pointwise`."""
    return lambda graph, place: graph_edits.replace_pointwise(graph, place, function, slope)


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
                prefixes |= graph_edits.prefixes_of(graph, task.operations)
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
            changed = {x: np.asarray(function(y)).astype(np.float32) for x, y in given.items()}
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


def swap_mutation(one: str, other: str) -> Mutation:
    """Returns a mutation that swaps two feeds."""

    def apply(model: Model) -> Model:
        a, b = (model.case.feeds.get(name, "") for name in (one, other))

        def fed(index: int, feeds: Feeds) -> Feeds:
            return {**feeds, a: feeds[b], b: feeds[a]} if a in feeds and b in feeds else feeds

        return model.with_feeds(fed)

    return Mutation(Edit("feeds swapped", (one, other)), apply)


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


# Edits of gradients alone


def slope_mutation(places: Tuple[str, ...], slope: float) -> Mutation:
    """Returns a mutation that changes the gradient of a ReLU at exactly 0."""
    below = elementwise(lambda x: np.where(x == 0, slope, (x > 0) * 1.0))
    change = _replacing(None, lambda dy, x: dy * below(x))
    return graph_mutation("slope at zero", places, slope, change)


def straight_mutation(places: Tuple[str, ...]) -> Mutation:
    """Returns a mutation that passes the gradient through activations unchanged."""
    return graph_mutation("slope ignored", places, None, _replacing(None, lambda dy, x: dy))


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
                prefixes |= graph_edits.prefixes_of(model.graph, case.tasks[task].operations)
        if name not in model.graph.nodes:
            return model
        return model.with_graph(stop(model.graph, name, prefixes))

    return Mutation(Edit("gradient stopped", (place,)), apply)


def forward_mutations(case: Case, task: str) -> List[Mutation]:
    """Returns all known mutations of what a task computes, the likeliest first."""
    places = places_of(case, task)
    found: List[Mutation] = []
    for other in case.tasks:
        if other != task and case.tasks[other].loss:
            found.append(substitute_mutation(task, other, True, True))
            found.append(substitute_mutation(task, other, False, True))
    groups = groups_of(places.activations)
    for activation in catalogue.ACTIVATIONS:
        for group in groups:
            ops = {catalogue.ACTIVATION_OPS.get(case.graph.nodes[n].op, "") for n in group}
            if activation.name not in ops or activation.name == "leaky relu":
                found.append(activation_mutation(group, activation))
    for place in places.losses:
        found += [loss_mutation(place, loss) for loss in catalogue.LOSSES]
        found.append(norm_mutation(place))
    for one, other in _interchangeable(case):
        found.append(swap_mutation(one, other))
        found += [replaced_feed(one, other), replaced_feed(other, one)]
    for name in places.feeds:
        found += [scaled_feed((name,), v) for v in catalogue.FEED_FACTORS]
        found += [shifted_feed((name,), v) for v in catalogue.FEED_SHIFTS]
        found += [
            feed_mutation(e.kind, (name,), e.value, e.function)
            for e in catalogue.FEEDS
            if e.kind != "labels smoothed" or name != "X"
        ]
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
    for task, other in itertools.permutations(case.tasks, 2):
        yield substitute_mutation(task, other, True, False)
    for name in products:
        yield stop_mutation(name, case.tasks, name)
        if len(case.tasks) > 1:
            for task in case.tasks:
                yield stop_mutation(name, (task,), f"{task}/{name}")
    losses = [task.loss for task in case.tasks.values() if task.loss]
    ends = {name: None for loss in losses for name in graph_edits.branch_ends(case.graph, loss)}
    for name in list(ends)[:MOST_BRANCHES]:
        yield stop_mutation(name, case.tasks, name, graph_edits.stop_branch)
