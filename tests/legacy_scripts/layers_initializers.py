"""Initializers of tf.contrib.layers: how far they spread; the numbers drawn are TensorFlow's."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib.layers import variance_scaling_initializer, xavier_initializer

tf.set_random_seed(1)
uniform = tf.get_variable("uniform", [50, 70], initializer=xavier_initializer())
normal = tf.get_variable("normal", [50, 70], initializer=xavier_initializer(uniform=False))
kernel = tf.get_variable(
    "kernel", [3, 3, 8, 8], initializer=tf.contrib.layers.xavier_initializer_conv2d()
)
he = tf.get_variable("he", [50, 70], initializer=variance_scaling_initializer())
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for variable, variance in ((uniform, 1 / 60), (normal, 1 / 60), (kernel, 1 / 72), (he, 1 / 25)):
        value = sess.run(variable)
        spread = value.std() / np.sqrt(variance)
        print(variable.op.name, value.dtype, 0.9 < spread < 1.1, abs(value.mean()) < 0.02)
