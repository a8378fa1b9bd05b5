"""The training loop: the only one."""

from typing import Iterable, Iterator, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.feeds import Batch, checked
from tf1_mtl.graph import MultiTaskGraph


class Step(NamedTuple):
    """One training step, as it was run."""

    step: int  #: from 0
    task: str  #: "Y1", "Y2" or "joint"
    loss: np.float32  #: sum of squares / 2, before this step's update


def train(net: MultiTaskGraph, session: tf.Session, batches: Iterable[Batch]) -> Iterator[Step]:
    """Trains on one batch after the other, each with the article's `session.run([op, loss])`.

    Args:
      net: The article's graph.
      session: Open on that graph, its variables initialized (`session.run(net.init)`).
      batches: What to feed; `feeds.alternate` and `feeds.joint` give the article's own.

    Yields:
      A `Step` after each update.

    Raises:
      InputError: A batch does not fit the graph, or holds what must not be fed. It has not
        reached TensorFlow; the weights are those after the step before.
    """
    fetches = {
        "Y1": [net.Y1_op, net.Y1_Loss],
        "Y2": [net.Y2_op, net.Y2_Loss],
        "joint": [net.Optimiser, net.Joint_Loss],
    }
    shapes = {name: getattr(net, name).shape.as_list() for name in ("X", "Y1", "Y2")}
    for step, batch in enumerate(batches):
        arrays = checked(batch, shapes, where=f"step {step}")
        feed_dict = {getattr(net, name): array for name, array in arrays.items()}
        _, loss_value = session.run(fetches[batch.task], feed_dict=feed_dict)
        yield Step(step, batch.task, loss_value)
