"""Mistakes at places that the article does not have: constants, branches, sums in sums, tasks that
copy variables, schedules."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from sampling import slow

from tf1_mtl.baseline import check, recording
from tf1_mtl.baseline.graph_def import recorded_graph
from tf1_mtl.baseline.recorded_tasks import loss_of
from tf1_mtl.baseline.unordered_reads import unordered_reads

SCRIPT = """
import numpy as np
import tensorflow as tf
rng = np.random.RandomState(6)
one = tf.placeholder(tf.float32, [None, 4], name="one")
other = tf.placeholder(tf.float32, [None, 4], name="other")
same = tf.placeholder(tf.float32, [None], name="same")
W = tf.Variable(rng.randn(4, 3).astype("float32"), name="W")
b = tf.Variable(rng.randn(3).astype("float32"), name="b")
old = tf.Variable(rng.randn(4, 3).astype("float32"), trainable=False, name="old")
first = tf.tanh(tf.matmul(one, W) + b, name="first")
second = tf.tanh(tf.matmul(other, W) + b, name="second")
squares = tf.reduce_sum(tf.square(first - second), 1)
distance = tf.sqrt(squares + 1e-6)
margin = tf.constant(2.0, name="margin")
pull = tf.multiply(same, squares, name="pull")
push = tf.multiply(1.0 - same, tf.square(tf.maximum(margin - distance, 0.0)), name="push")
drift = tf.nn.l2_loss(W - old, name="drift")
loss = tf.add(tf.reduce_mean(pull + push), 0.1 * drift, name="loss")
step = tf.Variable(0, trainable=False)
rate = tf.train.exponential_decay(0.02, step, 2, 0.8, staircase=True)
train = tf.train.RMSPropOptimizer(rate, 0.9, 0.5).minimize(loss, step, name="train")
copy = tf.group(tf.assign(old, W), name="copy")
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for i in range(12):
        if i % 3 == 2:
            session.run(copy)
        feeds = {one: rng.randn(8, 4), other: rng.randn(8, 4), same: rng.randint(0, 2, 8)}
        session.run([train, loss], feeds)
