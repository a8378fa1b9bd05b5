"""A small convolutional network of slim's layers, with weight decay."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib import slim

np.random.seed(2)
IMAGES = np.random.rand(6, 8, 8, 1)
LABELS = np.random.randint(4, size=6)


def start(*shape):
    return tf.constant_initializer(np.random.normal(0, 0.3, shape))


x = tf.placeholder(tf.float32, [None, 8, 8, 1])
with slim.arg_scope(
    [slim.conv2d, slim.fully_connected], weights_regularizer=slim.l2_regularizer(0.01)
):
    net = slim.conv2d(x, 4, [3, 3], weights_initializer=start(3, 3, 1, 4))
    net = slim.max_pool2d(net, [2, 2])
    net = slim.conv2d(net, 5, 3, stride=2, padding="VALID", weights_initializer=start(3, 3, 4, 5))
    net = slim.avg_pool2d(net, 1, stride=1)
    net = slim.flatten(net)
    net = slim.dropout(net, 0.5, is_training=False)
    scores = slim.fully_connected(net, 4, activation_fn=None, weights_initializer=start(5, 4))
tf.losses.sparse_softmax_cross_entropy(LABELS, scores)
loss = tf.losses.get_total_loss()
train = slim.learning.create_train_op(loss, tf.train.MomentumOptimizer(0.1, 0.9))
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(5):
        print("%.8f" % sess.run(train, {x: IMAGES}))
