"""Confusion matrix, accuracy and sets of tf.contrib.metrics."""

import tensorflow as tf

metrics = tf.contrib.metrics
truth, guess = [0, 1, 2, 2, 1], [0, 2, 2, 2, 1]
matrix = metrics.confusion_matrix(truth, guess)
accuracy = metrics.accuracy(tf.constant(guess), tf.constant(truth))
union = metrics.set_union([[1, 2, 3]], [[3, 4, 4]])
sizes = metrics.set_size(metrics.set_intersection([[1, 2, 3]], [[2, 3, 9]]))
with tf.Session() as sess:
    print(sess.run(matrix).tolist(), "%.6f" % sess.run(accuracy))
    print(sess.run(union).values.tolist(), sess.run(sizes).tolist())
