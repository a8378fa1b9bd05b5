"""Unmodified TensorFlow 1 scripts run as under `python`. What is missing gets one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import tensorflow
from command import refused
from forked import python, tf1_mtl
from sampling import slow

from tests import legacy_scripts
from tf1_mtl.baseline import load_recording
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


def alone(*args):
    """Runs `tf1-mtl ARGS` in a process that imports TensorFlow itself."""
    environment = dict(os.environ, PYTHONPATH=ROOT)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # JAX, which TensorFlow 2.12 imports, sets it
    return subprocess.run(
        [sys.executable, "-m", "tf1_mtl", *map(str, args)],
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize(
    ("regime", "listing", "imports", "command"),
    [
        ("alternate", ALTERNATE, "import Tensorflow as tf", tf1_mtl),
        slow("alternate", ALTERNATE, "import Tensorflow as tf", alone),
        slow("joint", JOINT, "import tensorflow as tf", alone),
    ],
)
def test_the_articles_listings_print_the_losses_of_the_commands(
    script, regime, listing, imports, command
):
    path = script(listing.replace("{imports}", imports))
    ran = command("run", "--seed", 20160718, path)
    own = command(regime, "--seed", 20160718, "--quiet")
    assert (ran.returncode, own.returncode) == (0, 0), ran.stderr + own.stderr
    assert len(ran.stdout.split()) == (10 if regime == "alternate" else 1)
    assert ran.stdout == own.stdout
    stderr = (ran.stderr + own.stderr).encode().splitlines()
    assert [line for line in stderr if not is_noise(line)] == []
    assert not stderr or tensorflow.__version__.startswith("2.18.")  # see tf1_mtl.quiet


@pytest.mark.slow
def test_the_scripts_own_warnings_are_shown_and_tensorflows_deprecations_are_not(script):
    path = script("""
import tensorflow as tf
tf.logging.info("own information")
tf.logging.warning("own warning")
tf.initialize_all_variables()
""")
    ran = alone("run", path)
    assert ran.returncode == 0, ran.stderr
    assert "WARNING:tensorflow:own warning\n" in ran.stderr
    assert "own information" not in ran.stderr  # as in TensorFlow
    assert "deprecated" not in ran.stderr
    assert "deprecated" in alone("run", "--verbose", path).stderr


#: Scripts that must do under `run` exactly what they do under `python`: exit status and both
#: streams. Each is run with ARGUMENTS behind its name.
ARGUMENTS = ["--seed", "9", "--record", "x", "--verbose", "--", "--version", "--"]
PYTHON = {
    "its module": """
import sys
print(sorted(globals()), __name__, __file__, __package__, __spec__, __doc__, __cached__)
print(type(__loader__), __loader__.path, __annotations__)
print(sys.argv, sys.path[0], sys.modules["__main__"].__dict__ is globals())
""",
    "exit": "import sys; sys.exit()",
    "exit 3": "raise SystemExit(3)",
    "exit with words": "import sys; sys.exit('no more')",
    "own words": "import sys; print('out'); sys.stderr.write('own words\\n')",
    "error": "def f():\n    return 1 / 0\nf()",
    "two errors": """
def f():
    try:
        1 / 0
    except ZeroDivisionError as error:
        raise ValueError("second") from error
try:
    f()
except ValueError:
    import no_such_module
""",
    "syntax error": "x = 1\nx = = 2",
    "no base of Exception": """
class Own(BaseException):
    pass
def f():
    raise Own("own")
f()
""",
    "interrupt": "def f():\n    raise KeyboardInterrupt\nf()",
    "excepthook": """
import sys, traceback
def hook(kind, error, trace):
    print("hook", kind, error, [frame.name for frame in traceback.extract_tb(trace)])
sys.excepthook = hook
1 / 0
""",
    "excepthook and interrupt": """
import sys
sys.excepthook = lambda *error: print("hook", error[:2])
raise KeyboardInterrupt("now")
""",
    "excepthook that fails": "import sys\nsys.excepthook = lambda *_: {}[3]\n1 / 0",
    "excepthook that exits": "import sys\nsys.excepthook = lambda *_: sys.exit(5)\n1 / 0",
    "no excepthook": "import sys\ndel sys.excepthook\nraise KeyboardInterrupt",
    "stdout closed": "import sys; print('out'); sys.stdout.close()",
    "stdout replaced": """
