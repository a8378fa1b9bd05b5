"""Checks of ports of the article: correct ones pass, wrong ones fail, broken ones are reported."""

import functools
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from command import assert_holds, done, refused, result, run
from ports.numpy_port import Conformant as NumPyPort
from sampling import one_in, slow
from wrong_ports.base import LINEAR, RELU, changed_port

from tf1_mtl import cli
from tf1_mtl.baseline import (
    Recording,
    Reference,
    Report,
    Run,
    cases_of,
    check,
    check_case,
    golden_names,
    goldens,
    load_golden,
    save_recording,
)
from tf1_mtl.baseline.judge import judge, ulps_between
from tf1_mtl.baseline.port_run import run_port

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
    """Changes what it is fed."""

    def step(self, task, X, Y1, Y2):
        loss = super().step(task, X, Y1, Y2)
        X[...] = Y1[...] = Y2[...] = np.nan
        return np.array(loss)


class HyperParametersInDouble(Reference):
    """As Keras: 1 - beta in double, then rounded. The powers come from float32 betas."""

    def adam(self, optimizer, variable, g, alpha):
        m, v = (self.slots[optimizer, variable, slot] for slot in "mv")
        m = m + (g - m) * np.float32(1 - 0.9)
        v = v + (g * g - v) * np.float32(1 - 0.999)
        self.slots[optimizer, variable, "m"] = m
        self.slots[optimizer, variable, "v"] = v
        return m * alpha / self.denominator(optimizer, v)


CORRECT = {
    "float32": Reference,
    "float64": functools.partial(Reference, dtype=np.float64),
    "NumPy": NumPyPort,
    "float64 kept": InDouble,
}


@pytest.mark.slow
@pytest.mark.parametrize("port", CORRECT)
def test_correct_ports_conform(port):
    report = check(CORRECT[port])
    assert report.passed, report
    assert report.diagnosis is None
    assert not report.notes
    assert [result.case for result in report.cases] == list(golden_names())
    assert all(result.steps for result in report.cases)


@pytest.mark.parametrize("seed", one_in(4, range(8)))
def test_any_order_of_summation_conforms(seed):
    report = check(type("Seeded", (Shuffled,), {"seed": seed}), SHORT)
    assert report.passed, report


@pytest.mark.slow
def test_hyper_parameters_in_double_conform_with_a_note():
    report = check(HyperParametersInDouble, ("joint-1000",))
    assert report.passed, report
    (note,) = report.notes
    assert_holds(note, "Hyper-parameters held in double", "5.4e-06 of their length shorter")


class InItsOwnArrays(NumPyPort):
    """Trains in the arrays it was built from."""

    def update(self, m, v, powers, gradients):
        given = dict(self.w)
        super().update(m, v, powers, gradients)
        for name, array in given.items():
            array[...] = self.w[name]
        self.w = given


@pytest.mark.parametrize("port", [InPlace, InItsOwnArrays])
def test_a_port_may_change_what_it_is_given(port):
    report = check(port, SHORT)
    assert report.passed, report
    assert report.notes == (
        "the port writes into the arrays that it is given; here they were copies.",
    )


class Loads(NumPyPort):
    """Its updates go the wrong way, but it takes the right weights before each step."""

    def update(self, m, v, powers, gradients):
        super().update(m, v, powers, {name: -g for name, g in gradients.items()})

    def load(self, weights):
        self.w = weights


def test_a_port_that_loads_weights_is_judged_from_those_of_tensorflow():
    (case,) = cases_of("alternate")
    run = run_port(Loads, case)
    for before, step in zip(run.before[1:], case.steps):
        for name, variable in case.weights.items():
            assert np.array_equal(before[name], step.variables[variable])
    verdicts = judge(run).verdicts
    assert verdicts["Y2", "share_W"] == 0
    assert verdicts["Y2", "loss"] is None


class Drifts(Reference):
    """Weights decay by 5e-8 a step, within the rounding of one."""

    def adam(self, optimizer, variable, g, alpha):
        step = super().adam(optimizer, variable, g, alpha)
        return step + self.variables[variable] * self.number(5e-8)


@pytest.mark.slow
def test_a_drift_too_small_for_one_step_shows_in_the_long_run():
    report = check(Drifts, ("joint-1000",))
    assert report.first.stage == "long run", report
    assert report.first.step > 100
    assert report.diagnosis.ids == ("drift",)
    found = "diagnosis: drift: every step by itself is within its tolerance"
    assert_holds(str(report), "summed squares of all tolerances so far", found)


