"""Single edits of what a port computes, and the places of a graph where they can be made."""

import functools
import itertools
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline import catalogue, edits
from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.catalogue import Piece, program_of
from tf1_mtl.baseline.edits import Edit, elementwise
from tf1_mtl.baseline.recorded_graph import needed_nodes, node_and_output
from tf1_mtl.baseline.simulation import Model, model_of

LARGEST_BATCH = 1000  #: elements of the error of a loss, when rounding is judged


class Atom(NamedTuple):
    """One edit of a model."""

    edit: Edit
    apply: Callable[[Model], Model]
    is_hidden: bool = False  #: whether the loss depends on what the port trains beside the weights
    is_last: bool = False  #: whether it wraps what other edits of the same node replace
    slack: float = 0.0  #: rounding error that the loss may have beside what is usual


class Forward(NamedTuple):
    """What explains the losses."""

    atoms: Tuple[Atom, ...] = ()
    reports: Tuple[Edit, ...] = ()  #: what the port returns otherwise

    @property
    def edits(self) -> Tuple[Edit, ...]:
        return (*(atom.edit for atom in self.atoms), *self.reports)

    @property
    def slack(self) -> float:
        """Return the rounding error that the losses may have beside what is usual."""
        return sum(atom.slack for atom in self.atoms)

    def model(self, case: Case) -> Model:
        model = model_of(case)
        for atom in in_order(self.atoms):
            model = atom.apply(model)
        return model


def in_order(atoms: Sequence[Atom]) -> Tuple[Atom, ...]:
    """Return edits in the order in which they are made."""
    return tuple(sorted(atoms, key=lambda atom: atom.is_last))


# Edits of feeds, layers and losses


def _graph_atom(kind: str, places: Tuple[str, ...], value: Any, change: Callable) -> Atom:
    """Return an atom that changes the graph at each place that a graph has."""

    def apply(model: Model) -> Model:
        graph = model.graph
        for place in places:
            if place in graph.nodes:
                graph = change(graph, place)
        return model._replace(graph=graph)

    return Atom(Edit(kind, places, value), apply)


def activation_atom(places: Tuple[str, ...], activation: catalogue.Activation) -> Atom:
    function, slope = elementwise(activation.function), elementwise(activation.slope)

    def change(graph: Any, place: str) -> Any:
        return edits.replace_pointwise(graph, place, function, lambda dy, x: dy * slope(x))

    if not activation.name:
        return _graph_atom("activation missing", places, None, change)
    return _graph_atom("other activation", places, activation.name, change)


def loss_atom(place: str, loss: catalogue.Loss) -> Atom:
    function, slope = elementwise(loss.function, loss.rounding), elementwise(loss.slope)

    def change(graph: Any, place: str) -> Any:
        return edits.replace_pointwise(
            graph, place, lambda x: eb.total(function(x)), lambda dy, x: dy * slope(x)
        )

    atom = _graph_atom("other loss", (place,), loss.name, change)
    return atom._replace(slack=LARGEST_BATCH * loss.rounding)


def norm_atom(place: str) -> Atom:
    def norm(x: Any) -> Any:
        return eb.sqrt(eb.total(x * x))

    def change(graph: Any, place: str) -> Any:
        return edits.replace_pointwise(graph, place, norm, lambda dy, x: dy * x / (norm(x) + 1e-30))

    return _graph_atom("other loss", (place,), "norm", change)


#: Kinds of factors of a loss, with the divisor that the shape of its input gives.
DIVISORS: Dict[str, Callable[[Tuple[int, ...]], float]] = {
    "loss scaled": lambda shape: 1.0,
    "mean over outputs": lambda shape: float(np.prod(shape)) / 2,
    "mean over batch": lambda shape: float(shape[0] if shape else 1) / 2,
}


def scale_atom(kind: str, place: str, value: float) -> Atom:
    """Return an atom that multiplies a loss by a number over a divisor."""
    divisor = DIVISORS[kind]
    atom = _graph_atom(
        kind,
        (place,),
        value,
        lambda graph, name: edits.scale_output(graph, name, lambda shape: value / divisor(shape)),
    )
    return atom._replace(is_last=True)


def addend_atom(total: str, addend: str, factor: float) -> Atom:
    def apply(model: Model) -> Model:
        graph, case = model.graph, model.case
        if total not in graph.nodes:
            return model
        prefixes = set()
        for task in case.tasks.values():
            if task.loss and total in needed_nodes(graph.nodes, [task.loss]):
                prefixes |= edits.prefixes_of(graph, task.operations)
        return model._replace(graph=edits.scale_addend(graph, total, addend, factor, prefixes))

    return Atom(Edit("loss weight in the sum", (addend,), factor), apply, is_last=True)


def product_atom(places: Tuple[str, ...], name: str) -> Atom:
    rounding = catalogue.PRODUCT_PRECISIONS[name]
    return _graph_atom(
        "precision of products",
        places,
        name,
        lambda graph, place: edits.round_products(graph, place, rounding),
    )


