"""The graph of the article with a rate of 0.01: three Adams, trained alternately and jointly."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(14)

X = tf.placeholder("float", [10, 10], name="X")
Y1 = tf.placeholder("float", [10, 20], name="Y1")
Y2 = tf.placeholder("float", [10, 20], name="Y2")
shared_layer_weights = tf.Variable(rng.rand(10, 20), name="share_W", dtype="float32")
Y1_layer_weights = tf.Variable(rng.rand(20, 20), name="share_Y1", dtype="float32")
Y2_layer_weights = tf.Variable(rng.rand(20, 20), name="share_Y2", dtype="float32")
shared_layer = tf.nn.relu(tf.matmul(X, shared_layer_weights))
Y1_layer = tf.nn.relu(tf.matmul(shared_layer, Y1_layer_weights))
Y2_layer = tf.nn.relu(tf.matmul(shared_layer, Y2_layer_weights))
Y1_Loss = tf.nn.l2_loss(Y1 - Y1_layer)
Y2_Loss = tf.nn.l2_loss(Y2 - Y2_layer)
Joint_Loss = Y1_Loss + Y2_Loss
Optimiser = tf.train.AdamOptimizer(0.01).minimize(Joint_Loss)
Y1_op = tf.train.AdamOptimizer(0.01).minimize(Y1_Loss)
Y2_op = tf.train.AdamOptimizer(0.01).minimize(Y2_Loss)

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    feed = {X: rng.rand(10, 10) * 10, Y1: rng.rand(10, 20) * 10, Y2: rng.rand(10, 20) * 10}
    for step in range(12):
        op, loss = [(Optimiser, Joint_Loss), (Y1_op, Y1_Loss), (Y2_op, Y2_Loss)][step % 3]
        print(step % 3, session.run([op, loss], feed)[1])
