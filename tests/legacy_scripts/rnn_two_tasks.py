"""A shared LSTM encoder and a decoder for each of two tasks; a second model reuses the weights."""

import argparse

import numpy as np
import tensorflow as tf
import tensorflow.python.platform
from tensorflow import Session
from tensorflow.contrib import rnn

ROWS, STEPS, WORDS, TAGS = 4, 6, 11, {"pos": 5, "chunk": 3}
parser = argparse.ArgumentParser()
parser.add_argument("--model", default="joint")
model = parser.parse_args([]).model
rng = np.random.RandomState(31)


def from_numpy(shape, dtype=None, partition_info=None):
    return rng.uniform(-0.3, 0.3, [int(size) for size in shape]).astype("float32")


def layer(inputs, size, keep, scope):
    cell = rnn.BasicLSTMCell(size, forget_bias=1.0, reuse=tf.get_variable_scope().reuse)
    cell = rnn.DropoutWrapper(cell, output_keep_prob=keep)
    return tf.nn.dynamic_rnn(cell, inputs, dtype=tf.float32, scope=scope)[0]


class Model:
    def __init__(self, is_training):
        self.words = tf.placeholder(tf.int32, [ROWS, STEPS])
        embedding = tf.get_variable("embedding", [WORDS, 4])
        inputs = tf.nn.embedding_lookup(embedding, self.words)
        shared = layer(inputs, 7, 1.0, "encoder")
        self.tags, self.loss, self.right = {}, {}, {}
        for task in ("pos", "chunk"):
            with tf.variable_scope(task + "_decoder"):
                output = tf.reshape(layer(shared, 6, 1.0, "rnn"), [-1, 6])
                weights = tf.get_variable("softmax_w", [6, TAGS[task]])
                logits = tf.matmul(output, weights) + tf.get_variable("softmax_b", [TAGS[task]])
            self.tags[task] = tf.placeholder(tf.float32, [ROWS * STEPS, TAGS[task]])
            each = tf.nn.softmax_cross_entropy_with_logits(logits=logits, labels=self.tags[task])
            self.loss[task] = tf.reduce_mean(each)
            found, wanted = tf.nn.top_k(logits, 1)[1], tf.nn.top_k(self.tags[task], 1)[1]
            self.right[task] = tf.reduce_sum(tf.cast(tf.equal(found, wanted), tf.float32))
            # What one task predicts is an input of the next.
            predicted = tf.reshape(tf.nn.softmax(logits), [ROWS, STEPS, TAGS[task]])
            shared = tf.concat([predicted, shared], 2)
        self.loss["joint"] = self.loss["pos"] + self.loss["chunk"]
        if is_training:
            self.train = {task: self.optimize(self.loss[task]) for task in sorted(self.loss)}

    def optimize(self, loss):
        variables = tf.trainable_variables()
        gradients, _ = tf.clip_by_global_norm(tf.gradients(loss, variables), 5)
        return tf.train.AdamOptimizer(0.01).apply_gradients(zip(gradients, variables))


def batch():
    words = rng.randint(0, WORDS, [ROWS, STEPS])
    return words, {
        task: np.vstack([np.eye(TAGS[task])[row % TAGS[task]] for row in words]) for task in TAGS
    }


with tf.Graph().as_default(), Session() as session:
    with tf.variable_scope("model", reuse=None, initializer=from_numpy):
        trained = Model(is_training=True)
    with tf.variable_scope("model", reuse=True, initializer=from_numpy):
        tested = Model(is_training=False)
    tf.initialize_all_variables().run()
    print(sorted(variable.name for variable in tf.trainable_variables()))
    for step in range(6):
        words, tags = batch()
        task = ("pos", "chunk", model)[step % 3]
        feeds = {trained.words: words, trained.tags["pos"]: tags["pos"]}
        feeds[trained.tags["chunk"]] = tags["chunk"]
        print("%s %.7f" % (task, session.run([trained.train[task], trained.loss[task]], feeds)[1]))
    words, tags = batch()
    feeds = {tested.words: words, tested.tags["pos"]: tags["pos"]}
    feeds[tested.tags["chunk"]] = tags["chunk"]
    losses, op = session.run([tested.loss, tf.no_op()], feeds)
    print("tested %.7f %.7f" % (losses["pos"], losses["chunk"]))