"""


class Twins:
    margin, rho, decay, of_drift, of_push = 2.0, 0.9, 0.8, 0.1, 1.0
    stops_second, copied, returned = False, 1.0, "loss"
    start, outer_rate = 1.0, False

    def __init__(self, weights):
        self.w = dict(weights)
        self.squares = {name: np.full_like(weights[name], self.start) for name in ("W", "b")}
        self.moves = {name: np.zeros_like(weights[name]) for name in ("W", "b")}
        self.steps = 0

    def step(self, task, feeds):
        w = self.w
        if task == "copy":
            w["old"] = w["old"] + np.float32(self.copied) * (w["W"] - w["old"])
            return None
        x, same = [feeds["one"], feeds["other"]], feeds["same"]
        h = [np.tanh(each @ w["W"] + w["b"]) for each in x]
        error, drift = h[0] - h[1], w["W"] - w["old"]
        squares = (error**2).sum(1)
        distance = np.sqrt(squares + np.float32(1e-6))
        room = np.maximum(np.float32(self.margin) - distance, 0)
        push = np.float32(self.of_push) * (1 - same)
        loss = (same * squares + push * room**2).mean()
        loss += np.float32(self.of_drift) * (drift**2).sum() / 2
        into = (2 * same - 2 * push * room / distance)[:, None] * error / len(same)
        into = [into * (1 - h[0] ** 2), -into * (1 - h[1] ** 2) * (not self.stops_second)]
        gradients = {
            "W": x[0].T @ into[0] + x[1].T @ into[1] + np.float32(self.of_drift) * drift,
            "b": into[0].sum(0) + into[1].sum(0),
        }
        rate = np.float32(0.02 * self.decay ** (self.steps // 2))
        for name, g in gradients.items():
            self.squares[name] += np.float32(1 - self.rho) * (g * g - self.squares[name])
            move = g / np.sqrt(self.squares[name] + np.float32(1e-10))
            move = move if self.outer_rate else rate * move
            self.moves[name] = np.float32(0.5) * self.moves[name] + move
            w[name] = w[name] - self.moves[name] * (rate if self.outer_rate else 1)
        self.steps += 1
        return loss if self.returned == "loss" else (drift**2).sum() / 2

    def weights(self):
        return {name: np.float32(value) for name, value in self.w.items()}


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    folder = tmp_path_factory.mktemp("twins")
    script, golden = folder / "script.py", str(folder / "twins.npz")
    script.write_text(SCRIPT)
    subprocess.run(
        [sys.executable, "-m", "tf1_mtl", "run", "--record", golden, str(script)], check=True
    )
    return golden


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize(
    "mistakes, found",
    [
        ({}, []),
        ({"margin": 1.0}, [("constant", ("margin",), 1.0)]),
        ({"margin": 1.7}, [("constant", ("margin",), 1.7)]),
        ({"of_drift": 0.0}, [("loss weight in the sum", ("mul",), 0.0)]),
        # The sum of pull and push is inside of a mean, which is inside of the loss.
        ({"of_push": 0.5}, [("loss weight in the sum", ("push",), 0.5)]),
        ({"of_push": 1 / 3}, [("loss weight in the sum", ("push",), pytest.approx(1 / 3))]),
        ({"of_push": 1 / 7}, [("loss weight in the sum", ("push",), pytest.approx(1 / 7))]),
        ({"stops_second": True}, [("gradient stopped", ("second",), None)]),
        ({"copied": 0.0}, [("variable frozen", ("old",), None)]),
        ({"copied": 0.25}, [("copied in part", ("copy",), 0.25)]),
        ({"rho": 0.99}, [("rho", ("train",), 0.99)]),
        ({"decay": 1.0}, [("schedule", ("train",), "constant")]),
        ({"start": 0.0}, [("other optimizer", ("train",), "rmsprop from zero")]),
        (
            {"outer_rate": True},
            [("other optimizer", ("train",), "rmsprop with momentum before the rate")],
        ),
        ({"returned": "drift"}, [("other value returned", ("train",), "drift")]),
        ({"margin": 1.0, "rho": 0.99}, [("constant", ("margin",), 1.0), ("rho", ("train",), 0.99)]),
    ],
    ids=str,
)
def test_a_mistake_is_named_at_its_place(golden, mistakes, found):
    report = check(type("Port", (Twins,), mistakes), goldens=[golden])
    assert report.passed == (not mistakes), report
    edits = report.diagnosis.edits if mistakes else ()
    named = [(e.kind, tuple(place.split("/")[-1] for place in e.places), e.value) for e in edits]
    assert sorted(named) == sorted(found), report


@pytest.mark.parametrize("minimizes", [True, False])
def test_reads_that_no_edge_orders_with_an_update_are_found(minimizes):
    """`minimize` waits for all gradients; `tf.gradients` does not."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        first = tf.Variable(np.ones((2, 2), np.float32), name="first", use_resource=False)
        second = tf.Variable(np.ones((2, 1), np.float32), name="second", use_resource=False)
        loss = tf.reduce_sum(tf.matmul(tf.tanh(tf.matmul(x, first)), second))
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        if minimizes:
            optimizer.minimize(loss, name="train")
        else:
            gradients = tf.gradients(loss, [first, second])
            optimizer.apply_gradients(zip(gradients, [first, second]), name="train")
        found = unordered_reads(recorded_graph(graph, tf), ["train"], ["x"])
    assert [read.variable for read in found] == ([] if minimizes else ["second"])


@pytest.mark.parametrize("is_gated", [True, False])
def test_the_sum_that_is_differentiated_is_the_loss(is_gated):
    """`tf.gradients` makes no operation for the gradient of a sum of two numbers."""
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 2], name="x")
        weight = tf.Variable(np.ones((2, 2), np.float32), name="weight", use_resource=False)
        error = tf.reduce_mean(tf.square(tf.matmul(x, weight)), name="error")
        part = tf.subtract(error, tf.nn.l2_loss(weight), name="part")
        total = tf.add(part, tf.reduce_sum(tf.matmul(x, weight)), name="total")
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        if is_gated:
            optimizer.minimize(total, name="train")
        else:
            optimizer.apply_gradients([(tf.gradients(total, weight)[0], weight)], name="train")
    nodes = recorded_graph(graph, tf)
    assert loss_of(nodes, ("train",), {}) == "total"
    assert loss_of(nodes, ("train",), {"part": np.float32(1), "total": np.float32(2)}) == "total"
    assert loss_of(nodes, ("train",), {"part": np.float32(1)}) == "total"


