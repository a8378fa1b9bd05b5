"""Compares what `explain` reports about a run with what the run really did."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import assert_holds, done, refused, result
from sampling import slow

from tf1_mtl import InputError, build_graph
from tf1_mtl.graph_reader import needed
from tf1_mtl.teaching import explain
from tf1_mtl.teaching.anatomy import cpu_config, trace


def listing_with_default_variables():
    """Builds the two-task listing with the default kind of variables of this TensorFlow."""
    with tf.Graph().as_default() as graph:
        X = tf.placeholder("float", [10, 10], name="X")
        labels = [tf.placeholder("float", [10, 20], name=name) for name in ("Y1", "Y2")]
        W = tf.Variable(np.random.rand(10, 20), name="share_W", dtype="float32")
        shared_layer = tf.nn.relu(tf.matmul(X, W))
        losses = []
        for label in labels:
            V = tf.Variable(np.random.rand(20, 20), name="own", dtype="float32")
            losses.append(tf.nn.l2_loss(label - tf.nn.relu(tf.matmul(shared_layer, V))))
        for loss in (losses[0] + losses[1], *losses):
            tf.train.AdamOptimizer().minimize(loss)
        tf.global_variables_initializer()
    return graph


def the_graph(variables):
    if variables == "default":
        return listing_with_default_variables()
    return build_graph(np.random.RandomState(0), variables=variables).graph


@pytest.mark.parametrize("variables", [slow("ref"), "resource", slow("default")])
def test_planned_is_measured_for_every_fetch_of_the_graph(variables):
    graph = the_graph(variables)
    rng = np.random.RandomState(1)
    feeds = {
        op.outputs[0]: rng.rand(*op.outputs[0].shape.as_list()) * 10
        for op in graph.get_operations()
        if op.type == "Placeholder"
    }
    cannot_run, compared = [], 0
    with tf.Session(graph=graph, config=cpu_config(as_written=True)) as session:
        session.run("init")
        for op in graph.get_operations():
            for fetch in (op, *op.outputs):
                planned = {node.name for node in needed([fetch], feeds)}
                try:
                    assert set(trace(session, [fetch], feeds)) == planned, fetch.name
                    compared += 1
                except tf.errors.InvalidArgumentError:
                    cannot_run.append(fetch.name)
    # Feeding a placeholder gives its tensor a value. Its operation cannot run even then.
    assert cannot_run == ["X", "Y1", "Y2"]
    nodes = len(graph.get_operations())
    assert variables != "ref" or nodes == 216
    assert compared == sum(1 + len(op.outputs) for op in graph.get_operations()) - 3


@pytest.fixture(scope="module", params=["ref", slow("resource")])
def net(request):
    return build_graph(np.random.RandomState(0), variables=request.param)


TASK_1 = ["share_W", "share_Y1"]
TASK_1_SLOTS = ["share_W/Adam_2", "share_W/Adam_3", "share_Y1/Adam_2", "share_Y1/Adam_3"]


def test_a_step_of_task_1(net):
    found = explain(["Y1_op", "Y1_Loss"], graph=net)
    assert found.fetches == ("Y1_op", "Y1_Loss")
    assert found.agrees and found.measured == found.planned
    assert (found.must_feed, found.not_needed) == (("X", "Y1"), ("Y2",))
    own = ["beta1_power_1", "beta2_power_1"]
    assert sorted(found.reads) == sorted(TASK_1 + TASK_1_SLOTS + own)
    assert found.reads == found.writes == found.changed
    apply = "ApplyAdam" if net.shared_layer_weights.dtype._is_ref_dtype else "ResourceApplyAdam"
    assert found.written_by["share_W/Adam_2"] == (f"Adam_1/update_share_W/{apply}",)
    assert set(found.written_by) == set(found.writes)
    assert not any("share_Y2" in name or "MatMul_2" in name for name in found.measured)


@pytest.mark.parametrize(
    "fetches,must_feed",
    [
        (["Optimiser", "Joint_Loss"], ("X", "Y1", "Y2")),
        (["Y2_op"], ("X", "Y2")),
        (["Y2_Loss"], ("X", "Y2")),
        (["shared_layer"], ("X",)),
        (["shared_layer_weights"], ()),
        (["init"], ()),
        (["X"], ("X",)),
    ],
)
def test_what_must_be_fed(net, fetches, must_feed):
    found = explain(fetches, graph=net)
    assert found.must_feed == must_feed
    assert set(found.must_feed) | set(found.not_needed) == {"X", "Y1", "Y2"}
    assert found.agrees
    enough = explain(fetches, feeds=must_feed, graph=net)
    assert (enough.error, enough.measured) == (None, found.measured)
    for name in must_feed:
        short = explain(fetches, feeds=[p for p in must_feed if p != name], graph=net)
        words = f"You must feed a value for placeholder tensor '{name}' with dtype float"
        assert short.error.startswith(words) and short.error in str(short)
        assert (short.measured, short.agrees, short.must_feed) == (None, False, must_feed)


def test_reading_changes_nothing(net):
    found = explain("Y1_Loss", graph=net)
    assert (found.writes, found.written_by, found.changed) == ((), {}, ())
    assert found.reads == ("share_W", "share_Y1")


def test_a_variable_is_fetched_by_its_name_or_as_an_object(net):
    for fetch in (net.shared_layer_weights, "share_W", "share_W:0", "shared_layer_weights"):
        found = explain(fetch, graph=net)
        assert (found.fetches, found.reads) == (("share_W",), ("share_W",))
        assert found.agrees and found.error is None


def test_the_initializer_overwrites_without_reading(net):
    found = explain("init", graph=net)
    assert len(found.variables) == 23
    assert (found.reads, found.writes) == ((), found.variables)
    # Initial values over the same initial values.
    assert (found.changed, found.rewritten) == ((), found.variables)
    lines = str(found).splitlines()
    assert [line for line in lines if line.startswith("changed")] == []
    assert any(line.startswith("written, same value share_W, share_Y1,") for line in lines)
    assert "the same bits after none" in lines
    assert found.as_json()["rewritten"] == found.variables


def test_several_writers_of_one_variable_have_no_order(net):
    found = explain(["Y1_op", "Y2_op", "Optimiser"], graph=net)
    writers = {name: len(ops) for name, ops in found.unordered.items()}
    assert writers == {"share_W": 3, "share_Y1": 2, "share_Y2": 2}
    warning = next(line for line in str(found).split("\n\n") if line.startswith("Warning: "))
    assert_holds(" ".join(warning.split()), "share_W by 3 operations", "order is undefined")
    assert explain(["Y1_op", "Y1_Loss"], graph=net).unordered == {}
    assert "Warning" not in str(explain("Optimiser", graph=net))
    assert "share_W" in explain(["init", "Y1_op"], graph=net).unordered


def test_writers_that_are_ordered_are_no_cause_for_a_warning():
    with tf.Graph().as_default() as graph:
        counter = tf.get_variable("counter", [], use_resource=False)
        first = tf.assign(counter, 1.0, name="first")
        with tf.control_dependencies([first]):
            tf.assign_add(counter, 1.0, name="second")
        tf.assign_add(counter, 1.0, name="third")
    assert explain(["first", "second"], graph=graph).unordered == {}
    assert explain(["first", "third"], graph=graph).unordered == {"counter": ("first", "third")}


def test_feeding_a_tensor_halfway_cuts_off_what_makes_it(net):
    found = explain("Y1_Loss", feeds=["shared_layer", "Y1"], graph=net)
    assert found.agrees and "X" in found.not_needed
    assert (found.must_feed, found.reads) == (("Y1",), ("share_Y1",))
    assert not {"Relu", "MatMul"} & set(found.measured)


def test_the_callers_session_is_only_read(net):
    variables = net.graph.get_collection("variables")
    feeds = {
        tensor: np.random.RandomState(3).rand(*tensor.shape.as_list())
        for tensor in (net.X, net.Y1, net.Y2)
    }
    with tf.Session(graph=net.graph) as session:
        session.run(net.init)
        session.run(net.Optimiser, feeds)
        before = [value.tobytes() for value in session.run(variables)]
        nodes = len(net.graph.get_operations())
        found = explain(["Optimiser", "Joint_Loss"], feeds, session=session, graph=net)
        assert len(found.changed) == 11
        assert [value.tobytes() for value in session.run(variables)] == before
        assert len(net.graph.get_operations()) == nodes
        # The values are those of the session, since they are not the initial ones any more.
        assert set(explain("init", session=session, graph=net).changed) == set(found.changed)


def test_a_session_with_uninitialized_variables_is_explained_as_it_is(net):
    with tf.Session(graph=net.graph) as session:
        session.run(net.shared_layer_weights.initializer)
        assert explain("shared_layer", session=session, graph=net).error is None
        found = explain("Y1_layer", session=session, graph=net)
        assert "share_Y1" in found.error
        assert found.measured is None


def test_what_the_graph_optimizer_removes(net):
    found = explain(["Y1_op", "Y1_Loss"], graph=net)
    assert set(found.removed_by_optimizer) < set(found.measured)
    # The gradient with respect to X, which nothing uses: computed as written, dropped by default.
    assert "gradients_1/MatMul_grad/MatMul" in found.removed_by_optimizer
    assert not {"Adam_1", "L2Loss", "MatMul", "Relu"} & set(found.removed_by_optimizer)


def test_a_node_more_is_seen():
    net = build_graph(np.random.RandomState(0))
    before = explain("Y1_Loss", graph=net)
    with net.graph.as_default(), tf.control_dependencies([net.Y2_layer]):
        more = tf.identity(net.Y1_Loss, name="more")
    after = explain(more, graph=net)
    assert after.agrees
    new = ["share_Y2", "share_Y2/read", "MatMul_2", "Relu_2", "more"]
    assert sorted(after.planned) == sorted([*before.planned, *new])
    assert "share_Y2" in after.reads


def test_a_cut_edge_is_seen():
    net = build_graph(np.random.RandomState(0))
    whole = explain("L2Loss", graph=net.graph)
    definition = net.graph.as_graph_def()
    subtraction = next(node for node in definition.node if node.name == "sub")
    assert list(subtraction.input) == ["Y1", "Relu_1"]
    subtraction.input[1] = "Y1"
    with tf.Graph().as_default() as cut:
        tf.import_graph_def(definition, name="")
    found = explain("L2Loss", graph=cut)
    assert (whole.must_feed, found.must_feed) == (("X", "Y1"), ("Y1",))
    assert found.measured == found.planned == ("sub", "L2Loss")


def test_a_step_counter_is_written_but_no_part_of_the_optimizer():
    with tf.Graph().as_default() as graph:
        weight = tf.get_variable("weight", [3], use_resource=False)
        loss = tf.nn.l2_loss(weight - tf.placeholder(tf.float32, [3], name="x"))
        counter = tf.train.get_or_create_global_step()
        step = tf.train.AdamOptimizer().minimize(loss, global_step=counter)
    found = explain(step, graph=graph)
    assert found.agrees
    assert found.written_by["global_step"] == ("Adam",)
    assert found.changed == found.writes
    assert "global_step" not in found.groups["optimizer Adam"]
    assert "weight/Adam" in found.groups["optimizer Adam"]


def test_any_graph_with_control_flow_and_other_variables():
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, 3], name="x")
        which = tf.placeholder(tf.bool, [], name="which")
        counter = tf.get_variable("counter", [], tf.int32, tf.zeros_initializer())
        weights = tf.get_variable("weights", [3], use_resource=True)
        value = tf.reduce_sum(x * weights, name="value")
        tf.cond(which, lambda: value * 2.0, lambda: value * 3.0)
        count = tf.assign_add(counter, 1)
    found = explain([count, "value"], graph=graph)
    assert found.agrees
    assert (found.must_feed, found.not_needed) == (("x",), ("which",))
    assert set(found.writes) == set(found.changed) == {"counter"}
    assert set(found.reads) == {"counter", "weights"}


def test_groups_hold_every_node_once(net):
    found = explain("Y1_Loss", graph=net)
    grouped = [node for nodes in found.groups.values() for node in nodes]
    assert sorted(grouped) == sorted(op.name for op in net.graph.get_operations())
    assert list(found.groups) == [
        *("placeholders", "shared layer", "task 1 (Y1)", "task 2 (Y2)", "losses"),
        *("gradients of Joint_Loss", "gradients of Y1_Loss", "gradients of Y2_Loss"),
        *("optimizer Optimiser", "optimizer Y1_op", "optimizer Y2_op", "initialization"),
    ]
    assert {"share_W", "MatMul", "Relu"} < set(found.groups["shared layer"])
    assert {"share_Y2", "MatMul_2", "Relu_2"} < set(found.groups["task 2 (Y2)"])
    assert found.groups["losses"] == ("L2Loss", "L2Loss_1", "add")
    assert {"share_W/Adam_2", "beta1_power_1"} < set(found.groups["optimizer Y1_op"])


@pytest.mark.parametrize(
    "wrong,near",
    [
        ("Y1_opp", "Y1_op"),
        ("shared_lay", "shared_layer"),
        ("Adam_7", "Adam_1"),
        ("Joint_op", "Optimiser"),
        ("joint_opp", "Optimiser"),
    ],
)
def test_an_unknown_name_lists_near_ones(net, wrong, near):
    with pytest.raises(InputError, match=rf"^'{wrong}': not in the graph.*Near: .*{near}"):
        explain([wrong], graph=net)


def test_bad_input(net):
    with pytest.raises(InputError, match=r"^fetches: none.* Some are Optimiser, Y1_op, Y2_op"):
        explain([], graph=net)
    with pytest.raises(InputError, match=r"^feeds: .*\(3, 3\).*X:0"):
        explain("Y1_Loss", feeds={"X": np.zeros((3, 3)), "Y1": np.zeros((10, 20))}, graph=net)
    other = build_graph(np.random.RandomState(0))
    with pytest.raises(InputError, match=r"not in the graph"):
        explain(other.Y1_Loss, graph=net)
    session = tf.Session(graph=other.graph)
    with pytest.raises(InputError, match=r"^session: of another graph"):
        explain("Y1_Loss", session=session, graph=net)
    session.close()


def test_the_command(capsys):
    text = done(capsys, "explain", "Y1_op", "Y1_Loss", "--without", "Y2")
    assert text.startswith("session.run([Y1_op, Y1_Loss])\n\nfed                 X, Y1\n")
    assert ["all", "47", "47", "216"] in [line.split() for line in text.splitlines()]
    assert_holds(
        text,
        "\nneed not be fed     Y2\n",
        "\nshared layer: share_W, share_W/read, MatMul, Relu\n",
        "Planned and measured are the same nodes.",
    )
    failed = done(capsys, "explain", "Y1_op", "--without", "Y1", status=1)
    assert "You must feed a value for placeholder tensor 'Y1'" in failed


def test_the_command_in_json(capsys):
    found = result(capsys, "explain", "Joint_Loss", "--variables", "resource")
    assert found["planned"] == found["measured"]
    assert found["agrees"] is True
    assert (found["must_feed"], found["not_needed"]) == (["X", "Y1", "Y2"], [])
    assert (found["reads"], found["writes"]) == (["share_W", "share_Y1", "share_Y2"], [])
    assert found["groups"]["placeholders"] == {"planned": 0, "measured": 0, "nodes": 3}


@pytest.mark.parametrize("args", [["nonsense"], ["Y1_op", "--without", "Y3"]])
def test_the_command_refuses(capsys, args):
    err = refused(capsys, "explain", *args)
    assert err.startswith("tf1-mtl: ") and err.count("\n") == 1
