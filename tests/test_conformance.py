"""The checker checked: correct ports pass, wrong ones fail and are named, broken ones are told."""

import functools
import inspect
import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from ports.numpy_port import Conformant as NumPyPort

from tf1_mtl.baseline import Reference, check, check_case, golden_names
from tf1_mtl.baseline.deviations import Deviant
from tf1_mtl.baseline.diagnosis import Diagnosis
from tf1_mtl.baseline.judgement import STAGES, ulps_between
from tf1_mtl.baseline.known import KNOWN
from tf1_mtl.cli import main

#: All but the 1,000 steps, for tests of many ports.
SHORT = tuple(name for name in golden_names() if name != "joint-1000")


# Correct ports


class Shuffled(NumPyPort):
    """Sums every product in a random order, another one each time."""

    seed = 0

    def __init__(self, share_W, share_Y1, share_Y2):
        super().__init__(share_W, share_Y1, share_Y2)
        self.rng = np.random.RandomState(self.seed)
        self.w = {name: _Shuffled.of(value, self.rng) for name, value in self.w.items()}

    def step(self, task, X, Y1, Y2):
        return float(super().step(task, _Shuffled.of(X, self.rng), Y1, Y2))

    def weights(self):
        return {name: np.asarray(value) for name, value in self.w.items()}


class _Shuffled(np.ndarray):
    @classmethod
    def of(cls, value, rng):
        array = np.asarray(value).view(cls)
        array.rng = rng
        return array

    def __array_finalize__(self, other):
        self.rng = getattr(other, "rng", None)

    def __matmul__(self, other):
        order = self.rng.permutation(self.shape[-1])
        total = np.zeros((self.shape[0], other.shape[1]), np.float32)
        for i in order:  # one term after the other: the least exact way to sum
            total += np.outer(np.asarray(self)[:, i], np.asarray(other)[i])
        return _Shuffled.of(total, self.rng)


class InDouble(NumPyPort):
    """Keeps and computes everything in float64, shows float32, returns a Python float."""

    def __init__(self, *weights):
        super().__init__(*(np.array(w, float) for w in weights))

    def step(self, *given):
        return float(super().step(*given))

    def update(self, m, v, powers, gradients):
        powers[0] *= 0.9
        powers[1] *= 0.999
        rate = 0.001 * np.sqrt(1 - powers[1]) / (1 - powers[0])
        for name, g in gradients.items():
            m[name] = 0.9 * m.get(name, 0) + 0.1 * g
            v[name] = 0.999 * v.get(name, 0) + 0.001 * g * g
            self.w[name] = self.w[name] - rate * m[name] / (np.sqrt(v[name]) + 1e-8)

    def weights(self):
        return {name: value.astype(np.float32) for name, value in self.w.items()}


class InPlace(NumPyPort):
    """Changes the arrays it was given, and shows them: views of live weights."""

    def step(self, task, X, Y1, Y2):
        loss = super().step(task, X, Y1, Y2)
        X[...] = Y1[...] = Y2[...] = np.nan
        return np.array(loss)

    def update(self, m, v, powers, gradients):
        live = dict(self.w)
        super().update(m, v, powers, gradients)
        for name, array in live.items():
            array[...] = self.w[name]
        self.w = live


class HyperParametersInDouble(Reference):
    """As Keras: 1 - beta in double, then rounded; the powers from float32 betas."""

    def adam(self, optimizer, variable, g, alpha):
        m, v = (self.slots[optimizer, variable, slot] for slot in "mv")
        m = m + (g - m) * np.float32(1 - 0.9)
        v = v + (g * g - v) * np.float32(1 - 0.999)
        self.slots[optimizer, variable, "m"] = m
        self.slots[optimizer, variable, "v"] = v
        return m * alpha / self.denominator(optimizer, v)


@pytest.mark.parametrize(
    "port",
    [
        Reference,
        functools.partial(Reference, dtype=np.float64),
        NumPyPort,
        InDouble,
    ],
    ids=["float32", "float64", "NumPy", "float64 kept"],
)
def test_correct_ports_conform(port):
    report = check(port)
    assert report.passed, report
    assert report.diagnosis is None
    assert not report.notes
    assert [result.case for result in report.cases] == list(golden_names())
    assert all(result.steps for result in report.cases)


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_summation_conforms(seed):
    report = check(type("Seeded", (Shuffled,), {"seed": seed}), SHORT)
    assert report.passed, report