def test_wrong_updates_of_a_sparse_adam_are_reported(tmp_path):
    """What Adam assigns to an embedding is not its gradient, and has another shape."""
    path = str(tmp_path / "sparse.npz")
    rng = np.random.RandomState(0)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        ids = tf.placeholder(tf.int32, [None], name="ids")
        table = tf.Variable(rng.randn(5, 2).astype("f"), name="table", use_resource=False)
        loss = tf.reduce_mean(tf.square(tf.nn.embedding_lookup(table, ids)), name="loss")
        train = tf.train.AdamOptimizer(0.01).minimize(loss, name="train")
        session.run(tf.global_variables_initializer())
        for _ in range(6):
            session.run([loss, train], {ids: rng.randint(5, size=4)})

    class Rests:
        def __init__(self, weights):
            self.table = weights["table"]

        def step(self, task, feeds):
            return np.float32(np.mean(np.square(self.table[feeds["ids"]])))

        def weights(self):
            return {"table": self.table}

    report = check(Rests, goldens=[path])
    (edit,) = report.diagnosis.edits
    assert (edit.kind, edit.places) == ("variable frozen", ("train",))


@pytest.mark.parametrize("shift, name", [(1, "early"), (-1, "late")])
def test_a_schedule_that_is_one_step_off_is_named(tmp_path, shift, name):
    path = str(tmp_path / "schedule.npz")
    rng = np.random.RandomState(0)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        weight = tf.Variable(rng.randn(3).astype("f"), name="weight", use_resource=False)
        loss = tf.reduce_sum(tf.square(x * weight), name="loss")
        step = tf.Variable(0, trainable=False, name="step", use_resource=False)
        rate = tf.train.piecewise_constant(step, [3, 6], [0.03, 0.02, 0.01])
        train = tf.train.GradientDescentOptimizer(rate).minimize(loss, step, name="train")
        session.run(tf.global_variables_initializer())
        for _ in range(10):
            session.run([loss, train], {x: rng.randn(4, 3)})

    class Shifted:
        def __init__(self, weights):
            self.weight, self.steps = weights["weight"], 0

        def step(self, task, feeds):
            x, w = feeds["x"], self.weight
            rate = np.float32(
                np.select([self.steps + shift <= n for n in (3, 6)], (0.03, 0.02), 0.01)
            )
            self.weight = w - rate * (2 * x * x * w).sum(0)
            self.steps += 1
            return np.square(x * w).sum()

        def weights(self):
            return {"weight": self.weight}

    (edit,) = check(Shifted, goldens=[path]).diagnosis.edits
    assert (edit.kind, edit.value) == ("schedule", f"that of the graph, one step {name}")


class Settings:
    """A port whose dropout and normalization depend on settings that are fed."""

    def __init__(self, weights):
        self.W = weights["W"]

    def settings(self, keep, trains):
        return keep, trains

    def step(self, task, feeds):
        x = feeds["x"]
        keep, trains = self.settings(feeds["keep"], feeds["trains"])
        mask = np.floor(np.float32(keep) + DRAWN) / np.float32(keep)
        z = x @ self.W
        h = (z - z.mean(0) if trains else z - np.float32(0.5)) * mask
        gradient = h * mask
        gradient = gradient - gradient.mean(0) if trains else gradient
        self.W = self.W - np.float32(0.01) * (x.T @ gradient)
        return (h**2).sum() / 2

    def weights(self):
        return {"W": self.W}


DRAWN = np.float32(np.random.RandomState(3).rand(6, 3))


