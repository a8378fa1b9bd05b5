"""The dry run of the oracle reports nothing if all is as stored, and reports a single bit."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from oracle.__main__ import REFERENCE, RUNTIMES, compare, main

from tf1_mtl.baseline import load_recording, save_recording
from tf1_mtl.baseline.goldens import golden_names

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IS_REFERENCE = tf.__version__ == REFERENCE


def oracle(*arguments):
    """Runs the command. Returns its exit status, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.oracle", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def copy(tmp_path):
    """What is stored, in a directory of its own."""
    for path in ("tests/truth", "tf1_mtl/baseline/goldens"):
        shutil.copytree(os.path.join(ROOT, path), str(tmp_path / path))
    return str(tmp_path)


def test_equal_bits_pass():
    values = np.array([1.5, np.nan], np.float32)
    assert compare("here", values, values.copy(), 0) == []


def test_one_bit_is_a_difference():
    stored = np.array([1.0, 2.0], np.float32)
    recorded = np.array([1.0, 2.0000002], np.float32)
    assert compare("here", recorded, stored, 0) == [
        "here[1]: recorded 2.000000238418579, stored 2.0, 2.4e-07 apart, tolerance 0"
    ]
    zero = np.zeros(1, np.float32)
    assert len(compare("here", -zero, zero, 0)) == 1


def test_a_tolerance_is_kept_value_by_value():
    stored = np.array([1.0, 2.0], np.float32)
    recorded = stored + np.float32([1e-3, 0])
    assert compare("here", recorded, stored, np.array([2e-3, 0])) == []
    assert len(compare("here", recorded, stored, np.array([0, 2e-3]))) == 1
    assert len(compare("here", recorded * np.nan, stored, np.array([1, 1]))) == 1


def test_other_shapes_dtypes_and_words_are_differences():
    stored = np.array([1.0, 2.0], np.float32)
    assert len(compare("here", stored[:1], stored, 1)) == 1
    assert len(compare("here", stored.astype(float), stored, 1)) == 1
    assert len(compare("here", np.array(["Y1"]), np.array(["Y2"]), 1)) == 1


@pytest.mark.skipif(tf.__version__ in RUNTIMES, reason="this runtime records")
def test_another_tensorflow_is_rejected(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["oracle"])
    with pytest.raises(SystemExit, match="2"):
        main()
    message = f"this Python has TensorFlow {tf.__version__}, but the truth is recorded on"
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not IS_REFERENCE, reason="records on a real TensorFlow 1.15.5")
def test_the_reference_is_as_stored():
    status, output, _ = oracle()
    assert output.endswith(", 0 differences\n")
    assert status == 0


def alter(root, name, change, **machine):
    """Stores a golden with share_W after step 3 changed, as recorded by another machine."""
    path = os.path.join(root, "tf1_mtl", "baseline", "goldens", name + ".npz")
    golden = load_recording(path)
    runs = list(golden.runs)
    variables = runs[3].variables
    changed = dict(variables, share_W=change(variables["share_W"]))
    runs[3] = runs[3]._replace(variables=changed)
    golden.manifest["recorded_by"].update(machine)
    save_recording(path, golden._replace(runs=tuple(runs)))


@pytest.mark.slow
@pytest.mark.skipif(not IS_REFERENCE, reason="records on a real TensorFlow 1.15.5")
def test_an_altered_golden_and_an_altered_graph_are_found(copy):
    alter(copy, "other-sizes", lambda share_W: np.nextafter(share_W, np.float32(9)))
    alter(copy, "small-gradients", lambda share_W: share_W + np.float32(1e-4), cpu="another")
    # Rounding of another machine is not a difference.
    alter(copy, "joint", lambda share_W: np.nextafter(share_W, np.float32(9)), cpu="another")
    path = os.path.join(copy, "tests", "truth", f"graph-{REFERENCE}.pbtxt")
    with open(path) as file:
        text = file.read()
    with open(path, "w") as file:
        file.write(text.replace('name: "share_W/read"', 'name: "share_W/real"', 1))
    status, output, _ = oracle("--root", copy)
    assert status == 1
    assert "goldens/other-sizes.npz: step 3, share_W[" in output
    assert "the listing gives another graph" in output
    assert "goldens/small-gradients.npz: step 3, share_W[" in output
    assert output.endswith(", 3 differences\n")


@pytest.mark.slow
@pytest.mark.skipif(not IS_REFERENCE, reason="records on a real TensorFlow 1.15.5")
def test_what_is_written_can_be_compared(tmp_path):
    (tmp_path / "tests").mkdir()
    assert oracle("--write", "--root", str(tmp_path))[0] == 0
    written = sorted(os.listdir(str(tmp_path / "tf1_mtl" / "baseline" / "goldens")))
    assert written == sorted(name + ".npz" for name in golden_names())
    assert oracle("--root", str(tmp_path))[0] == 0
