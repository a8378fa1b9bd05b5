"""Finds what a port does to feeds, layers and losses, from the losses that it returned.

The tasks are solved one after the other, those with few operations first, and what was found for
one is given to the next. So mistakes at several places are found in the sum of the times.
"""

import functools
import itertools
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
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
from tf1_mtl.baseline.error_bounds import UNIT, value_of
from tf1_mtl.baseline.evaluator import Plan
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_graph import needed_nodes, node_and_output
from tf1_mtl.baseline.simulation import DoesNotFit, Model, Trace, model_of
from tf1_mtl.errors import InputError

EQUAL_FORMULA_ULPS = 2
#: How far a search goes: one known edit in a task, with a factor of the loss, with a fitted
#: number, two edits at once.
ONE, FACTOR, FITTED, PAIRS = 0, 1, 2, 3
LEAST = 1e-12  #: a loss that is smaller is rounding
LARGEST_BATCH = 1000  #: elements of the error of a loss, when rounding is judged
MODELS = 500  #: that are kept
SAMPLES = 24  #: losses of a task that are compared


class Atom(NamedTuple):
    """One edit of a model."""

    edit: Edit
    apply: Callable[[Model], Model]
    is_hidden: bool = False  #: whether the loss depends on what the port trains beside the weights
    is_last: bool = False  #: whether it wraps what other edits of the same node replace
    slack: float = 0.0  #: rounding error that the loss may have beside what is usual


class Report(NamedTuple):
    """What a port returns in place of the loss of a task, trained on as it should be."""

    kind: str
    value: Any = None


class Sample(NamedTuple):
    """One observed loss."""

    run: int
    at: int
    observed: float
    tolerance: float  #: which leaves room for the rounding of an edited model
    sharp: float  #: error bound of a right port
    at_after: bool = False  #: whether it is the loss of the weights after the step

    def loosened(self, room: float) -> "Sample":
        """Return the sample with more room for another rounding."""
        return self._replace(tolerance=self.tolerance + room, sharp=self.sharp + room)


class Forward(NamedTuple):
    """What explains the losses."""

    atoms: Tuple[Atom, ...] = ()
    reports: Tuple[Edit, ...] = ()  #: what the port returns otherwise

    @property
    def edits(self) -> Tuple[Edit, ...]:
        return (*(atom.edit for atom in self.atoms), *self.reports)

    def model(self, case: Case) -> Model:
        model = model_of(case)
        for atom in in_order(self.atoms):
            model = atom.apply(model)
        return model


def in_order(atoms: Sequence[Atom]) -> Tuple[Atom, ...]:
    """Return edits in the order in which they are made."""
    return tuple(sorted(atoms, key=lambda atom: atom.is_last))


# Atoms, by the places of a graph


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


# The search


