"""Finds which known mistakes explain what a port did.

The search goes stage by stage: what is shown, then losses, gradients, updates. Each stage is given
what was found before, so several mistakes are found in the sum of the times. A diagnosis is
accepted only if a port with these mistakes would be judged right in every case, by its own error
bounds. Where nothing fits, the diagnosis holds measurements.
"""

import contextlib
import itertools
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import catalogue, edits
from tf1_mtl.baseline.atoms import (
    DIVISORS,
    Atom,
    Forward,
    clipping_atoms,
    groups_of,
    moved_atom,
    places_of,
    slope_atom,
    stop_atom,
    straight_atom,
    subsets,
    substitute_atom,
)
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.edits import Edit
from tf1_mtl.baseline.error_bounds import UNIT, error_of, value_of
from tf1_mtl.baseline.forward_search import EQUAL_FORMULA_ULPS, ForwardSearch
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_graph import needed_nodes, node_and_output
from tf1_mtl.baseline.simulation import (
    DoesNotFit,
    Model,
    Parts,
    Trace,
    model_of,
    replay,
    replay_parts,
    tolerance_of,
)
from tf1_mtl.baseline.update_search import Updates, UpdateSearch

SECONDS = 8.0  #: of CPU time of its thread after which the search gives up
_ROUNDINGS = (catalogue.float16, catalogue.bfloat16)
STEPS = 40  #: of a case that are searched; a longer case is cut
ALTERNATIVES = 4  #: explanations of the losses that are followed


class Diagnosis(NamedTuple):
    """What a port does otherwise, as far as it is known."""

    edits: Tuple[Edit, ...] = ()  #: together they explain all that the port did
    measured: Tuple[str, ...] = ()  #: sentences, where no edits are known
    is_drift: bool = False  #: whether each step by itself is right, so that nothing can be searched
    note: str = ""  #: how the edits were found, where that is unusual

    @property
    def is_unknown(self) -> bool:
        """Return whether nothing explains what the port did."""
        return not (self.edits or self.is_drift)

    @property
    def ids(self) -> Tuple[str, ...]:
        """Return an identifier for each edit."""
        if self.is_drift:
            return ("drift",)
        return tuple(edit.kind.replace(" ", "-") for edit in self.edits)

    @property
    def lines(self) -> Tuple[str, ...]:
        """Return the lines of the report."""
        if self.is_drift:
            return (
                "diagnosis: drift: every step by itself is within its tolerance. Look for a "
                "hyper-parameter or a decay that is off by a little.",
            )
        if self.edits:
            return (
                "diagnosis: the recorded graph does the same with",
                *(f"  {kind}: {sentence(edit)}" for kind, edit in zip(self.ids, self.edits)),
                *([f"  {self.note}"] if self.note else ()),
            )
        found = "; measured:" if self.measured else "."
        return (
            f"diagnosis: no known mistake explains this{found}",
            *(f"  {line}" for line in self.measured),
        )

    def __str__(self) -> str:
        return "\n".join(self.lines)


def sentence(edit: Edit) -> str:
    """Return an edit in words."""
    value = f"{edit.value:.6g}" if isinstance(edit.value, float) else str(edit.value)
    return catalogue.WORDS[edit.kind].format(places=_listed(edit.places), value=value)


def _listed(places: Sequence[str]) -> str:
    return " and ".join([", ".join(places[:-1]), places[-1]] if len(places) > 1 else places)


def diagnose(runs: Sequence[PortRun], share: float = 1.0, factors_show: bool = True) -> Diagnosis:
    """Return what explains all that a port did.

    Args:
      runs: What the port did in each case. Every return had the right shape.
      share: Of the time limit.
      factors_show: Whether the gradients are small enough for a factor of the loss to show in the
        updates of Adam. If not, a factor is one of the loss, not of what is returned alone.
    """
    with np.errstate(all="ignore"):
        return _Search(runs, share, factors_show).diagnosis()


class OutOfTime(Exception):
    """The time of a search is up."""