# What a report says


@pytest.fixture(scope="module")
def other_epsilon():
    """The report of a port with the epsilon of Keras."""
    return check(functools.partial(Reference, epsilon=1e-7), SHORT)


def test_report_of_a_deviation(other_epsilon):
    report, first = other_epsilon, other_epsilon.first
    assert (first.case, first.step, first.stage) == ("small-gradients", 0, "optimizer")
    assert "the sign of every gradient" in " ".join(first.agrees)
    assert first.distance > 1000 * first.tolerance
    assert first.ulps == ulps_between(first.obtained, first.expected) > 1000
    assert abs(first.expected - first.recorded) <= first.tolerance
    lines = str(report).splitlines()
    assert lines[0] == "deviates in 5 of 9 cases"
    assert lines[2].split() == ["task", "loss", "share_W", "share_Y1", "share_Y2"]
    assert lines[3].split() == ["Y1", "right", "wrong", "wrong", "-"]
    assert lines[4].split() == ["Y2", "right", "wrong", "-", "wrong"]
    assert lines[5].split() == ["joint", "right", "wrong", "wrong", "wrong"]
    begins = (
        "first divergence: golden 'small-gradients', step 0 (joint), share_",
        "  TensorFlow 1.15.5 recorded ",
        "  stage: optimizer; ",
        "  still right: the loss of this step",
        "  tolerance: float32 rounding of the gradients",
    )
    for line, start in zip(lines[7:], begins):
        assert line.startswith(start)
    assert_holds(lines[7], "should be", f"{first.ulps} ulp")
    assert lines[12] == "diagnosis: the recorded graph does the same with"
    assert lines[13] == "  epsilon: epsilon of Optimiser, Y1_op and Y2_op is 1e-07"
    assert "  alternate                conforms, 10 steps" in lines


class MovesTheOtherHead(NumPyPort):
    """Y2_op must leave share_Y1 alone."""

    def step(self, task, *given):
        loss = super().step(task, *given)
        if task == "Y2":
            self.w["share_Y1"] = self.w["share_Y1"] * np.float32(1.0001)
        return loss


def test_a_step_must_leave_the_other_head_alone():
    result = check_case(MovesTheOtherHead, "alternate")
    assert result.divergence.step == 0
    assert "share_Y1" in result.divergence.where
    assert "a step of Y2 must leave share_Y1 alone" in str(result)
    verdicts = json.loads(Report((result,), True, ()).to_json())["verdicts"]
    right = dict.fromkeys(("loss", "share_W", "share_Y2"), "right")
    assert verdicts["Y2"] == {**right, "share_Y1": "wrong"}
    assert verdicts["Y1"]["share_Y1"] == "right"


def test_report_as_json(other_epsilon):
    report = json.loads(other_epsilon.to_json())
    assert report["passed"] is False
    assert report["broke"] is False
    assert [case["case"] for case in report["cases"]] == list(SHORT)
    assert report["first"]["stage"] == "optimizer"
    (edit,) = report["diagnosis"]["edits"]
    assert (edit["kind"], edit["value"]) == ("epsilon", 1e-7)
    assert edit["places"] == ["Optimiser", "Y1_op", "Y2_op"]
    passed = json.loads(check(Reference, ("joint",)).to_json())
    assert passed["passed"] is True
    assert passed["diagnosis"] is None


ONE_FOR_ALL = dict.fromkeys(("Y1_op", "Y2_op"), "Optimiser")
AT_ZERO = {"Relu": (RELU[0], lambda z: (z >= 0).astype(z.dtype))}
IGNORED = dict.fromkeys(("Relu_1", "Relu_2"), (RELU[0], LINEAR[1]))
STAGES = [
    ({"loss_weight": 2.0}, "forward and loss"),
    ({"gradient_factor": -1.0}, "gradients"),
    ({"frozen": ("share_W",)}, "gradients"),
    ({"frozen": ("share_Y1",)}, "gradients"),
    ({"activations": AT_ZERO}, "gradients"),
    ({"activations": IGNORED}, "gradients"),
    ({"rate": 0.01}, "optimizer"),
    ({"rate": 1e-6}, "optimizer"),
    ({"beta1": 0.8}, "optimizer"),
    ({"epsilon": 1e-3}, "optimizer"),
    ({"powers_of": ONE_FOR_ALL}, "optimizer"),
    # Moves weights whose gradient is zero, which rest in TensorFlow.
    ({"decay": 0.01}, "optimizer"),
    ({"decay": 0.3}, "optimizer"),
    # Momentum of another task moves share_W too, and no step at all shows no gradient.
    ({"slots_of": ONE_FOR_ALL}, "gradients or optimizer"),
    ({"rate": 0.0}, "gradients or optimizer"),
]


