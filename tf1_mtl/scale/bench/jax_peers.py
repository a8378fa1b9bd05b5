"""The step in JAX: compiled step by step, and as one scan over all steps."""

from typing import Any, Callable, Tuple

import jax
import jax.numpy as jnp
import numpy as np

from tf1_mtl.scale.bench.problem import ADAM, Problem

State = Any


def _step(state: State, batch: Any) -> Tuple[State, Any]:
    rate, beta1, beta2, epsilon = ADAM
    weights, m, v, power1, power2 = state
    X, Y1, Y2 = batch

    def loss_of(weights: Any) -> Any:
        shared_W, Y1_W, Y2_W = weights
        shared = jax.nn.relu(X @ shared_W)
        residual1 = Y1 - jax.nn.relu(shared @ Y1_W)
        residual2 = Y2 - jax.nn.relu(shared @ Y2_W)
        return (jnp.sum(residual1**2) + jnp.sum(residual2**2)) / 2

    loss, gradients = jax.value_and_grad(loss_of)(weights)
    alpha = rate * jnp.sqrt(1 - power2) / (1 - power1)
    m = [old + (g - old) * (1 - beta1) for old, g in zip(m, gradients)]
    v = [old + (g * g - old) * (1 - beta2) for old, g in zip(v, gradients)]
    weights = [w - alpha * a / (jnp.sqrt(b) + epsilon) for w, a, b in zip(weights, m, v)]
    return (weights, m, v, power1 * beta1, power2 * beta2), loss


def _start(problem: Problem) -> State:
    zeros = [jnp.zeros_like(array) for array in problem.weights]
    weights = [jnp.asarray(array) for array in problem.weights]
    return weights, zeros, list(zeros), jnp.float32(ADAM[1]), jnp.float32(ADAM[2])


def jit(problem: Problem) -> Callable[[], np.ndarray]:
    """One compiled call a step; the batches are on the device beforehand."""
    step = jax.jit(_step)
    state = _start(problem)
    batches = [tuple(map(jnp.asarray, arrays)) for arrays in zip(*problem[2:])]

    def run() -> np.ndarray:
        nonlocal state
        losses = []
        for batch in batches:
            state, loss = step(state, batch)
            losses.append(loss)
        return np.array(losses)

    return run


def scan(problem: Problem) -> Callable[[], np.ndarray]:
    """All steps in one compiled call."""
    steps = jax.jit(lambda state, batches: jax.lax.scan(_step, state, batches))
    state = _start(problem)
    batches = tuple(map(jnp.asarray, problem[2:]))

    def run() -> np.ndarray:
        nonlocal state
        state, losses = steps(state, batches)
        return np.asarray(losses)

    return run
