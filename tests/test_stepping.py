"""The step modes give the bits of the article. `compiled` stays within its stated distance."""

import concurrent.futures
import contextlib
import itertools
import threading
import time
import types

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from needs import needs_xla
from sampling import slow_everywhere

from tf1_mtl import InputError, build_graph, feeds, open_session, train
from tf1_mtl.data import make_data
from tf1_mtl.feeds import Batch
from tf1_mtl.scale import STEPPINGS, chunks, compiled, in_graph, session_config

FAST = ("prepared", "in-graph")  # and bit for bit; they need nothing that some TensorFlow lacks

#: Distance of `compiled` from `session` over 2,000 steps, mostly of summation order. Measured on
#: 1.15.5 and 2.21.0: 9 units in the last place of a loss, 1.4e-7 in a weight near 1.
COMPILED_LOSS_ULP = 32
COMPILED_WEIGHT = 2e-6


def mixed(steps, seed=3, batch=10):
    """Draws all three tasks in random order, with the data of the article."""
    rng = np.random.RandomState(seed)
    draw = feeds.article_draw(rng, batch)
    return [draw(("Y1", "Y2", "joint")[rng.randint(3)]) for _ in range(steps)]


@contextlib.contextmanager
def started(variables="ref", config=None, **sizes):
    """Gives the graph of the article, and a session in which its variables are initialized."""
    net = build_graph(np.random.RandomState(7), variables=variables, **sizes)
    with open_session(net, config=config) as session:
        session.run(net.init)
        yield net, session


def run(batches, plan, config=None, variables="ref", **sizes):
    """Trains by the plan, [(stepping, steps), ...]. Returns losses, and every variable after it."""
    batches = iter(batches)
    losses = []
    with started(variables, config, **sizes) as (net, session):
        for stepping, steps in plan:
            part = itertools.islice(batches, steps)
            losses += [step.loss for step in train(net, session, part, stepping)]
        variables = net.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)
        values = dict(zip([v.op.name for v in variables], session.run(variables)))
    return np.array(losses), values


UNKNOWN_TASK = Batch("Y3", *mixed(1)[0][1:])
LABEL_MISSING = mixed(1)[0]._replace(task="Y1", Y1=None)


