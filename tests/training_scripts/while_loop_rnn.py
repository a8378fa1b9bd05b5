"""A recurrent network over sequences of several lengths, in a `tf.while_loop`, Adam."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(5)
BATCH, STEPS, INPUTS, UNITS = 3, 6, 2, 5


def variable(name, *shape):
    return tf.Variable((0.6 * rng.randn(*shape)).astype("float32"), name=name)


X = tf.placeholder(tf.float32, [None, None, INPUTS], name="X")
lengths = tf.placeholder(tf.int32, [None], name="lengths")
targets = tf.placeholder(tf.float32, [None, 1], name="targets")
W, U, b = variable("W", INPUTS, UNITS), variable("U", UNITS, UNITS), variable("b", UNITS)
V = variable("V", UNITS, 1)

steps = tf.shape(X)[1]
inputs = tf.TensorArray(tf.float32, steps).unstack(tf.transpose(X, [1, 0, 2]))
outputs = tf.TensorArray(tf.float32, steps)


def body(t, state, outputs):
    moved = tf.tanh(tf.matmul(inputs.read(t), W) + tf.matmul(state, U) + b)
    moved = tf.where(t < lengths, moved, state)
    return t + 1, moved, outputs.write(t, moved)


start = tf.zeros([tf.shape(X)[0], UNITS])
_, last, outputs = tf.while_loop(lambda t, *_: t < steps, body, (tf.constant(0), start, outputs))
mean = tf.reduce_mean(outputs.stack(), axis=0)
loss = tf.reduce_mean(tf.square(tf.matmul(last + mean, V) - targets), name="loss")
train = tf.train.AdamOptimizer(0.03).minimize(loss, name="train")

feeds = []
for length in (STEPS, STEPS - 1):
    batch = rng.randn(BATCH, length, INPUTS)
    target = np.tanh(batch.sum((1, 2)))[:, None]
    feeds.append({X: batch, lengths: rng.randint(2, length + 1, BATCH), targets: target})
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(16):
        print(session.run([train, loss], feeds[step % 2])[1])
