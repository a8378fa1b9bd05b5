"""Runs a port on a case and records what it returns.

A port of the article and a port of any other recording have one contract each: `ArticlePort` and
`RecordingPort`.
"""

import sys
import traceback
from types import TracebackType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case, Step

if sys.version_info >= (3, 8):
    from typing import Protocol
else:
    Protocol = object

Weights = Dict[str, np.ndarray]
#: What `check` takes: a class or function that is called with the initial weights.
Port = Callable[..., Any]
CONTRACT = (
    "A port is called with share_W, share_Y1, share_Y2 and returns an object with the methods "
    "step(task, X, Y1, Y2) and weights()."
)
GENERAL_CONTRACT = (
    "A port of a recording is called with a dict of weights by name and returns an object with the "
    "methods step(task, feeds) and weights()."
)


class ArticlePort(Protocol):
    """Is a port of the article, called with share_W, share_Y1, share_Y2 (float32 arrays)."""

    def step(self, task: str, X: np.ndarray, Y1: np.ndarray, Y2: np.ndarray) -> Any:
        """Trains once and returns the loss before the update.

        Args:
          task: "Y1", "Y2" or "joint".
          X: float32 [batch, inputs].
          Y1, Y2: float32 [batch, outputs]. A label that the case does not feed is zeros.
        """

    def weights(self) -> Mapping[str, np.ndarray]:
        """Returns the three weights by name: float32 arrays of the shapes that were given."""


class RecordingPort(Protocol):
    """Is a port of any recording, called with a dict of the initial weights by name."""

    def step(self, task: str, feeds: Mapping[str, np.ndarray]) -> Any:
        """Trains once and returns the loss before the update.

        Args:
          task: The name of the training operation; of several the names sorted, joined by "+".
          feeds: Arrays by the name of the placeholder, or of the random operation.
        """

    def weights(self) -> Mapping[str, np.ndarray]:
        """Returns the trained variables by name, in their own dtypes and shapes."""

    # A port may also have `load(weights)`, which replaces its weights and keeps its slots. Each
    # step is then judged from the weights that TensorFlow had, so that no mistake hides a later
    # one.


class PortRun(NamedTuple):
    """Holds what a port did on one case, up to the end or to where it broke."""

    case: Case
    before: List[Weights]  #: by step: the weights before it, by name in the port
    after: List[Weights]  #: by step: the weights after it; may lack the last step
    losses: List[float]
    dtypes: Tuple["WrongDtype", ...] = ()  #: returns of another dtype, which were cast
    wrong: Optional["WrongReturn"] = None  #: a return that is not a loss or not the weights
    broke: str = ""  #: the traceback of the port
    writes_to_its_arguments: bool = False
    unwritten: str = ""  #: the method that seems not to be written yet, and where it is

    @property
    def steps(self) -> int:
        """Returns how many steps the port made."""
        return len(self.losses)

    @property
    def where(self) -> str:
        """Returns the case and the step at which the port stopped."""
        return self.case.place(len(self.losses) if self.before else -1)

    def first(self, steps: int) -> "PortRun":
        """Returns the first steps, on the same case."""
        before, after, losses = self.before[:steps], self.after[:steps], self.losses[:steps]
        return self._replace(before=before, after=after, losses=losses)


class WrongDtype(NamedTuple):
    """Describes an array that a port returned in another dtype than TensorFlow."""

    what: str
    obtained: str
    expected: str

    def __str__(self) -> str:
        return f"{self.what} is {self.obtained}, should be {self.expected}"


class WrongReturn(Exception):
    """Is raised if a port returns something that the contract does not allow."""

    def __init__(self, what: str, obtained: str, expected: str) -> None:
        super().__init__(f"{what} is {obtained}, should be {expected}")
        self.what, self.obtained, self.expected = what, obtained, expected


def run_port(
    port: Port, case: Case, steps: Optional[int] = None, done: Callable[[], None] = lambda: None
) -> PortRun:
    """Builds a port from the initial weights of a case, and runs every step.

    Args:
      port: As for `check`.
      case: What to run.
      steps: How many steps; None for all.
      done: Called after every step.

    Returns:
      What the port did. An error of the port is in it and raises nothing here.
    """
    caller = _Caller(case)
    run = PortRun(case, [], [], [])
    wrong, broke, unwritten = None, "", ""
    given = {name: case.initial[variable].copy() for name, variable in case.given.items()}
    try:
        model = port(*given.values()) if case.is_article else port(dict(given))
        shown = caller.first_weights(model.weights())
        run = run._replace(case=caller.case)
        for index, step in enumerate(case.steps if steps is None else case.steps[:steps]):
            if index and hasattr(model, "load"):
                shown = caller.load(model, case.steps[index - 1], step) or shown
            run.before.append(shown)
            returned = caller.call(model.step, *_arguments(case, step))
            run.losses.append(caller.loss(returned) if case.tasks[step.task].loss else 0.0)
            shown = caller.weights(model.weights())
            run.after.append(shown)
            done()
    except WrongReturn as error:
        wrong = error
        if error.obtained in ("None", "NoneType"):
            unwritten = _returns_none(model, error)
    except (Exception, SystemExit) as error:
        broke = _traceback(case)
        unwritten = _not_implemented(error)
    # A port may keep what it was built from, and train in it: that shows at the end.
    kept = any(
        not np.array_equal(case.initial[variable], given[name])
        for name, variable in case.given.items()
    )
    return run._replace(
        dtypes=tuple(caller.dtypes),
        wrong=wrong,
        broke=broke,
        unwritten=unwritten,
        writes_to_its_arguments=caller.writes or kept,
    )


