"""A recurrent classifier by `tf.nn.dynamic_rnn` and `BasicLSTMCell`, Adam, clipped gradients.

It needs TensorFlow 1, or tf-keras under 2.16 and later.
"""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(6)
BATCH, STEPS, INPUTS, UNITS, CLASSES = 3, 5, 2, 4, 3

X = tf.placeholder(tf.float32, [None, STEPS, INPUTS], name="X")
lengths = tf.placeholder(tf.int32, [None], name="lengths")
labels = tf.placeholder(tf.int32, [None], name="labels")
cell = tf.nn.rnn_cell.BasicLSTMCell(UNITS)
_, state = tf.nn.dynamic_rnn(cell, X, sequence_length=lengths, dtype=tf.float32)
W = tf.Variable(rng.randn(UNITS, CLASSES).astype("float32"), name="W")
b = tf.Variable(np.zeros(CLASSES, "float32"), name="b")
logits = tf.matmul(state.h, W) + b
loss = tf.reduce_mean(
    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), name="loss"
)
optimizer = tf.train.AdamOptimizer(0.05)
clipped = [(tf.clip_by_norm(g, 1.0), v) for g, v in optimizer.compute_gradients(loss)]
train = optimizer.apply_gradients(clipped, name="train")

batch = rng.randn(BATCH, STEPS, INPUTS)
feed = {X: batch, lengths: [5, 2, 3], labels: [0, 2, 1]}
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for variable in tf.trainable_variables():
        if "lstm" in variable.name:
            value = 0.5 * rng.randn(*variable.shape.as_list())
            session.run(variable.assign(value.astype("float32")))
    for _ in range(15):
        print(session.run([train, loss], feed)[1])
