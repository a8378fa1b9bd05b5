"""Starts TensorFlow without its messages on stderr, and without hiding an error.

TensorFlow reads TF_CPP_MIN_LOG_LEVEL before it is imported; 2 keeps errors only. What no variable
removes, seven lines on 2.21, is written straight to file descriptor 2 while TensorFlow is imported
and looks for a GPU. Meanwhile that descriptor leads through a small filter process. It drops lines
that are known to be noise and passes on all others at once, also if TensorFlow crashes. 2.18 prints
one more line at its first run, when the filter has ended ("MLIR V1 optimization pass is not
enabled").
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import warnings
from typing import Iterable, Iterator

_NOISE = re.compile(
    rb"I\d{4} "  # information, in the form of 2.19 and later
    rb"|[-0-9]+ [:.0-9]+: I "  # the same, in the form before
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions: "
    rb"|To enable them in other operations, rebuild TensorFlow"
    rb"|.*Unable to register cu(DNN|FFT|BLAS) factory"  # 2.13 to 2.17, on every machine
)
_NO_GPU = re.compile(rb"(E\d{4} |[-0-9]+ [:.0-9]+: E ).*failed call to cuInit")
#: What 2.22 lets follow an error: where in its source it arose, and an empty line.
_TRACE = re.compile(rb"=== Source Location Trace: ===|external/\S+:\d+$|$")


@contextlib.contextmanager
def quiet(verbose: bool = False) -> Iterator[None]:
    """Hides the messages of TensorFlow while it is imported and a first session is opened.

    Args:
      verbose: True shows all that TensorFlow prints.

    A TF_CPP_MIN_LOG_LEVEL that is set already is kept. The deprecation warnings of TensorFlow stay
    switched off afterwards.
    """
    if verbose:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    stderr = os.dup(2)
    command = [sys.executable, "-I", "-S", os.path.abspath(__file__)]
    filtering = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=stderr)
    assert filtering.stdin is not None
    os.dup2(filtering.stdin.fileno(), 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, about the source of TensorFlow
            import tensorflow.compat.v1 as tf

        tf.logging.set_verbosity(tf.logging.ERROR)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        filtering.stdin.close()
        filtering.wait()


def is_noise(line: bytes) -> bool:
    """Returns True for a line that has no use on a machine that works."""
    if _NO_GPU.match(line):
        # True on every machine without an NVIDIA device; with one, a driver failed.
        return not os.path.exists("/dev/nvidiactl")
    return _NOISE.match(line) is not None


def without_noise(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the lines that are not noise and do not belong to it."""
    dropped = False
    for line in lines:
        dropped = is_noise(line) or (dropped and _TRACE.match(line.rstrip()) is not None)
        if not dropped:
            yield line


def _filter() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that is filtered
    for line in without_noise(sys.stdin.buffer):
        os.write(2, line)


if __name__ == "__main__":
    _filter()
