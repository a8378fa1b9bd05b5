"""Judges what a port did, step by step: which loss and which weight is within rounding.

Every step is judged from the weights that the port itself had before it. So rounding errors do not
add up, and the derived bound holds at step 1000 as at step 0. A difference that stays below the
bound but has the same sign in every step adds up. So the sum of all differences is compared with
what independent rounding errors can reach (stage "long run").
"""

from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case, CaseEvaluator
from tf1_mtl.baseline.error_bounds import UNIT, ErrorBounded, error_of, value_of
from tf1_mtl.baseline.evaluator import UnknownOperation
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.sampled_errors import ROOM, SAMPLES
from tf1_mtl.baseline.stages import FORWARD, LONG_RUN, RETURNED, Move, stage_of_update

LOSS = "loss"
# Rounding errors that are independent and as often up as down add up like a random walk: beyond 6
# standard deviations lies one element in 5e8 (N. Higham and T. Mary, "A New Approach to
# Probabilistic Rounding Error Analysis", 2019). Half an ulp of beta2 = 0.999 is not random: it
# changes 1 - beta2 by 3e-5 and the root of v by half of that, the same way in every step.
LIKELY = 6
BETA2 = 2.0**-25 / 0.001 / 2
# An equal formula may contain one or two more rounded operations, also where every number on the
# way is exact: mse * n / 2 in place of the sum of squares / 2. In ulp of the loss and of the step.
EQUAL_FORMULA_ULPS = 2


class Divergence(NamedTuple):
    """Describes a value that is further off than rounding explains."""

    case: str
    step: int  #: -1: before step 0
    where: str  #: "golden 'joint', step 3 (joint), share_W[2, 7]"
    stage: str  #: one of `stages.STAGES`
    obtained: Any  #: a float; a dtype or shape in the stage "dtype and shape"
    expected: Any  #: what the recorded graph gives from the weights of the port before the step
    array: str = ""  #: "loss" or the name of a weight
    element: Tuple[int, ...] = ()  #: its index
    recorded: Optional[float] = None  #: what TensorFlow recorded there
    distance: Optional[float] = None
    ulps: Optional[int] = None
    tolerance: Optional[float] = None
    reason: str = ""  #: where the tolerance comes from
    off: int = 1  #: how many elements of the array are off
    size: int = 1  #: how many elements it has
    agrees: Tuple[str, ...] = ()  #: what is still right
    recorded_by: str = ""  #: the version of TensorFlow that recorded

    @property
    def times(self) -> float:
        """Returns how many tolerances it is off, up to a million."""
        if self.distance is None or self.tolerance is None or not self.tolerance:
            return 1e6
        return float(np.fmin(self.distance / self.tolerance, 1e6))


class Judgement(NamedTuple):
    """Holds what was found on one case."""

    divergence: Optional[Divergence]  #: the first one
    #: For each (task, quantity) that was judged, the first step at which it was wrong, or None.
    #: A quantity is "loss" or the name of a weight that the task trains or that was wrong.
    verdicts: Dict[Tuple[str, str], Optional[int]]
    #: Why a task could not be judged, by task.
    not_judged: Dict[str, str]
    weights: Tuple[str, ...]  #: all of the case, in the order of creation
    #: Mean length of the steps of the port, in those of exact arithmetic; None without a step.
    step_length: Optional[float] = None


class Compared(NamedTuple):
    """Holds one array of a step, obtained and expected."""

    name: str
    obtained: np.ndarray
    expected: ErrorBounded  #: its error is the tolerance
    off: np.ndarray  #: bool, which elements are beyond the tolerance
    recorded: Optional[np.ndarray]
    is_sampled: bool = False  #: whether the tolerance is sampled


def judge(run: PortRun, done: Callable[[], None] = lambda: None) -> Judgement:
    """Judges every step that a port made on one case.

    Args:
      run: What the port did.
      done: Called after every step.
    """
    with np.errstate(all="ignore"):  # the numbers of a port may be anything
        return _Judge(run).judge(done)


