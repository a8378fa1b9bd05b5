"""tf.layers: a convolutional network with batch normalization."""

import numpy as np
import tensorflow as tf

np.random.seed(19)
X = np.random.rand(6, 8, 8, 1)
Y = np.random.randint(3, size=6)
x, training = tf.placeholder(tf.float32, [None, 8, 8, 1]), tf.placeholder(tf.bool)


def start(*shape):
    return tf.constant_initializer(np.random.normal(0, 0.3, shape))


net = tf.layers.conv2d(x, 4, 3, padding="same", kernel_initializer=start(3, 3, 1, 4))
net = tf.layers.batch_normalization(net, training=training, momentum=0.7)
net = tf.layers.max_pooling2d(tf.nn.relu(net), 2, 2)
net = tf.layers.average_pooling2d(net, 2, 2)
net = tf.layers.dropout(tf.layers.flatten(net), 0.5, training=False)
scores = tf.layers.dense(net, 3, kernel_initializer=start(16, 3))
loss = tf.losses.sparse_softmax_cross_entropy(Y, scores)
with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
    train = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for _ in range(5):
        _, now = sess.run([train, loss], {x: X, training: True})
        print("%.7f %.6f" % (now, sess.run(loss, {x: X, training: False})))
