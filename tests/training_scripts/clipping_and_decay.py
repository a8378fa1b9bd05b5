"""A classifier with weight decay, clipping by global norm, and a rate that decays."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(2)
ROWS, INPUTS, HIDDEN, CLASSES = 12, 7, 9, 4

X = tf.placeholder(tf.float32, [None, INPUTS], name="X")
labels = tf.placeholder(tf.int64, [None], name="labels")
W1 = tf.Variable(rng.randn(INPUTS, HIDDEN).astype("float32"), name="W1")
b1 = tf.Variable(np.zeros(HIDDEN, "float32"), name="b1")
W2 = tf.Variable(rng.randn(HIDDEN, CLASSES).astype("float32"), name="W2")
b2 = tf.Variable(np.zeros(CLASSES, "float32"), name="b2")

hidden = tf.nn.relu(tf.nn.xw_plus_b(X, W1, b1))
logits = tf.nn.xw_plus_b(hidden, W2, b2)
entropy = tf.reduce_mean(
    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
)
decay = tf.add_n([tf.nn.l2_loss(W) for W in (W1, W2)])
loss = tf.add(entropy, 0.003 * decay, name="loss")

global_step = tf.Variable(0, trainable=False, name="global_step")
rate = tf.train.exponential_decay(0.1, global_step, 5, 0.8, staircase=True)
optimizer = tf.train.MomentumOptimizer(rate, 0.9)
gradients, variables = zip(*optimizer.compute_gradients(loss))
clipped, norm = tf.clip_by_global_norm(gradients, 0.8)
train = optimizer.apply_gradients(zip(clipped, variables), global_step=global_step, name="train")

centers = 2 * rng.randn(CLASSES, INPUTS)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(20):
        batch = rng.randint(0, CLASSES, ROWS)
        feed = {X: centers[batch] + rng.randn(ROWS, INPUTS), labels: batch}
        print(session.run([train, loss, norm, rate], feed)[1])
