"""Mistakes in the updates of a table, of which each step reads some rows, are named."""

from typing import Any, ClassVar, Dict

import numpy as np
import pytest

from tf1_mtl.baseline import check, recording

tf = pytest.importorskip("tensorflow.compat.v1")
ROWS, STEPS = 7, 12


def built(weights, optimizer, is_dense=False, counted=0):
    """Returns the feeds, the variables and what a step fetches, in the graph that is current."""
    ids = tf.placeholder(tf.int32, [4], name="ids")
    y = tf.placeholder(tf.float32, [4, 2], name="y")
    table, W = (tf.Variable(weights[n], name=n, use_resource=False) for n in ("table", "W"))
    if is_dense:
        rows = tf.matmul(tf.one_hot(ids, ROWS), table)
    else:
        rows = tf.nn.embedding_lookup(table, ids)
    loss = tf.reduce_mean(tf.square(tf.matmul(rows, W) - y), name="loss")
    counter = tf.Variable(counted, trainable=False, name="counter", use_resource=False)
    train = optimizer(counter).minimize(loss, counter, name="train")
    return {"ids": ids, "y": y}, {"table": table, "W": W}, [loss, train]


def recorded(path, optimizer):
    """Record a script and return the path."""
    rng = np.random.RandomState(0)
    weights = {"table": rng.randn(ROWS, 3).astype("f"), "W": rng.randn(3, 2).astype("f")}
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        feeds, _, fetches = built(weights, optimizer)
        session.run(tf.global_variables_initializer())
        for _ in range(STEPS):
            # Some rows are read twice, and some not at all.
            given = {"ids": rng.randint(1, ROWS, 4), "y": rng.randn(4, 2)}
            session.run(fetches, {feeds[name]: x for name, x in given.items()})
    return path


class Tensorflow:
    """A port that TensorFlow runs, built with other arguments."""

    arguments: ClassVar[Dict[str, Any]] = {}

    def __init__(self, weights):
        with tf.Graph().as_default() as graph:
            self.feeds, self.variables, self.fetches = built(weights, **self.arguments)
            self.session = tf.Session(graph=graph)
            self.session.run(tf.global_variables_initializer())

    def step(self, task, feeds):
        return self.session.run(self.fetches, {self.feeds[n]: x for n, x in feeds.items()})[0]

    def weights(self):
        return self.session.run(self.variables)


def slow(*values):
    """Returns the parameters of a slow test."""
    return pytest.param(*values, marks=pytest.mark.slow)


def adam(**options):
    return lambda counter: tf.train.AdamOptimizer(0.05, **options)


def adagrad(start):
    return lambda counter: tf.train.AdagradOptimizer(0.2, start)


def ftrl(start=0.1, l1=0.01, l2=0.02, rate=0.2):
    return lambda counter: tf.train.FtrlOptimizer(
        rate,
        initial_accumulator_value=start,
        l1_regularization_strength=l1,
        l2_regularization_strength=l2,
    )


def momentum(staircase=True, warm=1.0):
    def optimizer(counter):
        rate = tf.train.exponential_decay(0.05, counter, 4, 0.5, staircase, name="rate")
        part = tf.minimum(1.0, (tf.cast(counter, tf.float32) + 1) / warm)
        return tf.train.MomentumOptimizer(rate * part, 0.9)

    return optimizer


def rms_prop(**options):
    return lambda counter: tf.train.RMSPropOptimizer(0.02, 0.9, 0.5, **options)


BOTH = {"train"}
WARM = "that of the graph after a warm-up"


@pytest.mark.parametrize(
    "optimizer, wrong, named",
    [
        (adam(), {"optimizer": adam(epsilon=1e-3)}, ("epsilon", BOTH, 1e-3)),
        slow(adam(), {"optimizer": adam(beta2=0.99)}, ("beta2", BOTH, 0.99)),
        slow(adagrad(0.1), {"optimizer": adagrad(0.5)}, ("first slot", BOTH, 0.5)),
        slow(ftrl(), {"optimizer": ftrl(start=0.3)}, ("first slot", BOTH, 0.3)),
        slow(ftrl(), {"optimizer": ftrl(l1=0.03)}, ("l1 of ftrl", BOTH, 0.03)),
        slow(ftrl(), {"optimizer": ftrl(rate=0.05)}, ("learning rate", BOTH, 0.05)),
        slow(momentum(), {"optimizer": momentum(warm=4.0)}, ("schedule", BOTH, WARM)),
        slow(ftrl(), {"optimizer": ftrl(l2=0.01)}, ("l2 of ftrl", BOTH, 0.01)),
        slow(
            momentum(), {"optimizer": momentum(), "is_dense": True}, ("all rows", {"table"}, None)
        ),
        slow(
            momentum(),
            {"optimizer": momentum(staircase=False)},
            ("operation missing", {"rate/Floor"}, None),
        ),
        slow(
            momentum(),
            {"optimizer": momentum(), "counted": 1},
            ("schedule", BOTH, "that of the graph, one step early"),
        ),
    ],
    ids=lambda x: x[0] if isinstance(x, tuple) else "",
)
def test_another_optimizer_is_named(tmp_path, optimizer, wrong, named):
    golden = recorded(str(tmp_path / "script.npz"), optimizer)
    right = type("Port", (Tensorflow,), {"arguments": {"optimizer": optimizer}})
    assert check(right, goldens=[golden]).passed
    report = check(type("Port", (Tensorflow,), {"arguments": wrong}), goldens=[golden])
    (edit,) = report.diagnosis.edits
    kind, places, value = named
    assert (edit.kind, edit.value) == (kind, value), report
    assert set(edit.places) == places