@pytest.fixture(scope="module")
def fed_settings(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("settings") / "settings.npz")
    rng = np.random.RandomState(5)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [6, 4], name="x")
        keep = tf.placeholder(tf.float32, [], name="keep")
        trains = tf.placeholder(tf.bool, [], name="trains")
        W = tf.Variable(rng.randn(4, 3).astype(np.float32), name="W")
        z = tf.matmul(x, W)
        centered = tf.cond(trains, lambda: z - tf.reduce_mean(z, 0), lambda: z - 0.5)
        loss = tf.nn.l2_loss(centered * tf.floor(keep + DRAWN) / keep)
        train = tf.train.GradientDescentOptimizer(0.01).minimize(loss, name="train")
        session.run(tf.global_variables_initializer())
        for step in range(8):
            feeds = {x: rng.randn(6, 4), keep: 0.7 if step % 2 else 0.9, trains: step % 3 > 0}
            session.run([train, loss], feeds)
    return path


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize(
    "settings, found",
    [
        (lambda self, keep, trains: (keep, trains), []),
        (lambda self, keep, trains: (1 - keep, trains), [("feed flipped", ("keep",), None)]),
        (lambda self, keep, trains: (1, trains), [("feed always", ("keep",), 1)]),
        (lambda self, keep, trains: (keep, True), [("feed always", ("trains",), True)]),
        (lambda self, keep, trains: (keep, not trains), [("feed negated", ("trains",), None)]),
    ],
    ids=["conforms", "keep and drop swapped", "no dropout", "always trains", "negated"],
)
def test_settings_that_are_fed_are_named(fed_settings, settings, found):
    report = check(type("Port", (Settings,), {"settings": settings}), goldens=[fed_settings])
    assert report.passed == (not found), report
    edits = report.diagnosis.edits if found else ()
    assert [edit[:3] for edit in edits] == found, report


class Averaged:
    """A port that returns the moving average of its weight too."""

    decay, rate = 0.9, 0.1

    def __init__(self, weights):
        assert list(weights) == ["W"]
        self.W = self.average = weights["W"]

    def step(self, task, feeds):
        error = feeds["x"] @ self.W
        self.W = self.W - np.float32(self.rate) * (2 * feeds["x"].T @ error / len(error))
        self.average = self.average - np.float32(1 - self.decay) * (self.average - self.W)
        return np.mean(error**2)

    def weights(self):
        return {"W": self.W, AVERAGE: self.average}


AVERAGE = "W/ExponentialMovingAverage"


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("averaged") / "averaged.npz")
    rng = np.random.RandomState(5)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        W = tf.Variable(rng.rand(3, 1).astype(np.float32), name="W")
        loss = tf.reduce_mean(tf.square(tf.matmul(x, W)))
        step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        average = tf.train.ExponentialMovingAverage(0.9)
        with tf.control_dependencies([step]):
            train = tf.group(average.apply([W]), name="train")
        session.run(tf.global_variables_initializer())
        for _ in range(8):
            session.run([train, loss], {x: rng.rand(4, 3)})
    return path


def test_a_moving_average_is_judged_where_a_port_returns_it(averaged):
    report = check(Averaged, goldens=[averaged])
    assert report.passed and not report.notes, report
    report = check(type("Port", (Averaged,), {"decay": 0.1}), goldens=[averaged])
    (edit,) = report.diagnosis.edits
    assert edit[:3] == ("moved by a factor", (AVERAGE,), pytest.approx(9)), report


def averages_first(self, task, feeds):
    """Moves the average before the weight."""
    before = self.average - np.float32(1 - self.decay) * (self.average - self.W)
    loss = Averaged.step(self, task, feeds)
    self.average = before
    return loss


@pytest.mark.parametrize(
    "mistakes, found",
    [
        slow({"rate": 0.01}, [("learning rate", ("train",), pytest.approx(0.01))]),
        (
            {"rate": 0.01, "decay": 0.1},
            [
                ("learning rate", ("train",), pytest.approx(0.01)),
                ("moved by a factor", (AVERAGE,), pytest.approx(9)),
            ],
        ),
        # With the same part in each run, this is the average of the run before.
        slow({"step": averages_first}, [("weights late", (AVERAGE,), None)]),
    ],
    ids=["weights", "both", "average before"],
)
def test_an_average_is_that_of_the_own_weights(averaged, mistakes, found):
    report = check(type("Port", (Averaged,), mistakes), goldens=[averaged])
    assert [edit[:3] for edit in report.diagnosis.edits] == found, report
    assert not report.diagnosis.note