def test_hyper_parameters_in_double_conform_with_a_note():
    report = check(HyperParametersInDouble)
    assert report.passed, report
    (note,) = report.notes
    assert "hyper-parameters held in double" in note
    assert "5.4e-06 of their length shorter" in note


def test_a_port_may_change_what_it_is_given():
    report = check(InPlace, SHORT)
    assert report.passed, report
    assert report.notes == ("the port writes into the arrays it is given; here they were copies.",)


def test_the_running_tensorflow_conforms():
    pytest.importorskip("tensorflow")
    from ports import graph_mode

    for port in (graph_mode.Ref, graph_mode.Resource):
        report = check(port)
        assert report.passed, report
        assert not report.notes


# Wrong ports, made from the NumPy port by changing one of its lines, and not by `Deviant`

ROOT = "(np.sqrt(v[name]) + 1e-8)"
STEP = "rate * m[name] / (np.sqrt(v[name]) + 1e-8)"
RATE = "rate = 0.001 * np.sqrt(1 - powers[1]) / (1 - powers[0])"
LOSS = "loss += 0.5 * np.sum(np.square(error))"
BY_HAND = (
    (ROOT, "(np.sqrt(v[name]) + 1e-7)", "adam-epsilon-1e-7"),
    (ROOT, "(np.sqrt(v[name]) + 4e-6)", "adam-epsilon"),
    (ROOT, "(np.sqrt(v[name]) + 1e-8 * np.sqrt(1 - powers[1]))", "adam-epsilon-outside"),
    (ROOT, "np.sqrt(v[name] + 1e-8)", "adam-epsilon-in-root"),
    (RATE, "rate = 0.001", "adam-bias-correction"),
    (RATE, "rate = 0.00123 * np.sqrt(1 - powers[1]) / (1 - powers[0])", "learning-rate"),
    (STEP, "1e-7 * g", "plain-sgd"),
    (STEP, STEP + " + 0.001 * 0.02 * self.w[name]", "weight-decay"),
    (LOSS, "loss += np.sum(np.square(error))", "reported-loss-scaled"),
    ("error[output <= 0] = 0", "error[output < 0] = 0", "activation-task"),  # masks nothing
    ("error[output <= 0] = 0", "error[output <= 0] *= 0.07", None),
    ("hidden.T @ error", "np.clip(hidden.T @ error, -3, 3)", None),
    ("X.T @ into_hidden", "0 * X.T @ into_hidden", "shared-layer-frozen"),
    ("(self.w[name] - step)", "(self.w[name] - np.float16(step))", None),
    ("({}, {}, [1.0, 1.0]) for task in", "SHARED for task in", "shared-slots"),
    ("hidden = np.maximum(X @", "X = X * np.float32(0.3); hidden = np.maximum(X @", "X-scaled"),
)


@pytest.mark.parametrize("old, new, name", BY_HAND, ids=[new for _, new, _ in BY_HAND])
def test_ports_made_wrong_by_hand(old, new, name):
    source = inspect.getsource(NumPyPort)
    assert source.count(old) == 1
    names = {"np": np}
    exec("SHARED = ({}, {}, [1.0, 1.0])\n" + source.replace(old, new), names)

    def port(*weights):
        names["SHARED"][0].clear()
        names["SHARED"][1].clear()
        names["SHARED"][2][:] = 1.0, 1.0
        return names["Conformant"](*weights)

    report = check(port, SHORT)
    assert not report.passed
    assert not report.broke
    assert report.diagnosis.ids == ((name,) if name else ()), report
    assert (name or "No known deviation reproduces this") in str(report)


# The known deviations


@pytest.mark.parametrize("deviation", KNOWN, ids=lambda deviation: deviation.id)
def test_known_deviations_fail_and_are_named(deviation):
    """At its first strength, and at one that is not listed where it can be fitted, or the next."""
    first = deviation.strengths[0]
    tried = [first, *deviation.strengths[1:2]]
    if deviation.fitted:
        tried[1] = {**first, deviation.fitted: 0.77 * first[deviation.fitted]}
    for settings in tried:
        report = check(functools.partial(Deviant, **settings), SHORT)
        assert not report.passed, settings
        assert report.first.stage in STAGES
        found = {
            cause.id: cause.settings
            for explanation in report.diagnosis.explanations
            for cause in explanation
            if len(explanation) == 1
        }
        assert deviation.id in found, (settings, report)