class Numpy:
    """A port in NumPy. The gradients of the rows are summed, or the last of them counts."""

    adds = True

    def __init__(self, weights):
        self.w = dict(weights)
        self.slots = {name: [np.zeros_like(x), np.zeros_like(x)] for name, x in weights.items()}
        self.steps = 0

    def step(self, task, feeds):
        rows, y = self.w["table"][feeds["ids"]], feeds["y"]
        error = rows @ self.w["W"] - y
        into = 2 * error / error.size
        table = np.zeros_like(self.w["table"])
        if self.adds:
            np.add.at(table, feeds["ids"], into @ self.w["W"].T)
        else:
            table[feeds["ids"]] = into @ self.w["W"].T
        self.steps += 1
        for name, g in (("table", table), ("W", rows.T @ into)):
            self.w[name] = np.float32(self.w[name] - self.moved(name, g))
        return np.mean(error**2)

    def weights(self):
        return self.w

    def moved(self, name, g):
        """Returns the step of Adam."""
        m, v = self.slots[name]
        m[:], v[:] = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        rate = 0.05 * np.sqrt(1 - 0.999**self.steps) / (1 - 0.9**self.steps)
        return rate * m / (np.sqrt(v) + 1e-8)


class LazyAdam(Numpy):
    def moved(self, name, g):
        before = [slot.copy() for slot in self.slots[name]]
        step = super().moved(name, g)
        for slot, was in zip(self.slots[name], before):
            slot[g == 0] = was[g == 0]
        return np.where(g == 0, 0, step)


class LastRowCounts(Numpy):
    adds = False


class OuterEpsilon(Numpy):
    def __init__(self, weights):
        super().__init__(weights)
        self.slots["table"][0] += 1
        self.slots["W"][0] += 1

    def moved(self, name, g):
        square, moment = self.slots[name]
        square[:] = 0.9 * square + 0.1 * g * g
        moment[:] = 0.5 * moment + 0.02 * g / (np.sqrt(square) + np.float32(0.1))
        return moment


@pytest.mark.parametrize(
    "port, optimizer, kind, places, value",
    [
        slow(Numpy, adam(), None, (), None),
        slow(LazyAdam, adam(), "lazy adam", (), None),
        slow(LastRowCounts, adam(), "rows set", ("table",), None),
        slow(OuterEpsilon, rms_prop(epsilon=0.1), "epsilon place", (), "outside the root"),
    ],
)
def test_updates_in_numpy_are_named(tmp_path, port, optimizer, kind, places, value):
    report = check(port, goldens=[recorded(str(tmp_path / "script.npz"), optimizer)])
    assert report.passed == (kind is None), report
    if kind:
        (edit,) = report.diagnosis.edits
        assert (edit.kind, edit.value) == (kind, value), report
        assert not places or edit.places == places


class Line:
    """A port of `recorded_line`, whose rate is twice as high."""

    rate = np.float32(0.2)

    def __init__(self, weights):
        self.given = weights

    def step(self, task, feeds):
        error = self.given["a"] * feeds["x"] + self.given["b"] - feeds["y"]
        into = 2 * error / np.float32(error.size)
        steps = {"a": np.sum(into * feeds["x"]), "b": np.sum(into)}
        loss = np.mean(error * error)
        self.given = {n: np.float32(w - self.rate * steps[n]) for n, w in self.given.items()}
        return loss

    def weights(self):
        return self.given


def recorded_line(path):
    """Records a script whose weights are two numbers, and returns the path."""
    rng = np.random.RandomState(0)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x, y = (tf.placeholder(tf.float32, [8], name=name) for name in "xy")
        a, b = (tf.Variable(start, name=name) for name, start in (("a", 0.5), ("b", -0.5)))
        loss = tf.reduce_mean(tf.square(a * x + b - y), name="loss")
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="train")
        session.run(tf.global_variables_initializer())
        for _ in range(6):
            session.run([loss, train], {x: rng.randn(8), y: rng.randn(8)})
    return path


def test_a_weight_may_be_one_number(path):
    golden = recorded_line(path)
    assert check(type("Port", (Line,), {"rate": np.float32(0.1)}), goldens=[golden]).passed
    (edit,) = check(Line, goldens=[golden]).diagnosis.edits
    assert (edit.kind, edit.value) == ("learning rate", 0.2)
