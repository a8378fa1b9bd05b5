"""Diagnoses a port: which known mistakes explain what it did, or what can be measured."""

import time
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.diagnosis import catalogue
from tf1_mtl.baseline.diagnosis.edits import Edit, Pair, in_words_of_the_report, listed
from tf1_mtl.baseline.diagnosis.model import Tolerances, updates_of
from tf1_mtl.baseline.diagnosis.partial_search import Part, parts
from tf1_mtl.baseline.diagnosis.staged_search import StagedSearch, case_with_most_tasks
from tf1_mtl.baseline.judge import LOSS
from tf1_mtl.baseline.port_run import PortRun, named_feeds
from tf1_mtl.baseline.recorded_graph import node_and_output

#: CPU time of its thread after which the search gives up: for the article, for other scripts.
SECONDS, SECONDS_OF_SCRIPTS = 9.0, 60.0
SHARE_OF_A_PART = 0.3  #: of this time, for what explains a part
MOST_MEASURED = 8  #: lines of the report; JSON has all
MOST_LATE = 3  #: weights of which each alone is tried as shown late
#: What other initial weights explain.
STARTS = (("", "weights before the first step"),)
STEPS = 40  #: of a case that are searched; a longer case is cut


class Diagnosis(NamedTuple):
    """Describes what a port does otherwise, as far as it is known."""

    edits: Tuple[Edit, ...] = ()  #: together they explain all that the port did, or a part
    #: What they explain, where that is a part: tasks with a weight or `LOSS`; or `STARTS`.
    explained: Tuple[Pair, ...] = ()
    measured: Tuple[str, ...] = ()  #: sentences about what no edits explain
    is_drift: bool = False  #: whether each step by itself is right, so that nothing can be searched
    note: str = ""  #: how the edits were found, where that is unusual
    seconds: Optional[float] = None  #: the time limit, where it ended the search

    @property
    def is_whole(self) -> bool:
        """Returns whether this explains all that the port did."""
        return self.is_drift or bool(self.edits and not self.explained)

    @property
    def ids(self) -> Tuple[str, ...]:
        """Returns an identifier for each edit, and "unknown" beside those that explain a part."""
        if self.is_drift:
            return ("drift",)
        ids = tuple(edit.kind.replace(" ", "-") for edit in self.edits)
        return (*ids, "unknown") if self.explained else ids

    @property
    def lines(self) -> Tuple[str, ...]:
        """Returns the lines of the report."""
        if self.is_drift:
            return (
                "diagnosis: drift: every step by itself is within its tolerance. Look for a "
                "hyper-parameter or a decay that is off by a little.",
            )
        edits = [f"  {kind}: {edit}" for kind, edit in zip(self.ids, self.edits)]
        note = [f"  {self.note}"] if self.note else []
        if self.is_whole:
            return ("diagnosis: the recorded graph does the same with", *edits, *note)
        ended = f"; the limit of {self.seconds:g} s ended the search" if self.seconds else ""
        found = "; measured:" if self.measured else "."
        measured = [f"  {line}" for line in _shown(self.measured)]
        if not self.explained:
            return (f"diagnosis: no known mistake explains this{ended}{found}", *measured)
        return (
            "diagnosis: a part is explained. With",
            *edits,
            *note,
            "the recorded graph does the same in",
            *(f"  {line}" for line in _in_words(self.explained)),
            f"No known mistake explains the rest{ended}{found}",
            *measured,
        )

    def __str__(self) -> str:
        return "\n".join(self.lines)


class OutOfTime(Exception):
    """Ends a search whose time is up."""


class _Clock:
    """Limits the CPU time of a thread."""

    def __init__(self, seconds: float) -> None:
        self._until = time.thread_time() + seconds
        self._next_look = time.perf_counter() + seconds

    def extend(self, seconds: float) -> None:
        """Adds time to the limit."""
        self._until = max(self._until, time.thread_time()) + seconds
        self._next_look = time.perf_counter()

    def check(self) -> None:
        """Raises OutOfTime if the time is up."""
        # Reading the CPU time is slow, and it cannot grow faster than the time on the clock.
        if time.perf_counter() < self._next_look:
            return
        left = self._until - time.thread_time()
        if left <= 0:
            raise OutOfTime
        self._next_look = time.perf_counter() + left


