"""A .npz file of a user is verified as a whole, and reads no more than it may."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest
from forked import tf1_mtl

from tf1_mtl import InputError
from tf1_mtl.data import load_data

RNG = np.random.RandomState(0)
ARRAYS = {"X": RNG.rand(20, 3), "Y1": RNG.rand(20, 2), "Y2": RNG.rand(20, 5)}


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def archive(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(str(path), "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return str(path)


def members(**more):
    return [(f"{name}.npy", npy(array)) for name, array in {**ARRAYS, **more}.items()]


def refused(path, *fragments, **options):
    with pytest.raises(InputError) as raised:
        load_data(path, **options)
    for fragment in (path, *fragments):
        assert fragment in str(raised.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_never_gives_other_numbers(tmp_path, save):
    good, damaged = tmp_path / "good.npz", tmp_path / "damaged.npz"
    save(str(good), **ARRAYS)
    content = good.read_bytes()
    expected = load_data(str(good))
    assert np.array_equal(expected.X1, ARRAYS["X"].astype(np.float32))
    unnoticed = 0
    for position in range(0, len(content), 5):
        flipped = bytearray(content)
        flipped[position] ^= 1 << position % 8
        damaged.write_bytes(bytes(flipped))
        try:
            found = load_data(str(damaged))
        except InputError:
            continue
        unnoticed += 1  # such as the time in a header
        assert all(np.array_equal(a, b) for a, b in zip(found, expected))
    assert unnoticed < len(content) / 50


def test_leftovers_and_duplicates_are_refused(tmp_path):
    path = archive(tmp_path / "twice.npz", members())
    with pytest.warns(UserWarning), zipfile.ZipFile(path, "a") as file:
        file.writestr("X.npy", npy(np.zeros((20, 3))))
    refused(path, "'X' is there twice")
    refused(archive(tmp_path / "both.npz", [*members(), ("X", b"")]), "'X' is there twice")
    after = [(name, content + b"\0" * 8) for name, content in members()]
    refused(archive(tmp_path / "after.npz", after), "and its header are")
    path = archive(tmp_path / "end.npz", members())
    with open(path, "ab") as file:
        file.write(b"more")
    refused(path)


def hidden_before(whole, path):
    """Returns bytes that zipfile takes for an archive after something else."""
    return b"hidden" + whole


def hidden_between(whole, path):
    """Returns the archive with bytes before its second member, and all later offsets moved."""
    with zipfile.ZipFile(path) as file:
        offset, start = file.infolist()[1].header_offset, file.start_dir
    moved = bytearray(whole[:offset] + b"hidden" + whole[offset:])
    position = start + 6
    while moved[position : position + 4] == b"PK\1\2":
        (at,) = struct.unpack_from("<L", moved, position + 42)
        struct.pack_into("<L", moved, position + 42, at + (6 if at >= offset else 0))
        position += 46 + sum(struct.unpack_from("<HHH", moved, position + 28))
    struct.pack_into("<L", moved, position + 16, start + 6)
    return bytes(moved)


def hidden_after(whole, path):
    """Returns the archive with bytes between its last member and its contents."""
    with zipfile.ZipFile(path) as file:
        start = file.start_dir
    moved = bytearray(whole[:start] + b"hidden" + whole[start:])
    struct.pack_into("<L", moved, len(moved) - 22 + 16, start + 6)
    return bytes(moved)


@pytest.mark.parametrize("hide", [hidden_before, hidden_between, hidden_after])
def test_bytes_that_belong_to_no_member_are_refused(tmp_path, hide):
    path = archive(tmp_path / "hidden.npz", members())
    with open(path, "rb") as file:
        hidden = hide(file.read(), path)
    with open(path, "wb") as file:
        file.write(hidden)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None  # zipfile does not mind
    refused(path, "members" if hide is not hidden_after else "after its last member")


def test_names_are_checked_before_anything_is_read(tmp_path):
    foreign = archive(tmp_path / "foreign.npz", [("Z.npy", b"no array")], zipfile.ZIP_DEFLATED)
    refused(foreign, "the arrays are Z, but should be X, Y1, Y2")


def test_a_bomb_is_refused_by_its_size(tmp_path):
    """2 GB of zeros in 2 MB, a header that claims too much, and another compression."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (20, 10**7)}
    )
    claims = [("X.npy", header.getvalue()), *members()[1:]]
    refused(archive(tmp_path / "claims.npz", claims), "and its header are")
    wide = members(X=np.zeros((20, 10**5)))
    path = archive(tmp_path / "wide.npz", wide, zipfile.ZIP_DEFLATED)
    assert os.path.getsize(path) < 100_000
    refused(path, "more than 8 MB", "--data-limit", limit_mb=8)
    assert load_data(path).inputs == 10**5
    refused(archive(tmp_path / "other.npz", members(), zipfile.ZIP_BZIP2), "method 12")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO on this system")
def test_only_regular_files_are_read(tmp_path):
    """A pipe without a writer would hang, and a device is endless."""
    fifo = str(tmp_path / "fifo.npz")
    os.mkfifo(fifo)
    for path in (fifo, "/dev/zero"):
        refused(path, "not a regular file")


@pytest.mark.slow
@pytest.mark.runtime
def test_the_limit_and_the_warnings_of_the_command(tmp_path):
    path = archive(tmp_path / "large.npz", members(X=np.zeros((20, 10**5)), Y1=-ARRAYS["Y1"]))
    ran = tf1_mtl("joint", "--data", path, "--data-limit", "8", "--steps", "1")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "more than 8 MB" in ran.stderr
    ran = tf1_mtl("joint", "--data-limit", "8")
    assert ran.returncode == 2 and "--data-limit: needs --data" in ran.stderr
    small = archive(tmp_path / "small.npz", members(Y1=-ARRAYS["Y1"]))
    ran = tf1_mtl("joint", "--data", small, "--steps", "1", "--batch", "4")
    told = "Y1 has 40 labels below zero, which the ReLU of its task layer never reaches"
    assert ran.returncode == 0 and told in ran.stderr


def test_labels_of_one_dimension_get_advice(tmp_path):
    path = archive(tmp_path / "flat.npz", members(Y1=np.zeros(20)))
    refused(path, "reshape(-1, 1)", "one-hot")
