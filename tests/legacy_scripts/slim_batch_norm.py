"""slim's batch normalization: trained on batches, then applied with its moving averages."""

import numpy as np
import tensorflow as tf

slim = tf.contrib.slim
np.random.seed(3)
X = np.random.normal(3, 2, [32, 5])
W = np.random.normal(size=[5, 4])
x = tf.placeholder(tf.float32, [None, 5])


def network(is_training, reuse=None):
    normalizer = {"is_training": is_training, "decay": 0.8, "scale": True}
    with slim.arg_scope([slim.batch_norm], **normalizer):
        return slim.fully_connected(
            x, 4, normalizer_fn=slim.batch_norm, scope="layer", reuse=reuse,
            weights_initializer=tf.constant_initializer(W),
        )  # fmt: skip


loss = tf.reduce_mean(tf.square(network(True) - 1.0))
tested = tf.reduce_mean(tf.square(network(False, reuse=True) - 1.0))
with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
    train = tf.train.AdamOptimizer(0.05).minimize(loss)
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for step in range(5):
        _, now = sess.run([train, loss], {x: X})
        print(step, "%.7f %.7f" % (now, sess.run(tested, {x: X})))
