"""Unmodified TensorFlow 1 scripts run, and what they cannot have here is said in one line."""

import json
import os
import subprocess
import sys

import pytest
import tensorflow

from tf1_mtl import cli
from tf1_mtl.quiet import is_noise

IS_TF1 = tensorflow.__version__.startswith("1.")
HAS_KERAS_3 = tuple(map(int, tensorflow.__version__.split(".")[:2])) >= (2, 16)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# The article's graph and sessions as a TensorFlow 1 program writes them: the published statements
# (the capital T included) with none of this project's code.
GRAPH = """
{imports}
import numpy as np

X = tf.placeholder("float", [10, 10], name="X")
Y1 = tf.placeholder("float", [10, 20], name="Y1")
Y2 = tf.placeholder("float", [10, 20], name="Y2")
initial_shared_layer_weights = np.random.rand(10,20)
initial_Y1_layer_weights = np.random.rand(20,20)
initial_Y2_layer_weights = np.random.rand(20,20)
shared_layer_weights = tf.Variable(initial_shared_layer_weights, name="share_W", dtype="float32")
Y1_layer_weights = tf.Variable(initial_Y1_layer_weights, name="share_Y1", dtype="float32")
Y2_layer_weights = tf.Variable(initial_Y2_layer_weights, name="share_Y2", dtype="float32")
shared_layer = tf.nn.relu(tf.matmul(X,shared_layer_weights))
Y1_layer = tf.nn.relu(tf.matmul(shared_layer,Y1_layer_weights))
Y2_layer = tf.nn.relu(tf.matmul(shared_layer,Y2_layer_weights))
Y1_Loss = tf.nn.l2_loss(Y1-Y1_layer)
Y2_Loss = tf.nn.l2_loss(Y2-Y2_layer)
"""
FEED = """{
    X: np.random.rand(10,10)*10,
    Y1: np.random.rand(10,20)*10,
    Y2: np.random.rand(10,20)*10
}"""
ALTERNATE = (
    GRAPH
    + """
Y1_op = tf.train.AdamOptimizer().minimize(Y1_Loss)
Y2_op = tf.train.AdamOptimizer().minimize(Y2_Loss)
with tf.Session() as session:
    session.run(tf.initialize_all_variables())
    for iters in range(10):
        if np.random.rand() < 0.5:
            _, Y1_loss = session.run([Y1_op, Y1_Loss], FEED)
            print(Y1_loss)
        else:
            _, Y2_loss = session.run([Y2_op, Y2_Loss], FEED)
            print(Y2_loss)
""".replace("FEED", FEED)
)
JOINT = (
    GRAPH
    + """
Joint_Loss = Y1_Loss + Y2_Loss
Optimiser = tf.train.AdamOptimizer().minimize(Joint_Loss)
Y1_op = tf.train.AdamOptimizer().minimize(Y1_Loss)
Y2_op = tf.train.AdamOptimizer().minimize(Y2_Loss)
with tf.Session() as session:
    session.run(tf.initialize_all_variables())
    _, Joint_Loss = session.run([Optimiser, Joint_Loss], FEED)
    print(Joint_Loss)
""".replace("FEED", FEED)
)


