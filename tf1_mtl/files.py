"""Files: written as a whole or not at all, read only where they are regular files."""

import contextlib
import os
import shutil
import stat
from typing import BinaryIO, Iterator

from tf1_mtl.errors import InputError


@contextlib.contextmanager
def replacing(path: str) -> Iterator[str]:
    """Yields the name of a temporary file in the same folder, which replaces `path` at the end.

    After an error, the file at `path` is unchanged and the temporary file is removed.

    Raises:
      InputError: It cannot be written.
    """
    temporary = _made_beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from error
    finally:
        if os.path.lexists(temporary):
            os.remove(temporary)


def _made_beside(path: str) -> str:
    """Makes an empty file in the same folder, and returns its name."""
    temporary = f"{path}.{os.getpid()}.partial"
    refuse_device(path)
    try:
        # Only a new file is written to and removed, never one that is there or is linked to.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}). Choose another place."
        ) from error
    return temporary


def refuse_device(path: str) -> None:
    """Raises InputError for a device or a pipe, which root would replace by a file."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise InputError(f"{path}: cannot be written (not a regular file). Choose another place.")


def check_place(path: str) -> None:
    """Raises InputError unless a file can be written here; call it before long work."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        advice = "It is a file. Choose another." if os.path.exists(folder) else "Make it first."
        raise InputError(f"{path}: there is no folder {folder!r}. {advice}")
    if not path or os.path.isdir(path):
        raise InputError(f"{path}: cannot be written. Choose another place.")
    os.remove(_made_beside(path))  # /proc says that it can be written, and cannot


def check_new_folder(path: str, free: str = "") -> None:
    """Raises InputError unless a new folder can be made here; an empty one counts as new.

    Args:
      path: The folder.
      free: Names another one, for the error message.
    """
    place = path.rstrip(os.sep) or path
    if os.path.isdir(place) and not os.path.islink(place) and not os.listdir(place):
        place = os.path.join(place, "new")
    if os.path.lexists(place):
        other = f"another name, {free}." if free else "another name."
        raise InputError(f"{path}: is there already. Remove it, or choose {other}")
    check_place(place)


@contextlib.contextmanager
def new_folder(path: str) -> Iterator[str]:
    """Yields the name of a folder to be made and filled, which becomes `path` at the end.

    After an error nothing is left of it.

    Raises:
      InputError: There is a file or a folder that is not empty, or it cannot be written.
    """
    check_new_folder(path)
    place = os.path.abspath(path)
    temporary = f"{place}.{os.getpid()}.partial"
    if os.path.lexists(temporary):
        raise InputError(f"{path}: cannot be written ({temporary} is in the way). Remove that.")
    try:
        yield temporary
        if os.path.isdir(place):
            os.rmdir(place)
        os.rename(temporary, place)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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


def open_regular(path: str) -> BinaryIO:
    """Opens a regular file to read. A pipe is not waited for, and a device is not read.

    Raises:
      OSError: It is not there, cannot be read, or is not a regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(0, "not a regular file")
    return open(descriptor, "rb")
