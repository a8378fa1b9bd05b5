"""Event files hold the graph, the losses and the traces, and change no number of the run."""

import os

import forked
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from sampling import slow_everywhere

from tf1_mtl import InputError, build_graph, cli, feeds, open_session, train
from tf1_mtl.files import make_folder
from tf1_mtl.teaching import tensorboard


def train_logged(net, session, batches, logdir):
    """Trains, and logs into one folder."""
    make_folder(logdir)
    return tensorboard.logged(
        net, session, lambda recorder: train(net, recorder, batches), lambda _: logdir
    )


def trained(variables, logdir=None):
    """The steps of an alternate and a joint session, and the bits of all variables afterwards."""
    rng = np.random.RandomState(0)
    net = build_graph(rng, variables=variables)
    draw = feeds.article_draw(rng)
    batches = [*feeds.alternate(draw, rng, 10), *feeds.joint(draw, 3)]
    with open_session(net) as session:
        session.run(net.init)
        if logdir is None:
            steps = list(train(net, session, batches))
        else:
            steps = list(train_logged(net, session, batches, logdir))
        values = session.run(net.graph.get_collection("variables"))
    assert len(net.graph.get_operations()) == (216 if variables == "ref" else 268)
    return steps, [value.tobytes() for value in values]


def events(logdir):
    (name,) = os.listdir(logdir)
    return list(tf.train.summary_iterator(os.path.join(logdir, name)))


@pytest.fixture(scope="module", params=["ref", slow_everywhere("resource")])
def run(request, tmp_path_factory):
    logdir = str(tmp_path_factory.mktemp("events"))
    steps, values = trained(request.param, logdir)
    return request.param, steps, values, events(logdir)


def test_the_numbers_are_those_of_the_run_without_it(run):
    variables, steps, values, _ = run
    assert (steps, values) == trained(variables)


def test_the_graph_is_shown_under_readable_scopes(run):
    variables, _, _, written = run
    (definition,) = [e.graph_def for e in written if e.WhichOneof("what") == "graph_def"]
    shown = tf.GraphDef.FromString(definition)
    graph = build_graph(variables=variables).graph
    # The same graph, each node behind its scope.
    own = {}
    for node, op in zip(shown.node, graph.get_operations()):
        assert node.op == op.type
        assert node.name == op.name or node.name.endswith("/" + op.name)
        own[node.name] = op.name
    for node, op in zip(shown.node, graph.get_operations()):
        inputs = [own[name.lstrip("^").split(":")[0]] for name in node.input]
        before = [tensor.op.name for tensor in op.inputs]
        assert inputs[: len(before)] == before
        assert sorted(inputs[len(before) :]) == sorted(one.name for one in op.control_inputs)
        beside = ["loc:@" + own[text.decode()[5:]] for text in node.attr["_class"].list.s]
        assert beside == [text.decode() for text in op.node_def.attr["_class"].list.s]
    assert {name.split("/")[0] for name in own} == {
        *("X", "Y1", "Y2", "shared_layer", "task_1_Y1", "task_2_Y2", "losses", "initialization"),
        *("gradients_of_Joint_Loss", "gradients_of_Y1_Loss", "gradients_of_Y2_Loss"),
        *("optimizer_Optimiser", "optimizer_Y1_op", "optimizer_Y2_op"),
    }
    with tf.Graph().as_default():
        tf.import_graph_def(shown, name="")  # it is whole


def test_the_losses_by_task_and_step(run):
    _, steps, _, written = run
    by_step = {}
    for event in written:
        for value in event.summary.value:
            by_step.setdefault(event.step, {})[value.tag] = np.float32(value.simple_value)
    assert list(by_step) == [step.step for step in steps]
    for step in steps:
        scalars = by_step[step.step]
        if step.task == "joint":
            assert set(scalars) == {"Y1_Loss", "Y2_Loss", "Joint_Loss"}
            assert scalars["Joint_Loss"] == step.loss
            assert scalars["Joint_Loss"] == scalars["Y1_Loss"] + scalars["Y2_Loss"]
        else:
            assert scalars == {f"{step.task}_Loss": step.loss}


