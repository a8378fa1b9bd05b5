"""Enters ports in the collection: what is wrong with each, and what a diagnosis should name."""

import functools
import importlib
import itertools
import math
import re
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, NamedTuple, Sequence, Tuple

from .base import Plain, changed_port

#: Every kind of edit, in the words that a report may use, with the meaning of its value.
KINDS = {
    # What is fed
    "feed scaled": "factor",
    "feed shifted": "what is added",
    "feed rounded": "to what",
    "feeds swapped": "",
    "feed transposed": "",
    "feed broadcast": "what is repeated",
    "labels smoothed": "how much",
    "feed of an earlier step": "",
    # The forward pass
    "activation missing": "",
    "other activation": "its name",
    "slope at zero": "the slope",
    "slope ignored": "",
    "bias added": "",
    "precision of products": "the type",
    # The loss
    "loss scaled": "factor",
    "loss weight in the sum": "factor",
    "mean over outputs": "factor of the sum of squares / size; 1 without a half",
    "mean over batch": "factor of the sum of squares / rows; 1 without a half",
    "constant": "the value",
    "other loss": "its name",
    "penalty in the loss": "factor of the sum of squares / 2",
    # The gradients
    "gradient missing": "",
    "gradient stopped": "",
    "gradient scaled": "factor",
    "clipping missing": "",
    "clipped by value": "limit",
    "clipped by norm": "limit",
    "clipped by global norm": "limit",
    "gradients accumulate": "",
    "gradients stale": "",
    "gradients of several runs": "which",
    "weights stale": "",
    "gradients after an update": "",
    "gradients through moved weights": "",
    "L2 in the gradient": "factor",
    # The optimizer
    "weight decay": "factor of the rate",
    "learning rate": "the rate",
    "schedule": "its name",
    "epsilon": "the value",
    "epsilon place": "where it is added",
    "rho": "the value",
    "beta1": "the value",
    "beta2": "the value",
    "bias correction": "what is left of it",
    "nesterov": "",
    "amsgrad": "",
    "lazy adam": "",
    "other optimizer": "its name",
    # Its state
    "slots shared": "",
    "powers shared": "",
    "state reset": "when",
    "step counter": "how it counts",
    # Variables
    "initial weights": "",
    "variable frozen": "",
    "variable updated late": "",
    "precision of variables": "the type",
    "variable not shared": "",
    # Runs
    "trains more": "",
    "trains less": "",
    "two steps": "",
    "step repeated": "times",
    "step skipped": "every how many",
    # What is returned
    "loss after the update": "",
    "loss of another task": "",
    "loss rounded": "to what",
    "loss averaged": "",
    "loss late": "",
    "reported loss scaled": "factor",
    "weights late": "",
    "weights transposed": "",
    "wrong dtype": "the dtype",
    # What no list of known mistakes need contain: an empty diagnosis is right too
    "unlisted": "",
}
#: Places, by the names of the graph of the article on TensorFlow 1.15.5.
PLACES = {
    "X": "the feed X",
    "Y1": "the feed Y1",
    "Y2": "the feed Y2",
    "MatMul": "the product of the shared layer",
    "MatMul_1": "the product of task 1's head",
    "MatMul_2": "the product of task 2's head",
    "Relu": "the activation of the shared layer",
    "Relu_1": "the activation of task 1's head",
    "Relu_2": "the activation of task 2's head",
    "L2Loss": "Y1_Loss",
    "L2Loss_1": "Y2_Loss",
    "add": "Joint_Loss",
    "share_W": "the weights of the shared layer",
    "share_Y1": "the weights of task 1's head",
    "share_Y2": "the weights of task 2's head",
    "Optimiser": "the optimizer of the joint loss",
    "Y1_op": "the optimizer of Y1_Loss",
    "Y2_op": "the optimizer of Y2_Loss",
}
FEEDS = ("X", "Y1", "Y2")
LABELS = FEEDS[1:]
PRODUCTS = ("MatMul", "MatMul_1", "MatMul_2")
RELUS = ("Relu", "Relu_1", "Relu_2")
HEAD_RELUS = RELUS[1:]
LOSSES = ("L2Loss", "L2Loss_1")
WEIGHTS = ("share_W", "share_Y1", "share_Y2")
HEAD_WEIGHTS = WEIGHTS[1:]
OPTIMIZERS = ("Optimiser", "Y1_op", "Y2_op")
ALTERNATE = OPTIMIZERS[1:]
TRAINED = {"Optimiser": WEIGHTS, "Y1_op": WEIGHTS[:2], "Y2_op": WEIGHTS[::2]}


