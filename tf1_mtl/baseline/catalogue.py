"""The known mistakes of ports: identifiers, words, and the values that are tried.

`FORWARD` lists what a port may do to feeds, layers and losses; `UPDATES` what it may do to
gradients, in its optimizers and to their state. The places come from the recorded graph. To add a
mistake, add a line to one of the lists and, if its kind is new, a line to `WORDS`.
"""

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

from tf1_mtl.baseline import update_rules as rules
from tf1_mtl.baseline.simulation import Change, Now, Program, Rule

#: Kinds of edits, with the words of the report. `{places}` and `{value}` are filled in.
WORDS: Dict[str, str] = {
    "feed scaled": "{places} is multiplied by {value}",
    "feed shifted": "{value} is added to {places}",
    "feed rounded": "{places} is rounded to {value}",
    "feeds swapped": "{places} are swapped",
    "feed transposed": "{places} is read column by column",
    "feed broadcast": "the {value} of {places} is used for all",
    "labels smoothed": "{places} is smoothed by {value}",
    "feed of an earlier step": "{places} is that of an earlier step ({value})",
    "activation missing": "there is no activation at {places}",
    "other activation": "the activation at {places} is {value}",
    "slope at zero": "the gradient of {places} at exactly 0 is {value}",
    "slope ignored": "the gradient passes {places} unchanged",
    "bias added": "a bias is added before {places}, and trained",
    "precision of products": "the products at {places} are computed in {value}",
    "loss scaled": "the loss at {places} is multiplied by {value}",
    "loss weight in the sum": "{places} has the weight {value} in the sum of losses",
    "mean over outputs": "the loss at {places} is {value} times the mean of squares",
    "mean over batch": "the loss at {places} is {value} times the sum of squares / rows",
    "other loss": "the loss at {places} is the {value}",
    "penalty in the loss": "{value} / 2 times the squares of {places} are added to the loss",
    "gradient missing": "there is no gradient for {places}",
    "gradient stopped": "the gradient stops at {places}",
    "gradient scaled": "the gradient of {places} is multiplied by {value}",
    "clipped by value": "the gradients of {places} are clipped to [-{value}, {value}]",
    "clipped by norm": "each gradient of {places} is clipped to the norm {value}",
    "clipped by global norm": "the gradients of {places} are clipped to the global norm {value}",
    "clipping missing": "the gradients of {places} are not clipped as the graph clips them",
    "gradients accumulate": "the gradients of {places} add up from step to step",
    "gradients stale": "{places} applies the gradients of the run before",
    "gradients after an update": "the other gradients are taken after {places} moved",
    "gradients through moved weights": "the gradients flow through {places} after the update",
    "L2 in the gradient": "{value} times the weight is added to the gradient of {places}",
    "weight decay": "{places} decays by {value} of the rate (decoupled, as in AdamW)",
    "learning rate": "the learning rate of {places} is {value}",
    "schedule": "the learning rate of {places} follows a schedule: {value}",
    "epsilon": "epsilon of {places} is {value}",
    "epsilon place": "epsilon of {places} is added {value}",
    "beta1": "beta1 of {places} is {value}",
    "beta2": "beta2 of {places} is {value}",
    "bias correction": "the bias correction of {places}: {value}",
    "nesterov": "{places} differs in Nesterov momentum",
    "amsgrad": "{places} is AMSGrad",
    "lazy adam": "{places} rests where the gradient is zero (lazy Adam)",
    "other optimizer": "the optimizer of {places} is {value}",
    "slots shared": "{places} share their slots",
    "powers shared": "{places} share their step counter",
    "state reset": "the state of {places} starts afresh: {value}",
    "step counter": "the step counter of {places}: {value}",
    "initial weights": "{places} does not start at the given weights",
    "variable frozen": "{places} is not trained",
    "variable updated late": "the update of {places} takes effect one run later",
    "precision of variables": "{places} is kept in {value}",
    "trains more": "{places} trains on more than its own loss",
    "trains less": "{places} trains on a part of its loss",
    "two steps": "{places} makes one step after the other for its parts",
    "step repeated": "{places} trains {value} times on each batch",
    "step skipped": "{places} skips updates: {value}",
    "loss after the update": "{places} returns the loss after the update",
    "loss of another task": "{places} returns another loss",
    "loss rounded": "{places} returns a rounded loss ({value})",
    "loss averaged": "{places} returns an average of losses ({value})",
    "loss late": "{places} returns the loss of the run before",
    "reported loss scaled": "the loss at {places} is returned times {value}, and trained on as is",
    "weights stale": "losses and gradients are those of the weights of the run before",
    "weights late": "weights() shows {places} of one run before",
    "weights transposed": "weights() shows {places} transposed",
}


