"""Beside a real TensorFlow 1.x: seeds never seen before, and our checkpoints restored there.

pytest tests/test_real_tensorflow_1.py --real-tf1 PYTHON
"""

import os
import random
import subprocess

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from long_runs import long_run
from test_export import served_1, served_2
from test_training import LOSS_ULP, WEIGHT_DISTANCE, run, ulp_distance

from tf1_mtl import build_graph, feeds, open_session, train
from tf1_mtl.data import Rows
from tf1_mtl.prediction import Model
from tf1_mtl.weights import Weights, save_weights

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Plain TensorFlow 1 with the listing of the oracle, without tf1_mtl.
SESSIONS = """
import sys
import numpy as np
from tests.oracle import listing, published

published.SEEDS = [int(seed) for seed in sys.argv[2:]]
np.savez(sys.argv[1], **published.sessions(listing.run))
"""
RESTORE = """
import sys
import numpy as np
from tests.oracle.cases import article_weights
from tests.oracle.listing import Listing, tf

listing = Listing(article_weights(np.random.RandomState(99)), batch=10)
with tf.Session(graph=listing.graph) as session, listing.graph.as_default():
    tf.train.Saver(listing.all_variables).restore(session, sys.argv[2])
    variables = {variable.op.name: variable for variable in listing.all_variables}
    np.savez(sys.argv[1], **session.run(variables))
"""

EXPORT = """
import sys
import numpy as np
from tf1_mtl.prediction import Model
from tf1_mtl.weights import load_weights

with Model(load_weights(sys.argv[2])) as model:
    model.export(sys.argv[3])
np.savez(sys.argv[1])
"""
SERVE = """
import sys
import numpy as np
import tensorflow.compat.v1 as tf

with tf.Session(graph=tf.Graph()) as session:
    signature = tf.saved_model.loader.load(session, ["serve"], sys.argv[2]).signature_def
    outputs = {name: info.name for name, info in signature["serving_default"].outputs.items()}
    np.savez(sys.argv[1], **session.run(outputs, {"X:0": np.load(sys.argv[3])["X"]}))
"""


@pytest.fixture
def real(request, tmp_path):
    """Runs code on the real TensorFlow 1.x. Returns the arrays that it saves."""
    python = request.config.getoption("--real-tf1")
    if python is None:
        pytest.skip("no real TensorFlow 1.x is named by --real-tf1 PYTHON (.ci/run names one)")

    def run_real(code, *args):
        saved = str(tmp_path / "saved.npz")
        command = [python, "-W", "ignore", "-c", code, saved, *map(str, args)]
        subprocess.run(command, cwd=ROOT, check=True)
        return np.load(saved)

    return run_real


def test_seeds_never_seen_before(real):
    seeds = [random.randrange(2**32) for _ in range(3)]
    print("seeds", seeds)
    truth = real(SESSIONS, *seeds)
    for regime in ("alternate", "joint"):
        for index, seed in enumerate(seeds):
            trained, kept = run(regime, seed, 200)
            losses = np.array([step.loss for step in trained])
            assert ulp_distance(losses, truth[regime + "_losses"][index]).max() <= LOSS_ULP
            for at, step in enumerate(truth["kept"]):
                for name, weights in kept[step].items():
                    distance = np.abs(weights - truth[f"{regime}_{name}"][index, at])
                    assert distance.max() <= WEIGHT_DISTANCE


@pytest.mark.parametrize("variables", ["ref", "resource"])
def test_our_checkpoint_restores_there_bit_for_bit(real, tmp_path, variables):
    rng = np.random.RandomState(5)
    net = build_graph(rng, variables=variables)
    with net.graph.as_default():
        saver = tf.train.Saver()
        all_variables = {variable.op.name: variable for variable in tf.global_variables()}
    with open_session(net) as session:
        session.run(net.init)
        draw = feeds.article_draw(rng)
        list(train(net, session, map(draw, ("joint", "Y1", "Y2"))))
        path = saver.save(session, str(tmp_path / "model.ckpt"))
        ours = session.run(all_variables)
    assert_same_bits(real(RESTORE, path), ours)


def test_a_long_run_s_checkpoint_restores_there_bit_for_bit(real, tmp_path):
    values = long_run(tmp_path / "run", 30).values
    values.pop("random stream")  # read by nobody but us
    ours = {name.replace(".", "/"): value for name, value in values.items()}
    assert_same_bits(real(RESTORE, tmp_path / "run" / "model.ckpt-30"), ours)


def test_each_reads_the_export_of_the_other(real, tmp_path):
    rng = np.random.RandomState(6)
    weights = Weights(*(rng.rand(*s).astype(np.float32) for s in ((3, 7), (7, 2), (7, 4))))
    X = rng.rand(5, 3).astype(np.float32)
    w, x, ours, theirs = (str(tmp_path / name) for name in ("w.npz", "x.npz", "ours", "theirs"))
    save_weights(w, weights)
    np.savez(x, X=X)
    with Model(weights) as model:
        model.export(ours)
        expected = model.predict(Rows(X, None, X, None))
    real(EXPORT, w, theirs)
    found = [served_1(theirs, X)[0], real(SERVE, ours, x)]
    if tf.__version__ > "2":
        found.append(served_2(theirs, X))
    for outputs in found:
        assert set(outputs) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name], value, rtol=1e-6)


def assert_same_bits(theirs, ours):
    assert set(theirs.files) == set(ours)
    assert len(ours) == 23
    for name, value in ours.items():
        assert theirs[name].tobytes() == value.tobytes(), name
