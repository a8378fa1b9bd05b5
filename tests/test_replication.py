"""The published figures agree with the graph of the article, and with none that scales its loss."""

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from command import assert_holds, done, refused, result

from tf1_mtl import InputError, build_graph, feeds, open_session, replication, train
from tf1_mtl.published import FEWEST_SEEDS

SEEDS = 400


def judged(seeds=SEEDS):
    net = build_graph()
    with open_session(net) as session:
        return replication.judge_article(replication.run_seeds(net, session, range(seeds)))


@pytest.mark.slow
@pytest.mark.runtime
def test_the_published_figures_are_such_as_this_graph_gives():
    alternate, joint = judged()
    assert alternate.agrees
    assert joint.agrees
    assert 0.02 < alternate.quantile < 0.3
    assert 0.1 < joint.quantile < 0.5
    assert alternate.false_fail + joint.false_fail <= 0.02


WRONG_LOSSES = {
    "l2 without the half": lambda t: tf.reduce_sum(t * t),
    "mean for the sum": lambda t: tf.reduce_mean(t * t) / 2,
    "mean over the batch": lambda t: tf.reduce_sum(t * t) / 2 / 10,
}


@pytest.mark.slow
@pytest.mark.parametrize("wrong", WRONG_LOSSES)
def test_a_wrong_loss_is_not_reproduced(monkeypatch, wrong):
    monkeypatch.setattr(tf.nn, "l2_loss", WRONG_LOSSES[wrong])
    alternate, joint = judged(200)
    assert not (alternate.agrees and joint.agrees)


@pytest.mark.slow
@pytest.mark.runtime
def test_the_verdict_is_the_exit_status(monkeypatch, capsys):
    reproduce = ("reproduce", "--seeds", 60, "--seed", 5, "--quiet")
    assert "\nREPRODUCED: " in done(capsys, *reproduce)
    monkeypatch.setattr(tf.nn, "l2_loss", lambda t: tf.reduce_sum(t * t))
    assert_holds(done(capsys, *reproduce, status=1), "\nNOT REPRODUCED: ", "OUTSIDE")


def test_json(capsys):
    found = result(capsys, "reproduce", "--seeds", 50, "--seed", 5)
    assert found["agrees"] is True
    assert (found["seed"], found["seeds"], len(found["alternate"])) == (5, 50, 10)
    assert found["published"]["joint"] == 1.15856e7
    assert found["false_fail"] == 2 * 2 / 51
    for test in found["tests"].values():
        assert test["low"] <= test["published"] <= test["high"]
        assert test["agrees"] is True


def test_each_seed_runs_as_on_a_graph_of_its_own():
    net = build_graph()
    with open_session(net) as session:
        runs = list(replication.run_seeds(net, session, [3, 8, 3]))
    assert runs[0] == runs[2]
    rng = np.random.RandomState(8)
    own = build_graph(rng)
    with open_session(own) as session:
        session.run(own.init)
        batches = feeds.alternate(feeds.article_draw(rng), rng)
        assert tuple(float(step.loss) for step in train(own, session, batches)) == runs[1].alternate


@pytest.mark.slow
def test_the_false_fail_rate_is_as_stated():
    """A true figure, drawn like the sample, is rejected about as often as `false_fail` states."""
    rng = np.random.RandomState(0)
    trials, count = 4000, 99
    refused = 0
    for _ in range(trials):
        drawn = rng.lognormal(size=count + 1)
        judgement = replication.judge(drawn[0], drawn[1:])
        refused += not judgement.agrees
    stated = judgement.false_fail
    assert stated == 0.02
    spread = 4 * np.sqrt(stated * (1 - stated) / trials)
    assert abs(refused / trials - stated) < spread


@pytest.mark.slow
def test_the_smallest_discrepancy_is_found_as_often_as_stated():
    rng = np.random.RandomState(1)
    sample = rng.lognormal(sigma=0.2, size=1000)
    judgement = replication.judge(1.0, sample)
    true_figures = rng.lognormal(sigma=0.2, size=4000)
    for factor in (judgement.too_large, judgement.too_small):
        found = np.mean(
            [not replication.judge(figure, sample * factor).agrees for figure in true_figures]
        )
        assert abs(found - replication.POWER) < 0.02


def test_too_few_seeds(capsys):
    with pytest.raises(InputError, match="seeds: 19, but should be at least 20"):
        replication.judge(1.0, np.arange(19.0))
    assert FEWEST_SEEDS == 20
    message = "--seeds: 19, but should be at least 20"
    assert message in refused(capsys, "reproduce", "--seeds", 19)
