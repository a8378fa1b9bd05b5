"""The recorder sees every run, keeps its values, and changes nothing."""

import os
import pathlib
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import refused
from command import run as run_command
from sampling import slow_everywhere

from tf1_mtl import build_graph, feeds, open_session, train
from tf1_mtl.baseline import load_golden, load_recording, recording, save_recording
from tf1_mtl.baseline.recordings import Variable
from tf1_mtl.baseline.reference import WEIGHTS
from tf1_mtl.errors import InputError

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
both_kinds = pytest.mark.parametrize("variables", [slow_everywhere("ref"), "resource"])


def article(variables="ref", steps=6, seed=0):
    """Trains a net in mixed order. Returns losses, final variables and the names of nodes."""
    rng = np.random.RandomState(seed)
    net = build_graph(rng, variables=variables)
    draw = feeds.article_draw(rng)
    batches = [draw(("joint", "Y1", "Y2")[step % 3]) for step in range(steps)]
    with open_session(net, "cpu") as session:
        session.run(net.init)
        losses = [step.loss for step in train(net, session, batches)]
        with net.graph.as_default():
            values = session.run(tf.global_variables())
    return losses, values, [op.name for op in net.graph.get_operations()]


@both_kinds
def test_recording_changes_no_bit_and_no_graph(path, variables):
    losses, values, nodes = article(variables)
    with recording(path):
        recorded_losses, recorded_values, recorded_nodes = article(variables)
    assert recorded_losses == losses
    for value, recorded_value in zip(values, recorded_values):
        assert np.array_equal(value, recorded_value)
    assert recorded_nodes == nodes


def test_recording_leaves_the_random_stream_alone(path):
    def drawn():
        with tf.Graph().as_default(), tf.Session() as session:
            tf.set_random_seed(5)
            v = tf.Variable(tf.random_normal([3]), use_resource=False)
            noise = tf.random_uniform([2])
            session.run(tf.global_variables_initializer())
            return [session.run([noise, v]) for _ in range(3)]

    plain = drawn()
    with recording(path):
        recorded = drawn()
    for one, other in zip(plain, recorded):
        assert all(map(np.array_equal, one, other))


@both_kinds
def test_the_article_is_recorded_whole(path, variables):
    with recording(path, seed=0):
        losses, values, _ = article(variables)
    trajectory = load_recording(path)
    steps = trajectory.steps()
    assert [run.task for run in steps] == ["joint", "Y1", "Y2"] * 2
    assert [run.loss for run in steps] == losses
    assert all(isinstance(run.loss, np.float32) for run in steps)
    assert all(list(run.feeds) == ["X", "Y1", "Y2"] for run in steps)
    # Before the steps: the initializer; after them: the fetch of all variables.
    assert [run.task for run in trajectory.runs] == ["", *(run.task for run in steps), ""]
    assert trajectory.runs[0].fetched == {"init": None}
    session = trajectory.sessions[0]
    rng = np.random.RandomState(0)
    for name, drawn in zip(WEIGHTS, (rng.rand(10, 20), rng.rand(20, 20))):
        assert np.array_equal(session.initial[name], drawn.astype(np.float32))
    assert session.initial["beta1_power_1"] == np.float32(0.9)
    assert session.article["share_Y2"] == "share_Y2"
    assert session.article["Joint_Loss"] == steps[0].fetches[1]
    assert {variable.kind for variable in session.variables} == {variables}
    assert [x.name for x in session.variables if x.is_trainable] == list(WEIGHTS)
    with build_graph().graph.as_default():
        order = [variable.op.name for variable in tf.global_variables()]
    assert [variable.name for variable in session.variables] == order == list(steps[-1].variables)
    for name, value in zip(order, values):
        assert np.array_equal(steps[-1].variables[name], value)

    assert trajectory.manifest["seed"] == 0
    assert trajectory.manifest["recorded_by"]["tensorflow"] == tf.__version__


