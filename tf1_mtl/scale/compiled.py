"""Stepping compiled by XLA: the whole loop becomes one machine-code function.

The other ways run TensorFlow's kernels one by one, some 60 a step. XLA fuses a step into a few loops
over memory, and keeps weights and slots in it from one step to the next. To give it little to do the
step is written anew, for all three tasks at once:

  - all weights are one flat vector, and so are their slots: Adam is one sweep over each;
  - both task layers lie side by side in one matrix: one product forward, two backward;
  - a task's mask zeroes the other task's residuals, so the other layer's gradients are exactly 0,
    and Adam leaves it where it is;
  - the three optimizers' slots are three rows, of which a step moves the row that is its own.

Variables are read once before a chunk and written once after it. XLA orders sums and fuses products
otherwise than TensorFlow's kernels do, so the bits differ (see TOLERANCES, which the tests hold).
"""

from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.feeds import Batch
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.scale.chunks import Chunk, chunk_length, in_chunks
from tf1_mtl.scale.step_copy import is_built, nodes_behind
from tf1_mtl.training import Step, fetches

#: The optimizers in the order of their rows.
TASKS = ("joint", "Y1", "Y2")


def config(variables: str) -> tf.ConfigProto:
    """What `open_session` should be given: one thread, since a small loop gains by no second."""
    return tf.ConfigProto(
        use_per_session_threads=True, inter_op_parallelism_threads=1, intra_op_parallelism_threads=1
    )


def steps(net: MultiTaskGraph, session: tf.Session, batches: Iterable[Batch]) -> Iterator[Step]:
    """Trains on one batch after the other; see `tf1_mtl.training.train`.

    A whole chunk has been trained when the first of its steps is yielded. The first chunk of each
    batch size is compiled, which takes about a second.

    Raises:
      InputError: This TensorFlow has no `tf.xla.experimental.compile` (1.13).
    """
    step = 0
    for chunk in in_chunks(net, batches):
        rows = max(arrays["X"].shape[1] for arrays in chunk.arrays.values())
        length = chunk_length(net, rows)
        scope = f"compiled_{length}x{rows}"
        if not is_built(net.graph, f"{scope}/losses"):
            _build(net, length, rows, scope)
        feed_dict = {f"{scope}/{name}:0": value for name, value in _fed(net, chunk, length, rows).items()}
        losses = session.run([f"{scope}/losses:0", f"{scope}/write"], feed_dict)[0]
        for task, loss in zip(chunk.tasks, losses):
            yield Step(step, task, loss)
            step += 1