import sys
class Own:
    def __repr__(self):
        return "own"
sys.stdout = Own()
""",
    "no stderr": "import sys; sys.stderr.close(); sys.stderr = None; np.x",
    "last error": """
import atexit, sys
atexit.register(lambda: print(sys.last_type, sys.last_value, sys.last_traceback.tb_lineno))
1 / 0
""",
    "exit handler": """
import atexit, pickle, sys
class Own:
    pass
def at_exit():
    print(sys.argv, sys.path[0], type(pickle.loads(pickle.dumps(Own()))))
    import helper
    print(helper.__name__)
atexit.register(at_exit)
sys.exit(4)
""",
    "thread": """
import pickle, sys, threading, time
class Own:
    pass
def outlive():
    time.sleep(0.2)
    print(sys.argv, sys.path[0], type(pickle.loads(pickle.dumps(Own()))))
threading.Thread(target=outlive).start()
""",
}

EXTRA = "pip install 'tf1-mtl[legacy]'"
SUCCESSOR = "tf1-mtl: tf.contrib.{} is not in TensorFlow 2. Other"
NO_SUCCESSOR = "tf1-mtl: tf.contrib.{} is not in TensorFlow 2, and has no successor here"
UNKNOWN = "tf1-mtl: This is not in the v1 API of the TensorFlow here."
KERAS = "tf1-mtl: Keras 3 (from TensorFlow 2.16 on) has no tf.layers, tf.nn.rnn_cell and v1 API"
CONTRIB, EXAMPLES = "from tensorflow.contrib", "from tensorflow.examples.tutorials.mnist"
#: What TensorFlow 1 code asks for in vain: (code, how the last line on stderr begins).
MISSING = {
    "successor": ("tf.contrib.layers.xavier_initializer()", SUCCESSOR.format("layers")),
    "import successor": ("import tensorflow.contrib.slim.nets", SUCCESSOR.format("slim")),
    "from successor": (f"{CONTRIB} import losses", SUCCESSOR.format("losses")),
    "contrib": ("tf.contrib.factorization.KMeans", NO_SUCCESSOR.format("factorization")),
    "import contrib": ("import tensorflow.contrib.crf", NO_SUCCESSOR.format("crf")),
    "from contrib": (
        f"{CONTRIB}.boosted_trees.proto import learner_pb2",
        NO_SUCCESSOR.format("boosted_trees"),
    ),
    "name from contrib": (f"{CONTRIB} import tensor_forest", NO_SUCCESSOR.format("tensor_forest")),
    "name in contrib": ("tf.contrib.eager.seterr", NO_SUCCESSOR.format("eager.seterr")),
    "examples": (
        f"{EXAMPLES} import fully_connected_feed",
        "tf1-mtl: tensorflow.examples is not in TensorFlow 2",
    ),
    "no function": ("tf.no_such_function(1)", UNKNOWN),
    "no module": ("import tensorflow.nothing", UNKNOWN),
}
MODEL = "m = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(3,))]); "
FIT = "m.compile('adam', 'mse'); import numpy; m.fit(numpy.eye(3), numpy.eye(3))"
if HAS_KERAS_3:
    no_estimator = "tf1-mtl: tf.estimator is not in TensorFlow from 2.16 on"
    MISSING.update(
        {
            "estimator": ("tf.estimator.RunConfig()", no_estimator),
            "from layers": ("from tensorflow.layers import dense", KERAS),
            "set_session": ("tf.keras.backend.set_session(tf.Session())", KERAS),
            "compile": (MODEL + "m.compile(tf.train.AdamOptimizer(), 'mse')", KERAS),
            "fit": (MODEL + FIT, KERAS),
            "layers": ("tf.layers.dense(tf.zeros([1, 2]), 3)", KERAS),
            "rnn_cell": ("tf.nn.rnn_cell.BasicLSTMCell(3)", KERAS),
            "contrib.rnn": (f"{CONTRIB} import rnn", "tf1-mtl: tf.contrib.rnn is not in"),
        }
    )

PYTHON_2 = "tf1-mtl: The script is written for Python 2."
OVERWRITTEN = "tf1-mtl: This name held a tensor until its value replaced it"
#: What earns a line of advice on every version: (code, how the last line on stderr begins).
ADVICE = {
    "python 2": ("print 'hello'", PYTHON_2),
    "python 2 range": ("for i in xrange(3): pass", PYTHON_2),
    "no numpy": ("X = np.random.rand(10, 10)", "tf1-mtl: NumPy is not imported"),
    "overwritten": (
        "Loss = tf.constant(1.5)\n"
        "with tf.Session() as session:\n"
        "    _, Loss = session.run([tf.no_op(), Loss])\n"
        "    _, Loss = session.run([tf.no_op(), Loss])",
        OVERWRITTEN,
    ),
    "overwritten array": (
        "x = tf.zeros([3, 90])\n"
        "with tf.Session() as session:\n"
        "    x = session.run(x)\n"
        "    x = session.run(x)",
        OVERWRITTEN,
    ),
    "handled": ("try: tf.no_such_thing\nexcept AttributeError: 1 / 0", "ZeroDivisionError: "),
}
if tuple(map(int, numpy.__version__.split(".")[:2])) >= (1, 24):  # the NumPy before stacks it
    ADVICE["stacked generator"] = (
        "import numpy as np\nnp.vstack([i] for i in range(3))",
        "tf1-mtl: NumPy no longer stacks a generator.",
    )
#: What a script does with TensorFlow, and what it prints.
IMPORTS = """
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

