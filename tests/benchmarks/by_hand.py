"""The joint session in NumPy by hand: `python -m tests.benchmarks.by_hand STEPS`.

Draws the batches of `tf1-mtl joint --seed 1`, and prints the last loss.
"""

import sys

import numpy as np

from tests.ports.numpy_port import Conformant


def main(steps: int) -> None:
    """Train, and print the last loss."""
    rng = np.random.RandomState(1)

    def uniform(*shape: int) -> np.ndarray:
        return rng.rand(*shape).astype(np.float32)

    port = Conformant(uniform(10, 20), uniform(20, 20), uniform(20, 20))
    loss = np.float32(0)
    for _ in range(steps):
        X, Y1, Y2 = ((rng.rand(10, n) * 10).astype(np.float32) for n in (10, 20, 20))
        loss = port.step("joint", X, Y1, Y2)
    print(loss)


if __name__ == "__main__":
    main(int(sys.argv[1]))