@pytest.mark.slow
@pytest.mark.parametrize("graph_first", [False, True], ids=["graph after", "graph before"])
@pytest.mark.parametrize("port_first", [False, True], ids=["port after", "port before"])
@pytest.mark.parametrize("rate", [0.1, 0.01], ids=["right rate", "wrong rate"])
def test_an_average_before_or_after_the_run(path, rate, graph_first, port_first):
    def trained(rate, averages_first):
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        W = tf.Variable([0.1, 0.5, 0.9], name="W", use_resource=True)
        loss = tf.reduce_mean(tf.square(tf.reduce_sum(x * W, 1)))
        count = tf.Variable(0, trainable=False, name="count")
        updates = count + 1 if averages_first else count
        averages = tf.train.ExponentialMovingAverage(0.99, num_updates=updates)
        optimizer = tf.train.GradientDescentOptimizer(rate)
        with tf.control_dependencies([averages.apply([W])] if averages_first else []):
            train = optimizer.minimize(loss, count, name="train")
        if not averages_first:
            with tf.control_dependencies([train]):
                train = tf.group(averages.apply([W]), name="all")
        return x, [train, loss], {"W": W, AVERAGE: averages.average(W)}

    rng = np.random.RandomState(5)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x, fetches, _ = trained(0.1, graph_first)
        session.run(tf.global_variables_initializer())
        for _ in range(9):
            session.run(fetches, {x: rng.rand(4, 3)})

    class Port:
        def __init__(self, weights):
            with tf.Graph().as_default() as graph:
                self.x, self.fetches, self.variables = trained(rate, port_first)
                self.session = tf.Session(graph=graph)
                self.session.run(tf.global_variables_initializer())

        def step(self, task, feeds):
            return self.session.run(self.fetches, {self.x: feeds["x"]})[1]

        def weights(self):
            return self.session.run(self.variables)

    wrong = ["learning rate"] if rate != 0.1 else []
    if port_first != graph_first:
        wrong.append("averaged before" if port_first else "averaged after")
    report = check(Port, goldens=[path])
    assert report.passed == (not wrong)
    assert [edit.kind for edit in (report.diagnosis.edits if wrong else ())] == wrong, report
    assert not wrong or not report.diagnosis.note


@pytest.mark.slow
def test_an_average_that_two_tasks_move(path):
    rng = np.random.RandomState(5)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        W = tf.Variable([0.1, 0.5, 0.9], name="W")
        losses = [tf.reduce_mean(tf.square(tf.reduce_sum(x * W, 1) - i)) for i in range(2)]
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        averages = tf.train.ExponentialMovingAverage(0.9)
        moves = averages.apply([W])
        tasks = [tf.group(optimizer.minimize(loss), moves, name="all") for loss in losses]
        session.run(tf.global_variables_initializer())
        for i in range(8):
            session.run([tasks[i % 2], losses[i % 2]], {x: rng.rand(4, 3)})

    class Port:
        def __init__(self, weights):
            self.W = self.average = weights["W"]

        def step(self, task, feeds):
            error = feeds["x"] @ self.W - np.float32(task == "all_1")
            self.average = self.average - np.float32(0.1) * (self.average - self.W)
            self.W = self.W - np.float32(0.01) * (2 * error @ feeds["x"] / len(error))
            return np.mean(error**2)

        def weights(self):
            return {"W": self.W, AVERAGE: self.average}

    report = check(Port, goldens=[path])
    (edit,) = report.diagnosis.edits
    assert edit[:3] == ("learning rate", ("all", "all_1"), pytest.approx(0.01)), report


