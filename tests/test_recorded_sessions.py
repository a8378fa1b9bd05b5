"""What a recording holds of any training script: its graph, its tasks, the random values it used.

A check evaluates a recorded graph again, so the recording must be complete and must not disturb.
"""

import threading

import numpy as np
import pytest
import random_graphs
import tensorflow.compat.v1 as tf
from sampling import RUNTIME, one_in

from tf1_mtl.baseline import load_recording, recording
from tf1_mtl.baseline.recorded_graph import needed_nodes, node_and_output
from tf1_mtl.baseline.tasks import is_source
from tf1_mtl.errors import InputError

REAL_TF1 = tf.__version__.startswith("1.")
each_graph = pytest.mark.parametrize(
    "build", one_in(3, random_graphs.ALL, RUNTIME), ids=lambda build: build.__name__
)
# Sources that each graph uses outside of loops and branches, in the order of their names.
SOURCES = {
    "dropout": ["RandomUniform", "RandomUniform"],
    "convolution": ["RandomStandardNormal", "RandomUniform"],
    "sampled_words": ["LogUniformCandidateSampler"] * 3,
    "iterator": ["IteratorGetNext", "IteratorGetNext", "RandomUniform"],
    "queue": ["QueueDequeueManyV2", "QueueDequeueManyV2"],
    "loop": ["RandomStandardNormal"],
    "branch": ["RandomUniform"],
    "many_kinds": [
        *("Multinomial", "PyFunc", "RandomGamma", "RandomShuffle", "RandomUniform"),
        *("RandomUniformInt", "StatelessRandomUniform", "TruncatedNormal"),
    ],
}


def loaded(path):
    """Returns a recording, and its only session that trains."""
    recorded = load_recording(path)
    (session,) = recorded.sessions.values()
    return recorded, session


@each_graph
def test_recording_changes_no_bit_where_random_values_are_fetched_too(path, build):
    plain = random_graphs.train(build)
    with recording(path):
        recorded = random_graphs.train(build)
    for value, recorded_value in zip(plain, recorded):
        assert np.array_equal(value, recorded_value)

    recorded, session = loaded(path)
    steps = recorded.steps()
    assert len(steps) == 4
    assert [run.loss for run in steps] == plain[:4]
    for run in steps:
        ops = [session.graph.nodes[node_and_output(name)[0]].op for name in run.outputs]
        found = sorted(op[:-2] if op.endswith("FormV2") else op for op in ops)
        if not REAL_TF1:  # it draws stateless numbers in two steps
            found = [op.replace("UniformV2", "Uniform") for op in found if "GetKey" not in op]
        assert found == SOURCES[build.__name__]


def test_the_recorded_values_are_those_that_the_run_used(path):
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        weight = tf.Variable(1.0, use_resource=True)
        noise = tf.random_normal([3], name="noise")
        loss = tf.reduce_sum(weight * noise)
        step = tf.train.GradientDescentOptimizer(1.0).minimize(loss)
        session.run(tf.global_variables_initializer())
        losses = [session.run([step, loss])[1] for _ in range(3)]
    initializer, *runs = load_recording(path).runs
    assert initializer.outputs == {}
    before = np.float32(1)
    for run, recorded_loss in zip(runs, losses):
        ((name, drawn),) = run.outputs.items()
        assert name == "noise/RandomStandardNormal"
        assert np.isclose((before * drawn).sum(), recorded_loss, rtol=1e-6)
        (before,) = run.variables.values()


@each_graph
def test_the_graph_is_recorded_whole(path, build):
    with recording(path):
        random_graphs.train(build, steps=1)
    _, session = loaded(path)
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(11)
        build()
        tf.global_variables_initializer()
        operations = graph.get_operations()
        variables = [variable.op.name for variable in tf.global_variables()]
    recorded = session.graph
    assert [(op.name, op.type) for op in operations] == [
        (node.name, node.op) for node in recorded.nodes.values()
    ]
    for op in operations:
        node = recorded.nodes[op.name]
        inputs = [node_and_output(tensor) for tensor in node.data_inputs]
        assert inputs == [(tensor.op.name, tensor.value_index) for tensor in op.inputs]
        assert sorted(node.control_inputs) == sorted(before.name for before in op.control_inputs)
        if op.type == "Const" and op.outputs[0].dtype != tf.string:
            value = tf.make_ndarray(op.get_attr("value"))
            np.testing.assert_array_equal(node.attributes["value"], value)
    assert [variable.name for variable in session.variables] == variables
    for function in recorded.functions.values():
        assert set(function.arguments) <= set(function.nodes)
        needed_nodes(function.nodes, [*function.results, *function.control_results])
        called = [f for node in function.nodes.values() for f in _functions(node)]
        assert set(called) <= set(recorded.functions)


