"""Conditions and loops of v1 and v2 control flow, and their gradients, against TensorFlow."""

import contextlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from evaluated_training import Training
from operation_cases import VERSION, Case, Results, normal_numbers

from tf1_mtl.baseline.error_bounds import ErrorBounded
from tf1_mtl.baseline.evaluator import Plan, UnknownOperation
from tf1_mtl.baseline.graph_def import recorded_graph
from tf1_mtl.baseline.recorded_graph import Node, RecordedGraph
from tf1_mtl.errors import InputError

RNG = np.random.RandomState(0)
normal = normal_numbers(RNG)


def powers(x, n):
    """Returns x^(2^n), by a loop."""
    return tf.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * y), (0, x))[1]


def nested(x, n):
    def inner(i, y):
        return tf.while_loop(
            lambda j, z: j < i + 1, lambda j, z: (j + 1, tf.tanh(z) + x * 0.1), (0, y)
        )[1]

    return tf.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, inner(i, y)), (0, x))[1]


def with_condition(x, n):
    def body(i, y):
        y = tf.cond(tf.equal(i % 2, 0), lambda: y * 2 + x, lambda: tf.sin(y))
        return i + 1, y

    return tf.while_loop(lambda i, y: i < n, body, (0, x))[1]


def until_small(x):
    return tf.while_loop(lambda y: tf.reduce_sum(y * y) > 0.5, lambda y: (y / 2,), (x,))


def with_arrays(x, n):
    inputs = tf.TensorArray(tf.float32, 4, clear_after_read=False).unstack(x)
    outputs = tf.TensorArray(
        tf.float32, 0, dynamic_size=True, element_shape=[3], clear_after_read=False
    )

    def body(i, state, outputs):
        state = tf.tanh(inputs.read(i) + state * inputs.read(3 - i))
        return i + 1, state, outputs.write(i, state)

    state = tf.while_loop(lambda i, *_: i < n, body, (0, tf.zeros([3]), outputs))
    return [state[1], state[2].stack(), state[2].gather([1, 0, 1])]


def scans(x):
    return [
        tf.scan(lambda a, b: tf.tanh(a + b), x),
        tf.map_fn(lambda a: a * a, x),
        tf.foldl(lambda a, b: a * 0.5 + b, x),
    ]


def array_pieces(x):
    array = tf.TensorArray(tf.float32, 3, infer_shape=False, clear_after_read=False).split(
        x, [1, 1, 2]
    )
    return [array.concat(), array.read(2)[:1], tf.reshape(array.size(), [])]


def branches(x):
    return [
        tf.cond(tf.reduce_sum(x) > 0, lambda: x * 2, lambda: tf.exp(x)),
        tf.cond(
            x[0, 0] > 100, lambda: x * 2, lambda: tf.cond(x[0, 1] > -100, lambda: x + 1, lambda: x)
        ),
        tf.case([(x[0, 0] > 100, lambda: x * 3), (x[0, 0] > -100, lambda: x * 4)], lambda: x),
    ]


def cases():
    x, n = normal(4, 3) / 2, np.array(3, np.int32)
    yield Case("powers", powers, x, n)
    yield Case("no_iteration", powers, x, np.array(0, np.int32))
    yield Case("nested", nested, x, n)
    yield Case("with_condition", with_condition, x, n, loose=True)
    yield Case("until_small", until_small, x)
    yield Case("with_arrays", with_arrays, x, n, loose=True)
    yield Case("scans", scans, x, loose=True)
    yield Case("array_pieces", array_pieces, x)
    yield Case("branches", branches, x)


CASES = list(cases())


@contextlib.contextmanager
def control_flow(kind):
    """Builds with control flow "v1" or "v2"."""
    if VERSION < (1, 15):
        yield
        return
    was_v2 = tf.control_flow_v2_enabled()
    (tf.enable_control_flow_v2 if kind == "v2" else tf.disable_control_flow_v2)()
    try:
        yield
    finally:
        (tf.enable_control_flow_v2 if was_v2 else tf.disable_control_flow_v2)()


