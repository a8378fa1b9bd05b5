"""Runs Python in processes of their own that need not import TensorFlow.

All workers of a test run share a server. At the first job it imports TensorFlow, and it forks a
process for each job. Such a process differs from a fresh one in one thing: what TensorFlow prints
while it is imported. The server has no thread when it forks.
"""

import contextlib
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import types

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: No thread before a fork; and what `tf1_mtl.quiet` sets, too late after the import.
SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": ROOT}
#: The environment variable with the path of the socket on which the server listens.
ADDRESS = "TF1_MTL_TEST_SERVER"


def start():
    """Starts the server of a test run. Returns a function that ends it."""
    folder = tempfile.mkdtemp()
    os.environ[ADDRESS] = os.path.join(folder, "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.environ[ADDRESS])
        listener.listen(16)
        server = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            env={**os.environ, **SETTINGS},
        )

    def end():
        server.stdin.close()
        server.wait()
        shutil.rmtree(folder)

    return end


def python(*args, cwd=None, interrupt_at=None):
    """Runs what `python ARGS` runs; returns an object with returncode, stdout and stderr.

    Args:
      args: `-m MODULE`, `-c CODE` or a path, and arguments.
      cwd: The folder that it runs in; by default the current one.
      interrupt_at: After so many lines on stdout it gets a SIGINT.
    """
    job = [list(map(str, args)), str(cwd or os.getcwd()), interrupt_at]
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ[ADDRESS])
        with connection.makefile("rw") as stream:
            print(json.dumps(job), file=stream, flush=True)
            status, out, err = json.loads(stream.readline())
    return types.SimpleNamespace(returncode=status, stdout=out, stderr=err)


def tf1_mtl(*args, **options):
    """Runs `python -m tf1_mtl ARGS`."""
    return python("-m", "tf1_mtl", *args, **options)


def _serve(listener):
    """Forks an attendant for each connection, until stdin is closed."""
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        import tensorflow.compat.v1  # noqa: F401

        gc.freeze()  # else a collection at the end of each process copies all its memory
        if not os.fork():
            return _attend(connection)
        connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _attend(connection):
    """Runs the job of a connection in a fork, and answers how it ended and what it printed."""
    stream = connection.makefile("rw")
    args, cwd, interrupt_at = json.loads(stream.readline())
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
        print(json.dumps([status, out.read(), err.read()]), file=stream, flush=True)
    os._exit(0)


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
    _serve(socket.socket(fileno=int(sys.argv[1])))
