"""Finds what a port does in its updates, given its losses and gradients.

Each update of a weight in a task is a pair that is explained on its own. A program is replayed on
all tasks at once and compared pair by pair. What explains many pairs is named first.
"""

import itertools
from typing import (
    AbstractSet,
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

from tf1_mtl.baseline.diagnosis import catalogue, update_catalogue
from tf1_mtl.baseline.diagnosis.edits import FROZEN, Edit, Named, Pair, merged
from tf1_mtl.baseline.diagnosis.fitting import nice
from tf1_mtl.baseline.diagnosis.model import HYPER, ModelRun
from tf1_mtl.baseline.diagnosis.model_edits import has_gradient, is_copy
from tf1_mtl.baseline.diagnosis.replay import RIGHT, Program
from tf1_mtl.baseline.diagnosis.step_comparison import (
    Step,
    StepComparison,
    are_one,
    constant_ratio,
    decay_of,
    schedules_of,
)
from tf1_mtl.baseline.diagnosis.update_catalogue import Piece, program_of
from tf1_mtl.baseline.diagnosis.update_fit import UpdateFit
from tf1_mtl.baseline.error_bounds import value_of

#: Fields of a program that change nothing where the gradient is an array.
OF_SPARSE = {"is_dense", "sets_rows"}
#: What else may differ where a piece explains a step: a decay; a rate too; a schedule too.
EXACT, RATE, SCHEDULE = 0, 1, 2
Pieces = Tuple[Piece, ...]


class Solution(NamedTuple):
    """Holds what explains a pair."""

    named: Named
    program: Program
    pieces: Pieces = ()


class Updates(NamedTuple):
    """Holds what explains updates of weights."""

    solutions: Mapping[Pair, Solution] = {}
    edits: Tuple[Edit, ...] = ()

    def programs(self, variable: str) -> Dict[str, Program]:
        """Returns what the optimizers do to a weight, by task."""
        found = self.solutions.items()
        return {task: s.program for (task, name), s in found if name == variable}


class UpdateSearch:
    """Searches what explains the updates of some runs."""

    def __init__(self, comparison: StepComparison, unknown: AbstractSet[str] = frozenset()) -> None:
        """Starts a search.

        Args:
          comparison: Of the steps of the runs.
          unknown: Tasks whose losses nothing explains. Their updates are not searched.
        """
        self.runs, self.comparison, self.unknown = comparison.runs, comparison, unknown
        self.fit = UpdateFit(self.comparison)
        self.pairs = self._all_pairs()
        self.right = self._verdicts()  #: whether each pair is as in TensorFlow
        self.wrong = [pair for pair, is_right in self.right.items() if not is_right]
        #: What was found so far for each pair that is not as in TensorFlow.
        self.found = {pair: self._frozen(pair) for pair in self.wrong}
        self._rules: Dict[Pair, Tuple[str, Dict[str, float]]] = {}
        self._number = 0  # of solutions among which was chosen

    def _all_pairs(self) -> Dict[Pair, None]:
        """Returns the weights that a task trains or that move in its steps."""
        return {
            (task, name): None
            for number, run in enumerate(self.runs)
            for index in range(len(run.port_run.after))
            for task in {run.task(index)} - self.unknown
            for name in run.port_run.before[index]
            if name in run.updates(task) or self.comparison.has_moved(number, index, name)
        }

    def _verdicts(self) -> Dict[Pair, bool]:
        verdicts: Dict[Pair, bool] = dict.fromkeys(self.pairs, False)
        for variable, tasks in _by_variable(self.pairs).items():
            for task, steps in self.comparison.compared(variable, RIGHT, tasks).items():
                verdicts[task, variable] = are_one(steps)
        return verdicts

    def telling_runs(self) -> List[int]:
        """Returns, for each task with wrong updates, the first run in which they are wrong."""
        found: Dict[str, int] = {}
        for number in range(len(self.runs)):
            if {task for task, _ in self.wrong}.difference(found):
                for task, _ in UpdateSearch(self.comparison.of_run(number), self.unknown).wrong:
                    found.setdefault(task, number)
        return list(dict.fromkeys(found.values()))

    def quick(self) -> Iterator[Updates]:
        """Yields what explains all updates by one edit for each."""
        if not self.wrong:
            yield Updates()
            return
        singles = self._singles()
        yield from self._chosen()
        for level in (EXACT, RATE):
            self._try(singles, level)
            yield from self._chosen()
            if level == EXACT:
                yield from self._states([()])
        self._try([()], SCHEDULE)
        yield from self._chosen()

    def in_part(self, fits: bool) -> Iterator[Updates]:
        """Yields what explains some updates, by one listed edit for each; the most first.

        Args:
          fits: Whether numbers are fitted too.
        """
        for level in (EXACT, RATE):
            self._try(self._singles(), level, needs_all=False)
        if fits:
            self._fit((), needs_all=False)
        self._share()
        yield from self._few_edits({pair: found for pair, found in self.found.items() if found})

    def _singles(self) -> List[Pieces]:
        """Returns the edits that are tried one by one, the first of which is none."""
        borrowing = update_catalogue.borrowing({task for task, _ in self.pairs})
        constant = update_catalogue.constant_rates(self._first_rates())
        pieces = [*constant, *update_catalogue.LISTED, *borrowing, update_catalogue.NO_EPSILON]
        return [(), *((piece,) for piece in pieces)]

    def clipped(self, numbers: Sequence[float]) -> Iterator[Updates]:
        """Yields what explains all updates by another clipping, with one of some numbers."""
        has_rows = any(map(self._is_sparse, self.wrong))  # which may be summed before
        pieces = update_catalogue.clippings(numbers)
        self._try([(piece,) for piece in pieces if has_rows or not piece.state], EXACT)
        yield from self._chosen()

    def everywhere(self) -> Iterator[Updates]:
        """Yields each known edit in all updates, where these are off by too little to compare."""
        for piece in (*update_catalogue.USUAL, *update_catalogue.LISTED):
            named = Solution(piece.edits, program_of((piece,)), (piece,))
            solutions = {pair: named for pair in self.pairs if self._applies((piece,), pair)}
            if solutions:
                yield self.of(solutions)

    def of(self, solutions: Mapping[Pair, Solution]) -> Updates:
        """Returns solutions with their edits."""
        return Updates(solutions, self._merged(solutions))

    def _merged(self, solutions: Mapping[Pair, Solution]) -> Tuple[Edit, ...]:
        """Returns the edits at all their places. A moving average counts where it has an edit."""
        named = {
            pair: solution.named if self._has_gradient(pair) else _of_average(solution.named)
            for pair, solution in solutions.items()
        }
        trained = [pair for pair in self.pairs if self._has_gradient(pair)]
        pairs = [pair for pair in self.pairs if pair in named or pair in trained]
        return merged(named, pairs, are_averages=not trained)

    def _has_gradient(self, pair: Pair) -> bool:
        task, name = pair
        updates = (run.updates(task).get(name) for run in self.comparison.runs)
        graphs = (run.model.graph for run in self.comparison.runs)
        return any(update and has_gradient(graph, update) for graph, update in zip(graphs, updates))

    def _is_average(self, pair: Pair) -> bool:
        """Returns whether a task moves a weight, and not by a gradient."""
        is_moved = any(pair[1] in run.updates(pair[0]) for run in self.comparison.runs)
        return is_moved and not self._has_gradient(pair)

    def fitted(self) -> Iterator[Updates]:
        """Yields what explains all updates by one edit for each, with fitted numbers."""
        self._fit(())
        yield from self._chosen()

    def combined(self) -> Iterator[Updates]:
        """Yields what explains all updates by one edit for each and a usual one."""
        constant = update_catalogue.constant_rates(self._first_rates())
        listed = (piece for piece in update_catalogue.LISTED if "rate" not in piece.hyper)
        alone = [(piece,) for piece in constant]
        self._try([*alone, *itertools.product(listed, constant)], EXACT)
        yield from self._chosen()
        usual = [(piece,) for piece in update_catalogue.USUAL]
        yield from self._states(usual)
        self._try(usual, SCHEDULE)
        yield from self._chosen()
        self._try(self._combinations(update_catalogue.USUAL), RATE)
        yield from self._chosen()

    def deep(self) -> Iterator[Updates]:
        """Yields what explains all updates by two edits for each, or by shared state and one."""
        self._fit((), any_rate=True)
        yield from self._chosen()
        yield from self._shared_and_fitted()
        self._try(self._combinations(update_catalogue.LISTED), RATE)
        yield from self._chosen()
        for piece in update_catalogue.PIECES:
            self._fit((piece,))
        yield from self._chosen()

    def _shared_and_fitted(self) -> Iterator[Updates]:
        """Yields what explains all updates by shared state and a fitted number."""
        tasks = list({task: None for task, _ in self.pairs})
        for concerned, state in update_catalogue.sharing(tasks) if len(tasks) > 1 else ():
            wrong = [pair for pair in self.wrong if pair[0] in concerned][:1]
            for pair, family in itertools.product(wrong, update_catalogue.FITTED_WITH_STATE):
                found = self.fit.fitted(family, (state,), pair, any_rate=False)
                if found:
                    updates = self._by_state(concerned, (state, family.make(found[1])))
                    yield from [updates] if updates else []

    def _frozen(self, pair: Pair) -> List[Solution]:
        """Returns that a task does not train a weight, if the weight never moves."""
        task, variable = pair
        moves = (
            self.comparison.has_moved(number, index, variable)
            for number, run in enumerate(self.runs)
            for index in range(len(run.port_run.after))
            if run.task(index) == task
        )
        program = Program(rests=lambda now: True)
        return [] if any(moves) else [Solution(((FROZEN, None),), program)]

    def _try(self, candidates: Iterable[Pieces], level: int, needs_all: bool = True) -> None:
        """Adds the candidates that explain pairs for which nothing was found.

        What explains one pair is tried first on the next one.

        Args:
          candidates: What the optimizers may do.
          level: What else may differ.
          needs_all: Whether to end at a pair that none explains.
        """
        given = list(candidates)
        for pair in self.wrong:
            if not self.found[pair]:
                for pieces in given:
                    self._add(pieces, [pair], level)
                    if self.found[pair]:
                        given.insert(0, pieces)
                        break
                else:
                    if needs_all:
                        return

    def _fit(self, more: Pieces, any_rate: bool = False, needs_all: bool = True) -> None:
        """Tries the families, with a value fitted to the steps of each pair in turn.

        Of two values that explain a pair, the one with fewer digits is meant.
        """
        for pair in self.wrong:
            if self.found[pair]:
                continue
            fitted = []
            for family in update_catalogue.FAMILIES:
                if self._applies((family.make(0.123), *more), pair):
                    found = self.fit.fitted(family, more, pair, any_rate)
                    fitted += [(found[0], family.make(found[1]))] if found else []
            if not fitted and needs_all:
                return
            for _, piece in sorted(fitted, key=lambda found: found[0]):
                self._add((*more, piece), [pair], RATE)
            if self.found[pair]:
                unexplained = [other for other in self.wrong if not self.found[other]]
                self._add(self.found[pair][0].pieces, unexplained, RATE)

    def _add(self, pieces: Pieces, pairs: Iterable[Pair], level: int) -> None:
        """Adds what pieces explain, with a decay, rate or schedule where the level allows it."""
        program = program_of(pieces)
        applying = [pair for pair in pairs if self._applies(pieces, pair)]
        for variable, left in _by_variable(applying).items():
            for decays in (False, True) if left else ():
                compared = self.comparison.compared(variable, program, left, decays)
                for task, steps in compared.items():
                    found = self._solutions(pieces, program, (task, variable), steps, level)
                    self.found[task, variable] += found
                    if found:
                        left.discard(task)

    def _share(self) -> None:
        """Tries what explains one pair on the others, so that few edits explain all."""
        every = [solution for solutions in self.found.values() for solution in solutions]
        for pieces in {solution.named: solution.pieces for solution in every}.values():
            others = [
                pair
                for pair in self.wrong
                if pieces and all(s.pieces != pieces for s in self.found[pair])
            ]
            self._add(pieces, others, RATE)

    def _applies(self, pieces: Pieces, pair: Pair) -> bool:
        """Returns whether pieces change something in the rule of a pair."""
        rule, hyper = self._rule_of(pair)
        if any(piece.needs and rule not in piece.needs for piece in pieces):
            return False
        of_sparse = (p.state and OF_SPARSE.issuperset(p.state) and not p.changes for p in pieces)
        if any(of_sparse) and not self._is_sparse(pair):
            return False
        known = set(HYPER.get(rule, ()))  # none where a run copies or counts
        if any(not piece.rule and not known.issuperset(piece.hyper) for piece in pieces):
            return False
        return not any(
            piece.hyper
            and not (piece.rule or piece.changes or piece.state)
            and all(hyper.get(k) == np.float32(v) for k, v in piece.hyper.items())
            for piece in pieces
        )

    def _is_sparse(self, pair: Pair) -> bool:
        """Returns whether a pair is updated by a sparse gradient."""
        updates = (run.updates(pair[0]).get(pair[1]) for run in self.runs)
        return any(update and update.indices is not None for update in updates)

    def _rule_of(self, pair: Pair) -> Tuple[str, Dict[str, float]]:
        """Returns the rule of a pair and its hyper-parameters, without a rate that changes."""
        if pair not in self._rules:
            task, variable = pair
            rules = [
                run.updates(name)[variable].rule
                for run in self.runs
                for name in (task, *run.model.case.tasks)
                if name in run.model.case.tasks and variable in run.updates(name)
            ]
            hyper = [
                self._hyper(run, index, variable)
                for run in self.runs
                for index in range(len(run.port_run.after))
                if run.task(index) == task and variable in run.step(index).inputs
            ]
            found = dict(hyper[0]) if hyper else {}
            if any(each.get("rate") != found.get("rate") for each in hyper):
                del found["rate"]
            self._rules[pair] = rules[0] if rules else "", found
        return self._rules[pair]

    def _usual_rate(self, pair: Pair) -> Optional[float]:
        """Returns the learning rate of a pair in short; None where it changes."""
        rate = self._rule_of(pair)[1].get("rate")
        return None if rate is None else float(str(np.float32(rate)))

    def _hyper(self, run: ModelRun, index: int, variable: str) -> Dict[str, float]:
        """Returns the hyper-parameters of a step."""
        hyper = run.step(index).hyper(variable).items()
        return {name: float(np.float32(np.ravel(value_of(x))[0])) for name, x in hyper}

    def _first_rates(self) -> List[float]:
        """Returns the learning rates of first steps, where later ones differ."""
        rates: Dict[str, List[float]] = {}
        for run in self.runs:
            for index in range(len(run.port_run.after)):
                for name in list(run.step(index).inputs)[:1]:
                    rates.setdefault(run.task(index), []).append(self._rate(run, index, name))
        return [found[0] for found in rates.values() if len(set(found)) > 1]

    def _rate(self, run: ModelRun, index: int, variable: str) -> float:
        """Returns the learning rate of a step; of another weight where an update shows none."""
        every = (self._hyper(run, index, name) for name in (variable, *run.step(index).inputs))
        return next((hyper["rate"] for hyper in every if "rate" in hyper), 1.0)

    def _solutions(
        self, pieces: Pieces, program: Program, pair: Pair, steps: Sequence[Step], level: int
    ) -> List[Solution]:
        """Returns explanations of a pair, with what its ratios say about the rate."""
        task, variable = pair
        hyper = self._rule_of(pair)[1]
        edits = (edit for piece in pieces for edit in piece.edits)
        named: Named = tuple(
            (kind, value)
            for kind, value in edits
            if kind not in hyper or hyper[kind] != np.float32(value)  # as in the graph
        )
        rate = self._usual_rate(pair)
        decay = decay_of(steps, rate)
        if decay is None:
            return []
        if decay:
            program = program._replace(decay=decay)
            named += (("weight decay", decay),)
            beside = self.comparison.compared(variable, program, [task]).get(task, [])
            if not beside:  # a schedule leaves the decay as it is
                return self._scheduled(pieces, program, named, variable, steps, level)
            steps, program = beside, program._replace(scales_decay=True)
        if are_one(steps):
            return [Solution(named, program, pieces)] if named else []
        if level == EXACT and pieces:
            return []
        constant = constant_ratio(steps)
        if constant is not None:
            if rate is None:
                return self._copied_in_part(pieces, pair, program, named, constant)
            value = nice(constant * rate, np.array([1e-4 * abs(constant * rate)]))
            if all(piece.names_rate for piece in pieces):
                named += (("learning rate", value),)
            program = program._replace(hyper={**program.hyper, "rate": value})
            return [Solution(named, program, pieces)]
        return self._scheduled(pieces, program, named, variable, steps, level)

    def _copied_in_part(
        self, pieces: Pieces, pair: Pair, program: Program, named: Named, part: float
    ) -> List[Solution]:
        """Returns that a copy, such as that of a target network, moves by a part of the way."""
        task, variable = pair
        nodes = self.runs[0].model.graph.nodes
        updates = [run.updates(task).get(variable) for run in self.runs]
        if not 0 < part < 1 or not all(x and is_copy(nodes, x) for x in updates):
            return []
        value = nice(part, np.array([1e-4 * abs(part)]))
        program = program._replace(scale=lambda now: value)
        return [Solution((*named, ("copied in part", value)), program, pieces)]

    def _scheduled(
        self,
        pieces: Pieces,
        program: Program,
        named: Named,
        variable: str,
        steps: Sequence[Step],
        level: int,
    ) -> List[Solution]:
        """Returns explanations with a schedule of the rate, where the level allows one."""
        if level != SCHEDULE:
            return []
        rates = [self._rate(self.runs[s.run], s.at, variable) for s in steps]
        return [
            Solution((*named, ("schedule", name)), program._replace(scale=scale), pieces)
            for name, scale in schedules_of(steps, rates)
        ]

    def _combinations(self, others: Sequence[Piece]) -> Iterator[Pieces]:
        """Yields pairs of pieces that may be made together, one of them of the others."""
        seen: Set[FrozenSet[Named]] = set()
        for a, b in itertools.product(update_catalogue.LISTED, others):
            kinds = {kind for kind, _ in a.edits} & {kind for kind, _ in b.edits}
            if kinds or (a.rule and (b.rule or b.adam)) or (b.rule and a.adam):
                continue
            key = frozenset((a.edits, b.edits))
            if (a.changes and b.changes) or set(a.hyper) & set(b.hyper) or key in seen:
                continue
            seen.add(key)
            yield (b, a) if b.changes else (a, b)

    # State that the updates of several tasks share

    def _states(self, extras: Iterable[Pieces]) -> Iterator[Updates]:
        """Yields what explains all pairs by the state of the optimizers, with more pieces."""
        tasks = tuple({task: None for task, _ in self.pairs})
        alone = [(task,) for task in tasks] if len(tasks) > 1 else []
        states = [(group, piece) for group in (tasks, *alone) for piece in update_catalogue.STATES]
        if len(tasks) > 1:
            states.append((tasks, update_catalogue.ON_TASK_CHANGE))
            states += update_catalogue.sharing(tasks)
        wrong = {task for task, _ in self.wrong}
        for extra in extras if wrong else ():
            for group, state in states:
                found = self._by_state(group, (state, *extra)) if wrong <= {*group} else None
                if found:
                    yield found

    def _by_state(self, tasks: Tuple[str, ...], pieces: Pieces) -> Optional[Updates]:
        """Returns what explains all pairs of some tasks by the same pieces, or None."""
        solutions: Dict[Pair, Solution] = {}
        program = program_of(pieces)
        concerned = _by_variable(pair for pair in self.pairs if pair[0] in tasks)
        for variable, wanted in concerned.items():
            compared = self.comparison.compared(variable, program, wanted)
            if set(compared) != wanted:
                return None
            for task, steps in compared.items():
                found = self._solutions(pieces, program, (task, variable), steps, RATE)
                if not found:
                    return None
                solutions[task, variable] = found[0]
        edits = self._merged(solutions)
        state = {kind for kind, _ in pieces[0].edits} - catalogue.OF_VARIABLES
        edits = tuple(e._replace(places=tasks) if e.kind in state else e for e in edits)
        # The runs of a task count also for the weights that it does not train.
        for pair in itertools.product(tasks, concerned):
            solutions.setdefault(pair, Solution((), program, pieces))
        return Updates(solutions, edits)

    # Choosing

    def _chosen(self) -> Iterator[Updates]:
        """Yields few edits that explain all pairs, if every pair is explained in a new way."""
        number = sum(map(len, self.found.values()))
        if not all(self.found.values()) or number == self._number:
            return
        self._share()
        self._number = sum(map(len, self.found.values()))
        yield from self._few_edits(self.found)

    def _few_edits(self, found: Mapping[Pair, Sequence[Solution]]) -> Iterator[Updates]:
        """Yields few edits that explain some pairs, each of which has solutions."""
        left = dict(found)
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
        extended = dict(chosen)
        for named in {solution.named: None for solution in chosen.values()}:
            self._extend(extended, named)
        yield self.of(extended)
        if len(extended) > len(chosen):
            yield self.of(chosen)

    def _extend(self, chosen: Dict[Pair, Solution], named: Named) -> None:
        """Extends an explanation to the right pairs, if it is as right for all of them."""
        if named[0][0] == FROZEN:
            return
        explained = [pair for pair, solution in chosen.items() if solution.named == named]
        solution = chosen[explained[0]]
        applies = {pair: self._applies(solution.pieces, pair) for pair in self.pairs}
        own = {task for task, _ in explained}
        # What changes a gradient says nothing of a moving average, and the other way round.
        are_averages = {self._is_average(pair) for pair in explained}
        alike = [pair for pair in self.pairs if self._is_average(pair) in are_averages]
        # First among all of these; then among those that it concerns in its own tasks.
        for concerned in (alike, [x for x in alike if applies[x] and x[0] in own]):
            free = [
                pair
                for pair in concerned
                if self.right[pair]
                and pair not in chosen
                and applies[pair]
                and solution.program.hyper.get("rate", 0.0) != self._usual_rate(pair)
            ]
            if len(explained) >= len(concerned) - len(free):
                break
        else:
            return
        for variable, tasks in _by_variable(free).items():
            same = self.comparison.compared(variable, solution.program, tasks)
            if set(same) != tasks or not all(are_one(steps) for steps in same.values()):
                return
        chosen.update(dict.fromkeys(free, solution))


def _of_average(named: Named) -> Named:
    """Returns edits in the words of a moving average, which applies no gradient."""
    words = {"gradient scaled": "moved by a factor", "schedule": "moved by a schedule"}
    return tuple((words.get(kind, kind), value) for kind, value in named)


def _by_variable(pairs: Iterable[Pair]) -> Dict[str, Set[str]]:
    """Returns the tasks of each weight."""
    found: Dict[str, Set[str]] = {}
    for task, variable in pairs:
        found.setdefault(variable, set()).add(task)
    return found
