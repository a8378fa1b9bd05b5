"""Writing: a file as a whole or not at all, a folder made where it is wanted."""

import contextlib
import os
from typing import Iterator

from tf1_mtl.errors import InputError


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yields the name of a temporary file in the same folder, which replaces `path` at the end.

    After an error, the file at `path` is unchanged and the temporary file is removed.

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


def make_folder(path: str) -> None:
    """Makes a folder, unless it is there.

    Raises:
      InputError: It cannot be made, or nothing can be written in it.
    """
    try:
        os.makedirs(path, exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(0, "no permission")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written to ({error.strerror}). Choose another folder."
        ) from error