class Edit(NamedTuple):
    """One mistake: its kind, the places where it sits, and its value where it has one.

    A place is one of `PLACES`, or a variable in one optimizer: "Y1_op/share_W".
    """

    kind: str
    places: FrozenSet[str]
    value: Any = None  #: None: not compared


Answer = FrozenSet[Edit]


class Mistake(NamedTuple):
    """What a port does wrong."""

    answers: Tuple[Answer, ...]  #: what a right diagnosis names: one of these sets of edits
    changes: Dict[str, Any]  #: the attributes of `Plain` that make it


class Entry(NamedTuple):
    """One port and what a check should say."""

    id: str
    load: Callable[[], Any]  #: returns the port, imports its framework
    answers: Tuple[Answer, ...]  #: as those of a mistake; empty for a port that conforms
    framework: str = "numpy"  #: or the module of this package that holds it

    @property
    def conforms(self) -> bool:
        return not self.answers

    @property
    def is_unlisted(self) -> bool:
        """Whether it is right to name nothing."""
        return any(edit.kind == "unlisted" for answer in self.answers for edit in answer)


#: All that was entered, in the order of the modules.
ENTRIES: List[Entry] = []


def edit(kind: str, places: Any, value: Any = None) -> Edit:
    """Returns an edit at one place or several."""
    places = frozenset([places] if isinstance(places, str) else places)
    assert kind in KINDS, kind
    assert all(part in PLACES for place in places for part in place.split("/")), places
    return Edit(kind, places, value)


def mistake(kind: str, places: Any, value: Any = None, also: Any = (), **changes: Any) -> Mistake:
    """Returns a mistake that an edit names.

    Args:
      kind, places, value: The edit.
      also: Other right answers, each a list of edits, which no case distinguishes.
      changes: Attributes of `Plain`. The places of a dict of several mistakes are put together.
    """
    return Mistake(_answers([edit(kind, places, value)], also), changes)


def each(places: Any, value: Any) -> Dict[str, Any]:
    """Returns the value for one place or several."""
    return dict.fromkeys([places] if isinstance(places, str) else places, value)


def at(places: Any, change: Any) -> Any:
    """Returns a setting or a method for these places. For all places it needs no dict."""
    everywhere = FEEDS, PRODUCTS, LOSSES, WEIGHTS, OPTIMIZERS
    return change if places in everywhere else each(places, change)


def method(name: str, kind: str, value: Any = None) -> Callable[..., Any]:
    """Makes of a function a mistake at given places: it replaces the method of this name."""

    def mistake_of(function: Any) -> Callable[[Any], Mistake]:
        @functools.wraps(function)
        def at_places(places: Any) -> Mistake:
            return mistake(kind, places, value, **{name: at(places, function)})

        return at_places

    return mistake_of


def setting(name: str, kind: str) -> Callable[[Any, Any], Mistake]:
    """Returns the mistake of a wrong setting, as a function of its places and value."""
    return lambda places, value: mistake(kind, places, value, **{name: at(places, value)})


def wrong(id: str, *mistakes: Any, base: Any = Plain, also: Any = (), **changes: Any) -> None:
    """Enter a port with mistakes.

    Args:
      id: Short and unique.
      mistakes: All that is wrong. An edit stands for a mistake of the base.
      base: The class that is changed.
      also: Other right answers, each a list of edits, which no case distinguishes.
      changes: Attributes of the base, beside those of the mistakes.
    """
    for one in mistakes:
        if isinstance(one, Mistake):
            changes = _both(changes, one.changes)
    load = functools.partial(changed_port, base, **changes)
    ENTRIES.append(Entry(id, load, _answers(mistakes, also)))


