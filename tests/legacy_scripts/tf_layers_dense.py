"""tf.layers: dense layers, functions and objects."""

import numpy as np
import tensorflow as tf

np.random.seed(18)
X = np.linspace(-1, 1, 30)[:, np.newaxis]
Y = X**2 + np.random.normal(0, 0.1, X.shape)
x, y = tf.placeholder(tf.float32, X.shape), tf.placeholder(tf.float32, Y.shape)
start = tf.constant_initializer(np.random.normal(size=[1, 10]))
hidden = tf.layers.dense(x, 10, tf.nn.relu, kernel_initializer=start, name="hidden")
out = tf.layers.Dense(1, kernel_initializer=tf.constant_initializer(0.1))(hidden)
hidden_again = tf.layers.dense(x, 10, name="hidden", reuse=True)
loss = tf.losses.mean_squared_error(y, out)
train = tf.train.GradientDescentOptimizer(0.2).minimize(loss)
print([v.op.name for v in tf.trainable_variables()])
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(5):
        print("%.8f" % sess.run([train, loss], {x: X, y: Y})[1])
    print("%.6f" % sess.run(hidden_again, {x: X}).sum())