def test_what_is_recorded_has_the_golden_s_form(path):
    golden = load_golden("alternate")
    with recording(path):
        rng = np.random.RandomState(0)
        net = build_graph(rng)
        with open_session(net, "cpu") as session:
            session.run(net.init)
            list(train(net, session, feeds.alternate(feeds.article_draw(rng), rng, 10)))
    recorded = load_recording(path)
    assert recorded.sessions[0].variables == golden.sessions[0].variables
    assert recorded.sessions[0].article == golden.sessions[0].article
    for ours, truth in zip(recorded.steps(), golden.runs):
        assert ours.task == truth.task
        assert ours.fetches == truth.fetches
        assert set(ours.variables) == set(truth.variables)
        for name in truth.feeds:
            assert np.array_equal(ours.feeds[name], truth.feeds[name])
        for name in WEIGHTS:
            assert np.allclose(ours.variables[name], truth.variables[name], rtol=0, atol=1e-6)
    if tf.__version__ == "1.15.5" and _cpu(recorded) == _cpu(golden):
        for ours, truth in zip(recorded.steps(), golden.runs):
            assert ours.loss == truth.loss
            for name in truth.variables:
                assert np.array_equal(ours.variables[name], truth.variables[name])


def _cpu(trajectory):
    return trajectory.manifest["recorded_by"]["cpu"]


def test_the_article_is_found_by_structure_not_by_name(path):
    with recording(path), tf.Graph().as_default():
        rng = np.random.RandomState(1)
        examples = tf.placeholder(tf.float32, [None, 4])
        labels = [tf.placeholder(tf.float32, [None, 3]) for _ in range(2)]
        shared = tf.Variable(rng.rand(4, 5), dtype="float32", use_resource=False)
        heads = [tf.Variable(rng.rand(5, 3), dtype="float32", use_resource=False) for _ in range(2)]
        layer = tf.nn.relu(tf.matmul(examples, shared))
        losses = [
            tf.nn.l2_loss(label - tf.nn.relu(tf.matmul(layer, head)))
            for label, head in zip(labels, heads)
        ]
        # Made in another order than in the article, and without a joint step.
        second = tf.train.AdamOptimizer().minimize(losses[1])
        first = tf.train.AdamOptimizer().minimize(losses[0])
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            for train_op, label in ((second, 1), (first, 0)):
                feed_dict = {examples: np.ones((2, 4)), labels[label]: np.ones((2, 3))}
                session.run([train_op, losses[label]], feed_dict)
    steps, (session,) = load_recording(path).steps(), load_recording(path).sessions.values()
    assert [run.task for run in steps] == ["Y2", "Y1"]
    names = session.article
    for run in steps:
        assert set(run.feeds) == {names["X"], names[run.task]}
        assert run.fetches[1] == names[f"{run.task}_Loss"]
    head = names["share_Y1"]
    assert head == "Variable_1"
    assert np.array_equal(steps[0].variables[head], session.initial[head])
    assert not np.array_equal(steps[1].variables[head], session.initial[head])


def test_runs_that_are_no_article_step_are_not_taken_for_one(path):
    net = build_graph(np.random.RandomState(0))
    batch = feeds.article_draw(np.random.RandomState(1))("joint")
    feed_dict = {net.X: batch.X, net.Y1: batch.Y1, net.Y2: batch.Y2}
    fetched = [net.Joint_Loss], [net.Y1_op, net.Y2_op], net.Y1_op, [net.Y1_op, net.Joint_Loss]
    with recording(path), open_session(net, "cpu") as session:
        session.run(net.init)
        for fetches in fetched:
            session.run(fetches, feed_dict)
    runs = load_recording(path).runs
    assert [run.task for run in runs] == ["", "", "Y1+Y2", "Y1", "Y1"]
    fetches = [run.fetches for run in runs[2:]]
    assert fetches == [("Adam_1", "Adam_2"), ("Adam_1",), ("Adam_1", "add")]
    assert not np.array_equal(runs[1].variables["share_W"], runs[2].variables["share_W"])
    assert np.array_equal(runs[0].variables["share_W"], runs[1].variables["share_W"])


def test_the_lines_of_the_script_are_recorded(path):
    def layer(x):
        return tf.nn.relu(x, name="layer")

    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        W = tf.Variable([1.0, 2.0], name="W")
        loss = tf.reduce_sum(layer(W))
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(tf.global_variables_initializer())
        session.run([loss, train])
    nodes = load_recording(path).sessions[0].graph.nodes
    source = pathlib.Path(__file__).read_text(encoding="utf-8").splitlines()
    texts = []
    for line in nodes["layer"].lines:
        name, _, number = line.partition(":")
        assert name == "test_recorder.py"
        texts.append(source[int(number) - 1].strip())
    assert texts == ["loss = tf.reduce_sum(layer(W))", 'return tf.nn.relu(x, name="layer")']