@pytest.mark.parametrize(
    "changes, stage", one_in(3, STAGES), ids=lambda x: x if isinstance(x, str) else "-".join(x)
)
def test_stages(changes, stage):
    results = tuple(check_case(changed_port(**changes), case) for case in SHORT)
    assert Report(results, True, ()).first.stage == stage


def test_ulps():
    assert ulps_between(1.0, float(np.nextafter(np.float32(1), np.float32(2)))) == 1
    # Across zero, between the smallest normal floats: some libraries flush smaller ones to zero.
    assert ulps_between(-np.finfo(np.float32).tiny, np.finfo(np.float32).tiny) == 2 * 2**23
    assert ulps_between(1.0, np.nan) is None


# Ports that raise an error, or return another value


class Raises(NumPyPort):
    def step(self, task, X, Y1, Y2):
        if task == "Y2":
            raise RuntimeError("no second task here")
        return super().step(task, X, Y1, Y2)


class ReturnsNaN(NumPyPort):
    def step(self, *given):
        super().step(*given)
        return float("nan")


class TrainsToInfinity(NumPyPort):
    def update(self, m, v, powers, gradients):
        self.w = {name: w * np.float32(np.inf) for name, w in self.w.items()}


class Random(NumPyPort):
    rng = np.random.RandomState(0)
    noise = 1.0

    def update(self, m, v, powers, gradients):
        noisy = {k: g * (1 + self.noise * self.rng.rand(*g.shape)) for k, g in gradients.items()}
        super().update(m, v, powers, noisy)


class FaintlyRandom(Random):
    """By less than the difference that an epsilon of 1.1e-8 makes."""

    noise = 1e-3


class RandomWeights(NumPyPort):
    """Within a relative 1e-6."""

    rng = np.random.RandomState(0)

    def step(self, *given):
        loss = super().step(*given)
        self.w = {
            k: (w * (1 + 1e-6 * self.rng.randn(*w.shape))).astype(np.float32)
            for k, w in self.w.items()
        }
        return loss


class RandomStart(NumPyPort):
    rng = np.random.RandomState(0)

    def __init__(self, *weights):
        super().__init__(*(self.rng.rand(*w.shape).astype(np.float32) for w in weights))


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
    assert report.broke and not report.passed
    assert_holds(
        str(report),
        "first in golden 'one-task-then-the-other', step 5 (Y2)",
        "RuntimeError: no second task here",
        "in step",
        "joint                    conforms, 10 steps",
        without=["port_run.py"],
    )


class NoStep:
    def __init__(self, *weights):
        self.weights = NumPyPort(*weights).weights


class NoWeights:
    def __init__(self, *weights):
        self.step = NumPyPort(*weights).step


STEP_TAKES_X = _returning(step=lambda self, X: None)
NO_PORTS = {
    "takes one array": (lambda share_W: None, "before step 0", "TypeError"),
    "takes keywords": (lambda *, share_W: None, "before step 0", "TypeError"),
    "gives None": (lambda *weights: None, "before step 0", "'NoneType' object has no attribute"),
    "no step": (NoStep, "step 0 (joint)", "'NoStep' object has no attribute 'step'"),
    "no weights": (NoWeights, "before step 0", "'NoWeights' object has no attribute 'weights'"),
    "step takes X": (STEP_TAKES_X, "step 0 (joint)", "TypeError"),
}


@pytest.mark.parametrize("port, where, error", NO_PORTS.values(), ids=NO_PORTS.keys())
def test_what_is_no_port_is_told_what_a_port_needs(port, where, error):
    report = check(port, ("joint",))
    assert report.broke
    assert_holds(
        str(report),
        f"broke in 1 of 1 case, first in golden 'joint', {where}",
        error,
        "A port is called with share_W, share_Y1, share_Y2 and returns an object with",
        without=["Traceback", "port_run.py"],
    )


