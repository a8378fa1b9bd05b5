"""Layer normalization, unit norm and a bias of their own."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib.layers import bias_add, layer_norm, unit_norm

np.random.seed(6)
X = np.random.normal(1, 3, [5, 6])
x = tf.placeholder(tf.float32, [None, 6])
w = tf.Variable(np.random.normal(size=[6, 6]), dtype=tf.float32)
normed = layer_norm(tf.matmul(x, w), activation_fn=tf.nn.relu)
out = unit_norm(bias_add(normed, initializer=tf.constant_initializer(0.1)), 1)
loss = tf.reduce_sum(tf.square(out - 0.5))
train = tf.train.GradientDescentOptimizer(0.05).minimize(loss)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(5):
        print("%.6f" % sess.run([train, loss], {x: X})[1])