class ForwardSearch:
    """Searches what explains the losses of some runs."""

    def __init__(
        self,
        runs: Sequence[PortRun],
        tolerances: Sequence[Any],
        check_time: Callable[[], None],
    ) -> None:
        """Start a search.

        Args:
          runs: What the port did.
          tolerances: By run and step: the error bound of the loss, and those of the weights.
          check_time: Raises an exception when the time is up.
        """
        self.runs, self.tolerances, self.check_time = runs, tolerances, check_time
        self.tasks: Dict[str, Case] = {}
        for run in runs:
            for step in run.case.steps[: run.steps]:
                task = run.case.tasks[step.task]
                if task.loss:
                    self.tasks.setdefault(step.task, run.case)
        self._plans: Dict[Any, Plan] = {}
        self._models: Dict[Any, Model] = {}
        self._right_losses: Dict[Any, float] = {}
        self._known: Dict[Any, Tuple[bool, bool]] = {}
        self._atoms: Dict[str, List[Atom]] = {}
        self.first_steps_only = False  #: whether only the first step of each run is explained

    def model(self, atoms: Tuple[Atom, ...], case: Case) -> Model:
        """Return the model of a case with some edits; what was made before is kept."""
        if not atoms:
            return model_of(case)
        atoms = in_order(atoms)
        key = atoms, id(case)
        if key not in self._models:
            if len(self._models) > MODELS:
                self._models.clear()
            self._models[key] = atoms[-1].apply(self.model(atoms[:-1], case))
        return self._models[key]

    def samples(self, task: str) -> List[Sample]:
        """Return the observed losses of a task, of all runs in turn."""
        found: List[List[Sample]] = []
        for number, run in enumerate(self.runs):
            found.append(
                [
                    self._sample(number, i)
                    for i in range(1 if self.first_steps_only else run.steps)
                    if run.case.steps[i].task == task and np.isfinite(run.losses[i])
                ]
            )
        return _in_turn(found)[:SAMPLES]

    def _sample(self, run: int, index: int) -> Sample:
        observed, bound = self.runs[run].losses[index], self.tolerances[run][index][0]
        sharp = max(bound, EQUAL_FORMULA_ULPS * 2 * UNIT * abs(observed))
        tolerance = 3 * bound + 1e-5 * abs(observed) + LEAST
        return Sample(run, index, observed, tolerance, sharp)

    def predicted(self, forward: Forward, task: str, samples: Sequence[Sample]) -> np.ndarray:
        """Return the losses of a model for the samples; NaN where it cannot be evaluated."""
        return np.array([loss for loss, _ in self._predictions(forward, task, samples)])

    def _predictions(
        self, forward: Forward, task: str, samples: Sequence[Sample]
    ) -> Iterator[Tuple[float, float]]:
        """Yield the loss of a model for each sample, and the error of what it trains unseen."""
        self.check_time()
        hidden = any(atom.is_hidden for atom in forward.atoms)
        models: Dict[int, Any] = {}
        for sample in samples:
            run = self.runs[sample.run]
            if sample.run not in models:
                model = self.model(forward.atoms, run.case)
                models[sample.run] = Trace(model, run, bounds=True) if hidden else model
            try:
                if hidden:
                    loss = models[sample.run].step(sample.at).loss
                    yield float(value_of(loss)), 3 * float(np.max(eb.error_of(loss)))
                else:
                    yield self._loss(models[sample.run], run, task, sample), 0.0
            except DoesNotFit:
                yield np.nan, 0.0

    def _loss(self, model: Model, run: PortRun, task: str, sample: Sample) -> float:
        feeds = model.feeds(sample.at)
        trained = model.trains.get(task, task)
        loss = model.case.tasks[model.returns.get(task, trained)].loss
        key = id(model.graph), loss, tuple(feeds)
        if key not in self._plans or self._plans[key]._graph is not model.graph:
            self._plans[key] = Plan(model.graph, [loss], feeds)
        weights = (run.after if sample.at_after else run.before)[model.source(sample.at)]
        state = dict(model.case.initial)
        state.update({model.case.weights[k]: np.asarray(w) for k, w in weights.items()})
        return float(self._run(self._plans[key], feeds, state)[loss])

    def _run(self, plan: Plan, feeds: Dict[str, Any], state: Dict[str, Any]) -> Mapping[str, Any]:
        try:
            return plan.run(feeds, state, bounds=False).values
        except InputError as error:  # another task needs what this one is not fed
            raise DoesNotFit from error

    def levels(self) -> Iterator[Iterator[Forward]]:
        """Yield searches for what explains all losses, the quickest first."""
        tasks = sorted(self.tasks, key=self._size)
        yield self._search(tasks, Forward(), ONE)
        yield self._search(tasks, Forward(), FACTOR)
        yield self._with_bias(tasks)
        yield self._search(tasks, Forward(), FITTED)
        yield self._search(tasks, Forward(), PAIRS)

    def _with_bias(self, tasks: Sequence[str]) -> Iterator[Forward]:
        """Yield models with biases, which a port trains and does not show.

        A bias that starts at zero changes no loss of a first step. So these are explained first,
        and the biases are tried with what was found.
        """
        activations: Dict[str, None] = {}
        for task in tasks:
            activations.update(dict.fromkeys(self.places(task).activations))
        names = list(activations)
        groups = subsets(names)
        self.first_steps_only = True
        try:
            bases = list(itertools.islice(self._search(tasks, Forward(), ONE), 4))
        finally:
            self.first_steps_only = False
        for start in catalogue.BIAS_STARTS:
            for rule in catalogue.BIAS_RULES:
                for group in groups:
                    for base in bases if start == 0 else (Forward(),):
                        atoms = (bias_atom(group, start, rule), *base.atoms)
                        forward = base._replace(atoms=atoms)
                        if all(self._fits_few(forward, task) for task in tasks) and all(
                            self._fits(forward, task, self.samples(task)) for task in tasks
                        ):
                            yield forward

    def _fits_few(self, forward: Forward, task: str) -> bool:
        few = self._few(self.samples(task))
        return self._fits(forward, task, few)

    def _search(self, tasks: Sequence[str], forward: Forward, depth: int) -> Iterator[Forward]:
        if not tasks:
            yield forward
            return
        for solved in self._solved(forward, tasks[0], depth):
            yield from self._search(tasks[1:], solved, depth)

    def _size(self, task: str) -> int:
        case = self.tasks[task]
        return len(needed_nodes(case.graph.nodes, [case.tasks[task].loss]))

    def _solved(self, forward: Forward, task: str, depth: int) -> Iterator[Forward]:
        """Yield how a task is explained, given what explains those before it."""
        samples = self.samples(task)
        if not samples or self._fits(forward, task, samples):
            yield forward
            return
        rounded = _rounding_of(samples)
        if rounded:
            name, samples = rounded
            forward = self._reporting(forward, "loss rounded", task, name)
            if self._fits(forward, task, samples):
                yield forward
                return
        yield from self._scaled(forward, task, samples)
        variants = list(self._variants(task, samples))
        for kind, value, changed in variants:
            report = self._reporting(forward, kind, task, value)
            if self._fits(report, task, changed):
                yield report
        atoms = self.atoms(task)
        singles = [(atom,) for atom in atoms]
        yield from self._with_atoms(forward, task, samples, singles, depth >= FACTOR)
        yield from self._with_part(forward, task, samples)
        if depth >= FITTED:
            yield from self._fitted(forward, task, samples)
        for kind, value, changed in variants if depth >= FACTOR else ():
            report = self._reporting(forward, kind, task, value)
            yield from self._scaled(report, task, changed)
        if depth >= PAIRS:
            for kind, value, changed in variants[:1]:
                report = self._reporting(forward, kind, task, value)
                yield from self._with_atoms(report, task, changed, singles, True)
            pairs = [
                (a, b) for i, a in enumerate(atoms) for b in atoms[i + 1 :] if _compatible(a, b)
            ]
            yield from self._with_atoms(forward, task, samples, pairs, True)

    def _with_part(
        self, forward: Forward, task: str, samples: Sequence[Sample]
    ) -> Iterator[Forward]:
        """Yield that one addend of the loss is returned, where that explains the samples."""
        for name in self._addends(self._loss_node(forward, task), task):
            values = self._addend(forward, name, samples)
            if all(abs(v - s.observed) <= s.tolerance for v, s in zip(values, samples)):
                yield self._reporting(forward, "loss of another task", task, name)

    def _addends(self, total: str, task: str) -> List[str]:
        """Return the operations that a sum of losses adds; none where it is no such sum."""
        case = self.tasks[task]
        node = case.graph.nodes[total]
        if node.op not in ("Add", "AddV2", "AddN") or len(set(node.data_inputs)) < 2:
            return []
        addends = [node_and_output(x)[0] for x in node.data_inputs]
        return [] if any(self._is_constant(case, addend) for addend in addends) else addends

    def is_right(self, task: str) -> bool:
        """Return whether the losses of a task are those of TensorFlow."""
        return self._fits(Forward(), task, self.samples(task))

    def ratios(self, task: str) -> np.ndarray:
        """Return the losses of a task over those of TensorFlow."""
        samples = self.samples(task)
        found, _ = _ratios(self.predicted(Forward(), task, samples), samples)
        return found[~np.isnan(found)]

    def _reporting(self, forward: Forward, kind: str, task: str, value: Any) -> Forward:
        return forward._replace(reports=(*forward.reports, Edit(kind, (task,), value)))

    def _fits(self, forward: Forward, task: str, samples: Sequence[Sample]) -> bool:
        """Return whether a model explains all samples."""
        slack = sum(atom.slack for atom in forward.atoms)
        predictions = self._predictions(forward, task, samples)
        return bool(samples) and all(
            abs(sample.observed - predicted)
            <= slack
            + error
            + (sample.sharp if predicted == self._right_loss(task, sample) else sample.tolerance)
            for sample, (predicted, error) in zip(samples, predictions)
        )

    def _right_loss(self, task: str, sample: Sample) -> float:
        """Return the loss of a right port."""
        key = task, sample.run, sample.at, sample.at_after
        if key not in self._right_losses:
            self._right_losses[key] = self.predicted(Forward(), task, [sample])[0]
        return self._right_losses[key]

    def _with_atoms(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        candidates: Sequence[Tuple[Atom, ...]],
        factors: bool,
    ) -> Iterator[Forward]:
        """Yield the candidates that explain the samples, with a factor if that is allowed."""
        few, with_factor = self._few(samples), []
        for atoms in candidates:
            extended = forward._replace(atoms=(*forward.atoms, *atoms))
            may_fit, fits = self._compared(extended, task, samples, few)
            if fits:
                yield extended
            elif may_fit and factors:
                with_factor.append(extended)
        for extended in with_factor:
            yield from self._scaled(extended, task, samples)

    def _compared(
        self, forward: Forward, task: str, samples: Sequence[Sample], few: Sequence[Sample]
    ) -> Tuple[bool, bool]:
        """Return whether a model explains samples but for a factor, and whether it explains them.

        The quicker searches come first, and the others ask the same once more.
        """
        key = forward.atoms, task, tuple(samples)
        if key not in self._known:
            predicted = self.predicted(forward, task, few)
            may_fit = _may_fit(predicted, _with_slack(forward, few))
            self._known[key] = may_fit, may_fit and self._fits(forward, task, samples)
        return self._known[key]

    def _few(self, samples: Sequence[Sample]) -> List[Sample]:
        """Return some samples of one run, which a factor of the loss must fit alike."""
        by_run: Dict[int, List[Sample]] = {}
        for sample in samples:
            by_run.setdefault(sample.run, []).append(sample)

        def says(group: List[Sample]) -> float:
            sharpness = [abs(s.observed) / max(s.tolerance, 1e-300) for s in group[:4]]
            return min(len(group), 3) * 1e9 + min(sharpness)

        group = max(list(by_run.values()), key=says)
        return sorted(group, key=lambda s: s.at)[:4]

    def _scaled(self, forward: Forward, task: str, samples: Sequence[Sample]) -> Iterator[Forward]:
        """Yield the model with a factor of the loss, where one explains the samples."""
        samples = _with_slack(forward, samples)
        predicted = self.predicted(forward, task, samples)
        loss = self._loss_node(forward, task)
        yield from self._weighted(forward, task, samples)
        for kind, value in self._factors(forward, task, samples, predicted):
            scaled = forward._replace(atoms=(*forward.atoms, scale_atom(kind, loss, value)))
            if self._fits(scaled, task, samples):
                yield scaled

    def _loss_node(self, forward: Forward, task: str) -> str:
        case = self.tasks[task]
        model = self.model(forward.atoms, case)
        trained = model.trains.get(task, task)
        return node_and_output(case.tasks[model.returns.get(task, trained)].loss)[0]

    def _factors(
        self, forward: Forward, task: str, samples: Sequence[Sample], predicted: np.ndarray
    ) -> Iterator[Tuple[str, float]]:
        """Yield factors that the ratios of losses suggest."""
        ratios, errors = _ratios(predicted, samples)
        loss = self._loss_node(forward, task)
        for kind, divisor in DIVISORS.items():
            sizes = np.ones(len(samples))
            if kind != "loss scaled":
                if self.tasks[task].graph.nodes[loss].op != "L2Loss":
                    return
                sizes = np.array([divisor(self._shape(loss, s)) for s in samples])
            constant = _constant(ratios * sizes, errors * sizes)
            if constant is not None and abs(constant) > 1e-12:
                sharp = np.array([s.sharp / max(abs(s.observed), 1e-300) for s in samples])
                value = nice(constant, sharp * abs(constant) / 8)
                if (kind, value) != ("loss scaled", 1.0):
                    yield kind, value

    def _shape(self, loss: str, sample: Sample) -> Tuple[int, ...]:
        """Return the shape of the input of a loss operation."""
        case = self.runs[sample.run].case
        feeds = model_of(case).feeds(sample.at)
        x = case.graph.nodes[loss].data_inputs[0]
        key = id(case.graph), x, tuple(feeds)
        if key not in self._plans:
            self._plans[key] = Plan(case.graph, [x], feeds)
        values = self._plans[key].run(feeds, case.initial, bounds=False).values
        return tuple(np.shape(next(iter(values.values()))))

    def _weighted(self, forward: Forward, task: str, samples: Sequence[Sample]) -> List[Forward]:
        """Return the model with weights of the addends of a sum of losses that explain it."""
        total = self._loss_node(forward, task)
        addends = self._addends(total, task)
        if not addends:
            return []
        columns = [self._addend(forward, addend, samples) for addend in addends]
        tolerance = np.maximum([s.tolerance for s in samples], 1e-300)
        matrix = np.stack(columns, axis=1) / tolerance[:, None]
        observed = np.array([s.observed for s in samples]) / tolerance
        if not (np.isfinite(matrix).all() and len(samples) > len(addends)):
            return []
        weights = np.linalg.lstsq(matrix, observed, rcond=None)[0]
        values = [nice(float(w), np.array([1e-4])) for w in weights]
        atoms = [
            scale_atom("loss scaled", addend, value)
            if len(set(values)) == 1
            else addend_atom(total, addend, value)
            for addend, value in zip(addends, values)
            if value != 1
        ]
        weighted = forward._replace(atoms=(*forward.atoms, *atoms))
        if min(map(abs, values)) < 1e-6:
            return []  # the task trains on a part of its loss
        return [weighted] if atoms and self._fits(weighted, task, samples) else []

    def _is_constant(self, case: Case, name: str) -> bool:
        nodes = needed_nodes(case.graph.nodes, [name])
        return all(node.op == "Const" for node in nodes.values())

    def _addend(self, forward: Forward, name: str, samples: Sequence[Sample]) -> np.ndarray:
        """Return the values of one addend; NaN where it cannot be evaluated."""
        return np.array([self._value(forward, name, sample) for sample in samples])

    def _value(self, forward: Forward, name: str, sample: Sample) -> float:
        run = self.runs[sample.run]
        model = self.model(forward.atoms, run.case)
        weights = (run.after if sample.at_after else run.before)[model.source(sample.at)]
        state = {**run.case.initial, **model.hidden}
        state.update({run.case.weights[k]: np.asarray(w) for k, w in weights.items()})
        try:
            feeds = model.feeds(sample.at)
            return float(self._run(Plan(model.graph, [name], feeds), feeds, state)[name])
        except DoesNotFit:
            return np.nan

    def _variants(
        self, task: str, samples: Sequence[Sample]
    ) -> Iterator[Tuple[str, Any, List[Sample]]]:
        """Yield what the port may return in place of the loss, and the losses behind it."""
        after = [s._replace(at_after=True) for s in samples if s.at < len(self.runs[s.run].after)]
        yield "loss after the update", None, after
        for kind, value, behind in (
            ("loss late", None, _late),
            ("loss averaged", "running mean", _from_running_mean),
            ("loss averaged", "smoothed by 0.9", _from_smoothed),
        ):
            changed = []
            for sample in samples:
                run = self.runs[sample.run]
                found = behind(run.losses, sample.at)
                if found is not None:
                    factor = max(1.0, 2.0 * (sample.at + 1), 20.0 * (value is not None))
                    tolerance = sample.tolerance * factor
                    changed.append(
                        sample._replace(observed=found, tolerance=tolerance, sharp=tolerance)
                    )
            if len(changed) >= 2:
                yield kind, value, changed

    def _fitted(self, forward: Forward, task: str, samples: Sequence[Sample]) -> Iterator[Forward]:
        """Yield models with a number that no list names, fitted to the losses."""
        for family, low, high, signs in self._families(task):
            value = self._fit(forward, task, samples, family, low, high, signs)
            if value is not None:
                extended = forward._replace(atoms=(*forward.atoms, family(value)))
                if self._fits(extended, task, samples):
                    yield extended
        yield from self._penalized(forward, task, samples)

    def _penalized(self, forward: Forward, task: str, samples: Sequence[Sample]) -> List[Forward]:
        """Return models with squares of weights in the loss, the closest first."""
        tolerance = np.maximum([s.tolerance for s in samples], 1e-300)
        rest = np.array([s.observed for s in samples]) - self.predicted(forward, task, samples)
        if not np.isfinite(rest).all():
            return []
        groups = [(group, False) for group in groups_of(self.places(task).weights)]
        fitting = []
        for group, resting in (*groups, (tuple(self.tasks[task].weights), True)):
            squares = np.array([self._squares(group, sample) for sample in samples])
            scaled = squares / tolerance
            factor = float((scaled * rest / tolerance).sum() / (scaled**2).sum())
            error = 3 / np.sqrt((scaled**2).sum())
            atom = penalty_atom(group, nice(factor, np.array([error])), resting)
            extended = forward._replace(atoms=(*forward.atoms, atom))
            if abs(factor) > error and self._fits(extended, task, samples):
                off = np.abs(scaled * factor - rest / tolerance)
                fitting.append((float(off.max()), extended))
        return [extended for _, extended in sorted(fitting, key=lambda found: found[0])]

    def _squares(self, names: Sequence[str], sample: Sample) -> float:
        weights = self.runs[sample.run].before[sample.at]
        return sum(float((weights[name].astype(np.float64) ** 2).sum()) for name in names) / 2

    def _fit(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        family: Callable[[float], Atom],
        low: float,
        high: float,
        signs: Tuple[int, ...],
    ) -> Optional[float]:
        """Return the number for which the first samples come out right."""
        right = self.predicted(forward, task, samples[:8])
        sample = max(
            zip(samples, right),
            key=lambda pair: abs(pair[0].observed - pair[1]) / max(pair[0].tolerance, 1e-300),
        )[0]

        def off(value: float) -> float:
            atom = family(value)
            extended = forward._replace(atoms=(*forward.atoms, atom))
            return float(self.predicted(extended, task, [sample])[0]) - sample.observed

        for sign in signs:
            grid = sign * np.geomspace(low, high, 25)
            values = [off(v) for v in grid]
            for i in range(len(grid) - 1):
                if not (np.isfinite(values[i]) and np.isfinite(values[i + 1])):
                    continue
                if values[i] * values[i + 1] > 0:
                    continue
                a, b, at_a = grid[i], grid[i + 1], values[i]
                for _ in range(45):
                    middle = (a + b) / 2
                    at = off(middle)
                    if at_a * at <= 0:
                        b = middle
                    else:
                        a, at_a = middle, at
                for digits in (1, 2, 3, 4, 6):
                    value = float(f"{(a + b) / 2:.{digits}g}")
                    extended = forward._replace(atoms=(*forward.atoms, family(value)))
                    if value != 1.0 and self._fits(extended, task, samples[:6]):
                        return value
        return None

    def _families(
        self, task: str
    ) -> Iterator[Tuple[Callable[[float], Atom], float, float, Tuple[int, ...]]]:
        places, signs = self.places(task), (1, -1)
        for name in places.feeds:
            yield functools.partial(scaled_feed, (name,)), 1e-3, 1e3, signs
            yield functools.partial(shifted_feed, (name,)), 1e-3, 1e3, signs
        for group in groups_of(places.activations):
            yield functools.partial(leaky_atom, group), 1e-3, 0.99, signs

    def places(self, task: str) -> "Places":
        """Return where the graph of a task can be edited."""
        return places_of(self.tasks[task], task)

    def atoms(self, task: str) -> List[Atom]:
        """Return all known edits of what a task computes, the likeliest first."""
        if task not in self._atoms:
            self._atoms[task] = self._all_atoms(task)
        return self._atoms[task]

    def _all_atoms(self, task: str) -> List[Atom]:
        places, case = self.places(task), self.tasks[task]
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


