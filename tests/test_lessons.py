"""Lessons 1 to 4 build the graph of `build_graph`, and every sentence stated as fact is true.

The rules that all lessons keep, and their index, are tested here, too.
"""

import ast
import inspect
import re

import lessons
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from graph_versions import node_differences

from tf1_mtl import build_graph, feeds, open_session, train
from tf1_mtl.graph_reader import needed
from tf1_mtl.teaching import explain

FACTS = lessons.Facts()
says = FACTS.says
says(1, "1 and 2 alike with no global switch")(lessons.it_runs_on_both_with_no_global_switch)
for number in (2, 3, 4):
    says(number, "runs on TensorFlow 1 and 2 alike")(lessons.it_runs_on_both_with_no_global_switch)


def session_of(lesson):
    """Opens a new session on the graph of a lesson, with initialized variables."""
    session = tf.Session(graph=lesson.graph)
    session.run(lesson.init)
    return session


def feed_of(lesson, *names):
    """Returns other data than those of the lesson, for these placeholders of it."""
    rng = np.random.RandomState(0)
    data = {name: rng.rand(*lesson.names[name].shape.as_list()) * 10 for name in ("X", "Y1", "Y2")}
    return {lesson.names[name]: data[name] for name in names}


# All of them


@says(1, "seeded data, so that the figures can be had again")
@says(2, "seeded weights")
def it_gives_the_same_again(lesson):
    assert lessons.Lesson(lesson.path).output == lesson.output


# Lesson 1


@says(1, "a linear map of X, compared with Y by a squared")
def the_loss_is_a_squared_difference(lesson):
    W, rng = np.random.RandomState(1).rand(10, 1), np.random.RandomState(2)
    x, y = rng.rand(10, 10), rng.rand(10, 1)
    with tf.Session(graph=lesson.graph) as session:
        session.run(lesson.W.initializer, {lesson.W.initial_value: W})
        loss = session.run(lesson.Loss, {lesson.X: x, lesson.Y: y})
    np.testing.assert_allclose(loss, (y - x.dot(W)) ** 2, rtol=1e-4)  # float32: sums of ten


@says(1, "a Session carries a part of it out, on data")
def a_session_carries_out_a_part(lesson):
    ran = explain("Loss", graph=lesson.graph).measured
    assert {"MatMul", "Loss"} <= set(ran)
    assert not {"init", "W/Assign"} & set(ran)


@says(1, "`import Tensorflow`, and no package has that name")
def no_package_has_that_name(lesson):
    with pytest.raises(ImportError):
        __import__("Tensorflow")


@says(1, "`global_variables_initializer`, the newer name")
def both_initializers_do_the_same(lesson):
    with tf.Graph().as_default():
        tf.Variable(0.0), tf.Variable(1.0)
        new, old = tf.global_variables_initializer(), tf.initialize_all_variables()
    assert (new.type, set(new.control_inputs)) == (old.type, set(old.control_inputs))
    assert len(new.control_inputs) == 2
    assert "DEPRECATED" in tf.initialize_all_variables.__doc__


@says(1, "operations on arrays that are not there yet")
def the_arrays_are_not_there_yet(lesson):
    with session_of(lesson) as session, pytest.raises(tf.errors.InvalidArgumentError):
        session.run(lesson.Loss)


@says(1, "10 rows of 10 numbers, and one number")
def placeholders_take_ten_rows(lesson):
    assert lesson.X.shape.as_list() == [10, 10] and lesson.Y.shape.as_list() == [10, 1]
    with session_of(lesson) as session, pytest.raises(ValueError, match="Cannot feed value"):
        session.run(lesson.Loss, {lesson.X: np.ones((9, 10)), lesson.Y: np.ones((9, 1))})


@says(1, "keeps its value from one run")
def a_variable_keeps_its_value_and_a_placeholder_does_not(lesson):
    with tf.Session(graph=lesson.graph) as session:
        session.run(lesson.W.initializer, {lesson.W.initial_value: np.full((10, 1), 7.0)})
        session.run(lesson.Loss, {lesson.X: np.ones((10, 10)), lesson.Y: np.ones((10, 1))})
        assert (session.run(lesson.W) == 7.0).all()
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(lesson.Loss)


