"""Runs a script up to its first run that trains, and gives the graph that it was about to train."""

import contextlib
import functools
import sys
from typing import Any, Callable, Dict, Optional, Sequence

import tensorflow.compat.v1 as tf

from tf1_mtl import legacy_script
from tf1_mtl.baseline.recorder import wrapped_run
from tf1_mtl.baseline.watched_session import WatchedSession
from tf1_mtl.errors import InputError, printable


def graph_of_script(path: str, args: Sequence[str], missing: Callable[[tf.Graph], str]) -> tf.Graph:
    """Runs a script until a session is about to train a graph that has what is wanted.

    That run does not happen. If the script ends before, the graph is the last one that has what is
    wanted. It is one that the script ran, or the default graph.

    Args:
      path: The script; see `legacy_script.run`, which lasts for the rest of the process.
      args: Its arguments.
      missing: Returns "" for a graph that has what is wanted, and else says what it lacks.

    Raises:
      InputError: The script ends with an error before, or no graph has what is wanted.
    """
    watch = _Watch(path, missing)
    status: Any = 0
    try:
        with wrapped_run(watch.wrapped):
            legacy_script.run(path, args)
    except SystemExit as end:
        status = end.code
    finally:
        for session in watch.sessions:
            with contextlib.suppress(Exception):
                session.close()  # threads that wait for it would go on
    if watch.found is not None:
        return watch.found
    if status:
        raise InputError(
            f"{path}: ended with status {status} before it trained. Try `tf1-mtl run {path}` first."
        )
    graphs = [tf.get_default_graph(), *(session.graph for session in watch.sessions)]
    for graph in reversed(graphs):
        if not missing(graph):
            return graph
    if watch.lack:  # which is on stderr already
        raise InputError(f"{path}: ended, and no graph has all names. Correct the name above.")
    raise InputError(f"{path}: {missing(graphs[-1])}")


class _Watch:
    """Looks at each `Session.run` before it starts."""

    def __init__(self, path: str, missing: Callable[[tf.Graph], str]) -> None:
        self._path, self._missing = path, missing
        self.sessions: Dict[Any, WatchedSession] = {}
        self.found: Optional[tf.Graph] = None  #: the graph that is about to be trained
        self.lack = ""  #: what the first graph that trains lacks

    def wrapped(self, original: Any) -> Any:
        """Returns a `Session.run` that does not train the graph that is looked for."""

        @functools.wraps(original)
        def run(session: Any, fetches: Any, feed_dict: Any = None, *args: Any, **more: Any) -> Any:
            self._look(session, fetches, feed_dict)
            return original(session, fetches, feed_dict, *args, **more)

        return run

    def _look(self, session: Any, fetches: Any, feed_dict: Any) -> None:
        """Ends the script if this run would train a graph that has what is wanted."""
        if session not in self.sessions:
            self.sessions[session] = WatchedSession(session.graph, len(self.sessions))
        begun = self.sessions[session].begin(fetches, feed_dict, keeps_state=False)
        self.sessions[session].abandon(begun)
        if not begun.run.task:
            return
        lack = self._missing(session.graph)
        if not lack:
            self.found = session.graph
            raise SystemExit  # also ends a thread without a traceback
        if not self.lack:
            self.lack = lack
            print(
                printable(f"tf1-mtl: {self._path}: {lack} The script goes on, in case it trains "
                "another graph. Ctrl-C ends it."), file=sys.stderr,
            )  # fmt: skip
