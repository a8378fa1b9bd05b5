"""Compares training alone, alternately and jointly, from the same weights and on the same rows.

Every *regime* starts from the same weights and uses the labelled rows of each task equally often,
in the same order. In a regime that tosses a coin this holds on average. The result is the loss on
rows held out. A *seed* draws the rows held out, the order of the others, the first weights and the
coin. The regimes are compared within a seed.
"""

import time
from typing import Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.data import Data, make_data
from tf1_mtl.errors import InputError, require
from tf1_mtl.feeds import Batch, data_draw
from tf1_mtl.graph import MultiTaskGraph, build_graph
from tf1_mtl.session import initialize, open_session
from tf1_mtl.training import train

ALONE, RANDOM, TURNS, PROPORTIONAL, JOINT = "alone", "random", "turns", "proportional", "joint"

#: How each regime trains, in words.
WORDS = {
    "alone": "alone",
    "random": "alternately by coin",
    "turns": "alternately in strict turns",
    "proportional": "alternately in proportion to the data",
    "joint": "jointly",
}

BATCH = 10
TASKS = ("Y1", "Y2")
#: Numbers of steps of one task, or of the other, that follow a training in turns.
LAST_STEPS = (1, 50)

#: Draws from a random stream the rows to train on and the rows held out.
Split = Callable[[np.random.RandomState], Tuple[Data, Data]]


class Setting(NamedTuple):
    """Holds data, a start and a learning rate, under which regimes are compared."""

    data: str  #: what they are, in words
    split: Split
    regimes: Tuple[str, ...]
    tasks: Tuple[str, str]  #: what Y1 and Y2 are, in words
    start: str = "centred"  #: "centred", or "article" for the published uniform [0, 1)
    learning_rate: float = 0.001  #: the default of Adam, as published
    larger: str = ""  #: the task with the larger data set
    last_task: bool = False  #: True also measures what the task trained last gains

    @property
    def name(self) -> str:
        """Returns a name that no other setting has."""
        return f"{self.data}; {self.start} start, learning rate {self.learning_rate:g}"


def settings_of_digits() -> List[Setting]:
    """Returns the digits with both labels, as two unequal sets, and with other starts and rates.

    Raises:
      MissingExtra: scikit-learn is not installed.
    """
    data = digits()
    tasks = ("which of ten digits", "a closed loop or not")
    both = _plain(data, "digits, both labels on every row", tasks)
    in_sets = [
        Setting(
            f"digits in two sets, {larger}'s four times the other",
            unequal_sets(data, larger),
            (ALONE, RANDOM, TURNS, PROPORTIONAL),
            tasks,
            larger=larger,
        )
        for larger in ("Y1", "Y2")
    ]
    return [both, *in_sets, *_variations(both)]


def settings_of(data: Data, name: str) -> List[Setting]:
    """Returns the data of a user as they are, and with other starts and rates.

    Raises:
      InputError: A set has fewer than 16 rows.
    """
    plain = _plain(data, name, (_in_words(data.Y1), _in_words(data.Y2)))
    return [plain, *_variations(plain)]


def quick(settings: Sequence[Setting]) -> List[Setting]:
    """Returns the first setting, with what answers "alternate or joint?" and no more.

    Its figures are those that the same regimes have in a comparison under all settings.
    """
    return [_without_variants(settings[0])]


def _variations(setting: Setting) -> List[Setting]:
    return [
        _without_variants(setting)._replace(start=start, learning_rate=rate)
        for start, rate in (("centred", 0.01), ("article", 0.001), ("article", 0.01))
    ]


def _without_variants(setting: Setting) -> Setting:
    """Returns a setting with training by coin as the only kind of alternate training."""
    regimes = tuple(regime for regime in setting.regimes if regime in (ALONE, RANDOM, JOINT))
    return setting._replace(regimes=regimes, last_task=False)


def _plain(data: Data, name: str, tasks: Tuple[str, str]) -> Setting:
    if data.one_set:
        # With as many rows for each task, a proportional coin is that of the article.
        regimes: Tuple[str, ...] = (ALONE, RANDOM, TURNS, JOINT)
        return Setting(name, held_out(data), regimes, tasks, last_task=True)
    more = len(data.Y1) - len(data.Y2)
    larger = "Y1" if more > 0 else "Y2" if more < 0 else ""
    regimes = (ALONE, RANDOM, TURNS, PROPORTIONAL)
    return Setting(name, held_out(data), regimes, tasks, larger=larger, last_task=True)


def _in_words(labels: np.ndarray) -> str:
    columns = labels.shape[1]
    if _one_hot(labels):
        return f"one of {columns} classes"
    return "one number a row" if columns == 1 else f"{columns} numbers a row"


def _one_hot(labels: np.ndarray) -> bool:
    """Returns True if every row is 0, except for a 1 in one of at least two columns."""
    zero_or_one = bool(((labels == 0) | (labels == 1)).all())
    return zero_or_one and labels.shape[1] > 1 and bool((labels.sum(axis=1) == 1).all())


def digits() -> Data:
    """Returns the 1,797 digits of scikit-learn: which digit, and whether it has a closed loop.

    Raises:
      MissingExtra: scikit-learn is not installed.
    """
    bunch = require("sklearn.datasets", "plot").load_digits()
    has_loop = np.isin(bunch.target, (0, 6, 8, 9)).astype(int)
    return make_data(
        {"X": bunch.data / 16, "Y1": np.eye(10)[bunch.target], "Y2": np.eye(2)[has_loop]}
    )