@says(1, "Its initial value is a constant")
def the_initial_value_is_a_constant(lesson):
    assert lesson.W.initial_value.op.type == "Const"


@says(1, "one for each row: a loss that nobody has summed up yet")
def a_loss_for_each_row(lesson):
    assert lesson.Loss.shape.as_list() == [10, 1]
    assert lesson.line("Fetched") == "Fetched: float32 (10, 1)"


@says(1, "the promise of an array")
def a_tensor_has_a_name_a_dtype_and_a_shape_but_no_value(lesson):
    assert isinstance(lesson.Loss, tf.Tensor)
    told = 'Loss is Tensor("Loss:0", shape=(10, 1), dtype=float32'
    assert lesson.line("Loss is").startswith(told)
    with pytest.raises((TypeError, NotImplementedError)):
        float(np.asarray(lesson.Loss).item(0))


@says(1, "what a Session is for")
@says(1, "The session: only now does anything run")
@says(1, "nothing is computed; then a session runs it")
def nothing_runs_before_the_session(lesson):
    """A node that counts how often it runs."""
    ran = []
    with tf.Graph().as_default() as graph:
        counted = tf.py_func(lambda x: ran.append(1) or x, [tf.constant(2.0)], tf.float32)
        squared = counted * counted
    assert ran == []
    with tf.Session(graph=graph) as session:
        assert ran == []
        assert session.run(squared) == 4.0
    assert ran == [1]


@says(1, "first argument says what to fetch, the second what to feed")
def run_takes_fetches_then_feeds(lesson):
    assert list(inspect.signature(tf.Session.run).parameters)[1:3] == ["fetches", "feed_dict"]


@says(1, "so each row's loss is the square of its Y")
def zero_weights_give_squares(lesson):
    rng = np.random.RandomState(1)
    rng.rand(10, 10)
    np.testing.assert_array_equal(lesson.Model_Loss, np.square(rng.rand(10, 1).astype("float32")))
    assert lesson.output.splitlines()[-1] == "Is y * y: True"


# Lesson 2


@says(2, "two task layers, and that nothing has run")
@says(2, "What there is not: a value")
@says(2, "Even the variables have none before the initializer")
def nothing_has_run(lesson):
    nothing_runs_before_the_session(lesson)
    assert lesson.line("Variables without a value:").endswith(" 23")
    assert lesson.line("After the initializer:").endswith(" 0")
    with tf.Session(graph=lesson.graph) as session:
        for variable in lesson.graph.get_collection("variables"):
            with pytest.raises(tf.errors.FailedPreconditionError):
                session.run(variable)


@says(2, "Two tasks look at the same X")
@says(2, "each has a second layer of its own")
@says(2, "share_Y1 and share_Y2 belong to one task each")
@says(2, "one shared layer, two tasks, their losses")
def two_tasks_share_the_first_layer_only(lesson):
    ops = [{op.name for op in needed([loss])} for loss in (lesson.Y1_Loss, lesson.Y2_Loss)]
    own = [{"share_Y1", "Y1"}, {"share_Y2", "Y2"}]
    assert {"X", "share_W", lesson.shared_layer.op.name} <= ops[0] & ops[1]
    assert own[0] <= ops[0] - ops[1] and own[1] <= ops[1] - ops[0]


@says(2, "There are no biases")
def there_are_no_biases(lesson):
    types = {op.type for op in needed([lesson.Y1_layer, lesson.Y2_layer])}
    assert types == {"Placeholder", "VariableV2", "Identity", "MatMul", "Relu"}
    with session_of(lesson) as session:
        assert not session.run(lesson.Y1_layer, {lesson.X: np.zeros((10, 10))}).any()


