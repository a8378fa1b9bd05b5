"""The step in NumPy."""

from typing import Callable, List

import numpy as np

from tf1_mtl.scale.bench.problem import ADAM, Problem


def by_hand(problem: Problem) -> Callable[[], np.ndarray]:
    """Forward pass, gradients and Adam as one writes them."""
    rate, beta1, beta2, epsilon = ADAM
    one = np.float32(1)
    weights = [array.copy() for array in problem.weights]
    ms = [np.zeros_like(array) for array in weights]
    vs = [np.zeros_like(array) for array in weights]
    powers = [beta1, beta2]

    def step(X: np.ndarray, Y1: np.ndarray, Y2: np.ndarray) -> np.float32:
        shared_W, Y1_W, Y2_W = weights
        shared = np.maximum(X @ shared_W, 0)
        layer1, layer2 = np.maximum(shared @ Y1_W, 0), np.maximum(shared @ Y2_W, 0)
        residual1, residual2 = layer1 - Y1, layer2 - Y2
        loss = (np.vdot(residual1, residual1) + np.vdot(residual2, residual2)) / 2
        d1, d2 = residual1 * (layer1 > 0), residual2 * (layer2 > 0)
        d_shared = (d1 @ Y1_W.T + d2 @ Y2_W.T) * (shared > 0)
        alpha = rate * np.sqrt(one - powers[1]) / (one - powers[0])
        gradients = (X.T @ d_shared, shared.T @ d1, shared.T @ d2)
        for weight, m, v, gradient in zip(weights, ms, vs, gradients):
            m += (gradient - m) * (one - beta1)
            v += (gradient * gradient - v) * (one - beta2)
            weight -= alpha * m / (np.sqrt(v) + epsilon)
        powers[0] *= beta1
        powers[1] *= beta2
        return loss

    def run() -> np.ndarray:
        losses: List[np.float32] = []
        for X, Y1, Y2 in zip(problem.X, problem.Y1, problem.Y2):
            losses.append(step(X, Y1, Y2))
        return np.array(losses, np.float32)

    return run
