"""`explain` and `draw` on graphs of scripts and of recordings, large ones too."""

import functools
import importlib.util
import json
import os
import subprocess
import sys

import forked
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import assert_holds, done, refused, result, run
from sampling import slow_everywhere

from tf1_mtl import build_graph
from tf1_mtl.baseline.graph_def import recorded_graph
from tf1_mtl.graph_reader import ReadableGraph, accesses, group, needed
from tf1_mtl.teaching import explain
from tf1_mtl.teaching.planning import Names, plan

HERE = os.path.dirname(os.path.abspath(__file__))
RECORDINGS = os.path.join(HERE, "truth", "scripts-1.15.5")

LAYERS = """
import numpy as np
import tensorflow as tf


def layer(x, size):
    W = tf.get_variable("kernel", initializer=np.ones((8, size), np.float32))
    b = tf.get_variable("bias", initializer=np.zeros(size, np.float32))
    return tf.nn.relu(tf.nn.bias_add(tf.matmul(x, W), b))


pixels = tf.placeholder(tf.float32, [None, 8])
x = pixels
for block in range(6):
    with tf.variable_scope("encoder/block_%d" % block):
        before = x
        for number in range(3):
            with tf.variable_scope("a_layer_with_a_long_name_%d" % number):
                x = layer(x, 8)
        x = x + before
losses = []
for task in ("digit", "colour", "orientation_of_the_object"):
    label = tf.placeholder(tf.float32, [None, 4], name=task)
    with tf.variable_scope("head_of_%s" % task):
        y = x
        for number in range(3):
            with tf.variable_scope("dense_%d" % number):
                y = layer(y, 8 if number < 2 else 4)
        losses.append(tf.reduce_mean(tf.square(y - label), name="loss"))
total = tf.add_n(losses)
train_all = tf.train.AdamOptimizer().minimize(total)
train_digit = tf.train.MomentumOptimizer(0.1, 0.9).minimize(losses[0], name="train_digit")
saver = tf.train.Saver()
"""
SMALL = """
import tensorflow as tf

x = tf.placeholder(tf.float32, [], name="x")
w = tf.get_variable("w", [], initializer=tf.ones_initializer())
loss = tf.square(w * x, name="loss")
step = tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="step")
"""
TRAINING = """
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    session.run(step, {x: 1.0})
    print("it trained")
"""
SESSION = """
print("the script prints")
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    feeds = {pixels: [[1.0] * 8]}
    feeds.update({name + ":0": [[0.5] * 4] for name in ("digit", "colour")})
    session.run(train_digit, feeds)
    print("it trained")
"""


def explained(*args, status=0, **options):
    """Runs `tf1-mtl explain` in a process of its own, since a script lasts for the rest of one.

    Returns its stdout and stderr.
    """
    ran = forked.tf1_mtl("explain", *args, **options)
    assert ran.returncode == status, ran.stderr
    assert status == 0 or ran.stdout == ""
    return ran.stdout, ran.stderr


# --- one reader


@functools.lru_cache(maxsize=None)  # nothing here changes it
def large_graph():
    graph = tf.Graph()
    with graph.as_default():
        exec(compile(LAYERS.replace("import tensorflow as tf", ""), "layers", "exec"), {"tf": tf})
    return graph


@pytest.mark.parametrize("which", ["ref", "resource", slow_everywhere("large")])
def test_a_recorded_graph_reads_as_the_graph_itself(which):
    graph = large_graph() if which == "large" else build_graph(variables=which).graph
    read = ReadableGraph(recorded_graph(graph, tf))
    assert group(read, {}) == group(graph, {})
    ops = graph.get_operations()
    assert [op.name for op in read.get_operations()] == [op.name for op in ops]
    for op, other in zip(ops, read.get_operations()):
        for one, two in zip(accesses(op), accesses(other)):
            assert (one.variable.name, *one[2:]) == (two.variable.name, *two[2:]), op.name
        assert len(list(accesses(op))) == len(list(accesses(other))), op.name
    last = [op for op in ops if op.type == "NoOp"][-1].name
    fetched = [graph.get_operation_by_name(last)], [read.get_operation_by_name(last)]
    assert [{op.name for op in needed(one)} for one in fetched[:1]] == [
        {op.name for op in needed(one)} for one in fetched[1:]
    ]


