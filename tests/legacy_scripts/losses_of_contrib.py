"""Each loss of tf.contrib.losses, and their total."""

import numpy as np
import tensorflow as tf
import tensorflow.contrib.losses as losses

np.random.seed(12)
guess = tf.constant(np.random.rand(4, 3), tf.float32)
truth = tf.constant(np.eye(3)[[0, 1, 2, 0]], tf.float32)
each = [
    losses.absolute_difference(guess, truth),
    losses.mean_squared_error(guess, truth, weights=2.0),
    losses.mean_pairwise_squared_error(guess, truth),
    losses.log_loss(guess, truth),
    losses.hinge_loss(guess, truth),
    losses.sigmoid_cross_entropy(guess, truth),
    losses.softmax_cross_entropy(guess, truth, label_smoothing=0.1),
    losses.sparse_softmax_cross_entropy(guess, [0, 1, 2, 0]),
    losses.cosine_distance(tf.nn.l2_normalize(guess, 1), truth, axis=1),
    losses.get_total_loss(),
]
with tf.Session() as sess:
    for value in sess.run([tf.reduce_sum(value) for value in each]):
        print("%.6f" % value)
