"""Finds what a port does in its updates, given its losses and gradients.

Each update of a weight in a task is a pair that is explained on its own. A program is replayed on
all tasks at once and compared pair by pair. What explains many pairs is named first.
"""

import itertools
from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline import catalogue
from tf1_mtl.baseline.catalogue import Family, Piece, program_of
from tf1_mtl.baseline.edits import Edit
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.loss_comparison import nice
from tf1_mtl.baseline.simulation import HYPER, Now, Program, Trace, replay, rule_of

Pair = Tuple[str, str]  #: task and weight
#: What else may differ where a piece explains a step: a decay; a rate too; a schedule too.
EXACT, RATE, SCHEDULE = 0, 1, 2
FROZEN = "variable frozen"
FITTED_RUNS, FITTED_STEPS = 3, 4  #: to which a number is fitted
Named = Tuple[Tuple[str, Any], ...]  #: kinds and values of edits


class Step(NamedTuple):
    """How the step that a port made compares with that of a program."""

    case: int
    at: int
    runs: int  #: of the task before, in this case
    ratio: float  #: NaN where the program does not move
    decay: float  #: share of the weight that was subtracted too
    is_one: bool  #: whether the step is the same
    error: float  #: of the ratio
    decay_error: float


class Solution(NamedTuple):
    """What explains a pair."""

    named: Named
    program: Program
    pieces: Tuple[Piece, ...] = ()


class Updates(NamedTuple):
    """What explains the updates of all weights."""

    solutions: Mapping[Pair, Solution]
    edits: Tuple[Edit, ...]

    def program(self, task: str, variable: str) -> Program:
        found = self.solutions.get((task, variable))
        return found.program if found else Program()


