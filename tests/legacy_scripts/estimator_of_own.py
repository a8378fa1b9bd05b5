"""An estimator with a model function of its own."""

import tempfile

import numpy as np
import tensorflow as tf

np.random.seed(23)
X = np.random.rand(16, 3).astype(np.float32)
Y = np.random.randint(2, size=16)


def model(features, labels, mode):
    start = tf.constant_initializer(0.1)
    scores = tf.layers.dense(features["x"], 2, kernel_initializer=start)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, scores)
    step = tf.train.get_global_step()
    train = tf.train.GradientDescentOptimizer(0.5).minimize(loss, global_step=step)
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train)


with tempfile.TemporaryDirectory() as folder:
    estimator = tf.estimator.Estimator(model, model_dir=folder)
    data = tf.estimator.inputs.numpy_input_fn({"x": X}, Y, 16, num_epochs=None, shuffle=False)
    estimator.train(data, steps=5)
    once = tf.estimator.inputs.numpy_input_fn({"x": X}, Y, 16, shuffle=False)
    print("%.6f" % estimator.evaluate(once)["loss"])
