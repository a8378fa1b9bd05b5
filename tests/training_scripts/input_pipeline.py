"""Batches from `tf.data` in place of feeds: a shuffled data set, gradient descent that slows."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(15)
ROWS, INPUTS, HIDDEN = 24, 4, 8

features = rng.randn(ROWS, INPUTS).astype("float32")
values = np.sin(features.sum(axis=1, keepdims=True)).astype("float32")
data = tf.data.Dataset.from_tensor_slices((features, values))
data = data.shuffle(ROWS, seed=1).repeat().batch(8)
X, Y = tf.data.make_one_shot_iterator(data).get_next()

W1 = tf.Variable(rng.randn(INPUTS, HIDDEN).astype("float32"), name="W1")
b1 = tf.Variable(np.zeros(HIDDEN, "float32"), name="b1")
W2 = tf.Variable((0.5 * rng.randn(HIDDEN, 1)).astype("float32"), name="W2")
hidden = tf.nn.leaky_relu(tf.matmul(X, W1) + b1, alpha=0.1)
loss = tf.reduce_mean(tf.square(tf.matmul(hidden, W2) - Y), name="loss")
global_step = tf.train.get_or_create_global_step()
rate = tf.train.inverse_time_decay(0.02, global_step, 10, 0.5)
train = tf.train.GradientDescentOptimizer(rate).minimize(loss, global_step, name="train")

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(21):
        print(session.run([train, loss])[1])
