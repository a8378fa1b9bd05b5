"""Lesson 6: what an optimizer keeps.

A slot is a variable that an optimizer keeps beside a weight. Adam keeps two for every weight that
it trains, m (a running mean of the gradients) and v (of their squares), and one pair of beta
powers, which count its steps. The article makes three Adam optimizers, so the three weights are
joined by 20 variables that its listing never names. This lesson names them, and shows which of
them one step changes.

Differs from the published listing: the optimizers are kept in names of their own, to be asked for
their slots; all three stand in one graph, as in the joint listing; a seed; `compat.v1`, a graph of
its own and `use_resource=False`. Run it: python legacy_examples/6_optimizer_slots.py
"""

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf

# %% The article's graph, its three optimizers kept
rng = np.random.RandomState(6)
with tf.Graph().as_default() as graph:
    X = tf.placeholder("float", [10, 10], name="X")
    Y1 = tf.placeholder("float", [10, 20], name="Y1")
    Y2 = tf.placeholder("float", [10, 20], name="Y2")
    share_W = tf.Variable(rng.rand(10, 20), name="share_W", dtype="float32", use_resource=False)
    share_Y1 = tf.Variable(rng.rand(20, 20), name="share_Y1", dtype="float32", use_resource=False)
    share_Y2 = tf.Variable(rng.rand(20, 20), name="share_Y2", dtype="float32", use_resource=False)
    shared_layer = tf.nn.relu(tf.matmul(X, share_W))
    Y1_Loss = tf.nn.l2_loss(Y1 - tf.nn.relu(tf.matmul(shared_layer, share_Y1)))
    Y2_Loss = tf.nn.l2_loss(Y2 - tf.nn.relu(tf.matmul(shared_layer, share_Y2)))
    Joint_Loss = Y1_Loss + Y2_Loss
    adam_joint, adam_1, adam_2 = [tf.train.AdamOptimizer() for _ in range(3)]
    Optimiser = adam_joint.minimize(Joint_Loss)
    Y1_op = adam_1.minimize(Y1_Loss)
    Y2_op = adam_2.minimize(Y2_Loss)
    (gradient,) = tf.gradients(Y1_Loss, [share_W])
    init = tf.global_variables_initializer()
    variables = tf.global_variables()

# %% The names: a slot is called after its weight and numbered in order of creation
# TensorFlow calls every Adam slot "Adam" and adds _1, _2, ... when the name is taken. So the
# number is no optimizer's: share_W/Adam_2 is task 1's m, while the operation Adam_2 is Y2_op.
print(f"{len(variables)} variables, 3 of them weights.")
for text, adam, op in (
    ("Optimiser", adam_joint, Optimiser),
    ("Y1_op", adam_1, Y1_op),
    ("Y2_op", adam_2, Y2_op),
):
    slots = [adam.get_slot(share_W, slot).op.name for slot in ("m", "v")]
    print(f"  {text:9} is the operation {op.name:6}; m, v of share_W: {', '.join(slots)}")
print("  Y1_op keeps for share_Y2:", adam_1.get_slot(share_Y2, "m"))

# %% The effect: one step of Y1_op changes task 1's state, and leaves all other state alone
session = tf.Session(graph=graph)
session.run(init)
feed = {X: rng.rand(10, 10) * 10, Y1: rng.rand(10, 20) * 10, Y2: rng.rand(10, 20) * 10}
gradient_value = session.run(gradient, feed)  # in a run of its own: before the update
before = session.run(variables)
session.run(Y1_op, feed)
after = session.run(variables)
moved = [v.op.name for v, a, b in zip(variables, before, after) if not np.array_equal(a, b)]
print(f"One step of Y1_op changes {len(moved)} of them: {', '.join(moved)}")

# %% The content: m starts at (1 - beta1) times the gradient, v at (1 - beta2) times its square
m, v = session.run([adam_1.get_slot(share_W, slot) for slot in ("m", "v")])
print(f"m / gradient    = {np.median(m / gradient_value):.4f}")
print(f"v / gradient**2 = {np.median(v / gradient_value**2):.4f}")
for name in ("beta1_power", "beta1_power_1", "beta1_power_2"):
    print(f"{name:15} = {session.run(name + ':0'):.4f}")

# %% One optimizer for both tasks instead: a different program, since the tasks share m, v and count
with tf.Graph().as_default():
    W = tf.Variable([1.0], name="W", use_resource=False)
    adam = tf.train.AdamOptimizer()
    first, second = adam.minimize(W * W), adam.minimize(-3.0 * W)
    print("One optimizer, two minimize:", [v.op.name for v in tf.global_variables()])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        m = adam.get_slot(W, "m")
        print(f"  its one m: {session.run(m)[0]:.2f}", end="")
        for op in (first, second):
            session.run(op)
            print(f", {session.run(m)[0]:.2f}", end="")
        print(" (at first, after a step of the first, then one of the second)")
