"""Two LSTM cells, forward and backward, static and dynamic."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib import rnn
from tensorflow.contrib.rnn import LSTMCell

np.random.seed(16)
X = np.random.normal(size=[4, 6, 3])
x = tf.placeholder(tf.float32, [None, 6, 3])
start = tf.constant_initializer(0.2)
forward, backward = rnn.BasicLSTMCell(2), LSTMCell(2, use_peepholes=True)
with tf.variable_scope("both", initializer=start):
    outputs, _, _ = rnn.static_bidirectional_rnn(
        forward, backward, tf.unstack(x, 6, 1), dtype=tf.float32
    )
with tf.variable_scope("dynamic", initializer=start):
    both, _ = tf.nn.bidirectional_dynamic_rnn(LSTMCell(2), LSTMCell(3), x, dtype=tf.float32)
loss = tf.reduce_sum(outputs[0]) + tf.reduce_sum(tf.concat(both, 2))
train = tf.train.GradientDescentOptimizer(0.01).minimize(loss)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(4):
        print("%.6f" % sess.run([train, loss], {x: X})[1])
