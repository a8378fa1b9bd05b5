"""Saved variables, read by name, and put into another graph."""

import os
import tempfile

import numpy as np
import tensorflow as tf
from tensorflow.contrib.framework import list_variables, load_variable

np.random.seed(11)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "model")
    w = tf.Variable(np.random.rand(2, 3), dtype=tf.float32, name="w")
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        tf.train.Saver().save(sess, path)
    print(list_variables(path))
    print(" ".join("%.7f" % each for each in load_variable(path, "w").ravel()))
    other = tf.get_variable("other", [2, 3])
    restore = tf.contrib.framework.assign_from_checkpoint_fn(path, {"w": other})
    with tf.Session() as sess:
        restore(sess)
        print("%.7f" % sess.run(other).sum())
