"""The step in PyTorch as one compiled function, which no port has."""

from typing import Any, Callable, Tuple

import numpy as np
import torch

from tests.benchmarks.problem import ADAM, Problem


def _loss(weights: Any, X: Any, Y1: Any, Y2: Any) -> Any:
    shared = torch.relu(X @ weights[0])
    residual1 = Y1 - torch.relu(shared @ weights[1])
    residual2 = Y2 - torch.relu(shared @ weights[2])
    return ((residual1**2).sum() + (residual2**2).sum()) / 2


def _step(weights: Any, m: Any, v: Any, powers: Any, X: Any, Y1: Any, Y2: Any) -> Tuple[Any, ...]:
    rate, beta1, beta2, epsilon = map(float, ADAM)
    gradients, loss = torch.func.grad_and_value(_loss)(weights, X, Y1, Y2)
    alpha = rate * torch.sqrt(1 - powers[1]) / (1 - powers[0])
    m = [old + (g - old) * (1 - beta1) for old, g in zip(m, gradients)]
    v = [old + (g * g - old) * (1 - beta2) for old, g in zip(v, gradients)]
    weights = [w - alpha * a / (torch.sqrt(b) + epsilon) for w, a, b in zip(weights, m, v)]
    return weights, m, v, [powers[0] * beta1, powers[1] * beta2], loss


def compiled(problem: Problem) -> Callable[[], np.ndarray]:
    """Runs forward pass, gradients and Adam in one compiled function, a call a step."""
    torch.set_num_threads(1)
    step = torch.compile(_step)
    weights = [torch.tensor(array) for array in problem.weights]
    zeros = [torch.zeros_like(array) for array in weights]
    state = (weights, zeros, list(zeros), [torch.tensor(ADAM[1]), torch.tensor(ADAM[2])])
    batches = [tuple(map(torch.from_numpy, arrays)) for arrays in zip(*problem[2:])]

    def run() -> np.ndarray:
        nonlocal state
        losses = []
        with torch.no_grad():
            for batch in batches:
                *state, loss = step(*state, *batch)
                losses.append(loss)
        return torch.stack(losses).numpy()

    return run
