"""The messages of TensorFlow are hidden. Everything else on stderr is shown."""

import os
import subprocess
import sys

import pytest

from tf1_mtl.quiet import is_noise, without_noise

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

NOISE = [
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"I0000 00:00:1795369165.832385    4979 port.cc:153] oneDNN custom operations are on.\n",
    b"2026-01-02 03:04:05.678901: I tensorflow/core/platform/cpu_feature_guard.cc:142] Your CPU\n",
    b"To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow\n",
    b"2026-01-02 03:04:05.678901: E external/local_xla/xla/stream_executor/cuda/cuda_fft.cc:479] "
    b"Unable to register cuFFT factory: Attempting to register factory\n",
]
NO_GPU = [
    b"E0000 00:00:1.2 3 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error\n",
    b"2026-01-02 03:04:05.678901: E tensorflow/cuda.cc:3] failed call to cuInit: UNKNOWN\n",
]
NEWS = [
    b"E0000 00:00:1.2 3 something.cc:1] out of memory\n",
    b"F0000 00:00:1.2 3 something.cc:1] Check failed\n",
    b"2026-01-02 03:04:05.678901: E tensorflow/core/x.cc:1] failed to allocate\n",
    b"2026-01-02 03:04:05.678901: F tensorflow/core/x.cc:1] built for AVX\n",
    b"Traceback (most recent call last):\n",
    b"INFO: written by somebody else\n",
    b"\n",
]


@pytest.mark.parametrize("line", [*NOISE, *NEWS])
def test_noise_and_news(line):
    assert is_noise(line) == (line in NOISE)


@pytest.mark.parametrize("line", NO_GPU)
@pytest.mark.parametrize("driver", [True, False])
def test_a_failing_gpu_is_news_where_there_is_one(monkeypatch, line, driver):
    monkeypatch.setattr(os.path, "exists", lambda path: driver)
    assert is_noise(line) == (not driver)


def test_a_trace_goes_with_its_error(monkeypatch):
    trace = [b"=== Source Location Trace: === \n", b"external/xla/cuda_status.cc:50\n", b"\n"]
    news = [NEWS[0], *trace, b"my own\n", b"\n"]
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    assert list(without_noise([NO_GPU[0], *trace, *news])) == news


# What is written to the descriptor itself, as TensorFlow's C++ does, within the filter.
INSIDE = """
import os, sys
from tf1_mtl.quiet import quiet
with quiet({verbose}):
    os.write(2, b"I0000 00:00:1.2 3 noise.cc:1] noise\\n" b"E0000 00:00:1.2 3 x.cc:1] an error\\n")
    print("python's own", file=sys.stderr)
    {last}
print("after", file=sys.stderr)
"""


def stderr_of(verbose=False, last="pass"):
    environment = dict(os.environ, PYTHONPATH=ROOT)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # JAX, which TensorFlow 2.12 imports, sets it
    command = [sys.executable, "-c", INSIDE.format(verbose=verbose, last=last)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    return ran.returncode, ran.stderr


@pytest.mark.slow
def test_only_noise_is_dropped():
    assert stderr_of() == (0, "E0000 00:00:1.2 3 x.cc:1] an error\npython's own\nafter\n")


@pytest.mark.slow
def test_a_crash_loses_nothing():
    status, stderr = stderr_of(last="os.abort()")
    assert status != 0
    assert stderr.startswith("E0000 00:00:1.2 3 x.cc:1] an error\npython's own\n")


def test_verbose_shows_all():
    status, stderr = stderr_of(verbose=True)
    assert status == 0
    assert "I0000 00:00:1.2 3 noise.cc:1] noise\n" in stderr
    assert stderr.endswith("after\n")
