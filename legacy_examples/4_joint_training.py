"""Lesson 4: joint training. Both tasks in every step, on the sum of their losses.

Use it, says the article, when every row has both labels.

Differs from the published listing: `import tensorflow.compat.v1`, a `tf.Graph` of its own and
`use_resource=False`, so that it runs on TensorFlow 1 and 2 alike; a seed; the fetched value has a
name of its own. The listing writes `_, Joint_Loss = session.run([Optimiser, Joint_Loss], ...)`,
which overwrites the tensor with a number, so that a second run fails (lesson 8 shows it); here
three steps run. Run it: python legacy_examples/4_joint_training.py
"""

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf

rng = np.random.RandomState(4)

# %% The graph of lesson 2
with tf.Graph().as_default() as graph:
    X = tf.placeholder("float", [10, 10], name="X")
    Y1 = tf.placeholder("float", [10, 20], name="Y1")
    Y2 = tf.placeholder("float", [10, 20], name="Y2")

    shared_layer_weights = tf.Variable(
        rng.rand(10, 20), name="share_W", dtype="float32", use_resource=False
    )
    Y1_layer_weights = tf.Variable(
        rng.rand(20, 20), name="share_Y1", dtype="float32", use_resource=False
    )
    Y2_layer_weights = tf.Variable(
        rng.rand(20, 20), name="share_Y2", dtype="float32", use_resource=False
    )

    shared_layer = tf.nn.relu(tf.matmul(X, shared_layer_weights))
    Y1_layer = tf.nn.relu(tf.matmul(shared_layer, Y1_layer_weights))
    Y2_layer = tf.nn.relu(tf.matmul(shared_layer, Y2_layer_weights))

    Y1_Loss = tf.nn.l2_loss(Y1 - Y1_layer)
    Y2_Loss = tf.nn.l2_loss(Y2 - Y2_layer)
    Joint_Loss = Y1_Loss + Y2_Loss

    # The joint listing makes all three ops and uses the first. Each has slots of its own, so the
    # other two cost memory, but no time: what is not fetched does not run.
    Optimiser = tf.train.AdamOptimizer().minimize(Joint_Loss)
    Y1_op = tf.train.AdamOptimizer().minimize(Y1_Loss)
    Y2_op = tf.train.AdamOptimizer().minimize(Y2_Loss)

    init = tf.global_variables_initializer()

# %% The session: the article runs one step; the loss before its first update depends on no training
with tf.Session(graph=graph) as session:
    session.run(init)
    for step in range(3):
        feed_dict = {
            X: rng.rand(10, 10) * 10,
            Y1: rng.rand(10, 20) * 10,
            Y2: rng.rand(10, 20) * 10,
        }
        losses = [Joint_Loss, Y1_Loss, Y2_Loss]
        _, (joint_value, Y1_value, Y2_value) = session.run([Optimiser, losses], feed_dict)
        print(f"{step} joint {joint_value} = {Y1_value} + {Y2_value}")
