"""Compares the steps that a port made with those of a program, but for the learning rate."""

import itertools
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline.diagnosis.fitting import nice
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, ModelRun, Tolerances
from tf1_mtl.baseline.diagnosis.replay import Now, Program, replay
from tf1_mtl.baseline.error_bounds import UNIT, value_of

FEW = 4  #: steps of each run that are compared first


class Step(NamedTuple):
    """Compares the step that a port made with that of a program."""

    run: int
    at: int
    runs: int  #: of the task before, in this case
    ratio: float  #: NaN where the program does not move
    decay: float  #: share of the weight that was subtracted too
    is_one: bool  #: whether the step is the same
    error: float  #: of the ratio
    decay_error: float


class StepComparison:
    """Compares the steps of some runs."""

    def __init__(
        self,
        runs: Sequence[ModelRun],
        tolerances: Sequence[Tolerances],
        check_time: Callable[[], None],
    ) -> None:
        """Takes what the port did.

        Args:
          runs: Losses and gradients.
          tolerances: The error bounds of each run.
          check_time: Raises an exception when the time is up.
        """
        self.runs, self.tolerances, self.check_time = runs, tolerances, check_time
        self._moving: Dict[Tuple[str, str], bool] = {}

    def of_run(self, number: int) -> "StepComparison":
        """Returns the comparison of one run."""
        bounds = self.tolerances[number : number + 1]
        return StepComparison([self.runs[number]], bounds, self.check_time)

    def compared(
        self, variable: str, program: Program, tasks: Iterable[str], decays: bool = False
    ) -> Dict[str, List[Step]]:
        """Returns the steps of the tasks that a program explains, but for the rate.

        Args:
          variable: A weight.
          program: What is replayed.
          tasks: Those that are compared.
          decays: Whether a part of the weight may be subtracted too.
        """
        self.check_time()
        if not (program.zeros or program.late or program.borrows):
            tasks = [task for task in tasks if not self._moves_untrained(task, variable)]
        try:
            return self._explained(variable, program, tasks, decays)
        except DoesNotFit:  # a task whose gradient it borrows needs other feeds
            return {}

    def _explained(
        self, variable: str, program: Program, tasks: Iterable[str], decays: bool
    ) -> Dict[str, List[Step]]:
        found: Dict[str, List[Step]] = {}
        for few in (FEW, None):
            found = {task: [] for task in tasks}
            for number, run in enumerate(self.runs):
                runs: Dict[str, int] = {}
                for moved in itertools.islice(replay(run, variable, program), few):
                    runs[moved.task] = runs.get(moved.task, -1) + 1
                    if moved.task in found:
                        after = self._rounded(number, moved.at, variable, moved.after, program)
                        step = self._step(number, moved.at, variable, after, decays)
                        if step:
                            found[moved.task].append(step._replace(runs=runs[moved.task]))
                        else:
                            del found[moved.task]
                    if not found:
                        return {}
            tasks = list(found)
        return found

    def has_moved(self, number: int, index: int, variable: str) -> bool:
        """Returns whether a weight changed in a step."""
        run = self.runs[number].port_run
        return not np.array_equal(run.before[index][variable], run.after[index][variable])

    def _moves_untrained(self, task: str, variable: str) -> bool:
        """Returns whether a task that does not train a weight moves it."""
        if (task, variable) not in self._moving:
            self._moving[task, variable] = any(
                run.task(index) == task
                and variable not in run.updates(task)
                and self.has_moved(number, index, variable)
                for number, run in enumerate(self.runs)
                for index in range(len(run.port_run.after))
            )
        return self._moving[task, variable]

    def _rounded(self, number: int, index: int, variable: str, after: Any, program: Program) -> Any:
        """Returns a weight rounded as a program keeps it; as the port did where both may be."""
        if program.rounding is None:
            return after
        shown = self.runs[number].port_run.after[index][variable]
        _, _, room = self._made(number, index, variable)
        return np.clip(shown, program.rounding(after - room), program.rounding(after + room))

    def _made(
        self, number: int, index: int, variable: str, after: Any = None, ratio: float = 1.0
    ) -> Tuple[np.ndarray, np.ndarray, Any]:
        """Returns a weight before a step, the step that the port made, and its tolerance.

        The tolerance allows for steps that are longer than in TensorFlow by a ratio. Where a rule
        lengthens small steps most, it is the relative error that they have in TensorFlow.

        Args:
          after: The weight after the step that a program makes; None without one.
        """
        run = self.runs[number].port_run
        before = run.before[index][variable].astype(np.float64)
        made = run.after[index][variable] - before
        tolerance = self.tolerances[number][index]
        bound = tolerance.weights.get(variable)
        room = 2.0**-23 * np.abs(before) + 1e-4 * np.abs(made)
        if bound is not None:
            bound = np.where(np.isnan(bound), np.inf, bound)
            step = 0.0 if after is None else np.abs(value_of(after) - before)
            most = np.fmax(bound, tolerance.relative[variable] * step)  # inf * 0 says nothing
            room = room + 3 * max(abs(ratio), 1.0) * most
        return before, made, room

    def fits(self, number: int, index: int, variable: str, after: Any) -> bool:
        """Returns whether a weight after a step is that of the port."""
        before, made, room = self._made(number, index, variable, after)
        return not np.any(np.abs(value_of(after) - before - made) > room)

    def _step(
        self, number: int, index: int, variable: str, after: Any, decays: bool
    ) -> Optional[Step]:
        """Returns how one step compares; None where no rate explains it."""
        before, made, room = self._made(number, index, variable, after)
        step = np.asarray(value_of(after), np.float64) - before
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
            *ratios, decay = inverse @ other
            ratio, error = (ratios[0], np.abs(inverse[0]).sum()) if moves else (ratio, error)
            # Roundings of many elements add up like random ones.
            decay_error = np.sqrt((inverse[-1] ** 2).sum())
        elif one.any():
            square = float((one * one).sum())
            ratio = float((one * other).sum() / square)
            error = float(np.abs(one).sum() / square)
        rate = 1.0 if np.isnan(ratio) else ratio
        off = np.abs(made - rate * step + decay * before)
        if np.any(off > self._made(number, index, variable, after, rate)[2]):
            return None
        is_one = bool(np.all(np.abs(made - step + decay * before) <= room))
        return Step(number, index, 0, ratio, decay, is_one, error, decay_error)

    def off(self, number: int, index: int, variable: str, after: Any, any_rate: bool) -> float:
        """Returns the mean square of what a step is off, in units of its tolerance."""
        before, made, room = self._made(number, index, variable, after)
        step, room = value_of(after) - before, room + 1e-300
        if any_rate:
            weighted = step / room**2
            step = step * ((weighted * made).sum() / max(float((weighted * step).sum()), 1e-300))
        return float(np.minimum(((made - step) / room) ** 2, 1e12).mean())

    def lengths(self, task: str, variable: str) -> Tuple[float, float]:
        """Returns the shortest and the longest step, in lengths of those of TensorFlow."""
        found = []
        for number, run in enumerate(self.runs):
            for moved in replay(run, variable):
                before, made, _ = self._made(number, moved.at, variable)
                step = np.linalg.norm(value_of(moved.after) - before)
                if moved.task == task and step:
                    found.append(float(np.linalg.norm(made) / step))
        return (min(found), max(found)) if found else (np.nan, np.nan)


