"""Lessons 5 to 9: every sentence they state as fact is true."""

import itertools
import re

import lessons
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from sampling import slow

from tf1_mtl import build_graph

FACTS = lessons.Facts()
says = FACTS.says
says(5, "runs on TensorFlow 1 and 2 alike")(lessons.it_runs_on_both_with_no_global_switch)


@says(5, "one shared layer, two tasks, three minimize ops")
@says(6, "The article's graph, its three optimizers kept")
def the_graph_is_the_articles(lesson):
    """The nodes that training runs are those of `build_graph`, to the name and the input."""
    graphs = lesson.graph, build_graph(np.random.RandomState(0)).graph
    for name in [node.name for node in graphs[1].get_operations() if node.name != "init"]:
        ours, theirs = (graph.get_operation_by_name(name) for graph in graphs)
        assert (ours.type, [t.name for t in ours.inputs]) == (
            theirs.type,
            [t.name for t in theirs.inputs],
        )


# Lesson 5


@says(5, "train task 1 without Y2, and look at the weights")
@says(5, "why task 1 trains without task 2's label")
@says(5, "This lesson trains task 1 without Y2")
def trains_task_1_without_y2(lesson):
    assert "share_W  has moved" in lesson.output
    assert "share_Y1 has moved" in lesson.output
    assert "share_Y2 the same in every bit" in lesson.output
    assert np.array_equal(lesson.before[2], lesson.after[2])
    assert not np.array_equal(lesson.before[0], lesson.after[0])


@says(5, "the walk backward through the graph")
@says(5, "a run needs the fetches, their inputs, the inputs of those, and nothing else")
def a_run_needs_what_the_walk_finds(lesson):
    assert lesson.executed | {"X", "Y1"} == lesson.needed(lesson.Y1_op, lesson.Y1_Loss)
    assert "needs  49 nodes and the placeholders X, Y1\n" in lesson.output
    assert "needs  74 nodes and the placeholders X, Y1, Y2\n" in lesson.output


@says(5, "since the other task still runs forward")
@says(5, "It does not.")
@says(5, "lists what TensorFlow really executed")
def the_other_task_does_not_run(lesson):
    assert "Executed: 47 nodes, 0 of them task 2's own." in lesson.output
    assert {"share_Y2", "L2Loss_1", "Relu_2", "Y2"} <= lesson.only_task_2


@says(5, "they are fed, so nothing computes them")
def what_is_fed_is_not_computed(lesson):
    assert lesson.missing == ["X", "Y1"]


@says(5, "What must be fed: a label that the fetch does need")
def the_fetched_tasks_label_must_be_fed(lesson):
    assert "You must feed a value for placeholder tensor 'Y1'" in lesson.line("Y2 fed, but not Y1")


@says(5, "TensorFlow lists what it executes, once it is told to run the graph as written")
def the_trace_needs_the_switches(lesson):
    """Without them Grappler and constant folding run other nodes than the graph has."""
    trace = tf.RunMetadata()
    with tf.Session(graph=lesson.graph) as session:
        session.run(lesson.init)
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        feed = {lesson.X: lesson.x, lesson.Y1: lesson.y1}
        session.run([lesson.Y1_op, lesson.Y1_Loss], feed, options=options, run_metadata=trace)
    ran = {s.node_name for device in trace.step_stats.dev_stats for s in device.node_stats}
    assert not lesson.executed <= ran


# Lesson 6


@says(6, "Adam keeps two for every weight that it trains")
@says(6, "joined by 20 variables that its listing never names")
def adam_keeps_two_slots_a_weight_and_one_pair_of_powers(lesson):
    with lesson.graph.as_default():
        kept = {a: len(getattr(lesson, a).variables()) for a in ("adam_joint", "adam_1", "adam_2")}
    assert kept == {"adam_joint": 3 * 2 + 2, "adam_1": 2 * 2 + 2, "adam_2": 2 * 2 + 2}
    assert "23 variables, 3 of them weights." in lesson.output
    assert sum(kept.values()) == 20


@says(6, "A slot is a variable that an optimizer keeps")
def a_slot_is_a_variable_beside_a_weight(lesson):
    slot = lesson.adam_1.get_slot(lesson.share_W, "m")
    assert slot.op.name in [variable.op.name for variable in lesson.variables]
    assert slot.shape.as_list() == lesson.share_W.shape.as_list()


