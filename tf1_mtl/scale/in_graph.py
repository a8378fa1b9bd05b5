"""Makes hundreds of steps in one `session.run`.

`tf.while_loop` makes the loop part of the graph, so Python is called once a chunk instead of once a
step. NumPy tosses the coins for a chunk beforehand, since the random operations of TensorFlow
cannot continue the stream of NumPy. A `tf.cond` in the loop runs the task that the coin picked.

Two constraints must be explicit. Otherwise TensorFlow runs an operation as soon as its inputs are
ready:

  - Step i + 1 must not begin before step i has written the weights. No tensor goes from one to the
    other, since the weights are variables. So the loop counter has a control dependency on the
    update, and nothing in the body starts without the counter.
  - Ref variables of TensorFlow 1 cannot enter the functional loops of TensorFlow 2 ("control flow
    v2"). So the loop is built of Enter, Switch, Merge and NextIteration of TensorFlow 1.

The trained nodes are copies of those of the article, on the same variables. So every bit is the
same.
"""

import contextlib
import threading
from typing import Any, Dict, Iterable, Iterator, Sequence, Tuple

import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.feeds import NEEDS, Batch
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.scale.additions import copy_step, is_built
from tf1_mtl.scale.chunks import Chunk, ChunkRun, in_chunks, run_ahead
from tf1_mtl.training import Step

#: The setting of control flow holds for the process, so one thread at a time may change it.
_CONTROL_FLOW = threading.Lock()


def config(variables: str) -> tf.ConfigProto:
    """Returns settings for `open_session`. One thread runs all operations."""
    return tf.ConfigProto(use_per_session_threads=True, inter_op_parallelism_threads=1)


def steps(net: MultiTaskGraph, session: tf.Session, batches: Iterable[Batch]) -> Iterator[Step]:
    """Trains on one batch after the other, as `tf1_mtl.training.train` does.

    A whole chunk has been trained, and the next one drawn, when the first of its steps is yielded.
    """
    try:
        yield from run_ahead(session, (chunk_run(net, chunk) for chunk in in_chunks(net, batches)))
    except (tf.errors.UnimplementedError, tf.errors.FailedPreconditionError) as error:
        if "control flow" not in error.message:
            raise
        raise InputError(
            "in-graph: the executor of this session does not run loops. Open the session with "
            "tf1_mtl.scale.in_graph.config(...), or step by 'prepared'."
        ) from error


def chunk_run(net: MultiTaskGraph, chunk: Chunk) -> ChunkRun:
    """Returns what to run for a chunk; adds the loop to the graph if it is not there."""
    tasks = sorted(chunk.arrays)
    scope = "in_graph_" + "_".join(tasks)
    if not is_built(net.graph, f"{scope}/losses"):
        _build(net, tasks, scope)
    feed_dict: Dict[str, Any] = {
        f"{scope}/task:0": [tasks.index(task) for task in chunk.tasks],
        f"{scope}/row:0": chunk.rows,
    }
    for task, arrays in chunk.arrays.items():
        feed_dict.update({f"{scope}/{task}_{name}:0": arrays[name] for name in arrays})
    return ChunkRun(chunk.tasks, f"{scope}/losses:0", feed_dict)


def _build(net: MultiTaskGraph, tasks: Sequence[str], scope: str) -> None:
    """Adds the loop over a chunk of steps. Each step trains one of the tasks."""
    with net.graph.as_default(), tf.name_scope(f"{scope}/"), _control_flow_v1():
        task_of_step = tf.placeholder(tf.int32, [None], "task")
        row_of_step = tf.placeholder(tf.int32, [None], "row")
        batches = {
            (task, name): tf.placeholder(tf.float32, [None, *net.shapes[name]], f"{task}_{name}")
            for task in tasks
            for name in NEEDS[task]
        }

        def train_on(task: str, row: tf.Tensor) -> tf.Tensor:
            inputs = {name: tf.gather(batches[task, name], row) for name in NEEDS[task]}
            op, loss = copy_step(net, task, inputs, name=f"{task}_step")
            with tf.control_dependencies([op]):  # the loss is there only after the update
                return tf.identity(loss)

        def train_on_one_of(tasks: Sequence[str], task: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
            *others, last = tasks
            if not others:
                return train_on(last, row)
            return tf.cond(
                tf.equal(task, len(others)),
                lambda: train_on(last, row),
                lambda: train_on_one_of(others, task, row),
            )

        def body(step: tf.Tensor, losses: tf.TensorArray) -> Tuple[tf.Tensor, tf.TensorArray]:
            task, row = tf.gather(task_of_step, step), tf.gather(row_of_step, step)
            loss = train_on_one_of(tasks, task, row)
            return _next(step, loss), losses.write(step, loss)

        count = tf.size(task_of_step)
        _, losses = tf.while_loop(
            lambda step, _: step < count, body, [0, tf.TensorArray(tf.float32, size=count)]
        )
        tf.identity(losses.stack(), name="losses")


def _next(step: tf.Tensor, loss: tf.Tensor) -> tf.Tensor:
    """Returns the next loop counter, which waits for the update as `loss` does."""
    with tf.control_dependencies([loss]):
        return step + 1


@contextlib.contextmanager
def _control_flow_v1() -> Iterator[None]:
    """Builds loops and conditions of nodes of TensorFlow 1, then restores the setting."""
    with _CONTROL_FLOW:
        was_v2 = hasattr(tf, "control_flow_v2_enabled") and tf.control_flow_v2_enabled()
        if was_v2:
            tf.disable_control_flow_v2()
        try:
            yield
        finally:
            if was_v2:
                tf.enable_control_flow_v2()
