"""Recordings of any TensorFlow 1 script: the graph reproduces them, and ports are judged by it."""

import functools
import os
import subprocess
import sys

import numpy as np
import pytest
from command import assert_holds, done
from sampling import one_in, slow
from script_ports import SCRIPT_PORTS
from wrong_ports import named_rightly, names

from tf1_mtl.baseline import cases_of, check, check_case, recording
from tf1_mtl.baseline.goldens import golden_names
from tf1_mtl.baseline.verification import verify
from tf1_mtl.errors import InputError

HERE = os.path.dirname(os.path.abspath(__file__))
#: Recorded on a real TensorFlow 1.15.5.
SCRIPTS = os.path.join(HERE, "truth", "scripts-1.15.5")
OLD = [os.path.join(HERE, "truth", f"recording-{v}.npz") for v in ("0.12.1", "1.0.1", "1.10.0")]
#: The search for their mistakes is long.
LONG_SEARCHES = (
    "clipping_and_decay-TwoMistakes",
    "clipping_and_decay-BiasesDecayToo",
    "clipping_and_decay-ClippedOneByOne",
    "clipping_and_decay-SmoothDecay",
    "clipping_and_decay-ReportsEntropy",
)
NAMES = sorted(name[:-4] for name in os.listdir(SCRIPTS))


def path_of(script):
    return os.path.join(SCRIPTS, script + ".npz")


LONGEST = "joint-1000"
SHORTER = [name for name in (*golden_names(), *OLD, *map(path_of, NAMES)) if name != LONGEST]


every_recording = pytest.mark.parametrize("golden", [slow(LONGEST), *one_in(3, SHORTER)])


@every_recording
def test_the_graph_reproduces_every_training_run(golden):
    for case in cases_of(golden):
        found = verify(case)
        assert found.passed, found
        assert found.reproduced == len(case.steps) > 0


def test_a_value_outside_its_bound_is_found():
    (case,) = cases_of(path_of("three_tasks"))
    wrong = {name: value * 1.001 for name, value in case.steps[3].fetched.items()}
    steps = [step._replace(fetched=wrong) if i == 3 else step for i, step in enumerate(case.steps)]
    found = verify(case._replace(steps=tuple(steps)))
    assert not found.passed
    assert found.reproduced == len(case.steps) - 1
    assert "step 3" in found.differences[0]


def replayed(case):
    """Returns a port that gives what TensorFlow recorded."""

    class Port:
        def __init__(self, *weights):
            self.made, self.shown = 0, case.initial

        def step(self, task, *fed):
            recorded = case.steps[self.made]
            self.made, self.shown = self.made + 1, recorded.variables
            return recorded.loss

        def weights(self):
            return {name: self.shown[variable] for name, variable in case.weights.items()}

    return Port


@every_recording
def test_no_recorded_runtime_raises_a_false_alarm(golden):
    for case in cases_of(golden):
        if all(step.loss is not None and step.variables is not None for step in case.steps):
            result = check_case(replayed(case), case)
            assert result.passed, result


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "entry",
    [slow(port) if port.id in LONG_SEARCHES else port for port in SCRIPT_PORTS],
    ids=[port.id for port in SCRIPT_PORTS],
)
def test_ports_of_scripts_are_judged_and_named(entry):
    if entry.framework == "torch":
        pytest.importorskip("torch", reason="pip install 'tf1-mtl[ports]'")
    report = check(entry.load(), goldens=[path_of(entry.script)])
    assert not report.broke, report
    assert report.passed == entry.conforms, report
    if not entry.conforms:
        assert named_rightly(entry, names(report)), report


def recorded(script, folder):
    """Runs a script. Returns the path of its recording."""
    path, golden = folder / "script.py", str(folder / "script.npz")
    path.write_text(script)
    command = [sys.executable, "-m", "tf1_mtl", "run", "--record", golden, str(path)]
    subprocess.run(command, check=True)
    return golden


EMBEDDING = """
import numpy as np
import tensorflow as tf
rng = np.random.RandomState(0)
words = tf.placeholder(tf.int32, [None], name="words")
Y = tf.placeholder(tf.float32, [None, 2], name="Y")
W = tf.Variable(rng.rand(5, 2).astype("float32"), name="W")
loss = tf.reduce_mean(tf.square(tf.nn.embedding_lookup(W, words) - Y), name="loss")
train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="train")
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(6):
        session.run([train, loss], {words: rng.randint(0, 5, 4), Y: rng.rand(4, 2)})
"""


class EmbeddingWithMomentum:
    def __init__(self, weights):
        self.W, self.momentum = weights["W"], 0

    def step(self, task, feeds):
        error = self.W[feeds["words"]] - feeds["Y"]
        gradient = np.zeros_like(self.W)
        np.add.at(gradient, feeds["words"], 2 * error / error.size)
        self.momentum = np.float32(0.9) * self.momentum + gradient
        self.W = self.W - np.float32(0.1) * self.momentum
        return np.mean(error**2)

    def weights(self):
        return {"W": self.W}