def bias_atom(places: Tuple[str, ...], start: float, rule: Optional[Piece] = None) -> Atom:
    """Return an atom that adds biases; they are trained by the rule of the weights or another."""

    def apply(model: Model) -> Model:
        for place in places:
            model = edits.with_bias(model, place, start, rule and program_of([rule]))
        return model

    return Atom(Edit("bias added", places), apply, is_hidden=True)


def penalty_atom(names: Tuple[str, ...], factor: float, resting: bool = False) -> Atom:
    """Return an atom that adds a penalty; resting weights count in the loss too, if wanted."""
    return Atom(
        Edit("penalty in the loss", names, factor),
        lambda model: edits.with_penalty(model, names, factor, resting),
    )


def feed_atom(
    kind: str, names: Tuple[str, ...], value: Any, function: Callable[[np.ndarray], np.ndarray]
) -> Atom:
    def apply(model: Model) -> Model:
        tensors = [model.case.feeds[name] for name in names if name in model.case.feeds]

        def feed(case: Case, index: int) -> Dict[str, np.ndarray]:
            feeds = dict(model.feed(case, index) if model.feed else case.steps[index].feeds)
            for tensor in tensors:
                if tensor in feeds:
                    given = np.asarray(feeds[tensor], np.float64)
                    feeds[tensor] = np.asarray(function(given)).astype(np.float32)
            return feeds

        return model._replace(feed=feed)

    return Atom(Edit(kind, names, value), apply)


def scaled_feed(names: Tuple[str, ...], factor: float) -> Atom:
    return feed_atom("feed scaled", names, factor, lambda x: x * factor)


def shifted_feed(names: Tuple[str, ...], shift: float) -> Atom:
    return feed_atom("feed shifted", names, shift, lambda x: x + shift)


def leaky_atom(places: Tuple[str, ...], slope: float) -> Atom:
    return activation_atom(places, catalogue.leaky(slope))


def swap_atom(one: str, other: str) -> Atom:
    def apply(model: Model) -> Model:
        case = model.case
        if one not in case.feeds or other not in case.feeds:
            return model
        a, b = case.feeds[one], case.feeds[other]

        def feed(case: Case, index: int) -> Dict[str, np.ndarray]:
            feeds = model.feeds(index)
            if a in feeds and b in feeds:
                feeds[a], feeds[b] = feeds[b], feeds[a]
            return feeds

        return model._replace(feed=feed)

    return Atom(Edit("feeds swapped", (one, other)), apply)


def stale_atom() -> Atom:
    """Return an atom that evaluates each run at the weights of the run before."""
    return Atom(Edit("weights stale", ()), lambda model: model._replace(is_stale=True))


def earlier_atom(which: str, names: Tuple[str, ...]) -> Atom:
    """Return an atom that feeds what an earlier step was given."""

    def source(case: Case, index: int) -> int:
        if which == "run before":
            return max(index - 1, 0)
        task = case.steps[index].task
        same = [i for i in range(index + 1) if case.steps[i].task == task]
        return same[0] if which == "first batch of the task" else same[max(len(same) - 2, 0)]

    def apply(model: Model) -> Model:
        def feed(case: Case, index: int) -> Dict[str, np.ndarray]:
            earlier = case.steps[source(case, index)].feeds
            return {**case.steps[index].feeds, **earlier}

        return model._replace(feed=feed)

    return Atom(Edit("feed of an earlier step", names, None), apply)


def substitute_atom(task: str, other: str, trains: bool, returns: bool) -> Atom:
    """Return an atom by which a task trains on, or returns, the loss of another one."""

    def apply(model: Model) -> Model:
        if task not in model.case.tasks or other not in model.case.tasks:
            return model
        trained, returned = (other if trains else task), (other if returns else task)
        return model._replace(
            trains={**model.trains, task: trained}, returns={**model.returns, task: returned}
        )

    kind = "trains another task" if trains else "loss of another task"
    return Atom(Edit(kind, (task,), other), apply)


# Edits of gradients alone


def slope_atom(kind: str, places: Tuple[str, ...], slope: float) -> Atom:
    def derivative(x: np.ndarray) -> np.ndarray:
        return np.where(x == 0, slope, (x > 0) * 1.0)

    below = elementwise(derivative)
    return _derivative_atom(Edit(kind, places, slope), lambda dy, x: dy * below(x))


def straight_atom(places: Tuple[str, ...]) -> Atom:
    return _derivative_atom(Edit("slope ignored", places), lambda dy, x: dy)


def _derivative_atom(edit: Edit, below: Callable[[Any, Any], Any]) -> Atom:
    def apply(model: Model) -> Model:
        graph = model.graph
        for place in edit.places:
            if place in graph.nodes:
                graph = edits.replace_pointwise(graph, place, None, below)
        return model._replace(graph=graph)

    return Atom(edit, apply)