def repeats(again: PortRun, found: Divergence) -> bool:
    """Returns whether a second run of the port is off by the same where the first diverged.

    A port that sums in another order each time is off by almost the same there, since all rounding
    stays far within the tolerance. One that draws random numbers is not.

    Args:
      again: The second run, up to the step of the divergence.
      found: The first divergence of the first run.
    """
    with np.errstate(all="ignore"):
        judged = _Judge(again)
        judgement = judged.judge(lambda: None)
    if found.stage == RETURNED or found.tolerance is None:
        other = judgement.divergence
        return other is not None and (other.where, other.obtained) == (found.where, found.obtained)
    array = judged.last.get(found.array)
    if again.steps <= found.step or array is None:
        return False  # it did not come so far
    off = found.obtained - found.expected
    off_again = float(np.asarray(array.obtained - array.expected.value)[found.element])
    if not np.isfinite(off):
        return not np.isfinite(off_again)
    return abs(off_again - off) <= min(2 * found.tolerance, abs(off) / 2)


class _Judge:
    """Holds the state of a judgement."""

    def __init__(self, run: PortRun) -> None:
        self.run, self.case = run, run.case
        self.evaluator = CaseEvaluator(run.case)
        self.trained = {task: run.case.trained_weights(task) for task in run.case.tasks}
        self.seen: Set[str] = set()
        self.verdicts: Dict[Tuple[str, str], Optional[int]] = {}
        # Since the start, by weight: differences, squared tolerances and lengths of the steps.
        self.differences: Dict[str, Any] = dict.fromkeys(run.case.weights, 0.0)
        self.squares: Dict[str, Any] = dict.fromkeys(run.case.weights, 0.0)
        self.lengths: Dict[str, Any] = dict.fromkeys(run.case.weights, 0.0)
        self.product = self.square = 0.0
        self.not_judged: Dict[str, str] = {}
        self.last: Dict[str, Compared] = {}  # by quantity, of the last step

    def judge(self, done: Callable[[], None]) -> Judgement:
        run, first = self.run, self._before_any_step()
        for index in range(len(run.losses)):
            found = self._step(index)
            first = first or found
            done()
            if not self._is_finite(index):
                break  # the steps that follow cannot be judged
        if run.wrong and not first:
            step = len(run.losses) if run.before else -1
            where = f"{run.where}, {run.wrong.what}"
            wrong = run.wrong
            first = Divergence(
                self.case.name, step, where, RETURNED, wrong.obtained, wrong.expected
            )
        length = self.product / self.square if self.square else None
        weights = tuple(self.case.weights)
        return Judgement(first, self.verdicts, self.not_judged, weights, length)

    def _before_any_step(self) -> Optional[Divergence]:
        """Checks that weights() returns what the port was given."""
        if not self.run.before:
            return None
        for name, obtained in self.run.before[0].items():
            initial = self.case.initial[self.case.weights[name]]
            off = ~((obtained == initial) | (np.isnan(obtained) & np.isnan(initial)))
            if off.any():
                at = Compared(name, obtained, ErrorBounded(initial), off, initial)
                return _divergence(self.case, -1, at, RETURNED, "they were given, not computed")
        return None

    def _step(self, index: int) -> Optional[Divergence]:
        """Judges one step and returns its divergence. All steps before it have been judged."""
        run, task = self.run, self.case.steps[index].task
        before = run.before[index]
        try:
            expected = self.evaluator.step(index, before)
        except UnknownOperation as error:
            self.not_judged[task] = str(error)
            return None
        found: Optional[Divergence] = None
        agrees: Tuple[str, ...] = (f"the steps before step {index}",) if index else ()
        if expected.loss is not None:
            is_sampled = self.case.tasks[task].loss in expected.sampled
            loss = self._loss(index, expected.loss)._replace(is_sampled=is_sampled)
            self.last[LOSS] = loss
            self._verdict(task, LOSS, index, bool(loss.off))
            if loss.off:
                reason = _SAMPLED_REASON if loss.is_sampled else _LOSS_REASON
                found = _divergence(self.case, index, loss, FORWARD, reason, agrees)
            else:
                agrees += ("the loss of this step",)
        if index == len(run.after):
            return found
        arrays = [
            self._weight(
                index, name, expected.weights[name], before[name].astype(np.float64)
            )._replace(is_sampled=variable in expected.sampled)
            for name, variable in self.case.weights.items()
        ]
        for array in arrays:
            self.last[array.name] = array
            wrong = bool(array.off.any())
            if array.name in self.trained[task] or wrong:
                self._verdict(task, array.name, index, wrong)
        found = found or self._update(index, arrays, agrees) or self._long_run(index, task, agrees)
        self.seen.add(task)
        return found

    def _verdict(self, task: str, quantity: str, index: int, wrong: bool) -> None:
        if self.verdicts.setdefault((task, quantity), None) is None and wrong:
            self.verdicts[task, quantity] = index

    def _loss(self, index: int, expected: Any) -> Compared:
        value, recorded = value_of(expected), self.case.steps[index].loss
        tolerance = np.maximum(error_of(expected), EQUAL_FORMULA_ULPS * 2 * UNIT * np.abs(value))
        obtained = np.array(self.run.losses[index])
        bounded = ErrorBounded(value, tolerance)
        return Compared(LOSS, obtained, bounded, np.asarray(_off(obtained, bounded)), recorded)

    def _weight(self, index: int, name: str, expected: Any, before: np.ndarray) -> Compared:
        obtained, step = self.run.after[index][name], value_of(expected) - before
        equal_formula = EQUAL_FORMULA_ULPS * 2 * UNIT * np.abs(step)
        bounded = ErrorBounded(value_of(expected), error_of(expected) + equal_formula)
        difference = obtained - bounded.value
        self.differences[name] = self.differences[name] + difference
        self.squares[name] = self.squares[name] + bounded.error**2
        self.lengths[name] = self.lengths[name] + np.abs(step)
        self.product += float(((obtained - before) * step).sum())
        self.square += float((step**2).sum())
        variables = self.case.steps[index].variables or {}
        recorded = variables.get(self.case.weights[name])
        return Compared(name, obtained, bounded, _off(obtained, bounded), recorded)

    def _update(
        self, index: int, arrays: List[Compared], agrees: Tuple[str, ...]
    ) -> Optional[Divergence]:
        off = [array for array in arrays if array.off.any()]
        if not off:
            return None
        task = self.case.steps[index].task
        agrees += tuple(array.name for array in arrays if not array.off.any())
        stage, more = stage_of_update(
            [self._move(index, array) for array in arrays], task not in self.seen, not self.seen
        )
        found = [
            _divergence(
                self.case, index, array, stage, self._reason(task, array), agrees + tuple(more)
            )
            for array in off
        ]
        return max(found, key=lambda divergence: divergence.times)

    def _reason(self, task: str, array: Compared) -> str:
        if array.name in self.trained[task]:
            return _SAMPLED_REASON if array.is_sampled else _UPDATE_REASON
        return f"a step of {task} must leave {array.name} alone"

    def _move(self, index: int, array: Compared) -> Move:
        before = self.run.before[index][array.name].astype(np.float64)
        return Move(
            before,
            array.expected.value - before,
            array.obtained - before,
            np.broadcast_to(array.expected.error, before.shape),
            first=all(array.name not in self.trained[task] for task in self.seen),
        )

    def _long_run(self, index: int, task: str, agrees: Tuple[str, ...]) -> Optional[Divergence]:
        """Compares the sum of the differences of all steps with a random walk of rounding errors.

        A weight that was wrong in a single step is not tested.
        """
        found = None
        wrong = {name for (_, name), step in self.verdicts.items() if step is not None}
        for name in self.trained[task]:
            if name in wrong:
                continue
            tolerance = LIKELY * np.sqrt(self.squares[name]) + BETA2 * self.lengths[name]
            drift = ErrorBounded(np.zeros_like(tolerance), tolerance)
            off = _off(self.differences[name], drift)
            if not np.any(off):
                continue
            self._verdict(task, name, index, True)
            array = Compared(name, self.differences[name], drift, off, None)
            self.last[name] = array
            found = found or _divergence(self.case, index, array, LONG_RUN, _DRIFT_REASON, agrees)
        return found

    def _is_finite(self, index: int) -> bool:
        shown = self.run.after[index : index + 1] or [{}]
        return bool(np.isfinite(self.run.losses[index])) and all(
            np.isfinite(value).all() for value in shown[0].values()
        )