def test_an_error_in_a_constructor_has_its_traceback():
    class Raises(NumPyPort):
        def __init__(self, *weights):
            raise TypeError("not today")

    text = str(check(Raises, ("joint",)))
    no_advice = ["A port is called with", "port_run.py"]
    assert_holds(text, "TypeError: not today", "in __init__", without=no_advice)


#: What a port may return, by the message about it.
WRONG_LOSSES = {
    "step(): None, should be one number, the loss before this update": None,
    "shape of step(): [1], should be [], one number": np.zeros(1),
}
WRONG_WEIGHTS = {
    "weights(): list, should be a dict of": lambda port: [],
    "weights(): a dict of W, should be of share_W, share_Y1, share_Y2": lambda port: {
        "W": port.w["share_W"]
    },
    "shape of weights()['share_W']: [200], should be [10, 20]": lambda port: {
        name: w.ravel() for name, w in port.w.items()
    },
    "weights()['share_W']: str": lambda port: dict.fromkeys(port.w, "w"),
    "share_W[0, 0]: nan, should be": lambda port: {
        name: w * np.float32(np.nan) for name, w in port.w.items()
    },
}
WRONG_RETURNS = {
    "loss: nan, should be": ReturnsNaN,
    **{
        text: _returning(step=lambda self, *given, loss=loss: loss)
        for text, loss in WRONG_LOSSES.items()
    },
    **{text: _returning(weights=weights) for text, weights in WRONG_WEIGHTS.items()},
}


@pytest.mark.parametrize("dtype", ["float64", slow("float16")])
def test_another_dtype_is_reported_and_the_rest_is_judged(dtype):
    port = _returning(weights=lambda self: {k: w.astype(dtype) for k, w in self.w.items()})
    report = check(port, ("joint",))
    assert not report.passed and not report.broke
    assert report.ids[0] == f"weights-{dtype}"
    assert report.is_repeatable
    (line,) = (line for line in str(report).splitlines() if line.startswith("dtype: "))
    names = "weights()['share_W'], weights()['share_Y1'], weights()['share_Y2']"
    assert line == f"dtype: {names} are {dtype}, should be float32 (cast, and the rest judged)"
    if dtype == "float64":  # holds what float32 holds
        assert report.first is None and report.diagnosis is None
        assert "joint  deviates (dtype), 10 steps" in str(report)
        assert json.loads(report.to_json())["dtypes"][0]["obtained"] == "float64"


@pytest.mark.parametrize("port", [ReturnsNaN, TrainsToInfinity])
def test_numbers_that_are_not_finite(port):
    with np.errstate(all="ignore"):
        text = str(check(port, ("joint",)))
    assert_holds(text, "(not finite; tolerance", "diagnosis: no known mistake explains this.")


class Float64AfterTheFirstStep(NumPyPort):
    stepped = False

    def step(self, *given):
        self.stepped = True
        return super().step(*given)

    def weights(self):
        dtype = np.float64 if self.stepped else np.float32
        return {name: w.astype(dtype) for name, w in super().weights().items()}


def test_another_dtype_after_the_first_step_is_reported():
    report = check(Float64AfterTheFirstStep, ("joint",))
    assert not report.passed and report.ids == ("weights-float64",)


@pytest.mark.parametrize("text", WRONG_RETURNS)
def test_wrong_returns_are_named_before_values(text):
    report = check(WRONG_RETURNS[text], ("joint",))
    assert not report.passed and not report.broke
    assert text in str(report)
    assert report.first.stage == ("forward and loss" if "loss: nan" in text else "dtype and shape")
    json.loads(report.to_json())


@pytest.mark.parametrize("port", [Random, FaintlyRandom, RandomWeights, RandomStart, slow(Leaks)])
def test_a_port_that_does_something_else_each_time(port):
    # Leaks is right as long as it is new.
    report = check(port, ("joint", "joint-1000" if port is Leaks else "small-gradients"))
    assert report.diagnosis is None
    assert report.ids == ("not-repeatable",)
    assert "not-repeatable: the same case gave other values the second time" in str(report)


@pytest.mark.parametrize("epsilon", [1e-7, slow(1.1e-8)])
def test_another_order_of_summation_each_time_hides_no_cause(epsilon):
    rng = np.random.RandomState(0)

    class Port(Reference):
        def matmul(self, a, b):
            return np.asarray(_Shuffled.of(a, rng) @ b)

    assert check(functools.partial(Port, epsilon=epsilon), SHORT).diagnosis.ids == ("epsilon",)


