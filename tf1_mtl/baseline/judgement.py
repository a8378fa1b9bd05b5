"""Judges what a port did: the first place where it leaves the rounding error that it may have.

Every step is judged from where the port itself stood. The loss and the update are computed from
the weights that the port showed before the step, so rounding does not pile up from step to step and
the bound derived in `bounds` holds at step 1000 as at step 0. What hides below it, a little in the
same direction every time, shows in the distance to the recorded weights (stage "long run").
"""

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

import numpy as np

from tf1_mtl.baseline.bounds import UNIT, Bounded
from tf1_mtl.baseline.deviations import BoundedDeviant
from tf1_mtl.baseline.judge import ulps_between
from tf1_mtl.baseline.play import Played, Weights, place
from tf1_mtl.baseline.reference import TRAINS, WEIGHTS
from tf1_mtl.baseline.stages import FORWARD, LONG_RUN, RETURNED, Move, stage_of_update

# The long run. Rounding errors that are independent and as often up as down add up like a random
# walk: beyond 6 standard deviations lies one element in 5e8 (N. Higham and T. Mary, "A New Approach
# to Probabilistic Rounding Error Analysis", 2019). Half an ulp of beta2 = 0.999 is not random: it
# changes 1 - beta2 by 3e-5 and the root of v by half of that, the same way in every step.
LIKELY = 6
BETA2 = 2.0**-25 / 0.001 / 2


class Divergence(NamedTuple):
    """The first value of a case that is further off than rounding can take it."""

    case: str
    step: int  #: -1: before step 0
    where: str  #: "golden 'joint', step 3 (joint), share_W[2, 7]"
    stage: str  #: one of `stages.STAGES`
    obtained: Any  #: a float; a dtype or shape in the stage "dtype and shape"
    expected: Any  #: what TensorFlow's rules give from the port's own weights before the step
    array: str = ""  #: "loss", "share_W", "share_Y1" or "share_Y2"
    element: Tuple[int, ...] = ()  #: its index
    recorded: Optional[float] = None  #: what TensorFlow's trajectory has there, where it has it
    distance: Optional[float] = None
    ulps: Optional[int] = None
    tolerance: Optional[float] = None
    reason: str = ""  #: where the tolerance comes from
    off: int = 1  #: how many of the array's elements are off
    size: int = 1  #: and how many it has
    agrees: Tuple[str, ...] = ()  #: what was still right
    recorded_by: str = ""  #: the TensorFlow version that recorded the trajectory

    @property
    def times(self) -> float:
        """How many tolerances it is off, up to a million."""
        if self.distance is None or self.tolerance is None or not self.tolerance:
            return 1e6
        return float(np.fmin(self.distance / self.tolerance, 1e6))


def judge(
    played: Played, rules: Mapping[str, Any], steps: Optional[int] = None
) -> Optional[Divergence]:
    """Holds a port's values against the reference with these rules.

    Args:
      played: What the port did.
      rules: Fields of `deviations.Rules`. None of them is TensorFlow itself, and then the recorded
        trajectory counts too.
      steps: How many steps are judged; None for all.

    Returns:
      The first divergence, None where there is none.
    """
    golden = played.golden
    model = BoundedDeviant(*(golden.sessions[0].initial[name] for name in WEIGHTS), **rules)
    if played.shown:
        found = _dtype(played, model) or _given(played, model)
        if found:
            return found
    judged = Steps(played, model, recorded=not rules)
    for step in range(len(played.losses) if steps is None else min(steps, len(played.losses))):
        found = judged.step(step)
        if found:
            return found
    if played.wrong and (steps is None or len(played.losses) < steps):
        wrong, where = played.wrong, f"{played.where}, {played.wrong.what}"
        step = len(played.losses) if played.shown else -1
        initial = golden.sessions[0].initial
        if any(x.shape != initial[name].shape for name, x in model.shown().items()):
            return None  # these rules return wrong shapes too
        return Divergence(played.case, step, where, RETURNED, wrong.obtained, wrong.expected)
    return None


