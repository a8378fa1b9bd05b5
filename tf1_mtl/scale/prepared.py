"""Makes steps by prepared calls: the batches lie in the graph, and a step needs no feeds.

Most of what `session.run([op, loss], feed_dict)` costs on a graph this small is not arithmetic. It
is Python looking up the fetches, checking and handing over three arrays, and threads waking each
other for operations that take a microsecond. Here

  - a chunk of batches is put into variables of the graph by one run, a counter beside them;
  - `Session.make_callable` prepares the fetch once, so that a step is one call without arguments.
    It is given one tensor, the loss, which waits for the update: of a list it would look up each
    element, and put the results together, in Python and at every call;
  - the step gathers the batch at the counter, trains on it, and then moves the counter;
  - the session runs the operations of a step in the calling thread (`config`).

The trained nodes are copies of those of the article, on the same variables, so every bit is the
same.
"""

from typing import Callable, Dict, Iterable, Iterator

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.feeds import NEEDS, Batch
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.scale.additions import copy_step, held, is_built
from tf1_mtl.scale.chunks import in_chunks
from tf1_mtl.training import Step


def config(variables: str) -> tf.ConfigProto:
    """Returns settings for `open_session` with which a step stays in the calling thread.

    The single-threaded executor of TensorFlow is the fastest. It does not accept ref variables or
    `tf.while_loop`, so `in-graph` cannot run in a session with it.
    """
    settings = tf.ConfigProto(use_per_session_threads=True)
    if variables == "resource":
        settings.experimental.executor_type = "SINGLE_THREADED_EXECUTOR"
    else:
        # -1: in the thread that calls run. TensorFlow 1.13 aborts on it and has a thread to wake.
        settings.inter_op_parallelism_threads = 1 if tf.__version__.startswith("1.13.") else -1
    return settings


def steps(net: MultiTaskGraph, session: tf.Session, batches: Iterable[Batch]) -> Iterator[Step]:
    """Trains on one batch after the other; see `tf1_mtl.training.train`.

    Up to a chunk of batches is drawn ahead of the step that is yielded.
    """
    calls: Dict[str, Callable[[], np.float32]] = {}
    step = 0
    for chunk in in_chunks(net, batches):
        for task, arrays in chunk.arrays.items():
            scope = f"prepared_{task}"
            if not is_built(net.graph, f"{scope}/load"):
                _build(net, task, scope)
            if task not in calls:
                loss = net.graph.get_tensor_by_name(f"{scope}/loss:0")
                calls[task] = session.make_callable(loss)
            feed_dict = {f"{scope}/{name}:0": array for name, array in arrays.items()}
            session.run(f"{scope}/load", feed_dict)
        for task in chunk.tasks:
            yield Step(step, task, calls[task]())
            step += 1


def _build(net: MultiTaskGraph, task: str, scope: str) -> None:
    """Adds what loads a chunk of batches of one task, and what trains on the next of them."""
    with net.graph.as_default(), tf.name_scope(f"{scope}/"):
        counter = held(net, tf.zeros([], tf.int32), "counter")
        at = tf.identity(counter)
        initializers = [counter.initializer]
        inputs = {}
        for name in NEEDS[task]:
            shape = getattr(net, name).shape.as_list()
            batches = held(net, tf.placeholder(tf.float32, [None, *shape], name), f"{name}_held")
            inputs[name] = tf.gather(batches, at)
            inputs[name].set_shape(shape)
            initializers.append(batches.initializer)
        tf.group(*initializers, name="load")
        op, loss = copy_step(net, task, inputs, name="step")
        with tf.control_dependencies([op, loss]):
            advance = tf.assign_add(counter, 1)
        with tf.control_dependencies([advance]):
            tf.identity(loss, name="loss")
