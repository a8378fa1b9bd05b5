"""Writes event files for TensorBoard: the graph, the losses, and what one step of each kind ran."""

import contextlib
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set

import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError, reason_of
from tf1_mtl.feeds import Batch
from tf1_mtl.files import make_folder
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.training import Step, train


def train_logged(
    net: MultiTaskGraph, session: tf.Session, batches: Iterable[Batch], logdir: str
) -> Iterator[Step]:
    """Trains as `train` does, with the same numbers, and writes event files.

    The event files have:

      - The graph, to which no summary op is added.
      - The scalars "Y1_Loss" or "Y2_Loss" after each step. A joint step writes both, and
        "Joint_Loss".
      - The run metadata of the first step of each kind. The Graphs tab has them under "Y1", "Y2"
        and "joint". They show the graph after the graph optimizer of TensorFlow.

    Args:
      net: The graph of the article.
      session: A session on that graph with initialized variables.
      batches: As for `train`.
      logdir: A folder. It is made if it does not exist. A run writes one new file into it.

    Yields:
      The `Step`s of `train`.

    Raises:
      InputError: As in `train`, or the folder cannot be written.
    """
    recorder = _Recorder(net, session, logdir)
    try:
        for step in train(net, recorder, batches):
            with _writing(logdir):
                recorder.write(step)
            yield step
    finally:
        with _writing(logdir):
            recorder.writer.close()


@contextlib.contextmanager
def _writing(logdir: str) -> Iterator[None]:
    """Raises an `InputError` for errors of the writer of TensorFlow, such as a full disk."""
    try:
        yield
    except Exception as error:  # a full disk is an IndexError on 2.21, a RuntimeError elsewhere
        raise InputError(
            f"{logdir}: the events cannot be written ({reason_of(error)}). Free space, or give "
            "another folder."
        ) from error


class _Recorder:
    """Replaces the session for `train`. It runs the steps, and fetches what is written."""

    def __init__(self, net: MultiTaskGraph, session: tf.Session, logdir: str) -> None:
        self.session = session
        self.losses: Dict[tf.Operation, Dict[str, tf.Tensor]] = {
            net.Y1_op: {"Y1_Loss": net.Y1_Loss},
            net.Y2_op: {"Y2_Loss": net.Y2_Loss},
            net.Optimiser: {
                "Y1_Loss": net.Y1_Loss,
                "Y2_Loss": net.Y2_Loss,
                "Joint_Loss": net.Joint_Loss,
            },
        }
        self.traced: Set[tf.Operation] = set()
        self.metadata: Optional[tf.RunMetadata] = None  # of the last step, if it was traced
        self.values: Dict[str, Any] = {}  # the losses of the last step
        # The writer of TensorFlow works in another thread, where some versions lose its errors.
        make_folder(logdir)
        # The writer cannot be made in the eager mode of TensorFlow 2.
        with net.graph.as_default():
            self.writer = tf.summary.FileWriter(logdir, net.graph)

    def run(self, fetches: List[Any], feed_dict: Dict[tf.Tensor, Any]) -> List[Any]:
        op, loss = fetches
        full_trace = op not in self.traced
        self.metadata = tf.RunMetadata() if full_trace else None
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE) if full_trace else None
        self.traced.add(op)
        # The losses of both tasks are computed in a joint step anyway.
        _, loss_value, self.values = self.session.run(
            [op, loss, self.losses[op]], feed_dict, options=options, run_metadata=self.metadata
        )
        return [None, loss_value]

    def write(self, step: Step) -> None:
        if self.metadata is not None:
            self.writer.add_run_metadata(self.metadata, step.task, global_step=step.step)
        summary = tf.Summary(
            value=[
                tf.Summary.Value(tag=name, simple_value=float(value))
                for name, value in self.values.items()
            ]
        )
        self.writer.add_summary(summary, global_step=step.step)
