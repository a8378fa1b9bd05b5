"""A perceptron of slim's layers, with the defaults of an arg_scope."""

import numpy as np
import tensorflow as tf
import tensorflow.contrib.slim as slim

np.random.seed(1)
X = np.random.rand(20, 6).astype(np.float32)
Y = np.eye(3)[np.random.randint(3, size=20)].astype(np.float32)


def start(*shape):
    return tf.constant_initializer(np.random.normal(0, 0.5, shape))


x = tf.placeholder(tf.float32, [None, 6])
y = tf.placeholder(tf.float32, [None, 3])
with slim.arg_scope([slim.fully_connected], activation_fn=tf.nn.tanh):
    hidden = slim.fully_connected(x, 8, weights_initializer=start(6, 8), scope="hidden")
    scores = slim.fully_connected(
        hidden, 3, activation_fn=None, weights_initializer=start(8, 3), scope="scores"
    )
slim.losses.softmax_cross_entropy(scores, y)
loss = slim.losses.get_total_loss()
train = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    print([v.op.name for v in slim.get_variables()])
    for step in range(5):
        print(step, "%.8f" % sess.run([train, loss], {x: X, y: Y})[1])
