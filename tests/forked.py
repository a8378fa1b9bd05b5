"""Runs Python in processes of their own that need not import TensorFlow.

A server imports TensorFlow once and forks a process for each line on stdin. Such a process differs
from a fresh one in one thing: what TensorFlow prints while it is imported. The server has no thread
when it forks.
"""

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import types

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: No thread before a fork; and what `tf1_mtl.quiet` sets, too late after the import.
SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": ROOT}
_SERVER = []


def python(*args, cwd=None, interrupt_at=None):
    """Runs what `python ARGS` runs; returns an object with returncode, stdout and stderr.

    Args:
      args: `-m MODULE`, `-c CODE` or a path, and arguments.
      cwd: The folder that it runs in; by default the current one.
      interrupt_at: After so many lines on stdout it gets a SIGINT.
    """
    if not _SERVER:
        _SERVER.append(
            subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **SETTINGS},
                universal_newlines=True,
            )
        )
    server = _SERVER[0]
    job = [list(map(str, args)), str(cwd or os.getcwd()), interrupt_at]
    print(json.dumps(job), file=server.stdin, flush=True)
    status, out, err = json.loads(server.stdout.readline())
    return types.SimpleNamespace(returncode=status, stdout=out, stderr=err)


def tf1_mtl(*args, **options):
    """Runs `python -m tf1_mtl ARGS`."""
    return python("-m", "tf1_mtl", *args, **options)


def _serve():
    """Runs the job of each line in a fork, and prints how it ended and what it printed."""
    import tensorflow.compat.v1  # noqa: F401

    gc.freeze()  # else a collection at the end of each process copies all its memory
    for line in sys.stdin:
        args, cwd, interrupt_at = json.loads(line)
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = os.fork()
            if not process:
                return _live(args, cwd, out, err)
            while interrupt_at and os.pread(out.fileno(), 10**6, 0).count(b"\n") < interrupt_at:
                time.sleep(0.01)
            if interrupt_at:
                os.kill(process, signal.SIGINT)
            _, ended = os.waitpid(process, 0)
            status = -os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)
            for file in (out, err):
                file.seek(0)
            print(json.dumps([status, out.read(), err.read()]), flush=True)


def _live(args, cwd, out, err):
    """Is the process of a job, from here to its end."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
    kind = args.pop(0) if args[0] in ("-m", "-c") else ""
    sys.argv[:] = ["-c", *args[1:]] if kind == "-c" else args
    sys.path[0] = "" if kind else os.path.dirname(os.path.realpath(args[0]))
    if kind == "-m":
        runpy.run_module(args[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        exec(compile(args[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(args[0], run_name="__main__")


if __name__ == "__main__":
    _serve()