def test_any_script_of_several_sessions_and_other_optimizers(path):
    with recording(path):
        for resource in (False, True):
            with tf.Graph().as_default():
                x = tf.placeholder(tf.float64, [None], name="x")
                w = tf.Variable(2.0, dtype=tf.float64, name="w", use_resource=resource)
                count = tf.Variable(0, name="count", trainable=False, use_resource=resource)
                loss = tf.reduce_sum((x * w) ** 2, name="loss")
                optimizer = tf.train.MomentumOptimizer(0.01, 0.9)
                step = optimizer.minimize(loss, global_step=count)
                with tf.Session() as session:
                    session.run(tf.global_variables_initializer())
                    session.run({"step": step, "all": (loss, [w, "loss:0"])}, {x: [1, 2]})
    trajectory = load_recording(path)
    assert [run.session for run in trajectory.runs] == [0, 0, 1, 1]
    assert [run.task for run in trajectory.runs] == ["", "Momentum"] * 2
    for kind, session in zip(("ref", "resource"), trajectory.sessions.values()):
        names = {"w": True, "count": False, "w/Momentum": False}
        assert session.variables == tuple(Variable(x, kind, names[x]) for x in names)
    run = trajectory.runs[1]
    assert run.feeds["x"].dtype == run.variables["w"].dtype == np.float64
    assert run.feeds["x"].tolist() == [1, 2]
    assert (run.fetched["loss"], run.variables["count"], run.variables["w/Momentum"]) == (20, 1, 20)
    assert trajectory.sessions[0].initial["w"] == 2
    assert trajectory.sessions[0].article == {}


@both_kinds
def test_every_session_has_the_weights_before_its_first_step(path, tmp_path, variables):
    """A script of three: trained anew, restored from the first one's checkpoint, and begun
    before the recording."""
    net = build_graph(np.random.RandomState(0), variables=variables)
    draw = feeds.article_draw(np.random.RandomState(1))
    with net.graph.as_default():
        saver = tf.train.Saver()
    begun = open_session(net, "cpu")
    begun.run(net.init)
    list(train(net, begun, [draw("Y2")]))
    weights = net.shared_layer_weights, net.Y1_layer_weights, net.Y2_layer_weights
    before = dict(zip(WEIGHTS, begun.run(weights)))
    with recording(path):
        with open_session(net, "cpu") as session:
            session.run(net.init)
            list(train(net, session, [draw("joint"), draw("Y1")]))
            checkpoint = saver.save(session, str(tmp_path / "model.ckpt"), write_meta_graph=False)
        with open_session(net, "cpu") as session:
            saver.restore(session, checkpoint)
            list(train(net, session, [draw("Y1"), draw("Y2")]))
        list(train(net, begun, [draw("joint")]))
    begun.close()
    trajectory = load_recording(path)
    assert sorted(trajectory.sessions) == [0, 1, 2]
    expected = trajectory.runs[0].variables, trajectory.steps(0)[-1].variables, before
    for session, weights in enumerate(expected):
        initial = trajectory.sessions[session].initial
        assert len(initial) == 23
        for name in WEIGHTS:
            assert np.array_equal(initial[name], weights[name])
        after = trajectory.steps(session)[-1].variables
        assert not np.array_equal(after["share_W"], weights["share_W"])
    save_recording(str(tmp_path / "again.npz"), trajectory)
    again = load_recording(str(tmp_path / "again.npz"))
    assert repr(again) == repr(trajectory)
    initial = again.sessions[1].initial
    assert np.array_equal(initial["share_Y2"], trajectory.sessions[1].initial["share_Y2"])


def test_a_session_that_does_not_train_has_no_first_step(path):
    with recording(path):
        article(steps=0)
        article(steps=2)
    assert list(load_recording(path).sessions) == [1]


