"""Makes parts of a long run for test_checkpoints.py. As a script, it serves runs to be killed.

The server imports TensorFlow once and forks a process for each line `DIR LOG STEPS STEPPING` on
stdin. It prints the number of the process, and how it ended. It runs a single thread when it forks
(OPENBLAS_NUM_THREADS=1), so a child is as good as a new process, and starts ten times as fast.
"""

import contextlib
import os
import resource
import signal
import sys
import types

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl import build_graph, feeds, open_session
from tf1_mtl.scale import session_config
from tf1_mtl.scale.checkpoints import Store
from tf1_mtl.scale.long_run import train_long

SEED = 11


def long_run(
    directory,
    steps,
    save_every=10,
    stepping="session",
    variables="ref",
    seed=SEED,
    shared=20,
    make_draw=feeds.article_draw,
    each=lambda step: None,
):
    """Makes the part of one process. Returns warnings, the loss of each step and the last state."""
    rng = np.random.RandomState(seed)
    net = build_graph(rng, variables=variables, shared=shared)
    draw = make_draw(rng)

    def batches(count):
        return feeds.alternate(draw, rng, count)

    told, losses = [], {}
    with open_session(net, config=session_config(stepping, variables)) as session:
        session.run(net.init)
        with Store(str(directory), net, session, {"seed": seed}, told.append) as store:
            for step in train_long(net, session, store, rng, batches, steps, save_every, stepping):
                losses[step.step] = step.loss
                each(step)
            every = net.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
            values = dict(zip([v.op.name.replace("/", ".") for v in every], session.run(every)))
    values["random stream"] = rng.rand(5)
    return types.SimpleNamespace(told=told, losses=losses, values=values)


@contextlib.contextmanager
def full_disk(size):
    """Limits the size of files, in place of a full disk. The writes of TensorFlow fail alike."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def serve():
    for line in sys.stdin:
        directory, log, steps, stepping = line.split()
        process = os.fork()
        if process == 0:
            live(directory, log, int(steps), stepping)
        print(process, flush=True)
        print(os.waitpid(process, 0)[1], flush=True)


def live(directory, log, steps, stepping):
    """A process that saves at every second step, logs every loss, and ends."""
    with open(log, "a", buffering=1) as file:
        result = long_run(
            directory,
            steps,
            save_every=2,
            stepping=stepping,
            each=lambda step: file.write(f"{step.step} {step.loss}\n"),
        )
    np.savez(f"{log}.values.npz", **result.values)
    os._exit(0)


if __name__ == "__main__":
    serve()
