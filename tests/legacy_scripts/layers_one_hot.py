"""One-hot labels, and the other loss functions of a classifier."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib import layers

np.random.seed(9)
labels = layers.one_hot_encoding([0, 2, 1], 3)
scores = tf.constant(np.random.normal(size=[3, 3]), tf.float32)
repeated = layers.repeat(tf.expand_dims(scores, 0), 2, layers.unit_norm, 2)
softmax = layers.softmax(scores)
flat = layers.flatten(repeated)
with tf.Session() as sess:
    print(sess.run(labels).tolist())
    print(" ".join("%.7f" % each for each in sess.run(softmax).ravel()))
    print(sess.run(flat).shape, "%.6f" % sess.run(tf.reduce_sum(flat)))
