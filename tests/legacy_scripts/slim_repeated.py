"""slim.repeat, slim.stack, and variables of slim."""

import numpy as np
import tensorflow as tf
import tensorflow.contrib.slim as slim

np.random.seed(4)
x = tf.placeholder(tf.float32, [None, 4])
start = tf.constant_initializer(np.random.normal(size=[4, 4]))
with slim.arg_scope([slim.fully_connected], weights_initializer=start):
    net = slim.repeat(x, 2, slim.fully_connected, 4, scope="twice")
    net = slim.stack(net, slim.fully_connected, [4, 4], scope="stack")
offset = slim.model_variable("offset", shape=[4], initializer=tf.ones_initializer())
total = tf.reduce_sum(net + offset)
print([v.op.name for v in slim.get_model_variables()])
print([v.op.name for v in slim.get_variables_by_suffix("biases")])
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    print("%.6f" % sess.run(total, {x: np.random.rand(3, 4)}))
