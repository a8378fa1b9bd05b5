"""Trains the graph of the article over several processes of this machine.

One graph, cut at the borders of devices: a server of the job `ps` keeps the shared layer, and each
task has a server of the job `worker` with its head, its loss, its gradients and its slots. The
client runs `session.run` as before, and TensorFlow sends the tensors that cross a border. Only the
placement differs, so that the losses are those of one process, bit for bit.

As a module this is one of the servers, and ends with the process that started it.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional

import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.isolation import is_isolated
from tf1_mtl.session import DeviceSession

PS, WORKERS = ("ps", 0), (("worker", 0), ("worker", 1))
START_SECONDS = 120  #: in which a server has to start
SECONDS = 30  #: after which an operation of the cluster ends with an error
_PROBE_SECONDS = 3
_HEADS = (
    ("Y1", "share_Y1", "MatMul_1", "Relu_1", "sub", "L2Loss"),
    ("Y2", "share_Y2", "MatMul_2", "Relu_2", "sub_1", "L2Loss_1"),
)
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.DeadlineExceededError,
    tf.errors.AbortedError,
    tf.errors.InternalError,
    tf.errors.CancelledError,
    tf.errors.UnknownError,
)


class Server(NamedTuple):
    """A server of the cluster."""

    job: str
    task: int
    address: str
    process: Any

    @property
    def name(self) -> str:
        return f"/job:{self.job}/task:{self.task}"


def open_local_session(net: MultiTaskGraph) -> "ClusterSession":
    """Start the servers, place the graph on them, and open a session; nothing is initialized yet.

    Args:
      net: The graph of the article. Its nodes get a device.

    Returns:
      The session. Closing it ends the servers.

    Raises:
      InputError: A network interface is up, so that the servers would be open to it, or a server
        did not start.
    """
    if not is_isolated():
        raise InputError(
            "cluster: a network interface is up, and a TensorFlow server would be open to it. "
            "Run in a network namespace, as `tf1-mtl ... --cluster local` does."
        )
    place(net.graph)
    return ClusterSession(_Cluster(), net.graph)


class _Cluster:
    """The running servers."""

    def __init__(self) -> None:
        ports = iter(_free_ports(3))
        spec: Dict[str, List[str]] = {"ps": [], "worker": []}
        for job, _ in (PS, *WORKERS):
            spec[job].append(f"127.0.0.1:{next(ports)}")
        self.servers = [
            Server(job, task, spec[job][task], _start(spec, job, task))
            for job, task in (PS, *WORKERS)
        ]
        try:
            for server in self.servers:
                _wait_for(server)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the servers."""
        for server in self.servers:
            server.process.kill()
            server.process.wait()

    def lost(self) -> Optional[Server]:
        """Return a server that has ended or does not answer; None where all of them do."""
        for server in self.servers:
            if server.process.poll() is not None:
                return server
        return next((server for server in self.servers if not _answers(server)), None)


class ClusterSession(DeviceSession):
    """A session on a cluster. It ends the process when a server is lost."""

    def __init__(self, cluster: _Cluster, graph: tf.Graph) -> None:
        settings = tf.ConfigProto(operation_timeout_in_ms=1000 * SECONDS)
        super().__init__(graph, settings, target=f"grpc://{cluster.servers[0].address}")
        self._cluster = cluster
        self.device = f"cluster of {len(cluster.servers)} processes"

    def close(self) -> None:
        """Close the session and end the servers."""
        super().close()
        self._cluster.stop()

    def run(self, *given: Any, **options: Any) -> Any:
        """Run as `tf.Session.run` does."""
        try:
            return super().run(*given, **options)
        except _LOST as error:
            lost = self._cluster.lost()
            what = (
                f"{lost.name} is lost: {_state(lost)}" if lost else f"an operation failed: {error}"
            )
            # TensorFlow aborts when a session on a lost server is closed. The servers end with
            # this process.
            print(
                f"tf1-mtl: cluster: {what}. Run the same command again; with --checkpoint it "
                "continues from the last checkpoint.",
                file=sys.stderr,
            )
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(2)


def place(graph: tf.Graph) -> None:
    """Place every node of the article on its process; names and number of the nodes stay."""
    for node in graph.get_operations():
        job, task = _process_of(graph, node)
        node._set_device(f"/job:{job}/task:{task}")


def _process_of(graph: tf.Graph, node: tf.Operation) -> Any:
    """Return the job and the task of a node."""
    for group in node.colocation_groups():
        owner = group.decode()[len("loc:@") :]
        if owner != node.name:
            return _process_of(graph, graph.get_operation_by_name(owner))
    first, _, rest = node.name.partition("/")
    if first.startswith("gradients"):
        first = rest.partition("_grad/")[0]
    elif first.startswith("Adam"):  # the update of a variable is colocated with it
        return PS
    return next((worker for worker, names in zip(WORKERS, _HEADS) if first in names), PS)


def _free_ports(number: int) -> List[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _start(spec: Dict[str, List[str]], job: str, task: int) -> Any:
    """Start a server that signals of the terminal do not reach."""
    arguments = [json.dumps(spec), job, str(task), str(os.getpid())]
    return subprocess.Popen(
        [sys.executable, "-m", __name__, *arguments],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait_for(server: Server) -> None:
    """Return when a server takes connections."""
    host, port = server.address.split(":")
    last = time.monotonic() + START_SECONDS
    while server.process.poll() is None and time.monotonic() < last:
        with socket.socket() as sock:
            if sock.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)
    raise InputError(
        f"cluster: {server.name} did not start: {_state(server)}. Run the same command again."
    )


def _answers(server: Server) -> bool:
    """Return whether a server runs an operation in time."""
    settings = tf.ConfigProto(
        operation_timeout_in_ms=1000 * _PROBE_SECONDS, device_filters=[server.name]
    )
    with tf.Graph().as_default():
        with tf.device(server.name):
            one = tf.constant(1)
        try:
            session = tf.Session(f"grpc://{server.address}", config=settings)
            session.run(one)
        except tf.errors.OpError:
            return False
    return True


def _state(server: Server) -> str:
    status = server.process.poll()
    return f"it does not answer within {SECONDS} s" if status is None else f"it ended ({status})"


def _serve(spec: str, job: str, task: str, parent: str) -> None:
    """Run one server until the parent ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != int(parent):
        return  # it ended before the line above
    tf.train.Server(json.loads(spec), job_name=job, task_index=int(task))
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