PAIRS = (
    ({"epsilon": 1e-7}, {"loss_factor": 1.0, "mean_over": "all"}),
    ({"loss_factor": 1.0}, {"learning_rate": 0.01}),
    ({"bias": ("shared", "Y1", "Y2")}, {"epsilon": 1e-7}),
    ({"shared": "slots"}, {"reported": "after"}),
    ({"task_activation": "linear"}, {"epsilon_place": "outside"}),
    ({"joint_factors": (0.5, 0.5)}, {"beta2": 0.99}),
    ({"swapped": "labels"}, {"weight_decay": 0.01}),
    ({"learning_rate": 0.0007}, {"epsilon": 3e-6}),
    ({"shared": "slots"}, {"beta1": 0.85}),
)


@pytest.mark.parametrize("one, other", PAIRS, ids=str)
def test_pairs_are_named(one, other):
    report = check(functools.partial(Deviant, **one, **other), SHORT)
    found = [
        [cause.settings for cause in explanation] for explanation in report.diagnosis.explanations
    ]
    assert any([one, other] in ([a, b], [b, a]) for a, b in (pair for pair in found)), report


def test_what_no_case_tells_apart_is_said():
    """Adam does not see a factor on the gradient but through epsilon."""
    report = check(functools.partial(Deviant, epsilon=1e-7), SHORT)
    assert report.diagnosis.ids == ("adam-epsilon-1e-7",)
    assert [
        [cause.id for cause in explanation] for explanation in report.diagnosis.explanations
    ] == [
        ["adam-epsilon-1e-7"],
        ["gradient-scaled"],
    ]
    assert "No case tells it apart from gradient-scaled" in str(report)


def test_the_article_alone_does_not_see_everything():
    """Why the other cases exist: gradients of 1e4 hide these."""
    for rules in ({"epsilon": 1e-7}, {"epsilon_place": "outside"}, {"task_activation": "linear"}):
        port = functools.partial(Deviant, **rules)
        assert check(port, ("alternate", "joint")).passed, rules
        assert not check(port, SHORT).passed, rules


class Drifts(Reference):
    """Weights decay by 5e-8 a step, within the rounding of one."""

    def adam(self, optimizer, variable, g, alpha):
        step = super().adam(optimizer, variable, g, alpha)
        return step + self.variables[variable] * self.number(5e-8)


def test_a_drift_too_small_for_one_step_shows_in_the_long_run():
    report = check(Drifts, ("joint-1000",))
    assert report.first.stage == "long run", report
    assert report.first.step > 100
    assert "all updates so far" in str(report)
    assert report.diagnosis.ids == ("drift",)
    assert "diagnosis: drift: every step by itself is within its tolerance" in str(report)


# What a report says


def test_report_of_a_deviation():
    report = check(functools.partial(Deviant, epsilon=1e-7), SHORT)
    first = report.first
    assert (first.case, first.step, first.stage) == ("small-gradients", 0, "optimizer")
    assert "every gradient's sign" in " ".join(first.agrees)
    assert first.distance > 1000 * first.tolerance
    assert first.ulps == ulps_between(first.obtained, first.expected) > 1000
    assert abs(first.expected - first.recorded) <= first.tolerance
    lines = str(report).splitlines()
    assert lines[0] == "deviates in 5 of 9 cases. First divergence:"
    assert lines[1].startswith("golden 'small-gradients', step 0 (joint), share_")
    assert "should be" in lines[1]
    assert f"{first.ulps} ulp" in lines[1]
    assert lines[2].startswith("  TensorFlow 1.15.5 recorded ")
    assert lines[3].startswith("  stage: optimizer; ")
    assert lines[4].startswith("  still right: the loss of this step")
    assert lines[5].startswith("  tolerance: float32 rounding of the gradients")
    assert lines[6].startswith("diagnosis: This is what the reference does with adam-epsilon-1e-7")
    assert "  alternate                conforms, 10 steps" in lines


