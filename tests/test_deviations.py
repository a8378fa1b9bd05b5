"""Wrong ports are found wrong and named: those that people write, and every known deviation."""

import functools
import inspect

import numpy as np
import pytest
from deviant import KNOWN, Deviant, causes
from deviant.rules import Rules
from ports.numpy_port import Conformant as NumPyPort
from sampling import one_in

from tf1_mtl.baseline import Reference, check, check_case, golden_names, load_golden
from tf1_mtl.baseline.reference import WEIGHTS
from tf1_mtl.baseline.stages import STAGES

pytestmark = pytest.mark.usefixtures("patient")

#: All but the 1,000 steps.
SHORT = tuple(name for name in golden_names() if name != "joint-1000")


# Wrong ports that owe nothing to `Deviant`: the NumPy port with some of its lines changed

HIDDEN = 'hidden = np.maximum(X @ self.w["share_W"], 0)'
OUTPUT = "output = np.maximum(hidden @ self.w[head], 0)"
ERROR = "error = output - labels[head]"
LOSS = "loss += 0.5 * np.sum(np.square(error))"
DEAD_OUTPUT = "error[output <= 0] = 0"
DEAD_HIDDEN = "into_hidden[hidden <= 0] = 0"
HEAD = "gradients[head] = hidden.T @ error"
SHARED = 'gradients["share_W"] = X.T @ into_hidden'
UPDATE = "self.update(*self.adam[task], gradients)"
RETURN = "return loss"
RATE = "rate = 0.001 * np.sqrt(1 - powers[1]) / (1 - powers[0])"
M = "m[name] = 0.9 * m.get(name, 0) + 0.1 * g"
V = "v[name] = 0.999 * v.get(name, 0) + 0.001 * g * g"
STEP = "step = rate * m[name] / (np.sqrt(v[name]) + 1e-8)"
KEEP = "self.w[name] = (self.w[name] - step).astype(np.float32)"
LABELS = '{"share_Y1": Y1, "share_Y2": Y2}'
HEADS = 'list(labels) if task == "joint" else ["share_" + task]'
GIVEN = '{"share_W": share_W, "share_Y1": share_Y1, "share_Y2": share_Y2}'
SLOTS = "self.adam = {task: ({}, {}, [1.0, 1.0]) for task in"
ROOT = "(np.sqrt(v[name]) + 1e-8)"
FIRST, SECOND = "powers[0] *= 0.9", "powers[1] *= 0.999"

Z_HIDDEN = (HIDDEN, 'below = X @ self.w["share_W"]; hidden = np.maximum(below, 0)')
Z_OUTPUT = (OUTPUT, "z = hidden @ self.w[head]; output = np.maximum(z, 0)")
HALF = (GIVEN, GIVEN.replace(",", ".astype(np.float16),").replace("}", ".astype(np.float16)}"))
THREE = '{name: self.w[name] for name in ("share_W", "share_Y1", "share_Y2")}'
SHARED_BIAS = (
    (SLOTS, 'self.w["b"] = np.zeros(share_W.shape[1], np.float32); ' + SLOTS),
    (HIDDEN, 'hidden = np.maximum(X @ self.w["share_W"] + self.w["b"], 0)'),
    (SHARED, 'gradients["b"] = into_hidden.sum(0); ' + SHARED),
    ("return self.w", "return " + THREE),
)
ALL_BIASES = (
    *SHARED_BIAS,
    ("hidden @ self.w[head], 0)", "hidden @ self.w[head] + self.w.setdefault('b' + head, 0), 0)"),
    (HEAD, 'gradients["b" + head] = error.sum(0); ' + HEAD),
)
SHARE_W_FIRST = """adam = self.adam[task]
        powers = list(adam[2])
        self.update(*adam, {"share_W": gradients["share_W"]})
        adam[2][:] = powers
        hidden = np.maximum(X @ self.w["share_W"], 0)
        for head in heads:
            output = np.maximum(hidden @ self.w[head], 0)
            gradients[head] = hidden.T @ np.where(output > 0, output - labels[head], 0)
        del gradients["share_W"]
        self.update(*adam, gradients)"""