print(
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
    tf.Variable(1.0, name="v").op.type,
)
with tf.Session() as session:
    print(session.run(tf.constant(1) + 1))
"""
IMPORTS_PRINT = "True " * 9 + "False VariableV2\n2\n"
HELPER = "import tensorflow\nplaceholder = getattr(tensorflow, 'placeholder', None)\n"


def write(folder, codes):
    """Writes scripts. Returns [[name, path], ...]."""
    jobs = []
    for name, code in codes.items():
        path = folder / (name.replace(" ", "_") + ".py")
        path.write_text(code + "\n")
        jobs.append([name, str(path)])
    return jobs


def run_in_one_process(folder, paths, without):
    """Runs scripts in turn as `tf1-mtl run` does. Returns {name: (status, out, err)}."""
    args = (json.dumps(without), json.dumps(paths))
    ran = python("-c", legacy_scripts.DRIVER, *args, cwd=folder)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def plain_results(tmp_path_factory):
    """Runs the scripts of PYTHON without TensorFlow. Returns {name: (path, [status, out, err])}.

    Each in a fork, which ends as the process of the command does.
    """
    folder = tmp_path_factory.mktemp("plain")
    (folder / "helper.py").write_text("")
    jobs = write(folder, PYTHON)
    driver = """
import contextlib, json, os, sys
from tf1_mtl import cli, legacy_script
from tf1_mtl.commands import run

run.quiet = lambda verbose: contextlib.nullcontext()
legacy_script.prepare = legacy_script.show_warnings = lambda *_: None
for name, path in json.loads(sys.argv[1]):
    pid = os.fork()
    if not pid:
        for number, stream in ((1, "out"), (2, "err")):
            os.dup2(os.open(path + "." + stream, os.O_WRONLY | os.O_CREAT), number)
        sys.exit(cli.main(["run", path, *json.loads(sys.argv[2])]))
    _, status = os.waitpid(pid, 0)
    with open(path + ".status", "w") as file:
        file.write(str(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)))
"""
    subprocess.run(
        [sys.executable, "-c", driver, json.dumps(jobs), json.dumps(ARGUMENTS)],
        cwd=str(folder),
        env=dict(os.environ, PYTHONPATH=ROOT),
        check=True,
    )
    found = {}
    for name, path in jobs:
        status, out, err = (Path(f"{path}.{end}").read_text() for end in ("status", "out", "err"))
        found[name] = (path, [int(status), out, err])
    return found


@pytest.mark.parametrize("name", PYTHON)
def test_a_script_does_what_it_does_under_python(plain_results, name):
    path, ours = plain_results[name]
    plain = subprocess.run([sys.executable, path, *ARGUMENTS], capture_output=True, text=True)
    assert ours == [plain.returncode, plain.stdout, plain.stderr]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Runs scripts that use TensorFlow, without the extra. Returns {name: (status, out, err)}."""
    folder = tmp_path_factory.mktemp("scripts")
    (folder / "helper.py").write_text(HELPER)
    codes = {"imports": IMPORTS}
    for name, (code, _) in [*MISSING.items(), *ADVICE.items()]:
        codes[name] = "import tensorflow as tf\n" + code
    without = ["tf_slim", "tf_keras"]
    return run_in_one_process(folder, dict(write(folder, codes)), without)