@says(6, "a slot is called after its weight and numbered in order of creation")
@says(6, 'TensorFlow calls every Adam slot "Adam" and adds _1, _2, ... when the name is taken')
@says(6, "share_W/Adam_2 is task 1's m, while the operation Adam_2 is Y2_op")
def names_follow_the_order_of_creation(lesson):
    for optimizer, names in (
        ("Optimiser", "share_W/Adam, share_W/Adam_1"),
        ("Y1_op", "share_W/Adam_2, share_W/Adam_3"),
        ("Y2_op", "share_W/Adam_4, share_W/Adam_5"),
    ):
        assert lesson.line(optimizer + " ").endswith(names)
    assert lesson.Y2_op.name == "Adam_2"
    assert lesson.adam_1.get_slot(lesson.share_W, "m").op.name == "share_W/Adam_2"


@says(6, "under which names, and which step changes it")
@says(6, "one step of Y1_op changes task 1's state, and leaves all other state alone")
def one_step_leaves_other_state_alone(lesson):
    assert lesson.moved == [
        "share_W",
        "share_Y1",
        "beta1_power_1",
        "beta2_power_1",
        "share_W/Adam_2",
        "share_W/Adam_3",
        "share_Y1/Adam_2",
        "share_Y1/Adam_3",
    ]
    assert lesson.line("Y1_op keeps for share_Y2").endswith("None")


@says(6, "in a run of its own: before the update")
@says(6, "m (a running mean of the gradients) and v (of their squares)")
@says(6, "m starts at (1 - beta1) times the gradient, v at (1 - beta2) times its square")
def slots_start_as_said(lesson):
    # Float32 rounding of one multiplication, relative.
    assert lesson.floats("m / gradient")[0] == pytest.approx(1 - 0.9, rel=1e-3)
    assert lesson.floats("v / gradient**2") == [0.001]


@says(6, "one pair of beta powers, which count its steps")
def powers_count_the_steps(lesson):
    powers = [lesson.floats(name + " ")[0] for name in ("beta1_power", "beta1_power_1")]
    assert powers == [0.9, 0.81]
    assert lesson.floats("beta1_power_2 ")[0] == 0.9


@says(6, "the tasks share m, v and count")
def one_optimizer_shares_m(lesson):
    assert "['W', 'beta1_power', 'beta2_power', 'W/Adam', 'W/Adam_1']" in lesson.output
    # m: 0.1 * 2 W at W = 1; then 0.9 of it + 0.1 * -3.
    assert lesson.floats("its one m") == [0.0, 0.2, -0.12]


# Lesson 7


def in_turns_helps_a_related_task(lesson):
    lowest, highest = lesson.floats("related   tasks, in turns")
    assert lowest <= highest < 0.6
    assert lesson.line("related   tasks, in turns").endswith("6 of 6 seeds: better")


@says(7, "once with related tasks and once with unrelated ones")
def in_turns_does_not_help_an_unrelated_task(lesson):
    assert "better" not in lesson.line("unrelated tasks, in turns")


@says(7, "Jointly it needs rows with both labels")
def joint_training_needs_both_labels(lesson):
    x, y = np.ones((3, 10)), np.ones((3, 20))
    for label in (lesson.Y1, lesson.Y2):
        with pytest.raises(tf.errors.InvalidArgumentError, match="You must feed a value"):
            lesson.session.run(lesson.Optimiser, {lesson.X: x, label: y})


class Watched:
    """A session that keeps, of each way, its first weights and what it fed to which op."""

    def __init__(self, lesson):
        self.lesson, self.ways = lesson, []

    def run(self, fetch, feed=None):
        value = self.lesson.session.run(fetch, feed)
        if fetch is self.lesson.init:
            weights = [self.lesson.share_W, self.lesson.share_Y1, self.lesson.share_Y2]
            self.ways.append((self.lesson.session.run(weights), []))
        else:
            self.ways[-1][1].append((fetch, feed))
        return value


def watched(lesson):
    """What `unseen_loss` did for one seed: (first weights, training steps, unseen rows) a way."""
    session, globals_ = Watched(lesson), lesson.unseen_loss.__globals__
    globals_["session"] = session
    try:
        lesson.unseen_loss(3, True)
    finally:
        globals_["session"] = session.lesson.session
    return {
        way: (start, runs[:-1], runs[-1][1])
        for way, (start, runs) in zip(("alone", "in turns", "joint"), session.ways)
    }


@says(7, "The article's graph, its rows left open")
def the_rows_are_left_open(lesson):
    assert [p.shape.as_list()[0] for p in (lesson.X, lesson.Y1, lesson.Y2)] == [None] * 3


@says(7, "so that all ways share them")
@says(7, "Every way starts from the same weights and takes task 2's rows equally often")
def every_way_has_one_start_and_one_diet(lesson):
    ways = watched(lesson)
    diets = {}
    for way, (start, runs, _) in ways.items():
        for weights, first in zip(start, ways["alone"][0]):
            assert np.array_equal(weights, first)
        diets[way] = [(feed[lesson.X], feed[lesson.Y2]) for _, feed in runs if lesson.Y2 in feed]
        assert len(diets[way]) == lesson.STEPS
        for fed, alone in zip(diets[way], diets["alone"]):
            assert np.array_equal(fed[0], alone[0]) and np.array_equal(fed[1], alone[1])
    other = watched(lesson)
    assert np.array_equal(other["joint"][0][0], ways["joint"][0][0])  # of one seed