class _Search:
    """The state of a diagnosis."""

    def __init__(self, runs: Sequence[PortRun], share: float, factors_show: bool) -> None:
        self.factors_show = factors_show
        cut = [_cut(run) for run in _with_all_tasks(runs)]
        cut = [run for run in cut if run.after]
        short = [run for run in cut if len(run.case.steps) <= 2 * STEPS]
        self.all, self.runs = cut, sorted(short or cut, key=lambda run: len(run.after))
        self.until = time.thread_time() + share * SECONDS
        self._shown: Tuple[Edit, ...] = ()  # what is wrong before the first step
        self._base: Any = None
        self._base_wrong = 0
        self._tolerances: Dict[int, Any] = {}

    def check_time(self) -> None:
        """Raise OutOfTime when the time is up."""
        if time.thread_time() > self.until:
            raise OutOfTime

    def diagnosis(self) -> Diagnosis:
        """Return the best explanation."""
        if not self.runs:
            return Diagnosis()
        shown = self._shown = self._initial()
        with contextlib.suppress(OutOfTime):
            for view in self._views():
                found = self._of_view(view)
                if found is not None:
                    return Diagnosis(_named(self.runs, (*shown, *view.edits, *found)))
        return Diagnosis(_named(self.runs, shown), () if shown else self._measured())

    def _initial(self) -> Tuple[Edit, ...]:
        """Return the weights that do not start where they were told to."""
        names: Dict[str, None] = {}
        for run in self.runs:
            for name, variable in run.case.weights.items():
                shown, initial = run.before[0][name], run.case.initial[variable]
                kept = [initial, *(round_to(initial) for round_to in _ROUNDINGS)]
                if not any(np.array_equal(shown, weight) for weight in kept):
                    names[name] = None
        return (Edit("initial weights", tuple(names)),) if names else ()

    def _views(self) -> Iterator["View"]:
        """Yield what the runs may have been, if weights() showed something else."""
        names = list(self.runs[0].case.weights)
        for group in (tuple(names), *((name,) for name in names)):
            if self._seem_late(group):
                changed = _changed(self.runs, _late, group)
                yield View((Edit("weights late", group),), changed)
        yield View((), self.runs)
        for group in (tuple(names[1:]), *((name,) for name in names)):
            changed = _changed(self.runs, _transposed, group)
            if changed is not None:
                yield View((Edit("weights transposed", group),), changed)

    def _seem_late(self, names: Sequence[str]) -> bool:
        """Return whether weights rest in each first step, and move later."""
        runs = [run for run in self.runs if len(run.after) > 1]
        return all(
            all(np.array_equal(run.before[0][n], run.after[0][n]) for run in runs)
            and any(not np.array_equal(run.after[0][n], run.after[-1][n]) for run in runs)
            for n in names
        )

    def _of_view(self, view: "View") -> Optional[Tuple[Edit, ...]]:
        tolerances = [tolerance_of(run) for run in view.runs]
        forward_search = ForwardSearch(view.runs, tolerances, self.check_time)
        if view.edits:
            # What is shown otherwise must leave nothing to explain.
            is_right = all(forward_search.is_right(task) for task in forward_search.tasks)
            search = self._search(view.runs, Forward(), tolerances)
            return () if is_right and not search.wrong else None
        in_turn = self._in_turn(view.runs, tolerances, forward_search)
        if in_turn is not None:
            return in_turn
        reported = self._of_some_reports(view.runs, tolerances, forward_search)
        if reported is not None:
            return reported
        followed: Dict[Tuple[Edit, ...], Forward] = {}
        for level in forward_search.levels():
            alternatives = []
            for forward in itertools.islice(level, ALTERNATIVES):
                if forward.edits in followed:
                    continue
                try:
                    search = self._search(view.runs, forward, tolerances)
                except DoesNotFit:
                    continue
                followed[forward.edits] = forward
                if not search.wrong:
                    accepted = self._as_reported(view.runs, forward, tolerances)
                    if accepted is None:
                        accepted = self._accepted(view.runs, forward, Updates({}, ()))
                    if accepted is not None:
                        return accepted
                alternatives.append((len(search.wrong), forward, search))
            alternatives.sort(key=lambda found: found[0])
            for _, forward, search in alternatives:
                found = self._of_forward(view.runs, forward, tolerances, search)
                if found is not None:
                    return found
            for _, forward, search in alternatives:
                found = self._first_accepted(view.runs, forward, search.deep())
                if found is not None:
                    return found
            if alternatives:
                break  # what explains all losses with less is not far off
        return None

    def _of_some_reports(
        self, runs: Sequence[PortRun], tolerances: Sequence[Any], search: ForwardSearch
    ) -> Optional[Tuple[Edit, ...]]:
        """Return the edits where a port trains as it should and some tasks return a factor more."""
        right = [task for task in search.tasks if search.is_right(task)]
        wrong = [task for task in search.tasks if task not in right]
        if not (self.factors_show and right and wrong):
            return None
        if self._search(runs, Forward(), tolerances).wrong:
            return None
        nodes = {node_and_output(search.tasks[t].tasks[t].loss)[0] for t in wrong}
        for forward in search.explanations(wrong):
            reported = _as_reported(forward)
            own = all(set(atom.edit.places) <= nodes for atom in forward.atoms)
            if reported is not None and own and not reported.atoms:
                accepted = self._accepted(runs, reported, Updates({}, ()), forward, right)
                if accepted is not None:
                    return accepted
        return None

    def _of_forward(
        self,
        runs: Sequence[PortRun],
        forward: Forward,
        tolerances: Sequence[Any],
        search: UpdateSearch,
    ) -> Optional[Tuple[Edit, ...]]:
        """Return the edits that explain the updates, together with those of the losses."""
        accepted = self._as_reported(runs, forward, tolerances)
        if accepted is None:
            accepted = self._first_accepted(runs, forward, search.quick())
        if accepted is None:
            accepted = self._of_backward(runs, forward, tolerances, search)
        if accepted is None:
            updates = itertools.chain(search.fitted(), search.combined())
            accepted = self._first_accepted(runs, forward, updates)
        return accepted or self._in_parts(runs, forward, tolerances, search)

    def _as_reported(
        self, runs: Sequence[PortRun], forward: Forward, tolerances: Sequence[Any]
    ) -> Optional[Tuple[Edit, ...]]:
        """Return the edits where factors of losses are returned, and not trained on."""
        reported = _as_reported(forward) if self.factors_show else None
        if reported is None or self._search(runs, reported, tolerances).wrong:
            return None
        return self._accepted(runs, reported, Updates({}, ()), forward)

    def _of_backward(
        self,
        runs: Sequence[PortRun],
        forward: Forward,
        tolerances: Sequence[Any],
        search: UpdateSearch,
    ) -> Optional[Tuple[Edit, ...]]:
        """Return edits of gradients that leave the losses as they are; what helps is kept."""
        wrong = len(search.wrong)
        few = self._telling(runs, search)
        helpful: Dict[Atom, int] = {}
        atoms = list(self._backward(runs))
        relus = max(
            (len(a.edit.places) for a in atoms if a.edit.kind == "slope at zero"), default=0
        )
        for atom in atoms:
            extended = forward._replace(atoms=(*forward.atoms, atom))
            kind, places = atom.edit.kind, atom.edit.places
            # Beside another optimizer neither makes an update right.
            if kind == "clipping missing" or (kind == "slope at zero" and len(places) == relus):
                search = self._search(runs, extended, tolerances)
                accepted = self._with_backward(runs, extended, search)
                if accepted is None and kind == "clipping missing":
                    accepted = self._first_accepted(runs, extended, search.fitted())
                if accepted is not None:
                    return accepted
            if not self._helps(few, extended, forward):
                continue
            try:
                search = self._search(runs, extended, tolerances)
            except DoesNotFit:
                continue
            left = len(search.wrong)
            if left < wrong:
                helpful[atom] = left
                accepted = self._with_backward(runs, extended, search)
                if accepted is not None:
                    return accepted
        # Several such edits: one after the other, as long as each makes more updates right.
        for atom in sorted(helpful, key=lambda atom: helpful[atom]):
            extended = forward._replace(atoms=(*forward.atoms, atom))
            search = self._search(runs, extended, tolerances)
            if len(search.wrong) < wrong:
                forward, wrong = extended, len(search.wrong)
                accepted = self._with_backward(runs, extended, search)
                if accepted is not None:
                    return accepted
        return None

    def _with_backward(
        self, runs: Sequence[PortRun], forward: Forward, search: UpdateSearch
    ) -> Optional[Tuple[Edit, ...]]:
        updates = search.quick() if search.wrong else iter([Updates({}, ())])
        return self._first_accepted(runs, forward, updates)

    def _first_accepted(
        self, runs: Sequence[PortRun], forward: Forward, candidates: Iterator[Updates]
    ) -> Optional[Tuple[Edit, ...]]:
        accepted = (self._accepted(runs, forward, updates) for updates in candidates)
        return next((found for found in accepted if found is not None), None)

    def _telling(self, runs: Sequence[PortRun], search: UpdateSearch) -> List[PortRun]:
        """Return, for each task with wrong updates, the shortest run in which they are wrong."""
        chosen: Dict[int, None] = {}
        for task in {task: None for task, _ in search.wrong}:
            for number in range(len(search.traces)):
                if any(t == task for t, _ in search.wrong_in(number)):
                    chosen[number] = None
                    break
        return [runs[number] for number in chosen]

    def _helps(self, few: Sequence[PortRun], extended: Forward, forward: Forward) -> bool:
        """Return whether an edit of gradients makes more updates right in a few runs."""

        def wrong(candidate: Forward) -> int:
            tolerances = self._few_tolerances(few)
            traces = [Trace(m, r) for m, r in _models(few, candidate)]
            return len(UpdateSearch(traces, tolerances, self.check_time).wrong)

        key = tuple(id(run) for run in few), forward
        if self._base != key:
            self._base, self._base_wrong = key, wrong(forward)
        try:
            return wrong(extended) < self._base_wrong
        except DoesNotFit:
            return False

    def _few_tolerances(self, few: Sequence[PortRun]) -> List[Any]:
        for run in few:
            if id(run) not in self._tolerances:
                self._tolerances[id(run)] = tolerance_of(run)
        return [self._tolerances[id(run)] for run in few]

    def _search(
        self, runs: Sequence[PortRun], forward: Forward, tolerances: Sequence[Any]
    ) -> UpdateSearch:
        models = list(_models(runs, forward))
        if forward.atoms:
            tolerances = [tolerance_of(run, model) for model, run in models]
        traces = [Trace(model, run) for model, run in models]
        return UpdateSearch(traces, tolerances, self.check_time)

    def _backward(self, runs: Sequence[PortRun]) -> Iterator[Atom]:
        """Yield edits of gradients that leave the losses as they are."""
        case = max((run.case for run in runs), key=lambda case: len(case.tasks))
        activations: Dict[str, None] = {}
        products: Dict[str, None] = {}
        for task in case.tasks:
            if case.tasks[task].loss:
                places = places_of(case, task)
                activations.update(dict.fromkeys(places.activations))
                products.update(dict.fromkeys(places.products))
        names = [n for n in activations if case.graph.nodes[n].op == "Relu"]
        for group in subsets(names):
            for slope in catalogue.SLOPES_AT_ZERO:
                yield slope_atom("slope at zero", group, slope)
            yield straight_atom(group)
        passed = tuple(
            n for n in case.weights if edits.with_moved_weights(model_of(case), [n]).moved
        )
        for group in groups_of(passed):
            yield moved_atom(group)
        yield from clipping_atoms(case)
        for task in case.tasks:
            for other in case.tasks:
                if task != other:
                    yield substitute_atom(task, other, True, False)
        for name in products:
            yield stop_atom(name, tuple(case.tasks))
            if len(case.tasks) > 1:
                for task in case.tasks:
                    yield stop_atom(name, (task,))

    def _in_parts(
        self,
        runs: Sequence[PortRun],
        forward: Forward,
        tolerances: Sequence[Any],
        search: UpdateSearch,
        wrong: Sequence[str] = (),
    ) -> Optional[Tuple[Edit, ...]]:
        """Return the edits where a port makes several updates in one step.

        Args:
          runs: What the port did.
          forward: What explains the losses, but for those of `wrong`.
          tolerances: Error bounds of the runs.
          search: Compares updates.
          wrong: Tasks that return the sum of the losses of their parts.
        """
        tasks = list({step.task: None for run in runs for step in run.case.steps})
        ways = [
            (edit, parts)
            for edit, parts in _ways_in_parts(runs, tasks)
            if not wrong or (edit.kind == "two steps" and edit.places == tuple(wrong))
        ]
        models = list(_models(runs, forward))
        for extra in [(), *((piece,) for piece in catalogue.USUAL)]:
            program = catalogue.program_of(extra)
            for edit, parts in ways:
                self.check_time()
                if all(
                    _parts_fit(Trace(m, r), parts, program, search, number, wrong)
                    for number, (m, r) in enumerate(models)
                    if set(tasks) <= set(r.case.tasks)
                ):
                    named = [Edit(k, tuple(tasks), v) for piece in extra for k, v in piece.edits]
                    return (*forward.edits, edit, *named)
        return None

    def _in_turn(
        self, runs: Sequence[PortRun], tolerances: Sequence[Any], search: ForwardSearch
    ) -> Optional[Tuple[Edit, ...]]:
        """Return the edits where a task trains on its parts in turn and adds their losses."""
        wrong = [task for task in search.tasks if not search.is_right(task)]
        if len(wrong) != 1 or len(search.tasks) < 3:
            return None
        updates = self._search(runs, Forward(), tolerances)
        return self._in_parts(runs, Forward(), tolerances, updates, wrong)

    def _accepted(
        self,
        runs: Sequence[PortRun],
        forward: Forward,
        updates: Updates,
        returned: Optional[Forward] = None,
        right: Sequence[str] = (),
    ) -> Optional[Tuple[Edit, ...]]:
        """Return all edits, if a port with them would be right in every case.

        Args:
          runs: What the port did.
          forward: What it trains on.
          updates: What its optimizers do.
          returned: What it returns the losses of, where that is something else.
          right: Tasks whose losses are known to be right.
        """
        found = (*forward.edits, *updates.edits)
        is_explained = (
            (found or self._shown)
            and all(self._explains_losses(run, returned or forward, right) for run in self.all)
            and all(_explains_updates(run, forward, updates) for run in self.all)
        )
        return found if is_explained else None

    def _explains_losses(self, run: PortRun, forward: Forward, right: Sequence[str]) -> bool:
        known = {*right, *(place for edit in forward.reports for place in edit.places)}
        trace = Trace(forward.model(run.case), run, bounds=True)
        for index in range(len(run.losses)):
            loss = trace.step(index).loss
            task = run.case.steps[index].task
            if loss is None or task in known:
                continue
            room = max(float(np.max(error_of(loss))), _ulps(value_of(loss)))
            if not abs(run.losses[index] - float(value_of(loss))) <= room:
                return False
        return True

    def _measured(self) -> Tuple[str, ...]:
        """Return what can be measured where nothing is known."""
        tolerances = [tolerance_of(run) for run in self.runs]
        self.until = float("inf")  # what is measured takes little
        search = ForwardSearch(self.runs, tolerances, self.check_time)
        lines = []
        for task in search.tasks:
            if search.is_right(task):
                continue
            ratios = search.ratios(task)
            if len(ratios) and np.isfinite(ratios).all():
                much = _range(ratios.min(), ratios.max())
                lines.append(f"loss of {task}: {much} of the loss of TensorFlow")
        updates = self._search(self.runs, Forward(), tolerances)
        for pair, right in updates.right().items():
            if not right:
                task, name = pair
                much = _range(*updates.lengths(pair))
                lines.append(f"updates of {name} in {task}: {much} of the length in TensorFlow")
        return tuple(lines)