def clipped(norm):
    """The update with gradients brought down to a norm of 3."""
    return (
        "size = lambda gs: max(1e-30, float(sum(np.sum(np.square(g)) for g in gs)) ** 0.5)\n"
        f"        short = {{k: g * np.float32(min(1, 3 / size({norm}))) for k, g in "
        "gradients.items()}\n        self.update(*self.adam[task], short)"
    )


#: What the check should name, and the edits: (old, new) of the source of the port.
BY_HAND = (
    # The optimizer
    ("adam-epsilon-1e-7", (ROOT, "(np.sqrt(v[name]) + 1e-7)")),
    ("adam-epsilon", (ROOT, "(np.sqrt(v[name]) + 4e-6)")),
    ("adam-epsilon", (ROOT, "np.sqrt(v[name])")),
    ("adam-epsilon-outside", (ROOT, "(np.sqrt(v[name]) + 1e-8 * np.sqrt(1 - powers[1]))")),
    ("adam-epsilon-in-root", (ROOT, "np.sqrt(v[name] + 1e-8)")),
    ("adam-bias-correction", (RATE, "rate = 0.001")),
    ("adam-bias-correction", (RATE, "rate = 0.001 / (1 - powers[0])")),
    (
        "adam-beta1",
        (FIRST, "powers[0] *= 0.85"),
        (M, M.replace("0.9", "0.85").replace("0.1", "0.15")),
    ),
    (
        "adam-beta1",
        (FIRST, "powers[0] *= 0.97"),
        (M, M.replace("0.9", "0.97").replace("0.1", "0.03")),
    ),
    (
        "adam-beta2",
        (SECOND, "powers[1] *= 0.995"),
        (V, V.replace("0.999", "0.995").replace("0.001", "0.005")),
    ),
    (
        "adam-beta2",
        (SECOND, "powers[1] *= 0.97"),
        (V, V.replace("0.999", "0.97").replace("0.001", "0.03")),
    ),
    (
        "adam-betas-swapped",
        (FIRST, "powers[0] *= 0.999"),
        (SECOND, "powers[1] *= 0.9"),
        (M, "m[name] = 0.999 * m.get(name, 0) + 0.001 * g"),
        (V, "v[name] = 0.9 * v.get(name, 0) + 0.1 * g * g"),
    ),
    ("adam-second-moment", (V, V.replace("g * g", "np.abs(g)"))),
    ("adam-second-moment", (V, V.replace("g * g", "np.abs(g)")), (ROOT, "(v[name] + 1e-8)")),
    ("adam-second-moment", (ROOT, "(v[name] + 1e-8)")),
    ("learning-rate", (RATE, RATE.replace("0.001", "0.00123"))),
    ("learning-rate", (RATE, RATE.replace("0.001", "0.01"))),
    ("plain-sgd", (STEP, "step = 1e-7 * g")),
    ("plain-sgd", (STEP, "step = 3e-6 * g")),
    ("nadam-of-tensorflow-1", (STEP, STEP.replace("m[name]", "(0.9 * m[name] + 0.1 * g)"))),
    (
        "simple-nadam",
        (STEP, "step = rate * (0.9 * m[name] + 0.1 * g)"),
        (KEEP, "step /= np.sqrt(v[name]) + 1e-8 * np.sqrt(1 - powers[1]); " + KEEP),
    ),
    ("weight-decay", (STEP, STEP + " + 0.001 * 0.02 * self.w[name]")),
    ("weight-decay", (STEP, STEP + " + 0.001 * 0.3 * self.w[name]")),
    ("shared-slots", (SLOTS, "one = ({}, {}, [1.0, 1.0]); self.adam = {task: one for task in")),
    ("shared-slots", (SLOTS, "m, v = {}, {}; self.adam = {task: (m, v, [1.0, 1.0]) for task in")),
    ("shared-beta-powers", (SLOTS, "t = [1.0, 1.0]; self.adam = {task: ({}, {}, t) for task in")),
    ("shared-layer-frozen", (SHARED, "")),
    ("shared-layer-frozen", (SHARED, SHARED.replace("X.T", "0 * X.T"))),
    ("head-frozen", (KEEP, 'if name != "share_Y1": ' + KEEP)),
    ("head-frozen", (KEEP, 'if name != "share_Y2": ' + KEEP)),
    # Feeds and weights
    ("X-scaled", (HIDDEN, "X = X * np.float32(0.3); " + HIDDEN)),
    ("targets-swapped", (LABELS, '{"share_Y1": Y2, "share_Y2": Y1}')),
    ("weights-half-precision", HALF, (KEEP, KEEP.replace("32", "16"))),
    (
        "weights-half-precision",
        HALF,
        (KEEP, KEEP.replace("32", "16")),
        ("return self.w", "return {name: w.astype(np.float32) for name, w in self.w.items()}"),
    ),
    # The forward pass
    ("relu-slope-at-zero", Z_OUTPUT, (DEAD_OUTPUT, "error[z < 0] = 0")),
    ("relu-slope-at-zero", Z_HIDDEN, (DEAD_HIDDEN, "into_hidden[below < 0] = 0")),
    ("relu-slope-at-zero", Z_OUTPUT, (DEAD_OUTPUT, "error *= np.heaviside(z, np.float32(0.5))")),
    (
        "relu-slope-at-zero",
        Z_OUTPUT,
        Z_HIDDEN,
        (DEAD_OUTPUT, "error *= np.heaviside(z, np.float32(0.5))"),
        (DEAD_HIDDEN, "into_hidden *= np.heaviside(below, np.float32(0.5))"),
    ),
    ("relu-missing-shared", (HIDDEN, 'hidden = X @ self.w["share_W"]'), (DEAD_HIDDEN, "")),
    ("relu-missing-task", (OUTPUT, "output = hidden @ self.w[head]"), (DEAD_OUTPUT, "")),
    ("activation-task", (DEAD_OUTPUT, "error[output < 0] = 0")),  # masks nothing
    (
        "activation-shared",
        (HIDDEN, 'hidden = np.tanh(X @ self.w["share_W"])'),
        (DEAD_HIDDEN, "into_hidden *= 1 - hidden * hidden"),
    ),
    (
        "activation-task",
        (OUTPUT, "output = np.tanh(hidden @ self.w[head])"),
        (DEAD_OUTPUT, "error *= 1 - output * output"),
    ),
    (
        "activation",
        (HIDDEN, 'hidden = 1 / (1 + np.exp(-X @ self.w["share_W"]))'),
        (DEAD_HIDDEN, "into_hidden *= hidden * (1 - hidden)"),
        (OUTPUT, "output = 1 / (1 + np.exp(-hidden @ self.w[head]))"),
        (DEAD_OUTPUT, "error *= output * (1 - output)"),
    ),
    (
        "activation-shared",
        (HIDDEN, 'hidden = 1 / (1 + np.exp(-X @ self.w["share_W"]))'),
        (DEAD_HIDDEN, "into_hidden *= hidden * (1 - hidden)"),
    ),
    ("bias-added", *SHARED_BIAS),
    ("bias-added", *ALL_BIASES),
    # The loss
    ("reported-loss-scaled", (LOSS, "loss += np.sum(np.square(error))")),
    ("l2-without-half", (LOSS, "loss += np.sum(np.square(error)); error *= 2")),
    (
        "mean-over-all",
        (LOSS, "loss += np.mean(np.square(error)); error *= np.float32(2 / error.size)"),
    ),
    ("mean-over-all", (LOSS, "loss += np.mean(np.square(error)) / 2; error /= error.size")),
    ("mean-over-batch", (LOSS, "loss += np.sum(np.square(error)) / len(X); error *= 2 / len(X)")),
    ("mean-over-batch", (LOSS, "loss += np.sum(np.square(error)) / len(X) / 2; error /= len(X)")),
    (
        "other-loss",
        (LOSS, "loss += np.sum(np.logaddexp(error, -error) - np.log(2)); error = np.tanh(error)"),
    ),
    (
        "other-loss, mean-over-outputs",
        (
            LOSS,
            "loss += np.mean(np.logaddexp(error, -error) - np.log(2)); "
            "error = np.tanh(error) / np.float32(error.size)",
        ),
    ),
    (
        "joint-average",
        (
            LOSS,
            "part = 1 / len(heads); loss += part * 0.5 * np.sum(np.square(error)); error *= part",
        ),
    ),
    # Which gradients reach which weights
    ("other-head-moves", (HEADS, "list(labels)")),
    (
        "other-head-moves",
        (HEADS, "list(labels)"),
        (LOSS, 'own = task in ("joint", head[-2:]); loss += own * 0.5 * np.sum(np.square(error))'),
        ("into_hidden += error", "into_hidden += own * error"),
    ),
    ("shared-layer-moves-first", (UPDATE, SHARE_W_FIRST)),
    ("clip-by-norm", (UPDATE, clipped("[g]"))),
    ("clip-by-global-norm", (UPDATE, clipped("gradients.values()"))),
    ("clip-by-value", (HEAD, "gradients[head] = np.clip(hidden.T @ error, -3, 3)")),
)


