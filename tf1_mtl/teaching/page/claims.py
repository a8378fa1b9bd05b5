"""The page's statements of fact: each is measured, and returns its evidence or raises.

A claim is a function of a `Bench`. It makes its measurement, raises `ClaimError` when the sentence
that stands above it on the page is not so, and else returns what it measured, as text. So the page
cannot be written with a claim that is false on the TensorFlow it is written with; the sentences
that lead from claim to claim are checked in tests/test_page.py.
"""

import importlib
from typing import Any, Callable, Dict, List, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.feeds import Batch, article_draw
from tf1_mtl.graph import MultiTaskGraph, build_graph
from tf1_mtl.session import open_session
from tf1_mtl.teaching.anatomy import explain
from tf1_mtl.teaching.explanation import Explanation
from tf1_mtl.teaching.first_graph import build_first_graph
from tf1_mtl.teaching.groups import structure


class ClaimError(AssertionError):
    """A sentence of the page is not so on this TensorFlow."""


class Bench:
    """One graph, one batch of the article's data, and as many sessions as claims need."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = np.random.RandomState(seed)
        self.net: MultiTaskGraph = build_graph(rng)
        self.batch: Batch = article_draw(rng)("joint")
        self.explained: Dict[Tuple[str, ...], Explanation] = {}

    def feed(self, *names: str) -> Dict[tf.Tensor, np.ndarray]:
        """The batch, or these arrays of it, by placeholder."""
        return {getattr(self.net, n): getattr(self.batch, n) for n in names or ("X", "Y1", "Y2")}

    def session(self) -> tf.Session:
        """A session whose variables have their first values."""
        session = open_session(self.net)
        session.run(self.net.init)
        return session

    def explain(self, *fetches: str) -> Explanation:
        """What one run of these fetches does, everything fed."""
        if fetches not in self.explained:
            self.explained[fetches] = explain(list(fetches), self.feed(), graph=self.net)
        return self.explained[fetches]


def _must(condition: Any, evidence: str) -> str:
    if not condition:
        raise ClaimError(evidence)
    return evidence


def _error_of(kind: Any, call: Callable[[], Any]) -> str:
    """The first sentence of the telling line of the error that a call raises."""
    try:
        call()
    except kind as error:
        line = str(error).partition("\n\t [[")[0].splitlines()[-1].strip()
        return f"{type(error).__name__}: {line.partition('. ')[0]}"
    raise ClaimError(f"no {kind} was raised")


def building_computes_nothing(bench: Bench) -> str:
    Loss = build_first_graph().Loss
    error = _error_of((TypeError, NotImplementedError), lambda: float(np.asarray(Loss).item(0)))
    return _must(Loss.shape == (10, 1), f"np.asarray(Loss)\n{error}")


def zero_weights_give_squares(bench: Bench) -> str:
    first = build_first_graph()
    rng = np.random.RandomState(bench.seed)  # as the listing above draws
    x, y = rng.rand(10, 10), rng.rand(10, 1)
    with tf.Session(graph=first.graph) as session:
        session.run(first.init)
        loss = session.run(first.Loss, {first.X: x, first.Y: y})
    squares = np.square(y.astype("float32"))
    lines = f"Loss   {_numbers(loss)}\nY ** 2 {_numbers(squares)}"
    return _must(np.array_equal(loss, squares), lines)


def the_graph_has_216_nodes(bench: Bench) -> str:
    nodes = len(bench.net.graph.get_operations())
    with bench.net.graph.as_default():
        variables, weights = len(tf.global_variables()), len(tf.trainable_variables())
    kept = sum(len(optimizer.own) for optimizer in structure(bench.net.graph).optimizers)
    evidence = f"{nodes} nodes, {variables} variables, {weights} trainable"
    return _must((nodes, variables, weights, kept) == (216, 23, 3, 20), evidence)


def variables_have_no_value_before_init(bench: Bench) -> str:
    with open_session(bench.net) as session:
        return "session.run(shared_layer_weights)\n" + _error_of(
            tf.errors.FailedPreconditionError,
            lambda: session.run(bench.net.shared_layer_weights),
        )


def heads_are_not_shared(bench: Bench) -> str:
    reads = [bench.explain(loss).reads for loss in ("Y1_Loss", "Y2_Loss")]
    evidence = f"Y1_Loss: {', '.join(reads[0])}\nY2_Loss: {', '.join(reads[1])}"
    return _must(reads == [("share_W", "share_Y1"), ("share_W", "share_Y2")], evidence)


def l2_loss_is_half_the_sum(bench: Bench) -> str:
    with bench.session() as session:
        loss, layer = session.run([bench.net.Y1_Loss, bench.net.Y1_layer], bench.feed("X", "Y1"))
    squares = np.square(bench.batch.Y1 - layer.astype(np.float64))
    evidence = f"l2_loss {loss:.6g}\nsum / 2 {squares.sum() / 2:.6g}\nmean    {squares.mean():.6g}"
    # Relative: float32 sums of 200 squares.
    return _must(abs(loss / (squares.sum() / 2) - 1) < 1e-5 and loss > 1e6, evidence)


def one_task_runs_without_the_other(bench: Bench) -> str:
    run = bench.explain("Y1_op", "Y1_Loss")
    other = [n for title, nodes in run.groups.items() if "Y2" in title for n in nodes]
    ran = set(run.measured or ())
    evidence = (
        f"len(ran) = {len(ran)}    len(graph) = {len(bench.net.graph.get_operations())}\n"
        f"len(ran & task_2) = {len(ran & set(other))}    len(task_2) = {len(other)}\n"
        f"must_feed = {run.must_feed}    not_needed = {run.not_needed}"
    )
    spared = other and not ran & set(other) and "Y2" in run.not_needed
    return _must(run.agrees and spared, evidence)


def a_step_runs_without_the_other_label(bench: Bench) -> str:
    net, other = bench.net, article_draw(np.random.RandomState(bench.seed + 1))("Y2")
    with bench.session() as session:
        first = session.run([net.Y1_op, net.Y1_Loss], bench.feed("X", "Y1"))
        second = session.run([net.Y2_op, net.Y2_Loss], {net.X: other.X, net.Y2: other.Y2})
    evidence = (
        f"session.run([Y1_op, Y1_Loss], feed_dict={{X: x1, Y1: y1}})  [None, {first[1]}]\n"
        f"session.run([Y2_op, Y2_Loss], feed_dict={{X: x2, Y2: y2}})  [None, {second[1]}]"
    )
    return _must(np.isfinite([first[1], second[1]]).all(), evidence)


def planned_is_measured(bench: Bench) -> str:
    lines: List[str] = ["len(planned) == len(measured)"]
    for fetches in (("Y1_op", "Y1_Loss"), ("Y2_op", "Y2_Loss"), ("Optimiser", "Joint_Loss")):
        run = bench.explain(*fetches)
        counts = f"{len(run.planned)} == {len(run.measured or ())}"
        lines.append(f"{'[' + ', '.join(fetches) + ']':24}{counts}")
        _must(run.agrees, lines[-1])
    return "\n".join(lines)


def grappler_leaves_some_out(bench: Bench) -> str:
    run = bench.explain("Y1_op", "Y1_Loss")
    removed = run.removed_by_optimizer or ()
    evidence = f"len(removed) = {len(removed)}\n{', '.join(removed[:3])}, ..."
    return _must(removed, evidence)


def the_other_head_keeps_its_bits(bench: Bench) -> str:
    net = bench.net
    with bench.session() as session:
        before = session.run(net.weights)
        session.run([net.Y1_op, net.Y1_Loss], bench.feed("X", "Y1"))
        after = session.run(net.weights)
    moved = {name: int((after[name] != before[name]).sum()) for name in before}
    evidence = "np.sum(after != before)\n" + "\n".join(
        f"{name:8} {count:3} / {before[name].size}" for name, count in moved.items()
    )
    other = moved.pop("share_Y2")
    return _must(other == 0 and all(moved.values()), evidence)


def a_loss_is_from_before_its_step(bench: Bench) -> str:
    net, feed = bench.net, bench.feed("X", "Y1")
    with bench.session() as session:
        alone = session.run(net.Y1_Loss, feed)
        within = session.run([net.Y1_op, net.Y1_Loss], feed)[1]
        after = session.run(net.Y1_Loss, feed)
    evidence = f"Y1_Loss          {alone}\n[Y1_op, Y1_Loss] {within}\nY1_Loss          {after}"
    return _must(alone == within and after < within, evidence)


def the_joint_loss_is_the_sum(bench: Bench) -> str:
    net = bench.net
    with bench.session() as session:
        fetched = session.run([net.Y1_Loss, net.Y2_Loss, net.Joint_Loss], bench.feed())
    evidence = f"{fetched[0]} + {fetched[1]} = {fetched[2]}"
    return _must(fetched[0] + fetched[1] == fetched[2], evidence)


def two_steps_in_one_run_are_not_the_joint_step(bench: Bench) -> str:
    net, moves = bench.net, []
    for fetches in ([net.Optimiser], [net.Y1_op, net.Y2_op]):
        with bench.session() as session:
            before = session.run(net.shared_layer_weights)
            session.run(fetches, bench.feed())
            moves.append(abs(session.run(net.shared_layer_weights) - before).max())
    evidence = (
        "np.max(np.abs(after - before))\n"
        f"[Optimiser]    {moves[0]:.4f}\n[Y1_op, Y2_op] {moves[1]:.4f}"
    )
    return _must(moves[1] > 1.5 * moves[0], evidence)


def a_joint_step_trains_every_weight(bench: Bench) -> str:
    run = bench.explain("Optimiser", "Joint_Loss")
    weights = [name for name in run.changed or () if name.startswith("share") and "/" not in name]
    return _must(weights == list(bench.net.weights), f"changed = {weights}")


def each_adam_keeps_its_own(bench: Bench) -> str:
    run = bench.explain("Y1_op", "Y1_Loss")
    changed = run.changed or ()
    own = [n for n in changed if n not in ("share_W", "share_Y1")]
    _must(len(run.variables) == 23 and len(own) == 6, str(changed))
    others = "share_W/Adam" not in own and bench.net.Y2_op.name == "Adam_2"
    return _must("share_W/Adam_2" in own and others, "\n".join(own))


def no_package_is_called_tensorflow_with_a_capital(bench: Bench) -> str:
    return _error_of(ImportError, lambda: importlib.import_module("Tensorflow"))


def a_value_cannot_be_fetched(bench: Bench) -> str:
    net, Joint_Loss = bench.net, bench.net.Joint_Loss
    with bench.session() as session:
        _, Joint_Loss = session.run([net.Optimiser, Joint_Loss], bench.feed())
        return _error_of(TypeError, lambda: session.run([net.Optimiser, Joint_Loss], bench.feed()))


def the_old_initializer_is_deprecated(bench: Bench) -> str:
    words = " ".join(str(tf.initialize_all_variables.__doc__).split())
    start = words.find("THIS FUNCTION IS DEPRECATED")
    evidence = words[start : words.find(".", words.find("after", start)) + 1]
    instead = "tf.global_variables_initializer" in words[start:]
    return _must(start >= 0 and "2017" in evidence and instead, evidence)


def a_variable_of_sizes_is_two_integers(bench: Bench) -> str:
    with tf.Graph().as_default():
        variable = tf.Variable([10, 20], use_resource=False)
    evidence = f"tf.Variable([10, 20]): {variable.dtype.base_dtype.name} {variable.shape}"
    return _must(variable.dtype.base_dtype == tf.int32 and variable.shape == (2,), evidence)


def l2_loss_takes_one_tensor(bench: Bench) -> str:
    with tf.Graph().as_default():
        Y1, Y1_layer = tf.zeros([10, 20]), tf.zeros([10, 20])
        name = tf.nn.l2_loss(Y1, "second").op.name
        error = _error_of(Exception, lambda: tf.nn.l2_loss(Y1, Y1_layer))
    return _must(name == "second", f'tf.nn.l2_loss(Y1, "second").op.name == "{name}"\n{error}')


CLAIMS: Dict[str, Callable[[Bench], str]] = {
    function.__name__: function
    for function in (
        building_computes_nothing,
        zero_weights_give_squares,
        the_graph_has_216_nodes,
        variables_have_no_value_before_init,
        heads_are_not_shared,
        l2_loss_is_half_the_sum,
        one_task_runs_without_the_other,
        a_step_runs_without_the_other_label,
        planned_is_measured,
        grappler_leaves_some_out,
        the_other_head_keeps_its_bits,
        a_loss_is_from_before_its_step,
        the_joint_loss_is_the_sum,
        two_steps_in_one_run_are_not_the_joint_step,
        a_joint_step_trains_every_weight,
        each_adam_keeps_its_own,
        no_package_is_called_tensorflow_with_a_capital,
        a_value_cannot_be_fetched,
        the_old_initializer_is_deprecated,
        a_variable_of_sizes_is_two_integers,
        l2_loss_takes_one_tensor,
    )
}


def _numbers(array: np.ndarray) -> str:
    return " ".join(f"{value:8.4f}" for value in array.ravel()[:4]) + " ..."
