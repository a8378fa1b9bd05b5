"""Records what a TensorFlow process runs: every `Session.run`, with the variables after it.

    with recording("run.npz"):
        ...  # sessions of any graph-mode code

Works in any process with `tf.compat.v1`, a real TensorFlow 1.15 too, and with ref and resource
variables. While it is active `Session.run` itself is wrapped, so sessions opened before, hooks,
`Tensor.eval` and a script's own subclasses are seen as well. It adds no operation to a graph and
changes no bit: after each run it fetches the variables through reads that the graph has already,
and with a training run it fetches the random numbers and examples that the run uses.

Not seen: `partial_run`; a callable that `make_callable` made before (one made meanwhile goes
through `run` and is seen); `tf.function` and eager code. Sources inside a loop or a branch cannot
be fetched. Runs of several threads that train one session at once are no steps that a port could
repeat: they are recorded without a task.
"""

import contextlib
import functools
import threading
import weakref
from typing import (
    Any,
    Dict,
    FrozenSet,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Set,
    Tuple,
)

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.baseline.graph_def import recorded_graph
from tf1_mtl.baseline.machine import recorded_by
from tf1_mtl.baseline.recognition import VARIABLES, fetchable_sources, find_article, task_of
from tf1_mtl.baseline.recorded_graph import (
    REF_VARIABLES,
    RecordedGraph,
    canonical,
    needed_nodes,
)
from tf1_mtl.baseline.recordings import Arrays, Run, Session, Variable, Writer
from tf1_mtl.errors import InputError

#: Megabytes of a file up to which it keeps what a check needs, unless `recording` is given others.
LIMIT_MB = 256

# A variable is not initialized, or the session is closed.
_UNREADABLE = (tf.errors.OpError, RuntimeError)

_one_at_a_time = threading.Lock()


@contextlib.contextmanager
def recording(path: str, limit_mb: float = LIMIT_MB, **manifest: Any) -> Iterator["Recorder"]:
    """Records every `Session.run` inside the `with` block.

    Each run is written when it is done, to `path` + ".partial", which has its own name when the
    block is left, by an exception too. `load_recording(path, partial=True)` reads what a kill
    leaves.

    Args:
      path: The file to write.
      limit_mb: When the file has so many megabytes, further runs are recorded without what a check
        needs: fetched values only.
      **manifest: JSON values to keep with it, such as the seed.

    Returns:
      The recorder; `first_run_without_state` says where the limit was reached.

    Raises:
      InputError: The file cannot be written, or a recording is active already.
    """
    if not _one_at_a_time.acquire(blocking=False):
        raise InputError(f"{path}: a recording is active already. End it first.")
    try:
        writer = Writer(path, {"recorded_by": recorded_by(tf.__version__), **manifest})
        recorder = Recorder(writer, limit_mb)
        home = _home_of_run()
        run, make_callable = home.run, home.make_callable
        home.run, home.make_callable = recorder.wrapped(run), _seen_callable
        try:
            yield recorder
        finally:
            home.run, home.make_callable = run, make_callable
            writer.close()
    finally:
        _one_at_a_time.release()


def _home_of_run() -> Any:
    """Returns the class that defines `run` for all kinds of sessions."""
    return next(kind for kind in tf.Session.__mro__ if "run" in vars(kind))


def _seen_callable(
    session: Any, fetches: Any, feed_list: Any = None, accept_options: bool = False
) -> Any:
    """Stands for `make_callable` while a recording is active: its callable goes through `run`."""

    def call(*values: Any, **options: Any) -> Any:
        return session.run(fetches, dict(zip(feed_list or (), values)), **options)

    return call


class Recorder:
    """Turns the runs of all sessions into records."""

    def __init__(self, writer: Writer, limit_mb: float) -> None:
        self._writer = writer
        self._limit = limit_mb * 2**20
        self._lock = threading.Lock()  # of the writer and of the sessions
        self._watched: Any = weakref.WeakKeyDictionary()  # session: _Watched
        self._sessions = 0
        #: The number of the first run that was recorded without state, or None.
        self.first_run_without_state: Optional[int] = None

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
            begun = watched.begin(fetches, feed_dict)
            sources = begun.sources if self.first_run_without_state is None else []
            asked = [fetches, sources] if sources else fetches
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
            values, outputs = values if sources else (values, [])
            leaves = _leaves(session.graph, fetches, values)
            done = begun.run._replace(
                fetched={name: _storable(value) for name, value in leaves},
                outputs=_storables(zip(map(_name, sources), outputs)),
            )
            self._end(watched, begun, done, read)
            return values

        return run

    def _watch(self, session: Any, read: Any) -> "_Watched":
        with self._lock:
            if session not in self._watched:
                self._watched[session] = _Watched(session.graph, read, self._sessions)
                self._sessions += 1
            return self._watched[session]

    def _end(self, watched: "_Watched", begun: "_Begun", run: Run, read: Any) -> None:
        """Writes a run that has ended, in the order in which the runs of its session end."""
        with watched.lock:
            keeps_state = self.first_run_without_state is None
            graph, session, run = watched.end(begun, run, read if keeps_state else None)
            with self._lock:
                if self.first_run_without_state is None and self._writer.size >= self._limit:
                    self.first_run_without_state = self._writer.runs
                    self._writer.describe({"first_run_without_state": self._writer.runs})
                if self.first_run_without_state is not None:
                    run = run._replace(feeds={}, outputs={}, variables=None)
                else:
                    if graph is not None:
                        self._writer.add_graph(watched.number, graph)
                    if session is not None:
                        self._writer.start_session(watched.number, session)
                self._writer.add(run)


