"""Runs an unmodified TensorFlow 1 graph-mode script, or a notebook, on the TensorFlow at hand.

    imports.py   what the script gets for `import tensorflow`
    contrib.py   tf.contrib, by what continues it today
    mnist.py     the MNIST reader of tensorflow.examples
    notebook.py  the code cells of a notebook, which run as a script does
    hints.py     the line that follows an error about what TensorFlow no longer has

`run` lasts for the rest of the process: exit handlers and threads that outlive the script still
find its `sys.argv`, its `__main__` and its TensorFlow. A process that the script starts anew
(the "spawn" method of multiprocessing, not "fork") is plain Python.
"""

import builtins
import importlib.machinery
import logging
import os
import sys
import traceback
import warnings
from types import CodeType, ModuleType, TracebackType
from typing import List, Optional, Sequence

import numpy as np

from tf1_mtl.errors import InputError
from tf1_mtl.legacy_script import imports, notebook
from tf1_mtl.legacy_script.contrib import use_keras_2 as use_keras_2
from tf1_mtl.legacy_script.hints import hint_for

_HERE = os.path.dirname(os.path.abspath(__file__))
#: Files whose frames are between the script and what it calls.
_OURS = (_HERE + os.sep, os.path.join(os.path.dirname(_HERE), "baseline", "recorder.py"))


def check(path: str) -> None:
    """Raises InputError unless there is a script or a notebook to run at that path."""
    if not os.path.isfile(path):
        what = "a directory" if os.path.isdir(path) else "no such file"
        raise InputError(f"{path}: {what}, but should be a script or notebook. Check the path.")
    if path.lower().endswith(".npz"):
        raise InputError(
            f"{path}: is a recording, but should be a script or notebook. Give it to "
            "`tf1-mtl explain --golden` or `tf1-mtl check --golden`."
        )
    if is_notebook(path):
        notebook.read(path)


def is_notebook(path: str) -> bool:
    """Returns True for the name of a Jupyter notebook."""
    return path.lower().endswith(".ipynb")


def prepare(seed: Optional[int] = None) -> None:
    """Puts TensorFlow into its version 1 behaviour, for the rest of this process.

    Args:
      seed: Seeds the global stream of NumPy and the default graph. None seeds neither.
    """
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    # At its first search for a GPU, TensorFlow reports that there is not one. The search is made
    # here, where that message is filtered. With a GPU, the search would fix CUDA_VISIBLE_DEVICES,
    # which many scripts set at their top.
    if hasattr(tf, "config") and not os.path.exists("/dev/nvidiactl"):  # tf.config: from 1.14 on
        tf.config.experimental.list_physical_devices("GPU")
    if seed is not None:
        np.random.seed(seed)
        tf.set_random_seed(seed)


def show_warnings() -> None:
    """Shows `tf.logging.warn` again, which `quiet` hides, except for deprecations of TensorFlow.

    The script may use it for its own warnings.
    """
    logger = logging.getLogger("tensorflow")
    logger.setLevel(logging.NOTSET)  # as TensorFlow leaves it: that of the root, WARNING
    logger.addFilter(lambda record: "deprecated" not in record.getMessage())
    warnings.filterwarnings("ignore", r"`(tf|layer)\.\S+ is deprecated")


def run(path: str, args: Sequence[str] = ()) -> None:
    """Runs the script as `python PATH ARGS` would. Call `prepare` before.

    A notebook runs as Jupyter does it: in its own folder, and without a `__file__`. What is skipped
    of it is reported on stderr.

    Args:
      path: The script or notebook.
      args: What follows the name of the script in `sys.argv`.

    Raises:
      SystemExit: The script raised it, or another error, which is reported (exit status 1).
      KeyboardInterrupt: The script ended with it. It is reported and raised again, since Python
        ends the process by SIGINT after this exception.
    """
    # From 3.9 on Python itself makes the name absolute, and does not normalize it.
    absolute = sys.version_info >= (3, 9) and not is_notebook(path)
    file = os.path.join(os.getcwd(), path) if absolute else path
    main = ModuleType("__main__")
    main.__dict__.update(
        __file__=file,
        __builtins__=builtins,
        __annotations__={},
        __cached__=None,
        __loader__=importlib.machinery.SourceFileLoader("__main__", file),
    )
    sys.modules["__main__"] = main
    sys.argv = [path, *args]
    if not sys.flags.isolated and not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    imports.install()
    try:
        for code in _notebook(path) if is_notebook(path) else [_script(path, file)]:
            exec(code, main.__dict__)
        return
    except SystemExit:
        raise
    except BaseException as caught:
        error = caught
    # Outside the handler. Inside, an error in the hook of the script would have this error as its
    # context.
    _report(error, file)
    if isinstance(error, KeyboardInterrupt):
        sys.excepthook = lambda *_: None
        raise error
    raise SystemExit(1)


def _script(path: str, file: str) -> CodeType:
    with open(path, "rb") as source:
        return compile(source.read(), file, "exec", dont_inherit=True)


def _notebook(path: str) -> List[CodeType]:
    cells = notebook.read(path)
    for line in [line for cell in cells for line in cell.skipped]:
        print(f"tf1-mtl: {line}", file=sys.stderr)
    del sys.modules["__main__"].__dict__["__file__"]
    os.chdir(os.path.dirname(os.path.abspath(path)))
    sys.excepthook = traceback.print_exception  # it finds the lines of a cell; the default does not
    return notebook.compiled(cells)


def _report(error: BaseException, file: str) -> None:
    """Reports an uncaught error as Python does, and adds a hint if there is one."""
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(file):
        trace = trace.tb_next
    error.__traceback__ = trace
    _take_out_our_frames(error)
    trace = error.__traceback__
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, trace
    text = "".join(traceback.format_exception(type(error), error, trace))
    if not hasattr(sys, "excepthook"):
        print("sys.excepthook is missing", file=sys.stderr)
        sys.excepthook = sys.__excepthook__
    try:
        sys.excepthook(type(error), error, trace)
    except SystemExit:
        raise
    except BaseException as second:  # in the hook of the script
        _take_out_our_frames(second)
        print("Error in sys.excepthook:", file=sys.stderr)
        sys.__excepthook__(type(second), second, second.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, trace)
    # The text of an earlier error that led to this one comes before it.
    hint = hint_for(text.rpartition("Traceback (most recent call last):\n")[2])
    if hint and sys.stderr is not None and not sys.stderr.closed:
        print(f"tf1-mtl: {hint}", file=sys.stderr)


def _take_out_our_frames(error: Optional[BaseException]) -> None:
    """Removes the frames of this package from an error and from those that led to it."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kept = []
        trace: Optional[TracebackType] = error.__traceback__
        while trace is not None:
            if not trace.tb_frame.f_code.co_filename.startswith(_OURS):
                kept.append(trace)
            trace = trace.tb_next
        for this, following in zip(kept, [*kept[1:], None]):
            this.tb_next = following
        error.__traceback__ = kept[0] if kept else None
        error = error.__cause__ or error.__context__