def test_one_trace_of_each_kind(run):
    _, steps, _, written = run
    traces = {
        e.tagged_run_metadata.tag: tf.RunMetadata.FromString(e.tagged_run_metadata.run_metadata)
        for e in written
        if e.WhichOneof("what") == "tagged_run_metadata"
    }
    assert set(traces) == {step.task for step in steps} == {"Y1", "Y2", "joint"}
    ran = {}
    for task, metadata in traces.items():
        stats = [node for device in metadata.step_stats.dev_stats for node in device.node_stats]
        ran[task] = {node.node_name for node in stats}
        assert all(node.all_start_micros > 0 for node in stats)
    # Under the names of the graph that is shown.
    tasks = {"task_1_Y1/MatMul_1", "task_2_Y2/MatMul_2"}
    assert tasks & ran["Y1"] == {"task_1_Y1/MatMul_1"}
    assert tasks & ran["Y2"] == {"task_2_Y2/MatMul_2"}
    assert {*tasks, "shared_layer/MatMul", "losses/add"} < ran["joint"]


def test_a_folder_that_cannot_be_made(tmp_path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    with pytest.raises(InputError, match=r": cannot be written to .* Choose another folder"):
        trained("ref", str(in_the_way))
    assert in_the_way.read_text() == ""


def test_the_file_is_whole_when_the_run_breaks_off(tmp_path):
    net = build_graph(np.random.RandomState(0))
    rng = np.random.RandomState(1)
    good = feeds.article_draw(rng)("Y1")
    bad = good._replace(X=good.X * np.nan)
    with open_session(net) as session, pytest.raises(InputError, match="step 1"):
        session.run(net.init)
        list(train_logged(net, session, [good, bad], str(tmp_path)))
    assert [e.step for e in events(str(tmp_path)) if e.summary.value] == [0]


def logged(folder, *args):
    """Runs a command with --logdir, and returns (graphs, restarts, steps) of each file, by run."""
    args = ["joint", "--quiet", "--logdir", os.path.join(folder, "log"), *args]
    assert cli.main(args) == 0
    found = {}
    for name in os.listdir(os.path.join(folder, "log")):
        run = os.path.join(folder, "log", name)
        for file in sorted(os.listdir(run)):
            written = list(tf.train.summary_iterator(os.path.join(run, file)))
            graphs = sum(event.WhichOneof("what") == "graph_def" for event in written)
            starts = [e.step for e in written if e.session_log.status == tf.SessionLog.START]
            steps = [event.step for event in written if event.summary.value]
            found.setdefault(name, []).append((graphs, starts, steps))
    return found


def test_each_run_has_a_folder(tmp_path):
    seed = ["--steps", "2", "--seed"]
    first = [(1, [], [0, 1])]
    assert logged(str(tmp_path), *seed, "7") == {"joint-seed7": first}
    assert logged(str(tmp_path), *seed, "8") == {"joint-seed7": first, "joint-seed8": first}
    names = {"joint-seed7": first, "joint-seed7-2": first, "joint-seed8": first}
    assert logged(str(tmp_path), *seed, "7") == names


@pytest.mark.slow
@pytest.mark.runtime
def test_a_run_that_continues_stays_in_its_folder(tmp_path):
    run = ["--checkpoint", str(tmp_path / "long"), "--save-every", "2"]
    assert logged(str(tmp_path), *run, "--steps", "3", "--seed", "7") == {
        "joint-seed7-long": [(1, [], [0, 1, 2])]
    }
    # A kill after step 2 was saved leaves events of a step that is made again.
    for path in (tmp_path / "long").glob("model.ckpt-3*"):
        path.unlink()
    whole = {"joint-seed7-long": [(1, [], [0, 1, 2]), (0, [2], [2, 3, 4])]}
    assert logged(str(tmp_path), *run, "--steps", "5") == whole
    assert logged(str(tmp_path), *run, "--steps", "5") == whole  # nothing is left to do


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from tf1_mtl import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
sys.exit(cli.main(["joint", "--steps", "60", *sys.argv[1:]]))
"""


loses_errors = pytest.mark.skipif(
    tf.__version__ < "2", reason="the writer of this TensorFlow loses its errors in its thread"
)


@pytest.mark.parametrize("option", [pytest.param("--logdir", marks=loses_errors), "--record"])
def test_a_full_disk_is_told(option, tmp_path):
    """A limit on file size replaces a full disk."""
    ran = forked.python("-c", FULL_DISK, option, tmp_path / "out")
    assert ran.returncode == 2, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("tf1-mtl: ") and "cannot be written" in last
    assert "File too large" in last and "Exception ignored" not in ran.stderr
