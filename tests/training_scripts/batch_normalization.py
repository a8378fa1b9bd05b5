"""Batch normalization by hand, with moving averages that are updated in the same run, RMSProp."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(8)
ROWS, INPUTS, HIDDEN, CLASSES = 9, 5, 6, 3

X = tf.placeholder(tf.float32, [None, INPUTS], name="X")
labels = tf.placeholder(tf.int32, [None], name="labels")
W1 = tf.Variable(rng.randn(INPUTS, HIDDEN).astype("float32"), name="W1")
gamma = tf.Variable(np.ones(HIDDEN, "float32"), name="gamma")
beta = tf.Variable(np.zeros(HIDDEN, "float32"), name="beta")
W2 = tf.Variable(rng.randn(HIDDEN, CLASSES).astype("float32"), name="W2")
moving_mean = tf.Variable(np.zeros(HIDDEN, "float32"), trainable=False, name="moving_mean")
moving_variance = tf.Variable(np.ones(HIDDEN, "float32"), trainable=False, name="moving_variance")

z = tf.matmul(X, W1)
mean, variance = tf.nn.moments(z, [0])
normal = tf.nn.batch_normalization(z, mean, variance, beta, gamma, 1e-3)
logits = tf.matmul(tf.nn.softplus(normal), W2)
loss = tf.reduce_mean(
    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), name="loss"
)
moves = [
    tf.assign(moving_mean, 0.9 * moving_mean + 0.1 * mean),
    tf.assign_sub(moving_variance, 0.1 * (moving_variance - variance)),
]
with tf.control_dependencies(moves):
    train = tf.train.RMSPropOptimizer(0.01, decay=0.8, epsilon=1e-6).minimize(loss, name="train")

centers = rng.randn(CLASSES, INPUTS)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(20):
        batch = rng.randint(0, CLASSES, ROWS)
        feed = {X: centers[batch] + 0.5 * rng.randn(ROWS, INPUTS), labels: batch}
        print(session.run([train, loss], feed)[1])
