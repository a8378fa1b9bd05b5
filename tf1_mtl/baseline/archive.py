"""Writes and reads an archive that survives a kill: zip, sealed with its own SHA-256.

Members are uncompressed and come in the order of writing. A finished archive ends with a seal, the
digest of every byte before it. The seal is the zip comment, so that any zip reader, `numpy.load`
too, opens the file. An archive that a kill left unfinished lacks the seal. Its members are read
from the front. The same members give the same bytes.
"""

import contextlib
import hashlib
import os
import re
import struct
import zipfile
import zlib
from typing import Dict, Iterator, NamedTuple, Tuple

import numpy as np

from tf1_mtl.errors import InputError
from tf1_mtl.files import open_regular, refuse_device

_SEAL = b"tf1_mtl trajectory, sha256 "
_DIGEST_LENGTH = 64  # of a SHA-256 in hexadecimal
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")  # of a zip member, before its name
_MEMBER, _DIRECTORY = b"PK\x03\x04", b"PK\x01\x02"  # what a member and the contents begin with
_BLOCK = 1 << 20
_NPY = b"\x93NUMPY\x01\x00"
_NPY_HEADER = re.compile(
    r"\{'descr': '([<>|][biufcSU][1-9]\d*)', 'fortran_order': False, 'shape': \(([\d, ]*)\), \} *\n"
)


class ArchiveWriter:
    """Writes into `path` + ".partial". `close` seals the file and renames it to `path`."""

    def __init__(self, path: str) -> None:
        """Opens the file.

        Args:
          path: Where the finished archive will be. A file that is there stays until then.

        Raises:
          InputError: It cannot be written, or an unfinished recording is in the way.
        """
        self._path = path
        self._partial = path + ".partial"
        refuse_device(path)
        if os.path.isdir(path):
            raise InputError(f"{path}: a directory, but should be a file to write. Add a name.")
        try:
            self._file = open(self._partial, "xb")  # noqa: SIM115  closed by close or discard
        except FileExistsError as error:
            raise InputError(
                f"{self._partial}: an unfinished recording is in the way. Another process may be "
                "writing it; else read it with load_recording(path, partial=True), or delete it."
            ) from error
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}). Choose another place."
            ) from error
        # Meanwhile the process may change its folder.
        self._path, self._partial = os.path.abspath(path), os.path.abspath(self._partial)
        self._zip = zipfile.ZipFile(self._file, "w")
        self._broken = False
        self.size = 0  #: bytes of content so far

    def put(self, name: str, content: bytes) -> None:
        """Adds a member, whose content must not be empty.

        Raises:
          InputError: The disk is full, or fails. What was flushed stays in the .partial file.
        """
        member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        member.create_system = 3  # the same on every platform
        with self._writing():
            self._zip.writestr(member, content)
        self.size += len(content)

    def flush(self) -> None:
        """Passes what was added to the operating system, so that a kill does not lose it."""
        with self._writing():
            self._file.flush()

    def close(self) -> None:
        """Finishes the archive, seals it and gives it its name.

        After an error it leaves the .partial file as it is.
        """
        if not self._broken:
            with self._writing():
                self._seal()

    def discard(self) -> None:
        """Removes what was written."""
        self._abandon()
        os.remove(self._partial)

    def _abandon(self) -> None:
        """Closes the file as it is."""
        self._broken = True
        self._zip.fp = None  # or the zip would be finished, and fail again, when it is collected
        with contextlib.suppress(OSError):
            self._file.close()

    def _seal(self) -> None:
        self._zip.comment = _SEAL + b"0" * _DIGEST_LENGTH
        self._zip.close()
        self._file.close()
        with open(self._partial, "r+b") as file:
            end = os.path.getsize(self._partial) - _DIGEST_LENGTH
            digest = hashlib.sha256()
            while file.tell() < end:
                digest.update(file.read(min(_BLOCK, end - file.tell())))
            file.write(digest.hexdigest().encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._partial, self._path)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._abandon()
            raise InputError(
                f"{self._path}: cannot be written further ({error.strerror}). What was written "
                f"before is in {self._partial}: read it with load_recording(path, partial=True)."
            ) from error


class Archive(NamedTuple):
    """Holds what could be read."""

    path: str  #: of the file that was read, which may be the .partial one
    is_sealed: bool  #: False when it was never finished or lost its end
    members: Dict[str, memoryview]  #: contents by name, in the order of writing


