"""The article "Multi-Task Learning in Tensorflow: Part 1" on `tf.compat.v1`, number for number.

    from tf1_mtl import build_graph, open_session, train, feeds

The names below are loaded on first use: importing tf1_mtl imports no TensorFlow.
"""

from typing import TYPE_CHECKING

from tf1_mtl.lazy import load_on_first_use

if TYPE_CHECKING:
    from tf1_mtl import baseline, data, feeds
    from tf1_mtl.errors import InputError
    from tf1_mtl.graph import MultiTaskGraph, build_graph
    from tf1_mtl.session import open_session
    from tf1_mtl.training import Step, train

__version__ = "1.0.0"

__all__ = [
    "InputError",
    "MultiTaskGraph",
    "Step",
    "baseline",
    "build_graph",
    "data",
    "feeds",
    "open_session",
    "train",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_first_use(
        __name__,
        {
            "InputError": "errors",
            "MultiTaskGraph": "graph",
            "build_graph": "graph",
            "open_session": "session",
            "Step": "training",
            "train": "training",
            "baseline": "",
            "data": "",
            "feeds": "",
        },
    )