def tf1_mtl(*args, cwd=None):
    environment = dict(os.environ, PYTHONPATH=ROOT)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # JAX, which TensorFlow 2.12 imports, sets it
    return subprocess.run(
        [sys.executable, "-m", "tf1_mtl", *map(str, args)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
    )


@pytest.mark.parametrize(
    ("regime", "listing", "imports"),
    [
        ("alternate", ALTERNATE, "import Tensorflow as tf"),
        ("joint", JOINT, "import tensorflow as tf"),
    ],
    ids=["alternate", "joint"],
)
def test_the_articles_listings_print_the_losses_of_the_commands(tmp_path, regime, listing, imports):
    script = tmp_path / "listing.py"
    script.write_text(listing.replace("{imports}", imports))
    ran = tf1_mtl("run", script, "--seed", 20160718)
    own = tf1_mtl(regime, "--seed", 20160718, "--quiet")
    assert (ran.returncode, own.returncode) == (0, 0), ran.stderr + own.stderr
    assert len(ran.stdout.split()) == (10 if regime == "alternate" else 1)
    assert ran.stdout == own.stdout
    said = (ran.stderr + own.stderr).encode().splitlines()
    assert [line for line in said if not is_noise(line)] == []
    assert not said or tensorflow.__version__.startswith("2.18.")  # see tf1_mtl.quiet


def test_a_script_meets_its_own_process(tmp_path):
    """sys.argv, __main__, the modules beside it, and every form of import."""
    (tmp_path / "helper.py").write_text("import tensorflow\nplaceholder = tensorflow.placeholder\n")
    script = tmp_path / "script.py"
    script.write_text(
        """
import json, sys
import tensorflow
import tensorflow as tf
import tensorflow.compat.v1 as v1
from tensorflow import placeholder, flags
from tensorflow.python.framework import ops
from tensorflow.python.framework.ops import Graph
from tensorflow.python.framework import dtypes
from tensorflow.compat import v1 as compat_v1
from tensorflow.losses import mean_squared_error
from tensorflow.nn import dropout
import tensorflow.train as train
import helper

if __name__ == "__main__":
    import os
    with tf.Session() as session:
        value = session.run(tf.constant(1) + 1)
    print(json.dumps({
        "argv": sys.argv[1:],
        "file": os.path.basename(__file__),
        "folder": os.path.basename(sys.path[0]),
        "value": int(value),
        "same": [
            tf is tensorflow,
            placeholder is v1.placeholder,
            helper.placeholder is v1.placeholder,
            issubclass(Graph, ops.Graph) and ops.Graph is v1.Graph,
            dtypes.float32 is v1.float32,
            compat_v1.Session is v1.Session,
            mean_squared_error is v1.losses.mean_squared_error,
            dropout is v1.nn.dropout,
            train.AdamOptimizer is v1.train.AdamOptimizer,
            hasattr(tf, "no_such_thing"),
        ],
        "variable": tf.Variable(1.0, name="v").op.type,
    }))
    sys.exit(7)
"""
    )
    ran = tf1_mtl("run", script, "--rows", "3", "--seed", "9", "--", "--seed", "4", "--verbose")
    assert ran.returncode == 7, ran.stderr
    result = json.loads(ran.stdout)
    assert result["argv"] == ["--rows", "3", "--seed", "4", "--verbose"]
    assert result["file"] == "script.py"
    assert result["folder"] == tmp_path.name
    assert result["value"] == 2
    assert result["same"] == [True] * 9 + [False]
    assert result["variable"] == "VariableV2"


def test_the_scripts_own_warnings_are_shown_and_tensorflows_deprecations_are_not(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        """
import tensorflow as tf
tf.logging.info("own information")
tf.logging.warning("own warning")
tf.initialize_all_variables()
"""
    )
    ran = tf1_mtl("run", script)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING:tensorflow:own warning\n" in ran.stderr
    assert "own information" not in ran.stderr  # as in TensorFlow
    assert "deprecated" not in ran.stderr
    assert "deprecated" in tf1_mtl("run", script, "--verbose").stderr


# Small scripts, all run in one process: {name: (code, exit status, what stderr ends with)}.
SCRIPTS = {
    "exit": ("import sys; sys.exit()", 0, ""),
    "exit 3": ("raise SystemExit(3)", 3, ""),
    "exit with words": ("import sys; sys.exit('no more')", 1, "no more\n"),
    "own words": ("import sys; sys.stderr.write('own words\\n')", 0, "own words\n"),
    "error": ("def f():\n    return 1 / 0\nf()", 1, "ZeroDivisionError: division by zero\n"),
    "python 2": (
        "print 'hello'",
        1,
        "Convert it first, for example with 2to3 (which Python has up to 3.12).\n",
    ),
    "python 2 range": (
        "for i in xrange(3): pass",
        1,
        "Convert it first, for example with 2to3 (which Python has up to 3.12).\n",
    ),
    "handled": (
        "import tensorflow as tf\ntry: tf.no_such_thing\nexcept AttributeError: 1 / 0",
        1,
        "ZeroDivisionError: division by zero\n",
    ),
}
TRACED = ("error", "python 2", "python 2 range", "handled")
CONTRIB = "tf1-mtl: tf.contrib went with TensorFlow 2.0."
EXAMPLES = "tf1-mtl: tensorflow.examples (its MNIST reader too) went with TensorFlow 2.0."
UNKNOWN = "tf1-mtl: This is not in the v1 API of the TensorFlow here."
KERAS = "tf1-mtl: tf.layers, tf.nn.rnn_cell and Keras's v1 API went with Keras 3"
#: What TensorFlow 1 code asks for in vain: (code, how the last line on stderr begins).
MISSING = {
    "contrib": ("tf.contrib.layers.xavier_initializer()", CONTRIB),
    "contrib by name": ("from tensorflow import contrib", CONTRIB),
    "import contrib": ("import tensorflow.contrib.slim as slim", CONTRIB),
    "from contrib": ("from tensorflow.contrib import rnn", CONTRIB),
    "examples": ("from tensorflow.examples.tutorials.mnist import input_data", EXAMPLES),
    "no function": ("tf.no_such_function(1)", UNKNOWN),
    "no module": ("import tensorflow.nothing", UNKNOWN),
}
MODEL = "m = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(3,))]); "
if HAS_KERAS_3:
    MISSING["estimator"] = ("tf.estimator.RunConfig()", "tf1-mtl: tf.estimator went with")
    MISSING["from layers"] = ("from tensorflow.layers import dense", KERAS)
    MISSING["set_session"] = ("tf.keras.backend.set_session(tf.Session())", KERAS)
    MISSING["compile"] = (MODEL + "m.compile(tf.train.AdamOptimizer(), 'mse')", KERAS)
    MISSING["fit"] = (
        MODEL + "m.compile('adam', 'mse'); import numpy; m.fit(numpy.eye(3), numpy.eye(3))",
        KERAS,
    )
    MISSING["layers"] = ("tf.layers.dense(tf.zeros([1, 2]), 3)", KERAS)
    MISSING["rnn_cell"] = ("tf.nn.rnn_cell.BasicLSTMCell(3)", KERAS)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Runs all small scripts; {name: (path, exit status, stdout, stderr)}."""
    folder = tmp_path_factory.mktemp("scripts")
    codes = {name: code for name, (code, _, _) in SCRIPTS.items()}
    codes.update({name: "import tensorflow as tf\n" + code for name, (code, _) in MISSING.items()})
    paths = {}
    for name, code in codes.items():
        paths[name] = str(folder / (name.replace(" ", "_") + ".py"))
        with open(paths[name], "w") as file:
            file.write(code + "\n")
    driver = folder / "driver.py"
    driver.write_text(
        """
import contextlib, io, json, sys
from tf1_mtl import legacy_script

legacy_script.prepare()
results = {}
for name, path in json.loads(sys.argv[1]).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = legacy_script.run(path)
    results[name] = [path, status, out.getvalue(), err.getvalue()]
print(json.dumps(results))
"""
    )
    ran = subprocess.run(
        [sys.executable, str(driver), json.dumps(paths)],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=ROOT),
        check=True,
    )
    return json.loads(ran.stdout)


@pytest.mark.parametrize("name", SCRIPTS)
def test_exit_status_and_stderr_are_the_scripts_own(results, name):
    _, status, ends = SCRIPTS[name]
    _, got, _, stderr = results[name]
    assert got == status
    assert stderr.endswith(ends)
    assert name in TRACED or stderr == ends


def test_a_traceback_shows_the_scripts_lines_only(results):
    path, _, _, stderr = results["error"]
    files = [line.split('"')[1] for line in stderr.splitlines() if line.startswith("  File")]
    assert stderr.startswith("Traceback (most recent call last):\n")
    assert files == [path, path]


@pytest.mark.skipif(IS_TF1, reason="a real TensorFlow 1 has all of it")
@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_here_gets_one_line(results, name):
    path, status, _, stderr = results[name]
    assert status == 1
    assert f'File "{path}", line 2' in stderr
    assert "legacy_script" not in stderr
    last = stderr.splitlines()[-1]
    assert last.startswith(MISSING[name][1])
    assert "pip install" in last or "TensorFlow below 2.16" in last


def test_scripts_that_are_not_there(tmp_path, capsys):
    for path, what in ((tmp_path / "none.py", "no such file"), (tmp_path, "a directory")):
        assert cli.main(["run", str(path)]) == 2
        assert capsys.readouterr().err == (
            f"tf1-mtl: {path}: {what}, but should be a Python script. Check the path.\n"
        )