def test_report_as_json():
    report = json.loads(check(functools.partial(Deviant, epsilon=1e-7), SHORT).to_json())
    assert report["passed"] is False
    assert report["broke"] is False
    assert [case["case"] for case in report["cases"]] == list(SHORT)
    assert report["first"]["stage"] == "optimizer"
    assert report["diagnosis"]["explanations"][0][0]["id"] == "adam-epsilon-1e-7"
    passed = json.loads(check(Reference, ("joint",)).to_json())
    assert passed["passed"] is True
    assert passed["diagnosis"] is None


def test_stages():
    def stage(**rules):
        return check(functools.partial(Deviant, **rules), SHORT).first.stage

    assert stage(returned_as="float64") == "dtype and shape"
    assert stage(loss_factor=1.0) == "forward and loss"
    assert stage(gradient_factor=-1.0) == "gradients"
    assert stage(frozen=("share_W",)) == "gradients"
    assert stage(learning_rate=0.01) == "optimizer"
    assert stage(beta1=0.8) == "optimizer"


def test_ulps():
    assert ulps_between(1.0, float(np.nextafter(np.float32(1), np.float32(2)))) == 1
    # Across zero, between the smallest normal floats: some libraries flush smaller ones to zero.
    assert ulps_between(-np.finfo(np.float32).tiny, np.finfo(np.float32).tiny) == 2 * 2**23
    assert ulps_between(1.0, np.nan) is None


# Ports that break, or return something else


class Raises(NumPyPort):
    def step(self, task, X, Y1, Y2):
        if task == "Y2":
            raise RuntimeError("no second task here")
        return super().step(task, X, Y1, Y2)


class ReturnsNaN(NumPyPort):
    def step(self, *given):
        super().step(*given)
        return float("nan")


class Random(NumPyPort):
    rng = np.random.RandomState(0)

    def update(self, m, v, powers, gradients):
        noisy = {name: g * (1 + self.rng.rand(*g.shape)) for name, g in gradients.items()}
        super().update(m, v, powers, noisy)


KEPT = {task: ({}, {}, [1.0, 1.0]) for task in ("Y1", "Y2", "joint")}


class Leaks(NumPyPort):
    """Slots that survive from one model to the next."""

    def __init__(self, *weights):
        super().__init__(*weights)
        self.adam = KEPT


def _returning(**methods):
    return type("Returning", (NumPyPort,), methods)


def test_a_port_that_raises_is_told_with_its_traceback():
    report = check(Raises, ("one-task-then-the-other", "joint"))
    assert report.broke
    assert not report.passed
    text = str(report)
    assert "first in golden 'one-task-then-the-other', step 5 (Y2)" in text
    assert "RuntimeError: no second task here" in text
    assert "in step" in text
    assert "play.py" not in text
    assert "joint                    conforms, 10 steps" in text


def test_a_port_that_cannot_be_built():
    report = check(lambda share_W: None, ("joint",))
    assert report.broke
    assert "before step 0" in str(report)
    assert "TypeError" in str(report)


WRONG_RETURNS = {
    "loss nan": (ReturnsNaN, "loss: nan, should be", "forward and loss"),
    "no loss": (
        _returning(step=lambda self, *given: None),
        "step(): NoneType",
        "dtype and shape",
    ),
    "loss [1]": (
        _returning(step=lambda self, *given: np.zeros(1)),
        "shape of step(): [1], should be [], one number",
        "dtype and shape",
    ),
    "list": (_returning(weights=lambda self: []), "weights(): list, should be a dict of", None),
    "keys": (
        _returning(weights=lambda self: {"W": self.w["share_W"]}),
        "weights(): a dict of W, should be of share_W, share_Y1, share_Y2",
        None,
    ),
    "shape": (
        _returning(weights=lambda self: {k: w.ravel() for k, w in self.w.items()}),
        "shape of weights()['share_W']: [200], should be [10, 20]",
        None,
    ),
    "dtype": (
        _returning(weights=lambda self: {k: w.astype(int) for k, w in self.w.items()}),
        "dtype of weights()['share_W']: int64, should be float32",
        None,
    ),
    "text": (
        _returning(weights=lambda self: dict.fromkeys(self.w, "w")),
        "weights()['share_W']: str",
        None,
    ),
    "weights nan": (
        _returning(weights=lambda self: {k: w * np.float32(np.nan) for k, w in self.w.items()}),
        "share_W[0, 0]: nan, should be",
        None,
    ),
}