def _compatible(a: Atom, b: Atom) -> bool:
    """Return whether two edits may both be made, and need be tried together."""
    if a.edit.kind == b.edit.kind and set(a.edit.places) & set(b.edit.places):
        return False
    rare = {"precision of products", "penalty in the loss", "feed of an earlier step"}
    if a.edit.kind in rare or b.edit.kind in rare or len(a.edit.places) + len(b.edit.places) > 3:
        return False
    return not (a.is_hidden and b.is_hidden)


# Comparing losses


def _in_turn(lists: Sequence[List[Sample]]) -> List[Sample]:
    """Return the first of each list, then the second of each, and so on."""
    longest = max(map(len, lists), default=0)
    return [one[i] for i in range(longest) for one in lists if i < len(one)]


def _with_slack(forward: Forward, samples: Sequence[Sample]) -> List[Sample]:
    """Return samples with room for the rounding of the edits of a model."""
    slack = sum(atom.slack for atom in forward.atoms)
    return [s._replace(tolerance=s.tolerance + slack) for s in samples]


def _may_fit(predicted: np.ndarray, samples: Sequence[Sample]) -> bool:
    """Return whether samples of one run are right but for a factor."""
    if not np.isfinite(predicted).all():
        return False
    ratios, errors = _ratios(predicted, samples)
    return len(samples) < 2 or _constant(ratios, errors) is not None