def clipping_atoms(case: Case) -> Iterator[Atom]:
    """Yield edits of gradients that a graph clips after its backward pass."""
    clipped = [
        name
        for task in case.tasks
        for name, update in edits.updates_of(case, case.graph, task).items()
        if edits.raw_gradient(case.graph, update) != update.node.data_inputs[update.gradient]
    ]
    for group in groups_of(tuple(dict.fromkeys(clipped)))[::-1]:
        edit = Edit("clipping missing", group)
        yield Atom(edit, functools.partial(edits.without_clipping, names=group))
        edit = Edit("gradient missing", group)
        change = functools.partial(edits.with_gradients, names=group, function=lambda g, w: g * 0.0)
        yield Atom(edit, change)


def moved_atom(names: Tuple[str, ...]) -> Atom:
    return Atom(
        Edit("gradients through moved weights", names),
        lambda model: edits.with_moved_weights(model, names),
    )


def stop_atom(name: str, tasks: Tuple[str, ...]) -> Atom:
    def apply(model: Model) -> Model:
        case, prefixes = model.case, set()
        for task in tasks:
            if task in case.tasks:
                prefixes |= edits.prefixes_of(model.graph, case.tasks[task].operations)
        if name not in model.graph.nodes:
            return model
        return model._replace(graph=edits.stop_gradient(model.graph, name, prefixes))

    places = (name,) if len(tasks) > 1 else (f"{tasks[0]}/{name}",)
    return Atom(Edit("gradient stopped", places), apply)


# Places


class Places(NamedTuple):
    """Where the graph of a task can be edited."""

    activations: Tuple[str, ...]
    losses: Tuple[str, ...]
    products: Tuple[str, ...]
    feeds: Tuple[str, ...]
    labels: Tuple[str, ...]
    weights: Tuple[str, ...]


def places_of(case: Case, task: str) -> Places:
    """Return where the graph of a task can be edited."""
    nodes = needed_nodes(case.graph.nodes, [case.tasks[task].loss])
    activations = tuple(n for n, x in nodes.items() if x.op in catalogue.ACTIVATION_OPS)
    losses = tuple(n for n, x in nodes.items() if x.op == "L2Loss")
    products = tuple(n for n, x in nodes.items() if x.op in edits.PRODUCTS)
    floats = {
        name
        for name, tensor in case.feeds.items()
        if any(
            np.asarray(s.feeds[tensor]).dtype.kind == "f" and np.ndim(s.feeds[tensor]) == 2
            for s in case.steps
            if tensor in s.feeds
        )
    }
    feeds = tuple(
        n for n, t in case.feeds.items() if n in floats and node_and_output(t)[0] in nodes
    )
    labels = tuple(n for n in case.feeds if n in floats)
    weights = tuple(n for n, v in case.weights.items() if v in nodes)
    return Places(activations, losses, products, feeds, labels, weights)


def subsets(names: Sequence[str]) -> List[Tuple[str, ...]]:
    """Return all names together, then fewer; at most 16 groups."""
    sizes = range(len(names), 0, -1)
    found = itertools.chain.from_iterable(itertools.combinations(names, k) for k in sizes)
    return list(itertools.islice(found, 16))


def groups_of(places: Sequence[str]) -> List[Tuple[str, ...]]:
    """Return each place alone, all of them, and the pairs of a few."""
    found: List[Tuple[str, ...]] = [(place,) for place in places]
    if 2 < len(places) <= 4:
        found += [(a, b) for i, a in enumerate(places) for b in places[i + 1 :]]
    if len(places) > 1:
        found.append(tuple(places))
    return found


def forward_atoms(case: Case, task: str) -> List[Atom]:
    """Return all known edits of what a task computes, the likeliest first."""
    places = places_of(case, task)
    found: List[Atom] = []
    for other in case.tasks:
        if other != task and case.tasks[other].loss:
            found.append(substitute_atom(task, other, True, True))
            found.append(substitute_atom(task, other, False, True))
    groups = groups_of(places.activations)
    for activation in catalogue.ACTIVATIONS:
        for group in groups:
            ops = {catalogue.ACTIVATION_OPS.get(case.graph.nodes[n].op, "") for n in group}
            if activation.name not in ops or activation.name == "leaky relu":
                found.append(activation_atom(group, activation))
    for place in places.losses:
        found += [loss_atom(place, loss) for loss in catalogue.LOSSES]
        found.append(norm_atom(place))
    for i, one in enumerate(places.labels):
        found += [swap_atom(one, other) for other in places.labels[i + 1 :]]
    for name in places.feeds:
        found += [scaled_feed((name,), v) for v in catalogue.FEED_FACTORS]
        found += [shifted_feed((name,), v) for v in catalogue.FEED_SHIFTS]
        found += [
            feed_atom(e.kind, (name,), e.value, e.function)
            for e in catalogue.FEEDS
            if e.kind in catalogue.WORDS and (e.kind != "labels smoothed" or name != "X")
        ]
    found += [scaled_feed(places.labels, v) for v in catalogue.FEED_FACTORS]
    found += [earlier_atom(which, tuple(case.feeds)) for which in catalogue.EARLIER]
    found.append(stale_atom())
    for name in catalogue.PRODUCT_PRECISIONS:
        found += [product_atom(group, name) for group in groups_of(places.products)]
    return found