@says(2, "The graph is the one of the joint listing")
@says(3, "The graph of lesson 2")
@says(4, "The graph of lesson 2")
def the_graph_is_build_graphs(lesson):
    """But for the drawn constants, and for what lesson 2 looks at the variables with, later."""
    seed = int(re.search(r"RandomState\((\d)\)", lesson.source).group(1))
    own = build_graph(np.random.RandomState(seed)).graph.as_graph_def()
    built = lesson.graph.as_graph_def()
    del built.node[216:]
    assert node_differences(own, built) == []


@says(2, "one input, and a label for each task")
def one_input_and_two_labels(lesson):
    kinds = [op.name for op in lesson.graph.get_operations() if op.type == "Placeholder"]
    assert kinds == ["X", "Y1", "Y2"]


@says(2, "the graph keeps them as constants")
@says(2, "NumPy's draws, rounded to float32")
def the_graph_keeps_the_draws_as_constants(lesson):
    constant = lesson.shared_layer_weights.initial_value.op
    assert constant.type == "Const"
    kept = tf.make_ndarray(constant.get_attr("value"))
    assert np.array_equal(kept, lesson.initial_shared_layer_weights.astype("float32"))
    assert lesson.line("share_W is what NumPy drew") == "share_W is what NumPy drew: True"


@says(2, "where shared_layer is used twice")
def the_fork_is_at_the_shared_layer(lesson):
    forward = needed([lesson.Joint_Loss])
    users = [op.type for op in lesson.shared_layer.consumers() if op in forward]
    assert users == ["MatMul", "MatMul"]


@says(2, "the sum of squares / 2, not a mean")
def l2_loss_is_half_the_sum_of_squares(lesson):
    with session_of(lesson) as session:
        feed = feed_of(lesson, "X", "Y1")
        loss, layer = session.run([lesson.Y1_Loss, lesson.Y1_layer], feed)
    squares = (feed[lesson.Y1] - layer.astype(np.float64)) ** 2
    assert loss == pytest.approx(squares.sum() / 2, rel=1e-5)  # float32: a sum of 200
    assert loss > 50 * squares.mean()


@says(2, "for both tasks together, and one for each alone")
def each_op_trains_its_own(lesson):
    layers = [lesson.shared_layer_weights, lesson.Y1_layer_weights, lesson.Y2_layer_weights]
    for op, expected in (
        (lesson.Optimiser, [True, True, True]),
        (lesson.Y1_op, [True, True, False]),
        (lesson.Y2_op, [True, False, True]),
    ):
        with session_of(lesson) as session:
            before = session.run(layers)
            session.run(op, feed_of(lesson, "X", "Y1", "Y2"))
            after = session.run(layers)
        assert [not np.array_equal(old, new) for old, new in zip(before, after)] == expected


@says(2, "most of them made by the three minimize calls")
def most_of_216_nodes_are_made_by_minimize(lesson):
    assert lesson.line("216 nodes") == "216 nodes, from X to init"
    ops = lesson.graph.get_operations()[:216]
    first = ops.index(lesson.Joint_Loss.op) + 1  # what the first minimize call makes
    assert ops[first].name.startswith("gradients/") and ops[-2] is lesson.Y2_op
    assert len(ops[first:-1]) > 216 / 2


# Lessons 3 and 4


@says(3, "A coin picks each step's task, and only its op is run")
@says(3, "ten steps")
@says(3, "one task or the other, step by step")
def one_task_a_step(lesson):
    """The losses of the lesson are those of `feeds.alternate` and `train` with the same seed."""
    rng = np.random.RandomState(3)
    net = build_graph(rng)
    with open_session(net) as session:
        session.run(net.init)
        batches = feeds.alternate(feeds.article_draw(rng), rng)
        steps = [f"{step.step} {step.task} {step.loss!s}" for step in train(net, session, batches)]
    assert lesson.output.splitlines() == steps and len(steps) == 10
    assert {line.split()[1] for line in steps} == {"Y1", "Y2"}
    for op, other in ((lesson.Y1_op, "Adam_2"), (lesson.Y2_op, "Adam_1")):
        ran = explain(op, graph=lesson.graph).measured
        assert op.name in ran and other not in ran and "Adam" not in ran


