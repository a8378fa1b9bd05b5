"""Trains the graph of the article over several processes, of this machine or of several.

One graph, cut at the borders of devices: a server of the job `ps` keeps the shared layer, and each
task has a server of the job `worker` with its head, its loss, its gradients and its slots. The
client runs `session.run` as before, and TensorFlow sends the tensors that cross a border. Only the
placement differs, so that the losses are those of one process, bit for bit. Each session has
variables of its own on the servers, so that no client changes what another one trains.

As a module this is one of the local servers, and ends with the process that started it.
"""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any, List, NamedTuple, Optional, Sequence

import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.isolation import is_isolated
from tf1_mtl.scale.cluster_file import Spec, port_of, takes_connections
from tf1_mtl.session import DeviceSession

PS = ("ps", 0)
START_SECONDS = 120  #: in which a server has to start
SECONDS = 30  #: after which an operation of the cluster ends with an error
_PROBE_SECONDS = 3
#: The nodes of each task, which is the number of its worker.
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
    process: Any = None  #: where this process started it

    @property
    def name(self) -> str:
        return f"/job:{self.job}/task:{self.task}"


def open_local_session(graph: tf.Graph, workers: int = 2) -> "ClusterSession":
    """Starts servers, and opens a session on them; nothing is initialized yet.

    Args:
      graph: Its nodes are placed.
      workers: Number of the servers of the job `worker`.

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
    first, *others = (f"127.0.0.1:{port}" for port in _free_ports(1 + workers))
    spec: Spec = {"ps": [first], "worker": others}
    servers = [
        server._replace(process=_start(spec, server.job, server.task)) for server in _servers(spec)
    ]
    try:
        for server in servers:
            _wait_for(server)
        return _open(graph, servers)
    except BaseException:
        _end(servers)
        raise


def open_session_on(graph: tf.Graph, spec: Spec) -> "ClusterSession":
    """Opens a session on servers that run already.

    Args:
      graph: Its nodes are placed.
      spec: The addresses of the servers.

    Returns:
      The session; nothing is initialized yet. Closing it leaves the servers as they are.

    Raises:
      InputError: A server does not answer.
    """
    servers = _servers(spec)
    for server in servers:
        if not takes_connections(server.address, _PROBE_SECONDS):
            raise InputError(
                f"cluster: {server.name} takes no connection at {server.address}. Start it there: "
                f"tf1-mtl serve --cluster FILE.json --job {server.job} --task {server.task}"
            )
    return _open(graph, servers)


def start_server(spec: Spec, job: str, task: int) -> tf.train.Server:
    """Returns a server that runs in threads of this process until the process ends.

    Raises:
      InputError: The port is taken, or TensorFlow cannot serve.
    """
    port = port_of(spec[job][task])
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("", port))
        except OSError as error:
            raise InputError(
                f"serve: port {port} cannot be used ({error.strerror}). End what uses it, or give "
                f"/job:{job}/task:{task} another port in the file of every machine."
            ) from None
    try:
        return tf.train.Server(spec, job_name=job, task_index=task)
    except tf.errors.OpError as error:
        raise InputError(f"serve: TensorFlow cannot serve at port {port}: {error}.") from None


def _open(graph: tf.Graph, servers: Sequence[Server]) -> "ClusterSession":
    lost = _lost(servers)
    if lost:
        raise InputError(
            f"cluster: {lost.name} at {lost.address} does not answer as a server of this cluster "
            f"within {_PROBE_SECONDS} s. Every server must have the same file; start it again."
        )
    return ClusterSession(servers, graph)


def _end(servers: Sequence[Server]) -> None:
    """Ends the servers that this process started."""
    for server in servers:
        if server.process is not None:
            server.process.kill()
            server.process.wait()


def _lost(servers: Sequence[Server]) -> Optional[Server]:
    """Returns a server that has ended or does not answer; None where all of them do."""
    for server in servers:
        if server.process is not None and server.process.poll() is not None:
            return server
    return next((server for server in servers if not _answers(server)), None)


class ClusterSession(DeviceSession):
    """A session on a cluster. It ends the process when a server is lost."""

    def __init__(self, servers: Sequence[Server], graph: tf.Graph) -> None:
        settings = tf.ConfigProto(
            operation_timeout_in_ms=1000 * SECONDS, isolate_session_state=True
        )
        master = next(server for server in servers if (server.job, server.task) == PS)
        super().__init__(graph, settings, target=f"grpc://{master.address}")
        self._servers = servers
        self.device = f"cluster of {len(servers)} processes"

    def close(self) -> None:
        """Closes the session and ends the servers that this process started."""
        super().close()
        _end(self._servers)

    def run(self, *given: Any, **options: Any) -> Any:
        """Runs as `tf.Session.run` does."""
        try:
            return super().run(*given, **options)
        except _LOST as error:
            lost = _lost(self._servers)
            if lost:
                what = f"{lost.name} is lost: {_state(lost)}"
            elif isinstance(error, tf.errors.AbortedError):
                what = "a server was started anew, and has lost its variables"
            else:
                what = f"an operation failed: {error}"
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
    """Places every node of the article on its process; names and number of the nodes stay."""
    for node in graph.get_operations():
        job, task = _process_of(graph, node)
        node._set_device(f"/job:{job}/task:{task}")


def _process_of(graph: tf.Graph, node: tf.Operation) -> Any:
    """Returns the job and the task of a node."""
    for group in node.colocation_groups():
        owner = group.decode()[len("loc:@") :]
        if owner != node.name:
            return _process_of(graph, graph.get_operation_by_name(owner))
    first, _, rest = node.name.partition("/")
    if first.startswith("gradients"):
        first = rest.partition("_grad/")[0]
    elif first.startswith("Adam"):  # the update of a variable is colocated with it
        return PS
    return next((("worker", task) for task, names in enumerate(_HEADS) if first in names), PS)


def _servers(spec: Spec) -> List[Server]:
    """Returns the servers of a cluster, of which this process has started none."""
    return [
        Server(job, task, address)
        for job, addresses in spec.items()
        for task, address in enumerate(addresses)
    ]


def _free_ports(number: int) -> List[int]:
    sockets = [socket.socket() for _ in range(number)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _start(spec: Spec, job: str, task: int) -> Any:
    """Starts a server that signals of the terminal do not reach."""
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
    """Waits until a server takes connections."""
    last = time.monotonic() + START_SECONDS
    while server.process.poll() is None and time.monotonic() < last:
        if takes_connections(server.address, _PROBE_SECONDS):
            return
        time.sleep(0.1)
    raise InputError(
        f"cluster: {server.name} did not start: {_state(server)}. Run the same command again."
    )


def _answers(server: Server) -> bool:
    """Returns whether a server runs an operation in time."""
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
    if server.process is not None and server.process.poll() is not None:
        return f"it ended ({server.process.poll()})"
    if not takes_connections(server.address, _PROBE_SECONDS):
        return f"it takes no connection at {server.address}"
    return f"it does not answer within {SECONDS} s"


def _serve(spec: str, job: str, task: str, parent: str) -> None:
    """Runs one server until the parent ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != int(parent):
        return  # it ended before the line above
    server = start_server(json.loads(spec), job, int(task))
    while server:
        time.sleep(3600)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