@says(7, "task 1 has 500 rows, task 2 only 20")
@says(7, "in turns each task is fed its own rows")
def in_turns_each_task_is_fed_its_own_rows(lesson):
    _, runs, _ = watched(lesson)["in turns"]
    fed = {op.name: sorted(tensor.op.name for tensor in feed) for op, feed in runs}
    assert fed == {lesson.Y1_op.name: ["X", "Y1"], lesson.Y2_op.name: ["X", "Y2"]}
    rows = {op.name: len(feed[lesson.X]) for op, feed in runs}
    assert rows == {lesson.Y1_op.name: 500, lesson.Y2_op.name: 20}


@says(7, "task 1's 500 shape the shared layer too")
def task_1s_rows_shape_the_shared_layer(lesson):
    start, runs, _ = watched(lesson)["in turns"]
    op, feed = next((op, feed) for op, feed in runs if op is lesson.Y1_op)
    lesson.session.run(lesson.init, dict(zip(lesson.start, start)))
    lesson.session.run(op, feed)
    assert not np.array_equal(lesson.session.run(lesson.share_W), start[0])


@says(7, "Alone, task 2 learns from its 20 rows")
@says(7, "again those 20")
def alone_and_jointly_there_are_20_rows(lesson):
    for way, op in (("alone", lesson.Y2_op), ("joint", lesson.Optimiser)):
        _, runs, _ = watched(lesson)[way]
        assert {run.name for run, _ in runs} == {op.name}
        assert {len(feed[lesson.X]) for _, feed in runs} == {20}


@says(7, "on rows that no way has seen")
def no_way_has_seen_the_rows_that_count(lesson):
    for _, runs, unseen in watched(lesson).values():
        seen = {row.tobytes() for _, feed in runs for row in feed[lesson.X]}
        assert len(unseen[lesson.X]) == lesson.UNSEEN
        assert not seen & {row.tobytes() for row in unseen[lesson.X]}


@says(7, "That all six seeds fall on the same side by chance alone happens in one of 32 cases")
def six_on_one_side(lesson):
    falls = list(itertools.product((True, False), repeat=lesson.SEEDS))
    assert len(falls) == 32 * sum(len(set(sides)) == 1 for sides in falls)


@says(7, "all-positive ones make the first outputs far too large")
def positive_weights_start_far_too_large(lesson):
    rng = np.random.RandomState(0)
    x, _, labels = lesson.rows(rng, True)
    x = x[:100]
    weights = [rng.rand(10, 20), rng.rand(20, 20)]
    centred = [lesson.small(rng, 10, 20), lesson.small(rng, 20, 20)]

    def output(w):
        return np.maximum(np.maximum(x.dot(w[0]), 0).dot(w[1]), 0)

    assert output(weights).mean() > 5 * labels.mean()
    assert output(centred).mean() < labels.mean()


# Lesson 8

ERRORS = {
    1: ("RuntimeError", r"tf.placeholder\(\) is not compatible with eager execution"),
    2: ("InvalidArgumentError", r"You must feed a value for placeholder tensor 'Y'"),
    3: ("TypeError", r"Cannot interpret feed_dict key as Tensor.*not an element of this graph"),
    4: ("FailedPreconditionError", r"Attempting to use uninitialized value beta[12]_power"),
    5: ("TypeError", r"(Fetch argument|Argument `fetch`).*invalid type"),
    6: ("NotFoundError", r"Key .*(Adam_2|Adam_3|_power_1) not found in checkpoint"),
    7: ("ValueError", r"Cannot feed value of shape \(7, 1\) for Tensor"),
    8: ("ValueError", r"non-first call|created on the first call"),
}


@says(8, "Mended by")
@says(8, "made for real and mended")
@says(8, "Each cell makes one of them for real")
def each_error_is_made_and_mended(lesson):
    sections = re.split(r"^(\d)\. ", lesson.output, flags=re.M)
    found = dict(zip(map(int, sections[1::2]), sections[2::2]))
    assert list(found) == list(ERRORS)
    for number, (kind, message) in ERRORS.items():
        lines = found[number].splitlines()
        if number in (1, 8) and not tf.executing_eagerly():
            assert len(lines) == (2 if number == 1 else 1)
            continue
        assert re.match(rf"   {kind}: .*({message})", lines[1]), lines[1]
        assert lines[2].startswith("   mended:"), lines