@pytest.mark.parametrize(
    "name, edits",
    [(name, edits) for name, *edits in BY_HAND],
    ids=[str(name) for name, *_ in BY_HAND],
)
@pytest.mark.slow
def test_ports_made_wrong_by_hand(name, edits):
    source = inspect.getsource(NumPyPort)
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new or "pass")
    names = {"np": np}
    exec(source, names)
    with np.errstate(all="ignore"):
        is_named(names["Conformant"], name)


#: Kinds of edits that a diagnosis should name for a known deviation, where its words differ.
KINDS = {
    "X-scaled": "feed scaled",
    "activation": "other activation",
    "activation-shared": "other activation",
    "activation-task": "other activation",
    "adam-betas-swapped": "beta1, beta2",
    "adam-epsilon-1e-7": "epsilon",
    "adam-epsilon-in-root": "epsilon place",
    "adam-epsilon-outside": "epsilon place",
    "adam-second-moment": "other optimizer",
    "adam-step-count": "step counter",
    "adamax": "other optimizer",
    "adagrad": "other optimizer",
    "adagrad-from-zero": "other optimizer",
    "clip-by-global-norm": "clipped by global norm",
    "clip-by-norm": "clipped by norm",
    "clip-by-value": "clipped by value",
    "feeds-rounded": "feed rounded",
    "feeds-scaled": "feed scaled",
    "head-frozen": "variable frozen",
    "heads-move-first": "gradients after an update",
    "joint-average": "loss scaled",
    "joint-in-two-steps": "two steps",
    "joint-weighted": "loss weight in the sum",
    "l2-penalty": "L2 in the gradient",
    "l2-penalty-in-loss": "penalty in the loss, trains more",
    "l2-without-half": "loss scaled",
    "labels-scaled": "feed scaled",
    "loss-after-update": "loss after the update",
    "leaky-relu": "other activation",
    "leaky-relu-shared": "other activation",
    "leaky-relu-task": "other activation",
    "learning-rate-decay": "schedule",
    "matmul-half-precision": "precision of products",
    "matmul-tf32": "precision of products",
    "mean-over-all": "mean over outputs",
    "momentum": "other optimizer",
    "nadam": "nesterov",
    "nadam-of-tensorflow-1": "nesterov",
    "nesterov": "other optimizer",
    "other-head-moves": "trains more",
    "plain-sgd": "other optimizer",
    "relu-missing": "activation missing",
    "relu-missing-shared": "activation missing",
    "relu-missing-task": "activation missing",
    "relu-slope-at-zero": "slope at zero",
    "reports-another-loss": "loss of another task",
    "rmsprop": "other optimizer",
    "rmsprop-of-keras": "other optimizer",
    "rmsprop-of-pytorch": "other optimizer",
    "shared-beta-powers": "powers shared",
    "shared-layer-frozen": "variable frozen",
    "shared-layer-moves-first": "gradients after an update",
    "shared-learns-from-one-task": "gradient stopped",
    "shared-slots": "slots shared",
    "simple-nadam": "nesterov",
    "stale": "gradients stale",
    "targets-swapped": "feeds swapped",
    "tasks-swapped": "feeds swapped",
    "weights-half-precision": "precision of variables",
}