# The command, pytest parametrisation, and what is imported


#: Checks against one recording alone.
GOLDEN = os.path.join(os.path.dirname(goldens.__file__), "joint.npz")
OF_JOINT = ("--golden", GOLDEN)
CONFORMANT, DEFAULT = (f"tests.ports.numpy_port:{name}" for name in ("Conformant", "Default"))


@pytest.fixture
def file(tmp_path):
    return tmp_path / "port.py"


@pytest.mark.parametrize(
    "of_golden, checked", [(OF_JOINT, "1 case, "), slow((), "10 cases, 1086 steps, ")]
)
def test_command_on_a_port_that_conforms(capsys, file, of_golden, checked):
    file.write_text("from ports.numpy_port import Conformant\nprint('noise')\nPort = Conformant\n")
    # "Port" is the default name.
    for port in (file, f"{file}:Port"):
        status, out, err = run(capsys, "check", port, *of_golden)
        assert status == 0
        assert out.startswith(f"conformant: {checked}")
        assert "all within float32 rounding\n" in out
        assert "noise" not in out
    assert "noise" in err


def test_command_on_a_port_that_deviates(capsys):
    out = done(capsys, "check", DEFAULT, "--json", *OF_JOINT, status=1)
    assert json.loads(out)["ids"] == ["weights-float64"]


def test_command_on_a_port_that_breaks(capsys, file):
    file.write_text("def Port(*weights):\n    raise SystemExit('no')\n")
    out = done(capsys, "check", f"{file}:Port", status=2)
    broke = "broke in 10 of 10 cases, first in golden 'alternate', before step 0"
    assert_holds(out, broke, "SystemExit: no")


def test_command_on_a_file_that_cannot_be_imported(capsys, file):
    file.write_text("1 / 0\n")
    assert cli.main(["check", f"{file}:Port"]) == 2
    out, err = capsys.readouterr()
    assert not out and "ZeroDivisionError" in err


