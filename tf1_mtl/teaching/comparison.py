"""Which to choose: each task alone, alternately or jointly, from one start and on one diet.

Every *regime* starts from the same weights and takes each task's labelled rows equally often, in
the same order; of a regime that leaves the choice to a coin this holds on average. What counts is
the loss on rows held out. A *seed* draws the rows held out, the order of the others, the first
weights and the coin, and the regimes are compared within a seed.
"""

import time
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.feeds import Batch, data_draw
from tf1_mtl.graph import MultiTaskGraph, build_graph
from tf1_mtl.session import initialize, open_session
from tf1_mtl.teaching.comparison_settings import (
    ALONE,
    JOINT,
    PROPORTIONAL,
    RANDOM,
    TURNS,
    Setting,
)
from tf1_mtl.training import train

BATCH = 10
TASKS = ("Y1", "Y2")
#: A training in turns is followed by so many steps of one task, or else of the other.
LAST_STEPS = (1, 50)


class Outcome(NamedTuple):
    """One regime, trained from one seed's start; dictionaries by task."""

    setting: str
    seed: int
    regime: str
    rows: Dict[str, int]  #: to train on
    steps: Dict[str, int]  #: that trained the task
    seconds: float  #: of all its training
    loss: Dict[str, float]  #: on rows held out: sum of squares / 2, a row
    guess: Dict[str, float]  #: the same of a constant guess, the mean label of the rows seen
    accuracy: Dict[str, Optional[float]]  #: on rows held out; None unless labels are one-hot
    silent: Dict[str, int]  #: outputs that are 0 for every row held out
    last: Dict[int, Dict[str, float]]
    #: the loss when the other task was trained last, for so many steps, as a multiple of the loss
    #: when the task itself was; only where asked for, of the regimes that take turns


def trainings(settings: Sequence[Setting], steps: int, seeds: int) -> Iterator[Outcome]:
    """Trains every regime of every setting from every seed.

    Args:
      settings: What to compare under.
      steps: Of each task; a joint step is one of both.
      seeds: How many, from 0.

    Raises:
      InputError: The numbers of the data are so large that the outputs overflow.
    """
    for setting in settings:
        seen, _ = setting.split(np.random.RandomState(0))
        net = build_graph(
            np.random.RandomState(0),  # these weights are never used, see `initialize`
            batch=None,
            inputs=seen.inputs,
            tasks=seen.tasks,
            learning_rate=setting.learning_rate,
        )
        # These graphs are too small for threads to help.
        config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        with open_session(net, config=config) as session:
            for seed in range(seeds):
                trial = _Trial(net, session, setting, steps, seed)
                for regime in setting.regimes:
                    yield trial.outcome(regime)