def _dtype(played: Played, model: BoundedDeviant) -> Optional[Divergence]:
    expected = np.dtype(model.rules.returned_as)
    for name, value in played.shown[0].items():
        if value.dtype != expected:
            where = f"{place(played.case, -1, played.golden)}, dtype of weights()[{name!r}]"
            return Divergence(played.case, -1, where, RETURNED, str(value.dtype), str(expected))
    return None


def _given(played: Played, model: BoundedDeviant) -> Optional[Divergence]:
    """Before step 0, weights() gives back what the port was given."""
    for name, expected in model.shown().items():
        off = _is_off(played.shown[0][name], expected)
        if off.any():
            reason = "they were given, nothing was computed"
            initial = played.golden.sessions[0].initial[name]
            at = Array(name, played.shown[0][name], expected, off, initial)
            return at.divergence(played, -1, RETURNED, reason, ())
    return None


class Array(NamedTuple):
    """One array of a step, obtained and expected."""

    name: str
    obtained: np.ndarray
    expected: Bounded
    off: np.ndarray  # bool: which elements are
    recorded: Optional[np.ndarray]

    def divergence(
        self, played: Played, step: int, stage: str, reason: str, agrees: Tuple[str, ...]
    ) -> Divergence:
        """Of the element that is off by the most tolerances."""
        obtained = np.asarray(self.obtained, np.float64)
        value, error = self.expected.value, np.broadcast_to(self.expected.error, self.off.shape)
        distance = np.abs(obtained - value)
        times = np.where(self.off, distance / np.maximum(error, 1e-300), -1)
        times = np.where(np.isnan(times), np.inf, times)
        index = np.unravel_index(int(np.argmax(times)), self.off.shape)
        index_text = f"[{', '.join(str(int(i)) for i in index)}]" if index else ""
        return Divergence(
            played.case,
            step,
            f"{place(played.case, step, played.golden)}, {self.name}{index_text}",
            stage,
            float(obtained[index]),
            float(value[index]),
            self.name,
            tuple(int(i) for i in index),
            None if self.recorded is None else float(self.recorded[index]),
            float(distance[index]),
            ulps_between(float(obtained[index]), float(value[index])),
            float(error[index]),
            reason
            if error[index]
            else "0: float32 holds every number on the way to this one exactly",
            int(self.off.sum()),
            int(self.off.size),
            agrees,
            played.golden.manifest.get("recorded_by", {}).get("tensorflow", ""),
        )