#: What means the same.
SAME = {"slope ignored": "other activation", "weights stale": "gradients stale"}


def kinds_of(name):
    words = KINDS.get(name, name.replace("adam-", "").replace("-", " "))
    return set(words.split(", "))


def named(report):
    return {SAME.get(e.kind, e.kind) for e in report.diagnosis.edits} if report.diagnosis else set()


def is_named(port, name):
    report = check(port, SHORT)
    assert not report.passed
    # Swapped targets do not fit where the tasks have other sizes.
    assert report.broke == (name == "targets-swapped"), report
    assert named(report) == (kinds_of(name) if name else set()), report


class Narrow(np.ndarray):
    """An array whose products round both operands to float32 with fewer bits, to nearest even."""

    dropped = 0  # of the 24 bits of float32

    def __matmul__(self, other):
        a, b = (self.rounded(np.asarray(x, np.float32)) for x in (self, other))
        return (a @ b).view(type(self))

    def rounded(self, x):
        bits = x.view(np.uint32)
        half = np.uint32((1 << (self.dropped - 1)) - 1) + ((bits >> self.dropped) & 1)
        return ((bits + half) >> self.dropped << self.dropped).view(np.float32)


class Tf32(Narrow):
    dropped = 13


class Bfloat16(Narrow):
    dropped = 16