def test_a_failed_run_is_recorded_with_what_it_moved(path):
    net = build_graph(np.random.RandomState(0))
    batch = feeds.article_draw(np.random.RandomState(1))("Y1")
    with recording(path), open_session(net, "cpu") as session:
        session.run(net.init)
        with pytest.raises(tf.errors.InvalidArgumentError, match="You must feed a value"):
            session.run([net.Y1_op, net.Y2_op], {net.X: batch.X, net.Y1: batch.Y1})
        with pytest.raises(ValueError, match="Cannot feed value of shape"):
            session.run(net.Y1_op, {net.X: batch.X[:3], net.Y1: batch.Y1})
        with pytest.raises(TypeError):
            session.run(7)
        after = session.run(net.shared_layer_weights)
    with pytest.raises(RuntimeError, match="closed"):
        session.run(net.init)
    runs = load_recording(path).runs
    assert "You must feed a value" in runs[1].error and runs[1].task == ""
    assert runs[2].error.startswith("ValueError: Cannot feed value")
    assert runs[3].error.startswith("TypeError")
    assert [run.error for run in (runs[0], runs[4])] == ["", ""]
    assert np.array_equal(runs[3].variables["share_W"], after)


def test_every_way_to_a_run_is_seen(path):
    with tf.Graph().as_default():
        v = tf.Variable(1.0, name="v", use_resource=False)
        one = tf.constant(1.0, name="one")
        x = tf.placeholder(tf.float32, [], name="x")
        double = tf.add(x, x, name="double")
        init = tf.global_variables_initializer()
        with recording(path):
            with tf.Session():
                init.run()
                assert v.eval() == 1
            session = tf.InteractiveSession()
            assert session.make_callable([one])() == [1]
            assert session.make_callable(double, [x])(4) == 8
            session.close()
            with tf.train.MonitoredSession() as monitored:
                assert monitored.run(double, {x: 3}) == 6
    runs = load_recording(path).runs
    names = [list(run.fetched) for run in runs]
    assert names[:2] == [["init"], ["v"]] or names[:2] == [["init"], ["v/read"]]
    assert names[2:4] == [["one"], ["double"]] and names[-1] == ["double"]
    assert (runs[3].feeds["x"], runs[-1].fetched["double"]) == (4, 6)
    # A session that has not initialized the variable does not record it.
    assert [run.variables for run in runs[1:3]] == [{"v": 1}, {}]


def test_strings_and_sparse_values(path):
    with tf.Graph().as_default():
        text = tf.constant(b"ab\0", name="text")
        texts = tf.constant(["a", "bc"], name="texts")
        sparse = tf.sparse_placeholder(tf.float32, name="sparse")
        value = tf.SparseTensorValue([[0]], [1.5], [3])
        with recording(path), tf.Session() as session:
            session.run([text, texts])
            assert session.run(sparse, {sparse: value}).values == [1.5]
    runs = load_recording(path).runs
    assert bytes(bytearray(runs[0].fetched["text"])) == b"ab\0"
    assert runs[0].fetched["texts"].tolist() == [b"a", b"bc"]
    (_, values), *_ = (item for item in runs[1].fetched.items() if item[0].endswith("values"))
    assert values.tolist() == [1.5]
    assert [value.tolist() for value in runs[1].feeds.values()] == [[[0]], [1.5], [3]]


def test_a_loop_that_trains_is_a_task_of_its_own(path):
    net = build_graph(np.random.RandomState(0), variables="resource")
    batch = feeds.article_draw(np.random.RandomState(1))("Y1")
    with net.graph.as_default():

        def body(i):
            # The ops of the same optimizer cannot be used in a loop, so move the weight by hand.
            moved = net.shared_layer_weights.assign_add(net.X[:, :1] * tf.ones([10, 20]))
            with tf.control_dependencies([moved]):
                return i + 1

        loop = tf.while_loop(lambda i: i < 3, body, [0])
    with recording(path), open_session(net, "cpu") as session:
        session.run(net.init)
        session.run([loop, net.Y1_op], {net.X: batch.X, net.Y1: batch.Y1})
    init, run = load_recording(path).runs
    assert init.task == ""
    first, second = run.task.split("+")
    assert first == "Y1" and second.startswith("while/")


