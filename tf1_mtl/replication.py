"""Tests the published figures of the article against many seeds of this graph.

The run of the notebook had no seed, so its figures cannot be reproduced bit for bit. But one can
test whether they look like a run of this graph. The steps of one run share their weights, so one
run is one observation. Its statistic is the mean of the ten alternate losses, or the joint loss.

If the published run came from this graph, its statistic and those of N seeds are exchangeable, and
its rank among them is uniform. Hence the test: it fails when the published figure is among the k
smallest or the k largest of the N + 1, which happens by chance with probability 2k / (N + 1)
exactly, whatever the distribution (a Monte Carlo rank test; Barnard 1963).
"""

from typing import Iterable, Iterator, NamedTuple, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl import feeds
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.published import PUBLISHED_ALTERNATE, PUBLISHED_JOINT, require_enough
from tf1_mtl.session import initialize
from tf1_mtl.training import train

#: Wanted false-fail rate of the test of one figure; with few seeds it is what they allow.
FALSE_FAIL = 0.005
#: The probability with which a detectable discrepancy is found.
POWER = 0.95


class Run(NamedTuple):
    """One alternate and one joint session, as published, of one seed."""

    seed: int
    alternate: Tuple[float, ...]  #: ten losses, each the sum of squares / 2 before its update
    joint: float  #: one loss, of the same kind


class Judgement(NamedTuple):
    """A published figure, compared with the same figure of many seeds."""

    published: float
    low: float  #: the test fails below this
    median: float
    high: float  #: the test fails above this
    quantile: float  #: where among the seeds the published figure lies, 0 to 1
    false_fail: float  #: chance that the test fails although all is right
    too_large: float  #: losses this many times too large would be found with probability POWER
    too_small: float  #: so would losses that are this fraction of what they should be

    @property
    def agrees(self) -> bool:
        """Returns True if the published figure is one that this graph gives."""
        return self.low <= self.published <= self.high


def run_seeds(net: MultiTaskGraph, session: tf.Session, seeds: Iterable[int]) -> Iterator[Run]:
    """Runs both sessions of the article for every seed, on one graph.

    Args:
      net: The graph of the article, of the default sizes.
      session: Open on it. Its variables start anew for every session that is run.
      seeds: Each gives the weights, the coin and the data of its own two sessions.

    Yields:
      A `Run` for each seed, with the losses of `tf1-mtl alternate` and `joint` for that seed.
    """
    for seed in seeds:
        rng = _start(net, session, seed)
        batches = feeds.alternate(feeds.article_draw(rng), rng, len(PUBLISHED_ALTERNATE))
        alternate = tuple(float(step.loss) for step in train(net, session, batches, "in-graph"))
        rng = _start(net, session, seed)
        (joint,) = train(net, session, feeds.joint(feeds.article_draw(rng)))
        yield Run(seed, alternate, float(joint.loss))


def _start(net: MultiTaskGraph, session: tf.Session, seed: int) -> np.random.RandomState:
    """Initializes every variable; the weights get the draws of this seed."""
    rng = np.random.RandomState(seed)
    initialize(net, session, [(w, rng.rand(*w.shape.as_list())) for w in net.weights.values()])
    return rng


def judge(published: float, sample: np.ndarray) -> Judgement:
    """Tests one published figure against the same figure of many seeds.

    Args:
      published: The figure.
      sample: float64 [seeds], the figure of each seed.

    Raises:
      InputError: Fewer than `published.FEWEST_SEEDS` seeds.
    """
    count = len(sample)
    require_enough("seeds", count)
    ordered = np.sort(sample)
    k = max(1, int(FALSE_FAIL / 2 * (count + 1)))
    low, high = ordered[k - 1], ordered[count - k]
    return Judgement(
        published=published,
        low=float(low),
        median=float(np.median(ordered)),
        high=float(high),
        quantile=float(np.mean(ordered < published)),
        false_fail=2 * k / (count + 1),
        # With all losses c times too large the test fails where a true figure is below c * low.
        too_large=float(np.quantile(ordered, POWER) / low),
        too_small=float(np.quantile(ordered, 1 - POWER) / high),
    )


def judge_article(runs: Iterable[Run]) -> Tuple[Judgement, Judgement]:
    """Judges both published figures: the mean of the alternate losses, and the joint loss."""
    kept = list(runs)
    means = np.array([np.mean(run.alternate) for run in kept])
    joints = np.array([run.joint for run in kept])
    return judge(float(np.mean(PUBLISHED_ALTERNATE)), means), judge(PUBLISHED_JOINT, joints)
