"""A dynamic recurrent network of GRU cells, with sequences of their own lengths."""

import numpy as np
import tensorflow as tf

np.random.seed(15)
X = np.random.normal(size=[6, 7, 2])
LENGTHS = np.random.randint(1, 8, size=6)
x, lengths = tf.placeholder(tf.float32, [None, 7, 2]), tf.placeholder(tf.int32, [None])
cell = tf.nn.rnn_cell.GRUCell(3, kernel_initializer=tf.constant_initializer(0.3))
outputs, state = tf.nn.dynamic_rnn(cell, x, sequence_length=lengths, dtype=tf.float32)
loss = tf.reduce_mean(tf.square(tf.reduce_sum(state, 1) - 1.0))
optimizer = tf.train.AdamOptimizer(0.02)
gradients, variables = zip(*optimizer.compute_gradients(loss))
gradients, norm = tf.clip_by_global_norm(gradients, 0.5)
train = optimizer.apply_gradients(zip(gradients, variables))
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(5):
        print("%.6f %.5f" % tuple(sess.run([train, loss, norm], {x: X, lengths: LENGTHS})[1:]))
