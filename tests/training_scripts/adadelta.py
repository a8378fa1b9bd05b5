"""An autoencoder with tied weights, Adadelta."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(11)
ROWS, INPUTS, CODE = 8, 9, 4

X = tf.placeholder(tf.float32, [None, INPUTS], name="X")
W = tf.Variable(rng.uniform(-0.5, 0.5, (INPUTS, CODE)).astype("float32"), name="W")
b = tf.Variable(np.zeros(CODE, "float32"), name="b")
c = tf.Variable(np.zeros(INPUTS, "float32"), name="c")
code = tf.nn.sigmoid(tf.matmul(X, W) + b)
output = tf.nn.sigmoid(tf.matmul(code, W, transpose_b=True) + c)
error = tf.pow(X - output, 2)
loss = tf.reduce_mean(tf.reduce_sum(error, 1), name="loss")
train = tf.train.AdadeltaOptimizer(20.0, rho=0.9, epsilon=1e-5).minimize(loss, name="train")

batch = rng.rand(ROWS, INPUTS)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(20):
        print(session.run([train, loss], {X: batch})[1])
