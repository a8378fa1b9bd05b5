"""Five thousand damaged files: each is rejected with an `InputError`, or gives the same numbers."""

import os

import numpy as np
import pytest

from tf1_mtl import InputError
from tf1_mtl.baseline.recordings import load_recording
from tf1_mtl.data import load_data

RECORDING = os.path.join(os.path.dirname(__file__), "truth", "recording-0.12.1.npz")


def damaged(content, rng):
    """Returns the content with one kind of damage at a random place."""
    at, length = rng.randint(len(content)), rng.randint(1, 64)
    piece = content[at : at + length]
    return [
        lambda: content[:at] + bytes([content[at] ^ (1 << rng.randint(8))]) + content[at + 1 :],
        lambda: content[:at],
        lambda: content[:at] + content[at + length :],
        lambda: content[:at] + piece + content[at:],
        lambda: content[:at] + bytes(len(piece)) + content[at + length :],
        lambda: content[:at] + rng.bytes(len(piece)) + content[at + length :],
        lambda: content + rng.bytes(length),
    ][rng.randint(7)]()


def read_data(path):
    return [np.asarray(array) for array in load_data(path)]


def read_recording(path):
    recording = load_recording(path)
    return [value for run in recording.runs for value in (run.variables or {}).values()]


def data_file(save, path):
    rng = np.random.RandomState(0)
    save(path, X=rng.rand(9, 3), Y1=rng.rand(9, 2), Y2=rng.rand(9, 5))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["stored", "compressed", "recording"])
def test_damaged_files(kind, tmp_path):
    save = {"stored": np.savez, "compressed": np.savez_compressed}.get(kind)
    read = read_data if save else read_recording
    whole = data_file(save, str(tmp_path / "whole.npz")) if save else RECORDING
    with open(whole, "rb") as file:
        content = file.read()
    expected = read(whole)
    rng, path, rejected = np.random.RandomState(1), str(tmp_path / "damaged.npz"), 0
    count = 2250 if save else 500
    for _ in range(count):
        with open(path, "wb") as file:
            file.write(damaged(content, rng))
        try:
            found = read(path)
        except InputError as error:
            assert path in str(error)
            rejected += 1
        else:
            assert len(found) == len(expected)
            for one, other in zip(found, expected):
                np.testing.assert_array_equal(one, other)
    assert rejected > 0.9 * count