# What the ratios of steps say


def are_one(steps: Sequence[Step]) -> bool:
    """Returns whether all steps are those of the program."""
    return all(step.is_one for step in steps)


def constant_ratio(steps: Sequence[Step], slack: float = 3e-4) -> Optional[float]:
    """Returns the ratio that all steps have, but for a relative slack, or None."""
    known = [(s.ratio, s.error) for s in steps if not np.isnan(s.ratio)]
    if not known:
        return None
    ratios, errors = np.array(known).T
    best = float(np.average(ratios, weights=np.maximum(errors, 1e-9) ** -2))
    return best if np.all(np.abs(ratios - best) <= errors + slack * abs(best)) else None


def decay_of(steps: Sequence[Step], rate: Optional[float]) -> Optional[float]:
    """Returns the decay in units of the rate; 0.0 without one, None where it is not constant."""
    if not any(s.decay for s in steps):
        return 0.0
    known = [s for s in steps if np.isfinite(s.decay_error)]
    if rate is None or not known:
        return None
    decays = np.array([s.decay for s in known])
    ratios = np.array([1.0 if np.isnan(s.ratio) else s.ratio for s in known])
    for units in (rate * ratios, np.full(len(known), rate)):  # a schedule may scale the decay
        errors = np.array([s.decay_error for s in known]) / np.abs(units) + 1e-12
        relative, weight = decays / units, 1 / errors**2
        best, error = float((relative * weight).sum() / weight.sum()), float(weight.sum() ** -0.5)
        off = np.abs(relative - best) - 3 * errors
        if abs(best) > 3 * error and not np.any(off > 0.01 * abs(best)):
            # A weight that shrinks by less than an ulp a step may round to a neighbour each time.
            return nice(best, np.array([max(2e-3 * abs(best), error, UNIT / abs(rate) / 2)]))
    return None


def schedules_of(
    steps: Sequence[Step], rates: Sequence[float]
) -> List[Tuple[str, Callable[[Now], float]]]:
    """Returns names of schedules with their factors, where ratios follow from a number."""
    known = [(s, rate) for s, rate in zip(steps, rates) if not np.isnan(s.ratio)]
    groups = {by: _grouped([s for s, _ in known], by) for by in ("at", "runs")}
    for by in sorted(groups, key=lambda by: max(_spread(groups[by]), 3e-5)):
        rate_at = {getattr(step, by): rate for step, rate in known}
        factors = {number: constant_ratio(each, 1e-3) for number, each in groups[by].items()}
        if len(factors) < 3 or None in factors.values():
            continue
        effective = np.array([rate_at[number] for number in factors])
        rates_found = np.array([*factors.values()]) * effective
        found = _schedules(np.array([*factors], float), rates_found)
        if np.ptp(effective):
            are_consecutive = bool(np.all(np.diff([*factors]) == 1))
            found = _like_that_of_the_graph(rates_found, effective, are_consecutive) or found
            if not found and _warms_up(np.array([*factors], float), rates_found / effective):
                found = [("that of the graph after a warm-up", rates_found)]
        if found:
            return [(name, _by_number(by, dict(zip(factors, x / effective)))) for name, x in found]
    return []