#: Kinds whose places are feeds, which may have the name of a task.
OF_FEEDS = {kind for kind in WORDS if kind.startswith("feed") or kind == "labels smoothed"}
#: Kinds whose places are weights rather than optimizers, where both say the same.
OF_VARIABLES = {
    "variable frozen",
    "gradient missing",
    "gradient scaled",
    "clipped by value",
    "gradients accumulate",
    "L2 in the gradient",
    "weight decay",
    "variable updated late",
    "precision of variables",
}


# Roundings of float64 arrays


def bfloat16(x: np.ndarray) -> np.ndarray:
    return _shortened(x, 16)


def tf32(x: np.ndarray) -> np.ndarray:
    return _shortened(x, 13)


def _shortened(x: np.ndarray, bits: int) -> np.ndarray:
    """Return float32 numbers rounded to even without their last bits."""
    single = np.ascontiguousarray(x, np.float32)
    as_int = single.view(np.uint32)
    half = np.uint32((1 << (bits - 1)) - 1)
    rounded = as_int + half + ((as_int >> np.uint32(bits)) & np.uint32(1))
    kept = rounded & np.uint32((0xFFFFFFFF << bits) & 0xFFFFFFFF)
    return kept.view(np.float32).astype(np.float64).reshape(np.shape(x))


