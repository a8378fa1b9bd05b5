"""Builds the first graph of the article: one matrix product and a squared error."""

from typing import NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf


class FirstGraph(NamedTuple):
    """Holds the handles of the first graph, under the names of the article."""

    graph: tf.Graph
    X: tf.Tensor  #: placeholder, float32 [10, 10]
    Y: tf.Tensor  #: placeholder, float32 [10, 1]
    W: tf.Variable  #: float32 [10, 1], zeros
    Loss: tf.Tensor  #: float32 [10, 1], the squared error of each row
    init: tf.Operation


def build_first_graph() -> FirstGraph:
    """Builds the first graph of the article. Nothing runs yet."""
    with tf.Graph().as_default() as graph:
        X = tf.placeholder("float", [10, 10], name="X")
        Y = tf.placeholder("float", [10, 1], name="Y")
        initial_W = np.zeros((10, 1))
        W = tf.Variable(initial_W, name="W", dtype="float32", use_resource=False)
        Loss = tf.pow(tf.add(Y, -tf.matmul(X, W)), 2, name="Loss")
        init = tf.global_variables_initializer()
    return FirstGraph(graph, X, Y, W, Loss, init)
