"""Under what regimes are compared: data, how they are divided, the first weights, the rate."""

from typing import Callable, List, NamedTuple, Tuple

import numpy as np

from tf1_mtl.data import Data, make_data
from tf1_mtl.errors import InputError, require

ALONE, RANDOM, TURNS, PROPORTIONAL, JOINT = "alone", "random", "turns", "proportional", "joint"

#: How each regime trains, in words.
WORDS = {
    "alone": "alone",
    "random": "alternately by coin",
    "turns": "alternately in strict turns",
    "proportional": "alternately in proportion to the data",
    "joint": "jointly",
}

#: From a random stream: the rows to train on, and the rows held out.
Split = Callable[[np.random.RandomState], Tuple[Data, Data]]


class Setting(NamedTuple):
    """Data, a start and a learning rate, under which regimes are compared."""

    data: str  #: what they are, in words
    split: Split
    regimes: Tuple[str, ...]
    start: str = "centred"  #: "centred", or "article" for the published uniform [0, 1)
    learning_rate: float = 0.001  #: the published one, which is Adam's default
    larger: str = ""  #: the task with the larger data set
    last_task: bool = False  #: also measure what the task trained last gains

    @property
    def name(self) -> str:
        """Names the setting apart from all others."""
        return f"{self.data}; {self.start} start, learning rate {self.learning_rate:g}"


def settings_of_digits() -> List[Setting]:
    """The digits with both labels, as two unequal sets, and with the other starts and rates.

    Raises:
      MissingExtra: scikit-learn is not installed.
    """
    data = digits()
    both = _plain(data, "digits, both labels on every row")
    in_sets = [
        Setting(
            f"digits in two sets, {larger}'s four times the other",
            unequal_sets(data, larger),
            (ALONE, RANDOM, TURNS, PROPORTIONAL),
            larger=larger,
        )
        for larger in ("Y1", "Y2")
    ]
    return [both, *in_sets, *_variations(both)]


def settings_of(data: Data, name: str) -> List[Setting]:
    """A user's data as they are, and with the other starts and rates.

    Raises:
      InputError: A set has fewer than 16 rows.
    """
    plain = _plain(data, name)
    return [plain, *_variations(plain)]


def _plain(data: Data, name: str) -> Setting:
    if data.one_set:
        # With as many rows for each task a proportional coin is the article's own.
        return Setting(name, held_out(data), (ALONE, RANDOM, TURNS, JOINT), last_task=True)
    rows = {"Y1": len(data.Y1), "Y2": len(data.Y2)}
    larger = "" if rows["Y1"] == rows["Y2"] else max(rows, key=rows.__getitem__)
    regimes = (ALONE, RANDOM, TURNS, PROPORTIONAL)
    return Setting(name, held_out(data), regimes, larger=larger, last_task=True)


def _variations(setting: Setting) -> List[Setting]:
    regimes = tuple(r for r in setting.regimes if r in (ALONE, TURNS, JOINT))
    return [
        setting._replace(regimes=regimes, start=start, learning_rate=rate, last_task=False)
        for start, rate in (("centred", 0.01), ("article", 0.001), ("article", 0.01))
    ]


def digits() -> Data:
    """scikit-learn's 1,797 handwritten digits, 8x8: which digit, and does it have a closed loop?

    Raises:
      MissingExtra: scikit-learn is not installed.
    """
    bunch = require("sklearn.datasets", "plot").load_digits()
    has_loop = np.isin(bunch.target, (0, 6, 8, 9)).astype(int)
    return make_data(
        {"X": bunch.data / 16, "Y1": np.eye(10)[bunch.target], "Y2": np.eye(2)[has_loop]}
    )


def held_out(data: Data) -> Split:
    """Holds a quarter of the rows out, of two sets a quarter of each.

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
    """Data with both labels, as two sets with one label each: 4 of 5 rows for the larger task."""

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
