"""The format of recordings: what goes in comes out, the same bytes, and no damage passes."""

import hashlib
import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

from tf1_mtl.baseline import recordings
from tf1_mtl.baseline.recorded_graph import Function, Node, RecordedGraph
from tf1_mtl.baseline.recordings import (
    Recording,
    Run,
    Session,
    Variable,
    Writer,
    load_recording,
    save_recording,
)
from tf1_mtl.errors import InputError


def example():
    """Three runs that share a feed, keep weights once, and hold what is awkward to store."""
    rng = np.random.RandomState(3)
    X = rng.rand(2, 3).astype(np.float32)
    initial = {"share_W": rng.rand(3, 2).astype(np.float32)}
    variables = {
        **initial,
        "share_W/Adam": np.zeros((3, 2), np.float32),
        "beta1_power": np.array(0.9, np.float32),
    }
    fetched = {
        "op": None,
        "nan": np.array([np.nan, -0.0, np.inf]),
        "count": np.array(2**63 - 1),
        "flag": np.array(True),
        "text": np.array([b"a", b"bc"]),
        "nothing": np.zeros((0, 4), np.float16),
        "turned": np.arange(6).reshape(2, 3).T,
    }
    noise = {"random:1": np.array([0.5], np.float32)}
    losses = [np.array(loss, np.float32) for loss in (0.1, np.inf)]
    runs = (
        Run("Y1", {"X": X}, {"Adam_1": None, "loss": losses[0]}, noise, variables),
        Run("joint", {"X": X.copy()}, {"loss": losses[1], "Adam": None}),
        Run("", {}, fetched, session=1, error="OpError: no"),
    )
    kinds = (Variable("share_W", "ref", True), Variable("share_W/Adam", "resource", False))
    session = Session(graph(2 * X), kinds, initial, {"X": "x"})
    return Recording({"case": "example", "sizes": [2, 3]}, runs, {0: session})


def graph(X):
    """A graph with every kind of attribute."""
    body = {
        "i": Node("i", "_Arg", (), {"T": "int32"}),
        "one": Node("one", "Const", (), {"value": np.array([1, 2], np.int32)}),
        "add": Node("add", "AddV2", ("i", "one", "^i"), {}),
    }
    strings = np.empty((2, 1), object)
    strings[:, 0] = b"a\0", b"\xff\0"
    odd = {
        "floats": [1.5, math.nan, -math.inf],
        "infinite": math.inf,
        "shape": [-1, 3],
        "unknown": None,
        "shapes": [[1], None],
        "text": "\udcff and more",
        "on": True,
        "body": {"function": "body"},
        "bodies": [{"function": "body"}],
    }
    nodes = {
        "X": Node("X", "Const", (), {"value": X, "dtype": "float32"}),
        "text": Node("text", "Const", (), {"value": strings}),
        "nan": Node("nan", "Const", (), {"value": np.array(np.nan, np.float32)}),
        "odd": Node("odd", "While", ("X", "X:1", "^text"), odd),
    }
    return RecordedGraph(nodes, {"body": Function(("i",), body, ("add",), ("one",))})


def same(left, right):
    """Equal in structure, dtype, shape and every bit."""
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (tuple, list)):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, (np.ndarray, np.generic)) and left.dtype.hasobject:
        return left.shape == right.shape and left.tolist() == right.tolist()
    if isinstance(left, (np.ndarray, np.generic)):
        bits = [(array.dtype, array.shape, array.tobytes()) for array in (left, right)]
        return bits[0] == bits[1]
    if isinstance(left, float):
        return repr(left) == repr(right)
    return left == right and type(left) is type(right)


@pytest.fixture
def stored(tmp_path):
    path = str(tmp_path / "example.npz")
    save_recording(path, example())
    return path


def assert_rejected(path, match, **options):
    with pytest.raises(InputError, match=match):
        load_recording(path, **options)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def rewrite(path, data):
    with open(path, "wb") as file:
        file.write(data)


def test_what_is_saved_is_loaded(stored):
    loaded = load_recording(stored)
    assert same(loaded.runs, example().runs)
    assert same(dict(loaded.sessions), dict(example().sessions))
    written = {"format": "tf1_mtl trajectory", "schema": 2}
    assert loaded.manifest == {"case": "example", "sizes": [2, 3], **written}
    assert isinstance(loaded.runs[0].loss, np.float32)


def test_steps_are_the_training_runs_of_one_session():
    assert [run.task for run in example().steps()] == ["Y1", "joint"]
    assert example().steps(session=1) == ()


def test_the_same_content_gives_the_same_bytes(stored, tmp_path):
    again = str(tmp_path / "again.npz")
    save_recording(again, load_recording(stored))
    assert content(again) == content(stored)
    # Written down, so that another Python or NumPy is held to it as well.
    assert hashlib.sha256(content(stored)).hexdigest().startswith("8f59d8b3ccc0b702")


def test_an_equal_array_is_stored_once(stored):
    with zipfile.ZipFile(stored) as archive:
        names = archive.namelist()
    assert "000000/feeds/X.npy" in names
    assert "000001/feeds/X.npy" not in names
    runs = load_recording(stored).runs
    assert runs[0].feeds["X"] is runs[1].feeds["X"]


def test_numpy_opens_it_without_pickle(stored):
    with np.load(stored, allow_pickle=False) as archive:
        initial = example().sessions[0].initial["share_W"]
        assert np.array_equal(archive["sessions/000000/initial/share_W"], initial)


def test_loaded_arrays_are_read_only(stored):
    with pytest.raises(ValueError, match="read-only"):
        load_recording(stored).sessions[0].initial["share_W"][0, 0] = 1