def _functions(node):
    return [x["function"] for x in node.attributes.values() if isinstance(x, dict)]


def test_functions_of_control_flow_have_tensors_named_as_in_a_graph(path):
    if not getattr(tf, "control_flow_v2_enabled", bool)():
        pytest.skip("this TensorFlow builds loops without functions")
    with recording(path):
        random_graphs.train(random_graphs.loop, steps=1)
    _, session = loaded(path)
    (loop,) = (x for x in session.graph.nodes.values() if x.op == "While" and "grad" not in x.name)
    body = session.graph.functions[loop.attributes["body"]["function"]]
    assert len(body.arguments) == len(body.results) == len(loop.data_inputs)
    pushes = [node for node in body.nodes.values() if node.op == "TensorListPushBack"]
    assert pushes
    for node in pushes:  # (list, value) and not (list:output_handle:0, value:product:0)
        assert all(tensor.partition(":")[0] in body.nodes for tensor in node.data_inputs)


def test_tasks_are_named_after_what_trains(path):
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [2], "x")
        w, v = (tf.Variable([1.0, 2.0], name=name, use_resource=False) for name in "wv")
        rate = tf.Variable(0.1, name="rate", trainable=False, use_resource=False)
        with tf.variable_scope("", use_resource=False):
            _, update_accuracy = tf.metrics.mean(x, name="accuracy")
        loss = tf.reduce_sum(tf.square(w * x), name="loss")
        sgd = tf.train.GradientDescentOptimizer(0.1)
        count = tf.train.get_or_create_global_step()
        step = sgd.minimize(loss, count, [w], name="step_w")
        other = sgd.minimize(tf.reduce_sum(v * x), var_list=[v], name="step_v")
        by_hand = tf.assign_sub(v, rate * tf.gradients(loss, w)[0], name="by_hand")
        copy = tf.assign(v, w, name="copy")
        with tf.control_dependencies([step]):
            late_loss = tf.identity(loss, name="late_loss")
        runs = [
            ("", [loss]),
            ("", [tf.assign_add(count, 1), tf.assign(rate, 0.2)]),  # of constants alone
            ("", [update_accuracy]),
            ("", [w.initializer]),
            ("step_w", [step, loss]),
            ("step_v+step_w", {"a": [step], "b": (other, loss)}),
            ("late_loss", late_loss),
            ("by_hand", [by_hand]),
            ("copy", copy),
            ("group", tf.group(step, other, name="group")),
        ]
        saver = tf.train.Saver([w, v])
        checkpoint = path + ".ckpt"
        with recording(path), tf.Session() as session:
            session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
            for _, fetches in runs:
                session.run(fetches, {x: [1, 2]})
            saver.restore(session, saver.save(session, checkpoint, write_meta_graph=False))
    recorded, session = loaded(path)
    assert [run.task for run in recorded.runs] == ["", *(task for task, _ in runs), "", ""]
    assert np.array_equal(session.initial["w"], [1, 2])
    assert session.initial["rate"] == np.float32(0.2)
    assert recorded.steps()[0].fetches == ("step_w", "loss")
    assert repr(recorded.steps()[0]).startswith(
        "Run('step_w'; fetches step_w, loss; feeds x; loss 17.0; "
    )


def test_a_graph_that_grows_between_steps_is_recorded_with_its_new_nodes(path):
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        w = tf.Variable(1.0, name="w", use_resource=True)
        x = tf.placeholder(tf.float32, [], "x")
        session.run(w.initializer)
        for name in ("first", "second"):
            step = tf.train.GradientDescentOptimizer(0.1).minimize(w * x, name=name)
            session.run(step, {x: 2})
    recorded, session = loaded(path)
    assert [run.task for run in recorded.steps()] == ["first", "second"]
    assert {"first", "second"} <= set(session.graph.nodes)
    assert list(session.graph.nodes) == [op.name for op in w.graph.get_operations()]


def test_runs_that_overlap_have_no_task_and_no_result_of_their_own(path):
    entered, leave = threading.Event(), threading.Event()

    def wait(value):
        entered.set()
        leave.wait(60)
        return value

    with tf.Graph().as_default() as graph:
        w = tf.Variable(1.0, name="w", use_resource=False)
        x = tf.placeholder(tf.float32, [], "x")
        slow = tf.assign_add(w, tf.py_func(wait, [x], tf.float32, name="source"), name="slow")
        fast = tf.assign_add(w, x, name="fast")
        with recording(path), tf.Session(graph=graph) as session:
            session.run(w.initializer)
            session.run(fast, {x: 1})
            thread = threading.Thread(target=session.run, args=(slow, {x: 10}))
            thread.start()
            assert entered.wait(60)
            session.run(fast, {x: 100})
            leave.set()
            thread.join()
            session.run(fast, {x: 1000})
    _, *runs = load_recording(path).runs
    assert [run.task for run in runs] == ["fast", "", "", "fast"]
    assert [run.fetches for run in runs] == [("fast",), ("fast",), ("slow",), ("fast",)]
    assert runs[1].variables is None
    assert [float(run.variables["w"]) for run in (runs[0], *runs[2:])] == [2, 112, 1112]