def float16(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(x).astype(np.float16).astype(np.float64)


def _cut(bits: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that cuts off the last bits of float32."""
    kept = np.uint32((0xFFFFFFFF << bits) & 0xFFFFFFFF)

    def cut(x: np.ndarray) -> np.ndarray:
        as_int = np.ascontiguousarray(x, np.float32).view(np.uint32) & kept
        return as_int.view(np.float32).astype(np.float64).reshape(np.shape(x))

    return cut


PRECISIONS = {"bfloat16": bfloat16, "float16": float16, "tf32": tf32}
#: Of the operands of products.
PRODUCT_PRECISIONS = {
    "tf32": tf32,
    **PRECISIONS,
    "tf32, cut off": _cut(13),
    "bfloat16, cut off": _cut(16),
}

# Forward: feeds, layers, losses


class FeedEdit(NamedTuple):
    """A change of one feed, element by element or as a whole."""

    kind: str
    value: Any
    function: Callable[[np.ndarray], np.ndarray]


def _smoothed(amount: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda y: y * (1 - amount) + amount / y.shape[-1]


def _repeated(function: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.broadcast_to(function(x), x.shape)


FEEDS: List[FeedEdit] = [
    *(FeedEdit("feed rounded", name, function) for name, function in PRECISIONS.items()),
    FeedEdit("feed rounded", "integer", np.trunc),
    FeedEdit("feed rounded", "nearest integer", np.rint),
    FeedEdit("feed transposed", None, lambda x: np.ascontiguousarray(x.T).reshape(x.shape)),
    FeedEdit("feed broadcast", "first row", _repeated(lambda x: x[:1])),
    FeedEdit("feed broadcast", "first column", _repeated(lambda x: x[..., :1])),
    FeedEdit("feed broadcast", "mean of the row", _repeated(lambda x: x.mean(-1, keepdims=True))),
    FeedEdit("feed broadcast", "mean of the column", _repeated(lambda x: x.mean(0, keepdims=True))),
    FeedEdit("feed reversed", None, lambda x: x[::-1]),
    *(FeedEdit("labels smoothed", a, _smoothed(a)) for a in (0.1, 0.05, 0.2, 0.01)),
]
#: Changes of a feed by a number, with the numbers that are tried first.
FEED_FACTORS = (1 / 255, 2.0, 0.5, 0.1, 10.0, -1.0, 0.01, 100.0, 255.0)
FEED_SHIFTS = (1.0, -1.0, 0.5, -0.5)
EARLIER = ("first batch of the task", "run before of the task", "run before")


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _tanh_slope(x: np.ndarray) -> np.ndarray:
    return 1 - np.tanh(x) ** 2


class Activation(NamedTuple):
    """A function and its derivative, of float64 arrays."""

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]


def leaky(slope: float) -> Activation:
    return Activation(
        "leaky relu",
        lambda x: np.where(x > 0, x, slope * x),
        lambda x: np.where(x > 0, 1.0, slope),
    )


_SELU = 1.0507009873554805
_SELU_ALPHA = 1.6732632423543772
_GELU = np.sqrt(2 / np.pi)


def _gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(_GELU * (x + 0.044715 * x**3)))


def _gelu_slope(x: np.ndarray) -> np.ndarray:
    inner = np.tanh(_GELU * (x + 0.044715 * x**3))
    return 0.5 * (1 + inner) + 0.5 * x * (1 - inner**2) * _GELU * (1 + 3 * 0.044715 * x**2)


ACTIVATIONS: List[Activation] = [
    Activation("", lambda x: x, np.ones_like),
    Activation("relu", lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    leaky(0.01),
    leaky(0.1),
    leaky(0.2),
    leaky(0.3),
    Activation("tanh", np.tanh, _tanh_slope),
    Activation("sigmoid", _sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    Activation("relu6", lambda x: np.clip(x, 0, 6), lambda x: ((x > 0) & (x < 6)) * 1.0),
    Activation(
        "elu",
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, 1.0, np.exp(np.minimum(x, 0))),
    ),
    Activation("softplus", lambda x: np.logaddexp(x, 0), _sigmoid),
    Activation(
        "silu",
        lambda x: x * _sigmoid(x),
        lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x))),
    ),
    Activation(
        "selu",
        lambda x: _SELU * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
        lambda x: _SELU * np.where(x > 0, 1.0, _SELU_ALPHA * np.exp(np.minimum(x, 0))),
    ),
    Activation("gelu", _gelu, _gelu_slope),
    Activation("abs", np.abs, np.sign),
    Activation("softsign", lambda x: x / (1 + np.abs(x)), lambda x: 1 / (1 + np.abs(x)) ** 2),
]
#: Operations of a graph that are activations, and which of the list above they are.
ACTIVATION_OPS = {
    "Relu": "relu",
    "Relu6": "relu6",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Elu": "elu",
    "Selu": "selu",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "LeakyRelu": "leaky relu",
}


class Loss(NamedTuple):
    """A loss that sums a function of the error, in place of half its square."""

    name: str
    function: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    rounding: float = 0.0  #: error of an element however small it is


LOSSES: List[Loss] = [
    Loss("absolute error", np.abs, np.sign),
    Loss(
        "huber",
        lambda e: np.where(np.abs(e) < 1, e * e / 2, np.abs(e) - 0.5),
        lambda e: np.clip(e, -1, 1),
    ),
    Loss("log-cosh", lambda e: np.logaddexp(e, -e) - np.log(2), np.tanh, 2.0**-24),
]
SLOPES_AT_ZERO = (1.0, 0.5)
BIAS_STARTS = (0.0, 0.1, 0.01)

# Updates: gradients, rules, state


class Piece(NamedTuple):
    """A part of a `Program`: one thing that the optimizers do otherwise."""

    edits: Tuple[Tuple[str, Any], ...]  #: kinds and values
    changes: Tuple[Change, ...] = ()
    hyper: Mapping[str, float] = {}
    adam: Mapping[str, Any] = {}  #: arguments of `update_rules.adam`
    rule: Optional[Rule] = None
    cells: int = 0
    start: float = 0.0
    needs: Tuple[str, ...] = ()  #: rules of the graph to which it applies; empty: to all
    names_rate: bool = True  #: whether another rate is an edit of its own
    state: Mapping[str, Any] = {}  #: fields of `Program` that concern its state


class Family(NamedTuple):
    """Pieces that differ in a number, which may be fitted."""

    make: Callable[[float], Piece]
    values: Sequence[float]  #: tried first
    low: float = 1e-9  #: limits of the fit
    high: float = 1e3


def program_of(pieces: Sequence[Piece]) -> Program:
    """Return the program that does all of these."""
    adam: Dict[str, Any] = {}
    hyper: Dict[str, float] = {}
    state: Dict[str, Any] = {}
    changes: Tuple[Change, ...] = ()
    rule, cells, start = None, 0, 0.0
    for piece in pieces:
        adam.update(piece.adam)
        hyper.update(piece.hyper)
        state.update(piece.state)
        changes += piece.changes
        if piece.rule:
            rule, cells, start = piece.rule, piece.cells, piece.start
    if adam and not rule:
        rule, cells = rules.adam(**adam), 3 if adam.get("amsgrad") else 0
    needs = next((piece.needs for piece in pieces if piece.needs), ())
    return Program(changes, rule, needs, cells, start, hyper=hyper, **state)


ADAM = ("Adam",)
WITH_EPSILON = ("Adam", "RMSProp", "CenteredRMSProp", "Adadelta", "AdagradV2")


def _hyper(kind: str, name: str, needs: Tuple[str, ...]) -> Callable[[float], Piece]:
    return lambda value: Piece(((kind, value),), hyper={name: value}, needs=needs)


def _change(kind: str, function: Callable[[float], Change]) -> Callable[[float], Piece]:
    return lambda value: Piece(((kind, value),), changes=(function(value),))


def _adam(kind: str, value: Any, **options: Any) -> Piece:
    return Piece(((kind, value),), adam=options, needs=ADAM)


def _optimizer(name: str, rule: Rule, cells: int, start: float = 0.0, **hyper: float) -> Piece:
    edits = (("other optimizer", name),)
    return Piece(edits, (), hyper, {}, rule, cells, start, names_rate=False)


def _state(kind: str, value: Any, **state: Any) -> Piece:
    return Piece(((kind, value),), state=state)


_BETAS = {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}

_BETA1 = Family(
    _hyper("beta1", "beta1", ADAM), (0.9, 0.5, 0.8, 0.95, 0.99, 0.999, 0.0), 0.01, 0.9999
)
_BETA2 = Family(
    _hyper("beta2", "beta2", ADAM), (0.999, 0.99, 0.9, 0.95, 0.98, 0.9999), 0.01, 0.99999
)
_EPSILON = Family(
    _hyper("epsilon", "epsilon", WITH_EPSILON),
    (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 1e-10),
    1e-10,
    10.0,
)
_L2 = Family(
    _change("L2 in the gradient", rules.with_l2),
    (0.01, 0.1, 1e-3, 1e-4, 5e-4, 1e-5, 1.0, 0.02, 0.05, 0.5),
)
FAMILIES: List[Family] = [
    _EPSILON,
    _BETA1,
    _BETA2,
    Family(_change("gradient scaled", rules.scaled), (-1.0, 0.1, 0.01, 0.5, 2.0, 10.0), 1e-6, 1e3),
    _L2,
    Family(
        _change("clipped by value", rules.clipped_by_value),
        (1.0, 5.0, 0.5, 10.0, 0.1, 0.25),
        1e-3,
    ),
    Family(
        _change("clipped by norm", rules.clipped_by_norm),
        (1.0, 5.0, 10.0, 0.5, 0.1, 100.0),
        1e-3,
    ),
    Family(
        _change("clipped by global norm", rules.clipped_by_global_norm),
        (1.0, 5.0, 10.0, 0.5, 0.1, 100.0),
        1e-3,
    ),
    Family(
        lambda value: Piece(
            (("other optimizer", f"momentum {value:g}"),),
            hyper={"momentum": value},
            needs=("Momentum", "RMSProp", "CenteredRMSProp"),
        ),
        (0.9, 0.95, 0.99, 0.5, 0.0),
        0.01,
        0.9999,
    ),
]
_AFTER_CORRECTION = _adam("epsilon place", "after the correction", place="after the correction")
_INSIDE_ROOT = _adam("epsilon place", "inside the root", place="inside the root")
_INSIDE_CORRECTED_ROOT = _adam(
    "epsilon place", "inside the corrected root", place="inside the corrected root"
)
_AMSGRAD = _adam("amsgrad", None, amsgrad=True)
PIECES: List[Piece] = [
    _AFTER_CORRECTION,
    _INSIDE_ROOT,
    _INSIDE_CORRECTED_ROOT,
    Piece((("beta1", 0.999), ("beta2", 0.9)), hyper={"beta1": 0.999, "beta2": 0.9}, needs=ADAM),
    Piece((("beta1", 0.5), ("beta2", 0.9)), hyper={"beta1": 0.5, "beta2": 0.9}, needs=ADAM),
    Piece((("beta1", 0.9), ("beta2", 0.999)), hyper={"beta1": 0.9, "beta2": 0.999}, needs=ADAM),
    _adam("bias correction", "none", correction="none"),
    _adam("bias correction", "first moment only", correction="first moment"),
    _adam("bias correction", "second moment only", correction="second moment"),
    _adam("bias correction", "without the root", correction="without the root"),
    _adam("step counter", "starts at 2", correction="one ahead"),
    _adam("step counter", "starts at 3", correction="two ahead"),
    _adam("nesterov", None, nesterov="one step ahead"),
    _adam("nesterov", None, nesterov="own correction"),
    _adam("nesterov", None, nesterov="one step ahead", place="after the correction"),
    _adam("nesterov", None, nesterov="own correction", place="after the correction"),
    _AMSGRAD,
    _adam("lazy adam", None, lazy=True),
    _adam("other optimizer", "adam with |g|", second="absolute"),
    _adam("other optimizer", "adam with |g|, no root", second="absolute", root=False),
    _adam("other optimizer", "adam without a root", root=False),
    Piece(
        (("nesterov", None),),
        rule=rules.pytorch_nadam,
        cells=4,
        needs=ADAM,
    ),
    Piece((("nesterov", None),), rule=rules.momentum(None, False), needs=("Momentum",)),
    Piece((("nesterov", None),), rule=rules.momentum(None, True), needs=("Momentum",)),
    Piece(
        (("other optimizer", "rmsprop, not centered"),),
        rule=rules.rms_prop_not_centered,
        needs=("CenteredRMSProp",),
    ),
    Piece(
        (("other optimizer", "rmsprop of pytorch"),),
        rule=rules.rms_prop(None, False, None),
        cells=1,
        needs=("RMSProp", "CenteredRMSProp"),
    ),
    Piece(
        (("other optimizer", "adagrad from zero"),),
        rule=rules.adagrad_of_pytorch,
        cells=1,
        needs=("Adagrad",),
    ),
    _optimizer("sgd", rules.gradient_descent, 0),
    _optimizer("momentum", rules.momentum(0.9, False), 1),
    _optimizer("nesterov momentum", rules.momentum(0.9, True), 1),
    _optimizer("rmsprop", rules.rms_prop(0.9, True, 1e-10), 1, 1.0),
    _optimizer("rmsprop of pytorch", rules.rms_prop(0.99, False, 1e-8), 1),
    _optimizer("rmsprop of keras", rules.rms_prop(0.9, True, 1e-7), 1),
    _optimizer("adagrad", rules.adagrad, 1, 0.1),
    _optimizer("adagrad from zero", rules.adagrad_of_pytorch, 1),
    _optimizer("adamax", rules.adamax, 2, **_BETAS),
    _optimizer("adam", rules.adam(), 2, **_BETAS),
    *(
        Piece((("gradients accumulate", None),), (change,), state={"is_dense": True})
        for change in (rules.accumulated, rules.accumulated_by_task)
    ),
    Piece((("gradients stale", None),), (rules.stale,)),
    _state("variable updated late", None, late=True),
    *(
        _state("precision of variables", name, rounding=function)
        for name, function in PRECISIONS.items()
        if name != "tf32"
    ),
]


PIECES += [
    Piece(
        (("step counter", "once a variable"),),
        needs=ADAM,
        state={"counter": lambda now, position, k=k: now.runs * len(now.gradients) + k},
    )
    for k in (1, 2, 3, 4)
]

#: What is fitted together with shared state: epsilon, beta1, beta2.
FITTED_WITH_STATE = [_EPSILON, _BETA1, _BETA2]
#: What is tried together with another mistake first: the defaults of other frameworks.
USUAL: List[Piece] = [
    _AFTER_CORRECTION,
    _EPSILON.make(1e-7),
    _INSIDE_ROOT,
    _INSIDE_CORRECTED_ROOT,
    *(_EPSILON.make(value) for value in (1e-6, 1e-5, 1e-3)),
    *(_L2.make(value) for value in (0.01, 0.1)),
    _AMSGRAD,
]

#: Tried after other values, which it is often not told apart from.
NO_EPSILON = Piece((("epsilon", 0.0),), hyper={"epsilon": 0.0}, adam={"place": ""}, needs=ADAM)

#: How an added bias may be trained: as the weights of the graph, or by these pieces.
BIAS_RULES: List[Optional[Piece]] = [None, *USUAL[:2]]


# What the state of the optimizers does. Each is one program of all tasks.


def _each_step(now: Now, before: Optional[str]) -> bool:
    return True


def _on_change(now: Now, before: Optional[str]) -> bool:
    return before is not None and before != now.task


def _every(n: int) -> Callable[[Now, Optional[str]], bool]:
    """Return whether a multiple of n runs of all tasks lies between two runs of a task."""

    def is_another(now: Now, before: Optional[str]) -> bool:
        key = "block", now.task
        last, now.memory[key] = now.memory.get(key), now.at // n
        return last != now.memory[key]

    return is_another


def _every_run(n: int) -> Callable[[Now, Optional[str]], bool]:
    return lambda now, before: now.runs % n == 0


def _skips(n: int, phase: int) -> Callable[[Now], bool]:
    return lambda now: now.at % n == phase


STATES: List[Piece] = [
    _state("state reset", "each step", reset=_each_step),
    _state("state reset", "slots each step", reset=_each_step, resets_powers=False),
    *(_state("state reset", f"every {n}", reset=_every(n)) for n in (2, 3, 4, 5)),
    *(_state("state reset", f"every {n}", reset=_every_run(n)) for n in (2, 3, 4, 5)),
    _state("state reset", "on task change", reset=_on_change),
    _state("step counter", "stays at 1", counter=lambda now, position: 1),
    _state("step counter", "every second run", counter=lambda now, position: now.runs // 2 + 1),
    *(
        _state("step skipped", f"every {n}", rests=_skips(n, phase))
        for n in (2, 3, 4, 5)
        for phase in (n - 1, 0)
    ),
    _state("step skipped", "the first", rests=lambda now: now.at == 0),
]


def borrowing(tasks: Iterable[str]) -> List[Piece]:
    """Return what moves weights that a run does not train, by the gradients of another task."""
    return [_state("trains more", None, borrows=task) for task in sorted(tasks)]


def sharing(tasks: Sequence[str]) -> List[Tuple[Tuple[str, ...], Piece]]:
    """Return the ways in which tasks may share slots and step counters, with these tasks."""
    groups: List[Tuple[str, ...]] = [tuple(tasks)]
    if len(tasks) > 2:
        groups += [(a, b) for i, a in enumerate(tasks) for b in tasks[i + 1 :]]
    found = []
    for group in groups:
        owner = dict.fromkeys(group, group[0])
        found += [
            (group, _state("slots shared", None, slots=owner, powers=owner)),
            (group, _state("slots shared", None, slots=owner, powers=owner, counts_updates=True)),
            (group, _state("slots shared", None, slots=owner)),
            (group, _state("powers shared", None, powers=owner)),
        ]
    everything = {"slots": {"*": "all"}, "powers": {"*": "all"}, "zeros": True}
    for counts_updates in (False, True):
        state = {**everything, "counts_updates": counts_updates}
        edits = (("slots shared", None), ("trains more", None))
        found.append((tuple(tasks), Piece(edits, state=state)))
    return found
