"""Writes .npz files, and reads those of unknown origin: verified before use. NumPy only.

`numpy.load` stops at the end of an array, often before the checksum of its member is verified. So a
flipped bit can give other numbers. It also takes as much memory as a file asks for.
"""

import functools
import io
import operator
import struct
import zipfile
from typing import Any, Callable, Dict, Mapping, Set, Tuple

import numpy as np

from tf1_mtl.errors import InputError
from tf1_mtl.files import open_regular, replacing

#: Megabytes that the arrays of a file may take, unless `read_npz` is given others.
LIMIT_MB = 1024

_END = b"PK\x05\x06"  # begins the last 22 bytes of a zip archive, before its comment
#: Bytes that may follow a member which was written as a stream: its sizes and its checksum.
_DESCRIPTORS = (12, 16, 20, 24)
_MOST_MEMBERS = 100
_FLOAT32 = 4  # bytes; what every number is cast to
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(
    path: str, should: str, check_names: Callable[[Set[str]], None], limit_mb: float = LIMIT_MB
) -> Dict[str, np.ndarray]:
    """Returns the arrays of an .npz file by name, never unpickled.

    Args:
      path: A regular file.
      should: Says in an error message what the file should be.
      check_names: Raises an InputError for names that are not expected, before any array is read.
      limit_mb: Megabytes that the arrays may take as they are and as float32.

    Raises:
      InputError: The file is not there, not a whole .npz file, or larger than the limit.
    """
    try:
        return _read(path, check_names, limit_mb)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; should be {should}.") from error
    except Exception as error:  # a damaged byte may raise anything, from zlib.error to MemoryError
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(
            f"{path}: cannot be read ({reason}); should be {should}, numbers only, no pickled "
            "objects. Write it again with np.savez."
        ) from error


def write_npz(path: str, arrays: Mapping[str, Any]) -> None:
    """Writes arrays into an .npz file, which replaces one that is there.

    Raises:
      InputError: It cannot be written.
    """
    # Not straight into the file: after a full disk, zipfile of Python 3.7 prints a traceback.
    content = io.BytesIO()
    np.savez(content, **arrays)
    with replacing(path) as temporary, open(temporary, "wb") as file:
        file.write(content.getbuffer())


def _read(
    path: str, check_names: Callable[[Set[str]], None], limit_mb: float
) -> Dict[str, np.ndarray]:
    limit = int(limit_mb * 2**20)
    with open_regular(path) as file:
        data = file.read(limit + 2**20)
        if file.read(1):
            raise _too_large(path, limit_mb)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if data[len(data) - 22 - len(archive.comment) :][:4] != _END:
            raise ValueError("bytes follow the end of the archive")
        _check_gaps(data, archive)
        members = archive.infolist()
        if len(members) > _MOST_MEMBERS:
            raise ValueError(f"{len(members)} arrays, which is more than {_MOST_MEMBERS}")
        names = [_array_name(member.filename) for member in members]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(map(repr, twice))} is there twice")
        check_names(set(names))
        if sum(member.file_size for member in members) > limit:
            raise _too_large(path, limit_mb)
        arrays = {name: _array(archive, member) for name, member in zip(names, members)}
    if sum(array.size * max(array.itemsize, _FLOAT32) for array in arrays.values()) > limit:
        raise _too_large(path, limit_mb)
    return arrays


def _check_gaps(data: bytes, archive: zipfile.ZipFile) -> None:
    """Raises ValueError if bytes before, between or after the members belong to none of them."""
    position = 0
    gaps: Tuple[int, ...] = (0,)
    for member in sorted(archive.infolist(), key=lambda member: member.header_offset):
        if member.header_offset - position not in gaps:
            raise ValueError("bytes before or between its members, which belong to none of them")
        lengths = struct.unpack_from("<HH", data, member.header_offset + 26)  # of name and extra
        position = member.header_offset + 30 + sum(lengths) + member.compress_size
        gaps = _DESCRIPTORS if member.flag_bits & 8 else (0,)
    if archive.start_dir - position not in gaps:
        raise ValueError("bytes after its last member, which belong to none")


def _too_large(path: str, limit_mb: float) -> InputError:
    return InputError(
        f"{path}: its arrays take more than {limit_mb:g} MB of memory, the limit that protects "
        "from damaged and hostile files. If they should be that large, raise the limit: "
        "--data-limit MB, or load_data(path, limit_mb=...)."
    )


def _array_name(member: str) -> str:
    return member[:-4] if member.endswith(".npy") else member


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Returns the array that is the whole content of a member, and fits its header."""
    name = member.filename
    if member.compress_type not in _METHODS:
        raise ValueError(
            f"{name!r} is compressed by method {member.compress_type}, which np.savez and "
            "np.savez_compressed do not use"
        )
    with archive.open(member) as stream:
        content = stream.read(member.file_size)  # not more, whatever it would decompress to
    if len(content) != member.file_size:
        raise ValueError(f"{name!r} is damaged")
    beginning = io.BytesIO(content)
    read_header = _HEADERS.get(np.lib.format.read_magic(beginning))
    if read_header is None:
        raise ValueError(f"{name!r} is in an unknown version of the .npy format")
    shape: Tuple[int, ...]
    shape, is_fortran, dtype = read_header(beginning)
    start = beginning.tell()
    if dtype.hasobject:
        raise ValueError(f"{name!r} is an array of Python objects")
    expected = start + functools.reduce(operator.mul, shape, 1) * dtype.itemsize
    if min(shape, default=0) < 0 or expected != len(content):
        raise ValueError(
            f"{name!r} has {len(content)} bytes, but {list(shape)} of {dtype} and its header are "
            f"{expected}"
        )
    if 0 in shape:
        return np.zeros(shape, dtype)
    flat = np.frombuffer(content, dtype, offset=start).copy()
    return flat.reshape(shape, order="F" if is_fortran else "C")
