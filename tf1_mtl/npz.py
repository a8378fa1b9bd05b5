"""Writes .npz files, and reads those of unknown origin: verified before use. NumPy only.

`numpy.load` stops at the end of an array, often before the checksum of its member is verified, so
that a flipped bit can give other numbers. It also takes as much memory as a file asks for.
"""

import functools
import io
import operator
import struct
import zipfile
import zlib
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Set, Tuple, Union

import numpy as np

from tf1_mtl.errors import InputError
from tf1_mtl.files import open_regular, replacing

#: Megabytes that the arrays of a file may take, unless `read_npz` is given others.
LIMIT_MB = 1024

_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")  # of a zip member, before its name
_END = b"PK\x05\x06"  # begins the last 22 bytes of a zip archive, before its comment
_DESCRIPTORS = (12, 16, 20, 24)  # bytes of what may follow a member that was written to a pipe
_USUAL_FLAGS = 0x080E  # a descriptor follows, how much deflate tried, the name is UTF-8
_LONGEST_HEADER = 10_000  # of an array; as numpy.load
_MOST_MEMBERS = 100
_FLOAT32 = 4  # bytes; what every number is cast to

Content = Union[bytes, memoryview]


class _Member(NamedTuple):
    """Holds a member of an archive, not yet decompressed."""

    name: str
    is_deflated: bool
    raw: memoryview
    size: int  #: of the content, in bytes
    checksum: int

    def content(self, most: int) -> Content:
        """Returns the first bytes of the content, at most so many."""
        if not self.is_deflated:
            return self.raw[:most]
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(self.raw, most)

    def verified(self) -> Content:
        """Returns the content, all of it and nothing else."""
        content: Content = self.raw
        is_whole = True
        if self.is_deflated:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            content = inflater.decompress(self.raw, self.size + 1)
            is_whole = inflater.eof and not inflater.unused_data
        if not is_whole or len(content) != self.size or zlib.crc32(content) != self.checksum:
            raise ValueError(f"{self.name!r} is damaged")
        return content


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
    members = _members(memoryview(data))
    names = [_array_name(member.name) for member in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(map(repr, twice))} is there twice")
    check_names(set(names))
    headers = [_Header.read(member) for member in members]
    if sum(header.memory for header in headers) > limit:
        raise _too_large(path, limit_mb)
    return {
        name: header.array(member.verified())
        for name, header, member in zip(names, headers, members)
    }


def _too_large(path: str, limit_mb: float) -> InputError:
    return InputError(
        f"{path}: its arrays take more than {limit_mb:g} MB of memory, the limit that protects "
        "from damaged and hostile files. If they should be that large, raise the limit: "
        "--data-limit MB, or load_data(path, limit_mb=...)."
    )


def _array_name(member: str) -> str:
    return member[:-4] if member.endswith(".npy") else member


def _members(data: memoryview) -> List[_Member]:
    """Returns the members of an archive that has nothing before, between and after them."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        contents_start: int = archive.start_dir
        end = len(data) - 22 - len(archive.comment)
    if bytes(data[end : end + 4]) != _END:
        raise ValueError("bytes follow the end of the archive")
    if len(infos) > _MOST_MEMBERS:
        raise ValueError(f"{len(infos)} members")
    members, position = [], 0
    gaps: Tuple[int, ...] = (0,)
    for info in infos:
        if info.header_offset - position not in gaps:
            raise ValueError("bytes between its members, which belong to none of them")
        member, position = _member(data, info)
        gaps = _DESCRIPTORS if info.flag_bits & 8 else (0,)
        members.append(member)
    if contents_start - position not in gaps:
        raise ValueError("bytes after its last member, which belong to none")
    return members


def _member(data: memoryview, info: zipfile.ZipInfo) -> Tuple[_Member, int]:
    """Returns a member, and where it ends."""
    name = info.orig_filename
    fields = _LOCAL_HEADER.unpack_from(data, info.header_offset)
    signature, name_length, extra_length = fields[0], fields[9], fields[10]
    name_start = info.header_offset + _LOCAL_HEADER.size
    name_end = name_start + name_length
    start = name_end + extra_length
    raw = data[start : start + info.compress_size]
    encoding = "utf-8" if info.flag_bits & 0x800 else "cp437"
    is_here = signature == b"PK\x03\x04" and data[name_start:name_end] == name.encode(encoding)
    if not is_here or len(raw) != info.compress_size:
        raise ValueError(f"{name!r} is not where the contents of the archive say")
    if info.flag_bits & ~_USUAL_FLAGS:
        raise ValueError(f"{name!r} is encrypted or patched")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{name!r} is compressed by method {info.compress_type}, which np.savez and "
            "np.savez_compressed do not use"
        )
    is_deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return _Member(name, is_deflated, raw, info.file_size, info.CRC), start + info.compress_size


class _Header(NamedTuple):
    """Holds what an array says of itself."""

    length: int  #: of the header, in bytes
    shape: Tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype

    @property
    def elements(self) -> int:
        """Returns the number of elements."""
        return functools.reduce(operator.mul, self.shape, 1)  # that of NumPy overflows

    @property
    def memory(self) -> int:
        """Returns the bytes that the array takes, as it is or as float32."""
        return self.elements * max(self.dtype.itemsize, _FLOAT32)

    @staticmethod
    def read(member: _Member) -> "_Header":
        """Returns the header, which fits the size of the member."""
        beginning = io.BytesIO(member.content(_LONGEST_HEADER))
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(np.lib.format.read_magic(beginning))
        if read is None:
            raise ValueError(f"{member.name!r} is in an unknown version of the .npy format")
        shape, is_fortran, dtype = read(beginning)
        header = _Header(beginning.tell(), shape, is_fortran, dtype)
        if dtype.hasobject:
            raise ValueError(f"{member.name!r} is an array of Python objects")
        expected = header.length + header.elements * dtype.itemsize
        if min(shape, default=0) < 0 or expected != member.size:
            raise ValueError(
                f"{member.name!r} has {member.size} bytes, but {list(shape)} of {dtype} and its "
                f"header are {expected}"
            )
        return header

    def array(self, content: Content) -> np.ndarray:
        """Returns the array after the header."""
        if 0 in self.shape:
            return np.zeros(self.shape, self.dtype)
        flat = np.frombuffer(content, self.dtype, offset=self.length).copy()
        return flat.reshape(self.shape, order="F" if self.is_fortran else "C")