class _Trial:
    """One seed under one setting."""

    def __init__(
        self, net: MultiTaskGraph, session: tf.Session, setting: Setting, steps: int, seed: int
    ) -> None:
        self.net, self.session, self.setting = net, session, setting
        self.steps, self.seed = steps, seed
        rng = np.random.RandomState(seed)
        self.seen, self.unseen = setting.split(rng)
        first = {"centred": centred, "article": uniform}[setting.start]
        self.start = [(w, first(rng, *w.shape.as_list())) for w in net.weights.values()]
        self.rows = {"Y1": len(self.seen.Y1), "Y2": len(self.seen.Y2)}

    def outcome(self, regime: str) -> Outcome:
        """Trains a regime and measures it."""
        measured: Dict[str, _Measured] = {}
        trained: List[str] = []
        last: Dict[int, Dict[str, float]] = {}
        seconds = 0.0
        for which in TASKS if regime == ALONE else (regime,):
            initialize(self.net, self.session, self.start)
            began = time.perf_counter()
            trained += self._train(schedule(which, self.steps, self.rows, self.seed))
            seconds += time.perf_counter() - began
            after = self._measure()
            measured.update({which: after[which]} if regime == ALONE else after)
        if self.setting.last_task and regime in (RANDOM, TURNS, PROPORTIONAL):
            last = self._last_task()
        return Outcome(
            setting=self.setting.name,
            seed=self.seed,
            regime=regime,
            rows=self.rows,
            steps={task: sum(done in (task, JOINT) for done in trained) for task in TASKS},
            seconds=seconds,
            loss={task: measured[task].loss for task in TASKS},
            guess={task: self._guess(task) for task in TASKS},
            accuracy={task: measured[task].accuracy for task in TASKS},
            silent={task: measured[task].silent for task in TASKS},
            last=last,
        )

    def _train(self, tasks: Sequence[str]) -> List[str]:
        # A stream of rows for each task, the same in every regime; of data with both labels the
        # two streams are one, so that a joint step sees what the steps alone see.
        draws = {
            task: data_draw(self.seen, np.random.RandomState([self.seed, 1]), BATCH)
            for task in TASKS
        }

        def batches() -> Iterator[Batch]:
            for task in tasks:
                yield draws["Y1" if task == JOINT else task](task)

        return [step.task for step in train(self.net, self.session, batches())]

    def _measure(self) -> Dict[str, "_Measured"]:
        net, unseen = self.net, self.unseen
        Y1_layer = self.session.run(net.Y1_layer, {net.X: unseen.X1})
        Y2_layer = self.session.run(net.Y2_layer, {net.X: unseen.X2})
        return {"Y1": _measured(unseen.Y1, Y1_layer), "Y2": _measured(unseen.Y2, Y2_layer)}

    def _guess(self, task: str) -> float:
        seen, unseen = getattr(self.seen, task), getattr(self.unseen, task)
        return _measured(unseen, np.broadcast_to(seen.mean(axis=0), unseen.shape)).loss

    def _last_task(self) -> Dict[int, Dict[str, float]]:
        """From the state that training reached, some steps of one task, or else of the other."""
        with self.net.graph.as_default():
            variables = tf.global_variables()
        reached = list(zip(variables, self.session.run(variables)))
        ratios = {}
        for steps in LAST_STEPS:
            after = {}
            for task in TASKS:
                initialize(self.net, self.session, reached)
                self._train([task] * steps)
                after[task] = self._measure()
            ratios[steps] = {
                "Y1": ratio(after["Y2"]["Y1"].loss, after["Y1"]["Y1"].loss),
                "Y2": ratio(after["Y1"]["Y2"].loss, after["Y2"]["Y2"].loss),
            }
        return ratios


class _Measured(NamedTuple):
    loss: float
    accuracy: Optional[float]
    silent: int


def _measured(labels: np.ndarray, outputs: np.ndarray) -> _Measured:
    squares = (labels.astype(np.float64) - outputs) ** 2
    if not np.isfinite(squares).all():
        raise InputError(
            "data: training leads to outputs that are not finite numbers. Scale X and the labels, "
            "to about 1."
        )
    one_hot = set(np.unique(labels)) <= {0, 1} and bool((labels.sum(axis=1) == 1).all())
    right = outputs.argmax(axis=1) == labels.argmax(axis=1)
    return _Measured(
        loss=float(squares.sum() / 2 / len(labels)),
        accuracy=float(right.mean()) if one_hot and labels.shape[1] > 1 else None,
        silent=int((outputs <= 0).all(axis=0).sum()),
    )


def ratio(loss: float, other: float) -> float:
    """loss / other; of two losses of 0, as silent outputs can have, 1."""
    tiny = float(np.finfo(np.float32).tiny)
    return (loss + tiny) / (other + tiny)


def schedule(regime: str, steps: int, rows: Dict[str, int], seed: int) -> List[str]:
    """The task of each step.

    Args:
      regime: A task, to train it alone; "joint"; "turns" for strict turn-taking; "random" for the
        article's coin; "proportional" for a coin as uneven as the data.
      steps: Of each task, on average; "proportional" takes as many as the others in all.
      rows: Of each task's data.
      seed: Of the coin.
    """
    if regime == TURNS:
        return ["Y1", "Y2"] * steps
    if regime not in (RANDOM, PROPORTIONAL):
        return [regime] * steps
    share = 0.5 if regime == RANDOM else rows["Y1"] / (rows["Y1"] + rows["Y2"])
    coin = np.random.RandomState([seed, 2])  # a stream beside those of the start and the rows
    return ["Y1" if coin.rand() < share else "Y2" for _ in range(2 * steps)]


def centred(rng: np.random.RandomState, inputs: int, outputs: int) -> np.ndarray:
    """Small weights on both sides of zero: uniform within sqrt(6 / (inputs + outputs)).

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010), equation 16.
    """
    return (rng.rand(inputs, outputs) * 2 - 1) * np.sqrt(6.0 / (inputs + outputs))


def uniform(rng: np.random.RandomState, inputs: int, outputs: int) -> np.ndarray:
    """The article's first weights: uniform on [0, 1)."""
    return rng.rand(inputs, outputs)