@pytest.mark.slow
def test_its_name_is_as_python_makes_it(tmp_path):
    """Relative, and behind a symbolic link. The folder of the target is on `sys.path`."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper.py").write_text("")
    (tmp_path / "lib" / "script.py").write_text(
        "import sys, helper; print(__file__, sys.argv, sys.path[0]); 1 / 0"
    )
    (tmp_path / "link.py").symlink_to(tmp_path / "lib" / "script.py")
    plain = subprocess.run(
        [sys.executable, "./link.py", "a"], capture_output=True, text=True, cwd=str(tmp_path)
    )
    ran = tf1_mtl("run", "--", "./link.py", "a", cwd=str(tmp_path))
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, plain.stdout, plain.stderr)


def test_a_script_has_the_v1_api(results):
    status, stdout, stderr = results["imports"]
    assert (status, stdout) == (0, IMPORTS_PRINT), stderr


@pytest.mark.slow
def test_what_outlives_the_script_has_the_v1_api_too(script):
    path = script("""
import atexit, sys, threading, time
def late():
    import tensorflow as tf
    print(sys.argv[1:], tf.placeholder("float", name="late").name)
def outlive():
    time.sleep(0.2)
    late()
atexit.register(late)
threading.Thread(target=outlive).start()
""")
    ran = tf1_mtl("run", path, "--seed", "x")
    assert ran.stdout == "['--seed', 'x'] late:0\n['--seed', 'x'] late:0\n", ran.stderr


@pytest.mark.parametrize("name", ADVICE)
def test_an_error_with_a_known_remedy_gets_one_line(results, name):
    status, _, stderr = results[name]
    assert status == 1
    last = stderr.splitlines()[-1]
    assert last.startswith(ADVICE[name][1])
    assert name != "stacked generator" or last.endswith("stacked_generator.py, line 3.")


@pytest.mark.skipif(IS_TF1, reason="a real TensorFlow 1 has all of it")
@pytest.mark.parametrize("name", MISSING)
def test_what_is_not_here_gets_one_line(results, name):
    status, _, stderr = results[name]
    assert status == 1
    assert f'{name.replace(" ", "_")}.py", line 2' in stderr
    assert "legacy_script" not in stderr
    last = stderr.splitlines()[-1]
    assert last.startswith(MISSING[name][1])
    if NO_SUCCESSOR[-25:] not in last and "is not in TensorFlow" in last and "examples" not in last:
        assert EXTRA in last or "TensorFlow below 2.16" in last


@pytest.mark.slow
def test_a_recording_holds_the_runs_of_a_thread_that_outlives_the_script(script, tmp_path):
    path = script("""
import threading, time
import tensorflow as tf
session = tf.Session()
twice = tf.constant(2.0, name="two") * 2.0
def outlive():
    time.sleep(0.2)
    session.run(twice)
threading.Thread(target=outlive).start()
session.run(twice, {"no_such_placeholder:0": 1})
""")
    ran = tf1_mtl("run", "--record", tmp_path / "run.npz", path, "--record", "its own")
    assert ran.returncode == 1
    assert [line for line in ran.stderr.splitlines() if "tf1_mtl" in line] == []
    failed, late = load_recording(str(tmp_path / "run.npz")).runs
    assert "no_such_placeholder" in failed.error
    assert [float(value) for value in late.fetched.values()] == [4.0]


def test_scripts_that_are_not_there(tmp_path, capsys):
    missing = ((tmp_path / f"none.{kind}", "no such file") for kind in ("py", "ipynb"))
    for path, what in (*missing, (tmp_path, "a directory")):
        advice = "but should be a script or notebook. Check the path."
        assert refused(capsys, "run", path) == f"tf1-mtl: {path}: {what}, {advice}\n"
    recording = tmp_path / "run.npz"
    recording.write_bytes(b"PK\0")
    assert "is a recording, but should be a script" in refused(capsys, "run", recording)