@pytest.mark.slow
def test_an_average_that_is_not_explained_is_noted(averaged):
    def step(self, task, feeds):
        loss = Averaged.step(self, task, feeds)
        self.average = self.average + np.sin(99 * self.average)
        return loss

    report = check(type("Port", (Averaged,), {"rate": 0.01, "step": step}), goldens=[averaged])
    assert [edit.kind for edit in report.diagnosis.edits] == ["learning rate"]
    assert "The moving averages of the weights are not explained." in str(report)


def test_a_moving_average_that_is_not_judged_is_named(averaged):
    alone = {"weights": lambda self: {"W": self.W}, "decay": 0.1}
    report = check(type("Port", (Averaged,), alone), goldens=[averaged])
    assert report.passed
    assert report.notes == (
        "these moving averages were not checked, because weights() does not return them: "
        f"{AVERAGE}.",
    )


class Lookup:
    """A port of a lookup that plain gradient descent trains, with clipped gradients."""

    overwrites, decay, clips = False, 0.5, "rows"

    def __init__(self, weights):
        self.w, self.steps = dict(weights), 0

    def step(self, task, feeds):
        table, ids, w = self.w["table"], feeds["ids"], self.w["w"]
        x = table[ids]
        error = x @ w
        of_rows = error[:, None] * w / len(ids)
        gradients = {"table": np.zeros_like(table), "w": x.T @ error / len(ids)}
        if self.overwrites:
            gradients["table"][ids] = of_rows
        else:
            np.add.at(gradients["table"], ids, of_rows)
        measured = of_rows if self.clips == "rows" else gradients["table"]
        norms = {"table": (measured**2).sum(), "w": (gradients["w"] ** 2).sum()}
        rate = np.float32(0.1 * self.decay ** (self.steps // 3))
        for name, g in gradients.items():
            square = norms[name] if self.clips == "each" else sum(norms.values())
            clipped = g * np.float32(0.2) / np.maximum(np.sqrt(square), np.float32(0.2))
            self.w[name] = self.w[name] - rate * clipped
        self.steps += 1
        return (error**2).mean() / 2

    def weights(self):
        return self.w


@pytest.fixture(scope="module")
def lookup(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("lookup") / "lookup.npz")
    rng = np.random.RandomState(2)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        ids = tf.placeholder(tf.int32, [None], name="ids")
        table = tf.Variable(rng.randn(6, 3).astype("f"), name="table")
        w = tf.Variable(rng.randn(3).astype("f"), name="w")
        error = tf.reduce_sum(tf.nn.embedding_lookup(table, ids) * w, 1)
        loss = tf.reduce_mean(tf.square(error)) / 2
        step = tf.train.get_or_create_global_step()
        rate = tf.train.exponential_decay(0.1, step, 3, 0.5, staircase=True)
        gradients, _ = tf.clip_by_global_norm(tf.gradients(loss, [table, w]), 0.2)
        optimizer = tf.train.GradientDescentOptimizer(rate)
        train = optimizer.apply_gradients(zip(gradients, [table, w]), step, name="train")
        session.run(tf.global_variables_initializer())
        for _ in range(9):
            session.run([train, loss], {ids: rng.randint(6, size=8)})
    return path


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize(
    "mistakes, found",
    [
        ({}, []),
        ({"overwrites": True}, [("rows set", ("table",), None)]),
        ({"decay": 1.0}, [("schedule", ("train",), "constant")]),
        (
            {"overwrites": True, "decay": 1.0},
            [("rows set", ("table",), None), ("schedule", ("train",), "constant")],
        ),
        ({"clips": "each"}, [("clipped by norm", ("train",), pytest.approx(0.2))]),
        ({"clips": "sums"}, [("clipped by norm of sums", ("train",), pytest.approx(0.2))]),
    ],
    ids=str,
)
def test_a_lookup_that_plain_descent_trains(lookup, mistakes, found):
    report = check(type("Port", (Lookup,), mistakes), goldens=[lookup])
    assert report.passed == (not mistakes), report
    edits = report.diagnosis.edits if mistakes else ()
    assert sorted((edit[:3] for edit in edits), key=str) == found, report


class Dropped:
    """A port with a dropout behind each of two layers; the draws are fed."""

    left_out, not_scaled = (), ()

    def __init__(self, weights):
        self.w = dict(weights)

    def step(self, task, feeds):
        masks = []
        for number, name in enumerate(sorted(name for name in feeds if name != "x")):
            kept = np.floor(np.float32(0.75) + feeds[name])
            kept = kept if number in self.not_scaled else kept / np.float32(0.75)
            masks.append(np.ones_like(kept) if number in self.left_out else kept)
        first = np.tanh(feeds["x"] @ self.w["A"])
        h = first * masks[0]
        second = np.tanh(h @ self.w["B"])
        y = second * masks[1] - np.float32(1)
        to_y = y * masks[1] * (1 - second**2)
        to_h = to_y @ self.w["B"].T * masks[0] * (1 - first**2)
        gradients = {"A": feeds["x"].T @ to_h, "B": h.T @ to_y}
        self.w = {name: w - np.float32(0.01) * gradients[name] for name, w in self.w.items()}
        return (y**2).sum() / 2

    def weights(self):
        return self.w


@pytest.fixture(scope="module")
def dropped(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("dropped") / "dropped.npz")
    rng = np.random.RandomState(2)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 4], name="x")
        A, B = (
            tf.Variable(rng.randn(*shape).astype("f"), name=name)
            for name, shape in (("A", (4, 5)), ("B", (5, 3)))
        )
        h = tf.nn.dropout(tf.tanh(tf.matmul(x, A)), 0.75, name="a")
        loss = tf.nn.l2_loss(tf.nn.dropout(tf.tanh(tf.matmul(h, B)), 0.75, name="b") - 1.0)
        train = tf.train.GradientDescentOptimizer(0.01).minimize(loss, name="train")
        session.run(tf.global_variables_initializer())
        for _ in range(6):
            session.run([train, loss], {x: rng.randn(7, 4)})
    return path


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize("numbers", [(), (0,), (1,), (0, 1)], ids=str)
@pytest.mark.parametrize(
    "mistake, kind", [("left_out", "dropout missing"), ("not_scaled", "dropout not scaled")]
)
def test_a_wrong_dropout_is_named(dropped, numbers, mistake, kind):
    report = check(type("Port", (Dropped,), {mistake: numbers}), goldens=[dropped])
    assert report.passed == (not numbers), report
    if numbers:
        (edit,) = report.diagnosis.edits
        scopes = {place[0] for place in edit.places}
        assert (edit.kind, scopes) == (kind, {"ab"[i] for i in numbers}), report


