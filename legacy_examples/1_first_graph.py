"""Lesson 1: a first graph, and what a Session is for.

The original article's warm-up: a linear map of X, compared with Y by a squared difference. A graph
is a plan; a Session carries a part of it out, on data that it is fed.

Differs from the published listing: `import tensorflow.compat.v1` (it says `import Tensorflow`, and
no package has that name); a `tf.Graph` of its own and `use_resource=False`, so that it runs on
TensorFlow 1 and 2 alike with no global switch; `global_variables_initializer`, the newer name of
the listing's `initialize_all_variables`; seeded data, so that the figures can be had again.
Run it: python legacy_examples/1_first_graph.py
"""

import numpy as np
import quiet_tensorflow
import tensorflow.compat.v1 as tf

# %% The graph: a plan of operations on arrays that are not there yet
with tf.Graph().as_default() as graph:
    # Placeholders stand for the data: 10 rows of 10 numbers, and one number to match for each row.
    X = tf.placeholder("float", [10, 10], name="X")
    Y = tf.placeholder("float", [10, 1], name="Y")

    # A variable keeps its value from one run to the next. Its initial value is a constant.
    initial_W = np.zeros((10, 1))
    W = tf.Variable(initial_W, name="W", dtype="float32", use_resource=False)

    # The squared difference, one for each row: a loss that nobody has summed up yet.
    Loss = tf.pow(tf.add(Y, -tf.matmul(X, W)), 2, name="Loss")

    init = tf.global_variables_initializer()

print("Loss is", Loss)  # a tensor: the promise of an array, with a name, a dtype and a shape
print("The graph's nodes:", ", ".join(node.name for node in graph.get_operations()))

# %% The session: only now does anything run
rng = np.random.RandomState(1)
x, y = rng.rand(10, 10), rng.rand(10, 1)
with tf.Session(graph=graph) as session:
    session.run(init)
    # The first argument says what to fetch, the second what to feed.
    Model_Loss = session.run(Loss, feed_dict={X: x, Y: y})

print("Fetched:", Model_Loss.dtype, Model_Loss.shape)
print(Model_Loss.ravel())

# %% The same by hand: W is all zeros, so each row's loss is the square of its Y
print("Is y * y:", np.array_equal(Model_Loss, np.square(y.astype("float32"))))
