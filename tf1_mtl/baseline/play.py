"""Plays a golden's batches to a port and writes down what it gives back."""

import sys
import traceback
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from tf1_mtl.baseline.recordings import Recording, Run
from tf1_mtl.baseline.reference import WEIGHTS

Weights = Dict[str, np.ndarray]
Port = Callable[[np.ndarray, np.ndarray, np.ndarray], Any]
CONTRACT = (
    "A port is called with share_W, share_Y1, share_Y2 and returns an object with the methods "
    "step(task, X, Y1, Y2) and weights()."
)


class Played(NamedTuple):
    """What a port did with one case, up to the end or to where it broke."""

    case: str
    golden: Recording
    shown: List[Weights]  #: the weights before step 0 and after each step
    losses: List[float]
    wrong: Optional["WrongReturn"] = None  #: what it returned that is no loss or no weights
    broke: str = ""  #: its traceback
    writes_to_its_arguments: bool = False

    @property
    def where(self) -> str:
        """The case and the step at which the port stopped."""
        return place(self.case, len(self.losses) if self.shown else -1, self.golden)

    def batch(self, step: int) -> Tuple[str, np.ndarray, np.ndarray, np.ndarray]:
        return batch(self.golden, self.golden.runs[step])


class WrongReturn(Exception):
    """A port returned something that is not what the contract says."""

    def __init__(self, what: str, obtained: str, expected: str) -> None:
        super().__init__(f"{what} is {obtained}, should be {expected}")
        self.what, self.obtained, self.expected = what, obtained, expected


def place(case: str, step: int, golden: Recording) -> str:
    """Where in a case: "golden 'joint', step 3 (joint)"; step -1 is before the first."""
    when = f"step {step} ({golden.runs[step].task})" if step >= 0 else "before step 0"
    return f"golden '{case}', {when}"


def batch(golden: Recording, run: Run) -> Tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    """A step's arguments. A label that was not fed is zeros, so that a port may convert it."""
    X = run.feeds["X"]
    labels = []
    for task in ("Y1", "Y2"):
        outputs = golden.sessions[0].initial["share_" + task].shape[1]
        labels.append(run.feeds.get(task, np.zeros((len(X), outputs), np.float32)))
    return run.task, X, labels[0], labels[1]


def play(port: Port, case: str, golden: Recording) -> Played:
    """Builds the port from the golden's initial weights and runs every step.

    Args:
      port: As for `conformance.check`.
      case: The golden's name.
      golden: What to play.

    Returns:
      What the port did; an error of its own is in it, and raises nothing here.
    """
    initial = golden.sessions[0].initial
    player, given = _Player(), [initial[name].copy() for name in WEIGHTS]
    shown: List[Weights] = []
    losses: List[float] = []
    wrong, broke = None, ""
    try:
        model = port(*given)
        shown.append(_weights(model.weights(), initial))
        for run in golden.runs:
            losses.append(_loss(player.call(model.step, *batch(golden, run))))
            shown.append(_weights(model.weights(), initial))
    except WrongReturn as error:
        wrong = error
    except (Exception, SystemExit):
        broke = _traceback()
    # A port may keep what it was built from, and train in it: that shows at the end.
    writes = any(not np.array_equal(initial[n], x) for n, x in zip(WEIGHTS, given))
    return Played(case, golden, shown, losses, wrong, broke, player.writes or writes)


class _Player:
    """Calls with copies, since a port may keep or change what it is given."""

    def __init__(self) -> None:
        self.writes = False

    def call(self, function: Callable, *given: Any) -> Any:
        copies = [x.copy() if isinstance(x, np.ndarray) else x for x in given]
        result = function(*copies)
        self.writes |= any(not np.array_equal(x, y) for x, y in zip(given, copies))
        return result


def _weights(returned: Any, initial: Weights) -> Weights:
    """What weights() returned, copied, in its own dtype."""
    keys = ", ".join(WEIGHTS)
    if not isinstance(returned, Mapping):
        raise WrongReturn("weights()", type(returned).__name__, f"a dict of {keys}")
    if set(returned) != set(WEIGHTS):
        raise WrongReturn("weights()", f"a dict of {', '.join(map(str, returned))}", f"of {keys}")
    weights = {}
    for name in WEIGHTS:
        weights[name] = _numbers(f"weights()[{name!r}]", returned[name])
        found, shape = weights[name].shape, initial[name].shape
        if found != shape:
            raise WrongReturn(f"shape of weights()[{name!r}]", str(list(found)), str(list(shape)))
    return weights


def _loss(returned: Any) -> float:
    """What step() returned: any real number will do, as frameworks hand it out in many types."""
    if returned is None:
        raise WrongReturn("step()", "None", "one number, the loss before this update")
    array = _numbers("step()", returned)
    if array.shape:
        raise WrongReturn("shape of step()", str(list(array.shape)), "[], one number")
    return float(array)


def _numbers(what: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch tensor that still carries its graph
        value = value.detach()
    try:
        array = np.array(value)
        if array.dtype == object:
            raise TypeError("no number")
        array.astype(np.float64)
    except Exception as error:
        raise WrongReturn(what, f"{type(value).__name__} ({error})", "float32") from error
    if array.dtype.kind not in "fiuV":  # V: bfloat16, which NumPy does not have
        raise WrongReturn(f"dtype of {what}", str(array.dtype), "float32")
    return array


def _traceback() -> str:
    """The traceback from the port's own frame on."""
    kind, error, trace = sys.exc_info()
    while trace and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    text = "".join(traceback.format_exception(kind, error, trace)).rstrip()
    return text if trace else f"{text}\n{CONTRACT}"  # none of the port's lines ran
