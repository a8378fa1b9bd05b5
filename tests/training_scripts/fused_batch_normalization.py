"""Convolutions with `tf.nn.fused_batch_norm`, a depth reduced by its mean, Momentum."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(9)
ROWS, SIDE, CHANNELS, DEPTH = 3, 5, 2, 4

images = tf.placeholder(tf.float32, [None, SIDE, SIDE, CHANNELS], name="images")
targets = tf.placeholder(tf.float32, [None, DEPTH], name="targets")
kernel = tf.Variable(rng.randn(3, 3, CHANNELS, DEPTH).astype("float32"), name="kernel")
scale = tf.Variable(np.ones(DEPTH, "float32"), name="scale")
offset = tf.Variable(np.zeros(DEPTH, "float32"), name="offset")
moving_mean = tf.Variable(np.zeros(DEPTH, "float32"), trainable=False, name="moving_mean")

z = tf.nn.conv2d(images, kernel, [1, 2, 2, 1], "SAME")
normal, mean, _ = tf.nn.fused_batch_norm(z, scale, offset, epsilon=1e-3)
output = tf.reduce_mean(tf.nn.relu(normal), [1, 2])
loss = tf.reduce_sum(tf.squared_difference(output, targets), name="loss")
minimize = tf.train.MomentumOptimizer(0.05, 0.8).minimize(loss)
with tf.control_dependencies([minimize]):
    train = tf.assign_add(moving_mean, 0.1 * (mean - moving_mean), name="train")

batch = rng.randn(ROWS, SIDE, SIDE, CHANNELS)
feed = {images: batch, targets: rng.rand(ROWS, DEPTH)}
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(15):
        print(session.run([train.op, loss], feed)[1])
