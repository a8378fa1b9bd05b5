"""Runs an unmodified TensorFlow 1 graph-mode script on the TensorFlow that is installed.

The script, and the modules of its own beside it, get the v1 API for `import tensorflow`. Installed
packages (Keras, TensorFlow itself) keep the real one, so `sys.modules` is left alone; it is the
import statement that answers by who asks. A process that the script starts anew (multiprocessing's
"spawn", not "fork") is plain Python.
"""

import builtins
import functools
import logging
import os
import re
import runpy
import sys
import sysconfig
import traceback
from types import ModuleType
from typing import Any, Mapping, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.errors import InputError

_REAL_TENSORFLOW_1 = (
    "run it on a real TensorFlow 1.15 (Python 3.7: pip install tensorflow==1.15.5 'protobuf<3.21')"
)


def _lacks(names: str) -> str:
    """The pattern of an attribute or an import of TensorFlow's that is not there."""
    return (
        rf"module 'tensorflow\S* has no attribute '({names})'"
        rf"|cannot import name '({names})' from 'tensorflow"
    )


#: What an uncaught error's report matches, what is missing, and what to do.
_HINTS: Tuple[Tuple[str, str], ...] = (
    (
        _lacks("contrib") + r"|'tensorflow\.contrib",
        "tf.contrib went with TensorFlow 2.0. For slim: pip install tf_slim, and import tf_slim; "
        f"for the rest, {_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks("layers|rnn_cell") + r"|not available with Keras 3"
        r"|(module|cannot import name \S+ from) 'keras\._tf_keras"
        r"|Could not interpret optimizer identifier: <tensorflow"
        r"|(?s:keras.src.*Dataset` only supports Python-style iteration)",  # its fit, in a graph
        "tf.layers, tf.nn.rnn_cell and Keras's v1 API went with Keras 3 (TensorFlow 2.16). Install "
        "Keras 2 (pip install tf_keras, in TensorFlow's own version) and set TF_USE_LEGACY_KERAS=1 "
        f"in the environment, use a TensorFlow below 2.16, or {_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks("estimator") + r"|'tensorflow\.estimator",
        "tf.estimator went with TensorFlow 2.16. Use a TensorFlow below 2.16, or "
        f"{_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks("examples") + r"|'tensorflow\.examples",
        "tensorflow.examples (its MNIST reader too) went with TensorFlow 2.0. Read the data in "
        f"another way, or {_REAL_TENSORFLOW_1}.",
    ),
    (
        _lacks(".*") + r"|No module named '[tT]ensorflow\.",
        "This is not in the v1 API of the TensorFlow here. Look for its new place, or "
        f"{_REAL_TENSORFLOW_1}.",
    ),
    (
        r"SyntaxError: Missing parentheses in call to 'print'"
        r"|SyntaxError: multiple exception types must be parenthesized|TabError: "
        r"|NameError: name '(xrange|raw_input|unicode)' is not defined"
        r"|No module named '(cPickle|urllib2|StringIO|cStringIO|ConfigParser|Queue)'"
        r"|'dict' object has no attribute '(iteritems|has_key)'",
        "The script is written for Python 2. Convert it first, for example with 2to3 (which Python "
        "has up to 3.12).",
    ),
)


def check(path: str) -> None:
    """Raises InputError unless there is a script to run at that path."""
    if not os.path.isfile(path):
        what = "a directory" if os.path.isdir(path) else "no such file"
        raise InputError(f"{path}: {what}, but should be a Python script. Check the path.")


def prepare(seed: Optional[int] = None) -> None:
    """Puts TensorFlow into its version 1 behaviour, for the rest of this process.

    Args:
      seed: Seeds NumPy's global stream and the default graph; None leaves both alone.
    """
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    # TensorFlow says at its first look for a GPU that there is none; let it look now, while its
    # noise is held back. Where there is one, the look would settle CUDA_VISIBLE_DEVICES, which many
    # a script sets at its top.
    if hasattr(tf, "config") and not os.path.exists("/dev/nvidiactl"):  # tf.config: from 1.14 on
        tf.config.experimental.list_physical_devices("GPU")
    if seed is not None:
        np.random.seed(seed)
        tf.set_random_seed(seed)


