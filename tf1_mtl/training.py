"""Trains: the only training loop of the package."""

from typing import Dict, Iterable, Iterator, NamedTuple, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.feeds import Batch, checked
from tf1_mtl.graph import MultiTaskGraph


class Step(NamedTuple):
    """One training step, as it was run."""

    step: int  #: from 0
    task: str  #: "Y1", "Y2" or "joint"
    loss: np.float32  #: sum of squares / 2, before the update of this step


def train(
    net: MultiTaskGraph, session: tf.Session, batches: Iterable[Batch], stepping: str = "session"
) -> Iterator[Step]:
    """Trains on one batch after the other.

    Args:
      net: The graph of the article.
      session: Open on that graph, its variables initialized (`session.run(net.init)`).
      batches: What to feed; `feeds.alternate` and `feeds.joint` give those of the article.
      stepping: "session" runs `session.run([op, loss], feed_dict)` in each step, as the article
        does; `tf1_mtl.scale` explains the faster "prepared", "in-graph" and "compiled". They draw
        batches ahead, and the latter two train ahead of the step that they yield. They draw the
        next batches while TensorFlow trains, so `batches` must not use the session.

    Returns:
      An iterator that gives a `Step` after each update.

    Raises:
      InputError: There is no such step mode. While iterating: a batch does not fit the graph, or
        holds what must not be fed. TensorFlow has not seen that batch, and the weights are those
        after the step before.
    """
    if stepping == "session":
        return _session_steps(net, session, batches)
    from tf1_mtl import scale  # only here, since the faster step modes import this module

    return scale.step_mode(stepping).steps(net, session, batches)


def fetches(net: MultiTaskGraph) -> Dict[str, Tuple[tf.Operation, tf.Tensor]]:
    """Returns what the article runs for each task: its minimize op and its loss."""
    return {
        "Y1": (net.Y1_op, net.Y1_Loss),
        "Y2": (net.Y2_op, net.Y2_Loss),
        "joint": (net.Optimiser, net.Joint_Loss),
    }


def _session_steps(
    net: MultiTaskGraph, session: tf.Session, batches: Iterable[Batch]
) -> Iterator[Step]:
    runs = fetches(net)
    shapes = net.shapes
    for step, batch in enumerate(batches):
        arrays = checked(batch, shapes, where=f"step {step}")
        feed_dict = {getattr(net, name): array for name, array in arrays.items()}
        _, loss_value = session.run(runs[batch.task], feed_dict=feed_dict)
        yield Step(step, batch.task, loss_value)