@pytest.mark.parametrize(
    "variables, fetches",
    [
        ("ref", ["Y1_op", "Y2_op", "Optimiser"]),
        slow_everywhere("ref", ["init"]),
        slow_everywhere("ref", ["share_W:0"]),
        slow_everywhere("resource", ["Y1_op", "Y2_op", "Optimiser"]),
        ("resource", ["init"]),
        slow_everywhere("resource", ["share_W:0"]),
    ],
)
def test_a_plan_is_the_explanation_without_what_is_measured(fetches, variables):
    net = build_graph(np.random.RandomState(0), variables=variables)
    whole = explain(fetches, graph=net)
    names = Names(net)
    planned = plan(names, names.find_all(fetches), names.placeholders())
    unmeasured = {"measured": None, "changed": None, "removed_by_optimizer": None}
    assert planned == whole._replace(**unmeasured)
    assert planned.is_plan and not whole.is_plan
    assert json.loads(json.dumps(planned.as_json()))["agrees"] is None


@pytest.mark.slow
@pytest.mark.runtime
def test_large_parts_are_divided_by_scope():
    groups = group(large_graph(), {})
    blocks = [f"shared layer, encoder/block_{number}/" for number in range(6)]
    assert [title for title in groups if title.startswith("shared layer")] == blocks
    assert "task 3 (orientation_of_the_object)" in groups
    assert len(groups) <= 20
    assert sum(map(len, groups.values())) == len(large_graph().get_operations())


# --- recordings


def test_a_recording_of_the_article_speaks_its_names(capsys):
    explain_golden = (capsys, "explain", "--golden")
    text = done(*explain_golden, "alternate", "Y1_op", "Y1_Loss", "--without", "Y2")
    assert text.startswith("session.run([Y1_op, Y1_Loss])\n\nfed                 X, Y1\n")
    assert ["optimizer", "Y1_op", "19", "23"] in [line.split() for line in text.splitlines()]
    assert_holds(text, "\nnot touched         share_Y2, beta1_power,", without=["measured"])
    assert text.endswith("Planned from the graph. Nothing was run.\n")
    found = result(*explain_golden, "joint", "share_W:0", "L2Loss_1")
    assert found["fetches"] == ["share_W", "Y2_Loss"]
    assert found["reads"] == ["share_W", "share_Y2"]
    assert result(*explain_golden, "joint", "Y1_Loss:0")["fetches"] == ["Y1_Loss"]


@pytest.mark.parametrize("name", sorted(os.listdir(RECORDINGS)))
def test_every_recorded_script_is_planned(name, capsys):
    found = result(capsys, "explain", "--golden", os.path.join(RECORDINGS, name), "init")
    assert set(found["writes"]) <= set(found["variables"])
    assert len(found["writes"]) > 0 and found["must_feed"] == []
    assert sum(part["nodes"] for part in found["groups"].values()) > 50
    assert any(title.startswith("optimizer ") for title in found["groups"])


def test_what_is_needed_but_not_fed(capsys):
    path = os.path.join(RECORDINGS, "three_tasks.npz")
    args = ("explain", "--golden", path, "train_value", "--without", "targets")
    failed = done(capsys, *args, status=1)
    assert failed.endswith("The run fails: targets must be fed, but is not.\n")
    error = refused(capsys, *args, "--without", "shared_W")
    assert "'shared_W': should be a placeholder: X, targets, labels, classes" in error