class Steps:
    """Judges the steps of one case in turn."""

    def __init__(self, played: Played, model: BoundedDeviant, recorded: bool) -> None:
        """
        Args:
          played: What the port did.
          model: The rules to hold it against, at the case's initial weights.
          recorded: Whether the recorded trajectory counts too.
        """
        self.played, self.model, self.recorded = played, model, recorded
        self.tasks_seen: Set[str] = set()
        # Since the start, for the long run: the tolerances' squares and the lengths of the steps.
        self.squares: Dict[str, Any] = dict.fromkeys(WEIGHTS, 0.0)
        self.lengths: Dict[str, Any] = dict.fromkeys(WEIGHTS, 0.0)

    def step(self, step: int) -> Optional[Divergence]:
        """The divergence of this step; all before it have been judged."""
        played, run = self.played, self.played.golden.runs[step]
        loss, *arrays = self.arrays(step)
        agrees = [f"the steps before step {step}"] if step else []
        if loss.off:
            return loss.divergence(played, step, FORWARD, _loss_reason(played, step), tuple(agrees))
        agrees.append("the loss of this step")
        off = [array for array in arrays if array.off.any()]
        if off:
            agrees += [array.name for array in arrays if not array.off.any()]
            stage, more = stage_of_update(
                [self._move(step, array) for array in arrays],
                run.task not in self.tasks_seen,
                not self.tasks_seen,
            )
            reason = _update_reason(played, step)
            found = [a.divergence(played, step, stage, reason, tuple(agrees + more)) for a in off]
            return max(found, key=lambda divergence: divergence.times)
        self.tasks_seen.add(run.task)
        if self.recorded and run.variables is not None and arrays:
            return self._long_run(step, run.variables, tuple(agrees))
        return None

    def arrays(self, step: int) -> List[Array]:
        """The loss of this step and the weights after it, if the port gave some."""
        run, before = self.played.golden.runs[step], self._load(step)
        expected_loss = self.model.step(*self.played.batch(step))
        loss = np.array(self.played.losses[step])
        off = np.asarray(_is_off(loss, expected_loss))
        recorded_loss = None if run.loss is None else np.array(run.loss)
        found = [Array("loss", loss, expected_loss, off, recorded_loss)]
        if len(self.played.shown) == step + 1:
            return found
        recorded, shown = run.variables or {}, self.model.shown()
        for name in WEIGHTS:
            obtained, expected = self.played.shown[step + 1][name], shown[name]
            self.squares[name] = self.squares[name] + expected.error**2
            self.lengths[name] = self.lengths[name] + np.abs(expected.value - before[name])
            off = _is_off(obtained, expected)
            found.append(Array(name, obtained, expected, off, recorded.get(name)))
        return found

    def _move(self, step: int, array: Array) -> Move:
        before = self.played.shown[step][array.name].astype(np.float64)
        trained = (name for task in self.tasks_seen for name in ("W", *TRAINS[task]))
        return Move(
            before,
            array.expected.value - before,
            array.obtained - before,
            np.broadcast_to(array.expected.error, before.shape),
            first=array.name not in {"share_" + name for name in trained},
        )

    def _load(self, step: int) -> Dict[str, np.ndarray]:
        """Puts the port's weights before this step into the model.

        A weight that was computed may be kept in more digits than are shown: half an ulp.
        """
        before = {name: x.astype(np.float64) for name, x in self.played.shown[step].items()}
        expected = self.model.shown()
        self.model.load(
            {
                name: Bounded(x, np.where(expected[name].error == 0, 0, UNIT * np.abs(x)))
                for name, x in before.items()
            }
        )
        return before

    def _long_run(
        self, step: int, recorded: Weights, agrees: Tuple[str, ...]
    ) -> Optional[Divergence]:
        for name in WEIGHTS:
            rounding = LIKELY * np.sqrt(2 * self.squares[name])
            expected = Bounded(recorded[name], rounding + BETA2 * self.lengths[name])
            obtained = self.played.shown[step + 1][name]
            off = _is_off(obtained, expected)
            if off.any():
                reason = (
                    f"{LIKELY} times the root of the squared tolerances of all updates so far, the "
                    "port's and TensorFlow's, as rounding errors add up that are as often up as "
                    f"down; and {BETA2:.1e} of all steps for beta2 in double"
                )
                array = Array(name, obtained, expected, off, recorded[name])
                return array.divergence(self.played, step, LONG_RUN, reason, agrees)
        return None


def _is_off(obtained: Any, expected: Bounded) -> Any:
    """Which elements are further off than their bound; what is expected not to be finite may be."""
    with np.errstate(invalid="ignore"):
        within = np.abs(obtained - expected.value) <= expected.error
    return ~(within | (~np.isfinite(expected.value) & ~np.isfinite(obtained)))


def _loss_reason(played: Played, step: int) -> str:
    """Why the loss has its tolerance."""
    _, X, Y1, Y2 = played.batch(step)
    shared = played.golden.sessions[0].initial["share_W"].shape[1]
    squares = max(Y1.size, Y2.size)
    return (
        f"float32 rounding in any order of summation: dot products of {X.shape[1]} and {shared} "
        f"terms, {squares} squares, each sum of n terms n / 2^24 of its magnitude"
    )


def _update_reason(played: Played, step: int) -> str:
    """Why the weights after a step have theirs."""
    initial = played.golden.sessions[0].initial
    sizes = {size for name in WEIGHTS for size in initial[name].shape}
    terms = sorted(sizes | {len(played.golden.runs[step].feeds["X"])})
    return (
        f"float32 rounding of the gradients (dot products of {', '.join(map(str, terms))} terms in "
        "any order) and slots up to here, of beta2 = 0.999 and its powers, of the square root, and "
        "of the weight before and after"
    )
