"""Metrics that are collected over batches."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib import metrics

np.random.seed(13)
guess, truth = tf.placeholder(tf.int64, [None]), tf.placeholder(tf.int64, [None])
values, updates = metrics.aggregate_metric_map(
    {
        "accuracy": metrics.streaming_accuracy(guess, truth),
        "precision": metrics.streaming_precision(guess, truth),
        "recall": metrics.streaming_recall(guess, truth),
        "mean": metrics.streaming_mean(tf.cast(guess, tf.float32)),
        "error": metrics.streaming_mean_squared_error(guess, truth),
        "auc": metrics.streaming_auc(tf.cast(guess, tf.float32), truth),
    }
)
with tf.Session() as sess:
    sess.run(tf.local_variables_initializer())
    for _ in range(3):
        batch = np.random.randint(2, size=[2, 20])
        sess.run(list(updates.values()), {guess: batch[0], truth: batch[1]})
        found = sess.run(values)
        print(" ".join("%s %.6f" % item for item in sorted(found.items())))