@pytest.mark.slow
def test_every_altered_byte_is_rejected(stored):
    data = content(stored)
    for position in range(len(data)):
        altered = bytearray(data)
        altered[position] ^= 1 << position % 8
        rewrite(stored, bytes(altered))
        # The path has the name of this test, and so the word "altered".
        assert_rejected(stored, r"npz: (altered, |cut short, |not a recording, or one cut short)")


def test_every_truncation_is_rejected(stored):
    data = content(stored)
    for length in [*range(0, len(data), 7), *range(len(data) - 100, len(data))]:
        rewrite(stored, data[:length])
        assert_rejected(stored, "cut short")


def test_a_truncated_file_gives_its_whole_runs(stored):
    data = content(stored)
    counts = []
    for length in range(data.index(b"000000/feeds/X.npy"), len(data), 7):
        rewrite(stored, data[:length])
        partial = load_recording(stored, partial=True)
        counts.append(len(partial.runs))
        assert same(partial.runs, example().runs[: len(partial.runs)])
    assert sorted(set(counts)) == [0, 1, 2, 3]
    assert counts == sorted(counts)


@pytest.mark.parametrize(
    "foreign",
    [b"", b"hello", pickle.dumps({"a": 1}), b"PK\x03\x04" + b"\0" * 100],
    ids=["empty", "text", "pickle", "zip-like"],
)
def test_a_foreign_file_is_rejected(path, foreign):
    rewrite(path, foreign)
    assert_rejected(path, "not a recording")


def test_a_foreign_npz_is_rejected(path):
    np.savez(path, X=np.zeros((2, 2)))
    assert_rejected(path, "not a recording")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "{}")
    assert_rejected(path, "not a recording; should be a file that `--record`")


def test_a_newer_schema_is_rejected(path, monkeypatch):
    monkeypatch.setattr(recordings, "SCHEMA", 3)
    save_recording(path, example())
    monkeypatch.undo()
    assert_rejected(path, r"schema 3, but this tf1_mtl reads up to 2. Upgrade")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"no such file; should be a recording. Check the name"):
        load_recording(str(tmp_path / "none.npz"))
    with pytest.raises(InputError, match=r"cannot be read \(not a regular file\)"):
        load_recording(str(tmp_path))


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match="a directory, but should be a file"):
        save_recording(str(tmp_path), example())
    with pytest.raises(InputError, match="cannot be written"):
        save_recording(str(tmp_path / "no" / "such.npz"), example())
    assert os.listdir(str(tmp_path)) == []


def test_objects_are_rejected_and_nothing_is_left(tmp_path):
    run = Run("", {"X": np.array([object()])})
    with pytest.raises(InputError, match="000000/feeds/X: an array of Python objects"):
        save_recording(str(tmp_path / "objects.npz"), Recording({}, (run,)))
    assert os.listdir(str(tmp_path)) == []


@pytest.mark.parametrize("value", [object(), np.float32(1), float("nan")])
def test_a_manifest_of_something_else_is_rejected_and_nothing_is_left(tmp_path, value):
    with pytest.raises(InputError, match="a manifest with something else than JSON values"):
        Writer(str(tmp_path / "a.npz"), {"seed": value})
    assert os.listdir(str(tmp_path)) == []


def test_a_file_with_pickled_objects_is_never_unpickled(path, tmp_path):
    writer = Writer(path, {})
    np.save(str(tmp_path / "array.npy"), np.array([object]), allow_pickle=True)
    writer._archive.put("000000/feeds/X.npy", content(str(tmp_path / "array.npy")))
    writer.close()
    assert_rejected(path, r"unknown content .*not an array of numbers")


def test_a_reference_to_nothing_is_rejected(path):
    writer = Writer(path, {})
    writer._archive.put("runs/000000.json", b'{"task":"","feeds":{"X":"nowhere.npy"},"fetched":[]}')
    writer.close()
    assert_rejected(path, r"unknown content .*nowhere")


def test_the_manifest_can_grow(path):
    writer = Writer(path, {"case": "a"})
    writer.add(example().runs[0])
    writer.describe({"case": "b", "ended": "well"})
    writer.close()
    manifest = load_recording(path).manifest
    assert (manifest["case"], manifest["ended"], manifest["schema"]) == ("b", "well", 2)


def test_an_unfinished_recording_is_not_overwritten(path, tmp_path):
    writer = Writer(path, {})
    with pytest.raises(InputError, match="unfinished recording is in the way"):
        Writer(path, {})
    assert_rejected(path, r"recorded.npz.partial is an unfinished one")
    writer.discard()
    assert os.listdir(str(tmp_path)) == []


def test_a_finished_file_replaces_the_older_one_only_at_the_end(stored):
    before = content(stored)
    writer = Writer(stored, {})
    assert content(stored) == before
    writer.close()
    assert load_recording(stored).runs == ()


def test_a_killed_recording_keeps_every_run_that_was_added(path):
    script = """
        import os, signal, sys
        import numpy as np
        from tf1_mtl.baseline.recordings import Run, Writer
        writer = Writer(sys.argv[1], {"case": "killed"})
        for i in range(5):
            writer.add(Run("Y1", {"X": np.full((3, 3), i, np.float32)}, {"loss": np.float32(i)}))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(script), path])
    assert killed.returncode == -signal.SIGKILL
    assert not os.path.exists(path)
    partial = load_recording(path, partial=True)
    assert partial.manifest["case"] == "killed"
    assert [float(run.loss) for run in partial.runs] == [0, 1, 2, 3, 4]
    assert [run.feeds["X"][2, 2] for run in partial.runs] == [0, 1, 2, 3, 4]