def test_run_is_restored_and_errors_pass(path):
    home = next(kind for kind in tf.Session.__mro__ if "run" in vars(kind))
    run, make_callable = home.run, home.make_callable
    with pytest.raises(ZeroDivisionError), recording(path):
        article(steps=3)
        raise ZeroDivisionError
    assert home.run is run
    assert home.make_callable is make_callable
    assert len(load_recording(path).steps()) == 3


def test_one_recording_at_a_time(path, tmp_path):
    with recording(path):
        second = recording(str(tmp_path / "other.npz"))
        with pytest.raises(InputError, match="a recording is active already"), second:
            raise AssertionError("ran")
        article(steps=1)
    with recording(path):  # and again
        article(steps=2)
    assert len(load_recording(path).steps()) == 2
    assert os.listdir(str(tmp_path)) == ["recorded.npz"]


def test_a_place_that_cannot_be_written_is_reported_before_anything_runs(tmp_path):
    nowhere = recording(str(tmp_path / "no" / "such.npz"))
    with pytest.raises(InputError, match="cannot be written"), nowhere:
        raise AssertionError("ran")


def test_threads_record_each_their_own_runs(path):
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [], name="x")
        y = tf.add(x, x, name="y")
        with recording(path), tf.Session() as session:

            def work(number):
                for _ in range(20):
                    assert session.run(y, {x: number}) == 2 * number

            threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    runs = load_recording(path).runs
    assert len(runs) == 80
    assert all(run.fetched["y"] == 2 * run.feeds["x"] for run in runs)


def test_what_a_kill_leaves_at_any_time_are_the_whole_runs(path):
    """The file is read as another process would find it, while the recording goes on."""
    rng = np.random.RandomState(0)
    net = build_graph(rng)
    losses = []
    with recording(path), open_session(net, "cpu") as session:
        session.run(net.init)
        for step in train(net, session, feeds.joint(feeds.article_draw(rng), 8)):
            losses.append(step.loss)
            steps = load_recording(path, partial=True).steps()
            assert [run.loss for run in steps] == losses
            assert len(steps[-1].variables) == 23
        with pytest.raises(InputError, match=r"no such file.*is an unfinished one"):
            load_recording(path)
    assert len(load_recording(path).steps()) == 8


@pytest.mark.slow
@pytest.mark.runtime
def test_the_command_says_up_to_which_run_a_recording_can_be_checked(capsys, path):
    command = (capsys, "joint", "--seed", 1, "--steps", 60, "--quiet")
    status, _, err = run_command(*command, "--record", path, "--record-limit", 1)
    stopped = load_recording(path).first_run_without_state
    assert 40 < stopped < 61
    assert status == 0
    assert f"{path}: 1 MB are full after {stopped} runs. These can be" in err
    status, _, err = run_command(*command, "--record", path)
    assert (status, err) == (0, "")
    assert load_recording(path).first_run_without_state is None
    assert "--record-limit: needs --record" in refused(*command, "--record-limit", 1)


def test_a_full_disk_is_reported_and_loses_no_whole_run(path):
    """At whatever place of the file it happens, and if nobody closes the writer."""
    script = """
        import resource, signal, sys
        import numpy as np
        from tf1_mtl.baseline.recordings import Run, Writer
        from tf1_mtl.errors import InputError

        def write(path, limit):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            writer, added = Writer(path, {}), 0
            try:
                for i in range(6):
                    X = np.full((10, 10), i, np.float32)
                    writer.add(Run("Y1", {"X": X}, {"loss": np.float32(i)}))
                    added += 1
                writer.close()
            except InputError as error:
                assert "cannot be written further (File too large)" in str(error), error
                assert "load_recording(path, partial=True)" in str(error)
                return added
            return -1

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        results = [write(f"{sys.argv[1]}{limit}", limit) for limit in range(500, 6000, 100)]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        print(*results)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), path]
    full = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert full.stderr == b""
    results = [int(result) for result in full.stdout.split()]
    assert set(results) == {-1, *range(7)}  # 6: the end of the file failed, after all runs
    for limit, added in zip(range(500, 6000, 100), results):
        runs = load_recording(f"{path}{limit}", partial=True).runs
        assert [run.loss for run in runs] == list(range(added if added >= 0 else 6))
