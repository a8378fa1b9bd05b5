"""Writing a file: all of it or nothing."""

import contextlib
import os
from typing import Iterator

from tf1_mtl.errors import InputError


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Gives the name of a file to write beside `path`, which takes its place at the end.

    After an error what was at `path` is as it was, and nothing is left beside it.

    Raises:
      InputError: It cannot be written.
    """
    temporary = f"{path}.{os.getpid()}.partial"
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}).") from error
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)
