"""Records what a TensorFlow process runs: every `Session.run`, with the variables after it.

    with recording("run.npz"):
        ...  # sessions of any graph-mode code

This works in any process with `tf.compat.v1`, including a real TensorFlow 1.15, and with ref and
resource variables. `Session.run` itself is wrapped meanwhile. So earlier sessions, hooks,
`Tensor.eval` and subclasses are recorded as well. No operation is added to a graph, and every
computed bit stays the same. After each run the variables are fetched through reads that the graph
has. A training run also fetches the random numbers and examples that it uses.

Some runs are not recorded: those of `partial_run`, of a callable that `make_callable` made before,
of `tf.function` and of eager code. Random numbers inside a loop or a branch cannot be fetched. If
several threads train one session at once, the result of a single run is unknown. These runs are
recorded without a task.
"""

import contextlib
import functools
import itertools
import threading
import weakref
from typing import Any, Callable, Iterator, Optional

import tensorflow.compat.v1 as tf

from tf1_mtl.baseline.recordings import Run, Writer, recorded_by
from tf1_mtl.baseline.watched_session import Begun, Ended, WatchedSession
from tf1_mtl.errors import InputError

#: Megabytes up to which a file keeps what a check needs, unless `recording` is given others.
LIMIT_MB = 256

_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def recording(path: str, limit_mb: float = LIMIT_MB, **manifest: Any) -> Iterator["Recorder"]:
    """Records every `Session.run` inside the `with` block.

    Each run is written when it is done, to `path` + ".partial". The file gets its own name when
    the block is left, by an exception too. `load_recording(path, partial=True)` reads what a kill
    leaves.

    Args:
      path: The file to write.
      limit_mb: Megabytes. A run whose state would make the file larger, and every run after it, is
        recorded with its fetched values only. A check ends there.
      **manifest: JSON values to keep with it, such as the seed.

    Yields:
      The recorder. Its `first_run_without_state` shows whether the limit was reached.

    Raises:
      InputError: The limit is not a number from 0 on, the file cannot be written, or a recording
        is active already.
    """
    if not limit_mb >= 0:
        raise InputError(f"limit_mb is {limit_mb}, but should be a number of megabytes from 0 on.")
    if not _one_at_a_time.acquire(blocking=False):
        raise InputError(f"{path}: a recording is active already. End it first.")
    try:
        writer = Writer(path, {"recorded_by": recorded_by(tf.__version__), **manifest})
        recorder = Recorder(writer, limit_mb)
        try:
            with wrapped_run(recorder.wrapped):
                yield recorder
        finally:
            writer.close()
    finally:
        _one_at_a_time.release()


@contextlib.contextmanager
def wrapped_run(wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Replaces `Session.run` of all kinds of sessions inside the `with` block.

    Args:
      wrap: Takes the method and returns what stands in its place.
    """
    home: Any = next(kind for kind in tf.Session.__mro__ if "run" in vars(kind))
    run, make_callable = home.run, home.make_callable
    home.run, home.make_callable = wrap(run), _callable_of_run
    try:
        yield
    finally:
        home.run, home.make_callable = run, make_callable


def _callable_of_run(
    session: Any, fetches: Any, feed_list: Any = None, accept_options: bool = False
) -> Any:
    """Replaces `make_callable`, so that its callable goes through `run`."""

    def call(*values: Any, **options: Any) -> Any:
        return session.run(fetches, dict(zip(feed_list or (), values)), **options)

    return call


class Recorder:
    """Turns the runs of all sessions into records."""

    def __init__(self, writer: Writer, limit_mb: float) -> None:
        self._writer = writer
        self._limit = limit_mb * 2**20
        # Locks are taken in this order: that of a session, then this one.
        self._lock = threading.Lock()
        self._watched: Any = weakref.WeakKeyDictionary()  # session: WatchedSession
        self._numbers = itertools.count()
        #: The number of the first run that is recorded without its state, or None.
        self.first_run_without_state: Optional[int] = None
        self.has_trained = False  #: whether a recorded run trained

    def wrapped(self, original: Any) -> Any:
        """Returns a `Session.run` that records."""

        @functools.wraps(original)
        def run(
            session: Any,
            fetches: Any,
            feed_dict: Any = None,
            options: Any = None,
            run_metadata: Any = None,
        ) -> Any:
            read = functools.partial(original, session)
            watched = self._watch(session, read)
            begun = watched.begin(fetches, feed_dict, self.first_run_without_state is None)
            asked = [fetches, begun.sources] if begun.sources else fetches
            try:
                values = original(session, asked, feed_dict, options, run_metadata)
            except Exception as error:
                # A failed run is not atomic: it may have changed variables all the same.
                failed = begun.run._replace(task="", error=f"{type(error).__name__}: {error}")
                self._end(watched, begun, failed, read)
                raise
            except BaseException:
                watched.abandon(begun)
                raise
            values, outputs = values if begun.sources else (values, ())
            self._end(watched, begun, watched.completed(begun, fetches, values, outputs), read)
            return values

        return run

    def _watch(self, session: Any, read: Any) -> WatchedSession:
        with self._lock:
            if session not in self._watched:
                self._watched[session] = WatchedSession(session.graph, next(self._numbers))
            watched = self._watched[session]
        watched.start(read)
        return watched

    def _end(self, watched: WatchedSession, begun: Begun, run: Run, read: Any) -> None:
        """Writes a run that has ended, in the order in which the runs of its session end."""
        with watched.lock:
            ended = watched.end(begun, run, read if self.first_run_without_state is None else None)
            with self._lock:
                self._write(watched.number, ended)

    def _write(self, number: int, ended: Ended) -> None:
        writer = self._writer
        self.has_trained = self.has_trained or bool(ended.run.task)
        if self.first_run_without_state is None and writer.size + _size(ended) > self._limit:
            self.first_run_without_state = writer.runs
            writer.describe({"first_run_without_state": writer.runs})
        if self.first_run_without_state is not None:
            writer.add(ended.run._replace(feeds={}, outputs={}, variables=None))
            return
        if ended.graph is not None:
            writer.add_graph(number, ended.graph)
        if ended.session is not None:
            writer.start_session(number, ended.session)
        writer.add(ended.run)


def _size(ended: Ended) -> int:
    """Returns the bytes that the state of a run takes."""
    parts = [ended.run.feeds, ended.run.outputs, ended.run.variables or {}]
    parts += [ended.session.initial] if ended.session else []
    return sum(array.nbytes for arrays in parts for array in arrays.values())
