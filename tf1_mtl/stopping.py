"""Ends long work between two steps, never within one.

A Ctrl-C that reaches Python inside the code of TensorFlow can crash the process. This was seen on
2.21 and later, where `session.run` flattens its feeds in C++ and does not expect an exception.
"""

import contextlib
import os
import signal
import threading
from typing import Any, Iterator, List


@contextlib.contextmanager
def gathered(*signals: int) -> Iterator[List[int]]:
    """Gathers the signals that come, instead of letting them interrupt what runs.

    A signal that comes a second time ends the process at once.

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

    def note(number: int, frame: Any) -> None:
        if number in received:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        received.append(number)

    before = {number: signal.signal(number, note) for number in signals}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_if(received: List[int]) -> None:
    """Ends the work if a signal came.

    Raises:
      KeyboardInterrupt: After Ctrl-C.
      SystemExit: After another signal. The status is that of a shell: 143 for SIGTERM.
    """
    if signal.SIGINT in received:
        raise KeyboardInterrupt
    if received:
        raise SystemExit(128 + received[0])
