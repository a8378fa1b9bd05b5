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
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline import catalogue
from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.atoms import (
    DIVISORS,
    Atom,
    Forward,
    Places,
    addend_atom,
    bias_atom,
    forward_atoms,
    groups_of,
    in_order,
    leaky_atom,
    penalty_atom,
    places_of,
    scale_atom,
    scaled_feed,
    shifted_feed,
    subsets,
)
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.edits import Edit
from tf1_mtl.baseline.error_bounds import UNIT, value_of
from tf1_mtl.baseline.evaluator import Plan
from tf1_mtl.baseline.loss_comparison import (
    LEAST,
    Sample,
    common_ratio,
    from_running_mean,
    from_smoothed,
    in_turn,
    late,
    may_fit,
    nice,
    ratios_of,
    rounding_of,
    with_slack,
)
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_graph import needed_nodes, node_and_output
from tf1_mtl.baseline.simulation import DoesNotFit, Model, Trace, model_of
from tf1_mtl.errors import InputError

EQUAL_FORMULA_ULPS = 2
#: How far a search goes: one known edit in a task, with a factor of the loss, with a fitted
#: number, two edits at once.
ONE, FACTOR, FITTED, PAIRS = 0, 1, 2, 3
MODELS = 500  #: that are kept
SAMPLES = 24  #: losses of a task that are compared


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
        return in_turn(found)[:SAMPLES]

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

    def explanations(self, tasks: Sequence[str]) -> Iterator[Forward]:
        """Yield what explains the losses of some tasks by one edit or a factor of each."""
        return self._search(tasks, Forward(), FACTOR)

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
        rounded = rounding_of(samples)
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
        found, _ = ratios_of(self.predicted(Forward(), task, samples), samples)
        return found[~np.isnan(found)]

    def _reporting(self, forward: Forward, kind: str, task: str, value: Any) -> Forward:
        return forward._replace(reports=(*forward.reports, Edit(kind, (task,), value)))

    def _fits(self, forward: Forward, task: str, samples: Sequence[Sample]) -> bool:
        """Return whether a model explains all samples."""
        predictions = self._predictions(forward, task, samples)
        return bool(samples) and all(
            abs(sample.observed - predicted)
            <= forward.slack
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
            is_near, fits = self._compared(extended, task, samples, few)
            if fits:
                yield extended
            elif is_near and factors:
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
            # Two samples refute most models.
            is_near = all(
                may_fit(self.predicted(forward, task, part), with_slack(forward.slack, part))
                for part in (few[:2], few)
            )
            self._known[key] = is_near, is_near and self._fits(forward, task, samples)
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
        samples = with_slack(forward.slack, samples)
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
        ratios, errors = ratios_of(predicted, samples)
        loss = self._loss_node(forward, task)
        for kind, divisor in DIVISORS.items():
            sizes = np.ones(len(samples))
            if kind != "loss scaled":
                if self.tasks[task].graph.nodes[loss].op != "L2Loss":
                    return
                sizes = np.array([divisor(self._shape(loss, s)) for s in samples])
            constant = common_ratio(ratios * sizes, errors * sizes)
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
            ("loss late", None, late),
            ("loss averaged", "running mean", from_running_mean),
            ("loss averaged", "smoothed by 0.9", from_smoothed),
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
            self._atoms[task] = forward_atoms(self.tasks[task], task)
        return self._atoms[task]


def _compatible(a: Atom, b: Atom) -> bool:
    """Return whether two edits may both be made, and need be tried together."""
    if a.edit.kind == b.edit.kind and set(a.edit.places) & set(b.edit.places):
        return False
    rare = {"precision of products", "penalty in the loss", "feed of an earlier step"}
    if a.edit.kind in rare or b.edit.kind in rare or len(a.edit.places) + len(b.edit.places) > 3:
        return False
    return not (a.is_hidden and b.is_hidden)
