"""Two tasks on one shared layer, in slim: trained alternately, then jointly."""

import numpy as np
import tensorflow as tf
import tensorflow.contrib.slim as slim

np.random.seed(22)
X = tf.placeholder(tf.float32, [10, 10], name="X")
Y1 = tf.placeholder(tf.float32, [10, 5], name="Y1")
Y2 = tf.placeholder(tf.float32, [10, 5], name="Y2")


def layer(inputs, units, name):
    shape = [inputs.shape[1].value if hasattr(inputs.shape[1], "value") else inputs.shape[1], units]
    start = tf.constant_initializer(np.random.rand(*shape))
    return slim.fully_connected(inputs, units, weights_initializer=start, scope=name)


shared = layer(X, 8, "shared")
Y1_Loss = tf.nn.l2_loss(Y1 - layer(shared, 5, "one"))
Y2_Loss = tf.nn.l2_loss(Y2 - layer(shared, 5, "two"))
Y1_op = tf.train.AdamOptimizer().minimize(Y1_Loss)
Y2_op = tf.train.AdamOptimizer().minimize(Y2_Loss)
both = tf.train.AdamOptimizer().minimize(Y1_Loss + Y2_Loss)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(9):
        feed = {
            X: np.random.rand(10, 10), Y1: np.random.rand(10, 5), Y2: np.random.rand(10, 5)
        }  # fmt: skip
        op, loss = ((Y1_op, Y1_Loss), (Y2_op, Y2_Loss), (both, Y1_Loss + Y2_Loss))[step % 3]
        print("%.5f" % session.run([op, loss], feed)[1])