class UpdateSearch:
    """Searches what explains the updates of some runs."""

    def __init__(
        self,
        traces: Sequence[Trace],
        tolerances: Sequence[Any],
        check_time: Callable[[], None],
    ) -> None:
        """Start a search.

        Args:
          traces: Losses and gradients, one for each run.
          tolerances: By run and step: the error bound of the loss, and those of the weights.
          check_time: Raises an exception when the time is up.
        """
        self.traces, self.tolerances, self.check_time = traces, tolerances, check_time
        self.pairs = self._all_pairs()
        self._found: Optional[Dict[Pair, List[Solution]]] = None
        self._telling_runs: Dict[Pair, List[int]] = {}
        self._moving: Dict[Pair, bool] = {}
        self._rules: Dict[Pair, Tuple[str, Dict[str, float]]] = {}
        self._number = 0  # of solutions among which was chosen
        self._right: Optional[Dict[Pair, bool]] = None

    def _all_pairs(self) -> Dict[Pair, None]:
        found: Dict[Pair, None] = {}
        for trace in self.traces:
            for index in range(len(trace.run.after)):
                task = trace.model.case.steps[index].task
                for name in trace.run.before[index]:
                    moved = not np.array_equal(
                        trace.run.before[index][name], trace.run.after[index][name]
                    )
                    if moved or name in trace.updates(task):
                        found[task, name] = None
        return found

    # Comparing

    def compared(
        self,
        variable: str,
        program: Program,
        wanted: Set[str],
        decays: bool = False,
        few: int = 0,
    ) -> Dict[str, List[Step]]:
        """Return the steps of the tasks that a program explains, but for the rate.

        Args:
          variable: A weight.
          program: What is replayed.
          wanted: Tasks that are compared.
          decays: Whether a part of the weight may be subtracted too.
          few: How many steps of each run are compared; 0: all.
        """
        self.check_time()
        found: Dict[str, List[Step]] = {task: [] for task in wanted}
        left = set(wanted)
        if not (program.zeros or program.late or program.borrows):
            left = {task for task in left if not self._moves_without(task, variable)}
        for number, trace in enumerate(self.traces):
            if not left:
                return {}
            runs: Dict[str, int] = {}
            for count, moved in enumerate(replay(trace, variable, lambda task: program), 1):
                runs[moved.task] = runs.get(moved.task, -1) + 1
                if moved.task in left:
                    after = self._rounded(number, moved.at, variable, moved.after, program)
                    step = self._step(number, moved.at, variable, after, decays)
                    if step is None:
                        left.discard(moved.task)
                    else:
                        found[moved.task].append(step._replace(runs=runs[moved.task]))
                if not left or count == few:
                    break
        return {task: steps for task, steps in found.items() if task in left}

    def _moves_without(self, task: str, variable: str) -> bool:
        """Return whether a task that does not train a weight moves it."""
        if (task, variable) not in self._moving:
            self._moving[task, variable] = any(
                trace.model.case.steps[index].task == task
                and variable not in trace.updates(task)
                and self._has_moved(number, index, variable)
                for number, trace in enumerate(self.traces)
                for index in range(len(trace.run.after))
            )
        return self._moving[task, variable]

    def _rounded(self, number: int, index: int, variable: str, after: Any, program: Program) -> Any:
        """Return a weight rounded as a program keeps it, the way that fits where both may be."""
        if program.rounding is None:
            return after
        run = self.traces[number].run
        before, shown = run.before[index][variable], run.after[index][variable]
        room = self.room(number, index, variable, before, shown - before)
        return np.clip(shown, program.rounding(after - room), program.rounding(after + room))

    def _has_moved(self, number: int, index: int, variable: str) -> bool:
        run = self.traces[number].run
        return not np.array_equal(run.before[index][variable], run.after[index][variable])

    def _step(
        self, number: int, index: int, variable: str, after: Any, decays: bool
    ) -> Optional[Step]:
        """Return how one step compares; None where no rate explains it."""
        run = self.traces[number].run
        before = run.before[index][variable].astype(np.float64)
        made = run.after[index][variable] - before
        step = np.asarray(value_of(after), np.float64) - before
        room = self.room(number, index, variable, before, made)
        if not np.isfinite(step).all() or np.abs(step).max(initial=0) > 1e30:
            return None
        ratio, decay, error, decay_error = np.nan, 0.0, np.inf, np.inf
        # Where rounding decides, a step says nothing about the rate.
        says = np.isfinite(room) & (room < np.maximum(np.abs(step), np.abs(made)))
        weight = 1 / np.maximum(room, 1e-30)[says]
        one, other = step[says] * weight, made[says] * weight
        kept = -before[says] * weight
        if decays and kept.any():
            moves = bool(one.any())
            inverse = np.linalg.pinv(np.stack([one, kept] if moves else [kept], axis=1))
            (*ratios, decay), errors = inverse @ other, np.abs(inverse).sum(axis=1)
            ratio, error = (ratios[0], errors[0]) if moves else (ratio, error)
            decay_error = errors[-1]
        elif one.any():
            square = float((one * one).sum())
            ratio = float((one * other).sum() / square)
            error = float(np.abs(one).sum() / square)
        off = made - (1.0 if np.isnan(ratio) else ratio) * step + decay * before
        if np.any(np.abs(off) > room):
            return None
        is_one = bool(np.all(np.abs(made - step + decay * before) <= room))
        return Step(number, index, 0, ratio, decay, is_one, error, decay_error)

    def room(
        self, number: int, index: int, variable: str, before: np.ndarray, made: np.ndarray
    ) -> Any:
        bound = self.tolerances[number][index][1].get(variable)
        ulp = 2.0**-23 * np.abs(before)
        if bound is None:
            return ulp + 1e-4 * np.abs(made)
        bound = np.where(np.isnan(bound), np.inf, bound)
        return 3 * bound + 1e-4 * np.abs(made) + ulp

    # Explaining

    def right(self) -> Dict[Pair, bool]:
        """Return whether each pair is as in TensorFlow."""
        if self._right is None:
            self._right = self._verdicts()
        return self._right

    @property
    def wrong(self) -> List[Pair]:
        """Return the pairs that are not as in TensorFlow."""
        return [pair for pair, is_right in self.right().items() if not is_right]

    def wrong_in(self, number: int) -> List[Pair]:
        """Return the pairs that are not as in TensorFlow in one run."""
        alone = UpdateSearch(
            self.traces[number : number + 1], self.tolerances[number:], self.check_time
        )
        return alone.wrong

    def _verdicts(self) -> Dict[Pair, bool]:
        verdicts: Dict[Pair, bool] = dict.fromkeys(self.pairs, False)
        for variable in {variable: None for _, variable in self.pairs}:
            tasks = {task for task, name in self.pairs if name == variable}
            for task, steps in self.compared(variable, Program(), tasks).items():
                verdicts[task, variable] = _is_one(steps)
        return verdicts

    @property
    def found(self) -> Dict[Pair, List[Solution]]:
        """Return what was found so far for each pair that is not as in TensorFlow."""
        if self._found is None:
            self._found = {pair: self._frozen(pair) for pair in self.wrong}
        return self._found

    def quick(self) -> Iterator[Updates]:
        """Yield what explains all updates by one edit for each."""
        usual = [family.make(value) for family in catalogue.FAMILIES for value in family.values]
        borrowing = catalogue.borrowing({task for task, _ in self.pairs})
        pieces = [*catalogue.PIECES, *borrowing, *usual, catalogue.NO_EPSILON]
        singles = [(), *((piece,) for piece in pieces)]
        yield from self._chosen()
        for level in (EXACT, RATE):
            self._try(singles, level)
            yield from self._chosen()
            if level == EXACT:
                yield from self._states([()])
        self._try([()], SCHEDULE)
        yield from self._chosen()

    def combined(self) -> Iterator[Updates]:
        """Yield what explains all updates by one edit for each and a usual one."""
        usual = [(piece,) for piece in catalogue.USUAL]
        yield from self._states(usual)
        self._try(usual, SCHEDULE)
        yield from self._chosen()
        self._try(self._combinations(catalogue.USUAL), RATE)
        yield from self._chosen()

    def fitted(self) -> Iterator[Updates]:
        """Yield what explains all updates by one edit for each, with fitted numbers."""
        self._fit(())
        yield from self._chosen()

    def deep(self) -> Iterator[Updates]:
        """Yield what explains all updates by any two edits for each, or by shared state and one."""
        self._fit((), RATE)
        yield from self._chosen()
        yield from self._shared_and_fitted()
        families = [family.make(value) for family in catalogue.FAMILIES for value in family.values]
        self._try(self._combinations([*catalogue.PIECES, *families]), RATE)
        yield from self._chosen()
        for piece in catalogue.PIECES:
            self._fit((piece,))
        yield from self._chosen()

    def _shared_and_fitted(self) -> Iterator[Updates]:
        """Yield what explains all updates by shared state and a fitted number."""
        tasks = list({task: None for task, _ in self.pairs})
        for concerned, way in catalogue.sharing(tasks) if len(tasks) > 1 and self.wrong else ():
            task, variable = next((pair for pair in self.wrong if pair[0] in concerned), ("", ""))
            for family in catalogue.FITTED_WITH_STATE if task else ():
                found = self._fitted(family, (way,), task, variable, EXACT)
                if found:
                    updates = self._by_state(concerned, (way, family.make(found[1])))
                    yield from [updates] if updates else []

    def _frozen(self, pair: Pair) -> List[Solution]:
        """Return that a weight is not trained by a task, where it never moves."""
        task, variable = pair
        moves = (
            self._has_moved(number, index, variable)
            for number, trace in enumerate(self.traces)
            for index in range(len(trace.run.after))
            if trace.model.case.steps[index].task == task
        )
        if any(moves):
            return []
        program = Program(rests=lambda now: True)
        return [Solution(((FROZEN, None),), program)]

    def _try(self, candidates: Iterable[Tuple[Piece, ...]], level: int) -> None:
        """Add the candidates that explain pairs for which nothing was found.

        It ends at the first pair that none explains, since then the others do not help.
        """
        given = list(candidates)
        for task, variable in self.wrong:
            if self.found[task, variable]:
                continue
            for pieces in given:
                self._add(pieces, variable, {task}, level)
                if self.found[task, variable]:
                    self._spread_to_unexplained(pieces, level)
                    break
            else:
                return

    def _spread_to_unexplained(self, pieces: Tuple[Piece, ...], level: int) -> None:
        """Try what explains one pair on all for which nothing was found."""
        for variable in {variable: None for _, variable in self.wrong}:
            tasks = {t for t, name in self.wrong if name == variable}
            self._add(pieces, variable, {t for t in tasks if not self.found[t, variable]}, level)

    def _add(
        self,
        pieces: Tuple[Piece, ...],
        variable: str,
        tasks: Set[str],
        level: int,
    ) -> None:
        """Add what pieces explain, with a decay, a rate or a schedule where the level allows it."""
        program = program_of(pieces)
        left = {task for task in tasks if self._applies(pieces, task, variable)}
        for decays in (False, True):
            if not left or not self.compared(variable, program, left, decays, few=4):
                continue
            for task, steps in self.compared(variable, program, left, decays).items():
                solution = self._solution(pieces, program, task, variable, steps, level)
                if solution:
                    self.found[task, variable].append(solution)
                    left.discard(task)

    def _share(self) -> None:
        """Try what explains one pair on the others, so that few edits explain all."""
        every = [solution for solutions in self.found.values() for solution in solutions]
        for solution in {solution.named: solution for solution in every}.values():
            if not solution.pieces:
                continue
            for variable in {variable: None for _, variable in self.wrong}:
                tasks = {
                    task
                    for task, name in self.wrong
                    if name == variable
                    and all(s.pieces != solution.pieces for s in self.found[task, name])
                }
                self._add(solution.pieces, variable, tasks, RATE)

    def _applies(self, pieces: Tuple[Piece, ...], task: str, variable: str) -> bool:
        """Return whether pieces change something in the rule of a pair."""
        rule, hyper = self._rule_of(task, variable)
        if any(piece.needs and rule not in piece.needs for piece in pieces):
            return False
        return not any(
            piece.hyper
            and not (piece.rule or piece.changes or piece.state)
            and all(hyper.get(k) == np.float32(v) for k, v in piece.hyper.items())
            for piece in pieces
        )

    def _rule_of(self, task: str, variable: str) -> Tuple[str, Dict[str, float]]:
        """Return the rule of a pair and its hyper-parameters, or those of another task."""
        if (task, variable) not in self._rules:
            self._rules[task, variable] = self._looked_up(task, variable)
        return self._rules[task, variable]

    def _rates(self, steps: Sequence[Step], variable: str) -> List[float]:
        """Return the learning rates of the graph in some steps."""
        hyper = (self._hyper(self.traces[s.case], s.at, variable) for s in steps)
        return [found.get("rate", 1.0) for found in hyper]

    def _decaying(
        self, program: Program, decay: float, task: str, variable: str
    ) -> Tuple[Program, float, Sequence[Step]]:
        """Return the program with a decay in few digits that explains the steps, and these."""
        short = nice(decay, np.array([2e-3 * abs(decay)]))
        decaying = program._replace(decay=short)
        return decaying, short, self.compared(variable, decaying, {task}).get(task, ())

    def _hyper(self, trace: Trace, index: int, variable: str) -> Dict[str, float]:
        """Return the hyper-parameters of a step; none where it does not train the weight."""
        inputs = trace.step(index).inputs.get(variable)
        if inputs is None:
            return {}
        update = trace.updates(trace.model.case.steps[index].task)[variable]
        names = HYPER.get(rule_of(update.node), ())
        at = [i for i in range(len(update.cells), len(inputs)) if i != update.gradient]
        values = (float(np.float32(np.ravel(value_of(inputs[i]))[0])) for i in at)
        return dict(zip(names, values))

    def _looked_up(self, task: str, variable: str) -> Tuple[str, Dict[str, float]]:
        rule = ""
        found: Dict[str, float] = {}
        for trace in self.traces:
            for index in range(len(trace.run.after)):
                hyper = self._hyper(trace, index, variable)
                if trace.model.case.steps[index].task != task or not hyper:
                    continue
                rule = rule or rule_of(trace.updates(task)[variable].node)
                found = found or hyper
                if hyper.get("rate") != found.get("rate"):
                    found = {name: x for name, x in found.items() if name != "rate"}
                    return rule, found
        if rule:
            return rule, found
        for trace in self.traces:
            for each in trace.model.case.tasks:
                if variable in trace.updates(each):
                    return rule_of(trace.updates(each)[variable].node), {}
        return "", {}

    def _solution(
        self,
        pieces: Tuple[Piece, ...],
        program: Program,
        task: str,
        variable: str,
        steps: Sequence[Step],
        level: int,
    ) -> Optional[Solution]:
        """Return the explanation of a pair, with what its ratios say about the rate."""
        named: Named = tuple(edit for piece in pieces for edit in piece.edits)
        rate = self._rule_of(task, variable)[1].get("rate")
        rate = None if rate is None else float(str(np.float32(rate)))
        decay = _decay(steps, rate)
        if decay is None:
            return None
        if decay:
            program, decay, steps = self._decaying(program, decay, task, variable)
            if not steps:
                return None
            named += (("weight decay", decay),)
        if not _is_one(steps):
            if level == EXACT and pieces:
                return None
            constant = _constant_ratio(steps)
            if constant is not None:
                if rate is None:
                    return None
                value = nice(constant * rate, np.array([1e-4 * abs(constant * rate)]))
                if all(piece.names_rate for piece in pieces):
                    named += (("learning rate", value),)
                program = program._replace(hyper={**program.hyper, "rate": value})
            else:
                schedule = (
                    _schedule(steps, self._rates(steps, variable)) if level == SCHEDULE else None
                )
                if schedule is None:
                    return None
                name, scale = schedule
                named += (("schedule", name),)
                program = program._replace(scale=scale)
        return Solution(named, program, pieces) if named else None

    def _fit(self, more: Tuple[Piece, ...], level: int = EXACT) -> None:
        """Try the families with a value fitted to the steps of a pair, then on all of them.

        Of two values that explain a pair, the one with fewer digits is meant.
        """
        for task, variable in self.wrong:
            if self.found[task, variable]:
                continue
            fitted = []
            for family in catalogue.FAMILIES:
                if self._applies((family.make(0.123), *more), task, variable):
                    found = self._fitted(family, more, task, variable, level)
                    fitted += [(found[0], family.make(found[1]))] if found else []
            if not fitted:
                return
            for _, piece in sorted(fitted, key=lambda found: found[0]):
                self._add((*more, piece), variable, {task}, RATE)
            if self.found[task, variable]:
                self._spread_to_unexplained(self.found[task, variable][0].pieces, RATE)

    def _fitted(
        self, family: Family, more: Tuple[Piece, ...], task: str, variable: str, level: int
    ) -> Optional[Tuple[int, float]]:
        """Return the value of a family that explains a pair, and in how many digits.

        The level says whether the learning rate may differ too.
        """

        def program(value: float) -> Program:
            return program_of((*more, family.make(value)))

        def off(exponent: float) -> float:
            return self._mismatch(program(float(np.exp(exponent))), task, variable, level)

        grid = np.linspace(np.log(family.low), np.log(family.high), 20)
        values = np.array([off(x) for x in grid])
        if not np.isfinite(values).any():
            return None
        best = int(np.nanargmin(values))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        exponent = _least(off, low, high)
        least = off(exponent)
        for digits in (1, 2, 3, 4):
            value = float(f"{np.exp(exponent):.{digits}g}")
            if off(float(np.log(value))) <= 1.1 * least + 1e-3:
                steps = self.compared(variable, program(value), {task}).get(task)
                fits = steps and (level == RATE or _is_one(steps))
                return (digits, value) if fits else None
        return None

    def _mismatch(self, program: Program, task: str, variable: str, level: int) -> float:
        """Return how far the first steps of a program are from those of the port."""
        self.check_time()
        total = 0.0
        for number in self._telling(task, variable):
            trace, steps = self.traces[number], 0
            for moved in replay(trace, variable, lambda task: program):
                if moved.task == task:
                    total += self._off(number, moved.at, variable, moved.after, level)
                    steps += 1
                if steps >= FITTED_STEPS:
                    break
        return total

    def _off(self, number: int, index: int, variable: str, after: Any, level: int) -> float:
        """Return the mean of the squares of what a step is off, in units of the room for it."""
        run = self.traces[number].run
        before = run.before[index][variable].astype(np.float64)
        made = run.after[index][variable] - before
        step = value_of(after) - before
        room = self.room(number, index, variable, before, made) + 1e-300
        if level == RATE:
            weighted = step / room**2
            step = step * ((weighted * made).sum() / max(float((weighted * step).sum()), 1e-300))
        off = made - step
        return float(np.minimum((off / room) ** 2, 1e12).mean())

    def _telling(self, task: str, variable: str) -> List[int]:
        """Return the runs whose first steps are furthest from those of TensorFlow."""
        if (task, variable) not in self._telling_runs:
            off = {}
            for number, trace in enumerate(self.traces):
                steps = [
                    m for m in replay(trace, variable, lambda task: Program()) if m.task == task
                ]
                few = steps[:FITTED_STEPS]
                off[number] = sum(self._off(number, m.at, variable, m.after, EXACT) for m in few)
            best = sorted(off, key=lambda number: -off[number])
            self._telling_runs[task, variable] = best[:FITTED_RUNS]
        return self._telling_runs[task, variable]

    def _combinations(self, others: Sequence[Piece]) -> Iterator[Tuple[Piece, ...]]:
        """Yield pairs of pieces that may be made together, one of them of the others."""
        families = [family.make(value) for family in catalogue.FAMILIES for value in family.values]
        seen: Set[FrozenSet[Named]] = set()
        for a, b in itertools.product([*catalogue.PIECES, *families], others):
            kinds = {kind for kind, _ in a.edits} & {kind for kind, _ in b.edits}
            if kinds or (a.rule and (b.rule or b.adam)) or (b.rule and a.adam):
                continue
            key = frozenset((a.edits, b.edits))
            if (a.changes and b.changes) or set(a.hyper) & set(b.hyper) or key in seen:
                continue
            seen.add(key)
            yield (b, a) if b.changes else (a, b)

    # State that the updates of several tasks share

    def _states(self, extras: Iterable[Tuple[Piece, ...]]) -> Iterator[Updates]:
        """Yield what explains all pairs by the state of the optimizers, with more pieces."""
        tasks = tuple({task: None for task, _ in self.pairs})
        alone = [(task,) for task in tasks] if len(tasks) > 1 else []
        ways = [(group, piece) for group in (tasks, *alone) for piece in catalogue.STATES]
        if len(tasks) > 1:
            ways += catalogue.sharing(tasks)
        wrong = {task for task, _ in self.wrong}
        for extra in extras:
            for concerned, way in ways:
                found = self._by_state(concerned, (way, *extra)) if wrong <= {*concerned} else None
                if found:
                    yield found

    def _by_state(
        self,
        tasks: Tuple[str, ...],
        pieces: Tuple[Piece, ...],
    ) -> Optional[Updates]:
        concerned = [pair for pair in self.pairs if pair[0] in tasks]
        solutions: Dict[Pair, Solution] = {}
        program = program_of(pieces)
        for variable in {variable: None for _, variable in concerned}:
            wanted = {task for task, name in concerned if name == variable}
            if not self.compared(variable, program, wanted, few=4):
                return None
            found = self.compared(variable, program, wanted)
            for task in wanted:
                steps = found.get(task)
                if steps is None:
                    return None
                solution = self._solution(pieces, program, task, variable, steps, RATE)
                if solution is None:
                    return None
                solutions[task, variable] = solution
        edits = _merged({pair: solution.named for pair, solution in solutions.items()}, self.pairs)
        state = {kind for kind, _ in pieces[0].edits}
        places = tuple(tasks)
        edits = tuple(
            edit._replace(places=places)
            if edit.kind in state and edit.kind not in catalogue.OF_VARIABLES
            else edit
            for edit in edits
        )
        # The runs of a task count also for the weights that it does not train.
        for variable in {variable: None for _, variable in concerned}:
            for task in tasks:
                solutions.setdefault((task, variable), Solution((), program, pieces))
        return Updates(solutions, edits)

    def lengths(self, pair: Pair) -> Tuple[float, float]:
        """Return the shortest and the longest step of a pair, in lengths of those of TensorFlow."""
        task, variable = pair
        found = []
        for trace in self.traces:
            for moved in replay(trace, variable, lambda task: Program()):
                before = trace.run.before[moved.at][variable].astype(np.float64)
                made = np.linalg.norm(trace.run.after[moved.at][variable] - before)
                step = np.linalg.norm(value_of(moved.after) - before)
                if moved.task == task and step:
                    found.append(float(made / step))
        return (min(found), max(found)) if found else (np.nan, np.nan)

    # Choosing

    def _chosen(self) -> Iterator[Updates]:
        """Yield few edits that explain all pairs, if every pair is explained in a new way."""
        number = sum(map(len, self.found.values()))
        if not all(self.found.values()) or number == self._number:
            return
        self._share()
        self._number = sum(map(len, self.found.values()))
        left = dict(self.found)
        chosen: Dict[Pair, Solution] = {}
        while left:
            votes: Dict[Named, List[Pair]] = {}
            for pair, solutions in left.items():
                for solution in solutions:
                    votes.setdefault(solution.named, []).append(pair)
            named = max(votes, key=lambda n: (len(votes[n]), -len(n)))
            for pair in votes[named]:
                chosen[pair] = next(s for s in left[pair] if s.named == named)
                del left[pair]
        for named in {solution.named: None for solution in chosen.values()}:
            self._spread(chosen, named, [pair for pair, right in self.right().items() if right])
        merged = _merged({pair: s.named for pair, s in chosen.items()}, self.pairs)
        yield Updates(chosen, merged)

    def _spread(self, chosen: Dict[Pair, Solution], named: Named, right: Sequence[Pair]) -> None:
        """Extend an explanation to the right pairs, if it is as right for all of them."""
        solution = next(s for s in chosen.values() if s.named == named)
        wrong = {pair for pair, s in chosen.items() if s.named == named}
        pieces = solution.pieces
        free = [pair for pair in right if pair not in chosen and self._applies(pieces, *pair)]
        if len(wrong) < len(set(self.pairs) - set(free)) or not free:
            return
        if named[0][0] == FROZEN:
            return
        for variable in {variable: None for _, variable in free}:
            tasks = {task for task, name in free if name == variable}
            same = self.compared(variable, solution.program, tasks)
            if set(same) != tasks or not all(_is_one(steps) for steps in same.values()):
                return
        chosen.update(dict.fromkeys(free, solution))


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a function is least, by golden-section search."""
    ratio = (5**0.5 - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = function(a), function(b)
    for _ in range(24):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = function(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = function(b)
    return (low + high) / 2


def _merged(named: Mapping[Pair, Named], pairs: Iterable[Pair]) -> Tuple[Edit, ...]:
    """Return edits at all their places; all weights of a task are the task, and so on."""
    places: Dict[Tuple[str, Any], List[Pair]] = {}
    for pair, edits in named.items():
        for edit in edits:
            places.setdefault(edit, []).append(pair)
    # Of a frozen weight nothing else can be seen.
    frozen = {pair for (kind, _), where in places.items() if kind == FROZEN for pair in where}
    seen = [pair for pair in pairs if pair not in frozen]
    return tuple(
        Edit(kind, names_of(where, pairs if kind == FROZEN else seen, by_variable(kind)), value)
        for (kind, value), where in places.items()
    )


def by_variable(kind: str) -> bool:
    """Return whether the places of a kind are weights rather than tasks, if both say the same."""
    return kind in catalogue.OF_VARIABLES


def names_of(
    where: Iterable[Pair], pairs: Iterable[Pair], variables_first: bool = False
) -> Tuple[str, ...]:
    """Return places for pairs: tasks or weights where a whole one is meant, else "task/weight"."""
    left, every = dict.fromkeys(where), list(pairs)
    names: List[str] = []
    variables_first = variables_first and len({task for task, _ in every}) > 1
    for position in (1, 0) if variables_first else (0, 1):
        for name in {pair[position]: None for pair in every}:
            group = [pair for pair in every if pair[position] == name]
            if all(pair in left for pair in group):
                names.append(name)
                for pair in group:
                    del left[pair]
    return (*names, *("/".join(pair) for pair in left))


# What the ratios of steps say


def _is_one(steps: Sequence[Step]) -> bool:
    return all(s.is_one for s in steps)


def _constant_ratio(steps: Sequence[Step]) -> Optional[float]:
    known = [s for s in steps if not np.isnan(s.ratio)]
    if not known:
        return None
    ratios = np.array([s.ratio for s in known])
    errors = np.array([s.error for s in known])
    weights = 1 / np.maximum(errors, 1e-9) ** 2
    best = float((ratios * weights).sum() / weights.sum())
    return best if np.all(np.abs(ratios - best) <= errors + 3e-4 * abs(best)) else None


def _decay(steps: Sequence[Step], rate: Optional[float]) -> Optional[float]:
    """Return the decay in units of the rate; 0.0 without one, None where it is not constant."""
    decays = np.array([s.decay for s in steps])
    if not decays.any():
        return 0.0
    known = np.isfinite([s.decay_error for s in steps])
    if rate is None or not known.any():
        return None
    ratios = np.array([s.ratio for s in steps])[known]
    units = rate * np.where(np.isnan(ratios), 1.0, ratios)
    errors = np.array([s.decay_error for s in steps])[known] / np.abs(units) + 1e-12
    relative = decays[known] / units
    best = float((relative / errors**2).sum() / (1 / errors**2).sum())
    sure = float(errors.min())
    if abs(best) <= sure or np.any(np.abs(relative - best) > errors + 0.01 * abs(best)):
        return None
    return best


def _schedule(
    steps: Sequence[Step], rates: Sequence[float]
) -> Optional[Tuple[str, Callable[[Now], float]]]:
    """Return the name of a schedule and its factor, where ratios follow from the run's number."""
    for by in ("at", "runs"):
        ratios: Dict[int, List[float]] = {}
        effective: Dict[int, float] = {}
        for s, rate in zip(steps, rates):
            if not np.isnan(s.ratio):
                number = getattr(s, by)
                ratios.setdefault(number, []).append(s.ratio)
                effective[number] = rate
        numbers = np.array(sorted(ratios), np.float64)
        factors = {n: float(np.median(found)) for n, found in ratios.items()}
        spread = [np.ptp(found) > 1e-3 * abs(factors[n]) for n, found in ratios.items()]
        if len(numbers) < 3 or any(spread):
            continue
        name = _schedule_name(
            numbers, np.array([factors[n] * effective[n] for n in sorted(ratios)])
        )
        if name:
            return name, _by_number(by, factors)
    return None


