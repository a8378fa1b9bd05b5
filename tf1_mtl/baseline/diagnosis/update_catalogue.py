"""Lists what the optimizers of a port may do differently: to gradients, in their rules, to state.

To add a mistake, add a line to `PIECES` or `STATES`. A mistake with a number that is fitted is a
line of `FAMILIES`.
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

from tf1_mtl.baseline.diagnosis import update_rules as rules
from tf1_mtl.baseline.diagnosis.catalogue import STORED
from tf1_mtl.baseline.diagnosis.model import HYPER
from tf1_mtl.baseline.diagnosis.replay import Change, Now, Program, Rule


class Piece(NamedTuple):
    """Describes a part of a `Program`: one thing that the optimizers do differently."""

    edits: Tuple[Tuple[str, Any], ...]  #: kinds and values
    changes: Tuple[Change, ...] = ()
    hyper: Mapping[str, float] = {}
    adam: Mapping[str, Any] = {}  #: arguments of `update_rules.adam`
    rule: Optional[Rule] = None
    cells: int = 0
    start: float = 0.0
    needs: Tuple[str, ...] = ()  #: the rules of the graph to which it applies; () for all
    names_rate: bool = True  #: whether another learning rate is reported as an edit of its own
    state: Mapping[str, Any] = {}  #: those fields of `Program` that concern its state


class Family(NamedTuple):
    """Makes pieces that differ in one number. The number may be fitted."""

    make: Callable[[float], Piece]
    values: Sequence[float]  #: the numbers that are tried first
    low: float = 1e-9  #: limits of the fit
    high: float = 1e3


def program_of(pieces: Sequence[Piece]) -> Program:
    """Returns the program that has all of these pieces."""
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
    given = [set(piece.needs) for piece in pieces if piece.needs]
    needs = tuple(sorted(set.intersection(*given))) or ("none",) if given else ()
    return Program(changes, rule, needs, cells, start, hyper=hyper, **state)


ADAM = ("Adam",)
DESCENT = ("GradientDescent",)
#: In these, plain descent is another rule. Assignments that a script makes have none.
NOT_DESCENT = tuple(rule for rule in HYPER if rule not in DESCENT)
WITH_EPSILON = ("Adam", "RMSProp", "CenteredRMSProp", "Adadelta", "AdagradV2")

#: Rules that TensorFlow applies to the rows of a sparse gradient alone, though others would move.
OF_ROWS = ("Momentum", "RMSProp", "CenteredRMSProp", "Adadelta", "Ftrl", "FtrlV2")


def _hyper(kind: str, name: str, needs: Tuple[str, ...]) -> Callable[[float], Piece]:
    """Returns what makes a piece with another value of a hyper-parameter."""
    return lambda value: Piece(((kind, value),), hyper={name: value}, needs=needs)


def _change(kind: str, function: Callable[[float], Change]) -> Callable[[float], Piece]:
    """Returns what makes a piece that changes the gradients by a number."""
    return lambda value: Piece(((kind, value),), changes=(function(value),))


def _adam(kind: str, value: Any, **options: Any) -> Piece:
    """Returns a piece with other options of `update_rules.adam`."""
    return Piece(((kind, value),), adam=options, needs=ADAM)


def _optimizer(name: str, rule: Rule, cells: int, start: float = 0.0, **hyper: float) -> Piece:
    """Returns a piece with another optimizer."""
    edits = (("other optimizer", name),)
    return Piece(edits, (), hyper, {}, rule, cells, start, names_rate=False)


def _state(kind: str, value: Any, **state: Any) -> Piece:
    """Returns a piece with other fields of `Program` that concern its state."""
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
    (1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 1e-9, 1e-10, 1e-12),
    1e-12,
    10.0,
)
_L2 = Family(
    _change("L2 in the gradient", rules.with_l2),
    (0.01, 0.1, 1e-3, 1e-4, 5e-4, 1e-5, 1.0, 0.02, 0.05, 0.5),
)
_RHO = Family(
    _hyper("rho", "rho", ("RMSProp", "CenteredRMSProp", "Adadelta")),
    (0.9, 0.99, 0.95, 0.999),
    0.01,
    0.9999,
)
_FIRST_SLOT = Family(
    lambda value: Piece(
        (("first slot", value),),
        needs=("Adagrad", "AdagradV2", "Ftrl", "FtrlV2"),
        state={"first_slot": value},
    ),
    (0.0, 0.1, 1.0, 0.01),
    1e-6,
)
_CLIPPINGS = (
    ("clipped by value", rules.clipped_by_value),
    ("clipped by norm", rules.clipped_by_norm),
    ("clipped by global norm", rules.clipped_by_global_norm),
)
FAMILIES: List[Family] = [
    _EPSILON,
    _BETA1,
    _BETA2,
    _RHO,
    _FIRST_SLOT,
    *(
        Family(_hyper(f"{name} of ftrl", name, ("Ftrl", "FtrlV2")), (0.0, 0.001, 0.01, 0.1))
        for name in ("l1", "l2")
    ),
    # The step of Ftrl is no multiple of its rate, which would be fitted.
    Family(
        _hyper("learning rate", "rate", ("Ftrl", "FtrlV2")),
        (0.1, 0.01, 0.05, 0.001, 0.5, 0.2, 1.0),
    ),
    Family(
        _change("gradient scaled", rules.scaled),
        # 9: a moving average whose decay of 0.9 is taken for the part of the new value
        (-1.0, 0.1, 0.01, 0.5, 2.0, 10.0, 9.0, 99.0, 999.0),
        1e-6,
        1e3,
    ),
    _L2,
    *(
        Family(_change(kind, change), values, 1e-3)
        for (kind, change), values in zip(
            _CLIPPINGS,
            (
                (1.0, 5.0, 0.5, 10.0, 0.1, 0.25),
                (1.0, 5.0, 10.0, 0.5, 0.1, 100.0),
                (1.0, 5.0, 10.0, 0.5, 0.1, 100.0),
            ),
        )
    ),
    Family(
        lambda value: Piece(
            (("other optimizer", f"momentum {value:g}"),),
            hyper={"momentum": value},
            needs=("Momentum", "RMSProp", "CenteredRMSProp"),
        ),
        (0.9, 0.95, 0.99, 0.5),
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
_MOMENTUM = rules.of_operation("ApplyMomentum", use_nesterov=False)
_NESTEROV = rules.of_operation("ApplyMomentum", use_nesterov=True)
_RMS_PROP = rules.of_operation("ApplyRMSProp")
_ADAGRAD_FROM_ZERO = _optimizer(
    "adagrad from zero", rules.of_operation("ApplyAdagradV2"), 1, epsilon=1e-10
)
PIECES: List[Piece] = [
    Piece((("rows set", None),), needs=DESCENT, state={"is_dense": True, "sets_rows": True}),
    Piece((("all rows", None),), needs=OF_ROWS, state={"is_dense": True}),
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
    Piece((("nesterov", None),), rule=rules.pytorch_nadam, cells=4, needs=ADAM),
    *(
        Piece((("nesterov", None),), rule=momentum, needs=("Momentum",))
        for momentum in (_MOMENTUM, _NESTEROV)
    ),
    Piece(
        (("other optimizer", "rmsprop, not centered"),),
        rule=rules.rms_prop_not_centered,
        needs=("CenteredRMSProp",),
    ),
    Piece(
        (("other optimizer", "rmsprop of pytorch"),),
        rule=rules.rms_prop_of_pytorch,
        cells=1,
        needs=("RMSProp", "CenteredRMSProp"),
    ),
    _ADAGRAD_FROM_ZERO._replace(needs=("Adagrad",), names_rate=True),
    Piece(
        (("other optimizer", "rmsprop from zero"),), needs=("RMSProp",), state={"first_slot": 0.0}
    ),
    Piece(
        (("epsilon place", "outside the root"),),
        rule=rules.rms_prop_with_outer_epsilon,
        needs=("RMSProp",),
    ),
    Piece(
        (("other optimizer", "rmsprop with momentum before the rate"),),
        rule=rules.rms_prop_with_outer_rate,
        needs=("RMSProp",),
    ),
    Piece(
        (("other optimizer", "momentum that keeps the rates of its steps"),),
        rule=rules.momentum_of_steps,
        needs=("Momentum",),
    ),
    Piece(
        (("other optimizer", "rmsprop without momentum"),),
        hyper={"momentum": 0.0},
        needs=("RMSProp", "CenteredRMSProp"),
    ),
    _optimizer("sgd", rules.of_operation("ApplyGradientDescent"), 0)._replace(needs=NOT_DESCENT),
    _optimizer("momentum", _MOMENTUM, 1, momentum=0.9),
    _optimizer("nesterov momentum", _NESTEROV, 1, momentum=0.9),
    _optimizer("rmsprop", _RMS_PROP, 2, 1.0, rho=0.9, momentum=0.0, epsilon=1e-10),
    _optimizer("rmsprop of pytorch", rules.rms_prop_of_pytorch, 1, rho=0.99, epsilon=1e-8),
    _optimizer("rmsprop of keras", _RMS_PROP, 2, rho=0.9, momentum=0.0, epsilon=1e-7),
    _optimizer("adagrad", rules.of_operation("ApplyAdagrad"), 1, 0.1),
    _ADAGRAD_FROM_ZERO,
    _optimizer("adamax", rules.of_operation("ApplyAdaMax"), 2, **_BETAS),
    _optimizer("adam", rules.of_operation("ApplyAdam"), 2, **_BETAS),
    *(
        Piece((("gradients accumulate", None),), (change,), state={"is_dense": True})
        for change in (rules.accumulated, rules.accumulated_by_task)
    ),
    Piece((("gradients stale", None),), (rules.stale,), state={"is_dense": True}),
    _state("variable updated late", None, late=True),
    *(
        _state("precision of variables", name, rounding=function)
        for name, function in STORED.items()
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

#: All pieces, and those of each family with its listed values.
LISTED: List[Piece] = PIECES + [f.make(value) for f in FAMILIES for value in f.values]
#: The families that are fitted together with shared state.
FITTED_WITH_STATE = [_EPSILON, _BETA1, _BETA2]
#: What is tried first together with another mistake, mostly defaults of other frameworks.
USUAL: List[Piece] = [
    _AFTER_CORRECTION,
    _EPSILON.make(1e-7),
    _INSIDE_ROOT,
    _INSIDE_CORRECTED_ROOT,
    *(_EPSILON.make(value) for value in (1e-6, 1e-5, 1e-3)),
    *(_L2.make(value) for value in (0.01, 0.1)),
    _AMSGRAD,
]

#: Tried after all other values of epsilon, since several of them often explain the same steps.
NO_EPSILON = Piece((("epsilon", 0.0),), hyper={"epsilon": 0.0}, adam={"place": ""}, needs=ADAM)

#: How an added bias may be trained: as the weights of the graph, or with one of these pieces.
BIAS_RULES: List[Tuple[Piece, ...]] = [(), *((piece,) for piece in USUAL[:2])]


# What the state of the optimizers may do. Each of these pieces is a program of all tasks.


def _each_step(now: Now, before: Optional[str]) -> bool:
    """Returns True: the state starts afresh in each step."""
    return True


def _on_change(now: Now, before: Optional[str]) -> bool:
    """Returns whether the task is another one than in the run before."""
    return before is not None and before != now.task


def _every(n: int) -> Callable[[Now, Optional[str]], bool]:
    """Returns a function that is true for the first run of a task in each n runs of all tasks."""

    def is_another(now: Now, before: Optional[str]) -> bool:
        key = "block", now.task
        last, now.memory[key] = now.memory.get(key), now.at // n
        return last != now.memory[key]

    return is_another


def _every_run(n: int) -> Callable[[Now, Optional[str]], bool]:
    """Returns a function that is true in every n-th run of a task, and in the first."""
    return lambda now, before: now.runs % n == 0


def _skips(n: int, phase: int) -> Callable[[Now], bool]:
    """Returns a function that is true in every n-th run of all tasks."""
    return lambda now: now.at % n == phase


def _of_runs(n: int, is_mean: bool) -> Piece:
    """Returns what updates in every n-th run of a task, by the gradients of n runs."""
    value = f"{'mean' if is_mean else 'sum'} of the gradients of {n} runs"
    return Piece(
        (("gradients of several runs", value),),
        (rules.of_runs(n, is_mean),),
        state={"rests": lambda now: now.runs % n < n - 1, "is_dense": True},
    )


STATES: List[Piece] = [
    _state("state reset", "each step", reset=_each_step),
    _state("state reset", "slots each step", reset=_each_step, resets_powers=False),
    *(_state("state reset", f"every {n}", reset=_every(n)) for n in (2, 3, 4, 5, 10, 20)),
    *(_state("state reset", f"every {n}", reset=_every_run(n)) for n in (2, 3, 4, 5, 10, 20)),
    _state("step counter", "stays at 1", counter=lambda now, position: 1),
    _state("step counter", "every second run", counter=lambda now, position: now.runs // 2 + 1),
    *(
        _state("step skipped", f"every {n}", rests=_skips(n, phase))
        for n in (2, 3, 4, 5)
        for phase in (n - 1, 0)
    ),
    _state("step skipped", "the first", rests=lambda now: now.at == 0),
    *(_of_runs(n, is_mean) for n in (2, 3, 4, 5, 8) for is_mean in (False, True)),
]


#: Where there are several tasks.
ON_TASK_CHANGE = _state("state reset", "on task change", reset=_on_change)


def clippings(numbers: Sequence[float]) -> List[Piece]:
    """Returns a piece for each kind of clipping to one of some numbers."""
    found = [_change(kind, change)(x) for kind, change in _CLIPPINGS for x in numbers]
    of_sums = (
        _change(kind, change)(x)
        for kind, change in (
            ("clipped by norm", rules.clipped_by_norm),
            ("clipped by norm of sums", rules.clipped_by_global_norm),
        )
        for x in numbers
    )
    found += [_change("scaled to global norm", rules.scaled_to_global_norm)(x) for x in numbers]
    return found + [piece._replace(state={"is_dense": True}) for piece in of_sums]


def borrowing(tasks: Iterable[str]) -> List[Piece]:
    """Returns a piece for each task whose gradients also move what the other tasks do not train."""
    return [_state("trains more", None, borrows=task) for task in sorted(tasks)]


def constant_rates(rates: Iterable[float]) -> List[Piece]:
    """Returns what keeps a learning rate that changes in the graph."""
    return [Piece((("schedule", "constant"),), hyper={"rate": rate}) for rate in rates]


def sharing(tasks: Sequence[str]) -> List[Tuple[Tuple[str, ...], Piece]]:
    """Returns pieces by which tasks share slots and step counters, each behind these tasks."""
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
    owner = dict.fromkeys(tasks, tasks[0])
    for counts_updates in (False, True):
        state = {"slots": owner, "powers": owner, "zeros": True, "counts_updates": counts_updates}
        edits = (("slots shared", None), ("trains more", None))
        found.append((tuple(tasks), Piece(edits, state=state)))
    return found