def _ratios(predicted: np.ndarray, samples: Sequence[Sample]) -> Tuple[np.ndarray, np.ndarray]:
    """Return observed / predicted with errors; NaN where the numbers say nothing."""
    observed = np.array([s.observed for s in samples])
    tolerance = np.array([s.tolerance for s in samples])
    with np.errstate(all="ignore"):
        ratios = observed / predicted
        errors = tolerance / np.abs(predicted) + 2e-6 * np.abs(ratios)
    nothing = (np.abs(predicted) <= tolerance) & (np.abs(observed) <= tolerance)
    return np.where(nothing, np.nan, ratios), errors


def _constant(ratios: np.ndarray, errors: np.ndarray) -> Optional[float]:
    """Return the ratio that all have in common, or None."""
    known = ~np.isnan(ratios)
    if not known.any() or not np.isfinite(ratios[known]).all():
        return None
    weights = 1 / np.maximum(errors[known], 1e-300)
    best = float((ratios[known] * weights).sum() / weights.sum())
    return best if np.all(np.abs(ratios[known] - best) <= 2 * errors[known]) else None


def nice(value: float, errors: np.ndarray) -> float:
    """Return the shortest decimal that is within the error of a number."""
    room = float(np.nanmin(errors)) if np.size(errors) else 0.0
    for digits in range(1, 9):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= max(2 * room, 3e-7 * abs(value)):
            return short
    return value


