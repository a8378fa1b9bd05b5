"""Makes many steps fast, and saves them: step modes and checkpoints.

A *step mode* is a function `(net, session, batches) -> iterator of Step`. All of them train the
same variables and slots of the same session. So a run may change the step mode between any two
steps.

    session    `session.run([op, loss], feed_dict)`, as in the article      the same bits
    prepared   one prepared call without feeds; the graph holds the batches the same bits
    in-graph   hundreds of steps inside one `session.run`: `tf.while_loop`  the same bits
    compiled   the same loop, rewritten for the XLA compiler                other rounding

With wide layers, where XLA is slower, `compiled` makes the steps of `in-graph`.

`train(..., stepping=...)` takes the name of the mode. No TensorFlow is imported here.
"""

import importlib
from typing import Any

from tf1_mtl.errors import InputError

_MODULES = {"prepared": "prepared", "in-graph": "in_graph", "compiled": "compiled"}

#: The step modes. The first is that of the article.
STEPPINGS = ("session", *_MODULES)


def step_mode(stepping: str) -> Any:
    """Returns the module of one of the faster step modes, with its `steps` and its `config`.

    Raises:
      InputError: `stepping` is not the name of a faster step mode.
    """
    if stepping not in _MODULES:
        raise InputError(f"stepping: {stepping!r}, but should be one of {', '.join(STEPPINGS)}.")
    return importlib.import_module(f"tf1_mtl.scale.{_MODULES[stepping]}")


def fastest_variables(stepping: str) -> str:
    """Returns the kind of variables, "ref" or "resource", with which a step mode is fastest.

    Both give the same bits. "ref" is that of the article. The executor that makes "prepared" fast
    does not accept it.
    """
    return "resource" if stepping == "prepared" else "ref"


def session_config(stepping: str, variables: str = "ref") -> Any:
    """Returns the `tf.ConfigProto` for `open_session` with which a step mode is fastest.

    Args:
      stepping: One of STEPPINGS.
      variables: The kind that the graph was built with, "ref" or "resource".

    Returns:
      None for "session", which the article opens without one.
    """
    return None if stepping == "session" else step_mode(stepping).config(variables)