class _Begun(NamedTuple):
    """A run that is going on."""

    number: int  # among those of the session
    run: Run  # what is known of it
    sources: List[Any]  # tensors to fetch with it


class _Watched:
    """One session: its graph, and what its variables were after its last run."""

    def __init__(self, graph: Any, read: Any, number: int) -> None:
        """Reads the graph and the variables.

        Args:
          graph: The graph of the session.
          read: The `run` of the session, unrecorded.
          number: In the order in which sessions first ran.
        """
        self.number = number
        self.lock = threading.RLock()
        self._graph = graph
        self._version = 0
        self._recorded = RecordedGraph({})
        self._unwritten = RecordedGraph({})  # what the graph got since it was written
        self._has_trained = False
        self._begun = 0
        self._training: Set[int] = set()  # runs that are going on
        self._overlapping: Set[int] = set()  # runs that trained while another one did
        self._refresh()
        self._values = self._read_variables(read)  # an uninitialized variable is absent

    def begin(self, fetches: Any, feed_dict: Any) -> _Begun:
        """Returns what is known of a run before it starts."""
        with self.lock:
            self._refresh()
            fetched = [name for name, _ in _leaves(self._graph, fetches, None)]
            feeds = _feeds(self._graph, feed_dict)
            task, sources = self._plan(tuple(fetched), frozenset(feeds))
            self._begun += 1
            if task:
                self._training.add(self._begun)
                if len(self._training) > 1:
                    self._overlapping |= self._training
            run = Run(task, feeds, dict.fromkeys(fetched), session=self.number)
            return _Begun(self._begun, run, sources)

    def abandon(self, begun: _Begun) -> None:
        """Forgets a run."""
        with self.lock:
            self._training.discard(begun.number)

    def end(
        self, begun: _Begun, run: Run, read: Any
    ) -> Tuple[Optional[RecordedGraph], Optional[Session], Run]:
        """Completes a run that has ended.

        Args:
          begun: What `begin` returned.
          run: The run without its variables.
          read: The `run` of the session, unrecorded; None when no state is kept any more.

        Returns:
          What is to be written: new nodes of the graph, the session before its first training run,
          the run.
        """
        self._training.discard(begun.number)
        if begun.number in self._overlapping:
            self._overlapping.discard(begun.number)
            run = run._replace(task="")
        graph, session = None, None
        if run.task and not self._has_trained:
            self._has_trained = True
            article = self._article.names if self._article else {}
            session = Session(None, tuple(self._variables), self._values, article)
        if self._has_trained and self._unwritten.nodes:
            graph, self._unwritten = self._unwritten, RecordedGraph({})
        if read is not None and not self._training:
            self._values = self._read_variables(read)
            run = run._replace(variables=self._values)
        return graph, session, run

    def _refresh(self) -> None:
        """Looks at the graph again if it has grown."""
        version = self._graph.version
        if self._version == version:
            return
        added = recorded_graph(self._graph, tf, since=self._version)
        self._recorded = _joined(self._recorded, added)
        self._unwritten = _joined(self._unwritten, added)
        self._article = find_article(self._recorded)
        trainable = self._collected(tf.GraphKeys.TRAINABLE_VARIABLES)
        self._local = self._collected(tf.GraphKeys.LOCAL_VARIABLES)
        self._variables = [
            Variable(
                node.name, "ref" if node.op in REF_VARIABLES else "resource", node.name in trainable
            )
            for node in self._recorded.nodes.values()
            if node.op in VARIABLES
        ]
        reads = ((x.name, _existing_read(self._graph, x)) for x in self._variables)
        self._reads = {name: read for name, read in reads if read is not None}
        self._plans: Dict[Any, Tuple[str, List[Any]]] = {}
        self._version = version

    def _collected(self, collection: str) -> FrozenSet[str]:
        return frozenset(variable.op.name for variable in self._graph.get_collection(collection))

    def _plan(self, fetches: Tuple[str, ...], fed: FrozenSet[str]) -> Tuple[str, List[Any]]:
        """Returns the task of a run, and the sources to fetch with it."""
        if (fetches, fed) not in self._plans:
            known = [name for name in fetches if not name.startswith("<")]
            task = task_of(self._recorded, known, fed, self._article, self._local)
            sources = []
            if task:
                nodes = needed_nodes(self._recorded.nodes, known, fed)
                for name in fetchable_sources(nodes):
                    outputs = self._graph.get_operation_by_name(name).outputs
                    sources += [x for x in outputs if self._is_fetchable(x) and _name(x) not in fed]
            self._plans[fetches, fed] = task, sources
        return self._plans[fetches, fed]

    def _is_fetchable(self, tensor: Any) -> bool:
        return tensor.dtype.name not in ("resource", "variant") and self._graph.is_fetchable(tensor)

    def _read_variables(self, read: Any) -> Arrays:
        """Returns every variable that has a value, with it."""
        try:
            found = read(self._reads) if self._reads else {}
        except _UNREADABLE:  # some are not initialized: one by one
            found = {}
            for name, tensor in self._reads.items():
                with contextlib.suppress(*_UNREADABLE):
                    found[name] = read(tensor)
        return _storables(found.items())


