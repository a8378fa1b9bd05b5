"""The step in Keras 3 on TensorFlow: a traced function, and `train_on_batch`."""

from typing import Any, Callable

import keras
import numpy as np
import tensorflow as tf

from tf1_mtl.scale.bench.problem import ADAM, Problem


def _adam() -> Any:
    rate, beta1, beta2, epsilon = map(float, ADAM)
    return keras.optimizers.Adam(rate, beta1, beta2, epsilon)


def function(problem: Problem) -> Callable[[], np.ndarray]:
    """`tf.function`, `GradientTape` and Keras's Adam."""
    weights = [tf.Variable(array) for array in problem.weights]
    adam = _adam()
    adam.build(weights)

    @tf.function
    def step(X: Any, Y1: Any, Y2: Any) -> Any:
        with tf.GradientTape() as tape:
            shared = tf.nn.relu(X @ weights[0])
            loss = tf.nn.l2_loss(Y1 - tf.nn.relu(shared @ weights[1]))
            loss += tf.nn.l2_loss(Y2 - tf.nn.relu(shared @ weights[2]))
        adam.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    batches = [tuple(map(tf.constant, arrays)) for arrays in zip(*problem[2:])]

    def run() -> np.ndarray:
        return np.array([step(*batch) for batch in batches])

    return run


def train_on_batch(problem: Problem) -> Callable[[], np.ndarray]:
    """A functional model with two heads, compiled with its loss."""

    class L2(keras.losses.Loss):
        def call(self, target: Any, output: Any) -> Any:
            return keras.ops.sum(keras.ops.square(target - output), axis=-1) / 2

    inputs = keras.Input((problem.X.shape[2],))
    dense = [
        keras.layers.Dense(array.shape[1], "relu", use_bias=False) for array in problem.weights
    ]
    shared = dense[0](inputs)
    model = keras.Model(inputs, [dense[1](shared), dense[2](shared)])
    for layer, array in zip(dense, problem.weights):
        layer.set_weights([array])
    model.compile(_adam(), [L2(reduction="sum"), L2(reduction="sum")])

    def run() -> np.ndarray:
        reported = []
        for X, Y1, Y2 in zip(problem.X, problem.Y1, problem.Y2):
            model.reset_metrics()
            reported.append(model.train_on_batch(X, [Y1, Y2])[0])
        return np.array(reported)

    return run