def diagnose(
    runs: Sequence[PortRun],
    share: float = 1.0,
    factors_show: bool = True,
    seconds: Optional[float] = None,
    or_a_part: bool = True,
) -> Diagnosis:
    """Returns what explains all that a port did, or a part.

    Args:
      runs: What the port did in each case. Every return had the right shape.
      share: Of the time limit.
      factors_show: Whether the gradients are small enough for a factor of the loss to show in the
        updates of Adam. If not, a factor is one of the loss, not of what is returned alone.
      seconds: The time limit; None for `SECONDS` or `SECONDS_OF_SCRIPTS`.
      or_a_part: Whether to search what explains a part, where nothing explains all.
    """
    if seconds is None:
        is_article = all(run.case.is_article for run in runs)
        seconds = SECONDS if is_article else SECONDS_OF_SCRIPTS
    limit = share * seconds
    time_of_a_part = limit * SHARE_OF_A_PART if or_a_part else 0.0
    clock, ended, search = _Clock(limit - time_of_a_part), None, None
    with np.errstate(all="ignore"):
        cut = [(len(run.case.steps), _cut(run)) for run in _with_all_tasks(runs)]
        every = [run for _, run in cut if run.after]
        if not every:
            return Diagnosis()
        short = [run for steps, run in cut if run.after and steps <= 2 * STEPS]
        searched = sorted(short or every, key=lambda run: len(run.after))
        case, shown = case_with_most_tasks(searched), _initial(searched)
        try:
            for edits, seen in _views(searched):
                search = StagedSearch(seen, every, clock.check, factors_show, bool(shown))
                found = _explained(search, bool(edits))
                if found is not None:
                    return Diagnosis(in_words_of_the_report(case, (*shown, *edits, *found)))
        except OutOfTime:
            ended = limit
        part, tolerances = None, None
        if search and search.runs is searched:
            tolerances = search.tolerances
            if or_a_part:
                clock.extend(time_of_a_part)
                part, is_ended = _largest_part(search)
                ended = limit if is_ended else ended
        edits = in_words_of_the_report(case, (*shown, *(part.edits if part else ())))
        if part and not (part.losses_left or part.updates_left):
            return Diagnosis(edits)
        explained = (*(STARTS if shown else ()), *(_explained_by(part) if part else ()))
        return Diagnosis(edits, explained, _measured(searched, tolerances, part), seconds=ended)


def _largest_part(search: StagedSearch) -> Tuple[Optional[Part], bool]:
    """Returns what explains a part of what the port did, and whether the time ended the search."""
    largest, most = None, 0
    try:
        for part in parts(search):
            if part.size > most:
                largest, most = part, part.size
    except OutOfTime:
        return largest, True
    return largest, False


def _explained_by(part: Part) -> Tuple[Pair, ...]:
    """Returns what a part explains."""
    return (*((task, LOSS) for task in part.losses), *part.updates)


def _in_words(explained: Sequence[Pair]) -> List[str]:
    """Returns lines that say what is explained."""
    weights: Dict[str, List[str]] = {}
    lines = []
    for task, quantity in explained:
        if not task:
            lines.append(quantity)
        elif quantity == LOSS:
            lines.append(f"loss of {task}")
        else:
            weights.setdefault(task, []).append(quantity)
    return [*lines, *(f"updates of {listed(names)} in {task}" for task, names in weights.items())]


def _shown(measured: Sequence[str]) -> List[str]:
    """Returns the lines of the report, those first that say most; the last of many are counted."""
    lines = sorted(measured, key=lambda line: (not line.startswith("loss"), "always" not in line))
    more = len(lines) - MOST_MEASURED + 1
    return lines if more <= 1 else [*lines[:-more], f"and {more} more; --json has all"]


def _explained(search: StagedSearch, is_right: bool) -> Optional[Tuple[Edit, ...]]:
    """Returns the edits that explain all, or None. If all should be right, there are no edits."""
    if is_right:
        return () if search.is_right() else None
    return next(search.explanations(), None)


def _measured(
    runs: Sequence[PortRun], tolerances: Optional[Sequence[Tolerances]], part: Optional[Part]
) -> Tuple[str, ...]:
    """Returns what can be measured of what no part explains; see `StagedSearch`."""
    search, lines = _search(runs, tolerances), []
    for task in search.losses.tasks:
        if part and task not in part.losses_left:
            continue
        ratios = search.losses.ratios(task)
        if not search.losses.is_right(task) and len(ratios) and np.isfinite(ratios).all():
            much = _range(ratios.min(), ratios.max())
            lines.append(f"loss of {task}: {much} of the loss of TensorFlow")
    updates = search.updates()
    for task, name in updates.wrong:
        if part and (task, name) not in part.updates_left:
            continue
        much = _range(*updates.comparison.lengths(task, name))
        lines.append(f"updates of {name} in {task}: {much} of the length in TensorFlow")
    return tuple(lines)


def _search(
    runs: Sequence[PortRun], tolerances: Optional[Sequence[Tolerances]] = None
) -> StagedSearch:
    """Returns a search that is not limited, for what can be said without one."""
    return StagedSearch(runs, runs, lambda: None, False, False, tolerances)


def _range(low: float, high: float) -> str:
    return f"always {low:.6g}" if f"{low:.6g}" == f"{high:.6g}" else f"{low:.6g} to {high:.6g}"