def wrong_class(id: str, *edits: Edit, also: Any = (), **changes: Any) -> Callable[[Any], Any]:
    """Enter the class that follows, changed in these attributes, as a wrong port."""

    def entered(port: Any) -> Any:
        wrong(id, *edits, base=port, also=also, **changes)
        return port

    return entered


def right(id: str, base: Any = Plain, **changes: Any) -> None:
    """Enter a port that conforms."""
    ENTRIES.append(Entry(id, functools.partial(changed_port, base, **changes), ()))


def right_class(id: str) -> Callable[[Any], Any]:
    """Enter the class that follows as a port that conforms."""

    def entered(port: Any) -> Any:
        right(id, port)
        return port

    return entered


def real(module: str, name: str, *mistakes: Any, also: Any = ()) -> None:
    """Enter a port written in a framework. Without mistakes it conforms."""

    def load() -> Any:
        return getattr(importlib.import_module(f".{module}", __package__), name)

    answers = _answers(mistakes, also) if mistakes else ()
    ENTRIES.append(Entry(f"{module}-{name}", load, answers, module))


def _answers(mistakes: Iterable[Any], also: Iterable[Any]) -> Tuple[Answer, ...]:
    """Returns the answers that are right for mistakes together, and others."""
    each = [one.answers if isinstance(one, Mistake) else ({one},) for one in mistakes]
    together = [frozenset().union(*answers) for answers in itertools.product(*each)]
    return (*together, *map(frozenset, also))


def _both(changes: Dict[str, Any], others: Dict[str, Any]) -> Dict[str, Any]:
    """Returns the changes of two mistakes. Two of one attribute are at different places."""
    twice = set(changes) & set(others)
    return {**changes, **others, **{name: {**changes[name], **others[name]} for name in twice}}


def named_rightly(entry: Entry, explanations: Sequence[Iterable[Edit]]) -> bool:
    """Returns whether a diagnosis names what is wrong with a port, all of it and where it sits.

    Args:
      entry: The port.
      explanations: What the diagnosis offers, best first, each some edits in the words of `KINDS`
        and `PLACES`. Empty if it names nothing. The best one counts.
    """
    if not explanations:
        return entry.conforms or entry.is_unlisted
    found = _merged(explanations[0])
    return any(_same(found, _merged(answer)) for answer in entry.answers)


def names(report: Any) -> Sequence[Sequence[Edit]]:
    """Returns what a report names, as `named_rightly` takes it."""
    edits = [
        Edit("wrong dtype", frozenset(re.findall(r"share_\w+", str(wrong))), wrong.obtained)
        for wrong in report.dtypes
    ]
    if report.diagnosis:
        edits += [Edit(e.kind, frozenset(e.places), e.value) for e in report.diagnosis.edits]
    return [edits] if edits else []


def _same(found: Sequence[Edit], expected: Sequence[Edit]) -> bool:
    return len(found) == len(expected) and all(
        any(_agrees(one, other) for one in found) for other in expected
    )


def _agrees(found: Edit, expected: Edit) -> bool:
    """Compares kind, places, and the value within 1 % where one is expected."""
    if (found.kind, found.places) != (expected.kind, expected.places):
        return False
    if isinstance(expected.value, float) and isinstance(found.value, (int, float)):
        return math.isclose(found.value, expected.value, rel_tol=0.01)
    return expected.value is None or found.value == expected.value


def _merged(edits: Iterable[Edit]) -> Sequence[Edit]:
    """Returns edits of one kind and value as one, at all their places, written in one way."""
    places: Dict[Any, FrozenSet[str]] = {}
    for kind, where, value in edits:
        places[kind, value] = places.get((kind, value), frozenset()) | _spread(where)
    return [Edit(kind, where, value) for (kind, value), where in places.items()]


def _spread(places: FrozenSet[str]) -> FrozenSet[str]:
    """Returns an optimizer or a variable as all its pairs of an optimizer and a variable."""
    pairs = {
        pair: (pair, optimizer, variable)
        for optimizer, variables in TRAINED.items()
        for variable in variables
        for pair in [f"{optimizer}/{variable}"]
    }
    spread = {pair for pair, names in pairs.items() if places.intersection(names)}
    named = {name for pair in spread for name in pairs[pair]}
    return frozenset(spread | (places - named))
