"""The data that every contender of the benchmark trains on. NumPy only."""

from typing import NamedTuple, Tuple

import numpy as np

#: Adam of TensorFlow 1, as float32: learning rate, beta1, beta2, epsilon.
ADAM = tuple(np.float32(value) for value in (0.001, 0.9, 0.999, 1e-8))


class Problem(NamedTuple):
    """The joint training of the article: weights to start from, and batches, all float32."""

    seed: int
    weights: Tuple[np.ndarray, np.ndarray, np.ndarray]  #: share_W, share_Y1, share_Y2
    X: np.ndarray  #: [steps, batch, inputs]
    Y1: np.ndarray  #: [steps, batch, outputs]
    Y2: np.ndarray  #: [steps, batch, outputs]

    @property
    def steps(self) -> int:
        """Returns the number of steps in a round."""
        return len(self.X)


def article_problem(steps: int, batch: int = 10, seed: int = 0) -> Problem:
    """Returns a problem of the sizes of the article."""
    return _problem(steps, batch, 10, 20, seed)


def wide_problem(steps: int, batch: int, width: int, seed: int = 0) -> Problem:
    """Returns a problem with all layers of one width."""
    return _problem(steps, batch, width, width, seed)


def _problem(steps: int, batch: int, inputs: int, width: int, seed: int) -> Problem:
    rng = np.random.RandomState(seed)

    def uniform(*shape: int) -> np.ndarray:
        return rng.rand(*shape).astype(np.float32)

    weights = (uniform(inputs, width), uniform(width, width), uniform(width, width))
    X, Y1, Y2 = (uniform(steps, batch, columns) * 10 for columns in (inputs, width, width))
    return Problem(seed, weights, X, Y1, Y2)