def _rounding_of(samples: Sequence[Sample]) -> Optional[Tuple[str, List[Sample]]]:
    """Return to what all losses are rounded, and the samples with room for it."""
    observed = np.array([s.observed for s in samples])
    if len(samples) < 4:
        return None
    for digits in (0, 1, 2, 3):
        unit = 10.0**-digits
        if np.all(np.abs(observed - np.round(observed, digits)) <= 1e-7 * np.abs(observed)):
            small = np.abs(observed) < 2**23 * unit
            if small.sum() >= 3 and len(set(observed[small] % 1)) > (1 if digits else 0):
                name = f"{digits} decimals" if digits else "integers"
                room = unit if not digits else unit / 2 * 1.01
                return name, [s.loosened(room) for s in samples]
    for name in ("float16", "bfloat16"):
        with np.errstate(over="ignore"):
            rounded = catalogue.PRECISIONS[name](observed)
        finite = np.isfinite(rounded)
        if finite.sum() >= 3 and np.all(rounded[finite] == observed[finite]):
            unit, least = (2.0**-11, 2.0**-25) if name == "float16" else (2.0**-8, 0.0)
            return name, [s.loosened(1.01 * max(unit * abs(s.observed), least)) for s in samples]
    return None


def _late(losses: Sequence[float], index: int) -> Optional[float]:
    return losses[index + 1] if index + 1 < len(losses) else None


def _from_running_mean(losses: Sequence[float], index: int) -> Optional[float]:
    if not index:
        return losses[0]
    return (index + 1) * losses[index] - index * losses[index - 1]


def _from_smoothed(losses: Sequence[float], index: int) -> Optional[float]:
    return (losses[index] - 0.9 * losses[index - 1]) / 0.1 if index else losses[0]