class NarrowProducts(NumPyPort):
    kind = Narrow

    def step(self, task, X, Y1, Y2):
        self.w = {name: w.view(self.kind) for name, w in self.w.items()}
        return float(super().step(task, X.view(self.kind), Y1, Y2))


class InTurn(NumPyPort):
    """A joint step is a step of task 1, then one of task 2."""

    order = "Y1", "Y2"

    def step(self, task, *given):
        tasks = self.order if task == "joint" else [task]
        return sum(super(InTurn, self).step(one, *given) for one in tasks)


class InTurnJointSlots(InTurn):
    """... both in the slots of the joint optimizer."""

    def step(self, task, *given):
        own = dict(self.adam)
        if task == "joint":
            self.adam.update(Y1=own["joint"], Y2=own["joint"])
        loss = super().step(task, *given)
        self.adam = own
        return loss


class After(NumPyPort):
    """Reports the loss of the weights that the step has left."""

    def step(self, *given):
        super().step(*given)
        return NumPyPort(*self.w.values()).step(*given)


@pytest.mark.parametrize(
    "port, name",
    one_in(
        6,
        [
            (type("Tf32Products", (NarrowProducts,), {"kind": Tf32}), "matmul-tf32"),
            (
                type("Bfloat16Products", (NarrowProducts,), {"kind": Bfloat16}),
                "matmul-half-precision",
            ),
            (InTurn, "joint-in-two-steps"),
            (type("SecondTaskFirst", (InTurn,), {"order": ("Y2", "Y1")}), "joint-in-two-steps"),
            (InTurnJointSlots, "joint-in-two-steps"),
            (After, "loss-after-update"),
        ],
    ),
    ids=lambda port: getattr(port, "__name__", port),
)
def test_ports_written_wrong(port, name):
    is_named(port, name)


