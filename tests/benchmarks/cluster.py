"""`python -m tests.benchmarks.cluster`: what a step costs over processes, and a model of it.

Measured: a step of one process with one thread, of replicas with one thread each, a run that does
nothing, and the sending of weights. From these follows a model for more machines. It must run where
nothing can reach the servers, so it moves itself into a network namespace of its own.
"""

import argparse
import os
import statistics
import sys
import time
from typing import Any, Callable, List, NamedTuple

from tf1_mtl.isolation import is_isolated, isolate

WEIGHT_MATRICES, FLOAT = 3, 4
PRODUCTS = 8  #: of a joint step: three forward, three for weights, two for the shared layer


class Constants(NamedTuple):
    """What the model of a step is made of."""

    flops: float  #: of one worker, per second
    adam: float  #: seconds for a weight
    run: float  #: seconds of a run on a worker that does nothing
    bandwidth: float  #: bytes per second between two processes


def step_seconds(constants: Constants, workers: int, width: int, batch: int) -> float:
    """Returns the modelled time of a step, each process on a machine of its own.

    The link of the `ps` is the fullest: it takes all rows from the client and sends them on, and
    share_W goes to each worker, whose gradient comes back.
    """
    sent = FLOAT * (2 * workers * width**2 + 2 * WEIGHT_MATRICES * batch * width)
    products = PRODUCTS * 2 * batch * width**2 / workers / constants.flops
    return constants.run + products + width**2 * constants.adam + sent / constants.bandwidth


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.cluster")
    parser.add_argument("--width", type=int, default=2048, help="of all layers (%(default)s)")
    parser.add_argument("--batch", type=int, default=2048, help="rows of a step (%(default)s)")
    parser.add_argument("--replicas", type=int, default=2, help="measured (%(default)s)")
    parser.add_argument("--steps", type=int, default=6, help="timed (%(default)s)")
    args = parser.parse_args()
    one = _timed_steps(args.width, args.batch, args.steps, 0)
    few = _timed_steps(args.width, 1, args.steps, 0)
    many = _timed_steps(args.width, args.batch, args.steps, args.replicas)
    run, sending = _timed_sending(args.width, args.replicas)
    weights = WEIGHT_MATRICES * args.width**2  # all of them
    flops = PRODUCTS * 2 * args.batch * args.width**2 / (one - few)
    constants = Constants(flops, few / weights, run, FLOAT * weights / (sending - run))
    print(f"width {args.width}, batch {args.batch}, one thread for each process")
    print(f"one process            {one * 1000:8.4g} ms a step")
    print(f"{args.replicas} replicas             {many * 1000:8.4g} ms a step")
    print(f"ratio of the rates     {one / many:8.2f}")
    print(f"a run that does nothing{run * 1e3:8.1f} ms")
    print(f"between processes      {constants.bandwidth / 1e9:8.2f} GB/s")
    print(f"products               {flops / 1e9:8.4g} Gflop/s")
    print(f"Adam                   {constants.adam * 1e9:8.2f} ns a weight")
    print("model: workers, ms a step, rate against one process")
    for workers in (1, args.replicas, 8, 64):
        seconds = step_seconds(constants, workers, args.width, args.batch)
        print(f"{workers:4} {seconds * 1000:8.4g} {one / seconds:8.2f}")


def _median(function: Callable[[], Any], times: int) -> float:
    function()
    found: List[float] = []
    for _ in range(times):
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def _timed_steps(width: int, batch: int, steps: int, replicas: int) -> float:
    """Returns the seconds of a joint step."""
    import numpy as np

    from tf1_mtl import build_graph, open_session
    from tf1_mtl.scale import cluster
    from tf1_mtl.scale import replicas as splitting
    from tf1_mtl.training import fetches

    rng = np.random.RandomState(0)
    net = build_graph(rng, None, width, width, (width, width))
    if replicas:
        cluster.place(net.graph)
        net = splitting.replicate(net, replicas)
        session = cluster.open_local_session(net.graph, replicas)
    else:
        session = open_session(net, "cpu", _one_thread())
    feeds = {x: rng.rand(batch, width).astype("float32") for x in (net.X, net.Y1, net.Y2)}
    with session:
        session.run(net.init)
        return _median(lambda: session.run(fetches(net)["joint"], feeds), steps)


def _timed_sending(width: int, workers: int) -> Any:
    """Returns the seconds of a run on a worker, and of one that sends it all weights too."""
    import tensorflow.compat.v1 as tf

    from tf1_mtl.scale import cluster

    with tf.Graph().as_default() as graph:
        with tf.device("/job:ps/task:0"):
            shape = [WEIGHT_MATRICES, width, width]
            weights = tf.Variable(tf.zeros(shape), use_resource=False, name="weights")
        with tf.device("/job:worker/task:0"):
            nothing = tf.constant(1.0) + 1.0
            corner = tf.identity(weights)[0, 0, 0]
    with cluster.open_local_session(graph, workers) as session:
        session.run(weights.initializer)
        empty = _median(lambda: session.run(nothing), 200)
        return empty, _median(lambda: session.run(corner), 10)


def _one_thread() -> Any:
    import tensorflow.compat.v1 as tf

    return tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)


if __name__ == "__main__":
    if not is_isolated():
        try:
            isolate()  # before NumPy starts threads
        except OSError as error:
            sys.exit(f"benchmarks: this system allows no network namespace ({error}).")
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"  # of the servers: a product takes one thread
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.exit(_main())
