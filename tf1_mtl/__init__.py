"""The article "Multi-Task Learning in Tensorflow: Part 1" on `tf.compat.v1`, number for number.

    from tf1_mtl import build_graph, open_session, train, feeds

The names below are loaded on first use: importing tf1_mtl imports no TensorFlow.
"""

import importlib
from typing import Any, List

__version__ = "1.0.0"

_HOME = {
    "InputError": "tf1_mtl.errors",
    "MultiTaskGraph": "tf1_mtl.graph",
    "build_graph": "tf1_mtl.graph",
    "open_session": "tf1_mtl.session",
    "Step": "tf1_mtl.training",
    "train": "tf1_mtl.training",
}
_MODULES = ("baseline", "data", "feeds")

__all__ = sorted([*_HOME, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"tf1_mtl.{name}")
    raise AttributeError(f"module 'tf1_mtl' has no attribute {name!r}")


def __dir__() -> List[str]:
    return sorted([*globals(), *__all__])
