"""Makes steps by prepared calls: the batches lie in the graph, and a step needs no feeds.

On a graph this small, `session.run([op, loss], feed_dict)` spends most of its time outside the
arithmetic. Python looks up the fetches, and checks and copies three arrays. Threads wake each other
for operations that take a microsecond. Here

  - One run puts a chunk of batches into variables of the graph, with a counter.
  - `Session.make_callable` prepares the fetch once, so that a step is one call without arguments.
    The fetch is one tensor, the loss, which waits for the update. A list would cost more, since
    Python looks up its elements and collects the results at every call.
  - The step gathers the batch at the counter, trains on it, and then increments the counter.
  - The session runs the operations of a step in the calling thread (`config`).

The trained nodes are copies of those of the article, on the same variables. So every bit is the
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
        # -1: in the thread that calls run. TensorFlow 1.13 aborts on that, so it gets a thread.
        settings.inter_op_parallelism_threads = 1 if tf.__version__.startswith("1.13.") else -1
    return settings


def steps(net: MultiTaskGraph, session: tf.Session, batches: Iterable[Batch]) -> Iterator[Step]:
    """Trains on one batch after the other, as `tf1_mtl.training.train` does.

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
    """Adds the nodes that load a chunk of batches of one task, and those that train on the next."""
    with net.graph.as_default(), tf.name_scope(f"{scope}/"):
        counter = held(net, tf.zeros([], tf.int32), "counter")
        at = tf.identity(counter)
        initializers = [counter.initializer]
        inputs = {}
        for name in NEEDS[task]:
            shape = net.shapes[name]
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
