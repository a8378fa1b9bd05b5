"""The graph over several processes: placement, the same bits, isolation, and lost servers."""

import ctypes
import glob
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

import forked
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import refused
from sampling import slow_everywhere

from tf1_mtl import InputError, build_graph, feeds, isolation, train
from tf1_mtl.graph_reader import VARIABLES, needed
from tf1_mtl.scale import cluster
from tf1_mtl.scale.replicas import replicate
from tf1_mtl.teaching.planning import Names

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
COMMAND = [sys.executable, "-m", "tf1_mtl"]
SERVER = "tf1_mtl.scale.cluster"
ONE, TWO = ["a:1"], ["b:1", "c:2"]
#: What computes in each replica.
REPLICA_NODES = ("MatMul", "MatMul_1", "MatMul_2", "add", "gradients/MatMul_grad/MatMul_1")
#: A run that lasts until it is ended.
ENDLESS = ("joint", "--seed", "3", "--steps", "10000000", "--cluster", "local")


@pytest.fixture
def cluster_file(tmp_path):
    """The path of a file that names a cluster."""
    path = tmp_path / "cluster.json"
    path.write_text(json.dumps({"ps": ONE, "worker": TWO}))
    return path


def test_only_the_placement_of_the_graph_changes():
    graph = build_graph(np.random.RandomState(0)).graph

    def nodes():
        ops = graph.get_operations()
        return [(node.name, node.type, [x.name for x in node.inputs]) for node in ops]

    before = nodes()
    cluster.place(graph)
    assert nodes() == before and len(before) == 216


@pytest.mark.parametrize("variables", ["ref", "resource"])
def test_each_task_has_a_process(variables):
    graph = build_graph(np.random.RandomState(0), variables=variables).graph
    cluster.place(graph)
    length = len("/job:worker/task:0")
    place = {node.name: node.device[:length] for node in graph.get_operations()}
    one, other, shared = "/job:worker/task:0", "/job:worker/task:1", "/job:ps/task:0"
    for name in ("Y1", "share_Y1", "share_Y1/Adam_1", "MatMul_1", "L2Loss"):
        assert place[name] == one, name
    for name in ("Y2", "share_Y2", "share_Y2/Adam", "MatMul_2", "L2Loss_1"):
        assert place[name] == other, name
    for name in ("X", "share_W", "share_W/Adam", "beta1_power", "MatMul", "Relu", "add"):
        assert place[name].startswith(shared), name
    gradients = [name for name in place if "MatMul_2_grad" in name]
    assert gradients and {place[name] for name in gradients} == {other}
    assert all(place.values())