@pytest.mark.slow
def test_an_embedding_that_gradient_descent_trains(tmp_path):
    """TensorFlow subtracts from some rows, by an operation that is not a rule of an optimizer."""
    report = check(EmbeddingWithMomentum, goldens=[recorded(EMBEDDING, tmp_path)])
    (edit,) = report.diagnosis.edits
    assert (edit.kind, edit.value) == ("other optimizer", "momentum"), report


CLASSIFIER = """
import numpy as np
import tensorflow as tf
rng = np.random.RandomState(3)
x = tf.placeholder(tf.float32, [None, 6], name="x")
labels = tf.placeholder(tf.int32, [None], name="labels")
w1 = tf.Variable(rng.randn(6, 8).astype("float32"), name="w1")
w2 = tf.Variable(rng.randn(8, 3).astype("float32"), name="w2")
logits = tf.matmul(tf.nn.relu(tf.matmul(x, w1)), w2)
costs = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
loss = tf.reduce_mean(costs, name="loss")
train = tf.train.MomentumOptimizer(0.05, 0.9).minimize(loss, name="train")
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(12):
        session.run([train, loss], {x: rng.randn(16, 6), labels: rng.randint(3, size=16)})
"""


class Classifier:
    momentum, returned, below, slope_below = 0.9, 1, 0.0, 0.0

    def __init__(self, weights):
        self.w = dict(weights)
        self.sums = {name: np.zeros_like(w) for name, w in weights.items()}

    def step(self, task, feeds):
        x, rows = feeds["x"], np.arange(16)
        z = x @ self.w["w1"]
        h = np.where(z > 0, z, np.float32(self.below) * z)
        e = np.exp(h @ self.w["w2"])
        chances = e / e.sum(1, keepdims=True)
        loss = -np.log(chances[rows, feeds["labels"]]).mean()
        chances[rows, feeds["labels"]] -= 1
        d = chances / np.float32(16)
        dz = d @ self.w["w2"].T * np.where(z > 0, 1, np.float32(self.slope_below))
        for name, gradient in (("w1", x.T @ dz), ("w2", h.T @ d)):
            self.sums[name] = np.float32(self.momentum) * self.sums[name] + gradient
            self.w[name] = self.w[name] - np.float32(0.05) * self.sums[name]
        return loss * np.float32(self.returned)

    def weights(self):
        return self.w


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    return recorded(CLASSIFIER, tmp_path_factory.mktemp("classifier"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "mistakes, found",
    [
        ({}, []),
        ({"returned": 16}, [("reported loss scaled", 16)]),
        # Trained on, the factor would need another rate to take it back.
        (
            {"returned": 16, "momentum": 0.8},
            [("reported loss scaled", 16), ("other optimizer", "momentum 0.8")],
        ),
        (
            {"returned": 16, "slope_below": 1.0},
            [("reported loss scaled", 16), ("slope ignored", None)],
        ),
        ({"below": 0.01, "slope_below": 0.01}, [("other activation", "leaky relu, slope 0.01")]),
        # Nothing is said of a slope at zero, which no number meets.
        (
            {"below": 0.01},
            [("gradient of relu", None), ("other activation", "leaky relu, slope 0.01")],
        ),
    ],
)
def test_the_fewest_true_mistakes_are_named(classifier, mistakes, found):
    report = check(type("Port", (Classifier,), mistakes), goldens=[classifier])
    assert report.passed == (not mistakes)
    edits = report.diagnosis.edits if mistakes else ()
    assert sorted((edit.kind, edit.value) for edit in edits) == sorted(found, key=str), report


CENTERS = """
import numpy as np
import tensorflow as tf
rng = np.random.RandomState(5)
x = tf.placeholder(tf.float32, [None, 4], name="x")
counts = tf.placeholder(tf.float32, [None, 1], name="counts")
labels = tf.placeholder(tf.int32, [None], name="labels")
W = tf.Variable(rng.randn(4, 2).astype("float32"), name="W")
centers = tf.Variable(rng.randn(3, 2).astype("float32"), trainable=False, name="centers")
total = tf.Variable(tf.zeros([4, 2]), trainable=False, name="total")
features, own = tf.matmul(x, W), tf.gather(centers, labels)
halves = [
    tf.losses.mean_squared_error(tf.split(own, 2)[i], tf.split(features, 2)[i],
                                 tf.split(counts, 2)[i])
    for i in range(2)
]
loss = tf.add_n(halves, name="loss")
tf.summary.scalar("loss", loss)
summary = tf.summary.merge_all()
optimizer = tf.train.GradientDescentOptimizer(0.1)
parts = [optimizer.compute_gradients(half, [W])[0][0] for half in halves]
summed = tf.assign_add(total, tf.add_n(parts))
with tf.control_dependencies([loss]):
    moved = tf.scatter_sub(centers, labels, 0.5 * (own - features))
collect = tf.group(summed, moved, name="collect")
apply = optimizer.apply_gradients([(total / 2.0, W)], name="apply")
zero = total.assign(np.zeros([4, 2]))
rows = [[2], [1], [0], [1]]
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(4):
        session.run(zero)
        for batch in range(2):
            feeds = {x: rng.rand(4, 4), labels: rng.permutation(4) % 3, counts: rows}
            session.run([collect, loss, summary], feeds)
        session.run(apply)
"""


class WithCenters:
    moves_centers = True

    def __init__(self, weights):
        self.W, self.centers = weights["W"], weights["centers"]
        self.total = np.zeros((4, 2), np.float32)

    def step(self, task, feeds):
        if task == "apply":
            self.W = self.W - np.float32(0.05) * self.total
            self.total = np.zeros((4, 2), np.float32)
            return None
        loss = 0
        places = feeds["labels"]
        features = feeds["x"] @ self.W
        error = features - self.centers[places]
        for half in (slice(0, 2), slice(2, 4)):
            counts = feeds["counts"][half]
            terms = np.float32(2 * np.count_nonzero(counts))
            loss += (counts * error[half] ** 2).sum() / terms
            self.total = self.total + 2 * feeds["x"][half].T @ (counts * error[half]) / terms
        if self.moves_centers:
            self.centers = self.centers.copy()
            np.subtract.at(self.centers, places, np.float32(-0.5) * error)
        return loss

    def weights(self):
        return {"W": self.W, "centers": self.centers}


class KeepsCenters(WithCenters):
    moves_centers = False


class DoesNotShowCenters(WithCenters):
    def weights(self):
        return {"W": self.W}


@pytest.fixture(scope="module")
def centers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("centers")
    script, golden = folder / "script.py", str(folder / "centers.npz")
    script.write_text(CENTERS)
    subprocess.run(
        [sys.executable, "-m", "tf1_mtl", "run", "--record", golden, str(script)], check=True
    )
    return golden


@pytest.mark.slow
def test_what_runs_between_training_runs_change_is_taken_over(centers):
    (case,) = cases_of(centers)
    assert verify(case).reproduced == len(case.steps) == 12, verify(case)
    assert [list(step.changed_before) for step in case.steps[:4]] == [[], [], [], ["total"]]


@pytest.mark.slow
def test_a_port_is_given_what_a_loss_reads_and_nothing_trains(centers):
    (case,) = cases_of(centers)
    assert list(case.weights) == ["W", "centers"]
    assert case.untrained == ("centers",)
    # Of the losses of two parts, the fetched sum counts. A task need not have a loss.
    assert [task.loss for task in case.tasks.values()] == ["loss", ""]
    for port in (WithCenters, DoesNotShowCenters):
        report = check(port, goldens=[centers])
        assert report.passed, report


@pytest.mark.slow
def test_a_weight_that_no_gradient_trains_is_judged(centers):
    report = check(KeepsCenters, goldens=[centers])
    verdicts = report.cases[0].judgement.verdicts
    assert {pair for pair, step in verdicts.items() if step is not None} == {("collect", "centers")}
    assert report.ids == ("variable-frozen",), report


@pytest.mark.parametrize("nothing", [{"goldens": []}, {"goldens": {}}, {"cases": ()}])
def test_goldens_must_be_named(nothing):
    with pytest.raises(InputError, match="goldens: empty"):
        check(functools.partial, **nothing)


def test_command_without_a_port(capsys):
    out = done(capsys, "check", "--golden", path_of("clipping_and_decay"))
    assert_holds(out, "reproduces 20 of 20 training runs", "task train: 20 runs, loss")
    out = done(capsys, "check", "--json", "--golden", path_of("ftrl"))
    assert '"reproduced": 20' in out


def test_shapes_of_batches_that_differ(capsys, path):
    tf = pytest.importorskip("tensorflow.compat.v1")
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        w = tf.Variable(1.0, name="w")
        loss = tf.reduce_mean(tf.square(x * w))
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="train")
        session.run(tf.global_variables_initializer())
        for size in (4, 3, 5):
            session.run([train, loss], {x: np.ones((size, 2))})
    assert "feeds: x [3 to 5, 2]\n" in done(capsys, "check", "--golden", path)
    assert "x: float32 [3 to 5, 2]\n" in done(capsys, "check", "--golden", path, "--skeleton")


def test_command_prints_a_port_to_fill_in(capsys, tmp_path):
    golden, file = path_of("clipping_and_decay"), tmp_path / "unfinished_port.py"
    file.write_text(done(capsys, "check", "--golden", golden, "--skeleton"))
    out = done(capsys, "check", f"{file}:Port", "--golden", golden, status=2)
    assert "NotImplementedError" in out