def read_archive(path: str, partial: bool = False) -> Archive:
    """Reads the members of an archive, or of what a kill left of one.

    Args:
      path: The archive.
      partial: Reads `path` + ".partial" where there is no finished file, and an altered or
        unsealed one up to its first damaged member.

    Raises:
      InputError: There is no file, it cannot be read, or it is sealed but altered.
    """
    unfinished = path + ".partial"
    try:
        if partial and not os.path.exists(path) and os.path.exists(unfinished):
            path = unfinished
        data = _content(path)
    except FileNotFoundError as error:
        hint = "Check the name."
        if os.path.exists(unfinished):
            hint = f"{unfinished} is an unfinished one: load_recording(path, partial=True) reads it"
        raise InputError(f"{path}: no such file; should be a recording. {hint}") from error
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error) or "not enough memory"
        raise InputError(
            f"{path}: cannot be read ({reason}); should be a recording. Check the name."
        ) from error
    body, digest = data[:-_DIGEST_LENGTH], bytes(data[-_DIGEST_LENGTH:])
    is_sealed = bytes(body[-len(_SEAL) :]) == _SEAL
    if is_sealed and not partial and hashlib.sha256(body).hexdigest().encode() != digest:
        raise InputError(
            f"{path}: altered, its content does not match its checksum. Get it again from where "
            "it came from, or record it again."
        )
    members, is_whole = _members(data)
    if is_sealed and not partial and not is_whole:
        raise InputError(
            f"{path}: sealed, but not as tf1_mtl writes it: a member is damaged, compressed or "
            "there twice. Record it again."
        )
    return Archive(path, is_sealed, members)


def _content(path: str) -> memoryview:
    """Returns the content of a regular file, or its beginning if it is not a zip archive."""
    with open_regular(path) as file:
        beginning = file.read(len(_MEMBER))
        return memoryview(beginning + file.read() if beginning == _MEMBER else beginning)


def _members(data: memoryview) -> Tuple[Dict[str, memoryview], bool]:
    """Returns the members up to the first that is damaged, and whether none is."""
    members: Dict[str, memoryview] = {}
    position = 0
    while len(data) - position >= _LOCAL_HEADER.size:
        fields = _LOCAL_HEADER.unpack_from(data, position)
        signature, checksum, size, name_length, extra_length = (fields[i] for i in (0, 6, 7, 9, 10))
        name_start = position + _LOCAL_HEADER.size
        start = name_start + name_length + extra_length
        name = bytes(data[name_start : name_start + name_length]).decode("utf-8", "replace")
        content = data[start : start + size]
        # zipfile writes an empty header first and mends it last: empty is as unfinished as short.
        whole = size and len(content) == size and zlib.crc32(content) == checksum
        if signature != _MEMBER or not whole or name in members:
            return members, signature == _DIRECTORY
        members[name] = content
        position = start + size
    return members, False


def npy(array: np.ndarray) -> bytes:
    """Returns an array in the .npy format, version 1.0.

    The writer of NumPy itself pads its header differently by version.
    """
    header = f"{{'descr': {array.dtype.str!r}, 'fortran_order': False, 'shape': {array.shape!r}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return _NPY + struct.pack("<H", len(header)) + header.encode() + array.tobytes()


def read_npy(content: memoryview) -> np.ndarray:
    """Returns the array that `npy` wrote, read-only and without a copy.

    Raises:
      ValueError: The content is not such an array, or its size does not fit its shape.
    """
    start = len(_NPY) + 2
    length = int.from_bytes(content[len(_NPY) : start], "little")
    header = bytes(content[start : start + length]).decode("latin-1")
    found = _NPY_HEADER.fullmatch(header)
    if bytes(content[: len(_NPY)]) != _NPY or not found:
        raise ValueError(f"not an array of numbers or strings: {header[:80]!r}")
    dtype = np.dtype(found.group(1))
    shape = tuple(int(size) for size in found.group(2).split(",") if size.strip())
    count = 1
    for size in shape:
        count *= size
    values = content[start + length :]
    if len(values) != count * dtype.itemsize:
        raise ValueError(f"{len(values)} bytes, but {list(shape)} {dtype} are {count} elements")
    if not values:
        return _frozen(np.zeros(shape, dtype))
    return _frozen(np.frombuffer(values, dtype).reshape(shape))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