_LOSS_REASON = (
    "float32 rounding of every operation on the way, sums in any order: n / 2^24 of the magnitude "
    "of n terms; and 2 ulp for an equal formula"
)
_UPDATE_REASON = (
    "float32 rounding of the gradients (sums in any order) and slots up to here, of the "
    "hyper-parameters, of the square root, and of the weight before and after"
)
_SAMPLED_REASON = (
    f"{ROOM} times what {SAMPLES} evaluations with drawn rounding errors reach, since a bound on "
    "the worst case is wide here"
)
_EXACT_REASON = "0: float32 holds every number on the way exactly"
_DRIFT_REASON = (
    f"{LIKELY} times the root of the summed squares of all tolerances so far, as rounding errors "
    f"add up that are as often up as down; and {BETA2:.1e} of all steps for beta2 in double"
)


def _off(obtained: Any, expected: ErrorBounded) -> Any:
    """Returns which elements are beyond their bound. An infinite bound has no element beyond."""
    within = np.abs(obtained - expected.value) <= expected.error
    return ~(within | (~np.isfinite(expected.value) & ~np.isfinite(obtained)))


def _divergence(
    case: Case, step: int, array: Compared, stage: str, reason: str, agrees: Tuple[str, ...] = ()
) -> Divergence:
    """Returns the divergence of the element that is off by the most tolerances."""
    obtained = np.asarray(array.obtained, np.float64)
    value, error = array.expected.value, np.broadcast_to(array.expected.error, array.off.shape)
    distance = np.abs(obtained - value)
    times = np.where(array.off, distance / np.maximum(error, 1e-300), -1)
    times = np.where(np.isnan(times), np.inf, times)
    index = np.unravel_index(int(np.argmax(times)), array.off.shape)
    element = tuple(int(i) for i in index)
    return Divergence(
        case=case.name,
        step=step,
        where=f"{case.place(step)}, {array.name}{list(element) if element else ''}",
        stage=stage,
        obtained=float(obtained[index]),
        expected=float(value[index]),
        array=array.name,
        element=element,
        recorded=None if array.recorded is None else float(np.asarray(array.recorded)[index]),
        distance=float(distance[index]),
        ulps=ulps_between(float(obtained[index]), float(value[index])),
        tolerance=float(error[index]),
        reason=_EXACT_REASON if not error[index] and reason == _UPDATE_REASON else reason,
        off=int(array.off.sum()),
        size=int(array.off.size),
        agrees=agrees,
        recorded_by=case.recorded_by,
    )


def ulps_between(a: float, b: float) -> Optional[int]:
    """Returns how many float32 steps lie between two numbers. None: one is not finite."""
    if not (np.isfinite(a) and np.isfinite(b)):
        return None
    with np.errstate(over="ignore"):
        bits = np.array([a, b], np.float32).view(np.int32).astype(np.int64)
    ordered = np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    return int(abs(ordered[0] - ordered[1]))
