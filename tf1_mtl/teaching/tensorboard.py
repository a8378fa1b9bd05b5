"""Writes event files for TensorBoard: the graph, the losses, and what one step of each kind ran."""

import contextlib
import itertools
import os
import re
import time
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Set

import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError, reason_of
from tf1_mtl.files import make_folder
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.graph_reader import group
from tf1_mtl.teaching.planning import AnyGraph, Names
from tf1_mtl.training import Step


def logged(
    net: MultiTaskGraph,
    session: tf.Session,
    steps: Callable[[Any], Any],
    folder: Callable[[int], str],
) -> Iterator[Step]:
    """Makes training steps, and writes event files about them.

    The event files have:

      - A copy of the graph for display, with its nodes in readable scopes (`shown_names`).
      - The scalars "Y1_Loss" or "Y2_Loss" after each step. A joint step writes both, and
        "Joint_Loss".
      - The run metadata of the first step of each kind. The Graphs tab has them under "Y1", "Y2"
        and "joint". They show the graph after the graph optimizer of TensorFlow.

    The first step of a run that continues is not 0. Its file has no second graph. It makes
    TensorBoard drop what an interrupted process wrote from this step on.

    Args:
      net: The graph of the article.
      session: A session on that graph with initialized variables.
      steps: Takes what replaces the session, and trains.
      folder: Takes the number of the first step, and returns the folder of the run.

    Yields:
      The `Step`s.

    Raises:
      InputError: As in `steps`, or the events cannot be written.
    """
    recorder = _Recorder(net, session)
    place, writer = "", None
    try:
        with contextlib.closing(steps(recorder)) as trained:
            for step in trained:
                if writer is None:
                    place = folder(step.step)
                with _writing(place):
                    writer = writer or _Writer(net, place, step.step)
                    writer.add(step, recorder)
                yield step
    finally:
        if writer is not None:
            with _writing(place):
                writer.close()


def run_folder(logdir: str, name: str, first_step: int) -> str:
    """Makes the folder of a run and returns its path. TensorBoard shows its name.

    Args:
      logdir: Holds a folder for each run.
      name: Of the run. A second one of this name is called "NAME-2", and so on.
      first_step: 0 for a new run. A run that continues has the folder of the last of this name.

    Raises:
      InputError: It cannot be made.
    """
    make_folder(logdir)
    before = ""
    for number in itertools.count(1):
        path = os.path.join(logdir, f"{name}-{number}" if number > 1 else name)
        if os.path.isdir(path):
            before = path
            continue
        if first_step and before:
            return before
        try:
            os.mkdir(path)
        except FileExistsError:  # a file, or the folder of a run that began just now
            continue
        except OSError as error:
            raise InputError(
                f"{path}: cannot be made ({error.strerror}). Give another folder."
            ) from error
        return path
    raise AssertionError("unreachable")


@contextlib.contextmanager
def _writing(folder: str) -> Iterator[None]:
    """Raises an `InputError` for errors of the writer of TensorFlow, such as a full disk."""
    try:
        yield
    except Exception as error:  # a full disk is an IndexError on 2.21, a RuntimeError elsewhere
        raise InputError(
            f"{folder}: the events cannot be written ({reason_of(error)}). Free space, or give "
            "another folder."
        ) from error


class _Recorder:
    """Replaces the session for `train`. It runs the steps, and fetches what is written."""

    def __init__(self, net: MultiTaskGraph, session: tf.Session) -> None:
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


class _Writer:
    """Writes the events of one process."""

    def __init__(self, net: MultiTaskGraph, folder: str, first_step: int) -> None:
        self._first_step = first_step
        self._shown = shown_names(net)
        # The writer cannot be made in the eager mode of TensorFlow 2.
        with net.graph.as_default():
            # TensorFlow names files by the second, and overwrites one of the same name.
            self._events = tf.summary.FileWriter(folder, filename_suffix=f".from-{first_step}")
        if first_step == 0:
            shown = shown_graph(net.graph, self._shown).SerializeToString()
            self._events.add_event(tf.Event(wall_time=time.time(), graph_def=shown))
        else:
            start = tf.SessionLog(status=tf.SessionLog.START)
            self._events.add_session_log(start, global_step=first_step)

    def add(self, step: Step, recorder: _Recorder) -> None:
        """Writes one step."""
        if recorder.metadata is not None:
            for device in recorder.metadata.step_stats.dev_stats:
                for node in device.node_stats:
                    node.node_name = self._shown.get(node.node_name, node.node_name)
            tag = f"{step.task}, step {step.step}" if self._first_step else step.task
            self._events.add_run_metadata(recorder.metadata, tag, global_step=step.step)
        values = [
            tf.Summary.Value(tag=name, simple_value=float(value))
            for name, value in recorder.values.items()
        ]
        self._events.add_summary(tf.Summary(value=values), global_step=step.step)

    def close(self) -> None:
        self._events.close()


def shown_names(graph: AnyGraph) -> Dict[str, str]:
    """Returns the name under which TensorBoard shows each node, in the scope of its group.

    "MatMul_1" is shown as "task_1_Y1/MatMul_1", for example. Placeholders keep their names.
    """
    names = Names(graph)
    shown = {}
    for title, nodes in group(names.graph, names.article).items():
        scope = "" if title == "placeholders" else re.sub(r"\W+", "_", title).strip("_") + "/"
        shown.update({node: scope + node for node in nodes})
    return shown


def shown_graph(graph: tf.Graph, shown: Mapping[str, str]) -> tf.GraphDef:
    """Returns a copy of a graph for display, with its nodes renamed.

    Args:
      graph: Is only read.
      shown: From `shown_names`.
    """
    definition = graph.as_graph_def(add_shapes=True)
    for node in definition.node:
        node.name = shown[node.name]
        for number, tensor in enumerate(node.input):
            name = tensor.lstrip("^").split(":")[0]
            node.input[number] = tensor.replace(name, shown[name], 1)
        beside = node.attr["_class"].list.s if "_class" in node.attr else []
        for number, text in enumerate(beside):  # "loc:@NAME", the node that it is placed with
            prefix, at, name = text.decode().partition("@")
            beside[number] = (prefix + at + shown.get(name, name)).encode()
    return definition
