"""Logistic regression on sparse features with Ftrl, whose L1 term keeps weights at zero."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(10)
ROWS, FEATURES = 16, 12

X = tf.placeholder(tf.float32, [None, FEATURES], name="X")
Y = tf.placeholder(tf.float32, [None, 1], name="Y")
W = tf.Variable(np.zeros((FEATURES, 1), "float32"), name="W")
b = tf.Variable(np.zeros(1, "float32"), name="b")
logits = tf.matmul(X, W) + b
loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=Y, logits=logits))
optimizer = tf.train.FtrlOptimizer(
    0.3, l1_regularization_strength=0.02, l2_regularization_strength=0.01
)
train = optimizer.minimize(loss, name="train")

right = rng.randn(FEATURES, 1) * (np.arange(FEATURES) < 4)[:, None]
batch = (rng.rand(ROWS, FEATURES) < 0.4).astype(float)
feed = {X: batch, Y: batch.dot(right) > 0}
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(20):
        print(session.run([train, loss], feed)[1])
