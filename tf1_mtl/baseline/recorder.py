"""Records what a TensorFlow process runs: every `Session.run`, with the variables after it.

    with recording("run.npz"):
        ...  # sessions of any graph-mode code

Works in any process with `tf.compat.v1`, a real TensorFlow 1.15 too, and with ref and resource
variables. While it is active `Session.run` itself is wrapped, so sessions opened before, hooks,
`Tensor.eval` and a script's own subclasses are seen as well. It adds no operation to a graph and
changes no bit: after each run it fetches the variables through reads that the graph has already.

Not seen: `partial_run`; a callable that `make_callable` made before (one made meanwhile goes
through `run` and is seen); `tf.function` and eager code. Where several threads run one session,
the variables recorded after a run may hold what another thread's run did.
"""

import contextlib
import functools
import threading
import weakref
from typing import Any, Dict, Iterator, List, Mapping, Optional, Set, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.baseline.machine import recorded_by
from tf1_mtl.baseline.recognition import Recognised, recognise, task_of, trains
from tf1_mtl.baseline.trajectory import Run
from tf1_mtl.baseline.trajectory_writer import Writer
from tf1_mtl.errors import InputError
from tf1_mtl.walk import needed

Arrays = Dict[str, np.ndarray]

# A variable is not initialized, or the session is closed.
_UNREADABLE = (tf.errors.OpError, RuntimeError)

_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def recording(path: str, **manifest: Any) -> Iterator[None]:
    """Records every `Session.run` inside the `with` block.

    Each run is written when it is done, to `path` + ".partial", which has its own name when the
    block is left, by an exception too. What a kill leaves, `load(path, partial=True)` reads.

    Args:
      path: The trajectory file to write.
      **manifest: JSON values to keep with it, such as the seed.

    Raises:
      InputError: The file cannot be written, or a recording is active already.
    """
    if not _one_at_a_time.acquire(blocking=False):
        raise InputError(f"{path}: a recording is active already. End it first.")
    try:
        machine = recorded_by(tf.__version__)
        writer = Writer(path, {"recorded_by": machine, **manifest, "sessions": []})
        recorder = _Recorder(writer)
        home = _home_of_run()
        run, make_callable = home.run, home.make_callable
        home.run, home.make_callable = recorder.wrapped(run), _seen_callable
        try:
            yield
        finally:
            home.run, home.make_callable = run, make_callable
            writer.close()
    finally:
        _one_at_a_time.release()


def _home_of_run() -> Any:
    """The class that defines `run` for all kinds of sessions."""
    return next(kind for kind in tf.Session.__mro__ if "run" in vars(kind))


def _seen_callable(
    session: Any, fetches: Any, feed_list: Any = None, accept_options: bool = False
) -> Any:
    """`make_callable` while a recording is active: its callable goes through `run`."""

    def call(*values: Any, **options: Any) -> Any:
        return session.run(fetches, dict(zip(feed_list or (), values)), **options)

    return call