# The known deviations


@pytest.mark.parametrize("deviation", one_in(len(KNOWN), KNOWN), ids=lambda deviation: deviation.id)
def test_known_deviations_fail_and_are_named(deviation):
    """At two strengths: listed, and fitted if possible. Also in float64 if there is a case."""
    if deviation.id in ("weights-float64", "heads-transposed"):
        pytest.skip("a dtype or a shape is a finding of its own, without a search")
    first = deviation.strengths[0]
    tried = [functools.partial(Deviant, **first)]
    if deviation.fitted:
        other = {**first, deviation.fitted: 0.77 * first[deviation.fitted]}
        tried.append(functools.partial(Deviant, **other))
    elif len(deviation.strengths) > 1:
        tried.append(functools.partial(Deviant, **deviation.strengths[1]))
    else:
        tried.append(functools.partial(Deviant, dtype=np.float64, **first))
    for port in tried:
        report = check(port, SHORT)
        assert not report.passed, port
        assert report.first.stage in STAGES
        found = named(report)
        if deviation.id == "gradient-scaled" and "epsilon" in found:
            continue  # Adam sees a factor of the gradient through epsilon only
        if getattr(port, "keywords", {}).get("head_first") == "backward":
            assert found == {"gradients through moved weights"}, report
            continue
        assert kinds_of(deviation.id) <= found, report


#: Two rules that are broken at once, and the kinds of edits that name them.
PAIRS = (
    ({"epsilon": 1e-7, "loss_factor": 1.0, "mean_over": "all"}, "epsilon, mean over outputs"),
    ({"bias": ("shared", "Y1", "Y2"), "epsilon": 1e-7}, "bias added, epsilon"),
    (
        {"task_activation": "linear", "epsilon_place": "outside"},
        "activation missing, epsilon place",
    ),
    ({"swapped": "labels", "weight_decay": 0.01}, "feeds swapped, weight decay"),
    ({"learning_rate": 0.0007, "epsilon": 3e-6}, "learning rate, epsilon"),
    ({"shared": "slots", "beta1": 0.85}, "slots shared, beta1"),
)


@pytest.mark.slow
@pytest.mark.parametrize("rules, kinds", PAIRS, ids=str)
def test_pairs_are_named(rules, kinds):
    report = check(functools.partial(Deviant, **rules), SHORT)
    assert named(report) == set(kinds.split(", ")), report


def test_the_article_alone_does_not_see_everything():
    """Why the other cases exist: gradients of 1e4 hide these."""
    for rules in ({"epsilon": 1e-7}, {"epsilon_place": "outside"}, {"task_activation": "linear"}):
        port = functools.partial(Deviant, **rules)
        assert check(port, ("alternate", "joint")).passed, rules
        assert not all(check_case(port, case).passed for case in SHORT), rules


def _initial(golden):
    return [golden.sessions[0].initial[name] for name in WEIGHTS]


def test_a_deviant_without_rules_is_the_reference():
    golden = load_golden("one-task-then-the-other")
    reference, deviant = Reference(*_initial(golden)), Deviant(*_initial(golden))
    for run in golden.runs:
        given = run.task, *(run.feeds.get(name) for name in ("X", "Y1", "Y2"))
        assert reference.step(*given) == deviant.step(*given)
        for name, value in reference.weights().items():
            assert np.array_equal(value, deviant.weights()[name])


def test_every_rule_is_known_by_a_name():
    named = {rule for cause in causes() for rule in cause.settings}
    assert named == set(Rules._fields) - {"momentum"}
    ids = [deviation.id for deviation in KNOWN]
    assert len(set(ids)) == len(ids)
    assert all(deviation.fitted in {"", *Rules._fields} for deviation in KNOWN)