def _range(low: float, high: float) -> str:
    return f"always {low:.6g}" if f"{low:.6g}" == f"{high:.6g}" else f"{low:.6g} to {high:.6g}"


class View(NamedTuple):
    """What the runs may have been."""

    edits: Tuple[Edit, ...]
    runs: Sequence[PortRun]


def _late(run: PortRun, names: Sequence[str]) -> Optional[PortRun]:
    """Return the run of a port whose weights are shown one step late."""
    number = len(run.after) - 1
    if number < 1:
        return None
    before = [dict(x) for x in run.before[:number]]
    after = [dict(x) for x in run.after[:number]]
    for index in range(number):
        for name in names:
            before[index][name] = run.after[index][name]
            after[index][name] = run.after[index + 1][name]
    return run._replace(before=before, after=after, losses=run.losses[:number])


def _transposed(run: PortRun, names: Sequence[str]) -> Optional[PortRun]:
    """Return the run of a port that uses square weights as their transpose."""
    square = [
        n
        for n in names
        if run.before[0][n].ndim == 2 and run.before[0][n].shape[0] == run.before[0][n].shape[1]
    ]

    def turned(weights: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        return {n: w.T if n in square else w for n, w in weights.items()}

    return run._replace(before=list(map(turned, run.before)), after=list(map(turned, run.after)))


def _changed(
    runs: Sequence[PortRun], function: Callable[..., Any], names: Sequence[str]
) -> Sequence[PortRun]:
    found = [function(run, names) for run in runs]
    return [run for run in found if run is not None]


def _with_all_tasks(runs: Sequence[PortRun]) -> Iterator[PortRun]:
    """Yield runs whose cases know also the tasks of the others that their graphs can train."""
    tasks = {name: task for run in runs for name, task in run.case.tasks.items()}
    for run in runs:
        case, nodes = run.case, run.case.graph.nodes
        more = {
            name: task
            for name, task in tasks.items()
            if all(node_and_output(n)[0] in nodes for n in (*task.operations, task.loss) if n)
        }
        yield run._replace(case=case._replace(tasks={**more, **case.tasks}))


def _cut(run: PortRun) -> PortRun:
    """Return the part of a run in which all is finite, or its first steps."""
    steps = len(run.after)
    for index in range(steps):
        finite = np.isfinite(run.losses[index]) and all(
            np.isfinite(w).all() for w in run.after[index].values()
        )
        if not finite:
            steps = index
            break
    if len(run.case.steps) > 2 * STEPS:
        steps = min(steps, STEPS)
    return run._replace(
        before=run.before[:steps], after=run.after[:steps], losses=run.losses[:steps]
    )


def _models(runs: Sequence[PortRun], forward: Forward) -> Iterator[Tuple[Model, PortRun]]:
    return ((forward.model(run.case), run) for run in runs)


def _as_reported(forward: Forward) -> Optional[Forward]:
    """Return factors of losses as what is returned only; None without a factor."""
    scaled = [atom for atom in forward.atoms if atom.edit.kind in DIVISORS]
    reports = [
        Edit("reported loss scaled", atom.edit.places, (atom.edit.kind, atom.edit.value))
        for atom in scaled
    ]
    atoms = tuple(atom for atom in forward.atoms if atom not in scaled)
    return Forward(atoms, (*forward.reports, *reports)) if scaled else None


def _ulps(value: Any) -> float:
    return EQUAL_FORMULA_ULPS * 2 * UNIT * float(np.max(np.abs(value)))


def _explains_updates(run: PortRun, forward: Forward, updates: Updates) -> bool:
    trace = Trace(forward.model(run.case), run, bounds=True)
    return all(_updates_fit(trace, name, updates) for name in run.case.weights)


def _updates_fit(trace: Trace, name: str, updates: Updates) -> bool:
    """Return whether all updates of a weight are within the bounds of the programs."""
    run = trace.run
    for moved in replay(trace, name, lambda task: updates.program(task, name)):
        before = run.before[moved.at][name].astype(np.float64)
        value, shown = value_of(moved.after), run.after[moved.at][name]
        step = np.abs(value - before)
        room = error_of(moved.after) + EQUAL_FORMULA_ULPS * 2 * UNIT * step + 1e-5 * step
        room = np.maximum(2 * room, 2 * UNIT * np.abs(before))
        rounding = updates.program(moved.task, name).rounding or _same_weights
        low, high = rounding(value - room), rounding(value + room)
        if not np.all((low <= shown) & (shown <= high)):
            return False
    return True


def _same_weights(weights: np.ndarray) -> np.ndarray:
    return weights


# Several updates in one step


def _ways_in_parts(
    runs: Sequence[PortRun], tasks: Sequence[str]
) -> Iterator[Tuple[Edit, Callable[[str], Parts]]]:
    """Yield ways of making several updates in one step, with their edits."""

    def only(chosen: Tuple[str, ...], parts: Callable[[str], Parts]) -> Callable[[str], Parts]:
        return lambda task: parts(task) if task in chosen else ((task, task, None),)

    def again(times: int) -> Callable[[str], Parts]:
        return lambda task: ((task, task, None),) * times

    def in_turn(order: Sequence[str], own: bool) -> Callable[[str], Parts]:
        return lambda task: tuple((part, part if own else task, None) for part in order)

    def first_then(first: Tuple[str, ...], then: Tuple[str, ...]) -> Callable[[str], Parts]:
        return lambda task: ((task, task, first), (task, task, then))

    groups = [tuple(tasks), *((task,) for task in tasks if len(tasks) > 1)]
    for group in groups:
        for times in (2, 3):
            yield Edit("step repeated", group, times), only(group, again(times))
    for task in tasks:
        others = [t for t in tasks if t != task]
        for order in itertools.permutations(others) if 1 < len(others) <= 3 else ():
            for own in (True, False):
                yield Edit("two steps", (task,)), only((task,), in_turn(order, own))
    names = tuple(runs[0].case.weights)
    firsts = [names[1:], names[:1], *((name,) for name in names[1:])]
    for first in dict.fromkeys(firsts):
        then = tuple(name for name in names if name not in first)
        if first and then:
            yield Edit("gradients after an update", first), first_then(first, then)


def _parts_fit(
    trace: Trace,
    parts: Callable[[str], Parts],
    program: Any,
    search: UpdateSearch,
    number: int,
    added: Sequence[str],
) -> bool:
    """Return whether a run is explained by several updates in each step.

    Args:
      trace: Losses and gradients of the run.
      parts: Gives the updates of a task.
      program: What the optimizers do.
      search: Compares updates.
      number: Of the run in the search.
      added: Tasks that return the sum of the losses of their parts.
    """
    run = trace.run
    try:
        for index, losses, after in replay_parts(trace, parts, program):
            if run.case.steps[index].task in added:
                off = abs(run.losses[index] - float(value_of(sum(losses))))
                if off > 3 * search.tolerances[number][index][0] + 1e-5 * abs(run.losses[index]):
                    return False
            for name, value in after.items():
                before = run.before[index][name].astype(np.float64)
                made = run.after[index][name] - before
                room = search.room(number, index, name, before, made)
                if np.any(np.abs(value_of(value) - before - made) > room):
                    return False
    except DoesNotFit:
        return False
    return True


# Names


def _named(runs: Sequence[PortRun], found: Sequence[Edit]) -> Tuple[Edit, ...]:
    """Return edits in the words of the catalogue, each once at all its places."""
    case = max((run.case for run in runs), key=lambda case: len(case.tasks))
    if any(edit.kind.startswith("clipped by") for edit in found):
        found = [edit for edit in found if edit.kind != "clipping missing"]
    merged: Dict[Tuple[str, Any], Dict[str, None]] = {}
    for edit in found:
        if edit.kind == "reported loss scaled":
            kind, value = edit.value
            value = value if kind == "loss scaled" else f"{value:g} ({kind})"
            edit = edit._replace(value=value)
        if edit.kind in ("trains another task", "loss of another task"):
            edit = _substituted(case, edit, found)
        elif edit.kind in catalogue.OF_FEEDS:
            merged.setdefault((edit.kind, edit.value), {}).update(dict.fromkeys(edit.places))
            continue
        places = merged.setdefault((edit.kind, edit.value), {})
        for place in edit.places:
            places.update(dict.fromkeys(_article(case, place)))
    return tuple(Edit(kind, tuple(sorted(p)), value) for (kind, value), p in merged.items())


def _substituted(case: Case, edit: Edit, found: Sequence[Edit]) -> Edit:
    """Return how a task that trains or returns what belongs to another one is called."""
    if edit.kind == "loss of another task":
        return edit._replace(value=None)
    task, other = edit.places[0], edit.value
    crossed = any(e.kind == edit.kind and e.places == (other,) and e.value == task for e in found)
    if crossed:
        return Edit("feeds swapped", edit.places)
    own, new = (needed_nodes(case.graph.nodes, [case.tasks[t].loss]) for t in (task, other))
    return Edit("trains more" if len(new) > len(own) else "trains less", edit.places)


def _article(case: Case, place: str) -> Tuple[str, ...]:
    """Return a place by the names of the article, where the case is the article."""
    if not case.is_article:
        return (place,)
    first, slash, rest = place.partition("/")
    names = {"joint": "Optimiser", "Y1": "Y1_op", "Y2": "Y2_op"}
    return (names.get(first, first) + slash + rest,)