class _Recorder:
    """Turns the runs of all sessions into records."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._lock = threading.Lock()
        self._watched: Any = weakref.WeakKeyDictionary()  # session: _Watched
        self._sessions: List[Dict[str, Any]] = []  # for the manifest
        self._started: Set[int] = set()  # the sessions that have trained

    def wrapped(self, original: Any) -> Any:
        """`Session.run` that records."""

        @functools.wraps(original)
        def run(
            session: Any,
            fetches: Any,
            feed_dict: Any = None,
            options: Any = None,
            run_metadata: Any = None,
        ) -> Any:
            watched = self._watch(session, original)
            try:
                values = original(session, fetches, feed_dict, options, run_metadata)
            except Exception as error:
                # A failed run is not atomic: it may have moved variables all the same.
                self._record(watched, fetches, None, feed_dict, f"{type(error).__name__}: {error}")
                raise
            self._record(watched, fetches, values, feed_dict)
            return values

        return run

    def _watch(self, session: Any, original: Any) -> "_Watched":
        with self._lock:
            if session not in self._watched:
                read = functools.partial(original, session)
                watched = _Watched(session.graph, read, number=len(self._sessions))
                self._sessions.append({})
                self._watched[session] = watched
            return self._watched[session]

    def _record(
        self, watched: "_Watched", fetches: Any, values: Any, feed_dict: Any, error: str = ""
    ) -> None:
        before = watched.variables
        run, is_training = watched.run(fetches, values, feed_dict, error)
        with self._lock:
            description = watched.description()
            if self._sessions[watched.number] != description:
                self._sessions[watched.number] = description
                self._writer.describe({"sessions": self._sessions})
            if is_training and watched.number not in self._started:
                if not self._started:
                    self._writer.start(watched.weights(before))
                self._writer.start_session(watched.number, watched.weights(before))
                self._started.add(watched.number)
            self._writer.add(run)


class _Watched:
    """One session: its graph's variables, and what they were after its last run."""

    def __init__(self, graph: Any, read: Any, number: int) -> None:
        """
        Args:
          graph: The session's.
          read: The session's own `run`, unrecorded.
          number: In the order in which sessions first ran.
        """
        self.number = number
        self._graph = graph
        self._read = read
        self._version = -1
        self._refresh()
        self.variables = self._values()  #: by variable operation; an uninitialized one is absent

    def run(self, fetches: Any, values: Any, feed_dict: Any, error: str) -> Tuple[Run, bool]:
        """The record of a run that has just ended, and whether it trained anything."""
        self._refresh()
        self.variables = self._values()
        fetched = list(_leaves(self._graph, fetches, values))
        fed = _feeds(self._graph, feed_dict)
        operations = needed(
            [getattr(element, "op", element) for _, element, _ in fetched if element is not None],
            [tensor for tensor, _ in fed],
        )
        recognised = self._recognised
        task = "" if error else task_of(recognised, operations)
        loss = None
        for _, element, value in fetched:
            if task and recognised.losses.get(getattr(element, "op", None)) == task:
                loss = value
        run = Run(
            task=task,
            feeds={recognised.feeds.get(tensor.op, tensor.op.name): value for tensor, value in fed},
            loss=loss,
            weights=self.weights(self.variables),
            slots={
                key: self.variables[op]
                for op, key in recognised.slots.items()
                if op in self.variables
            },
            fetched={name: _storable(value) for name, _, value in fetched},
            session=self.number,
            error=error,
        )
        return run, trains(operations)

    def weights(self, variables: Mapping[Any, np.ndarray]) -> Arrays:
        """Of all variables' values those that are no slots, under their names in a record."""
        names = self._recognised.weights
        return {names[op]: value for op, value in variables.items() if op in names}

    def description(self) -> Dict[str, Any]:
        """What the manifest says of this session."""
        keys: Dict[Any, str] = dict(self._recognised.weights)
        keys.update((op, "/".join(key)) for op, key in self._recognised.slots.items())
        kinds = {"resource" if op.type == "VarHandleOp" else "ref" for op in keys}
        return {
            "article": self._recognised.is_article,
            "variables": " and ".join(sorted(kinds)),
            "tensorflow_names": {key: op.name for op, key in keys.items()},
            "unread": [op.name for op in keys if op not in self._reads],
        }

    def _refresh(self) -> None:
        """Looks at the graph again if it has grown."""
        if self._version == self._graph.version:
            return
        self._version = self._graph.version
        self._recognised: Recognised = recognise(self._graph.get_operations())
        self._reads: Dict[Any, Any] = {}
        for op in [*self._recognised.weights, *self._recognised.slots]:
            read = _existing_read(op)
            if read is not None:
                self._reads[op] = read

    def _values(self) -> Dict[Any, np.ndarray]:
        """Every variable that has a value, with it."""
        try:
            return self._read(self._reads) if self._reads else {}
        except _UNREADABLE:  # some are not initialized: one by one
            found = {}
            for op, read in self._reads.items():
                with contextlib.suppress(*_UNREADABLE):
                    found[op] = self._read(read)
            return found


def _existing_read(variable: Any) -> Optional[Any]:
    """A tensor of the graph that holds the variable's value and needs nothing else."""
    if variable.type != "VarHandleOp":
        return variable.outputs[0]
    for op in variable.outputs[0].consumers():
        if op.type == "ReadVariableOp" and not op.control_inputs:
            return op.outputs[0]
    return None


def _leaves(graph: Any, fetches: Any, values: Any) -> Iterator[Tuple[str, Any, Any]]:
    """(name, graph element or None, value or None) of everything that was fetched.

    Args:
      values: What the run returned, or None if it failed.
    """
    if isinstance(fetches, (list, tuple)):
        for index, fetch in enumerate(fetches):
            yield from _leaves(graph, fetch, None if values is None else values[index])
    elif isinstance(fetches, dict):
        for key, fetch in fetches.items():
            yield from _leaves(graph, fetch, None if values is None else values[key])
    else:
        try:
            element = graph.as_graph_element(fetches)
            yield element.name, element, values
        except (TypeError, ValueError, KeyError):  # a SparseTensor, or what made the run fail
            yield f"<{type(fetches).__name__}>", None, None


def _feeds(graph: Any, feed_dict: Any) -> List[Tuple[Any, np.ndarray]]:
    """The tensors that were fed, with what TensorFlow made of the values."""
    fed = []
    for key, value in (feed_dict or {}).items():
        try:
            tensor = graph.as_graph_element(key, allow_operation=False)
            array = _storable(np.asarray(value, dtype=tensor.dtype.as_numpy_dtype))
        except (TypeError, ValueError, KeyError):  # a SparseTensor, or what made the run fail
            continue
        if array is not None:
            fed.append((tensor, array))
    return fed


def _storable(value: Any) -> Optional[np.ndarray]:
    """What a trajectory can hold: numbers; a string as its bytes; None for the rest."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return np.array(bytearray(value), np.uint8)
    try:
        array = np.asarray(value)
        return array.astype(np.bytes_) if array.dtype.hasobject else array
    except (TypeError, ValueError):
        return None