@says(8, "1 and 8 need TensorFlow 2's eager mode")
def eager_mode_is_off_in_tensorflow_1(lesson):
    assert tf.executing_eagerly() == (not tf.__version__.startswith("1."))


@says(8, "it sets the weights afresh, too")
def the_initializer_sets_the_weights_afresh(lesson):
    assert lesson.output.count("mended: loss 1.25\n") == 3  # of W = 0.5, before and after error 4


@says(8, "the listing gives both one name")
@says(8, "Error 5 stands in the published listing")
def the_listing_gives_tensor_and_value_one_name(lesson):
    """As published: `_, Joint_Loss = session.run([Optimiser, Joint_Loss], ...)`."""
    net = build_graph(np.random.RandomState(0))
    feed = {net.X: np.ones((10, 10)), net.Y1: np.ones((10, 20)), net.Y2: np.ones((10, 20))}
    Joint_Loss = net.Joint_Loss
    with tf.Session(graph=net.graph) as session:
        session.run(net.init)
        _, Joint_Loss = session.run([net.Optimiser, Joint_Loss], feed)
        with pytest.raises(TypeError, match="invalid type"):
            _, Joint_Loss = session.run([net.Optimiser, Joint_Loss], feed)


# Lesson 9


@says(9, "slots and beta powers, by name")
@says(
    9,
    "A checkpoint holds the values of variables under their names: the weights, and what the "
    "optimizers keep",
)
def a_checkpoint_holds_weights_and_what_optimizers_keep(lesson):
    kept = [variable.op.name for variable in lesson.kept["Y1"]]
    assert len(kept) == 6 and all(re.search(r"/Adam|^beta[12]_power", name) for name in kept)
    assert "The checkpoint holds 15 variables" in lesson.output
    slots = [f"share_W/Adam{n}" for n in ("", "_1", "_2", "_3")]
    assert {"share_W", "share_Y1", "share_Y2", "beta1_power_1", *slots} <= set(
        lesson.names["names"]
    )


@says(9, "stop and go on without a trace")
@says(9, "goes on from its checkpoint without a trace")
@says(9, "in a new session: the very same losses")
def it_goes_on_without_a_trace(lesson):
    assert lesson.floats("Restored") == lesson.floats("Unbroken")


@says(9, "The weights alone are not enough: Adam's slots and step count start anew")
def weights_alone_are_not_enough(lesson):
    assert lesson.floats("Weights alone")[0] == lesson.floats("Unbroken")[0]
    assert lesson.floats("Weights alone")[1] != lesson.floats("Unbroken")[1]


@says(9, "the checkpoint lacks its variables, so restore only what it has")
def a_third_optimizer_made_last_is_missing(lesson):
    assert re.search(r"Key \S+ not found in checkpoint", lesson.line("Made last"))
    assert lesson.floats("what is there") == lesson.floats("Unbroken")


@says(9, "where names no longer mean what they meant")
@says(9, "this restores without a word, and wrongly")
@says(9, "Slots are numbered in order of creation, so share_W/Adam is now the joint optimizer's m")
def a_third_optimizer_made_first_scrambles(lesson):
    assert lesson.floats("Made first")[0] == lesson.floats("Unbroken")[0]
    assert lesson.floats("Made first")[1] != lesson.floats("Unbroken")[1]
    with lesson.session.graph.as_default():
        assert "share_W/Adam" in [v.op.name for v in lesson.kept["joint"]]


@says(9, "add an optimizer without scrambling the others")
@says(9, "each name of the old program, with the new program's variable")
def names_by_meaning_mend_it(lesson):
    assert lesson.floats("by meaning") == lesson.floats("Unbroken")


#: Sentences that state nothing which TensorFlow could prove wrong.
PLAIN = (
    "Lesson ",
    "This lesson names them",
    "Differs from the published listing",
    "The article ends on the question",
    "The data: three hidden units",
    "One seed: draw data and first weights",
    "The answer: each way",
    "alone, in turns or jointly",
    'between preamble and "[[node"',
    "as when a notebook's cell is run",
    "made when first asked for",
    "The article's graph with optimizers for these tasks",
    "Restores these variables",
    "Two more steps of task 1",
    "Save after three steps",
)


#: Lesson 7 trains 48 networks.
IN_TURN = [slow(*fact) if fact[0] == 7 else fact for fact in FACTS]


@pytest.mark.parametrize("number, words, check", IN_TURN, ids=lessons.names(FACTS))
def test_what_a_lesson_says_is_so(number, words, check):
    lessons.holds(number, words, check)


@pytest.mark.parametrize("number", [5, 6, slow(7), 8, 9])
def test_every_sentence_has_its_check(number):
    assert lessons.without_check(number, FACTS, PLAIN) == []