def test_rows_that_a_script_scatters_are_no_update_of_an_optimizer(tmp_path):
    path = str(tmp_path / "centers.npz")
    rng = np.random.RandomState(2)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        ids = tf.placeholder(tf.int32, [None], name="ids")
        w = tf.Variable(rng.randn(3).astype("f"), name="w", use_resource=False)
        start = rng.randn(4, 3).astype("f")
        centers = tf.Variable(start, trainable=False, name="centers", use_resource=False)
        difference = tf.gather(centers, ids) - x * w
        loss = tf.nn.l2_loss(difference)
        train = tf.train.GradientDescentOptimizer(0.01).minimize(loss, var_list=[w])
        with tf.name_scope("update_centers"), tf.control_dependencies([train]):
            moved = tf.scatter_sub(centers, ids, 0.5 * difference)
        both = tf.group(train, moved, name="both")
        session.run(tf.global_variables_initializer())
        for _ in range(6):
            session.run([both, loss], {x: rng.randn(5, 3), ids: rng.permutation(4).repeat(2)[:5]})

    class Rests:
        def __init__(self, weights):
            self.weights = lambda: weights

        def step(self, task, feeds):
            w, centers = self.weights()["w"], self.weights()["centers"]
            return np.square(centers[feeds["ids"]] - feeds["x"] * w).sum() / 2

    report = check(Rests, goldens=[path])
    assert {edit.kind for edit in report.diagnosis.edits} == {"variable frozen"}, report


