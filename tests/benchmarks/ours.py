"""The four step modes, and their baselines: a bare loop, bare products."""

import functools
from typing import Any, Callable, List

import numpy as np
import tensorflow.compat.v1 as tf

from tests.benchmarks.problem import Problem
from tf1_mtl import build_graph, open_session, train
from tf1_mtl.feeds import Batch
from tf1_mtl.scale import fastest_variables, session_config
from tf1_mtl.scale.chunks import in_chunks
from tf1_mtl.scale.compiled import chunk_run

Run = Callable[[], np.ndarray]


def _open(problem: Problem, stepping: str) -> Any:
    variables = fastest_variables(stepping)
    inputs, shared = problem.weights[0].shape
    tasks = (problem.weights[1].shape[1], problem.weights[2].shape[1])
    # The graph draws its weights from the seed as the problem did.
    rng = np.random.RandomState(problem.seed)
    net = build_graph(rng, problem.X.shape[1], inputs, shared, tasks, variables)
    # Products of wide layers gain by every core; the settings of the fast modes are for small ones.
    config = session_config(stepping, variables) if shared < 256 else None
    session = open_session(net, "cpu", config)
    session.run(net.init)
    return net, session


def _step_by(stepping: str, problem: Problem) -> Run:
    net, session = _open(problem, stepping)
    batches: List[Batch] = [Batch("joint", *arrays) for arrays in zip(*problem[2:])]

    def run() -> np.ndarray:
        return np.array([step.loss for step in train(net, session, batches, stepping)])

    return run


session = functools.partial(_step_by, "session")
prepared = functools.partial(_step_by, "prepared")
in_graph = functools.partial(_step_by, "in-graph")
compiled = functools.partial(_step_by, "compiled")


def compiled_stacked(problem: Problem) -> Run:
    """Runs the loop of `compiled` on chunks that are stacked already."""
    net, session = _open(problem, "compiled")
    batches = (Batch("joint", *arrays) for arrays in zip(*problem[2:]))
    runs = [chunk_run(net, chunk) for chunk in in_chunks(net, batches)]

    def run() -> np.ndarray:
        losses = [session.run(run.losses, run.feed_dict)[: len(run.tasks)] for run in runs]
        return np.concatenate(losses)

    return run


def bare(problem: Problem) -> Run:
    """Runs the loop of the article: float32 arrays, no check, nothing else."""
    net, session = _open(problem, "session")

    def run() -> np.ndarray:
        losses = []
        for X, Y1, Y2 in zip(problem.X, problem.Y1, problem.Y2):
            _, Joint_Loss_value = session.run(
                [net.Optimiser, net.Joint_Loss], feed_dict={net.X: X, net.Y1: Y1, net.Y2: Y2}
            )
            losses.append(Joint_Loss_value)
        return np.array(losses)

    return run


def products(problem: Problem) -> Run:
    """Runs the eight matrix products of a step and nothing else, on arrays held in the graph."""
    with tf.Graph().as_default() as graph:
        X, Y1, Y2 = map(tf.Variable, (problem.X[0], problem.Y1[0], problem.Y2[0]))
        shared_W, Y1_W, Y2_W = map(tf.Variable, problem.weights)
        shared = tf.Variable(problem.X[0] @ problem.weights[0])
        step = tf.group(
            tf.matmul(X, shared_W),
            tf.matmul(shared, Y1_W),
            tf.matmul(shared, Y2_W),
            tf.matmul(Y1, Y1_W, transpose_b=True),
            tf.matmul(Y2, Y2_W, transpose_b=True),
            tf.matmul(shared, Y1, transpose_a=True),
            tf.matmul(shared, Y2, transpose_a=True),
            tf.matmul(X, shared, transpose_a=True),
        )
        # Nothing uses the products, so the graph optimizer of TensorFlow would leave them all out.
        as_written = tf.ConfigProto()
        as_written.graph_options.rewrite_options.disable_meta_optimizer = True
        session = tf.Session(graph=graph, config=as_written)
        session.run(tf.global_variables_initializer())
    return _repeated(session.make_callable(step), problem.steps)


def triad(problem: Problem) -> Run:
    """Runs `a -= 2 * b` on the three arrays of the weights, by all cores, and nothing else.

    It reads two arrays and writes one, as the triad of STREAM does: 12 bytes a weight.
    """
    with tf.Graph().as_default() as graph:
        pairs = [
            [tf.Variable(weights, use_resource=False) for _ in range(2)]
            for weights in problem.weights
        ]
        descent = tf.train.GradientDescentOptimizer(2.0)
        step = descent.apply_gradients([(tf.convert_to_tensor(b), a) for a, b in pairs])
        session = tf.Session(graph=graph)
        session.run(tf.global_variables_initializer())
    return _repeated(session.make_callable(step), problem.steps)


def _repeated(call: Callable[[], Any], times: int) -> Run:
    def run() -> np.ndarray:
        for _ in range(times):
            call()
        return np.zeros(0, np.float32)

    return run