def _joined(graph: RecordedGraph, added: RecordedGraph) -> RecordedGraph:
    return RecordedGraph({**graph.nodes, **added.nodes}, {**graph.functions, **added.functions})


def _existing_read(graph: Any, variable: Variable) -> Optional[Any]:
    """Returns a tensor that holds the value of the variable and needs nothing else."""
    held = graph.get_operation_by_name(variable.name).outputs[0]
    if variable.kind == "ref":
        return held
    for op in held.consumers():
        if op.type == "ReadVariableOp" and not op.control_inputs:
            return op.outputs[0]
    return None


def _name(tensor: Any) -> str:
    return canonical(tensor.name)


def _leaves(graph: Any, fetches: Any, values: Any) -> Iterator[Tuple[str, Any]]:
    """Gives the name and the value of everything that was fetched.

    Args:
      graph: The graph of the session.
      fetches: What `run` was asked for.
      values: What it returned, or None.
    """
    parts: Iterable[Tuple[Any, Any]] = ()  # of a fetch: where its value is in that of the whole
    if isinstance(fetches, (list, tuple)):
        parts = enumerate(fetches)
    elif isinstance(fetches, dict):
        parts = fetches.items()
    elif isinstance(fetches, (tf.SparseTensor, tf.IndexedSlices)):
        values = None if values is None else values._asdict()
        names = ("indices", "values", "dense_shape")
        parts = [(name, getattr(fetches, name)) for name in names]
        parts = [(name, part) for name, part in parts if part is not None]
    else:
        try:
            yield _name(graph.as_graph_element(fetches)), values
        except (TypeError, ValueError, KeyError):  # it makes the run fail, or is of a rare type
            yield f"<{type(fetches).__name__}>", None
    for key, fetch in parts:
        yield from _leaves(graph, fetch, None if values is None else values[key])


def _feeds(graph: Any, feed_dict: Any) -> Arrays:
    """Returns the values of the fed tensors, as TensorFlow takes them."""
    fed: Arrays = {}
    for key, value in _pairs(feed_dict):
        try:
            tensor = graph.as_graph_element(key, allow_operation=False)
            array = _storable(np.asarray(value, dtype=tensor.dtype.as_numpy_dtype))
        except Exception:  # it makes the run fail, with a better message
            continue
        if array is not None:
            fed[_name(tensor)] = array
    return fed


def _pairs(feed_dict: Any) -> Iterator[Tuple[Any, Any]]:
    """Gives keys and values of a feed_dict; a sparse tensor is fed by three."""
    for key, value in feed_dict.items() if isinstance(feed_dict, dict) else ():
        keys = key
        if isinstance(key, tf.SparseTensor):
            keys = (key.indices, key.values, key.dense_shape)
        if isinstance(keys, tuple) and isinstance(value, tuple) and len(keys) == len(value):
            yield from zip(keys, value)
        else:
            yield key, value


def _storables(values: Iterable[Tuple[str, Any]]) -> Arrays:
    found = {name: _storable(value) for name, value in values}
    return {name: array for name, array in found.items() if array is not None}


def _storable(value: Any) -> Optional[np.ndarray]:
    """Returns what a recording can hold: numbers; a string as its bytes; None for the rest."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return np.array(bytearray(value), np.uint8)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "V":  # bfloat16 and smaller numbers, which the file does not have
            return array.astype(np.float32)
        return array.astype(np.bytes_) if array.dtype.hasobject else array
    except (TypeError, ValueError):
        return None