@pytest.mark.parametrize("last", ["", "1 / 0\n"])
def test_a_script_in_place_of_a_port_is_told(last, capsys, file):
    file.write_text(f"# import tensorflow as tf; tf.Session()\n{last}")
    assert cli.main(["check", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    advice = "It looks like a TensorFlow 1 script. Record it first with"
    assert_holds(err, advice, f"tf1-mtl run --record F.npz {file}`")


def test_ports_are_listed_first_and_one_that_does_not_fit_is_told(capsys, file):
    file.write_text("class Layer: pass\nclass Net:\n    step = weights = None\n")
    assert "should be one of Net, Layer. Check the name." in refused(capsys, "check", file)
    status, _, err = run(capsys, "check", f"{file}:Net", *OF_JOINT)
    assert status == 2
    assert f"see what `tf1-mtl check --golden {GOLDEN} --skeleton` prints" in err


def test_a_check_that_takes_long_shows_its_progress_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr("tf1_mtl.commands.check.QUIET_SECONDS", -1)
    assert "steps" not in run(capsys, "check", CONFORMANT, *OF_JOINT)[2]
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = run(capsys, "check", CONFORMANT, *OF_JOINT)[2]
    assert progress.endswith("\r10/10 steps (100 %)\n")


@pytest.mark.parametrize(
    "argument, text",
    [
        ("port:", "MODULE:PORT is 'port:', should be"),
        ("no_such_module", "no_such_module: no such module"),
        ("no_such_module:Port", "no_such_module: no such module"),
        ("no/such.py:Port", "no/such.py: no such file"),
        ("tests.ports.numpy_port:Prt", "should be one of Conformant, Default"),
    ],
)
def test_command_with_a_wrong_argument(capsys, argument, text):
    err = refused(capsys, "check", argument)
    assert err.startswith("tf1-mtl: ") and text in err


@pytest.mark.parametrize(
    "body, status, told",
    [
        ("raise NotImplementedError", 2, "step raises NotImplementedError ({}:13)"),
        ("raise NotImplementedError('joint')", 2, "step raises NotImplementedError: joint ({}:13)"),
        ("pass", 2, "step(): None, should be one number, the loss before this update ({}:11)"),
    ],
)
def test_a_skeleton_that_is_not_filled_in_is_one_line(capsys, tmp_path, body, status, told):
    file = tmp_path / "skeleton_port.py"
    skeleton = done(capsys, "check", "--skeleton")
    file.write_text(skeleton.replace("raise NotImplementedError", body))
    told = told.format(file)
    assert run(capsys, "check", file) == (status, f"not written yet: {told}\n", "")
    assert result(capsys, "check", file, status=status)["unwritten"] == [told]


class OneTask(NumPyPort):
    """Other tasks are not written yet."""

    def step(self, task, *given):
        return super().step(task, *given) if task == "Y1" else self.other()

    def other(self):
        raise NotImplementedError


def test_a_port_that_is_written_in_part_is_judged_in_part():
    report = check(OneTask, ("one-task-then-the-other", "joint"))
    text = str(report)
    assert text.startswith("not written yet: other raises NotImplementedError (")
    assert "Traceback" not in text and text.count("NotImplementedError") == 1
    assert "one-task-then-the-other  broke after 5 steps" in text
    assert str(report.cases[1]).startswith("golden 'joint': not written yet: other raises")


def _recorded(path, session, runs, article=True, **replaced):
    """Writes a recording of two sessions, as the recorder does. One of them trains."""
    golden = load_golden("alternate")
    runs = tuple(run._replace(session=session, **replaced) for run in runs)
    evaluation = Run("", {}, session=1 - session)
    trained = golden.sessions[0]
    if not article:
        trained = trained._replace(article={})
    manifest = {"recorded_by": {"tensorflow": "2.99"}}
    save_recording(path, Recording(manifest, (evaluation, *runs), {session: trained}))


def test_command_with_a_golden_of_one_s_own(capsys, tmp_path):
    path = str(tmp_path / "mine.npz")
    _recorded(path, 1, load_golden("alternate").runs)
    assert done(capsys, "check", CONFORMANT, "--golden", path) == (
        "conformant: 1 case, 10 steps, all within float32 rounding\n"
        "  mine.npz  conforms, 10 steps\n"
    )
    _recorded(path, 0, load_golden("alternate").runs, fetched={})
    out = done(capsys, "check", DEFAULT, "--golden", path, status=1)
    assert "dtype: weights()['share_W'], weights()['share_Y1'], weights()['share_Y2'] are" in out
    port = functools.partial(Reference, learning_rate=0.01)
    (result,) = check(port, goldens=[path]).cases
    assert "TensorFlow 2.99 recorded " in str(result)


def test_command_with_several_goldens(capsys, tmp_path):
    paths = [str(tmp_path / name) for name in ("one.npz", "other.npz")]
    for path in paths:
        _recorded(path, 0, load_golden("alternate").runs)
    arguments = [text for path in paths for text in ("--golden", path)]
    out = done(capsys, "check", CONFORMANT, *arguments)
    assert out.startswith("conformant: 2 cases, 20 steps")
    assert done(capsys, "check", *arguments).count("reproduces 10 of 10 training runs") == 2


def test_a_golden_of_one_s_own_must_hold_what_a_port_is_given(capsys, tmp_path):
    path, runs = str(tmp_path / "mine.npz"), load_golden("alternate").runs
    no_label = {"feeds": {"X": runs[0].feeds["X"]}}
    for told, arguments in (
        ("no session in it trains", {"runs": ()}),
        ("Y2 is missing", dict(no_label, runs=runs)),
        ("share_W is missing", {"runs": runs, "variables": {}}),
    ):
        _recorded(path, 1, **arguments)
        err = refused(capsys, "check", DEFAULT, "--golden", path)
        assert err.startswith(f"tf1-mtl: {path}") and told in err
    assert "no such file" in refused(capsys, "check", DEFAULT, "--golden", path + "no")
    # Steps that an earlier one, which was not recorded, has given momentum.
    _recorded(path, 1, runs[1:])
    out = done(capsys, "check", "--golden", path, status=1)
    assert "golden 'mine.npz', step 0 (Y2): " in out


@pytest.mark.parametrize("case", SHORT)
def test_check_case(case):
    result = check_case(Reference, case)
    assert result.passed, result
    assert f"golden '{case}': conforms" in str(result)


def test_check_case_tells_what_is_wrong():
    result = check_case(functools.partial(Reference, learning_rate=0.01), "joint")
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


def test_a_recording_in_place_of_a_port(capsys, tmp_path, monkeypatch):
    """A module of the same name beside it is not imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.py").write_text("raise SystemExit(3)")
    assert "Did you mean --golden run.npz?" in refused(capsys, "check", "run.npz")
