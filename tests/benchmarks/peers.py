"""The conformant ports of `tests/ports` as contenders, stepped by their own `step`."""

import importlib
from typing import Any, Callable

import numpy as np

from tests.benchmarks.problem import Problem

Run = Callable[[], np.ndarray]


def _port(module: str, name: str, problem: Problem) -> Any:
    port = getattr(importlib.import_module(f"tests.ports.{module}"), name)
    return port(*(array.copy() for array in problem.weights))


def _stepped(port: Any, problem: Problem) -> Run:
    """Return a run that calls `step` for every batch."""

    def run() -> np.ndarray:
        batches = zip(problem.X, problem.Y1, problem.Y2)
        return np.array([port.step("joint", *batch) for batch in batches], np.float32)

    return run


def numpy(problem: Problem) -> Run:
    return _stepped(_port("numpy_port", "Conformant", problem), problem)


def torch(problem: Problem) -> Run:
    return _stepped(_port("pytorch", "Conformant", problem), problem)


def tf_function(problem: Problem) -> Run:
    return _stepped(_port("tensorflow2", "ConformantFunction", problem), problem)


def keras(problem: Problem) -> Run:
    return _stepped(_port("keras3", "Conformant", problem), problem)


def jax_jit(problem: Problem) -> Run:
    return _stepped(_port("jax_port", "Conformant", problem), problem)


def jax_scan(problem: Problem) -> Run:
    """Stack a list of batches, then run `jax_stacked` on it."""
    batches = list(zip(*problem[2:]))
    scan = _scan(problem)
    return lambda: scan(tuple(map(np.stack, zip(*batches))))


def jax_stacked(problem: Problem) -> Run:
    """Run the step of the JAX port in one `jax.lax.scan` over arrays that JAX holds already."""
    import jax

    batches = tuple(map(jax.numpy.asarray, problem[2:]))
    scan = _scan(problem)
    return lambda: scan(batches)


def _scan(problem: Problem) -> Callable[[Any], np.ndarray]:
    import jax

    port = _port("jax_port", "Conformant", problem)

    def step(state: Any, batch: Any) -> Any:
        X, Y1, Y2 = batch
        loss, *state = port.train(*state, X, {"share_Y1": Y1, "share_Y2": Y2})
        return tuple(state), loss

    steps = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches))
    state = port.trained("joint"), port.states["joint"]

    def run(batches: Any) -> np.ndarray:
        nonlocal state
        state, losses = steps(state, batches)
        return np.asarray(losses)

    return run
