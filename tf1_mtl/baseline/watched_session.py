"""Watches one session: its graph, its variables, and what its runs are given and give."""

import contextlib
import threading
from collections.abc import Mapping
from typing import Any, Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.baseline.graph_def import recorded_graph
from tf1_mtl.baseline.recognition import find_article
from tf1_mtl.baseline.recorded_graph import (
    REF_VARIABLES,
    VARIABLES,
    RecordedGraph,
    canonical,
    needed_nodes,
)
from tf1_mtl.baseline.recordings import Arrays, Run, Session, Variable
from tf1_mtl.baseline.tasks import fetchable_sources, task_of

# A variable is not initialized, or the session is closed.
_UNREADABLE = (tf.errors.OpError, RuntimeError)


class Begun(NamedTuple):
    """Holds what is known of a run that is going on."""

    number: int  #: among the runs of the session
    run: Run  #: what is known of it
    sources: List[Any]  #: tensors to fetch with it


class Ended(NamedTuple):
    """Holds what is to be written of a run."""

    run: Run
    graph: Optional[RecordedGraph]  #: nodes that are not written yet
    session: Optional[Session]  #: the state before the first training run of the session


class WatchedSession:
    """Knows the graph of one session, and the values of its variables after the last run."""

    def __init__(self, graph: Any, number: int) -> None:
        """Prepares to watch. `start` must follow.

        Args:
          graph: The graph of the session.
          number: In the order in which sessions first ran.
        """
        self.number = number
        self.lock = threading.RLock()
        self._graph = graph
        self._version = -1
        self._recorded = self._unwritten = RecordedGraph({})
        self._has_trained = False
        self._begun = 0
        self._training: Set[int] = set()  # runs that are going on
        self._overlapping: Set[int] = set()  # runs during which another one trained too
        self._values: Optional[Arrays] = None  # a variable that is not initialized is absent

    def start(self, read: Any) -> None:
        """Reads the variables, before the first run that is recorded.

        Args:
          read: The `run` of the session, unrecorded.
        """
        with self.lock:
            if self._values is None:
                self._refresh()
                self._values = self._read_variables(read)

    def begin(self, fetches: Any, feed_dict: Any, keeps_state: bool) -> Begun:
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
            return Begun(self._begun, run, sources if keeps_state else [])

    def completed(self, begun: Begun, fetches: Any, values: Any, outputs: Iterable[Any]) -> Run:
        """Returns the record of a run with what it returned."""
        fetched = {name: _storable(x) for name, x in _leaves(self._graph, fetches, values)}
        return begun.run._replace(
            fetched=fetched, outputs=_storables(zip(map(_name, begun.sources), outputs))
        )

    def abandon(self, begun: Begun) -> None:
        """Forgets a run that ended by an interrupt."""
        with self.lock:
            self._training.discard(begun.number)

    def end(self, begun: Begun, run: Run, read: Any) -> Ended:
        """Completes the record of a run that has ended; the caller holds `lock`.

        Args:
          begun: What `begin` returned.
          run: The record without variables.
          read: The `run` of the session, unrecorded; None when no state is kept any more.
        """
        self._training.discard(begun.number)
        if begun.number in self._overlapping:
            self._overlapping.discard(begun.number)
            run = run._replace(task="")
        graph = session = None
        if run.task and not self._has_trained:
            self._has_trained = True
            article = self._article.names if self._article else {}
            session = Session(None, tuple(self._variables), self._values or {}, article)
        if self._has_trained and self._unwritten.nodes:
            graph, self._unwritten = self._unwritten, RecordedGraph({})
        if read is not None and not self._training:
            self._values = self._read_variables(read)
            run = run._replace(variables=self._values)
        return Ended(run, graph, session)

    def _refresh(self) -> None:
        """Looks at the graph again if it has grown."""
        version = self._graph.version
        if self._version == version:
            return
        added = recorded_graph(self._graph, tf, since=max(self._version, 0), has_lines=True)
        self._recorded = self._recorded.joined(added)
        self._unwritten = self._unwritten.joined(added)
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
            sources: List[Any] = []
            if task:
                for name in fetchable_sources(needed_nodes(self._recorded.nodes, known, fed)):
                    outputs = self._graph.get_operation_by_name(name).outputs
                    sources += [x for x in outputs if self._is_fetchable(x) and _name(x) not in fed]
            self._plans[fetches, fed] = task, sources
        return self._plans[fetches, fed]

    def _is_fetchable(self, tensor: Any) -> bool:
        return tensor.dtype.name not in ("resource", "variant") and self._graph.is_fetchable(tensor)

    def _read_variables(self, read: Any) -> Arrays:
        """Returns the value of every variable that has one."""
        found: Dict[str, Any] = {}
        try:
            found = read(self._reads) if self._reads else {}
        except _UNREADABLE:  # some are not initialized: one by one
            for name, tensor in self._reads.items():
                with contextlib.suppress(*_UNREADABLE):
                    found[name] = read(tensor)
        return _storables(found.items())


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
    elif isinstance(fetches, Mapping):
        parts = fetches.items()
    elif isinstance(fetches, (tf.SparseTensor, tf.IndexedSlices)):
        values = None if values is None else values._asdict()
        named = ((name, getattr(fetches, name)) for name in ("indices", "values", "dense_shape"))
        parts = [(name, tensor) for name, tensor in named if tensor is not None]
    else:
        try:
            yield _name(graph.as_graph_element(fetches)), values
        except (TypeError, ValueError, KeyError):  # it makes the run fail, or is of a rare type
            yield f"<{type(fetches).__name__}>", None
    for key, fetch in parts:
        yield from _leaves(graph, fetch, None if values is None else values[key])


def _feeds(graph: Any, feed_dict: Any) -> Arrays:
    """Returns the values of the fed tensors, as TensorFlow takes them."""
    fed = []
    for key, value in _pairs(feed_dict):
        # Whatever is wrong here makes the run fail too, with a better message.
        with contextlib.suppress(Exception):
            tensor = graph.as_graph_element(key, allow_operation=False)
            fed.append((_name(tensor), np.asarray(value, dtype=tensor.dtype.as_numpy_dtype)))
    return _storables(fed)


def _pairs(feed_dict: Any) -> Iterator[Tuple[Any, Any]]:
    """Gives the keys and values of a feed_dict; a sparse tensor is fed by three."""
    for key, value in feed_dict.items() if isinstance(feed_dict, Mapping) else ():
        if isinstance(key, tf.SparseTensor):
            key = (key.indices, key.values, key.dense_shape)
        if isinstance(key, tuple) and isinstance(value, tuple):
            yield from zip(key, value)
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