def _by_number(by: str, factors: Mapping[int, float]) -> Callable[[Now], float]:
    return lambda now: factors.get(getattr(now, by), 1.0)


def _schedule_name(numbers: np.ndarray, factors: np.ndarray) -> Optional[str]:
    def is_line(y: np.ndarray, x: np.ndarray = numbers) -> bool:
        if len(x) < 3 or not np.isfinite(y).all():
            return False
        line = np.polyval(np.polyfit(x, y, 1), x)
        return bool(np.all(np.abs(line - y) <= 2e-3 * np.abs(y).max()))

    if np.all(factors > 0) and is_line(np.log(factors)):
        return "exponential"
    if np.all(factors > 0) and is_line(1 / factors):
        return "inverse"
    if np.all(factors > 0) and is_line(1 / factors**2):
        return "inverse square root"
    rising = factors < factors.max() * (1 - 1e-3)
    if rising.sum() >= 2 and rising[: rising.sum()].all():
        start = factors[: rising.sum() + 1]
        if is_line(start, numbers[: len(start)]) or len(start) == 3:
            return "warm-up"
    if is_line(factors):
        return "linear"
    levels = np.unique(np.round(factors / factors[0], 3))
    if len(levels) < len(factors) and np.all(np.diff(factors) <= 1e-3):
        return "steps"
    return None
