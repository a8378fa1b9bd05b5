"""Mistakes at any operation of a graph are named at their place: a contrastive loss of two images.

The same function builds the recorded graph and the ports, so that a mistake is one line of it.
"""

import numpy as np
import pytest

from tf1_mtl.baseline import check, recording

tf = pytest.importorskip("tensorflow.compat.v1")
STEPS = 8


def loss_of(one, two, same, W, b, V, wrong=""):
    """Return the contrastive loss of pairs of rows, which are the same or not."""

    def output(x):
        z = tf.matmul(x, W)
        y = tf.matmul(tf.tanh(z if wrong == "no bias" else z + b), V)
        return tf.nn.relu(y) if wrong == "relu" else y

    same = 1 - same if wrong == "labels flipped" else same
    first, second = output(one), output(two)
    second = tf.stop_gradient(second) if wrong == "one branch detached" else second
    squares = tf.reduce_sum(tf.square(first - second), 1) + 1e-6
    distance = squares if wrong == "no root" else tf.sqrt(squares)
    distance = distance / 2 if wrong == "half the distance" else distance
    near = squares if wrong == "near counts for all" else same * squares
    margin = (3.0 if wrong == "margin 3" else 2.0) - distance
    far = margin if wrong == "no maximum" else tf.maximum(margin, 0.0)
    return tf.reduce_mean(near + (1 - same) * tf.square(far))


def trained(weights, wrong=""):
    """Return placeholders, variables, and what a step fetches, in the graph that is current."""
    feeds = {
        "one": tf.placeholder(tf.float32, [None, 4], name="one"),
        "two": tf.placeholder(tf.float32, [None, 4], name="two"),
        "same": tf.placeholder(tf.float32, [None], name="same"),
    }
    variables = {n: tf.Variable(x, name=n, use_resource=False) for n, x in weights.items()}
    loss = loss_of(*feeds.values(), *variables.values(), wrong)
    train = tf.train.GradientDescentOptimizer(0.05).minimize(loss, name="train")
    return feeds, variables, [loss, train]


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("pairs") / "pairs.npz")
    rng = np.random.RandomState(0)
    weights = {"W": rng.randn(4, 5) / 2, "b": rng.randn(5) / 2, "V": rng.randn(5, 3)}
    weights = {name: x.astype(np.float32) for name, x in weights.items()}
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        feeds, _, fetches = trained(weights)
        session.run(tf.global_variables_initializer())
        for _ in range(STEPS):
            given = rng.randn(6, 4), rng.randn(6, 4), rng.randint(0, 2, 6)
            session.run(fetches, dict(zip(feeds.values(), given)))
    return path


def port(wrong):
    """Return a port with a mistake."""

    class Port:
        def __init__(self, weights):
            with tf.Graph().as_default() as graph:
                self.feeds, self.variables, self.fetches = trained(weights, wrong)
                self.session = tf.Session(graph=graph)
                self.session.run(tf.global_variables_initializer())

        def step(self, task, feeds):
            given = {self.feeds[name]: x for name, x in feeds.items()}
            return self.session.run(self.fetches, given)[0]

        def weights(self):
            return self.session.run(self.variables)

    return Port


def test_the_port_without_a_mistake_conforms(golden):
    report = check(port(""), goldens=[golden])
    assert report.passed, report


#: Mistakes, with the kind, the operations and the value that are named.
MISTAKES = {
    "no bias": ("input left out", {"add", "add_1"}, "b/read"),
    "relu": ("activation added", {"MatMul_1", "MatMul_3"}, "relu"),
    "labels flipped": ("feed flipped", {"same"}, None),
    "one branch detached": ("gradient stopped", {"MatMul_3"}, None),
    "half the distance": ("output scaled", {"Sqrt"}, 0.5),
    "no root": ("operation missing", {"Sqrt"}, None),
    "near counts for all": ("input left out", {"mul"}, "same"),
    "margin 3": ("constant", {"sub_1/x"}, 3.0),
    "no maximum": ("operation missing", {"Maximum"}, None),
}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(wrong, marks=[] if wrong in ("no root", "no bias") else pytest.mark.slow)
        for wrong in MISTAKES
    ],
)
def test_a_mistake_is_named_at_its_place(golden, wrong):
    kind, places, value = MISTAKES[wrong]
    report = check(port(wrong), goldens=[golden])
    assert not report.passed
    (edit,) = report.diagnosis.edits
    assert (edit.kind, set(edit.places), edit.value) == (kind, places, value)
