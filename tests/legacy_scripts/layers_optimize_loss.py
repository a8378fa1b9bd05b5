"""tf.contrib.layers.optimize_loss: clipped gradients and a decaying learning rate."""

import numpy as np
import tensorflow as tf

np.random.seed(7)
X = np.random.rand(12, 4)
Y = np.random.rand(12, 2) * 10
x, y = tf.placeholder(tf.float32, [None, 4]), tf.placeholder(tf.float32, [None, 2])
w = tf.Variable(np.random.rand(4, 2), dtype=tf.float32, name="w")
loss = tf.losses.mean_squared_error(y, tf.matmul(x, w))
step = tf.train.get_or_create_global_step()
train = tf.contrib.layers.optimize_loss(
    loss, step, learning_rate=0.5, optimizer="SGD", clip_gradients=2.0,
    learning_rate_decay_fn=lambda rate, at: tf.train.exponential_decay(rate, at, 2, 0.5),
)  # fmt: skip
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(6):
        print("%.7f" % sess.run(train, {x: X, y: Y}), sess.run(step))