class _Caller:
    """Calls a port with copies, since it may keep or change what it is given."""

    def __init__(self, case: Case) -> None:
        self.case = case  #: with the weights that the port returns
        self.given = case.given
        self.writes = False
        self.dtypes: Dict[WrongDtype, None] = {}

    def call(self, function: Callable, *given: Any) -> Any:
        copies = [_copy(x) for x in given]
        result = function(*copies)
        self.writes |= any(not _equal(x, y) for x, y in zip(given, copies))
        return result

    def load(self, model: Any, before: Step, step: Step) -> Optional[Weights]:
        """Loads the recorded weights before a step into the port, where they were recorded."""
        if before.variables is None:
            return None
        variables = {**before.variables, **step.changed_before}
        names = {**self.given, **self.case.weights}  # also what weights() returned beyond those
        recorded = {name: variables[key] for name, key in names.items()}
        self.call(model.load, recorded)
        return {name: recorded[name] for name in self.case.weights}

    def first_weights(self, returned: Any) -> Weights:
        """Returns what weights() returned, and checks no untrained weight that it left out."""
        if isinstance(returned, Mapping):
            self.case = self.case.returned(returned)
        return self.weights(returned)

    def weights(self, returned: Any) -> Weights:
        """Returns copies of what weights() returned, in the dtypes of the recording."""
        names = ", ".join(self.case.weights)
        if not isinstance(returned, Mapping):
            raise WrongReturn("weights()", type(returned).__name__, f"a dict of {names}")
        if set(returned) != set(self.case.weights):
            found = ", ".join(map(str, returned))
            raise WrongReturn("weights()", f"a dict of {found}", f"of {names}")
        weights = {}
        for name, variable in self.case.weights.items():
            initial, what = self.case.initial[variable], f"weights()[{name!r}]"
            array = _numbers(what, returned[name])
            if array.shape != initial.shape:
                raise WrongReturn(
                    f"shape of {what}", str(list(array.shape)), str(list(initial.shape))
                )
            if array.dtype != initial.dtype:
                self.dtypes[WrongDtype(what, str(array.dtype), str(initial.dtype))] = None
                with np.errstate(all="ignore"):
                    array = array.astype(initial.dtype)
            weights[name] = array
        return weights

    def loss(self, returned: Any) -> float:
        """Returns the loss as a float: frameworks give a number in many types."""
        if returned is None:
            raise WrongReturn("step()", "None", "one number, the loss before this update")
        array = _numbers("step()", returned)
        if array.shape:
            raise WrongReturn("shape of step()", str(list(array.shape)), "[], one number")
        return float(array)


def _arguments(case: Case, step: Step) -> Tuple[Any, ...]:
    """Returns what `step` of the port is called with."""
    named = named_feeds(case, step)
    if not case.is_article:
        return step.task, named
    return (step.task, *(named[name] for name in ("X", "Y1", "Y2")))


def named_feeds(case: Case, step: Step) -> Dict[str, np.ndarray]:
    """Returns what a port is fed, by name: zeros for a label of the article that is not fed."""
    named = {
        name: step.feeds[tensor] for name, tensor in case.feeds.items() if tensor in step.feeds
    }
    for label in ("Y1", "Y2") if case.is_article else ():
        outputs = case.initial[case.weights["share_" + label]].shape[1]
        named.setdefault(label, np.zeros((len(named["X"]), outputs), np.float32))
    return named


def _numbers(what: str, value: Any) -> np.ndarray:
    if hasattr(value, "detach"):  # a torch tensor that still carries its graph
        value = value.detach()
    try:
        array = np.array(value)
        if array.dtype == object:
            raise TypeError("not a number")
        array.astype(np.float64)
    except Exception as error:
        raise WrongReturn(what, f"{type(value).__name__} ({error})", "float32") from error
    if array.dtype.kind not in "fiuV":  # V: bfloat16, which NumPy does not have
        raise WrongReturn(f"dtype of {what}", str(array.dtype), "float32")
    return array


def _copy(given: Any) -> Any:
    if isinstance(given, dict):
        return {name: value.copy() for name, value in given.items()}
    return given.copy() if isinstance(given, np.ndarray) else given


def _equal(given: Any, copy: Any) -> bool:
    if isinstance(given, dict):
        return given.keys() == copy.keys() and all(_equal(given[k], copy[k]) for k in given)
    return np.array_equal(given, copy) if isinstance(given, np.ndarray) else True


def _returns_none(model: Any, wrong: WrongReturn) -> str:
    """Returns which method of the port returned None, and where it is."""
    code = getattr(getattr(model, wrong.what.rstrip("()")), "__code__", None)
    where = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
    return f"{wrong.what}: {wrong.obtained}, should be {wrong.expected}{where}"


def _not_implemented(error: BaseException) -> str:
    """Returns which function of the port raised NotImplementedError, and where, or ""."""
    trace = _from_the_port(error.__traceback__)
    if not isinstance(error, NotImplementedError) or trace is None:
        return ""
    *_, (code, line) = ((frame.f_code, number) for frame, number in traceback.walk_tb(trace))
    if code.co_filename != trace.tb_frame.f_code.co_filename:
        return ""  # a library lacks something
    told = f": {error}" if str(error) else ""
    return f"{code.co_name} raises NotImplementedError{told} ({code.co_filename}:{line})"


def _from_the_port(trace: Optional[TracebackType]) -> Optional[TracebackType]:
    """Returns a traceback without the frames of this file."""
    while trace and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _traceback(case: Case) -> str:
    """Returns the traceback from the first frame of the port on."""
    kind, error, trace = sys.exc_info()
    trace = _from_the_port(trace)
    text = "".join(traceback.format_exception(kind, error, trace)).rstrip()
    if trace:
        return text
    # No line of the port ran.
    return f"{text}\n{CONTRACT if case.is_article else GENERAL_CONTRACT}"
