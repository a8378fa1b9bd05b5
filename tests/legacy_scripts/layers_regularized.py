"""Layers of tf.contrib.layers with regularizers."""

import numpy as np
import tensorflow as tf

layers = tf.contrib.layers
np.random.seed(5)
X = np.random.rand(10, 3)
Y = X.sum(axis=1, keepdims=True) * 2
x, y = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [None, 1])
regularizer = layers.sum_regularizer([layers.l1_regularizer(0.01), layers.l2_regularizer(0.1)])
hidden = layers.fully_connected(
    x, 4, activation_fn=tf.sigmoid, weights_regularizer=regularizer,
    weights_initializer=tf.constant_initializer(np.random.normal(size=[3, 4])),
)  # fmt: skip
out = layers.linear(hidden, 1, weights_initializer=tf.constant_initializer(np.random.rand(4, 1)))
penalty = layers.apply_regularization(layers.l1_l2_regularizer(0.1, 0.2), [tf.ones([2, 2])])
decay = tf.add_n(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)[:1])
loss = tf.reduce_mean(tf.square(out - y)) + decay
train = tf.train.AdagradOptimizer(0.3).minimize(loss)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    print("%.7f" % sess.run(penalty))
    for _ in range(5):
        print("%.7f" % sess.run([train, loss], {x: X, y: Y})[1])
