"""Options of this test suite, and the line with which it ends."""

import contextlib
import gc
import os
import platform
import subprocess
import sys

import forked
import pytest

pytest.register_assert_rewrite("command")

# A process that has TensorFlow 2.21 crashes when it loads this part of PyTorch 2.13 after it.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

# `tests.benchmarks` is imported as it is run. At the end of the path, the installed package counts.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

#: The name of a test's property: TensorFlow's version, and the distance of a loss here, in ulp,
#: from the one recorded on TensorFlow 1.15.5.
LOSS_DISTANCE = "loss distance"


def pytest_addoption(parser):
    parser.addoption(
        "--real-tf1",
        metavar="PYTHON",
        help="a Python with TensorFlow 1.15.5 (or another 1.x), for the tests that run it",
    )


def pytest_configure(config):
    # Graphs are many small objects that live long; a collection seldom finds any to free.
    gc.set_threshold(100_000)
    if not hasattr(config, "workerinput"):  # a worker inherits the address of the server
        config.add_cleanup(forked.start())


def pytest_xdist_auto_num_workers(config):
    """Returns a worker for each core, at most four. Tests of one file run in this process."""
    files = {argument.split("::")[0] for argument in config.args}
    if len(files) == 1 and files.pop().endswith(".py"):
        config.option.dist = "no"
        return 0
    return min(os.cpu_count() or 1, 4)


@pytest.fixture
def patient(monkeypatch):
    """Gives the search for a diagnosis so much time that the machine does not decide."""
    monkeypatch.setattr("tf1_mtl.baseline.diagnosis.diagnose.SECONDS", 24.0)
    monkeypatch.setattr("tf1_mtl.baseline.diagnosis.diagnose.SECONDS_OF_SCRIPTS", 60.0)


@pytest.fixture
def path(tmp_path):
    """The path of a recording."""
    return str(tmp_path / "recorded.npz")


@pytest.fixture
def script(tmp_path):
    """Writes a script. Returns its path."""

    def write(text):
        (tmp_path / "script.py").write_text(text)
        return str(tmp_path / "script.py")

    return write


@pytest.fixture(scope="session")
def namespaces():
    """Skips where the system forbids unprivileged namespaces."""
    command = [sys.executable, "-m", "tf1_mtl.isolation", "--version"]
    tried = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if tried.returncode:
        pytest.skip(tried.stderr)


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.stats.get("passed", [])
    found = [
        value
        for report in reports
        for name, value in report.user_properties
        if name == LOSS_DISTANCE
    ]
    if found:
        version, distance = max(found)
        terminalreporter.write_line(
            f"TensorFlow {version}, Python {platform.python_version()}: "
            f"losses at most {distance} ulp from 1.15.5's"
        )
