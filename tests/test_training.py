"""The loop gives what real TensorFlow 1.x gave. The tolerances are those of measured runtimes."""

import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from conftest import LOSS_DISTANCE
from sampling import slow_everywhere

from tf1_mtl import InputError, Step, build_graph, feeds, open_session, train
from tf1_mtl.data import make_data

TRUTH = os.path.join(os.path.dirname(__file__), "truth")
RUNTIMES = ("0.12.1", "1.0.1", "1.10.0", "1.15.5")
#: Builds and CPUs sum in different orders. Over 2,000 steps the losses of all supported versions
#: stayed within 3 ulp of each other, and the weights within 2e-6 absolute.
LOSS_ULP = 3
WEIGHT_DISTANCE = 2e-6
WEIGHTS = ("share_W", "share_Y1", "share_Y2")


def ulp_distance(a, b):
    """The number of floats between two arrays of positive float32, element by element."""
    return np.abs(a.view(np.int32).astype(np.int64) - b.view(np.int32).astype(np.int64))


def run(regime, seed, steps, variables="ref"):
    """Returns losses, and the weights after each step in `kept`, of the session of the article."""
    rng = np.random.RandomState(seed)
    net = build_graph(rng, variables=variables)
    draw = feeds.article_draw(rng)
    batches = feeds.joint(draw, steps) if regime == "joint" else feeds.alternate(draw, rng, steps)
    weights = [net.shared_layer_weights, net.Y1_layer_weights, net.Y2_layer_weights]
    trained, kept = [], {}
    with open_session(net) as session:
        session.run(net.init)
        for step in train(net, session, batches):
            trained.append(step)
            if step.step + 1 in (1, 10, 100, 200):
                kept[step.step + 1] = dict(zip(WEIGHTS, session.run(weights)))
    return trained, kept


@pytest.mark.parametrize(
    ("regime", "variables"),
    [
        ("alternate", "ref"),
        slow_everywhere("alternate", "resource"),
        slow_everywhere("joint", "ref"),
        ("joint", "resource"),
    ],
)
def test_as_on_every_real_runtime(regime, variables, record_property):
    truths = {
        version: np.load(os.path.join(TRUTH, f"sessions-{version}.npz")) for version in RUNTIMES
    }
    seeds = truths["1.15.5"]["seeds"]
    assert len(seeds) >= 2
    for index, seed in enumerate(seeds):
        trained, kept = run(regime, seed, 200, variables)
        losses = np.array([step.loss for step in trained])
        assert losses.dtype == np.float32
        assert [step.step for step in trained] == list(range(200))
        for version, truth in truths.items():
            distance = ulp_distance(losses, truth[f"{regime}_losses"][index])
            assert distance.max() <= LOSS_ULP, (version, seed, distance.argmax())
            if version == "1.15.5":
                record_property(LOSS_DISTANCE, (tf.__version__, int(distance.max())))
            for at, step in enumerate(truth["kept"]):
                for name, weights in kept[step].items():
                    recorded = truth[f"{regime}_{name}"][index, at]
                    assert np.abs(weights - recorded).max() <= WEIGHT_DISTANCE, (version, name)
        tasks = [step.task for step in trained]
        if regime == "joint":
            assert set(tasks) == {"joint"}
        else:
            assert tasks == list(truths["1.15.5"]["alternate_tasks"][index])


def test_a_step_is_its_loss_before_the_update_and_its_number():
    rng = np.random.RandomState(0)
    net = build_graph(rng)
    batch = feeds.article_draw(rng)("Y1")
    feed_dict = {net.X: batch.X, net.Y1: batch.Y1, net.Y2: batch.Y2}
    with open_session(net) as session:
        session.run(net.init)
        before = session.run(net.Y1_Loss, feed_dict)
        first, second = train(net, session, [batch, batch])
        assert first == Step(0, "Y1", before)
        assert second.step == 1
        assert second.loss < first.loss


def test_feeding_only_what_the_task_needs_gives_the_same_bits():
    rng = np.random.RandomState(0)
    draw = feeds.article_draw(rng)
    batches = [draw(task) for task in ("Y1", "Y2", "Y1", "Y1", "Y2")]
    other = {"Y1": "Y2", "Y2": "Y1"}
    bare = [batch._replace(**{other[batch.task]: None}) for batch in batches]
    net = build_graph(rng)
    results = []
    for fed in (batches, bare):
        with open_session(net) as session:
            session.run(net.init)
            results.append([step.loss for step in train(net, session, fed)])
    assert results[0] == results[1]


def test_two_data_sets_of_different_rows():
    rng = np.random.RandomState(0)
    shapes = {"X1": (7, 3), "Y1": (7, 2), "X2": (5, 3), "Y2": (5, 4)}
    data = make_data({name: rng.rand(*shape) for name, shape in shapes.items()})
    net = build_graph(rng, batch=None, inputs=data.inputs, tasks=data.tasks)
    with open_session(net) as session:
        session.run(net.init)
        other_head = session.run(net.Y2_layer_weights)
        batches = [feeds.data_draw(data, rng)("Y1")]
        (step,) = train(net, session, batches)
        assert np.isfinite(step.loss)
        np.testing.assert_array_equal(session.run(net.Y2_layer_weights), other_head)


def test_a_bad_batch_stops_before_tensorflow_sees_it():
    rng = np.random.RandomState(0)
    net = build_graph(rng)
    draw = feeds.article_draw(rng)
    good, bad = draw("joint"), draw("joint")
    bad.X[3, 4] = np.nan
    with open_session(net) as session:
        session.run(net.init)
        steps = train(net, session, [good, bad])
        next(steps)
        after_good = session.run(net.shared_layer_weights)
        with pytest.raises(InputError, match=r"step 1: X\[3, 4\] is nan"):
            next(steps)
        np.testing.assert_array_equal(session.run(net.shared_layer_weights), after_good)


def test_a_checkpoint_of_real_1_15_5_restores_bit_for_bit():
    folder = os.path.join(TRUTH, "checkpoint-1.15.5")
    expected = np.load(os.path.join(folder, "expected.npz"))
    for variables in ("ref", "resource"):
        net = build_graph(np.random.RandomState(1), variables=variables)
        with net.graph.as_default():
            saver = tf.train.Saver()
            all_variables = {v.op.name: v for v in tf.global_variables()}
        assert len(all_variables) == 23
        assert set(all_variables) == set(expected.files) - {"recorded_by"}
        with open_session(net) as session:
            saver.restore(session, tf.train.latest_checkpoint(folder))
            restored = session.run(all_variables)
        for name, value in restored.items():
            assert value.dtype == expected[name].dtype
            assert value.tobytes() == expected[name].tobytes(), name
