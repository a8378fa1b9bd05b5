"""Losses that are chosen by `tf.cond` and `tf.where`, layer normalization, gathers, two Adams."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(12)
ROWS, INPUTS, HIDDEN, ITEMS = 7, 5, 6, 4


def variable(name, *shape):
    return tf.Variable((0.6 * rng.randn(*shape)).astype("float32"), name=name)


X = tf.placeholder(tf.float32, [None, INPUTS], name="X")
items = tf.placeholder(tf.int32, [None], name="items")
rewards = tf.placeholder(tf.float32, [None], name="rewards")
is_robust = tf.placeholder(tf.bool, [], name="is_robust")

z = tf.matmul(X, variable("W1", INPUTS, HIDDEN)) + variable("b1", HIDDEN)
mean = tf.reduce_mean(z, axis=1, keepdims=True)
variance = tf.reduce_mean(tf.squared_difference(z, mean), axis=1, keepdims=True)
gain, bias = tf.Variable(np.ones(HIDDEN, "float32"), name="gain"), variable("bias", HIDDEN)
hidden = tf.maximum((z - mean) * tf.rsqrt(variance + 1e-5) * gain + bias, 0.1 * z)

values = tf.matmul(hidden, variable("W2", HIDDEN, ITEMS))
chosen = tf.reduce_sum(values * tf.one_hot(items, ITEMS), axis=1)
prices = tf.gather(variable("prices", ITEMS), items)
error = chosen + prices - rewards
size = tf.abs(error)
huber = tf.where(size < 1.0, 0.5 * tf.square(error), size - 0.5)
value_loss = tf.cond(
    is_robust, lambda: tf.reduce_mean(huber), lambda: 0.5 * tf.reduce_mean(tf.square(error))
)
logits = tf.matmul(tf.stop_gradient(hidden), variable("W3", HIDDEN, ITEMS))
picked = tf.gather_nd(
    tf.nn.log_softmax(logits), tf.stack([tf.range(tf.shape(items)[0]), items], axis=1)
)
policy_loss = -tf.reduce_mean(picked)
train_values = tf.train.AdamOptimizer(0.02).minimize(value_loss, name="train_values")
train_policy = tf.train.AdamOptimizer(0.1, epsilon=1e-5).minimize(policy_loss, name="train_policy")

batch = rng.randn(ROWS, INPUTS)
feed = {X: batch, items: rng.randint(0, ITEMS, ROWS), rewards: 2 * rng.randn(ROWS)}
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(20):
        feed[is_robust] = step % 4 >= 2
        if step % 2:
            print("policy", session.run([train_policy, policy_loss], feed)[1])
        else:
            fetches = [train_values, train_policy, value_loss]
            print("values", session.run(fetches, feed)[2])