def _like_that_of_the_graph(
    rates: np.ndarray, recorded: np.ndarray, are_consecutive: bool
) -> List[Tuple[str, np.ndarray]]:
    """Names rates that are constant, or those of the graph one step off.

    Rates that follow from a step counter are evaluated one step off by `rate_mutations`, which sees
    through momentum. These are rates that are fed.

    Args:
      rates, recorded: [n], of the port and of the graph.
      are_consecutive: Whether they are those of one step after the other.
    """
    room = 2e-3 * np.abs(rates).max()
    if np.ptp(rates) <= room:
        return [("constant", rates)]
    if not are_consecutive:
        return []
    if np.all(np.abs(rates[:-1] - recorded[1:]) <= room):
        return [("that of the graph, one step early", rates)]
    if np.all(np.abs(rates[1:] - recorded[:-1]) <= room):
        return [("that of the graph, one step late", rates)]
    return []


def _grouped(steps: Sequence[Step], by: str) -> Dict[int, List[Step]]:
    """Returns steps by their index in a case, or by the number of runs of their task before."""
    grouped: Dict[int, List[Step]] = {}
    for step in sorted(steps, key=lambda step: getattr(step, by)):
        grouped.setdefault(getattr(step, by), []).append(step)
    return grouped


def _spread(groups: Mapping[int, Sequence[Step]]) -> float:
    """Returns how far the ratios of a group are apart, in the group where they are furthest."""
    return max((float(np.ptp([s.ratio for s in each])) for each in groups.values()), default=0.0)


def _by_number(by: str, factors: Mapping[int, float]) -> Callable[[Now], float]:
    return lambda now: factors.get(getattr(now, by), 1.0)


#: Schedules that are lines after a function, with its inverse.
_LINES: Mapping[str, Tuple[Callable[[np.ndarray], np.ndarray], Callable]] = {
    "exponential": (np.log, np.exp),
    "inverse": (np.reciprocal, np.reciprocal),
    "inverse square root": (lambda x: x**-2.0, lambda y: y**-0.5),
    "linear": (np.positive, np.positive),
}


def _schedules(numbers: np.ndarray, factors: np.ndarray) -> List[Tuple[str, np.ndarray]]:
    """Returns names of schedules with their factors, without noise where these are a formula.

    Over few steps a slow decay has several names.
    """

    def fitted(name: str, count: int = len(numbers)) -> np.ndarray:
        line, back = _LINES[name]
        x, y = numbers[:count], line(factors[:count])
        return back(np.polyval(np.polyfit(x, y, 1), x)) if np.isfinite(y).all() else y

    def off(fit: np.ndarray) -> float:
        worst = np.abs(fit - factors[: len(fit)]).max() / np.abs(factors).max()
        return float(worst) if np.isfinite(worst) else np.inf

    fits = {name: fitted(name) for name in _LINES}
    least = min(map(off, fits.values()))
    if least <= 2e-3 and not off(fits["linear"]) == least < factors[-1] - factors[0]:
        close = {name: fit for name, fit in fits.items() if off(fit) <= max(least, 2e-5)}
        return [(name, fit if off(fit) <= 3e-5 else factors) for name, fit in close.items()]
    rising = factors < factors.max() * (1 - 1e-3)
    count = int(rising.sum())
    is_line = count == 2 or (count > 2 and off(fitted("linear", count + 1)) <= 2e-3)
    if is_line and rising[:count].all():
        return [("warm-up", factors)]
    levels = np.unique(np.round(factors / factors[0], 3))
    falls = np.all(np.diff(factors) <= 1e-3 * factors.max())
    if 1 < len(levels) <= len(factors) / 2 and falls:
        return [(_steps_of(numbers, factors), factors)]
    return []


def _warms_up(numbers: np.ndarray, factors: np.ndarray) -> bool:
    """Returns whether factors rise to 1 and stay there."""
    names = [name for name, _ in _schedules(numbers, factors)]
    return names == ["warm-up"] and abs(factors.max() - 1) <= 2e-3


def _steps_of(numbers: np.ndarray, factors: np.ndarray) -> str:
    """Returns the name of a schedule that stays and falls: its period, or the runs of its falls."""
    falls = numbers[1:][factors[1:] < factors[:-1] * (1 - 1e-3)].astype(int)
    first = int(falls[0])
    if len(falls) > 1 and np.array_equal(falls, np.arange(first, numbers[-1] + 1, first)):
        return f"steps of {first} runs"
    return "steps, the first after " + (f"{first} runs" if first > 1 else "one run")
