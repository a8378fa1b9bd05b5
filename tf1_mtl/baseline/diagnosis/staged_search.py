"""Searches stage by stage for the mistakes of a port: losses, gradients, updates.

Each stage is given what was found before, so several mistakes are found in the sum of the times. An
explanation is accepted only if a port with these mistakes would be judged right in every case, by
its own error bounds.
"""

import contextlib
import functools
import itertools
from typing import (
    AbstractSet,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    Optional,
    Sequence,
    Set,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis.edits import Edit, Pair
from tf1_mtl.baseline.diagnosis.forward_search import FACTOR, ForwardSearch
from tf1_mtl.baseline.diagnosis.gradient_mutations import backward_mutations, rate_mutations
from tf1_mtl.baseline.diagnosis.loss_comparison import EQUAL_FORMULA_ULPS, LossComparison
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, ModelRun, Tolerances, tolerances_of
from tf1_mtl.baseline.diagnosis.model_edits import clipping_numbers
from tf1_mtl.baseline.diagnosis.mutation import NOTHING, Forward, Mutation
from tf1_mtl.baseline.diagnosis.mutations import DIVISORS
from tf1_mtl.baseline.diagnosis.replay import replay
from tf1_mtl.baseline.diagnosis.several_updates import several_updates
from tf1_mtl.baseline.diagnosis.step_comparison import StepComparison
from tf1_mtl.baseline.diagnosis.update_search import Updates, UpdateSearch
from tf1_mtl.baseline.error_bounds import UNIT, error_of, value_of
from tf1_mtl.baseline.port_run import PortRun

Edits = Tuple[Edit, ...]
ALTERNATIVES = 4  #: explanations of the losses that are followed
FEW_STEPS = 12  #: that tell whether an edit of gradients is worth to be tried on all


class StagedSearch:
    """Searches what explains some runs."""

    def __init__(
        self,
        runs: Sequence[PortRun],
        every: Sequence[PortRun],
        check_time: Callable[[], None],
        factors_show: bool,
        is_otherwise: bool,
        tolerances: Optional[Sequence[Tolerances]] = None,
    ) -> None:
        """Starts a search.

        Args:
          runs: Those that are searched.
          every: Those that must be explained.
          check_time: Raises an exception when the time is up.
          factors_show: Whether a factor of the loss shows in the updates.
          is_otherwise: Whether a mistake is known already, so that no other one may be left.
          tolerances: The error bounds of the runs that are searched; None computes them.
        """
        self.runs, self.every, self.check_time = runs, every, check_time
        self.factors_show, self.is_otherwise = factors_show, is_otherwise
        self._bounded_runs: Dict[Tuple[Forward, int], ModelRun] = {}
        self.tolerances = tolerances or [
            tolerances_of(self._bounded(run, NOTHING), check_time) for run in runs
        ]
        self.losses = LossComparison(runs, self.tolerances, check_time)
        self.search = ForwardSearch(self.losses)
        self._explained: Dict[Tuple[Forward, FrozenSet[str]], bool] = {}

    def updates(
        self, forward: Forward = NOTHING, unknown: AbstractSet[str] = frozenset()
    ) -> UpdateSearch:
        """Returns the search for what explains the updates, given what explains the losses.

        Args:
          forward: What explains the losses.
          unknown: Tasks whose losses nothing explains, and whose updates are not searched.
        """
        models = [forward.model(run.case) for run in self.runs]
        tolerances = self.tolerances
        if forward.mutations:
            tolerances = [
                tolerances_of(self._bounded(run, forward), self.check_time) for run in self.runs
            ]
        runs = [ModelRun(model, run) for model, run in zip(models, self.runs)]
        return UpdateSearch(StepComparison(runs, tolerances, self.check_time), unknown)

    def is_right(self) -> bool:
        """Returns whether nothing is left to explain."""
        is_right = all(self.losses.is_right(task) for task in self.losses.tasks)
        return is_right and not self.updates().wrong

    def explanations(self) -> Iterator[Edits]:
        """Yields edits that explain all that the port did, the likeliest first."""
        yield from self._of_added_losses()
        yield from self._of_some_reports()
        tried: Set[Edits] = set()
        for level in self.search.levels():
            searches: Dict[Edits, Tuple[Forward, UpdateSearch]] = {}
            explained = (f for f in level if f.edits not in tried and self.explains_losses(f))
            for forward in itertools.islice(explained, ALTERNATIVES):
                tried.add(forward.edits)
                try:
                    search = self.updates(forward)
                except DoesNotFit:
                    continue
                searches[forward.edits] = forward, search
                if not search.wrong:
                    yield from self._as_reported(forward)
                    yield from self._accepted(forward, [Updates()])
                    yield from self._accepted(forward, search.everywhere())
            fewest_first = sorted(searches.values(), key=lambda found: len(found[1].wrong))
            for forward, search in fewest_first:
                yield from _fitting(self._as_reported(forward))
                yield from _fitting(self._fewest_edits_first(forward, search))
            for forward, search in fewest_first:
                yield from _fitting(self._accepted(forward, search.deep()))

    def _of_added_losses(self) -> Iterator[Edits]:
        """Yields edits where a task trains on its parts in turn and adds their losses."""
        wrong = [task for task in self.losses.tasks if not self.losses.is_right(task)]
        if len(wrong) == 1 and len(self.losses.tasks) > 2:
            yield from several_updates(self.updates().comparison, wrong)

    def _of_some_reports(self) -> Iterator[Edits]:
        """Yields edits where a port trains as it should and some tasks return a factor more."""
        right = [task for task in self.losses.tasks if self.losses.is_right(task)]
        wrong = [task for task in self.losses.tasks if task not in right]
        if not (self.factors_show and right and wrong) or self.updates().wrong:
            return
        nodes = {self.losses.loss_node(NOTHING, task) for task in wrong}
        for forward in self.search.explained(wrong, FACTOR):
            reported = returned_only(forward)
            own = all(nodes.issuperset(mutation.edit.places) for mutation in forward.mutations)
            if reported and own and not reported.mutations:
                yield from self._accepted(reported, [Updates()], forward, right)

    def _as_reported(self, forward: Forward) -> Iterator[Edits]:
        """Yields edits where factors of losses are returned, and not trained on."""
        reported = returned_only(forward) if self.factors_show else None
        if reported and not self.updates(reported).wrong:
            yield from self._accepted(reported, [Updates()], forward)

    def _fewest_edits_first(self, forward: Forward, search: UpdateSearch) -> Iterator[Edits]:
        """Yields edits that explain the updates, the fewest first.

        A factor of a loss that is returned, and not trained on, may also be explained as one that
        is trained on, with another edit that takes it back.
        """
        explained = self._of_updates(forward, search)
        first = next(explained, None)
        reported = returned_only(forward) if self.factors_show else None
        if reported and (first is None or len(first) > len(forward.edits) + 1):
            other = next(self._of_updates(reported, self.updates(reported), forward), None)
            if other and (first is None or len(other) < len(first)):
                yield other
        if first:
            yield first
        yield from explained

    def _of_updates(
        self, forward: Forward, search: UpdateSearch, returned: Optional[Forward] = None
    ) -> Iterator[Edits]:
        """Yields edits that explain the updates, together with those of the losses.

        Args:
          forward: What the port trains on.
          search: For what explains the updates, given that.
          returned: What it returns the losses of, where that is something else.
        """
        case = case_with_most_tasks(self.runs)
        yield from self._of_gradients(forward, search, list(rate_mutations(case)), returned)
        yield from self._accepted(forward, search.quick(), returned)
        mutations = list(backward_mutations(case))
        yield from self._of_gradients(forward, search, mutations, returned)
        yield from self._accepted(forward, search.fitted(), returned)
        yield from self._accepted(forward, search.combined(), returned)
        # Where no update is off by enough to compare, these would explain nothing, and fit.
        for found in several_updates(search.comparison) if search.wrong else ():
            yield (*forward.edits, *found)

    def _of_gradients(
        self,
        forward: Forward,
        search: UpdateSearch,
        mutations: Sequence[Mutation],
        returned: Optional[Forward] = None,
    ) -> Iterator[Edits]:
        """Yields edits that leave the losses as they are; what helps is kept."""
        if not mutations:
            return
        wrong = len(search.wrong)
        base, wrong_in_few = self._wrong_in_few(forward, search)
        helpful = []
        # The largest edits of these kinds are followed even if they alone make no update right.
        most = {
            kind: max([len(m.edit.places) for m in mutations if m.edit.kind == kind], default=0)
            for kind in ("slope at zero", "clipping missing")
        }
        for mutation in mutations:
            extended = forward.extended(_beside(forward, mutation))
            kind, places = mutation.edit[:2]
            is_most = len(places) == most.get(kind)
            try:
                if not is_most and wrong_in_few(extended) >= base:
                    continue
                found = self.updates(extended)
            except DoesNotFit:
                continue
            is_clipping = is_most and kind == "clipping missing"
            if is_clipping:
                limits = clipping_numbers(case_with_most_tasks(self.runs))
                yield from self._accepted(extended, found.clipped(limits), returned)
            if is_most or len(found.wrong) < wrong:
                yield from self._accepted(extended, found.quick(), returned)
            if is_clipping:
                yield from self._accepted(extended, found.fitted(), returned)
            if len(found.wrong) < wrong:
                helpful.append(mutation)
        # The first edit alone was tried above.
        for extended, found in itertools.islice(self.better(forward, search, helpful), 1, None):
            yield from self._accepted(extended, found.quick(), returned)

    def _wrong_in_few(
        self, forward: Forward, search: UpdateSearch
    ) -> Tuple[int, Callable[[Forward], int]]:
        """Returns how many updates are wrong in few steps, and what counts them for other models.

        The steps are the first ones of the first runs with wrong updates, if all are wrong there.

        Args:
          forward: What is known.
          search: For what that leaves of the updates.
        """
        numbers = search.telling_runs()
        tolerances = [self.tolerances[number] for number in numbers]

        def wrong(candidate: Forward, runs: Sequence[PortRun]) -> int:
            models = [ModelRun(candidate.model(run.case), run) for run in runs]
            compared = StepComparison(models, tolerances, self.check_time)
            return len(UpdateSearch(compared, search.unknown).wrong)

        longest = max((len(self.runs[number].after) for number in numbers), default=0)
        for steps in dict.fromkeys((min(FEW_STEPS, longest), longest)):
            few = [self.runs[number].first(steps) for number in numbers]
            base = wrong(forward, few)
            if base >= len(search.wrong):
                break
        return base, functools.partial(wrong, runs=few)

    def better(
        self, forward: Forward, search: UpdateSearch, mutations: Sequence[Mutation]
    ) -> Iterator[Tuple[Forward, UpdateSearch]]:
        """Yields what is known with one edit of gradients, with one more, and so on.

        Each makes more updates right and none wrong. The most helpful one is taken first; of two
        that help alike, the one at fewer places.
        """
        while search.wrong:
            helpful = []
            base, wrong_in_few = self._wrong_in_few(forward, search)
            for mutation in mutations:
                extended = forward.extended(_beside(forward, mutation))
                with contextlib.suppress(DoesNotFit):
                    if wrong_in_few(extended) < base:
                        found = self.updates(extended, search.unknown)
                        if {*found.wrong} < {*search.wrong}:
                            helpful.append((mutation, extended, found))
            if not helpful:
                break
            mutations = [mutation for mutation, _, _ in helpful]
            _, forward, search = min(
                helpful, key=lambda each: (len(each[2].wrong), len(each[0].edit.places))
            )
            yield forward, search

    def _accepted(
        self,
        forward: Forward,
        candidates: Iterable[Updates],
        returned: Optional[Forward] = None,
        right: Sequence[str] = (),
    ) -> Iterator[Edits]:
        """Yields all edits, if a port with them would be right in every case.

        Args:
          forward: What the port trains on.
          candidates: What its optimizers may do.
          returned: What it returns the losses of, where that is something else.
          right: Tasks whose losses are known to be right.
        """
        for updates in candidates:
            self.check_time()
            found = (*forward.edits, *updates.edits)
            if (
                (found or self.is_otherwise)
                and self.explains_losses(returned or forward, right)
                and self._explains_updates(forward, updates)
            ):
                yield found

    def explains_losses(self, forward: Forward, right: Iterable[str] = ()) -> bool:
        """Returns whether a model gives all losses within its bounds; kept for the next time.

        Args:
          forward: What the port returns the losses of.
          right: Tasks that are left out, since their losses are known to be right, or unknown.
        """
        key = forward, frozenset(right)
        if key not in self._explained:
            with contextlib.suppress(DoesNotFit):
                self._explained[key] = all(
                    _explains_losses(self._bounded(run, forward), forward, right)
                    for run in self.every
                )
        return self._explained.setdefault(key, False)

    def _explains_updates(self, forward: Forward, updates: Updates) -> bool:
        with contextlib.suppress(DoesNotFit):
            return all(is_explained for _, is_explained in self._verdicts(forward, updates))
        return False

    def unexplained(self, forward: Forward, updates: Updates) -> Set[Pair]:
        """Returns the updates that are not within the bounds of some edits in every case.

        Raises:
          DoesNotFit: A case does not allow an edit.
        """
        return {pair for pair, is_explained in self._verdicts(forward, updates) if not is_explained}

    def _verdicts(self, forward: Forward, updates: Updates) -> Iterator[Tuple[Pair, bool]]:
        """Yields, for each update, whether it is within the bounds of some edits."""
        for run in self.every:
            graph, bounded = self._bounded(run, NOTHING), self._bounded(run, forward)
            for name in run.case.weights:
                self.check_time()
                yield from _verdicts(graph, bounded, name, updates)

    def _bounded(self, run: PortRun, forward: Forward) -> ModelRun:
        """Returns a run evaluated with bounds; kept for the graph itself and the last edits."""
        key = forward, id(run)
        if key not in self._bounded_runs:
            kept = {key: x for key, x in self._bounded_runs.items() if key[0] in (NOTHING, forward)}
            self._bounded_runs = kept
            kept[key] = ModelRun(forward.model(run.case), run, bounds=True)
        return self._bounded_runs[key]


def case_with_most_tasks(runs: Sequence[PortRun]) -> Case:
    return max((run.case for run in runs), key=lambda case: len(case.tasks))


def _fitting(found: Iterator[Edits]) -> Iterator[Edits]:
    """Yields edits up to those that do not fit a case."""
    with contextlib.suppress(DoesNotFit):
        yield from found


def _beside(forward: Forward, mutation: Mutation) -> Mutation:
    """Returns an edit of a gradient under the name that is true beside what is known.

    With another activation in place of ReLU, a slope at zero brings the gradient of ReLU back.
    """
    kind, places = mutation.edit[:2]
    edits = [known.edit for known in forward.mutations]
    other = {place for e in edits if e.kind == "other activation" for place in e.places}
    if kind == "slope at zero" and other.issuperset(places):
        return mutation._replace(edit=Edit("gradient of relu", places))
    return mutation


def returned_only(forward: Forward) -> Optional[Forward]:
    """Returns factors of losses as what is returned and not trained on; None without a factor."""
    scaled = [mutation for mutation in forward.mutations if mutation.edit.kind in DIVISORS]
    edits = [mutation.edit for mutation in scaled]
    reports = [Edit("reported loss scaled", e.places, (e.kind, e.value)) for e in edits]
    mutations = tuple(mutation for mutation in forward.mutations if mutation not in scaled)
    return Forward(mutations, (*forward.reports, *reports)) if scaled else None


def _explains_losses(bounded: ModelRun, forward: Forward, right: Iterable[str]) -> bool:
    known = {*right, *(place for edit in forward.reports for place in edit.places)}
    for index, returned in enumerate(bounded.port_run.losses):
        loss = bounded.step(index).loss
        if loss is None or bounded.task(index) in known:
            continue
        value = float(value_of(loss))
        room = max(float(error_of(loss).max()), EQUAL_FORMULA_ULPS * 2 * UNIT * abs(value))
        if not abs(returned - value) <= room:
            return False
    return True


def _verdicts(
    graph: ModelRun, bounded: ModelRun, name: str, updates: Updates
) -> Iterator[Tuple[Pair, bool]]:
    """Yields, for each update of a weight, whether it is within the bounds of the programs.

    Where the graph updates a weight and the edited one does not, the weight must have stayed.
    """
    programs, run = updates.programs(name), bounded.port_run
    rests = {i for i in range(len(run.after)) if name in graph.step(i).inputs}
    for moved in replay(bounded, name, by_task=programs):
        rests.discard(moved.at)
        before = run.before[moved.at][name].astype(np.float64)
        value, shown = value_of(moved.after), run.after[moved.at][name]
        step = np.abs(value - before)
        room = error_of(moved.after) + EQUAL_FORMULA_ULPS * 2 * UNIT * step + 1e-5 * step
        room = np.maximum(2 * room, 2 * UNIT * np.abs(before))
        low, high = value - room, value + room
        rounding = programs[moved.task].rounding if moved.task in programs else None
        if rounding:
            low, high = rounding(low), rounding(high)
        yield (moved.task, name), bool(np.all((low <= shown) & (shown <= high)))
    for index in sorted(rests):
        stays = np.array_equal(run.after[index][name], run.before[index][name])
        yield (bounded.task(index), name), stays