def show_warnings() -> None:
    """Shows `tf.logging.warn` again, which `quiet` holds back, but for TensorFlow's deprecations.

    The script may warn in that way itself.
    """
    logger = logging.getLogger("tensorflow")
    logger.setLevel(logging.NOTSET)  # as TensorFlow leaves it: the root's, which is WARNING
    logger.addFilter(lambda record: "deprecated" not in record.getMessage())


def run(path: str, args: Sequence[str] = ()) -> int:
    """Runs the script as `__main__`; call `prepare` before.

    Args:
      path: The script.
      args: What follows its name in `sys.argv`.

    Returns:
      The script's exit status; 1 after an uncaught exception, whose traceback of the script's own
      lines is on stderr, with one line more where TensorFlow 1 code asked for what is not here.
    """
    before = builtins.__import__, sys.argv, sys.path[:]
    builtins.__import__ = _import
    sys.argv = [path, *args]
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    try:
        runpy.run_path(path, run_name="__main__")
        return 0
    except SystemExit as exit_:
        return _status(exit_.code)
    except Exception as error:
        _print_traceback(error, path)
        return 1
    finally:
        builtins.__import__, sys.argv, sys.path[:] = before


class _V1(ModuleType):
    """What a script gets for `import tensorflow`: the v1 API under TensorFlow's own name."""

    def __getattr__(self, name: str) -> Any:
        import tensorflow

        try:
            return getattr(tensorflow if _is_real(name) else tensorflow.compat.v1, name)
        except AttributeError:
            raise AttributeError(f"module 'tensorflow' has no attribute {name!r}") from None


_v1 = _V1("tensorflow")
_python_import = builtins.__import__
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_PYTHONS = sysconfig.get_path("stdlib") + os.sep


def _import(
    name: str,
    globals: Optional[Mapping[str, Any]] = None,
    locals: Optional[Mapping[str, Any]] = None,
    fromlist: Optional[Sequence[str]] = (),
    level: int = 0,
) -> Any:
    """The import statement while a script runs; the arguments are those of `__import__`."""
    top, _, rest = name.partition(".")
    importer = (globals or {}).get("__file__") or ""
    if level or top not in ("tensorflow", "Tensorflow") or not _is_scripts(importer):
        return _python_import(name, globals, locals, fromlist, level)
    if not rest:
        return _v1
    # `from tensorflow.nn import dropout` means TensorFlow 1's; tensorflow.python.ops is as it is.
    module = _part_of_v1(rest)
    if module is None:
        module = _python_import(f"tensorflow.{rest}", globals, locals, fromlist, level)
    return module if fromlist else _v1


def _part_of_v1(rest: str) -> Any:
    """The v1 API's own `tensorflow.<rest>`; None where the real one is to be imported."""
    if _is_real(rest.partition(".")[0]):
        return None
    try:
        return functools.reduce(getattr, rest.split("."), _v1)
    except AttributeError:
        return None


def _is_real(name: str) -> bool:
    """True where a script's `tensorflow.<name>` is TensorFlow's, not the v1 API's."""
    import tensorflow

    # In 2.0 the v1 API's own compat lacks v1, which `import tensorflow.compat.v1` looks up.
    return tensorflow.__version__.startswith("1.") or name == "compat"


def _is_scripts(file: str) -> bool:
    """True for the script and the modules of its own; False for what is installed."""
    path = os.path.abspath(file)
    installed = {"site-packages", "dist-packages"} & set(path.split(os.sep))
    return not installed and not path.startswith((_OURS, _PYTHONS))


def _print_traceback(error: Exception, path: str) -> None:
    """Prints the traceback from the script's first line on, and a hint where there is one."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    report = traceback.TracebackException(type(error), error, trace)
    report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith(_OURS)]
    text = "".join(report.format())
    print(text, end="", file=sys.stderr)
    # What the error arose from, such as one that the script has handled, is reported before it.
    hint = _hint(text.rpartition("Traceback (most recent call last):\n")[2])
    if hint:
        print(f"tf1-mtl: {hint}", file=sys.stderr)


def _hint(report: str) -> str:
    for pattern, hint in _HINTS:
        if re.search(pattern, report):
            return hint
    return ""


def _status(code: Any) -> int:
    """The exit status of `sys.exit(code)`."""
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    print(code, file=sys.stderr)
    return 1
