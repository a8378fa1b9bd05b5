"""Lesson 8: the classic errors of graph mode.

Each cell makes one of them for real, prints TensorFlow's own message (its telling line), and runs
what mends it. Error 5 stands in the published listing; 1 and 8 need TensorFlow 2's eager mode.
Differs from the published listing: a toy graph (one input, one weight), so that each error stands
alone; `compat.v1`, own graphs, `use_resource=False`. Run it: python legacy_examples/8_pitfalls.py
"""

import collections
import contextlib
import tempfile

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf


@contextlib.contextmanager
def pitfall(title):
    print(title)
    try:
        yield
    except Exception as error:
        line = str(error).partition("\n\t [[")[0].splitlines()[-1]  # between preamble and "[[node"
        print(f"   {type(error).__name__}: {line.strip()}")


def toy(rows=10):
    with tf.Graph().as_default() as graph:
        X, Y = [tf.placeholder("float", [rows, 1], name=name) for name in ("X", "Y")]
        W = tf.Variable([[0.5]], name="W", use_resource=False)
        loss = tf.nn.l2_loss(Y - tf.matmul(X, W))
    session = tf.Session(graph=graph)
    session.run(W.initializer)
    return graph, session, X, Y, loss


x, y = np.ones((10, 1)), np.ones((10, 1))

# %% Mended by building inside a graph
with pitfall("1. A placeholder in eager mode (TensorFlow 2)"):
    tf.placeholder("float", [10, 1])
graph, session, X, Y, loss = toy()
print("   mended:", X.name)

# %% Mended by feeding what the fetch needs
with pitfall("2. A label that is not fed"):
    session.run(loss, {X: x})
print("   mended: loss", session.run(loss, {X: x, Y: y}))

# %% Mended by taking every handle anew after a graph is built anew
old_X = X
graph, session, X, Y, loss = toy()  # as when a notebook's cell is run a second time
with pitfall("3. A stale graph: the placeholder of the graph before, fed to this one"):
    session.run(loss, {old_X: x, Y: y})
print("   mended: loss", session.run(loss, {X: x, Y: y}))

# %% Mended by making and running the initializer last (it sets the weights afresh, too)
with graph.as_default():
    step, init = tf.train.AdamOptimizer().minimize(loss), tf.global_variables_initializer()
with pitfall("4. An optimizer made after the initializer ran"):
    session.run(step, {X: x, Y: y})
session.run(init)
print("   mended: loss", session.run([step, loss], {X: x, Y: y})[1])

# %% Mended by another name for the value
with pitfall("5. A tensor's name, overwritten with its value"):
    _, fetched = session.run([step, loss], {X: x, Y: y})
    session.run([step, fetched], {X: x, Y: y})  # the listing gives both one name
_, loss_value = session.run([step, loss], {X: x, Y: y})
print("   mended: loss", loss_value)

# %% Mended by initializing all, then restoring what the checkpoint has (more in lesson 9)
with graph.as_default(), tempfile.TemporaryDirectory() as folder:
    saver = tf.train.Saver()
    path = saver.save(session, folder + "/model")
    tf.train.AdamOptimizer().minimize(loss)
    with pitfall("6. A checkpoint from before a second optimizer was added"):
        tf.train.Saver().restore(session, path)
    session.run(tf.global_variables_initializer())
    saver.restore(session, path)
print("   mended: loss", session.run(loss, {X: x, Y: y}))

# %% Mended by leaving the number of rows open
with pitfall("7. A second data set, with other rows"):
    session.run(loss, {X: x[:7], Y: y[:7]})
graph, session, X, Y, loss = toy(rows=None)
print("   mended: loss", session.run(loss, {X: x[:7], Y: y[:7]}))

# %% Mended by making every variable before the first call
with pitfall("8. Two optimizers, ported to tf.function (TensorFlow 2)"):
    if tf.executing_eagerly():
        slots = collections.defaultdict(lambda: tf.Variable(0.0))  # made when first asked for
        step = tf.function(lambda task: slots[task].assign_add(1.0), autograph=False)
        step("Y1"), step("Y2")
if tf.executing_eagerly():
    slots.update(Y1=tf.Variable(0.0), Y2=tf.Variable(0.0))
    step = tf.function(lambda task: slots[task].assign_add(1.0), autograph=False)
    print("   mended:", step("Y1").shape, step("Y2").shape)