NO_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None
from tf1_mtl import cli
status = cli.main(sys.argv[1:])
assert sys.modules["tensorflow"] is None
assert not [name for name in sys.modules if name.startswith("tensorflow.")]
sys.exit(status)
"""


def test_a_recording_needs_no_tensorflow():
    path = os.path.join(RECORDINGS, "clipping_and_decay.npz")
    args = [sys.executable, "-c", NO_TENSORFLOW, "explain", "--golden", path, "init"]
    ran = subprocess.run(args, capture_output=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(b"session.run([init])\n")


@pytest.mark.parametrize(
    "args,message",
    [
        (["--golden", "nowhere.npz", "init"], "nowhere.npz: "),
        (["--golden", "alternate", "Y1_opp"], "alternate: 'Y1_opp': not in the graph"),
        (["--golden", "alternate", "L2Loss:1"], "'L2Loss:1': not in the graph"),
        (["--golden", "alternate", "L2Loss:x"], "'L2Loss:x': not in the graph"),
        (["--golden", "alternate", ""], "'': not in the graph"),
        (["--golden", "alternate", "?"], "Some are Optimiser, Y1_op, Y2_op, Y1_Loss, Y2_Loss"),
        (["--golden", "alternate", "init", "--variables", "resource"], "--variables: is for"),
        (["--golden", "alternate", "--script", "x.py", "init"], "not allowed with"),
        (["--script", "nowhere.py", "init"], "nowhere.py: no such file"),
        (["--script", os.path.join(RECORDINGS, "adadelta.npz"), "init"], "is a recording, but"),
        (["--script", HERE, "init"], "a directory, but should be a script or notebook"),
        (["--script-args", "-x", "init"], "--script-args: "),
        (["--golden", __file__, "init"], "not a recording"),
    ],
)
def test_bad_input(args, message, capsys):
    assert message in refused(capsys, "explain", *args)


@pytest.mark.parametrize(
    "options", [(), ("--golden", "alternate"), ("--golden", "alternate", "--json")]
)
def test_without_names_the_main_ones_are_listed(options, capsys):
    status, out, err = run(capsys, "explain", *options)
    found = json.loads(out)["names"] if "--json" in options else out.splitlines()
    assert (status, err) == (0, "")
    assert found[:6] == ["Optimiser", "Y1_op", "Y2_op", "Y1_Loss", "Y2_Loss", "Joint_Loss"]
    assert {"X", "Y1", "Y2", "share_W", "share_Y1", "share_Y2"} < set(found)
    assert len(found) < 20 and len(found) == len(set(found))


# --- scripts


@pytest.mark.slow
@pytest.mark.runtime
def test_a_script_stops_before_it_trains(script):
    path = script(LAYERS + SESSION)
    out, err = explained("--script", path, "train_digit", "total", "pixels")
    # The name of a global variable stands for the name that TensorFlow made.
    assert out.startswith("session.run([train_digit, total, pixels])\n\nfed   ")
    lines = out.splitlines()
    assert "must be fed         pixels, digit, colour, orientation_of_the_object" in lines
    assert ["optimizer", "train_all", "0"] in [line.split()[:3] for line in lines]
    assert len(lines) < 130 and max(map(len, lines)) < 130
    assert err == "the script prints\n"


def test_the_output_of_a_script_stays_apart(script):
    noise = """
import atexit, os
atexit.register(print, "at exit")
os.system("echo a child")
"""
    prints = "\nprint('the script prints')\n"
    out, err = explained("--script", script(noise + SMALL + prints + TRAINING), "step", "--json")
    assert json.loads(out)["fetches"] == ["step"]
    assert err.split("\n") == ["a child", "the script prints", "at exit", ""]


@pytest.mark.slow
@pytest.mark.runtime
def test_a_name_that_another_graph_has(script):
    first = """
import tensorflow as tf
with tf.Graph().as_default(), tf.Session() as session:
    w = tf.Variable(1.0, name="w")
    step = tf.train.GradientDescentOptimizer(0.1).minimize(w * w, name="first")
    session.run(tf.global_variables_initializer())
    session.run(step)
    print("trained first")
