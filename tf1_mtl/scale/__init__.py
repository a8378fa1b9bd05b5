"""Many steps, fast, and never lost: step modes and checkpoints.

A *way of stepping* is a function `(net, session, batches) -> iterator of Step`. All of them train
the same variables and slots of the same session, so a run may change from one to another
wherever it likes.

    session    the article's `session.run([op, loss], feed_dict)`                    bit for bit
    prepared   batches held in the graph; a step is one prepared call without feeds  bit for bit
    in-graph   hundreds of steps inside one `session.run`: `tf.while_loop`           bit for bit
    compiled   the same loop, rewritten for the XLA compiler                         other rounding

`train(..., stepping=...)` takes the way asked for. No TensorFlow is imported here.
"""

import importlib
from typing import Any

from tf1_mtl.errors import InputError

_MODULES = {"prepared": "prepared", "in-graph": "in_graph", "compiled": "compiled"}

#: The ways of stepping, the article's own first.
STEPPINGS = ("session", *_MODULES)


def way(stepping: str) -> Any:
    """The module of one of the faster ways, with its `steps` and its `config`.

    Raises:
      InputError: There is no such way.
    """
    if stepping not in _MODULES:
        raise InputError(f"stepping: {stepping!r}, but should be one of {', '.join(STEPPINGS)}.")
    return importlib.import_module(f"tf1_mtl.scale.{_MODULES[stepping]}")


def session_config(stepping: str, variables: str = "ref") -> Any:
    """The `tf.ConfigProto` with which a way of stepping is fastest; give it to `open_session`.

    Args:
      stepping: One of STEPPINGS.
      variables: The kind that the graph was built with, "ref" or "resource".

    Returns:
      None for "session", which the article opens without one.
    """
    return None if stepping == "session" else way(stepping).config(variables)
