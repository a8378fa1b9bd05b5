"""The first four lessons run, say the truth, and build the graph that `build_graph` builds."""

import os
import runpy

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from tf1_mtl import build_graph, feeds, open_session, train
from tf1_mtl.graph_versions import node_differences

LESSONS = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "legacy_examples"
)


def lesson(name, capsys):
    """Runs a lesson by its path: (its globals, the lines it printed)."""
    before = tf.get_default_graph() if not tf.executing_eagerly() else None
    values = runpy.run_path(os.path.join(LESSONS, name))
    if before is not None:
        assert before.get_operations() == []  # nothing was added outside its own graph
    return values, capsys.readouterr().out.splitlines()


def test_every_lesson_is_short_and_stands_alone():
    names = sorted(name for name in os.listdir(LESSONS) if name.endswith(".py"))
    assert [name[:2] for name in names] == [f"{number}_" for number in range(1, len(names) + 1)]
    for name in names:
        with open(os.path.join(LESSONS, name)) as file:
            source = file.read()
        assert len(source.splitlines()) < 100, name
        assert "# %%" in source
        assert "tf1_mtl" not in source
        assert "Differs from the published listing" in source
        assert f"Run it: python legacy_examples/{name}" in source.replace("\n", " ")


def test_1_first_graph(capsys):
    values, out = lesson("1_first_graph.py", capsys)
    rng = np.random.RandomState(1)
    rng.rand(10, 10)
    y = rng.rand(10, 1).astype(np.float32)
    np.testing.assert_array_equal(values["Model_Loss"], y * y)
    assert values["Model_Loss"].dtype == np.float32
    assert out[0].startswith('Loss is Tensor("Loss:0", shape=(10, 1), dtype=float32)')
    assert (
        "X, Y, W/initial_value, W, W/Assign, W/read, MatMul, Neg, Add, Loss/y, Loss, init"
        in out[1].replace("AddV2", "Add")
    )
    assert out[2] == "Fetched: float32 (10, 1)"
    assert out[-1] == "Is y * y: True"


def test_2_shared_layer(capsys):
    _, out = lesson("2_shared_layer.py", capsys)
    assert out[0] == "216 nodes, from X to init"
    assert out[1] == "Some of them: MatMul, Relu, L2Loss, L2Loss_1"
    assert out[2].startswith('shared_layer is Tensor("Relu:0", shape=(10, 20), dtype=float32)')
    assert out[3:] == [
        "Variables without a value: 23",
        "After the initializer:     0",
        "share_W is what NumPy drew: True",
    ]


@pytest.mark.parametrize(
    ("name", "seed"),
    [("2_shared_layer.py", 2), ("3_alternate_training.py", 3), ("4_joint_training.py", 4)],
)
def test_the_graphs_are_build_graphs(capsys, name, seed):
    graph = lesson(name, capsys)[0]["graph"]
    own = build_graph(np.random.RandomState(seed)).graph.as_graph_def()
    built = graph.as_graph_def()
    # Lesson 2 looks at the variables afterwards, with nodes that it adds in its session.
    del built.node[len(own.node) :]
    assert node_differences(own, built) == []


def test_3_alternate_training(capsys):
    _, out = lesson("3_alternate_training.py", capsys)
    rng = np.random.RandomState(3)
    net = build_graph(rng)
    with open_session(net) as session:
        session.run(net.init)
        batches = feeds.alternate(feeds.article_draw(rng), rng)
        steps = [f"{step.step} {step.task} {step.loss!s}" for step in train(net, session, batches)]
    assert out == steps
    assert {line.split()[1] for line in out} == {"Y1", "Y2"}


def test_4_joint_training(capsys):
    _, out = lesson("4_joint_training.py", capsys)
    rng = np.random.RandomState(4)
    net = build_graph(rng)
    with open_session(net) as session:
        session.run(net.init)
        batches = feeds.joint(feeds.article_draw(rng), 3)
        joint = [step.loss for step in train(net, session, batches)]
    for line, loss in zip(out, joint):
        whole, first, second = (np.float32(word) for word in line[8:].replace("=", "+").split("+ "))
        assert whole == loss == first + second
    assert len(out) == 3
