"""Ends long work between two steps, never within one.

A Ctrl-C that reaches Python inside the code of TensorFlow can crash the process. This was seen on
2.21 and later, where `session.run` flattens its feeds in C++ and does not expect an exception.
"""

import contextlib
import signal
import threading
from typing import Iterator, List


@contextlib.contextmanager
def gathered(*signals: int) -> Iterator[List[int]]:
    """Gathers the signals that come, instead of letting them interrupt what runs.

    Args:
      *signals: Such as `signal.SIGINT`. Outside the main thread, which alone may handle signals,
        nothing is changed.

    Yields:
      The list of those that came, to be looked at between two steps.
    """
    received: List[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in signals
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
