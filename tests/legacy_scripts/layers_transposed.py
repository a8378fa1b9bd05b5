"""Convolutions of tf.contrib.layers: separable and transposed, as in a small autoencoder."""

import numpy as np
import tensorflow as tf
import tensorflow.contrib.layers as layers

np.random.seed(8)
X = np.random.rand(3, 6, 6, 2)
x = tf.placeholder(tf.float32, [None, 6, 6, 2])
flat = tf.constant_initializer(0.1)
code = layers.separable_conv2d(x, 4, [3, 3], 1, stride=2, weights_initializer=flat)
code = layers.batch_norm(code, is_training=True, updates_collections=None)
back = layers.conv2d_transpose(
    code, 2, [3, 3], stride=2, activation_fn=None,
    weights_initializer=tf.constant_initializer(np.random.normal(size=[3, 3, 2, 4])),
)  # fmt: skip
loss = tf.reduce_mean(tf.square(back - x))
train = tf.train.RMSPropOptimizer(0.01).minimize(loss)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(4):
        print("%.6f" % sess.run([train, loss], {x: X})[1])