@says(3, "no row needs both labels")
def each_task_trains_on_rows_of_its_own(lesson):
    with session_of(lesson) as session:
        session.run(lesson.Y1_op, feed_of(lesson, "X", "Y1"))
        session.run(lesson.Y2_op, feed_of(lesson, "X", "Y2"))


@says(3, "as in lessons 2 and 4) and are not used")
def the_joint_loss_is_there_and_not_used(lesson):
    the_graph_is_build_graphs(lesson)
    assert len(lesson.graph.get_operations()) == 216
    assert lesson.source.count("Optimiser") == 1


@says(3, "does not need its label, and does not run")
def the_other_task_does_not_run(lesson):
    found = explain(["Adam_1", "L2Loss"], feeds=["X", "Y1"], graph=lesson.graph)
    assert found.error is None and found.not_needed == ("Y2",)
    assert not {"Y2", "share_Y2", "MatMul_2", "Relu_2", "L2Loss_1"} & set(found.measured)


@says(3, "its own result is None")
def fetching_an_op_runs_it_and_gives_none(lesson):
    with session_of(lesson) as session:
        before = session.run(lesson.shared_layer_weights)
        assert session.run(lesson.Y1_op, feed_of(lesson, "X", "Y1")) is None
        assert not np.array_equal(before, session.run(lesson.shared_layer_weights))


@says(3, "The loss is that before the update")
def the_loss_is_from_before_the_update(lesson):
    feed = feed_of(lesson, "X", "Y1")
    with session_of(lesson) as session:
        alone = session.run(lesson.Y1_Loss, feed)
        assert session.run([lesson.Y1_op, lesson.Y1_Loss], feed)[1] == alone
        assert session.run(lesson.Y1_Loss, feed) < alone


@says(4, "Both tasks in every step, on the sum of their losses")
@says(4, "here three steps run")
@says(4, "makes all three ops and uses the first")
def every_step_is_on_the_sum(lesson):
    rng = np.random.RandomState(4)
    net = build_graph(rng)
    with open_session(net) as session:
        session.run(net.init)
        batches = feeds.joint(feeds.article_draw(rng), 3)
        joint = [step.loss for step in train(net, session, batches)]
    lines = lesson.output.splitlines()
    assert len(lines) == 3
    for line, loss in zip(lines, joint):
        whole, first, second = (np.float32(word) for word in line[8:].replace("=", "+").split("+ "))
        assert whole == loss == first + second
    each_op_trains_its_own(lesson)


@says(4, "when every row has both labels")
def every_row_needs_both_labels(lesson):
    for label in ("Y1", "Y2"):
        fed = feed_of(lesson, "X", label)
        with session_of(lesson) as session, pytest.raises(tf.errors.InvalidArgumentError):
            session.run(lesson.Optimiser, fed)


@says(4, "so that a second run fails")
def the_listings_second_run_fails(lesson):
    """As published: `_, Joint_Loss = session.run([Optimiser, Joint_Loss], ...)`."""
    feed, Joint_Loss = feed_of(lesson, "X", "Y1", "Y2"), lesson.Joint_Loss
    with session_of(lesson) as session:
        _, Joint_Loss = session.run([lesson.Optimiser, Joint_Loss], feed)
        assert isinstance(Joint_Loss, np.float32)
        with pytest.raises(TypeError, match="invalid type"):
            session.run([lesson.Optimiser, Joint_Loss], feed)


@says(4, "cost memory, but no time")
def the_other_optimizers_cost_memory_but_do_not_run(lesson):
    names = ("Adam", "Adam_1", "Adam_2")
    slots = [
        {name for name in explain(op, graph=lesson.graph).writes if "Adam" in name} for op in names
    ]
    assert [len(own) for own in slots] == [6, 4, 4]
    assert not (slots[0] & slots[1] or slots[0] & slots[2] or slots[1] & slots[2])
    assert not {"Adam_1", "Adam_2"} & set(explain("Adam", graph=lesson.graph).measured)


