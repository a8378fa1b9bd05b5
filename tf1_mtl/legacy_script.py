"""Runs an unmodified TensorFlow 1 graph-mode script on the TensorFlow that is installed.

The script, and the modules of its own beside it, get the v1 API for `import tensorflow`. Installed
packages (Keras, TensorFlow itself) keep the real one, so `sys.modules` is left alone; it is the
import statement that answers by who asks.
"""

import builtins
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

#: What an uncaught error's last line matches, what is missing, and what to do.
_HINTS: Tuple[Tuple[str, str], ...] = (
    (
        r"'tensorflow\.contrib|module 'tensorflow\S* has no attribute 'contrib'",
        "tf.contrib went with TensorFlow 2.0. For slim: pip install tf_slim, and import tf_slim; "
        f"for the rest, {_REAL_TENSORFLOW_1}.",
    ),
    (
        r"module 'tensorflow\S* has no attribute '(layers|rnn_cell)'|not available with Keras 3",
        "tf.layers, tf.nn.rnn_cell and Keras's v1 API went with Keras 3 (TensorFlow 2.16). Use a "
        f"TensorFlow below 2.16, or {_REAL_TENSORFLOW_1}.",
    ),
    (
        r"'tensorflow\.examples|module 'tensorflow\S* has no attribute 'examples'",
        "tensorflow.examples (its MNIST reader too) went with TensorFlow 2.0. Read the data in "
        f"another way, or {_REAL_TENSORFLOW_1}.",
    ),
    (
        r"module 'tensorflow[^']*' has no attribute|No module named '[tT]ensorflow\.",
        "This is not in the v1 API of the TensorFlow here. Look for its new place, or "
        f"{_REAL_TENSORFLOW_1}.",
    ),
    (
        r"SyntaxError: Missing parentheses in call to 'print'",
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
    # noise is held back. The look reserves no memory and fixes no setting of the script's session.
    if hasattr(tf, "config"):  # from 1.14 on
        tf.config.experimental.list_physical_devices("GPU")
    if seed is not None:
        np.random.seed(seed)
        tf.set_random_seed(seed)


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

        # In 2.0 the v1 API's own compat lacks v1, which `import tensorflow.compat.v1` looks up.
        whole = tensorflow.__version__.startswith("1.") or name == "compat"
        api = tensorflow if whole else tensorflow.compat.v1
        try:
            return getattr(api, name)
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
    if rest:
        # A submodule, such as tensorflow.python.ops, is imported as it is.
        module = _python_import(f"tensorflow.{rest}", globals, locals, fromlist, level)
        if fromlist:
            return module
    return _v1


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
    print("".join(report.format()), end="", file=sys.stderr)
    hint = _hint(error)
    if hint:
        print(f"tf1-mtl: {hint}", file=sys.stderr)


def _hint(error: BaseException) -> str:
    last_line = "".join(traceback.format_exception_only(type(error), error))
    for pattern, hint in _HINTS:
        if re.search(pattern, last_line):
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