def assert_same_bits(got, expected):
    np.testing.assert_array_equal(got[0].view(np.int32), expected[0].view(np.int32))
    assert list(got[1]) == list(expected[1]) and len(got[1]) == 23
    for name, value in expected[1].items():
        np.testing.assert_array_equal(got[1][name], value, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("variables, part", [("ref", 40), ("ref", 200), ("resource", 200)])
def test_switching_midway_changes_no_bit(variables, part):
    batches = mixed(10 * part)
    expected = run(batches, [("session", 10 * part)], variables=variables)
    plan = [(stepping, part) for stepping in ("session", *FAST) * 3] + [("in-graph", part)]
    assert_same_bits(run(batches, plan, variables=variables), expected)
    for stepping in FAST:  # on the session that it is fastest on
        config = session_config(stepping, variables)
        plan = [(stepping, 6 * part), ("session", part), (stepping, 3 * part)]
        assert_same_bits(run(batches, plan, config, variables), expected)


@needs_xla
@pytest.mark.slow
@pytest.mark.parametrize("variables, part", [("ref", 200), ("resource", 40), ("resource", 200)])
def test_compiled_stays_near(variables, part):
    batches = mixed(10 * part)
    losses, values = run(batches, [("session", 10 * part)], variables=variables)
    config = session_config("compiled", variables)
    plan = [("compiled", 6 * part), ("session", part), ("compiled", 3 * part)]
    near_losses, near_values = run(batches, plan, config, variables)
    ulp = np.abs(near_losses.view(np.int32).astype(int) - losses.view(np.int32))
    assert ulp.max() <= COMPILED_LOSS_ULP
    for name in ("share_W", "share_Y1", "share_Y2"):
        np.testing.assert_allclose(near_values[name], values[name], rtol=0, atol=COMPILED_WEIGHT)
    for name, value in values.items():  # slots and beta powers: relative to their largest
        scale = np.abs(value).max()
        np.testing.assert_allclose(near_values[name], value, rtol=0, atol=1e-5 * scale)


@needs_xla
@pytest.mark.slow
@pytest.mark.runtime
def test_compiled_leaves_alone_what_a_task_does_not_train():
    batches = [batch for batch in mixed(100) if batch.task == "Y1"]
    _, before = run([], [])
    _, after = run(batches, [("compiled", len(batches))])
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    _, expected = run(batches, [("session", len(batches))])
    assert moved == {name for name in before if not np.array_equal(before[name], expected[name])}
    assert "share_Y1" in moved and "share_Y2" not in moved


@pytest.mark.parametrize(
    "stepping",
    [
        "prepared",
        slow_everywhere("in-graph"),
        pytest.param("compiled", marks=[needs_xla, pytest.mark.slow]),
    ],
)
def test_two_data_sets_of_different_rows(stepping):
    rng = np.random.RandomState(0)
    arrays = {"X1": (30, 4), "Y1": (30, 3), "X2": (12, 4), "Y2": (12, 5)}
    data = make_data({name: rng.rand(*shape) for name, shape in arrays.items()})
    draw = feeds.data_draw(data, rng)
    batches = list(feeds.alternate(draw, rng, 60))
    sizes = {"batch": None, "inputs": 4, "shared": 6, "tasks": (3, 5)}
    expected = run(batches, [("session", 60)], **sizes)
    got = run(batches, [(stepping, 60)], **sizes)
    if stepping in FAST:
        assert_same_bits(got, expected)
    else:
        np.testing.assert_allclose(got[0], expected[0], rtol=1e-5)


@pytest.mark.parametrize("stepping", [slow_everywhere("prepared"), "in-graph"])
def test_batches_of_many_sizes_and_dtypes(stepping):
    rng = np.random.RandomState(0)
    batches = [mixed(1, seed=i, batch=rows)[0] for i, rows in enumerate((10, 3, 3, 7, 10))]
    batches += [Batch(b.task, *(a.astype(np.float32) for a in b[1:])) for b in mixed(3)]
    batches.append(Batch("Y1", (rng.rand(4, 10) * 10).astype(np.int64), np.ones((4, 20)), None))
    batches.append(Batch("Y2", rng.rand(4, 10).tolist(), None, np.ones((4, 20), np.float16)))
    expected = run(batches, [("session", len(batches))], batch=None)
    assert_same_bits(run(batches, [(stepping, len(batches))], batch=None), expected)


@pytest.mark.parametrize(
    "stepping", [slow_everywhere("session"), slow_everywhere("prepared"), "in-graph"]
)
def test_a_bad_batch_stops_at_its_step_and_not_before(stepping):
    batches = mixed(20)
    batches[7] = batches[7]._replace(Y2=np.full((10, 20), np.nan))
    losses = []
    with started() as (net, session):
        with pytest.raises(InputError, match=r"step 7: Y2\[0, 0\] is nan"):
            for step in train(net, session, batches, stepping):
                losses.append(step.loss)
        weights = session.run(net.shared_layer_weights)
    expected = run(batches[:7], [("session", 7)])
    np.testing.assert_array_equal(losses, expected[0])
    np.testing.assert_array_equal(weights, expected[1]["share_W"])


@pytest.mark.parametrize(
    "stepping, bad",
    [
        ("prepared", UNKNOWN_TASK),
        slow_everywhere("prepared", LABEL_MISSING),
        slow_everywhere("in-graph", UNKNOWN_TASK),
        ("in-graph", LABEL_MISSING),
    ],
)
def test_a_batch_that_lacks_something_is_refused(stepping, bad):
    with pytest.raises(InputError, match="step 2"):
        run([*mixed(2), bad], [(stepping, 3)])


def test_chunks_are_cut_by_steps_and_by_memory(monkeypatch):
    net = build_graph(np.random.RandomState(0))
    assert chunks.chunk_length(net, 10) == chunks.MOST_STEPS
    monkeypatch.setattr(chunks, "MOST_BYTES", 5 * 4 * 10 * 50)
    drawn = [len(chunk.tasks) for chunk in chunks.in_chunks(net, mixed(12))]
    assert drawn == [5, 5, 2]
    assert chunks.chunk_length(net, 10**9) == 1


def test_nothing_is_drawn_before_it_is_needed():
    drawn = []
    source = (drawn.append(batch) or batch for batch in mixed(5))
    with started() as (net, session):
        stepping = train(net, session, source, "in-graph")
        assert drawn == []
        next(stepping)
        assert len(drawn) == 5


def test_one_chunk_runs_while_the_next_is_drawn(monkeypatch):
    """The first run ends only when the next chunk is being drawn, so a serial loop would fail."""
    monkeypatch.setattr(chunks, "MOST_STEPS", 4)
    monkeypatch.setattr(chunks, "_FEWEST_STEPS", 1)
    is_drawn = threading.Event()

    def source():
        for number, batch in enumerate(mixed(10)):
            if number == 5:
                is_drawn.set()
            yield batch

    with started() as (net, session):
        plain = session.run

        def run_when_drawn(*arguments):
            assert is_drawn.wait(30), "the next chunk is not drawn while this one runs"
            return plain(*arguments)

        session.run = run_when_drawn
        losses = [step.loss for step in train(net, session, source(), "in-graph")]
    np.testing.assert_array_equal(losses, run(mixed(10), [("session", 10)])[0])


@pytest.mark.parametrize(
    "error, fewest",
    [
        (ValueError, 1),
        slow_everywhere(ValueError, 100),
        slow_everywhere(KeyboardInterrupt, 1),
        slow_everywhere(KeyboardInterrupt, 100),
    ],
)
def test_an_error_of_the_batches_comes_after_the_steps_before_it(monkeypatch, error, fewest):
    """And the variables are those after the chunk whose steps are yielded."""
    monkeypatch.setattr(chunks, "MOST_STEPS", 4)
    monkeypatch.setattr(chunks, "_FEWEST_STEPS", fewest)
    batches = mixed(8)
    expected = [run(batches[:count], [("session", count)]) for count in (4, 8)]

    def source():
        yield from batches
        raise error

    losses, weights = [], []
    with started() as (net, session), pytest.raises(error):
        for step in train(net, session, source(), "in-graph"):
            losses.append(step.loss)
            weights.append(session.run(net.shared_layer_weights))
    np.testing.assert_array_equal(losses, expected[1][0])
    for step, after in enumerate(weights):
        np.testing.assert_array_equal(after, expected[step // 4][1]["share_W"])


@needs_xla
def test_compiled_leaves_wide_layers_to_the_loop_of_the_graph():
    sizes = {"batch": None, "inputs": 200, "shared": 300, "tasks": (200, 200)}
    data = np.random.RandomState(0)
    batches = [Batch("joint", *(data.rand(3, 200) for _ in range(3))) for _ in range(3)]
    expected = run(batches, [("in-graph", 3)], **sizes)
    assert_same_bits(run(batches, [("compiled", 3)], **sizes), expected)


@pytest.mark.parametrize("stepping", FAST)
def test_the_graph_is_extended_once_and_the_model_not_at_all(stepping):
    v2 = getattr(tf, "control_flow_v2_enabled", lambda: None)
    v2_before = v2()
    with started() as (net, session):
        sizes = [len(net.graph.get_operations())]
        for _ in range(2):
            list(train(net, session, mixed(30), stepping))
            sizes.append(len(net.graph.get_operations()))
    assert sizes[0] == 216 < sizes[1] == sizes[2]
    assert len(net.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)) == 23
    assert len(net.graph.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES)) == 3
    assert v2() == v2_before


def slowed_net():
    """Builds the graph of the article, with a slow update of share_W."""
    net = build_graph(np.random.RandomState(7))

    def sleep(gradient):
        time.sleep(0.02)
        return gradient

    with net.graph.as_default():
        for update in net.graph.get_operations():
            if update.type == "ApplyAdam" and update.inputs[0].op.name == "share_W":
                gradient = update.inputs[9]
                slow = tf.py_func(sleep, [gradient], tf.float32)
                slow.set_shape(gradient.shape)
                update._update_input(9, slow)
    return net


def slowed_losses(batches, stepping):
    net = slowed_net()
    with open_session(net) as session:
        session.run(net.init)
        return [step.loss for step in train(net, session, batches, stepping)]


@pytest.mark.slow
@pytest.mark.runtime
def test_no_step_begins_before_the_last_one_has_written(monkeypatch):
    batches = mixed(12)
    expected = run(batches, [("session", 12)])[0]
    np.testing.assert_array_equal(slowed_losses(batches, "in-graph"), expected)
    np.testing.assert_array_equal(slowed_losses(batches, "prepared"), expected)
    # What this test sees when the loop counter does not wait for the update.
    monkeypatch.setattr(in_graph, "_next", lambda step, loss: step + 1)
    raced = slowed_losses(batches, "in-graph")
    assert not np.array_equal(raced[1:], expected[1:])


def test_an_executor_without_loops_is_named():
    config = session_config("prepared", "resource")
    assert config.experimental.executor_type == "SINGLE_THREADED_EXECUTOR"
    with pytest.raises(InputError, match="executor of this session does not run loops"):
        run(mixed(2), [("in-graph", 2)], config, "resource")


def test_unknown_stepping():
    net = build_graph(np.random.RandomState(0))
    with open_session(net) as session, pytest.raises(InputError, match="one of session, prepared"):
        train(net, session, [], "fast")
    assert session_config("session") is None
    assert STEPPINGS[0] == "session"


def test_compiled_says_what_it_lacks(monkeypatch):
    net = build_graph(np.random.RandomState(0))
    with open_session(net) as session:
        monkeypatch.setattr(compiled, "tf", types.SimpleNamespace(__version__="1.13.2"))
        with pytest.raises(InputError, match=r"TensorFlow 1\.13\.2 has no XLA .* 1\.14 or newer"):
            list(train(net, session, mixed(1), "compiled"))


@pytest.mark.slow
@pytest.mark.runtime
def test_threads_that_build_at_once():
    """The kind of control flow is a setting of the process, which each of them changes."""
    batches = mixed(4)
    given = (batches, [("in-graph", 4)], in_graph.config("ref"))
    expected = run(*given)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(run, *given) for _ in range(4)]:
            assert_same_bits(future.result(), expected)
