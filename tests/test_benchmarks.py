"""The benchmark: right contenders, right arithmetic, right table. No time is asserted."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import result
from needs import needs_xla

from tests.benchmarks import (
    CONTENDERS,
    GOALS,
    OURS,
    by_hand,
    c_peer,
    cluster,
    ours,
    peers,
    report,
    rounds,
)
from tests.benchmarks.__main__ import main
from tests.benchmarks.problem import article_problem, wide_problem
from tests.benchmarks.rounds import Missing, Timing
from tf1_mtl import build_graph, open_session, train
from tf1_mtl.feeds import Batch


@pytest.fixture(scope="module")
def problem():
    return article_problem(50)


@pytest.fixture(scope="module")
def losses(problem):
    """Runs the session of the article on the problem, twice over its batches."""
    net = build_graph(np.random.RandomState(problem.seed))
    batches = [Batch("joint", *arrays) for arrays in zip(*problem[2:])] * 2
    with open_session(net) as session:
        session.run(net.init)
        for variable, array in zip(net.graph.get_collection("variables"), problem.weights):
            np.testing.assert_array_equal(session.run(variable), array)
        return np.array([step.loss for step in train(net, session, batches)])


def needs_a_compiler():
    try:
        c_peer.compiler()
    except c_peer.InputError:
        pytest.skip("no C compiler here")


@pytest.mark.parametrize(
    "contender",
    [
        peers.numpy,
        c_peer.by_hand,
        pytest.param(ours.compiled_stacked, marks=[needs_xla, pytest.mark.slow]),
    ],
    ids=["numpy", "c", "compiled_stacked"],
)
def test_a_contender_trains_the_same(contender, problem, losses):
    if contender is c_peer.by_hand:
        needs_a_compiler()
    run = contender(problem)
    np.testing.assert_allclose(np.concatenate([run(), run()]), losses, rtol=2e-6)


@pytest.mark.slow
def test_rounds_of_real_processes(losses):
    measured = rounds.measure(["in-graph", "numpy"], steps=50, rounds=2)
    for timing in measured.values():
        assert timing.seconds.shape == (2,) and (timing.seconds > 0).all()
        np.testing.assert_allclose(timing.first, losses[0], rtol=1e-6)
        np.testing.assert_allclose(timing.last, losses[49], rtol=2e-6)


def test_a_peer_that_is_not_there_is_listed(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "jax", raising=False)  # TensorFlow 2.12 imports it
    monkeypatch.setattr(rounds.importlib.util, "find_spec", lambda name: None)
    measured = rounds.measure(["torch", "jax-scan"], steps=2, rounds=1)
    assert measured == {
        "torch": Missing("torch is not installed"),
        "jax-scan": Missing("jax is not installed"),
    }


@pytest.mark.slow
def test_a_contender_that_dies_is_listed_and_the_others_go_on(monkeypatch):
    asked = []

    def dies_in_the_second_round(worker):
        asked.append(worker)
        if len(asked) == 3:
            worker.kill()
        return answer(worker)

    answer = rounds._answer
    monkeypatch.setattr(rounds, "_answer", dies_in_the_second_round)
    measured = rounds.measure(["numpy", "in-graph"], steps=5, rounds=3)
    dead, alive = sorted(measured.values(), key=lambda result: isinstance(result, Timing))
    assert dead == Missing("its process ended with status -9")
    assert alive.seconds.shape == (3,) and alive.steps >= 15


def timing(*microseconds, last=1.0):
    return Timing(np.array(microseconds) / 1e6, 100_000, 2.0, last, 0.0, 100.0)


def test_ratios_are_of_the_same_round():
    busy, calm = (300.0, 20.0, 30.0), (100.0, 10.0, 10.0)
    assert rounds.ratio(timing(*busy), timing(*calm)) == pytest.approx(3)


def test_the_table_names_what_is_reached_and_what_is_missing():
    timings = {name: timing(100.0, 100.0, 100.0) for name in OURS}
    timings["bare"] = timing(99.0, 98.0, 97.0)
    timings["numpy"] = timing(120.0, 120.0, 120.0, last=1.5)
    timings["torch"] = Missing("torch is not installed")
    data, text = report.steps(timings, CONTENDERS, GOALS)
    goals = {(goal["time"], goal["against"]): goal["ratio"] for goal in data["goals"]}
    assert data["goals"][0]["quartiles"] == pytest.approx([100 / 98.5, 100 / 97.5], rel=1e-3)
    assert set(goals) == {("session", "bare"), ("prepared", "numpy"), ("in-graph", "numpy")}
    assert goals["session", "bare"] == pytest.approx(100 / 98)
    lines = {line[:12].strip(): line for line in text.splitlines()}
    assert lines["torch"].endswith("torch is not installed")
    assert lines["session"].endswith("reached") and "not" not in lines["session"]
    assert lines["prepared"].endswith("not reached")
    assert data["contenders"]["numpy"]["loss_off_by"] == pytest.approx(0.5)
    assert data["contenders"]["torch"] == {"missing": "torch is not installed"}


@pytest.mark.slow
def test_command(capsys):
    assert main(["--steps", "20", "--rounds", "2", "--peers", "numpy", "--json", "--quiet"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) == {"machine", "steps"}
    contenders = result["steps"]["contenders"]
    assert set(contenders) == {*OURS, "numpy"}
    for name, row in contenders.items():
        assert "missing" in row or row["loss_off_by"] < 1e-5, name
    for name in ("session", "prepared", "in-graph", "numpy"):
        assert contenders[name]["microseconds"] > 0
        assert contenders[name]["loss_off_by"] == 0 or name == "numpy"


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("--peers sklearn", "'sklearn', but should be of bare"),
        ("--parts all,steps", "'all', but should be of steps"),
        ("--parts memory --plot x.png", "which --parts leaves out"),
        ("--parts none", "none, but should be of steps"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message, capsys):
    assert main(arguments.split()) == 2
    assert message in capsys.readouterr().err


def test_widths_are_shares_of_the_matrix_multiply_rate():
    timings = {name: timing(2000.0, 4000.0, 2000.0) for name in OURS}
    timings["compiled"] = Missing("no XLA")
    timings["products"] = timing(1000.0, 1000.0, 1000.0)
    timings["triad"] = timing(500.0, 500.0, 500.0)
    ((row,), text) = report.widths([(2048, 10, 3 * 10**9, timings)])
    assert row["gigaflops"] == pytest.approx(3000)
    assert row["gigabytes"] == pytest.approx(12 * 3 * 2048**2 / 500e-6 / 1e9)
    bytes_of_a_step = 3 * 2048**2 * (4 + 8 / 3 + 4 + 28)
    assert row["session"] == {
        "milliseconds": pytest.approx(2),
        "share": pytest.approx(0.5),
        "moved": pytest.approx(bytes_of_a_step / 2e-3 / 1e9 / row["gigabytes"]),
    }
    assert row["compiled"] == {"missing": "no XLA"}
    assert "2 (50%, 81%)" in text


def test_memory_and_start():
    data, text = report.memory({"session": timing(1.0), "compiled": Missing("no XLA")})
    assert data == {"session": {"peak": 100.0, "grown": 0.0, "steps": 100_000}}
    assert "100,000" in text and "no XLA" in text
    seconds = {"first loss": np.array([3.3, 9.0]), "import tensorflow": np.array([3.0, 10.0])}
    data, text = report.start(seconds)
    assert data["ratio"] == pytest.approx(1.0)
    assert "goal 1.1" in text


def test_commands_are_compared_by_the_difference_of_two_lengths(monkeypatch):
    """A step takes 20 us, and by hand 50 us; what a process does once does not count."""

    def whole(arguments):
        seconds = 50e-6 if "tests.benchmarks.by_hand" in arguments else 20e-6
        return 3.0 + seconds * int(arguments[-1])

    monkeypatch.setattr(rounds, "_whole", whole)
    data, text = report.commands(rounds.commands(3, lambda done: None))
    assert set(data) == set(rounds.COMMANDS)
    assert data["joint --stepping prepared"]["microseconds"] == pytest.approx(20)
    assert data["joint --stepping prepared"]["of_numpy"] == pytest.approx([0.4] * 3)
    assert data["NumPy by hand"]["of_numpy"] == pytest.approx([1] * 3)
    assert "0.40 (0.40-0.40)" in text and "of_numpy" not in data["reproduce, a seed"]


def test_a_command_that_fails_is_listed(monkeypatch):
    def whole(arguments):
        if "compiled" in arguments:
            raise subprocess.CalledProcessError(2, arguments)
        return float(arguments[-1])

    monkeypatch.setattr(rounds, "_whole", whole)
    data, text = report.commands(rounds.commands(2, lambda done: None))
    assert data["joint --stepping compiled"] == {"missing": "ended with status 2"}
    assert "ended with status 2" in text
    assert data["joint --stepping session"]["microseconds"] == pytest.approx(1e6)


def test_by_hand_is_the_session_of_the_command(capsys):
    by_hand.main(40)
    loss = float(capsys.readouterr().out)
    (expected,) = result(capsys, *rounds.JOINT, "--steps", 40)["losses"]
    assert loss == pytest.approx(expected, rel=2e-6)


@pytest.fixture
def opened(monkeypatch):
    """The sessions that are opened."""
    sessions = []

    class Watched(tf.Session):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            sessions.append(self)

    monkeypatch.setattr(tf, "Session", Watched)
    return sessions


def test_the_triad_reads_two_arrays_and_writes_one(opened):
    problem = wide_problem(steps=1, batch=4, width=8)
    ours.triad(problem)()
    with opened[0].graph.as_default():
        a, b = opened[0].run(tf.global_variables())[:2]
    np.testing.assert_allclose(a, -problem.weights[0])
    np.testing.assert_array_equal(b, problem.weights[0])


def test_the_yardstick_runs_all_eight_products(opened):
    ours.products(wide_problem(steps=1, batch=4, width=64))()
    ran = tf.RunMetadata()
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    opened[0].run("group_deps", options=options, run_metadata=ran)
    nodes = {node.node_name for device in ran.step_stats.dev_stats for node in device.node_stats}
    assert nodes >= {"MatMul", *(f"MatMul_{number}" for number in range(1, 8))}


@pytest.mark.slow
def test_a_wide_problem_runs_in_a_process():
    measured = rounds.measure(["products"], steps=1, rounds=1, batch=4, width=64)
    assert measured["products"].seconds[0] > 0


@pytest.mark.slow
def test_the_cost_of_a_cluster(namespaces):
    """The command prints what it measured, and the model that follows from it."""
    sizes = ["--width", "256", "--batch", "512", "--steps", "3"]
    command = [sys.executable, "-m", "tests.benchmarks.cluster", *sizes]
    done = subprocess.run(command, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stdout.decode().splitlines()
    assert lines[0] == "width 256, batch 512, one thread for each process"
    measured = {line[:23].strip(): float(line[23:].split()[0]) for line in lines[1:8]}
    assert all(np.isfinite(value) for value in measured.values()), measured
    ratio = measured["one process"] / measured["2 replicas"]
    assert measured["ratio of the rates"] == pytest.approx(ratio, rel=0.05)
    assert [int(line.split()[0]) for line in lines[9:]] == [1, 2, 8, 64]


def test_the_model_of_a_cluster_is_that_of_the_docs():
    constants = cluster.Constants(flops=1e11, adam=2e-9, run=3e-3, bandwidth=1e9)
    width, batch, workers = 512, 100, 4
    products = 16 * batch * width**2 / workers / 1e11
    sent = 4 * (2 * workers * width**2 + 6 * batch * width) / 1e9
    expected = 3e-3 + products + width**2 * 2e-9 + sent
    assert cluster.step_seconds(constants, workers, width, batch) == pytest.approx(expected)


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    timings = {name: timing(100.0) for name in OURS}
    data, _ = report.steps(timings, CONTENDERS, GOALS)
    report.plot({"steps": data}, str(tmp_path / "bench.png"))
    assert (tmp_path / "bench.png").read_bytes()[:4] == b"\x89PNG"
