"""Lesson 9: checkpoints.

A checkpoint holds the values of variables under their names: the weights, and what the optimizers
keep. This lesson stops a training and goes on from its checkpoint without a trace, then brings the
checkpoint into a program that has one optimizer more, where names no longer mean what they meant.

Differs from the published listings, which save nothing: a builder makes the graph, with the
optimizers asked for; a seed; `compat.v1`, a graph of its own and `use_resource=False`.
Run it: python legacy_examples/9_checkpoints.py
"""

import os
import tempfile

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf

data = np.random.RandomState(9)
feeds = {"X:0": data.rand(10, 10), "Y1:0": data.rand(10, 20), "Y2:0": data.rand(10, 20)}


def build(*tasks):
    """The article's graph with optimizers for these tasks, made in this order, and a session."""
    rng = np.random.RandomState(0)
    with tf.Graph().as_default() as graph:
        X = tf.placeholder("float", [10, 10], name="X")
        Y = {task: tf.placeholder("float", [10, 20], name=task) for task in ("Y1", "Y2")}
        W = tf.Variable(rng.rand(10, 20), name="share_W", dtype="float32", use_resource=False)
        loss = {}
        for task in Y:
            head = rng.rand(20, 20)
            V = tf.Variable(head, name="share_" + task, dtype="float32", use_resource=False)
            layer = tf.nn.relu(tf.matmul(tf.nn.relu(tf.matmul(X, W)), V))
            loss[task] = tf.nn.l2_loss(Y[task] - layer)
        loss["joint"] = loss["Y1"] + loss["Y2"]
        adam = {task: tf.train.AdamOptimizer() for task in tasks}
        op = {task: adam[task].minimize(loss[task]) for task in tasks}
        kept = {task: adam[task].variables() for task in tasks}  # slots and beta powers, by name
        session = tf.Session(graph=graph)
        session.run(tf.global_variables_initializer())
    return session, op, loss, kept


def restore(variables=None):
    """Restores these variables, or all, from the checkpoint."""
    with session.graph.as_default():
        tf.train.Saver(variables).restore(session, path)


def two_steps():
    """Two more steps of task 1: their losses."""
    return [float(session.run([op["Y1"], loss["Y1"]], feeds)[1]) for _ in range(2)]


# %% Save after three steps, then take two more
session, op, loss, kept = build("Y1", "Y2")
for _ in range(3):
    session.run(op["Y1"], feeds)
with session.graph.as_default():
    path = tf.train.Saver().save(session, os.path.join(tempfile.mkdtemp(), "model"))
names = [name for name, _ in tf.train.list_variables(path)]
print(f"The checkpoint holds {len(names)} variables: {', '.join(sorted(names)[:6])}, ...")
print("Unbroken:      ", *two_steps())

# %% Go on from the checkpoint in a new session: the very same losses
session, op, loss, kept = build("Y1", "Y2")
restore()
print("Restored:      ", *two_steps())

# %% The weights alone are not enough: Adam's slots and step count start anew
session, op, loss, kept = build("Y1", "Y2")
restore(session.graph.get_collection("trainable_variables"))
print("Weights alone: ", *two_steps())

# %% A third optimizer, made last: the checkpoint lacks its variables, so restore only what it has
session, op, loss, kept = build("Y1", "Y2", "joint")
try:
    restore()
except tf.errors.NotFoundError as error:
    print("Made last:     ", next(line for line in str(error).splitlines() if "Key" in line))
restore([v for v in session.graph.get_collection("variables") if v.op.name in names])
print("  what is there", *two_steps())

# %% The same, made first, as in the joint listing: this restores without a word, and wrongly
# Slots are numbered in order of creation, so share_W/Adam is now the joint optimizer's m.
session, op, loss, kept = build("joint", "Y1", "Y2")
restore([v for v in session.graph.get_collection("variables") if v.op.name in names])
print("Made first:    ", *two_steps())

# %% Mended by meaning: each name of the old program, with the new program's variable
meaning = {v.op.name: v for v in session.graph.get_collection("trainable_variables")}
for task, old in build("Y1", "Y2")[-1].items():
    meaning.update(zip([v.op.name for v in old], kept[task]))
restore(meaning)
print("  by meaning   ", *two_steps())
