"""A static recurrent network of tf.contrib.rnn's LSTM cells."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib import rnn

np.random.seed(14)
X = np.random.normal(size=[8, 5, 3])
Y = np.eye(2)[np.random.randint(2, size=8)]
x, y = tf.placeholder(tf.float32, [None, 5, 3]), tf.placeholder(tf.float32, [None, 2])
w = tf.Variable(np.random.normal(size=[4, 2]), dtype=tf.float32)
with tf.variable_scope("lstm", initializer=tf.constant_initializer(np.random.rand(7, 16) - 0.5)):
    cell = rnn.BasicLSTMCell(4, forget_bias=1.0)
    outputs, states = rnn.static_rnn(cell, tf.unstack(x, 5, 1), dtype=tf.float32)
scores = tf.matmul(outputs[-1], w)
loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(logits=scores, labels=y))
train = tf.train.AdamOptimizer(0.05).minimize(loss)
print([v.op.name for v in tf.trainable_variables()], type(states).__name__)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(5):
        print("%.7f" % sess.run([train, loss], {x: X, y: Y})[1])