"""
    path = script(first + first.replace("first", "second"))
    out, err = explained("--script", path, "second")
    assert out.split("\n")[0] == "session.run([second])"
    goes_on = ("'second': not in the graph", "The script goes on", "trained first")
    assert_holds(err, *goes_on, without=["trained second"])
    _, err = explained("--script", path, "frist", status=2)
    assert err.count("'frist': not in the graph") == 1
    assert err.splitlines()[-1].startswith(f"tf1-mtl: {path}: ended, and no graph has")
    assert_holds(err, "Near: first", without=["Traceback"])


@pytest.mark.slow
@pytest.mark.runtime
def test_a_script_that_does_not_train(script):
    assert explained("--script", script(SMALL), "loss:0")[0].startswith("session.run([loss])")
    _, err = explained("--script", script("print('hello')"), "x", status=2)
    assert "'x': not in the graph" in err


@pytest.mark.slow
@pytest.mark.runtime
def test_a_script_that_changes_its_folder_and_closes_stdout(script, tmp_path):
    (tmp_path / "inner").mkdir()
    path = script("""
import os, sys
import tensorflow as tf
w = tf.get_variable("weight", [], initializer=tf.ones_initializer())
x = tf.placeholder(tf.float32, [])
step = tf.train.GradientDescentOptimizer(0.1).minimize(tf.square(w * x), name="step")
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    os.chdir("inner")
    sys.stdout.close()
    session.run(step, {x: 1.0})
""")
    # A global variable has ":0" as its tensor has.
    out, _ = explained("--script", path, "w:0", "x:0", cwd=tmp_path)
    assert out.startswith("session.run([weight, x])")
    full = (
        "import os, sys; from tf1_mtl import cli; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); "
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    ran = forked.python("-c", full, "explain", "--script", path, "w", cwd=tmp_path)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.startswith("tf1-mtl: [Errno 28]")
    if importlib.util.find_spec("matplotlib") is not None:
        drawn = forked.tf1_mtl("draw", "--script", path, "-o", "picture.svg", cwd=tmp_path)
        assert drawn.returncode == 0, drawn.stderr
        assert (tmp_path / "picture.svg").exists()


def test_a_script_that_fails(script):
    _, err = explained("--script", script("import tensorflow\n1 / 0"), "x", status=2)
    assert "ZeroDivisionError" in err
    assert "ended with status 1 before it trained" in err.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.runtime
def test_the_arguments_of_a_script(script):
    text = "import sys\nassert sys.argv[1:] == ['--name', 'two words']\n" + SMALL
    explained("--script", script(text), "--script-args", "--name 'two words'", "loss")
    _, err = explained("--script", script(text), "--script-args", "'", "loss", status=2)
    assert "Close the quote" in err


MODEL = """
import threading
import tensorflow as tf
w = tf.get_variable("w", [], initializer=tf.ones_initializer())
step = tf.train.GradientDescentOptimizer(0.1).minimize(w * w)
"""
WAYS = {
    "monitored": """
with tf.train.MonitoredSession() as session:
    while not session.should_stop():
        session.run(step)
""",
    "threads": """
session = tf.Session()
session.run(tf.global_variables_initializer())
def work():
    while True:
        session.run(step)
threads = [threading.Thread(target=work) for _ in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""",
    "catches": """
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    try:
        session.run(step)
    except Exception:
        print("caught")
    finally:
        print("finally")
""",
}


@pytest.mark.parametrize(
    "way", ["threads", slow_everywhere("monitored"), slow_everywhere("catches")]
)
def test_scripts_of_every_kind_are_stopped(script, way):
    out, err = explained("--script", script(MODEL + WAYS[way]), "step")
    assert out.startswith("session.run([step])")
    assert "w" in out.split("writes")[1].splitlines()[0]
    assert_holds(err, without=["caught", "Traceback"])
