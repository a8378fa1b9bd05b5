"""Options of this test suite, and the line with which it ends."""

import os
import platform
import sys

import pytest

# `tests.benchmarks` is imported as it is run. At the end of the path, the installed package counts.
sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

_DISTANCES = []


def pytest_addoption(parser):
    parser.addoption(
        "--real-tf1",
        metavar="PYTHON",
        help="a Python with TensorFlow 1.15.5 (or another 1.x), for the tests that run it",
    )


@pytest.fixture(scope="session")
def loss_distances():
    """Takes distances in ulp between a loss here and the one recorded on TensorFlow 1.15.5."""
    return _DISTANCES


def pytest_terminal_summary(terminalreporter):
    if _DISTANCES:
        import tensorflow

        terminalreporter.write_line(
            f"TensorFlow {tensorflow.__version__}, Python {platform.python_version()}: "
            f"losses at most {max(_DISTANCES)} ulp from 1.15.5's"
        )
