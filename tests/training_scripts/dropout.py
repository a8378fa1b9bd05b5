"""A regression with dropout and noise on its inputs, gradient descent."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(7)
tf.set_random_seed(7)
ROWS, INPUTS, HIDDEN = 10, 5, 12

X = tf.placeholder(tf.float32, [None, INPUTS], name="X")
Y = tf.placeholder(tf.float32, [None, 1], name="Y")
keep_prob = tf.placeholder(tf.float32, name="keep_prob")
W1 = tf.Variable(rng.randn(INPUTS, HIDDEN).astype("float32"), name="W1")
b1 = tf.Variable(np.zeros(HIDDEN, "float32"), name="b1")
W2 = tf.Variable((0.3 * rng.randn(HIDDEN, 1)).astype("float32"), name="W2")

noisy = X + tf.random_normal(tf.shape(X), stddev=0.1)
hidden = tf.nn.dropout(tf.nn.elu(tf.matmul(noisy, W1) + b1), keep_prob)
loss = tf.losses.mean_squared_error(Y, tf.matmul(hidden, W2))
train = tf.train.GradientDescentOptimizer(0.02).minimize(loss, name="train")

batch = rng.randn(ROWS, INPUTS)
feed = {X: batch, Y: np.tanh(batch[:, :1] - batch[:, 1:2]), keep_prob: 0.8}
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(25):
        print(session.run([train, loss], feed)[1])
