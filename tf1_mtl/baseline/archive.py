"""An archive that can be read as far as it was written: zip, sealed with its own SHA-256.

Members are uncompressed and come in the order of writing. A finished archive ends with a seal, the
digest of every byte before it (in the zip comment, so that any zip reader, `numpy.load` too, opens
it). One that a kill left unfinished has no seal; its members are read from the front. The same
members give the same bytes.
"""

import contextlib
import hashlib
import os
import struct
import zipfile
import zlib
from typing import Iterator, List, NamedTuple, Tuple

from tf1_mtl.errors import InputError

_SEAL = b"tf1_mtl trajectory, sha256 "
_DIGEST_LENGTH = 64  # of a SHA-256 in hexadecimal
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")  # of a zip member, before its name
_BLOCK = 1 << 20


class ArchiveWriter:
    """Writes into `path` + ".partial"; `close` seals it and gives it its name."""

    def __init__(self, path: str) -> None:
        """Opens the file.

        Args:
          path: Where the finished archive will be; a file that is there stays until then.

        Raises:
          InputError: It cannot be written, or an unfinished recording is in the way.
        """
        self._path = path
        self._partial = path + ".partial"
        if os.path.isdir(path):
            raise InputError(f"{path}: a directory, but should be a file to write. Add a name.")
        try:
            self._file = open(self._partial, "xb")  # noqa: SIM115  closed by close or discard
        except FileExistsError as error:
            raise InputError(
                f"{self._partial}: an unfinished recording is in the way. Another process may be "
                "writing it; else read it with load(path, partial=True), or delete it."
            ) from error
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror}). Choose another place."
            ) from error
        self._zip = zipfile.ZipFile(self._file, "w")
        self._broken = False

    def put(self, name: str, content: bytes) -> None:
        """Adds a member; content must not be empty.

        Raises:
          InputError: The disk is full, or fails. What was flushed stays in the .partial file.
        """
        member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        member.create_system = 3  # the same on every platform
        with self._writing():
            self._zip.writestr(member, content)

    def flush(self) -> None:
        """Hands what was added to the operating system; a kill does not lose it any more."""
        with self._writing():
            self._file.flush()

    def close(self) -> None:
        """Finishes the archive: table of contents, seal, its own name.

        After a failed `put` it leaves the .partial file as it is.
        """
        if self._broken:
            self._zip.fp = None  # or it would try to finish when it is collected
            with contextlib.suppress(OSError):
                self._file.close()
            return
        with self._writing():
            self._seal()

    def discard(self) -> None:
        """Gives up: nothing is left of what was written."""
        self._zip.close()
        self._file.close()
        os.remove(self._partial)

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
            self._broken = True
            raise InputError(
                f"{self._path}: cannot be written further ({error.strerror}). What was written "
                f"before is in {self._partial}: read it with load(path, partial=True)."
            ) from error


class Archive(NamedTuple):
    """What could be read."""

    path: str  #: of the file that was read, which may be the .partial one
    sealed: bool  #: False when it was never finished or lost its end
    members: List[Tuple[str, bytes]]  #: names and contents, in the order of writing


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
    if partial and not os.path.exists(path) and os.path.exists(unfinished):
        path = unfinished
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError as error:
        hint = "Check the name."
        if os.path.exists(unfinished):
            hint = f"{unfinished} is an unfinished one: read it with load(path, partial=True)."
        raise InputError(f"{path}: no such file; should be a trajectory. {hint}") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); should be a trajectory file."
        ) from error
    body, digest = data[:-_DIGEST_LENGTH], data[-_DIGEST_LENGTH:]
    sealed = body.endswith(_SEAL)
    if sealed and not partial and hashlib.sha256(body).hexdigest().encode() != digest:
        raise InputError(
            f"{path}: altered, its content does not match its checksum. Get it again from where "
            "it came from, or record it again."
        )
    return Archive(path, sealed, list(_members(data)))


def _members(data: bytes) -> Iterator[Tuple[str, bytes]]:
    """The members from the front, up to the first that is not whole."""
    position = 0
    while len(data) - position >= _LOCAL_HEADER.size:
        fields = _LOCAL_HEADER.unpack_from(data, position)
        signature, checksum, size, name_length, extra_length = (fields[i] for i in (0, 6, 7, 9, 10))
        name_start = position + _LOCAL_HEADER.size
        start = name_start + name_length + extra_length
        content = data[start : start + size]
        # zipfile writes an empty header first and mends it last: empty is as unfinished as short.
        whole = content and len(content) == size and zlib.crc32(content) == checksum
        if signature != b"PK\x03\x04" or not whole:
            return
        yield data[name_start : name_start + name_length].decode("utf-8", "replace"), content
        position = start + size