@says(4, "its first update depends on no training")
def the_first_loss_depends_on_no_training(lesson):
    rng = np.random.RandomState(4)
    for shape in ((10, 20), (20, 20), (20, 20)):  # the draws of the weights
        rng.rand(*shape)
    feed = {
        lesson.X: rng.rand(10, 10) * 10,
        lesson.Y1: rng.rand(10, 20) * 10,
        lesson.Y2: rng.rand(10, 20) * 10,
    }
    with session_of(lesson) as session:
        untrained = session.run(lesson.Joint_Loss, feed)
    assert lesson.line("0 joint").startswith(f"0 joint {untrained} = ")


#: Sentences that state nothing which TensorFlow could prove wrong.
PLAIN = (
    "Variables.",
    "Lesson 3: alternate training.",
    "The article feeds all three.",
    "Lesson 4: joint training.",
)


@pytest.mark.parametrize("number, words, check", FACTS, ids=lessons.names(FACTS))
def test_what_a_lesson_says_is_so(number, words, check):
    lessons.holds(number, words, check)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_every_sentence_has_its_check(number):
    assert lessons.without_check(number, FACTS, PLAIN) == []


def test_a_sentence_without_a_check_is_found():
    fewer = [fact for fact in FACTS if fact[2] is not there_are_no_biases]
    assert lessons.without_check(2, fewer, PLAIN) == ["There are no biases."]


def test_what_the_first_lessons_print_of_their_graphs():
    made = lessons.lesson(1).line("The graph's nodes:").replace("AddV2", "Add")
    assert made.endswith(
        "X, Y, W/initial_value, W, W/Assign, W/read, MatMul, Neg, Add, Loss/y, Loss, init"
    )
    second = lessons.lesson(2)
    assert second.line("Some of them:") == "Some of them: MatMul, Relu, L2Loss, L2Loss_1"
    told = 'shared_layer is Tensor("Relu:0", shape=(10, 20), dtype=float32'
    assert second.line("shared_layer is").startswith(told)


# The rules, and the index


@pytest.mark.parametrize("path", lessons.PATHS, ids=lambda path: path.stem)
def test_the_rules_of_lessons(path):
    """Checks what the index states about all lessons. `lessons.Lesson` runs them by their paths."""
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) < 100
    assert source.count("# %% ") >= 2
    over_machines = path.stem == "12_over_machines"  # it starts its program in a safe place
    quiet = "" if over_machines else "import quiet_tensorflow\n"
    assert f"\n{quiet}import tensorflow.compat.v1 as tf\n" in source
    assert "iffers from the published listing" in source.split('"""')[1]
    assert f"Run it: python legacy_examples/{path.name}" in source.replace("\n", " ")
    assert not re.search(r"disable_\w+\(|enable_\w+\(", source)
    assert over_machines or "tf1_mtl" not in source
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None)
            imported |= {(module or alias.name).split(".")[0] for alias in node.names}
    allowed = {"numpy", "tensorflow", "contextlib", "collections", "tempfile", "os"}
    allowed |= {"quiet_tensorflow"}
    allowed |= {"sklearn"} if path.stem == "11_two_images" else set()
    assert imported <= allowed | ({"subprocess", "sys"} if over_machines else set())


def test_the_index_names_every_lesson_in_reading_order():
    listed = re.findall(r"^\d+\. \[`(\S+)`\]\(\1\): \S", lessons.INDEX, flags=re.M)
    assert listed == [path.name for path in lessons.PATHS]
    assert [name.split("_")[0] for name in listed] == [str(number) for number in range(1, 13)]
    assert " ".join(lessons.INDEX.split("\n\n")[2].split()) == (
        "Twelve scripts, in reading order. Each runs by its path and needs TensorFlow and "
        "NumPy; lesson 11 also needs scikit-learn, and lesson 12 this package and Linux. The "
        "top of each says what differs from the published listing, and why. Beside each script "
        "lies the same lesson as a notebook, with what it prints: `1_first_graph.ipynb`. An "
        "editor that knows `# %%` cells opens the scripts as notebooks, too. What TensorFlow "
        "tells about the machine is not shown: see "
        "[`quiet_tensorflow.py`](quiet_tensorflow.py)."
    )
