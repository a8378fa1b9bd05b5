"""Measures what recording costs: `python -m tests.recording_cost`.

Measures the joint step of the article, and a classifier of 270,000 weights with Adam. Prints the
median time of a run without and with recording, and what a recorded run adds to the file.
"""

import os
import sys
import tempfile
import time

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl import build_graph, feeds, open_session
from tf1_mtl.baseline import recording

RUNS = 60


def article(rng):
    """Returns the graph, the fetches of a step, and what draws its feeds."""
    net = build_graph(rng)
    draw = feeds.article_draw(rng)

    def feed():
        batch = draw("joint")
        return {net.X: batch.X, net.Y1: batch.Y1, net.Y2: batch.Y2}

    return net.graph, [net.Optimiser, net.Joint_Loss], feed


def classifier(rng):
    """Returns the same of 784 inputs, 256 and 256 hidden units, 10 classes, and dropout."""
    with tf.Graph().as_default() as graph:
        x, labels = tf.placeholder(tf.float32, [None, 784]), tf.placeholder(tf.int64, [None])
        layer = x
        for i, (inputs, outputs) in enumerate(((784, 256), (256, 256), (256, 10))):
            weights = tf.get_variable(f"weights_{i}", [inputs, outputs], use_resource=False)
            biases = tf.get_variable(f"biases_{i}", [outputs], use_resource=False)
            layer = tf.matmul(tf.nn.relu(layer) if i else layer, weights) + biases
            layer = tf.nn.dropout(layer, rate=0.2) if i < 2 else layer
        loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=layer)
        )
        step = tf.train.AdamOptimizer().minimize(loss)

    def feed():
        return {x: rng.rand(128, 784).astype(np.float32), labels: rng.randint(0, 10, 128)}

    return graph, [step, loss], feed


def milliseconds(session, fetches, feed):
    """Returns the median time of a run."""
    times = []
    for _ in range(RUNS):
        feed_dict = feed()
        start = time.perf_counter()
        session.run(fetches, feed_dict)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def main():
    rng = np.random.RandomState(0)
    for name, build in (("article, joint step", article), ("classifier, 270,000", classifier)):
        graph, fetches, feed = build(rng)
        with graph.as_default():
            init = tf.global_variables_initializer()
        path = os.path.join(tempfile.mkdtemp(), "cost.npz")
        with open_session(graph, "cpu") as session:
            session.run(init)
            session.run(fetches, feed())
            plain = milliseconds(session, fetches, feed)
            with recording(path):
                session.run(fetches, feed())
                before = os.path.getsize(path + ".partial")
                recorded = milliseconds(session, fetches, feed)
                size = (os.path.getsize(path + ".partial") - before) / RUNS
        os.remove(path)
        os.rmdir(os.path.dirname(path))
        print(
            f"{name:20}  {plain:6.2f} ms a run, {recorded:6.2f} ms recorded, "
            f"{size / 1e3:6.0f} kB a recorded run"
        )


if __name__ == "__main__":
    sys.exit(main())