@pytest.mark.parametrize(
    "options",
    [("--stepping", "prepared"), ("--device", "cpu"), ("--record", "x.npz"), ("--logdir", "x")],
)
def test_options_that_do_not_go_together(options, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    error = refused(capsys, "joint", "--cluster", "local", *options, folder=tmp_path)
    assert error.startswith("tf1-mtl: --cluster: ") and error.count("\n") == 1


def test_without_a_namespace_nothing_starts(monkeypatch, capsys):
    """This runs where namespaces are forbidden too."""
    started = []
    monkeypatch.setattr(cluster, "_start", lambda *given: started.append(given))
    monkeypatch.setattr(cluster, "is_isolated", lambda: False)
    with pytest.raises(InputError, match="would be open to it"):
        cluster.open_local_session(build_graph(np.random.RandomState(0)).graph)

    def forbidden():
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(isolation, "isolate", forbidden)
    assert isolation._main(["joint", "--cluster", "local"]) == 2
    assert "allows no network namespace" in capsys.readouterr().err
    assert not started


@pytest.mark.parametrize(
    "options, message",
    [
        (["joint", "--replicas", "2"], "Give --cluster too."),
        (["alternate", "--cluster", "local", "--replicas", "2"], "not with alternate"),
        (["joint", "--cluster", "local", "--replicas", "1"], "should be at least 2"),
        (["joint", "--cluster", "{file}", "--replicas", "3"], "has 2 of the job worker"),
        (["joint", "--cluster", "{file}", "--replicas", "2", "--batch", "1"], "a step has only 1"),
    ],
)
def test_replicas_that_cannot_be(cluster_file, capsys, options, message):
    error = refused(capsys, *(each.format(file=cluster_file) for each in options))
    assert error.startswith("tf1-mtl: --replicas: ") and message in error


def replicated(net, number):
    cluster.place(net.graph)
    return replicate(net, number)


def trained_by(replicas, variables, batch, steps=200):
    """Returns the losses and the weights; each process is a virtual device of this one."""
    rng = np.random.RandomState(3)
    net = build_graph(rng, batch=None, variables=variables)
    if replicas:
        net = replicated(net, replicas)
        for node in net.graph.get_operations():
            job, task = re.match(r"/job:(\w+)/task:(\d+)", node.device).groups()
            node._set_device(f"/device:CPU:{0 if job == 'ps' else int(task) + 1}")
    config = tf.ConfigProto(device_count={"CPU": 4})
    with tf.Session(graph=net.graph, config=config) as session:
        session.run(net.init)
        batches = feeds.joint(feeds.article_draw(rng, batch), steps)
        losses = [step.loss for step in train(net, session, batches)]
        variables = net.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        return np.array(losses), session.run({v.op.name: v for v in variables})


@pytest.mark.parametrize(
    "replicas, batch, variables",
    [
        (2, 10, "ref"),
        slow_everywhere(2, 10, "resource"),
        slow_everywhere(3, 10, "ref"),
        slow_everywhere(3, 10, "resource"),
    ],
)
def test_replicas_make_the_same_step_up_to_rounding(variables, replicas, batch):
    losses, state = trained_by(replicas, variables, batch)
    losses_of_one, state_of_one = trained_by(0, variables, batch)
    # 2 ulp and 2e-7 were measured on 2.21.0 and 1.15.5.
    distance = losses.view(np.int32).astype(np.int64) - losses_of_one.view(np.int32)
    assert np.abs(distance).max() <= 8
    for name, value in state_of_one.items():
        np.testing.assert_allclose(state[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_no_weight_is_updated_before_all_replicas_have_read_all():
    net = replicated(build_graph(np.random.RandomState(0), batch=None), 2)
    updates = [op for op in needed([net.Optimiser]) if op.type == "ApplyAdam"]
    assert len(updates) == 3
    reads = {f"replicas/{worker}/{name}" for worker in (0, 1) for name in REPLICA_NODES}
    for update in updates:
        before = {op.name for op in needed([update.inputs[9]])}
        assert reads <= before


def test_each_replica_has_its_rows_on_its_worker():
    net = replicated(build_graph(np.random.RandomState(0), batch=None), 3)
    node_of = net.graph.get_operation_by_name
    for worker in range(3):
        for name in REPLICA_NODES:
            node = node_of(f"replicas/{worker}/{name}")
            assert node.device.startswith(f"/job:worker/task:{worker}")
        for name in ("MatMul", "sub", "sub_1"):  # of X, Y1 and Y2, which are fed to the ps
            rows = node_of(f"replicas/{worker}/{name}").inputs[0]
            assert rows.op.type == "StridedSlice" and rows.device == "/job:ps/task:0"
    for name, owner in (("", "share_W"), ("_1", "share_Y1"), ("_2", "share_Y2")):
        update = node_of(f"replicas/step/Adam/update_{owner}/ApplyAdam")
        assert node_of(f"AddN{name}").device == node_of(owner).device == update.device
    assert all(op.device for op in net.graph.get_operations())
    parts = [node_of(f"replicas/{worker}/MatMul").inputs[0] for worker in range(3)]
    for node in net.graph.get_operations():
        node._set_device("")
    X = np.arange(100, dtype="float32").reshape(10, 10)
    with tf.Session(graph=net.graph) as session:
        found = session.run(parts, {net.X: X})
    assert [len(part) for part in found] == [3, 3, 4]
    np.testing.assert_array_equal(np.concatenate(found), X)


@pytest.mark.parametrize(
    "content, message",
    [
        ("no", "is not JSON"),
        ("[]", "the jobs ps and worker"),
        ({"ps": ONE, "worker": TWO, "chief": ONE}, "the jobs ps and worker"),
        ({"ps": "a:1", "worker": TWO}, "ps should be a list"),
        ({"ps": ["a"], "worker": TWO}, "/job:ps/task:0: is 'a', but should be HOST:PORT"),
        ({"ps": ONE, "worker": ["b:0", "c:2"]}, "/job:worker/task:0: is 'b:0'"),
        ({"ps": ONE, "worker": ["b:1", 5]}, "/job:worker/task:1: is 5"),
        ({"ps": [], "worker": TWO}, "has 0 servers of the job ps and 2"),
        ({"ps": ONE, "worker": ["b:1"]}, "should have one and at least two"),
        ({"ps": ONE, "worker": ["b:1", "b:1"]}, "has b:1 twice"),
    ],
)
def test_a_file_that_names_no_cluster(cluster_file, capsys, content, message):
    cluster_file.write_text(content if isinstance(content, str) else json.dumps(content))
    for arguments in (["joint"], ["serve", "--job", "ps", "--task", "0"]):
        error = refused(capsys, *arguments, "--cluster", cluster_file)
        assert error.startswith(f"tf1-mtl: --cluster: {cluster_file}: ") and message in error
        assert error.count("\n") == 1


def test_serve_asks_for_a_closed_network(cluster_file, capsys, monkeypatch):
    serve = ("serve", "--cluster", cluster_file, "--job", "worker", "--task")
    monkeypatch.setattr(isolation, "is_isolated", lambda: False)
    assert "give --trust-network" in refused(capsys, *serve, 1)
    assert "Give a number from 0 to 1." in refused(capsys, *serve, 2)
    assert "No such file" in refused(capsys, "joint", "--cluster", f"{cluster_file}.none")


# What follows starts servers


class Client:
    """A command that trains, and what it printed."""

    def __init__(self, arguments, out, command=(*COMMAND,), before=None):
        self.out = out
        with open(out, "w") as file:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=ROOT,
                preexec_fn=before,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=file,
                stderr=subprocess.PIPE,
                text=True,
            )

    def servers(self):
        return servers_of(self.process.pid)

    def wait_until_it_trains(self):
        wait_until(lambda: os.path.getsize(self.out) or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.communicate()

    def end(self, seconds=120, status=None):
        """Returns what is on stderr, after the servers have ended too."""
        _, error = self.process.communicate(timeout=seconds)
        wait_until(lambda: not self.servers(), 10)
        if status is not None:
            assert self.process.returncode == status, error
            assert "Traceback" not in error
        return error

    def printed(self):
        """Returns the lines on stdout of a command that must succeed."""
        self.end(status=0)
        with open(self.out) as file:
            return file.read().splitlines()


@pytest.fixture
def start(namespaces, tmp_path_factory):
    """Starts commands, and ends what is left of them."""
    started = []

    def run(*arguments, **settings):
        out = str(tmp_path_factory.mktemp("out") / "stdout")
        started.append(Client(arguments, out, **settings))
        return started[-1]

    yield run
    for client in started:
        client.process.kill()
        client.end()


class Served:
    """Servers of `tf1-mtl serve` in one network namespace, which the first of them makes."""

    def __init__(self, start, path):
        self._start, self.path = start, path
        spec = {"ps": ["127.0.0.1:2300"], "worker": ["127.0.0.1:2301", "127.0.0.1:2302"]}
        with open(path, "w") as file:
            json.dump(spec, file)
        self.servers = {}
        self.serve(("ps", 0), command=(sys.executable, "-m", "tf1_mtl.isolation"))
        self.serve(("worker", 0), ("worker", 1))

    def serve(self, *names, **settings):
        """Starts servers, and wait until each says that it serves."""
        started = {}
        for job, task in names:
            arguments = ("serve", "--cluster", self.path, "--job", job, "--task", str(task))
            started[job, task] = self.inside(*arguments, **settings).process
        for (job, task), process in started.items():
            line = process.stderr.readline()
            assert f"/job:{job}/task:{task}, port" in line, line
        self.servers.update(started)

    def inside(self, *arguments, **settings):
        """Starts a command in the namespace."""
        if self.servers:
            settings["before"] = self._join
        return self._start(*arguments, **settings)

    def _join(self):
        libc = ctypes.CDLL(None, use_errno=True)
        for name in ("user", "net"):
            with open(f"/proc/{self.servers['ps', 0].pid}/ns/{name}") as file:
                assert libc.setns(file.fileno(), 0) == 0, os.strerror(ctypes.get_errno())


@pytest.fixture
def served(start, tmp_path):
    return Served(start, str(tmp_path / "cluster.json"))


def servers_of(parent):
    """Returns the process of each server of a client, by job and task."""
    found = {}
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                words = file.read().decode().split("\0")
        except OSError:  # it has ended
            continue
        if SERVER in words and words[-2] == str(parent):
            found[words[-4], int(words[-3])] = int(path.split("/")[2])
    return found


def ports_of(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        spec = json.loads(file.read().decode().split("\0")[-5])
    return [int(address.split(":")[1]) for job in spec.values() for address in job]


def wait_until(condition, seconds=120):
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.05)


def last_saved(folder):
    """Returns the step of the newest checkpoint in a folder."""
    return max(int(re.findall(r"\d+", path.name)[0]) for path in folder.glob("*.index"))


def trained(*arguments):
    done = forked.tf1_mtl(*arguments, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.runtime
@pytest.mark.parametrize("variables", ["ref", "resource"])
@pytest.mark.parametrize("regime", ["alternate", "joint"])
def test_the_losses_are_those_of_one_process(start, regime, variables):
    arguments = (regime, "--seed", "5", "--steps", "200", "--variables", variables)
    client = start(*arguments, "--cluster", "local")
    assert "cluster of 3 processes" in client.end(status=0)
    with open(client.out) as file:
        assert file.read().splitlines() == trained(*arguments)


@pytest.mark.slow
@pytest.mark.runtime
def test_two_clients_share_servers_and_no_variables(served):
    given = [("joint", "--seed", "5"), ("alternate", "--seed", "6")]
    given = [(*arguments, "--steps", "200") for arguments in given]
    clients = [served.inside(*arguments, "--cluster", served.path) for arguments in given]
    for arguments, client in zip(given, clients):
        assert client.printed() == trained(*arguments)
    assert all(server.poll() is None for server in served.servers.values())
    arguments = ("serve", "--cluster", served.path, "--job", "worker", "--task", "1")
    assert "port 2302 cannot be used" in served.inside(*arguments).end(status=2)


@pytest.mark.slow
def test_a_lost_server_of_a_file_is_started_again(served, tmp_path):
    arguments = ("joint", "--seed", "4", "--checkpoint", str(tmp_path / "saved"))
    more = ("--save-every", "20", "--cluster", served.path, "--steps")
    client = served.inside(*arguments, *more, "1000000")
    client.wait_until_it_trains()
    wait_until(lambda: list(tmp_path.glob("saved/model.ckpt-*.index")))
    served.servers["worker", 1].kill()
    lost = "/job:worker/task:1 is lost: it takes no connection at 127.0.0.1:2302"
    assert lost in client.end(cluster.SECONDS + 60, status=2)
    advice = "serve --cluster FILE.json --job worker --task 1"
    assert advice in served.inside(*arguments, *more, "1000000").end(status=2)
    served.serve(("worker", 1))
    saved = last_saved(tmp_path / "saved")
    steps = str(saved + 30)
    whole = trained(*arguments[:3], "--steps", steps)
    assert served.inside(*arguments, *more, steps).printed() == whole[saved:]


@pytest.mark.slow
@pytest.mark.runtime
def test_replicas_continue_a_run_and_are_continued(served, tmp_path):
    """Checkpoints go from one process to replicas, on servers of a file and local, and back."""
    arguments = ("joint", "--seed", "4", "--checkpoint", str(tmp_path / "saved"), "--steps")
    losses = trained(*arguments, "20")
    for steps, where, replicas in (("40", served.path, "2"), ("60", "local", "3")):
        client = served.inside(*arguments, steps, "--cluster", where, "--replicas", replicas)
        losses += client.printed()
    losses += trained(*arguments, "80")
    whole = trained("joint", "--seed", "4", "--steps", "80")
    np.testing.assert_allclose(np.float64(losses), np.float64(whole), rtol=1e-6)


@pytest.mark.slow
def test_no_port_is_open_in_the_network_of_the_host(start):
    client = start(*ENDLESS)
    client.wait_until_it_trains()
    servers = client.servers()
    assert set(servers) == {("ps", 0), ("worker", 0), ("worker", 1)}
    for port in ports_of(servers["ps", 0]):
        with socket.socket() as sock:
            assert sock.connect_ex(("127.0.0.1", port)) != 0
    here = os.readlink("/proc/self/ns/net")
    assert all(os.readlink(f"/proc/{pid}/ns/net") != here for pid in servers.values())


@pytest.mark.slow
@pytest.mark.parametrize("server", [("ps", 0), ("worker", 1)])
def test_a_server_that_does_not_answer_ends_the_run_with_its_name(start, server):
    client = start(*ENDLESS)
    client.wait_until_it_trains()
    os.kill(client.servers()[server], signal.SIGSTOP)
    error = client.end(cluster.SECONDS + 60, status=2)
    assert "/job:{}/task:{} is lost".format(*server) in error and "does not answer" in error


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_ends_the_servers(start, tmp_path, number, status):
    client = start(*ENDLESS, "--checkpoint", str(tmp_path))
    client.wait_until_it_trains()
    client.process.send_signal(number)
    assert "saved at step" in client.end(status=status)


@pytest.mark.slow
def test_a_kill_of_any_process_loses_nothing(start, tmp_path):
    """The client and each server are killed; the run goes on, at last in one process."""
    draw = random.Random(0)
    arguments = ("alternate", "--seed", "8", "--checkpoint", str(tmp_path), "--save-every", "20")
    for victim in (None, ("ps", 0), ("worker", 0), ("worker", 1)):
        client = start(*arguments, "--steps", "1000000", "--cluster", "local")
        client.wait_until_it_trains()
        time.sleep(draw.random() * 2)
        os.kill(client.servers()[victim] if victim else client.process.pid, signal.SIGKILL)
        error = client.end(cluster.SECONDS + 60, status=2 if victim else -signal.SIGKILL)
        if victim:
            assert "/job:{}/task:{} is lost: it ended".format(*victim) in error
    step = last_saved(tmp_path)
    assert step > 100
    rest = trained(*arguments, "--steps", str(step + 50))
    whole = trained("alternate", "--seed", "8", "--steps", str(step + 50))
    assert rest == whole[step:]


@pytest.mark.parametrize(
    "options, message",
    [
        (("Y1_op", "--golden", "alternate"), "places the graph of the article alone"),
        (("Y1_op", "--without", "X", "--without", "Y1"), "--without: X, Y1 must be fed"),
        (("Y3_op",), "'Y3_op': not in the graph"),
        (("Y1_op", "--replicas", "2"), "makes joint steps. Name Optimiser or Joint_Loss"),
        (("Joint_Loss", "--replicas", "11"), "--replicas: 11, but a step has only 10"),
    ],
)
def test_what_cannot_be_explained_starts_nothing(options, message, monkeypatch, capsys):
    monkeypatch.setattr(cluster, "_start", None)
    monkeypatch.setattr(isolation, "is_isolated", lambda: True)
    error = refused(capsys, "explain", "--cluster", "local", *options)
    assert message in error and error.count("\n") == 1


def varies(node):
    """Returns False where TensorFlow may compute a node beforehand, and where it likes."""
    return any(op.type in ("Placeholder", *VARIABLES) for op in needed([node]))


def origin(element):
    """Returns the node of an element, followed back through identities: either may be sent."""
    node = getattr(element, "op", element)
    return origin(node.inputs[0]) if node.type == "Identity" else node


def crossing(net, fetches):
    """Returns (node, from, to) of the tensors that must be sent, read off the placed graph."""
    names = Names(net)
    elements, fed = names.find_all(fetches), names.placeholders()

    def place(node):
        return "/job:ps/task:0" if node.type == "Placeholder" else node.device

    links = {(tensor.op, place(node)) for node in needed(elements, fed) for tensor in node.inputs}
    links |= {(element.op, "/job:ps/task:0") for element in elements if hasattr(element, "op")}
    return {
        (origin(start), place(start), end)
        for start, end in links
        if place(start) != end and varies(start)
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "fetches, variables, replicas",
    [
        (("Y1_op", "Y1_Loss"), "ref", ()),
        (("Optimiser", "Joint_Loss"), "resource", ()),
        (("Optimiser", "Joint_Loss"), "ref", ("--replicas", "2")),
    ],
)
def test_what_is_sent_is_what_crosses_a_border(namespaces, fetches, variables, replicas):
    options = ("--cluster", "local", "--variables", variables, *replicas, "--json")
    (line,) = trained("explain", *fetches, *options)
    found = json.loads(line)
    net = build_graph(np.random.RandomState(0), None if replicas else 10, variables=variables)
    cluster.place(net.graph)
    if replicas:
        net = replicate(net, 2)
    for process, nodes in found["nodes"].items():
        for node in map(net.graph.get_operation_by_name, nodes):
            assert node.device == process or not varies(node), node.name
    values = [sent for sent in found["sent"] if sent["dtype"]]
    for sent in values:
        assert sent["bytes"] == 4 * np.prod(sent["shape"], dtype=int), sent
    assert found["bytes"] == sum(sent["bytes"] for sent in values)
    names = Names(net)
    links = {
        (origin(names.find(sent["tensor"])), sent["start"], sent["end"])
        for sent in values
        if varies(names.find(sent["tensor"]))
    }
    assert links == crossing(net, fetches)