@pytest.mark.slow
def test_a_rate_that_rises_once_is_no_schedule(averaged):
    """It was taken for one, since small rates differ by little."""

    def step(self, task, feeds):
        self.steps = 1 + getattr(self, "steps", 0)
        self.rate = 1e-4 if self.steps <= 3 else 5e-4
        return Averaged.step(self, task, feeds)

    report = check(type("Port", (Averaged,), {"step": step}), goldens=[averaged])
    assert not report.passed and not report.diagnosis.edits, report


@pytest.mark.slow
@pytest.mark.parametrize("resource", [False, True], ids=["ref", "resource"])
def test_a_penalty_is_named(path, resource):
    rng = np.random.RandomState(5)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        w = tf.Variable(rng.randn(3).astype("f"), name="w", use_resource=resource)
        loss = tf.nn.l2_loss(tf.reduce_sum(x * w, 1) - 1.0)
        train = tf.train.GradientDescentOptimizer(0.01).minimize(loss, name="train")
        session.run(tf.global_variables_initializer())
        for _ in range(6):
            session.run([train, loss], {x: rng.randn(5, 3)})

    class Port:
        def __init__(self, weights):
            self.w = weights["w"]

        def step(self, task, feeds):
            error = feeds["x"] @ self.w - 1
            loss = ((error**2).sum() + np.float32(0.3) * (self.w**2).sum()) / 2
            gradient = error @ feeds["x"] + np.float32(0.3) * self.w
            self.w = self.w - np.float32(0.01) * gradient
            return loss

        def weights(self):
            return {"w": self.w}

    report = check(Port, goldens=[path])
    (edit,) = report.diagnosis.edits
    assert edit[:3] == ("penalty in the loss", ("w",), pytest.approx(0.3)), report


@pytest.mark.slow
def test_gradients_under_another_name_end_no_check(path):
    rng = np.random.RandomState(5)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        W = tf.Variable([0.1, 0.5, 0.9], name="W")
        loss = tf.reduce_mean(tf.tanh(tf.reduce_sum(x * W, 1))) + 0.1 * tf.nn.l2_loss(W)
        gradients = tf.gradients(loss, [W], name="backprop")
        optimizer = tf.train.GradientDescentOptimizer(0.1)
        train = optimizer.apply_gradients(zip(gradients, [W]), name="train")
        session.run(tf.global_variables_initializer())
        for _ in range(8):
            session.run([train, loss], {x: rng.rand(4, 3)})

    class Port:
        def __init__(self, weights):
            self.W = weights["W"]

        def step(self, task, feeds):
            self.W = self.W * np.float32(0.9)
            return np.exp(np.sin(99 * self.W).sum())

        def weights(self):
            return {"W": self.W}

    report = check(Port, goldens=[path])
    assert not report.diagnosis.edits, report


@pytest.mark.slow
def test_steps_without_a_row_end_no_check(path):
    """In some steps no term is weighted at all."""
    rng = np.random.RandomState(6)
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        x, weight = (
            tf.placeholder(tf.float32, [None, n], name) for n, name in ((3, "x"), (1, "part"))
        )
        W = tf.Variable([[0.1], [0.5], [0.9]], name="W", use_resource=False)
        total = tf.reduce_sum(tf.square(tf.matmul(x, W)) * weight)
        loss = total / tf.maximum(tf.reduce_sum(weight), 1.0) + tf.nn.l2_loss(W)
        train = tf.train.GradientDescentOptimizer(0.05).minimize(loss, name="train")
        session.run(tf.global_variables_initializer())
        for rows in (0, 3, 2, 4, 0, 3):
            given = {x: rng.randn(rows, 3), weight: rng.randint(2, size=(rows, 1))}
            session.run([loss, train], given)

    class Port:
        def __init__(self, weights):
            self.W = weights["W"]

        def step(self, task, feeds):
            self.W = self.W - np.float32(0.01)
            return float(np.abs(self.W).sum() + len(feeds["x"]))

        def weights(self):
            return {"W": self.W}

    report = check(Port, goldens=[path])
    assert report.diagnosis, report
    assert not report.diagnosis.edits, report
