"""The page's listings: run as they are printed, one after the other, their output with them."""

import contextlib
import io
from typing import Any, Dict, NamedTuple

FIRST = """\
import numpy as np
import tensorflow.compat.v1 as tf

rng = np.random.RandomState(seed)
with tf.Graph().as_default() as graph:
    X = tf.placeholder("float", [10, 10], name="X")
    Y = tf.placeholder("float", [10, 1], name="Y")
    initial_W = np.zeros((10, 1))
    W = tf.Variable(initial_W, name="W", dtype="float32", use_resource=False)
    Loss = tf.pow(tf.add(Y, -tf.matmul(X, W)), 2, name="Loss")
    init = tf.global_variables_initializer()
print(Loss)

with tf.Session(graph=graph) as session:
    session.run(init)
    Model_Loss = session.run(Loss, feed_dict={X: rng.rand(10, 10), Y: rng.rand(10, 1)})
print(Model_Loss.ravel()[:4])
"""

GRAPH = """\
rng = np.random.RandomState(seed)
with tf.Graph().as_default() as graph:
    X = tf.placeholder("float", [10, 10], name="X")
    Y1 = tf.placeholder("float", [10, 20], name="Y1")
    Y2 = tf.placeholder("float", [10, 20], name="Y2")

    first_W, first_Y1, first_Y2 = rng.rand(10, 20), rng.rand(20, 20), rng.rand(20, 20)
    share_W = tf.Variable(first_W, name="share_W", dtype="float32", use_resource=False)
    share_Y1 = tf.Variable(first_Y1, name="share_Y1", dtype="float32", use_resource=False)
    share_Y2 = tf.Variable(first_Y2, name="share_Y2", dtype="float32", use_resource=False)

    shared_layer = tf.nn.relu(tf.matmul(X, share_W))
    Y1_layer = tf.nn.relu(tf.matmul(shared_layer, share_Y1))
    Y2_layer = tf.nn.relu(tf.matmul(shared_layer, share_Y2))

    Y1_Loss = tf.nn.l2_loss(Y1 - Y1_layer)
    Y2_Loss = tf.nn.l2_loss(Y2 - Y2_layer)
    Joint_Loss = Y1_Loss + Y2_Loss

    Optimiser = tf.train.AdamOptimizer().minimize(Joint_Loss)
    Y1_op = tf.train.AdamOptimizer().minimize(Y1_Loss)
    Y2_op = tf.train.AdamOptimizer().minimize(Y2_Loss)
    init = tf.global_variables_initializer()
print(shared_layer)
print(len(graph.get_operations()), len(graph.get_collection("variables")))
"""

ALTERNATE = """\
with tf.Session(graph=graph) as session:
    session.run(init)
    for _ in range(10):
        if rng.rand() < 0.5:
            task, fetches = "Y1", [Y1_op, Y1_Loss]
        else:
            task, fetches = "Y2", [Y2_op, Y2_Loss]
        x, y1, y2 = rng.rand(10, 10) * 10, rng.rand(10, 20) * 10, rng.rand(10, 20) * 10
        _, loss_value = session.run(fetches, feed_dict={X: x, Y1: y1, Y2: y2})
        print(task, loss_value)
"""

JOINT = """\
rng = np.random.RandomState(seed)
rng.rand(10, 20), rng.rand(20, 20), rng.rand(20, 20)
x, y1, y2 = rng.rand(10, 10) * 10, rng.rand(10, 20) * 10, rng.rand(10, 20) * 10
with tf.Session(graph=graph) as session:
    session.run(init)
    _, loss_value = session.run([Optimiser, Joint_Loss], feed_dict={X: x, Y1: y1, Y2: y2})
print(loss_value)
"""

NAMES = ("FIRST", "GRAPH", "ALTERNATE", "JOINT")


class Ran(NamedTuple):
    """A listing and what it printed just now."""

    code: str
    output: str


def run_all(seed: int) -> Dict[str, Ran]:
    """Runs the listings in their order, in one namespace, as a notebook would.

    Args:
      seed: The listings' name `seed`.

    Returns:
      By the listing's name.
    """
    names: Dict[str, Any] = {"seed": seed}
    ran = {}
    for listing in NAMES:
        code = globals()[listing]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, f"<{listing}>", "exec"), names)
        ran[listing] = Ran(code, printed.getvalue())
    return ran