def held_out(data: Data) -> Split:
    """Returns a function that holds out a quarter of the rows of each set.

    Raises:
      InputError: A set has fewer than 16 rows.
    """
    fewest = min(len(data.X1), len(data.X2))
    if fewest < 16:
        raise InputError(
            f"data: a set has {fewest} rows, but should have at least 16, of which a quarter is "
            "held out and ten are a batch. Give more rows."
        )

    def split(rng: np.random.RandomState) -> Tuple[Data, Data]:
        order_1 = rng.permutation(len(data.X1))
        order_2 = order_1 if data.one_set else rng.permutation(len(data.X2))
        return (
            _rows(data, order_1[len(order_1) // 4 :], order_2[len(order_2) // 4 :]),
            _rows(data, order_1[: len(order_1) // 4], order_2[: len(order_2) // 4]),
        )

    return split


def unequal_sets(data: Data, larger: str) -> Split:
    """Returns a function that splits data into two sets with one label each.

    The larger set gets four of five rows.
    """

    def split(rng: np.random.RandomState) -> Tuple[Data, Data]:
        order = rng.permutation(len(data.X1))
        out, rest = np.split(order, [len(order) // 4])
        small, large = np.split(rest, [len(rest) // 5])
        first, second = (large, small) if larger == "Y1" else (small, large)
        two = Data(data.X1, data.Y1, data.X2.copy(), data.Y2)
        return _rows(two, first, second), _rows(two, out, out)

    return split


def _rows(data: Data, first: np.ndarray, second: np.ndarray) -> Data:
    X1 = data.X1[first]
    X2 = X1 if data.one_set else data.X2[second]
    return Data(X1, data.Y1[first], X2, data.Y2[second])


class Outcome(NamedTuple):
    """Holds the result of one regime from the start of one seed. Dictionaries are by task."""

    setting: str
    seed: int
    regime: str
    rows: Dict[str, int]  #: to train on
    steps: Dict[str, int]  #: steps that trained the task
    seconds: float  #: time of all its training
    loss: Dict[str, float]  #: on rows held out: sum of squares / 2, a row
    guess: Dict[str, float]  #: the same of a constant guess, the mean label of the rows seen
    accuracy: Dict[str, Optional[float]]  #: on rows held out, or None if the labels are not one-hot
    silent: Dict[str, int]  #: outputs that are 0 for every row held out
    last: Dict[int, Dict[str, float]]
    #: By number of last steps: the loss when the other task was trained last, as a multiple of the
    #: loss when the task itself was. Only of regimes that alternate, if the setting asks for it.


def trainings(settings: Sequence[Setting], steps: int, seeds: int) -> Iterator[Outcome]:
    """Trains every regime of every setting from every seed.

    Args:
      settings: The settings to compare under.
      steps: Number of steps of each task. A joint step counts for both.
      seeds: Number of seeds, from 0.

    Raises:
      InputError: The numbers in the data are so large that the outputs overflow.
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
    """Trains under one setting with one seed."""

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
        # Each task has a stream of rows, which is the same in every regime. With both labels on
        # every row the two streams are equal, so a joint step sees what the steps alone see.
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
        """Trains one task last, then the other, from the same state, and compares the losses."""
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
    right = outputs.argmax(axis=1) == labels.argmax(axis=1)
    return _Measured(
        loss=float(squares.sum() / 2 / len(labels)),
        accuracy=float(right.mean()) if _one_hot(labels) else None,
        silent=int((outputs <= 0).all(axis=0).sum()),
    )


def ratio(loss: float, other: float) -> float:
    """Returns loss / other, and 1 for two losses of 0."""
    tiny = float(np.finfo(np.float32).tiny)
    return (loss + tiny) / (other + tiny)


def schedule(regime: str, steps: int, rows: Dict[str, int], seed: int) -> List[str]:
    """Returns the task of each step.

    Args:
      regime: A task trains alone. "joint" trains both. "turns" takes strict turns, "random"
        tosses the coin of the article, and "proportional" a coin as uneven as the data.
      steps: Number of steps of each task, on average. In "proportional" their sum is the same.
      rows: Number of rows of each task.
      seed: Seed of the coin.
    """
    if regime == TURNS:
        return ["Y1", "Y2"] * steps
    if regime not in (RANDOM, PROPORTIONAL):
        return [regime] * steps
    share = 0.5 if regime == RANDOM else rows["Y1"] / (rows["Y1"] + rows["Y2"])
    coin = np.random.RandomState([seed, 2])  # a stream beside those of the start and the rows
    return ["Y1" if coin.rand() < share else "Y2" for _ in range(2 * steps)]


def centred(rng: np.random.RandomState, inputs: int, outputs: int) -> np.ndarray:
    """Returns small weights of both signs: uniform within sqrt(6 / (inputs + outputs)).

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks" (2010), equation 16.
    """
    return (rng.rand(inputs, outputs) * 2 - 1) * np.sqrt(6.0 / (inputs + outputs))


def uniform(rng: np.random.RandomState, inputs: int, outputs: int) -> np.ndarray:
    """Returns first weights as in the article: uniform on [0, 1)."""
    return rng.rand(inputs, outputs)
