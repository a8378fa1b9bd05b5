"""--export leaves a SavedModel that TensorFlow 1 and 2 load and that predicts the same bits."""

import contextlib
import io
import os
import re
import shutil

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import done, refused, run
from long_runs import full_disk
from test_predict import arrays_of

from tf1_mtl import cli

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PREDICT = {"--weights": "w.npz", "--data": "x.npz", "--output": "out.npz"}
ARGS = ("alternate", "--seed", 7, "--steps", 5, "--quiet")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a file, which is the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.npz").write_text("not read")
    return tmp_path


def served_1(path, X):
    """What the loader of TensorFlow 1 gives."""
    with tf.Graph().as_default(), tf.Session() as session:
        meta_graph = tf.saved_model.loader.load(session, ["serve"], path)
        signature = meta_graph.signature_def["serving_default"]
        assert signature.method_name == "tensorflow/serving/predict"
        outputs = {name: info.name for name, info in signature.outputs.items()}
        names = [node.name for node in meta_graph.graph_def.node]
        return session.run(outputs, {signature.inputs["X"].name: X}), names


def served_2(path, X):
    """What `tf.saved_model.load` of TensorFlow 2 gives, in a process that runs eagerly."""
    import tensorflow

    with tensorflow.init_scope():
        serve = tensorflow.saved_model.load(path).signatures["serving_default"]
        return {name: value.numpy() for name, value in serve(X=tensorflow.constant(X)).items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with what a training saves and exports, six rows, and what predict gives for them.

    Also what the two commands printed.
    """
    folder = tmp_path_factory.mktemp("exported")
    options = ("--save", str(folder / "w.npz"), "--export", str(folder / "model"))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.main([*map(str, ARGS), *options]) == 0
    assert err.getvalue() == ""
    assert sorted(os.listdir(str(folder))) == ["model", "w.npz"]
    rows = np.random.RandomState(0).rand(6, 10).astype(np.float32)
    np.savez(str(folder / "x.npz"), X=rows)
    predict = [f"{option}={folder / name}" for option, name in PREDICT.items()]
    assert cli.main(["predict", *predict, "--quiet"]) == 0
    return folder, out.getvalue()


@pytest.fixture
def exported(made, folder):
    """The arrays that predict gives for six rows, and the losses that the training printed."""
    source, out = made
    for name in os.listdir(str(source)):
        copy = shutil.copytree if name == "model" else shutil.copy
        copy(str(source / name), name)
    return arrays_of("out.npz"), out


def assert_served(found, expected):
    assert set(found) == {"Y1_layer", "Y2_layer"}
    for name, value in found.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, expected[name])


def test_the_loader_of_tensorflow_1_reads_it(capsys, exported):
    expected, out = exported
    found, names = served_1("model", arrays_of("x.npz")["X"])
    assert_served(found, expected)
    assert {"X", "share_W", "share_Y1", "share_Y2"} < set(names)
    assert not [name for name in names if "Adam" in name or "gradients" in name]
    assert run(capsys, *ARGS)[1] == out  # the losses without --save and --export


@pytest.mark.skipif(tf.__version__ < "2", reason="TensorFlow 1 has no eager loader")
def test_tensorflow_2_loads_it(exported):
    assert_served(served_2("model", arrays_of("x.npz")["X"]), exported[0])


@pytest.mark.parametrize("call", ["tf.saved_model.load(", "tf.saved_model.loader.load("])
def test_the_examples_of_the_documents(capsys, exported, call):
    with open(os.path.join(ROOT, "docs", "training.md"), encoding="utf-8") as file:
        blocks = re.findall(r"^```python\n(.*?)^```$", file.read(), re.DOTALL | re.MULTILINE)
    (code,) = (block for block in blocks if call in block)
    if call == "tf.saved_model.load(" and tf.__version__ < "2":
        pytest.skip("TensorFlow 1 has no eager loader")
    exec(compile(code, "example.py", "exec"), {})
    assert capsys.readouterr().out == "(3, 20) (3, 20)\n"


@pytest.mark.slow
@pytest.mark.runtime
def test_a_checkpointed_run_that_has_ended_is_exported(capsys, exported):
    args = (*ARGS, "--checkpoint", "run")
    done(capsys, *args)
    os.mkdir("empty")
    assert run(capsys, *args, "--export", "empty")[:2] == (0, "")
    assert_served(served_1("empty", arrays_of("x.npz")["X"])[0], exported[0])


BAD = [
    (("--export", "full"), "full: is there already. Remove it, or choose another name."),
    (
        ("--export", "full/", "--checkpoint", "run", "--steps", "9"),
        "full/: is there already. Remove it, or choose another name, such as full-9.",
    ),
    (("--export", "data.npz"), "data.npz: is there already."),
    (("--export", "link"), "link: is there already."),
    (("--export", "no/model"), "no/model: there is no folder 'no'. Make it first."),
    (("--export", "data.npz/model"), "there is no folder 'data.npz'. It is a file."),
    (("--export", ""), ": cannot be written. Choose another place."),
    (("--export", "a", "--checkpoint", "./a/b"), "but --checkpoint writes into it. Choose"),
    (("--export", "a", "--logdir", "a"), "but --logdir writes into it. Choose another."),
    (("--export", "./a/", "--save", "a"), "but --save writes into it. Choose another."),
    (("--export", "gs://a/b"), "gs://a/b: there is no folder 'gs://a'. Make it first."),
]


@pytest.mark.parametrize(("args", "message"), BAD, ids=[" ".join(args) for args, _ in BAD])
def test_bad_places(capsys, folder, args, message):
    os.mkdir("full")
    (folder / "full" / "mine").write_text("mine")
    os.symlink("nowhere", "link")
    assert message in refused(capsys, "joint", "--seed", 1, *args, folder=folder)
    assert os.listdir("full") == ["mine"]


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_place_without_permission(capsys, folder):
    os.mkdir("locked", 0o555)
    err = refused(capsys, "joint", "--export", "locked/model")
    assert "locked/model: cannot be written" in err


def test_a_full_disk(capsys, folder):
    with full_disk(500):
        status, _, err = run(capsys, "joint", "--seed", 1, "--export", "model")
    assert status == 2
    assert "model: cannot be written (" in err
    assert sorted(os.listdir(".")) == ["data.npz"]