@pytest.fixture(scope="module", params=["v1", "v2"])
def results(request):
    """Builds all cases with control flow of v1, or of v2."""
    if request.param == "v2" and VERSION < (1, 15):
        pytest.skip("TensorFlow has control flow v2 from 1.15 on")
    with control_flow(request.param):
        return Results(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_control_flow_agrees_with_tensorflow(results, case):
    results.check(case)


def planned(build, feeds):
    graph = tf.Graph()
    with graph.as_default():
        tensor = build()
    return Plan(recorded_graph(graph, tf), [tensor.name], feeds)


def test_an_open_condition_gives_infinite_errors():
    """The branch of the value is taken, and nothing is claimed about the result."""

    def build():
        x = tf.placeholder(tf.float32, [], name="x")
        return tf.cond(x > 1, lambda: x * 2, lambda: x * 3)

    plan = planned(build, ["x"])
    sure, open_ = (plan.run({"x": ErrorBounded(1.5, e)}, {}) for e in (0.1, 1.0))
    (value,) = sure.values.values()
    assert value.value == 3 and value.error < 0.3
    (value,) = open_.values.values()
    assert value.value == 3 and np.isinf(value.error)


def test_a_branch_that_is_not_taken_may_need_what_the_table_has_not():
    def build():
        x = tf.placeholder(tf.float32, [2, 2], name="x")
        return tf.cond(x[0, 0] > 1, lambda: tf.matrix_inverse(x), lambda: x * 3)

    plan = planned(build, ["x"])
    assert plan.run({"x": np.zeros((2, 2))}, {})
    with pytest.raises(UnknownOperation, match="MatrixInverse"):
        plan.run({"x": np.ones((2, 2)) * 2}, {})


def test_random_numbers_in_a_loop_have_to_be_fed():
    def build():
        def body(i, y):
            return i + 1, y + tf.random_uniform([])

        return tf.while_loop(lambda i, y: i < 2, body, (0, 0.0))[1]

    with pytest.raises(InputError, match="RandomUniform gives, and it is not fed"):
        planned(build, []).run({}, {})


def test_a_placeholder_has_to_be_fed():
    graph = RecordedGraph({"x": Node("x", "Placeholder", (), {"dtype": "float32"})})
    with pytest.raises(InputError, match=r"node 'x'.*Placeholder.*not fed"):
        Plan(graph, ["x"]).run({}, {})
    with pytest.raises(InputError, match="feed 'x': not given"):
        Plan(graph, ["x"], ["x"]).run({}, {})


def test_an_unknown_operation_is_named():
    graph = RecordedGraph({"a": Node("a", "Strange", ())})
    with pytest.raises(UnknownOperation, match=r"node 'a'.*Strange.*Add @gives\(\"Strange\"\)"):
        Plan(graph, ["a"])


def build_training_in_a_loop():
    """Trains three steps in one run, on ref variables, as v1 control flow can."""
    X = tf.placeholder(tf.float32, [4, 3])
    W = tf.get_variable("W", initializer=normal(3, 2), use_resource=False)
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9)

    def body(i, _):
        with tf.control_dependencies([i]):
            loss = tf.reduce_mean(tf.square(tf.matmul(X, W) - 1.0))
            train = optimizer.minimize(loss, var_list=[W])
        with tf.control_dependencies([train, loss]):
            return i + 1, tf.identity(loss)

    last = tf.while_loop(lambda i, _: i < 3, body, (0, 0.0), parallel_iterations=1)[1]
    rng = np.random.RandomState(3)
    return {"loss": last}, lambda step: {X: rng.randn(4, 3)}


def build_training_under_conditions(is_resource):
    """Trains one of two optimizers by a condition, and counts in the other branch."""
    X = tf.placeholder(tf.float32, [4, 3])
    with tf.variable_scope("", use_resource=is_resource):
        W = tf.get_variable("W", initializer=normal(3, 2))
        counter = tf.get_variable("counter", initializer=np.int64(0))
    loss = tf.reduce_mean(tf.square(tf.matmul(X, W) - 1.0))
    gradient = tf.gradients(loss, W)[0]
    with tf.control_dependencies([loss, gradient]):
        train = tf.cond(
            X[0, 0] > 0,
            lambda: tf.assign_sub(W, 0.1 * gradient),
            lambda: tf.assign(W, W * 0.5),
        )
    count = tf.cond(X[0, 0] > 0, lambda: tf.assign_add(counter, 1), lambda: counter + 0)
    rng = np.random.RandomState(3)
    return {"loss": loss, "train": train.op, "count": count.op}, lambda step: {X: rng.randn(4, 3)}


def test_training_in_a_loop():
    with control_flow("v1"):
        Training(build_training_in_a_loop).check()


@pytest.mark.parametrize("is_resource", [False, True], ids=["ref", "resource"])
def test_training_under_conditions(is_resource):
    with control_flow("v1"):
        Training(lambda: build_training_under_conditions(is_resource)).check()
