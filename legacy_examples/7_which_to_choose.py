"""Lesson 7: which to choose?

The article ends on the question when to train in turns and when jointly. Here it is asked of
made-up data, in the case that the article has in mind: task 1 has 500 rows, task 2 only 20. Alone,
task 2 learns from its 20 rows. Jointly it needs rows with both labels, again those 20. In turns
each task is fed its own rows, so that task 1's 500 shape the shared layer too. Every way starts
from the same weights and takes task 2's rows equally often. What counts is task 2's loss on rows
that no way has seen. All of it is done once with related tasks and once with unrelated ones.

Differs from the published listings: data with something to learn; small weights on both sides of
zero (all-positive ones make the first outputs far too large) and a larger learning rate; several
seeds; `compat.v1`, a graph of its own, `use_resource=False`.
Run it: python legacy_examples/7_which_to_choose.py
"""

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf

SEEDS, STEPS, MANY, FEW, UNSEEN = 6, 300, 500, 20, 1000

# %% The article's graph, its rows left open; the first weights are fed, so that all ways share them
with tf.Graph().as_default() as graph:
    X = tf.placeholder("float", [None, 10], name="X")
    Y1 = tf.placeholder("float", [None, 20], name="Y1")
    Y2 = tf.placeholder("float", [None, 20], name="Y2")
    start = [tf.placeholder("float", shape) for shape in ([10, 20], [20, 20], [20, 20])]
    share_W, share_Y1, share_Y2 = [tf.Variable(first, use_resource=False) for first in start]
    shared_layer = tf.nn.relu(tf.matmul(X, share_W))
    Y1_Loss = tf.nn.l2_loss(Y1 - tf.nn.relu(tf.matmul(shared_layer, share_Y1)))
    Y2_Loss = tf.nn.l2_loss(Y2 - tf.nn.relu(tf.matmul(shared_layer, share_Y2)))
    Optimiser = tf.train.AdamOptimizer(0.01).minimize(Y1_Loss + Y2_Loss)
    Y1_op = tf.train.AdamOptimizer(0.01).minimize(Y1_Loss)
    Y2_op = tf.train.AdamOptimizer(0.01).minimize(Y2_Loss)
    init = tf.global_variables_initializer()
session = tf.Session(graph=graph)


# %% The data: three hidden units make a task's labels; related tasks have the same three
def rows(rng, related):
    units_1, units_2 = rng.rand(10, 3) * 2 - 1, rng.rand(10, 3) * 2 - 1
    x = rng.rand(MANY + UNSEEN, 10) * 2 - 1
    labels = []
    for units in (units_1, units_1 if related else units_2):
        noise = 0.1 * rng.randn(len(x), 20)
        labels.append(np.maximum(x.dot(units), 0).dot(rng.rand(3, 20)) + noise)
    return x, labels[0], labels[1]


def small(rng, inputs, outputs):
    return (rng.rand(inputs, outputs) * 2 - 1) * np.sqrt(6.0 / (inputs + outputs))


# %% One seed: draw data and first weights, train each way, return task 2's loss per unseen row
def unseen_loss(seed, related):
    rng = np.random.RandomState(seed)
    x, y1, y2 = rows(rng, related)
    weights = [small(rng, 10, 20), small(rng, 20, 20), small(rng, 20, 20)]
    set_1, set_2 = {X: x[:MANY], Y1: y1[:MANY]}, {X: x[:FEW], Y2: y2[:FEW]}
    both = {X: x[:FEW], Y1: y1[:FEW], Y2: y2[:FEW]}
    result = {}
    for way, runs in (
        ("alone", [(Y2_op, set_2)]),
        ("in turns", [(Y1_op, set_1), (Y2_op, set_2)]),
        ("joint", [(Optimiser, both)]),
    ):
        session.run(init, dict(zip(start, weights)))
        for _ in range(STEPS):
            for op, feed in runs:
                session.run(op, feed)
        result[way] = session.run(Y2_Loss, {X: x[MANY:], Y2: y2[MANY:]}) / UNSEEN
    return result


# %% The answer: each way against training alone, seed by seed
# That all six seeds fall on the same side by chance alone happens in one of 32 cases.
print("Task 2's loss on unseen rows, as a multiple of its loss when trained alone")
for related in (True, False):
    losses = [unseen_loss(seed, related) for seed in range(SEEDS)]
    for way in ("in turns", "joint"):
        ratios = sorted(loss[way] / loss["alone"] for loss in losses)
        better = sum(ratio < 1 for ratio in ratios)
        verdict = {SEEDS: "better", 0: "worse"}.get(better, "no difference shown")
        print(
            f"  {'related' if related else 'unrelated':9} tasks, {way:8}:",
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}, lower in {better} of {SEEDS} seeds: {verdict}",
        )