@pytest.mark.parametrize("port, text, stage", WRONG_RETURNS.values(), ids=WRONG_RETURNS.keys())
def test_wrong_returns_are_named_before_values(port, text, stage):
    report = check(port, ("joint",))
    assert not report.passed
    assert not report.broke
    assert text in str(report)
    assert report.first.stage == (stage or "dtype and shape")
    json.loads(report.to_json())


@pytest.mark.parametrize("port", [Random, Leaks])
def test_a_port_that_does_something_else_each_time(port):
    report = check(port, ("joint", "joint-1000"))
    assert report.diagnosis == Diagnosis((), repeatable=False)
    assert report.diagnosis.ids == ("not-repeatable",)
    assert "not-repeatable: the same case gave other values the second time" in str(report)


# The command, pytest parametrisation, and what is imported


def _command(capsys, *arguments):
    status = main(["check", *arguments])
    return (status, *capsys.readouterr())


def test_command_on_a_port_that_conforms(capsys, tmp_path):
    file = tmp_path / "my_port.py"
    file.write_text("from ports.numpy_port import Conformant\nprint('noise')\nPort = Conformant\n")
    status, out, err = _command(capsys, f"{file}:Port")
    assert status == 0
    assert out.startswith("conformant: 10 cases, 1086 steps, all within float32 rounding\n")
    assert "noise" not in out
    assert "noise" in err


def test_command_on_a_port_that_deviates(capsys):
    status, out, _ = _command(capsys, "tests.ports.numpy_port:Default", "--json")
    assert status == 1
    assert json.loads(out)["diagnosis"]["explanations"][0][0]["id"] == "weights-float64"


def test_command_on_a_port_that_breaks(capsys, tmp_path):
    file = tmp_path / "broken_port.py"
    file.write_text("def Port(*weights):\n    raise SystemExit('no')\n")
    status, out, _ = _command(capsys, f"{file}:Port")
    assert status == 2
    assert "broke in 10 of 10 cases, first in golden 'alternate', before step 0" in out
    assert "SystemExit: no" in out
    file.write_text("1 / 0\n")
    status, out, err = _command(capsys, f"{file}:Port")
    assert status == 2
    assert not out
    assert "ZeroDivisionError" in err


@pytest.mark.parametrize(
    "argument, text",
    [
        ("port", "MODULE:PORT is 'port', should be"),
        ("no_such_module:Port", "no_such_module: no such module"),
        ("no/such.py:Port", "no/such.py: no such file"),
        ("tests.ports.numpy_port:Prt", "should be one of Conformant, Default"),
    ],
)
def test_command_with_a_wrong_argument(capsys, argument, text):
    status, out, err = _command(capsys, argument)
    assert status == 2
    assert not out
    assert err.startswith("tf1-mtl: ")
    assert text in err
    assert "Traceback" not in err


@pytest.mark.parametrize("case", golden_names())
def test_check_case(case):
    result = check_case(Reference, case)
    assert result.passed, result
    assert f"golden '{case}': conforms" in str(result)


def test_check_case_tells_what_is_wrong():
    result = check_case(functools.partial(Deviant, learning_rate=0.01), "joint")
    assert not result.passed
    assert str(result).startswith("golden 'joint', step 0 (joint), share_")


def test_the_baseline_needs_numpy_alone():
    program = """
        import sys

        class NumPyAlone:
            def find_spec(self, name, path=None, target=None):
                top = name.partition(".")[0]
                if top in ("tensorflow", "keras", "torch", "jax", "scipy", "matplotlib"):
                    raise ImportError("forbidden: " + name)

        sys.meta_path.insert(0, NumPyAlone())
        import tf1_mtl.baseline as baseline
        for name in baseline.__all__:
            if name != "recording":  # that watches a TensorFlow process
                getattr(baseline, name)
        report = baseline.check(baseline.Reference, ("joint",))
        assert report.passed
        assert not [name for name in sys.modules if name.startswith("tensorflow")]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)
