"""Resource variables: Adam on a network, gradient descent on its temperature, in one run."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(13)
ROWS, INPUTS, CLASSES = 10, 6, 4

X = tf.placeholder(tf.float32, [None, INPUTS], name="X")
labels = tf.placeholder(tf.float32, [None, CLASSES], name="labels")
W = tf.get_variable(
    "W", initializer=rng.randn(INPUTS, CLASSES).astype("float32"), use_resource=True
)
b = tf.get_variable("b", initializer=np.zeros(CLASSES, "float32"), use_resource=True)
log_heat = tf.get_variable("log_heat", initializer=np.float32(0.5), use_resource=True)

logits = (tf.matmul(X, W) + b) / tf.exp(log_heat)
entropy = -tf.reduce_sum(labels * tf.log(tf.nn.softmax(logits) + 1e-9), axis=1)
loss = tf.reduce_mean(entropy, name="loss")
train_network = tf.train.AdamOptimizer(0.05, beta2=0.99).minimize(
    loss, var_list=[W, b], name="train_network"
)
train_heat = tf.train.GradientDescentOptimizer(0.1).minimize(
    loss, var_list=[log_heat], name="train_heat"
)

centers = rng.randn(CLASSES, INPUTS)
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(20):
        batch = rng.randint(0, CLASSES, ROWS)
        feed = {X: centers[batch] + 0.3 * rng.randn(ROWS, INPUTS), labels: np.eye(CLASSES)[batch]}
        fetches = [train_network, loss] if step % 5 else [train_network, train_heat, loss]
        print(session.run(fetches, feed)[-1])
