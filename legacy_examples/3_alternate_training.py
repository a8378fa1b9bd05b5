"""Lesson 3: alternate training. A coin picks each step's task, and only its op is run.

Use it, says the article, when each task has data of its own: no row needs both labels.

Differs from the published listing: `import tensorflow.compat.v1`, a `tf.Graph` of its own and
`use_resource=False`, so that it runs on TensorFlow 1 and 2 alike; a seed; the joint loss and its
optimizer, which the listing leaves out here, are in the graph (the same 216 nodes as in lessons 2
and 4) and are not used. Run it: python legacy_examples/3_alternate_training.py
"""

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf

rng = np.random.RandomState(3)

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

    Optimiser = tf.train.AdamOptimizer().minimize(Joint_Loss)
    Y1_op = tf.train.AdamOptimizer().minimize(Y1_Loss)
    Y2_op = tf.train.AdamOptimizer().minimize(Y2_Loss)

    init = tf.global_variables_initializer()

# %% The session: ten steps
with tf.Session(graph=graph) as session:
    session.run(init)
    for step in range(10):
        if rng.rand() < 0.5:
            task, op, loss = "Y1", Y1_op, Y1_Loss
        else:
            task, op, loss = "Y2", Y2_op, Y2_Loss
        # The article feeds all three. The task that is not trained does not need its label, and
        # does not run: lesson 5 shows it.
        feed_dict = {
            X: rng.rand(10, 10) * 10,
            Y1: rng.rand(10, 20) * 10,
            Y2: rng.rand(10, 20) * 10,
        }
        # Fetching the op makes it run; its own result is None. The loss is that before the update.
        _, loss_value = session.run([op, loss], feed_dict=feed_dict)
        print(step, task, loss_value)
