"""A small convolutional network: two convolutions, max pooling and average pooling, Adam."""

import numpy as np
import tensorflow as tf

rng = np.random.RandomState(3)
ROWS, SIDE, CLASSES = 4, 8, 3


def variable(name, *shape):
    return tf.Variable((0.4 * rng.randn(*shape)).astype("float32"), name=name)


images = tf.placeholder(tf.float32, [None, SIDE, SIDE, 2], name="images")
labels = tf.placeholder(tf.float32, [None, CLASSES], name="labels")

first = tf.nn.conv2d(images, variable("filter_1", 3, 3, 2, 4), [1, 1, 1, 1], "SAME")
first = tf.nn.relu(tf.nn.bias_add(first, variable("bias_1", 4)))
first = tf.nn.max_pool(first, [1, 2, 2, 1], [1, 2, 2, 1], "SAME")
second = tf.nn.conv2d(first, variable("filter_2", 3, 3, 4, 6), [1, 1, 1, 1], "VALID")
second = tf.nn.relu(tf.nn.bias_add(second, variable("bias_2", 6)))
second = tf.nn.avg_pool(second, [1, 2, 2, 1], [1, 1, 1, 1], "VALID")
flat = tf.reshape(second, [-1, 6])
logits = tf.matmul(flat, variable("W", 6, CLASSES)) + variable("b", CLASSES)
loss = tf.reduce_mean(
    tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits), name="loss"
)
train = tf.train.AdamOptimizer(0.05).minimize(loss, name="train")

batches = [
    (rng.randn(ROWS, SIDE, SIDE, 2), np.eye(CLASSES)[rng.randint(0, CLASSES, ROWS)])
    for _ in range(3)
]
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for step in range(18):
        batch, label = batches[step % 3]
        print(session.run([train, loss], {images: batch, labels: label})[1])
