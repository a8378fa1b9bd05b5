"""Lesson 2: the article's graph, one shared layer and two task layers, and that nothing has run.

Two tasks look at the same X. They share the first layer's weights; each has a second layer of its
own. There are no biases.

Differs from the published listing: `import tensorflow.compat.v1`, a `tf.Graph` of its own and
`use_resource=False`, so that it runs on TensorFlow 1 and 2 alike; seeded weights. The graph is the
one of the joint listing, losses and optimizers included, as lessons 3 and 4 train it.
Run it: python legacy_examples/2_shared_layer.py
"""

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf

rng = np.random.RandomState(2)

# %% The graph: one shared layer, two tasks, their losses
with tf.Graph().as_default() as graph:
    # Placeholders: one input, and a label for each task
    X = tf.placeholder("float", [10, 10], name="X")
    Y1 = tf.placeholder("float", [10, 20], name="Y1")
    Y2 = tf.placeholder("float", [10, 20], name="Y2")

    # Initial weights: NumPy draws them now, and the graph keeps them as constants
    initial_shared_layer_weights = rng.rand(10, 20)
    initial_Y1_layer_weights = rng.rand(20, 20)
    initial_Y2_layer_weights = rng.rand(20, 20)

    # Variables. Mind the names: share_W is shared; share_Y1 and share_Y2 belong to one task each
    shared_layer_weights = tf.Variable(
        initial_shared_layer_weights, name="share_W", dtype="float32", use_resource=False
    )
    Y1_layer_weights = tf.Variable(
        initial_Y1_layer_weights, name="share_Y1", dtype="float32", use_resource=False
    )
    Y2_layer_weights = tf.Variable(
        initial_Y2_layer_weights, name="share_Y2", dtype="float32", use_resource=False
    )

    # Layers: the fork is here, where shared_layer is used twice
    shared_layer = tf.nn.relu(tf.matmul(X, shared_layer_weights))
    Y1_layer = tf.nn.relu(tf.matmul(shared_layer, Y1_layer_weights))
    Y2_layer = tf.nn.relu(tf.matmul(shared_layer, Y2_layer_weights))

    # Losses: l2_loss is the sum of squares / 2, not a mean
    Y1_Loss = tf.nn.l2_loss(Y1 - Y1_layer)
    Y2_Loss = tf.nn.l2_loss(Y2 - Y2_layer)
    Joint_Loss = Y1_Loss + Y2_Loss

    # One minimize op for both tasks together, and one for each alone
    Optimiser = tf.train.AdamOptimizer().minimize(Joint_Loss)
    Y1_op = tf.train.AdamOptimizer().minimize(Y1_Loss)
    Y2_op = tf.train.AdamOptimizer().minimize(Y2_Loss)

    init = tf.global_variables_initializer()

# %% What there is now: a plan of 216 nodes, most of them made by the three minimize calls
nodes = graph.get_operations()
forward = [node for node in nodes if node.name in ("MatMul", "Relu") or node.type == "L2Loss"]
print(f"{len(nodes)} nodes, from {nodes[0].name} to {nodes[-1].name}")
print("Some of them:", ", ".join(node.name for node in forward))
print("shared_layer is", shared_layer)

# %% What there is not: a value. Even the variables have none before the initializer has run
with tf.Session(graph=graph) as session:
    print("Variables without a value:", len(session.run(tf.report_uninitialized_variables())))
    session.run(init)
    print("After the initializer:    ", len(session.run(tf.report_uninitialized_variables())))
    # The weights are NumPy's draws, rounded to float32.
    value = session.run(shared_layer_weights)
    same = np.array_equal(value, initial_shared_layer_weights.astype("float32"))
    print("share_W is what NumPy drew:", same)