def is_right(runs: Sequence[PortRun]) -> bool:
    """Returns whether a port did what the graph does in the steps that are searched."""
    with np.errstate(all="ignore"):
        return _search([_cut(run) for run in runs]).is_right()


# What is searched


def _with_all_tasks(runs: Sequence[PortRun]) -> Iterator[PortRun]:
    """Yields runs whose cases know all tasks that their graphs can train, and all that was fed."""
    tasks = {name: task for run in runs for name, task in run.case.tasks.items()}
    for run in runs:
        case, nodes = run.case, run.case.graph.nodes
        more = {
            name: task
            for name, task in tasks.items()
            if all(node_and_output(n)[0] in nodes for n in (*task.operations, task.loss) if n)
        }
        steps = [
            step._replace(feeds={**step.feeds, **{case.feeds[n]: x for n, x in named.items()}})
            for step in case.steps
            for named in [named_feeds(case, step)]
        ]
        case = case._replace(tasks={**more, **case.tasks}, steps=tuple(steps))
        yield run._replace(case=case)


def _cut(run: PortRun) -> PortRun:
    """Returns the part of a run in which all is finite, or its first steps."""
    steps = len(run.after) if len(run.case.steps) <= 2 * STEPS else min(len(run.after), STEPS)
    for index in range(steps):
        numbers: Tuple[Any, ...] = (run.losses[index], *run.after[index].values())
        if not all(np.all(np.isfinite(x)) for x in numbers):
            steps = index
            break
    case = run.case._replace(steps=run.case.steps[:steps])
    return run.first(steps)._replace(case=case)


# What is shown


def _initial(runs: Sequence[PortRun]) -> Tuple[Edit, ...]:
    """Returns the weights that do not start at the given values."""
    names: Dict[str, None] = {}
    for run in runs:
        for name, variable in run.case.weights.items():
            initial = run.case.initial[variable]
            kept = (initial, *(stored(initial) for stored in catalogue.STORED.values()))
            if not any(np.array_equal(run.before[0][name], weight) for weight in kept):
                names[name] = None
    return (Edit("initial weights", tuple(names)),) if names else ()


def _views(runs: Sequence[PortRun]) -> Iterator[Tuple[Tuple[Edit, ...], Sequence[PortRun]]]:
    """Yields what the runs may have been, with edits where weights() showed something else."""
    names = tuple(runs[0].case.weights)
    resting = tuple(name for name in names if _seems_late(runs, name))
    alone = [(name,) for name in resting] if len(resting) <= MOST_LATE else []
    for group in dict.fromkeys([resting, *alone]) if resting else ():
        late = [_late(run, group) for run in runs if len(run.after) > 1]
        yield (Edit("weights late", group),), late
    for group in (names[1:], *((name,) for name in names)):
        square = [_transposed(run, group) for run in runs if _is_square(run, group)]
        # The first step refutes nearly all.
        if square and all(_search(x).is_right() for x in ([r.first(1) for r in square], square)):
            transposed = [_transposed(run, group) for run in runs]
            yield (Edit("weights transposed", group),), transposed
    yield (), runs


def _seems_late(runs: Sequence[PortRun], name: str) -> bool:
    """Returns whether a weight that the graph moves rests in each first step, and moves later."""
    longer = [run for run in runs if len(run.after) > 1]
    return (
        all(np.array_equal(run.before[0][name], run.after[0][name]) for run in longer)
        and any(not np.array_equal(run.after[0][name], run.after[-1][name]) for run in longer)
        and any(name in updates_of(run.case, run.case.steps[0].task) for run in longer)
    )


def _late(run: PortRun, names: Sequence[str]) -> PortRun:
    """Returns the run of a port whose weights are shown one step late."""
    number = len(run.after) - 1
    before = [{**shown, **_some(run.after[i], names)} for i, shown in enumerate(run.before)]
    after = [{**shown, **_some(run.after[i + 1], names)} for i, shown in enumerate(run.after[:-1])]
    return run._replace(before=before[:number], after=after, losses=run.losses[:number])


def _some(weights: Dict[str, np.ndarray], names: Sequence[str]) -> Dict[str, np.ndarray]:
    return {name: weights[name] for name in names}


def _is_square(run: PortRun, names: Sequence[str]) -> bool:
    """Returns whether some of these weights are as high as they are wide."""
    shapes = [run.case.initial[run.case.weights[name]].shape for name in names]
    return any(len(shape) == 2 and shape[0] == shape[1] for shape in shapes)


def _transposed(run: PortRun, names: Sequence[str]) -> PortRun:
    """Returns the run of a port that uses square weights as their transpose."""

    def turned(weights: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        square = {n: w.T for n, w in _some(weights, names).items() if len({*w.shape}) == 1 < w.ndim}
        return {**weights, **square}

    return run._replace(before=list(map(turned, run.before)), after=list(map(turned, run.after)))