def test_threads_that_make_a_graph_grow_are_recorded_right(path):
    with tf.Graph().as_default() as graph, recording(path), tf.Session() as session:
        x = tf.placeholder(tf.float32, [], "x")
        w = tf.Variable(0.0, name="w", use_resource=True)
        step = w.assign_add(x, name="step")
        session.run(w.initializer)
        lock = threading.Lock()

        def work(number):
            for _ in range(6):
                with lock, graph.as_default():  # a tf.Graph is built by one thread at a time
                    fetch = tf.add(x, float(number))
                assert session.run(fetch, {x: 1}) == 1 + number

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        session.run(step, {x: 1})
        for thread in threads:
            thread.join()
    runs = load_recording(path).runs
    assert len(runs) == 26
    assert len(load_recording(path).steps()) == 1
    for run in runs:
        if any(name.startswith("Add") for name in run.fetches):
            assert len(run.fetched) == 1
            assert run.feeds["x"] == 1


@pytest.mark.parametrize("trains", [False, True])
def test_wrong_arguments_raise_what_tensorflow_raises(path, trains):
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [2], "x")
        w = tf.Variable([1.0, 2.0], use_resource=False)
        loss = tf.reduce_sum(w * x * tf.random_uniform([2]))
        fetch = tf.train.GradientDescentOptimizer(0.1).minimize(loss) if trains else loss
        wrong_feeds = [
            *(5, [1], {5: 1}, {"missing:0": 1}, {x: object()}, {x: x}, {x: [1, 2, 3]}),
            *({x: "text"}, {(x, x): (1,)}, {}),
        ]
        wrong_fetches = [5, [fetch, None], "missing", {"a": [fetch, 5]}]
        arguments = [(fetch, feed) for feed in wrong_feeds]
        arguments += [(None, None), *((fetches, {x: [1, 2]}) for fetches in wrong_fetches)]

        def errors():
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                for fetches, feed_dict in arguments:
                    with pytest.raises(Exception) as caught:
                        session.run(fetches, feed_dict)
                    yield type(caught.value), str(caught.value).split("\n")[0]

        plain = list(errors())
        with recording(path):
            recorded = list(errors())
    assert recorded == plain
    _, *runs = load_recording(path).runs
    assert [run.error.partition(":")[0] for run in runs] == [kind.__name__ for kind, _ in plain]


def test_beyond_the_limit_only_fetched_values_are_kept(path):
    def train(limit_mb):
        with tf.Graph().as_default(), recording(path, limit_mb=limit_mb) as recorder:
            x = tf.placeholder(tf.float32, [1000], "x")
            w = tf.Variable(np.zeros(1000, np.float32), name="w", use_resource=False)
            loss = tf.reduce_sum(tf.square(w - x * tf.random_uniform([])))
            step = tf.train.GradientDescentOptimizer(0.1).minimize(loss, name="step")
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                for i in range(20):
                    session.run([step, loss], {x: np.full(1000, i)})
        return recorder.first_run_without_state, load_recording(path)

    assert train(limit_mb=1)[0] is None
    stopped, recorded = train(limit_mb=0.06)  # a step takes 8 kB
    assert 3 < stopped < 10
    assert recorded.first_run_without_state == stopped
    assert len(recorded.runs) == 21
    assert len(recorded.steps()) == stopped - 1
    for number, run in enumerate(recorded.runs[1:], 1):
        assert run.task == "step"
        assert run.loss is not None
        kept = (run.variables is not None, bool(run.feeds), bool(run.outputs))
        assert kept == (number < stopped,) * 3
    stopped, recorded = train(limit_mb=0)
    assert (stopped, recorded.steps(), len(recorded.runs)) == (0, (), 21)
    assert recorded.sessions == {}
    for limit in (-1, float("nan")):
        with pytest.raises(InputError, match="limit_mb is"):
            train(limit)


def test_sources_are_told_from_what_only_looks_like_them():
    sources = ("RandomUniform", "TruncatedNormal", "IteratorGetNext", "QueueDequeueV2")
    alike = ("RandomShuffleQueueV2", "RandomDataset", "QueueEnqueueV2", "TruncateDiv", "Iterator")
    for op in (*sources, *alike):
        assert is_source(op) == (op in sources)
