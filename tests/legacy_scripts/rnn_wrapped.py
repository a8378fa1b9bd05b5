"""Cells in layers, with dropout that keeps all, and residual connections."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib.rnn import (
    BasicRNNCell,
    DropoutWrapper,
    GRUCell,
    LSTMStateTuple,
    MultiRNNCell,
    ResidualWrapper,
)

np.random.seed(17)
X = np.random.normal(size=[4, 5, 3])
x = tf.placeholder(tf.float32, [4, 5, 3])
cells = [BasicRNNCell(3), ResidualWrapper(GRUCell(3)), tf.nn.rnn_cell.LSTMCell(2)]
cell = MultiRNNCell([DropoutWrapper(each, output_keep_prob=1.0) for each in cells])
with tf.variable_scope("stack", initializer=tf.constant_initializer(0.25)):
    outputs, states = tf.nn.dynamic_rnn(
        cell, x, initial_state=cell.zero_state(4, tf.float32), dtype=tf.float32
    )
loss = tf.reduce_mean(tf.square(outputs - 0.5))
train = tf.train.AdamOptimizer(0.05).minimize(loss)
print(isinstance(states[-1], LSTMStateTuple), cell.output_size)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(4):
        print("%.7f" % sess.run([train, loss], {x: X})[1])
