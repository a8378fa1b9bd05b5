"""TensorFlow 1 training scripts of many kinds: they train here, and ports of them are checked."""

import collections
import importlib.util
import os

import forked
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from script_ports import SCRIPT_PORTS

from tf1_mtl.baseline import load_recording

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SCRIPTS = sorted(
    name[:-3]
    for name in os.listdir(os.path.join(ROOT, "tests", "training_scripts"))
    if name.endswith(".py") and not name.startswith("__")
)
#: Recordings of all scripts on a real 1.15.5, made by `python -m tests.training_scripts`.
TRUTH = os.path.join(ROOT, "tests", "truth", "scripts-1.15.5")
#: Other versions draw other numbers from the same seed.
DRAWN_ANEW = ("dropout", "input_pipeline")
#: `tf.nn.rnn_cell` needs Keras 2, which TensorFlow has until 2.15.
HAS_CELLS = tuple(map(int, tf.__version__.split(".")[:2])) < (2, 16)
HERE = [name for name in SCRIPTS if name != "dynamic_rnn" or HAS_CELLS]
#: What the default suite runs; the others are slow.
SAMPLE = ("clipping_and_decay", "three_tasks", "while_loop_rnn")


def marks(script):
    return [] if script in SAMPLE else [pytest.mark.slow]


all_scripts = pytest.mark.parametrize(
    "script", [pytest.param(script, id=script, marks=marks(script)) for script in HERE]
)
all_ports = pytest.mark.parametrize(
    "entry",
    [pytest.param(entry, id=entry.id, marks=marks(entry.script)) for entry in SCRIPT_PORTS],
)


@pytest.fixture(scope="module")
def recorded(request, tmp_path_factory):
    """Records the scripts under test in one child process. Returns their folder."""
    folder = tmp_path_factory.mktemp("recorded")
    items = [item for item in request.session.items if item.fspath == request.node.fspath]
    needed = {
        getattr(given, "script", given) for item in items for given in item.callspec.params.values()
    }
    done = forked.python("-m", "tests.training_scripts", folder, *sorted(needed), cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@all_scripts
def test_a_script_trains(recorded, script):
    losses = collections.defaultdict(list)
    for line in (recorded / (script + ".txt")).read_text().splitlines():
        *task, loss = line.split()
        losses[tuple(task)].append(float(loss))
    for task, found in losses.items():
        third = len(found) // 3
        assert np.all(np.isfinite(found)), task
        assert np.mean(found[-third:]) < np.mean(found[:third]), (task, found)


@all_scripts
def test_a_recording_is_small_and_whole(recorded, script):
    path = str(recorded / (script + ".npz"))
    assert os.path.getsize(path) < 300_000
    steps = steps_of(path)[1]
    assert 10 <= len(steps) <= 30
    assert all(step.variables is not None for step in steps)


def steps_of(path):
    """Returns the initial variables and the training runs of the one session that trains."""
    recording = load_recording(path)
    ((number, session),) = recording.sessions.items()
    return session, recording.steps(number)


def distance(port, path):
    """Returns the distance of a port from the recording: of losses, and of weights in steps."""
    session, steps = steps_of(path)
    names = [v.name for v in session.variables if v.is_trainable]
    before = {name: session.initial[name] for name in names}
    model = port({name: w.copy() for name, w in before.items()})
    of_loss = of_weights = 0.0
    for step in steps:
        loss = model.step(step.task, dict(step.feeds))
        found = loss_of(step)
        of_loss = max(of_loss, abs(loss - found) / abs(found))
        for name, w in model.weights().items():
            size = np.abs(step.variables[name] - session.initial[name]).max()
            off = np.abs(w - step.variables[name]).max()
            of_weights = max(of_weights, off / max(size, 1e-3))
    return of_loss, of_weights


def loss_of(step):
    """Returns the loss: of several numbers that were fetched, the first is."""
    return next(x for x in step.fetched.values() if x is not None and x.ndim == 0)


@all_ports
def test_ports_of_scripts(recorded, entry):
    if importlib.util.find_spec(entry.framework) is None:
        pytest.skip(f"no {entry.framework}: pip install 'tf1-mtl[ports]'")
    of_loss, of_weights = distance(entry.load(), str(recorded / (entry.script + ".npz")))
    right = of_loss < 1e-5 and of_weights < 1e-3
    assert right == entry.conforms, (of_loss, of_weights)


@all_scripts
def test_the_same_script_on_a_real_tensorflow_1(recorded, script):
    """On 1.15.5 the same tasks ran on the same feeds, and gave nearly the same values."""
    here, there = (
        steps_of(os.path.join(str(folder), script + ".npz")) for folder in (recorded, TRUTH)
    )
    assert [v.name for v in here[0].variables] == [v.name for v in there[0].variables]
    for one, other in zip(here[1], there[1]):
        assert (one.task, sorted(one.feeds)) == (other.task, sorted(other.feeds))
        for name, feed in one.feeds.items():
            assert np.array_equal(feed, other.feeds[name])
        if script in DRAWN_ANEW:
            continue
        assert loss_of(one) == pytest.approx(loss_of(other), rel=1e-4)
        for name, value in one.variables.items():
            assert np.allclose(value, other.variables[name], rtol=1e-4, atol=1e-4), name
