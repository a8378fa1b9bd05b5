"""The conformant ports of `tests/ports` as contenders, stepped by their own `step`."""

import functools
import importlib
from typing import Any, Callable

import numpy as np

from tests.benchmarks.problem import Problem

Run = Callable[[], np.ndarray]


def _port(module: str, name: str, problem: Problem) -> Any:
    port = getattr(importlib.import_module(f"tests.ports.{module}"), name)
    return port(*(array.copy() for array in problem.weights))


def _stepped(module: str, name: str, problem: Problem) -> Run:
    """Returns a run that calls the `step` of a port for every batch."""
    port = _port(module, name, problem)

    def run() -> np.ndarray:
        batches = zip(problem.X, problem.Y1, problem.Y2)
        return np.array([port.step("joint", *batch) for batch in batches], np.float32)

    return run


numpy = functools.partial(_stepped, "numpy_port", "Conformant")
torch = functools.partial(_stepped, "pytorch", "Conformant")
tf_function = functools.partial(_stepped, "tensorflow2", "ConformantFunction")
keras = functools.partial(_stepped, "keras3", "Conformant")
jax_jit = functools.partial(_stepped, "jax_port", "Conformant")


def jax_scan(problem: Problem) -> Run:
    """Stack a list of batches, then run `jax_stacked` on it."""
    batches = list(zip(*problem[2:]))
    scan = _scan(problem)
    return lambda: scan(tuple(map(np.stack, zip(*batches))))


def jax_stacked(problem: Problem) -> Run:
    """Runs the step of the JAX port in one `jax.lax.scan` over arrays that JAX holds already."""
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
