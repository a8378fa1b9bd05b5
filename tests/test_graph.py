"""The graph is the one that real TensorFlow 1.15.5 builds from the joint listing."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from google.protobuf import text_format
from graph_versions import DIFFERENCES, as_written_by, node_differences

from tf1_mtl import InputError, build_graph

TRUTH = os.path.join(os.path.dirname(__file__), "truth")


@pytest.fixture(scope="module")
def recorded():
    with open(os.path.join(TRUTH, "graph-1.15.5.pbtxt")) as file:
        return text_format.Parse(file.read(), tf.GraphDef())


@pytest.fixture(scope="module")
def expected(recorded):
    """The recorded graph as the running TensorFlow would write it."""
    return as_written_by(tf.__version__, recorded)


@pytest.fixture(scope="module")
def net():
    return build_graph(np.random.RandomState(0))


def test_graph_is_that_of_1_15_5(net, expected):
    assert len(expected.node) == 216
    assert node_differences(expected, net.graph.as_graph_def()) == []


def test_every_single_change_of_the_graph_is_seen(net, expected):
    """Changes each name, op, device, input and attribute of all nodes in turn."""
    changes = 0
    for should, original in zip(expected.node, net.graph.as_graph_def().node):
        for what, changed in _each_change(original):
            found = node_differences(tf.GraphDef(node=[should]), tf.GraphDef(node=[changed]))
            assert len(found) == 1, f"{original.name}: {what}"
            changes += 1
    assert changes > 2000

    shorter = net.graph.as_graph_def()
    del shorter.node[-1]
    assert node_differences(expected, shorter) == ["215 nodes, should be 216"]


def _each_change(original):
    def copy():
        return tf.NodeDef.FromString(original.SerializeToString())

    for field in ("name", "op", "device"):
        changed = copy()
        setattr(changed, field, getattr(changed, field) + "x")
        yield field, changed
    for position in range(len(original.input)):
        changed = copy()
        changed.input[position] += "x"
        yield f"input {position}", changed
    for key in original.attr:
        changed = copy()
        changed.attr[key].placeholder = "other"  # a kind of value that no attribute has
        yield f"attribute {key} changed", changed
        changed = copy()
        del changed.attr[key]
        yield f"attribute {key} removed", changed
    changed = copy()
    changed.attr["_more"].b = True
    yield "attribute added", changed


def test_each_listed_difference_changes_the_recorded_graph(recorded):
    for difference in DIFFERENCES:
        changed = tf.GraphDef()
        changed.CopyFrom(recorded)
        difference.apply(changed)
        assert node_differences(recorded, changed), difference.name
    assert node_differences(recorded, as_written_by("1.15.5", recorded)) == []


def test_variables_and_their_kind():
    names = {}
    for variables, op in (("ref", "VariableV2"), ("resource", "VarHandleOp")):
        net = build_graph(variables=variables)
        with net.graph.as_default():
            names[variables] = [variable.op.name for variable in tf.global_variables()]
            assert {variable.op.type for variable in tf.global_variables()} == {op}
    assert names["ref"] == names["resource"]
    assert names["ref"] == [
        *("share_W", "share_Y1", "share_Y2"),
        *("beta1_power", "beta2_power", "share_W/Adam", "share_W/Adam_1"),
        *("share_Y1/Adam", "share_Y1/Adam_1", "share_Y2/Adam", "share_Y2/Adam_1"),
        *("beta1_power_1", "beta2_power_1", "share_W/Adam_2", "share_W/Adam_3"),
        *("share_Y1/Adam_2", "share_Y1/Adam_3"),
        *("beta1_power_2", "beta2_power_2", "share_W/Adam_4", "share_W/Adam_5"),
        *("share_Y2/Adam_2", "share_Y2/Adam_3"),
    ]


def test_weights_are_the_articles_draws():
    net = build_graph(np.random.RandomState(3))
    rng = np.random.RandomState(3)
    drawn = [rng.rand(*shape) for shape in ((10, 20), (20, 20), (20, 20))]
    variables = net.shared_layer_weights, net.Y1_layer_weights, net.Y2_layer_weights
    with tf.Session(graph=net.graph) as session:
        session.run(net.init)
        weights = session.run(variables)
    for got, expected in zip(weights, drawn):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected.astype(np.float32))


def test_without_rng_the_weights_come_from_numpys_global_stream():
    np.random.seed(5)
    net = build_graph()
    expected = np.random.RandomState(5).rand(10, 20).astype(np.float32)
    with tf.Session(graph=net.graph) as session:
        session.run(net.init)
        np.testing.assert_array_equal(session.run(net.shared_layer_weights), expected)


def test_names_sizes_and_handles():
    net = build_graph(batch=None, inputs=3, shared=4, tasks=(5, 6))
    shapes = {name: getattr(net, name).shape.as_list() for name in net._fields[1:13]}
    assert shapes == {
        "X": [None, 3],
        "Y1": [None, 5],
        "Y2": [None, 6],
        "shared_layer_weights": [3, 4],
        "Y1_layer_weights": [4, 5],
        "Y2_layer_weights": [4, 6],
        "shared_layer": [None, 4],
        "Y1_layer": [None, 5],
        "Y2_layer": [None, 6],
        "Y1_Loss": [],
        "Y2_Loss": [],
        "Joint_Loss": [],
    }
    assert [op.name for op in (net.Optimiser, net.Y1_op, net.Y2_op, net.init)] == [
        *("Adam", "Adam_1", "Adam_2", "init")
    ]


def test_learning_rate_reaches_all_three_optimizers():
    net = build_graph(learning_rate=0.25)
    constants = [n for n in net.graph.as_graph_def().node if n.name.endswith("learning_rate")]
    optimizers = ("Adam", "Adam_1", "Adam_2")
    assert [n.name for n in constants] == [f"{o}/learning_rate" for o in optimizers]
    assert all(n.attr["value"].tensor.float_val[0] == 0.25 for n in constants)


def test_graphs_live_side_by_side_and_leave_the_process_alone():
    before = tf.executing_eagerly()
    default = tf.get_default_graph() if not before else None
    first, second = build_graph(np.random.RandomState(0)), build_graph(np.random.RandomState(0))
    assert first.graph is not second.graph
    assert node_differences(first.graph.as_graph_def(), second.graph.as_graph_def()) == []
    assert tf.executing_eagerly() == before
    if before:
        import tensorflow as tf2

        assert float(tf2.Variable(2.0) * tf2.constant(3.0)) == 6.0
        assert type(tf2.Variable(2.0)).__name__ == "ResourceVariable"
    else:
        assert tf.get_default_graph() is default
        assert default.get_operations() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rng": 7}, "rng is a int, but should be a numpy.random.RandomState"),
        ({"rng": np.random}, "rng is a module, but should be a numpy.random.RandomState"),
        ({"batch": 0}, "batch is 0, but should be a whole number of at least 1"),
        ({"batch": 10**26}, "but should be a whole number of at least 1 and at most 2147483647"),
        ({"inputs": -3}, "inputs is -3, but should be a whole number"),
        ({"shared": 2.5}, "shared is 2.5, but should be a whole number"),
        ({"shared": True}, "shared is True, but should be a whole number"),
        ({"tasks": (20,)}, "tasks is (20,), but should be two sizes"),
        ({"tasks": 20}, "tasks is 20, but should be two sizes"),
        ({"tasks": "20"}, "tasks is '20', but should be two sizes"),
        ({"tasks": (20, 0)}, "tasks[1] is 0, but should be a whole number"),
        ({"variables": "eager"}, "variables is 'eager', but should be 'ref'"),
        ({"learning_rate": 0}, "learning_rate is 0, but should be a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, but should be a number above 0"),
        ({"learning_rate": float("inf")}, "learning_rate is inf, but should be a number above 0"),
        ({"learning_rate": 1e300}, "learning_rate is 1e+300, but should be a number above 0 that"),
        ({"learning_rate": 1e-300}, "learning_rate is 1e-300, but should be a number above 0 that"),
        ({"learning_rate": "0.1"}, "learning_rate is '0.1', but should be a number above 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError) as raised:
        build_graph(**arguments)
    assert message in str(raised.value)
