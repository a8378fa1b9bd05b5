"""Gives scripts the successors of `tf.contrib` on TensorFlow 2.

tf-slim continues most of it. It was written for TensorFlow 1.15 to 2.2 and imports names from
private modules of TensorFlow that have moved since. They are put back before it is imported.
"""

import contextlib
import functools
import importlib.util
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Callable, Dict, List, Optional, Tuple

from tf1_mtl.legacy_script import mnist

#: The modules of tf.contrib that have a successor, and where names are looked up, in this order.
SUCCESSORS: Dict[str, Tuple[str, ...]] = {
    "eager": (),
    "framework": ("tf_slim.ops.arg_scope", "tf_slim.ops.variables"),
    "layers": ("tf_slim.layers",),
    "learn": (),
    "losses": ("tf_slim.losses",),
    "metrics": ("tf_slim.metrics",),
    "rnn": ("nn.rnn_cell",),
    "slim": ("tf_slim",),
}


def _places(places: str, **renamed: str) -> Dict[str, str]:
    """Returns places in the v1 API by the names that scripts use.

    Args:
      places: Separated by spaces. The name is the end of the place.
      **renamed: Places of other names.
    """
    return {**{place.rpartition(".")[2]: place for place in places.split()}, **renamed}


#: Names of those modules that are in the v1 API today, and their place there.
_IN_CORE: Dict[str, Dict[str, str]] = {
    "eager": _places(
        "GradientTape TensorSpec Variable custom_gradient enable_eager_execution "
        "executing_eagerly function make_template train.Checkpoint",
        defun="function",
        in_eager_mode="executing_eagerly",
        py_func="py_function",
    ),
    "framework": _places(
        "argsort debugging.assert_same_float_dtype debugging.assert_scalar is_tensor nest py_func "
        "sort train.init_from_checkpoint train.list_variables train.load_checkpoint "
        "train.load_variable"
    ),
    "metrics": _places(
        "confusion_matrix",
        set_difference="sets.difference",
        set_intersection="sets.intersection",
        set_size="sets.size",
        set_union="sets.union",
    ),
    "rnn": _places("nn.static_bidirectional_rnn nn.static_rnn nn.static_state_saving_rnn"),
}
#: What tf-slim reads from private modules of TensorFlow, and where newer versions have it.
_MOVED: Dict[str, Dict[str, str]] = {
    "framework.ops": _places("IndexedSlices Tensor"),
    "layers.normalization": _places("layers.BatchNormalization"),
    "ops.array_ops": _places("stack unstack"),
    "ops.control_flow_ops": _places("Assert case cond while_loop"),
    "ops.variable_scope": _places("", variable="Variable"),
}


def use_keras_2() -> None:
    """Chooses Keras 2 where it is installed. Call it before TensorFlow is imported.

    From 2.16 on TensorFlow has Keras 3, which lacks `tf.layers`, `tf.nn.rnn_cell` and the v1 API.
    """
    if importlib.util.find_spec("tf_keras"):
        os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")


class _Contrib(ModuleType):
    """Replaces tf.contrib."""

    def __getattr__(self, name: str) -> Any:
        module = _Successor(f"{self.__name__}.{name}")
        if name in SUCCESSORS and module.homes is not None:
            setattr(self, name, module)
            return module
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _Successor(ModuleType):
    """Replaces a module of tf.contrib.

    Attributes:
      homes: Where its names are looked up, or None if a package for it is not installed.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.part = name.rpartition(".")[2]
        self.homes: Optional[List[Any]] = None
        with contextlib.suppress(ImportError, AttributeError):
            self.homes = [_home(path) for path in SUCCESSORS.get(self.part, ())]

    def __getattr__(self, name: str) -> Any:
        homes = self.homes or []
        if name == "__all__":  # for `from tensorflow.contrib.slim import *`
            return [public for home in homes for public in dir(home) if public[0] != "_"]
        # The source of tf.contrib.rnn was in tensorflow.contrib.rnn.python.ops.core_rnn_cell.
        if name in ("python", "ops", "rnn_cell", "core_rnn_cell", self.part):
            return self
        if f"{self.part}.{name}" in _OWN:
            return _OWN[f"{self.part}.{name}"]
        if name in _IN_CORE.get(self.part, {}):
            return _v1(_IN_CORE[self.part][name])
        for home in homes:
            with contextlib.suppress(ImportError):
                return getattr(home, name, None) or import_module(f"{home.__name__}.{name}")
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


def _home(path: str) -> Any:
    """Returns the module where names of tf.contrib are found today."""
    if not path.startswith("tf_slim"):
        _v1(f"{path}.RNNCell")  # Keras 3 leaves an empty module
        return _v1(path)
    if "tf_slim" not in sys.modules:
        _put_back()
    return import_module(path)


def _put_back() -> None:
    """Adds to private modules of TensorFlow the names that tf-slim reads and they lack."""
    for path, names in _MOVED.items():
        module = import_module(f"tensorflow.python.{path}")
        for name, public in names.items():
            with contextlib.suppress(ImportError, AttributeError):  # without Keras 2
                if not _has(module, name):
                    setattr(module, name, _v1(public))


def _has(module: ModuleType, name: str) -> bool:
    try:
        return hasattr(module, name)
    except ImportError:  # TensorFlow loads layers.normalization from where Keras no longer has it
        return False


def _v1(path: str) -> Any:
    """Returns the object of that name in the v1 API."""
    return functools.reduce(getattr, path.split("."), import_module("tensorflow.compat.v1"))


def _implicit_gradients(function: Callable) -> Callable:
    """Returns a function that returns (gradient, variable) for each variable it reads."""

    def gradients(*args: Any, **kwargs: Any) -> List[Tuple[Any, Any]]:
        with _v1("GradientTape")() as tape:
            value = function(*args, **kwargs)
        variables = tape.watched_variables()
        return list(zip(tape.gradient(value, variables), variables))

    return gradients


#: Names that need code of this package.
_OWN: Dict[str, Any] = {
    "eager.Iterator": iter,
    "eager.implicit_gradients": _implicit_gradients,
    "learn.datasets": mnist.datasets,
}
contrib = _Contrib("tensorflow.contrib")
