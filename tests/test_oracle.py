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
    command = [sys.executable, "-m", "tests.oracle", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def copy(tmp_path):
    """What is stored, in a directory of its own."""
    for path in ("tests/truth", "tf1_mtl/baseline/goldens"):
        shutil.copytree(os.path.join(ROOT, path), str(tmp_path / path))
    return str(tmp_path)


ONE_TWO, ONE_NAN = np.array([1.0, 2.0], np.float32), np.array([1.5, np.nan], np.float32)
OFF_BY_1E_3 = ONE_TWO + np.float32([1e-3, 0])
ZERO = np.zeros(1, np.float32)
#: By case: recorded, stored, the tolerance, and the number of differences.
COMPARED = {
    "equal bits": (ONE_NAN, ONE_NAN.copy(), 0, 0),
    "one bit": (np.array([1.0, 2.0000002], np.float32), ONE_TWO, 0, 1),
    "the sign of zero": (-ZERO, ZERO, 0, 1),
    "within the tolerance of each value": (OFF_BY_1E_3, ONE_TWO, np.array([2e-3, 0]), 0),
    "within that of another value": (OFF_BY_1E_3, ONE_TWO, np.array([0, 2e-3]), 1),
    "not a number": (OFF_BY_1E_3 * np.nan, ONE_TWO, np.array([1, 1]), 1),
    "another shape": (ONE_TWO[:1], ONE_TWO, 1, 1),
    "another dtype": (ONE_TWO.astype(float), ONE_TWO, 1, 1),
    "other words": (np.array(["Y1"]), np.array(["Y2"]), 1, 1),
}


@pytest.mark.parametrize("case", COMPARED)
def test_differences_are_found(case):
    recorded, stored, tolerance, differences = COMPARED[case]
    found = compare("here", recorded, stored, tolerance)
    assert len(found) == differences
    if case == "one bit":
        assert found == [
            "here[1]: recorded 2.000000238418579, stored 2.0, 2.4e-07 apart, tolerance 0"
        ]


@pytest.mark.skipif(tf.__version__ in RUNTIMES, reason="this runtime records")
def test_another_tensorflow_is_rejected(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["oracle"])
    with pytest.raises(SystemExit, match="2"):
        main()
    message = f"this Python has TensorFlow {tf.__version__}, but the truth is recorded on"
    assert message in capsys.readouterr().err


def on_the_reference(test):
    records = "records on a real TensorFlow 1.15.5"
    return pytest.mark.slow(pytest.mark.skipif(not IS_REFERENCE, reason=records)(test))


@on_the_reference
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


@on_the_reference
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


@on_the_reference
def test_what_is_written_can_be_compared(tmp_path):
    (tmp_path / "tests").mkdir()
    assert oracle("--write", "--root", str(tmp_path))[0] == 0
    written = sorted(os.listdir(str(tmp_path / "tf1_mtl" / "baseline" / "goldens")))
    assert written == sorted(name + ".npz" for name in golden_names())
    assert oracle("--root", str(tmp_path))[0] == 0
