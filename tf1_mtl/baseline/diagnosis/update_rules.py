"""Holds what wrong ports do to gradients and in their optimizers, for `replay.Program`.

A change maps a gradient to another one. A rule sets cells (the weight, then its slots) from the
hyper-parameters of the graph and the gradient. Both take float64 arrays or `ErrorBounded`.
"""

from typing import Any, Callable, Dict, List

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.diagnosis.model import HYPER, Update
from tf1_mtl.baseline.diagnosis.replay import Change, Now, Rule
from tf1_mtl.baseline.error_bounds import ErrorBounded, precision_of, value_of
from tf1_mtl.baseline.operations import OPERATIONS
from tf1_mtl.baseline.operations.optimizers import SIGNATURES
from tf1_mtl.baseline.recorded_graph import Node

# Changes of gradients


def scaled(factor: float) -> Change:
    return lambda now, g: g * factor


def with_l2(factor: float) -> Change:
    def with_weight(now: Now, g: Any) -> Any:
        is_dense = np.shape(value_of(g)) == np.shape(value_of(now.weight))
        return g + now.weight * factor if is_dense else g

    return with_weight


def clipped_by_value(limit: float) -> Change:
    return lambda now, g: eb.monotonic(np.minimum, eb.monotonic(np.maximum, g, -limit), limit)


def norm(*gradients: Any) -> Any:
    """Returns the root of the sum of all squares."""
    total: Any = 0.0
    for g in gradients:
        total = eb.total(g * g) + total
    return eb.sqrt(total)


def _shortened(g: Any, limit: float, length: Any) -> Any:
    return g * (limit / eb.monotonic(np.maximum, length, limit))


def clipped_by_norm(limit: float) -> Change:
    return lambda now, g: _shortened(g, limit, norm(g))


def clipped_by_global_norm(limit: float) -> Change:
    return lambda now, g: _shortened(g, limit, norm(*now.gradients.values()))


def scaled_to_global_norm(limit: float) -> Change:
    return lambda now, g: g * (limit / norm(*now.gradients.values()))


def accumulated(now: Now, g: Any) -> Any:
    """Adds the gradients of a variable over all runs."""
    return _summed(now, "sum", g)


def accumulated_by_task(now: Now, g: Any) -> Any:
    """Adds the gradients of a variable over the runs of a task."""
    return _summed(now, ("sum", now.task), g)


def _summed(now: Now, key: Any, g: Any) -> Any:
    # Sparse gradients of two runs have other rows.
    before = now.memory.get(key)
    is_alike = before is not None and np.shape(value_of(before)) == np.shape(value_of(g))
    now.memory[key] = g + before if is_alike else g
    return now.memory[key]


def of_runs(n: int, is_mean: bool) -> Callable[[Now, Any], Any]:
    """Returns a function that adds up, or averages, the gradients of n runs of a task."""

    def added(now: Now, g: Any) -> Any:
        key = "runs", now.task
        if now.runs % n == 0:
            now.memory.pop(key, None)
        total = _summed(now, key, g)
        return total * (1 / n) if is_mean else total

    return added


def stale(now: Now, g: Any) -> Any:
    """Returns the gradient of the run before of the same task; nothing at the first."""
    key = "stale", now.task
    before, now.memory[key] = now.memory.get(key), g
    is_alike = before is not None and np.shape(value_of(before)) == np.shape(value_of(g))
    return before if is_alike else None


# Rules. Each begins where the graph holds an Adam with the same hyper-parameters.

Step = Callable[[Any, Dict[str, Any]], Any]


def _denominator(v: Any, hyper: Dict[str, Any], place: str) -> Any:
    epsilon, correction = hyper["epsilon"], 1.0 - hyper["beta2_power"]
    if place == "inside the root":
        return eb.sqrt(v + epsilon)
    if place == "inside the corrected root":
        return eb.sqrt(v + epsilon * correction)
    if place == "after the correction":
        return eb.sqrt(v) + epsilon * eb.sqrt(correction)
    return eb.sqrt(v) + epsilon


def _step_size(hyper: Dict[str, Any], correction: str) -> Any:
    rate, p1, p2 = hyper.get("rate", 1.0), hyper["beta1_power"], hyper["beta2_power"]
    if correction == "none":
        return rate * 1.0
    if correction == "first moment":
        return rate / (1.0 - p1)
    if correction == "second moment":
        return rate * eb.sqrt(1.0 - p2)
    if correction == "without the root":
        return rate * (1.0 - p2) / (1.0 - p1)
    for _ in range({"one ahead": 1, "two ahead": 2}.get(correction, 0)):
        p1, p2 = p1 * hyper["beta1"], p2 * hyper["beta2"]
    if correction == "swapped":
        return rate * (1.0 - p1) / eb.sqrt(1.0 - p2)
    return rate * eb.sqrt(1.0 - p2) / (1.0 - p1)


def _zero_where(condition: np.ndarray, x: Any) -> Any:
    """Returns zero, without an error, where a condition holds, and x elsewhere."""
    if isinstance(x, ErrorBounded):
        value, error = np.where(condition, 0.0, x.value), np.where(condition, 0.0, x.error)
        return ErrorBounded(value, error, precision_of(x))
    return np.where(condition, 0.0, x)


def adam(
    place: str = "",
    correction: str = "",
    nesterov: str = "",
    amsgrad: bool = False,
    lazy: bool = False,
    second: str = "",
    root: bool = True,
) -> Rule:
    """Returns a rule that is Adam but for some of its lines.

    Args:
      place: Where epsilon is added.
      correction: What is left of the bias correction.
      nesterov: "" or "one step ahead" (`tf.contrib.opt.NadamOptimizer`), or "own correction".
      amsgrad: The root is of the largest v so far.
      lazy: Slots and weights rest where the gradient is zero.
      second: "absolute": v averages |g|.
      root: Whether the step is divided by the root of v.
    """

    def rule(cells: List[Any], hyper: Dict[str, Any], g: Any) -> None:
        weight, m, v = cells[:3]
        was = m.value, v.value
        m.value = eb.average(m.value, g, 1.0 - hyper["beta1"])
        square = abs(g) if second == "absolute" else g * g
        v.value = eb.average(v.value, square, 1.0 - hyper["beta2"])
        root_of = v.value
        if amsgrad:
            cells[3].value = root_of = eb.monotonic(np.maximum, cells[3].value, v.value)
        ahead = m.value
        if nesterov:
            beta1 = hyper["beta1"]
            ahead = m.value * beta1 + g * (1.0 - beta1)
            if nesterov == "own correction":
                p1 = hyper["beta1_power"]
                last = np.float64(1.0) - p1 * beta1
                ahead = m.value * (beta1 * (1.0 - p1) / last) + g * (1.0 - beta1)
        below = _denominator(root_of, hyper, place) if root else root_of + hyper["epsilon"]
        step = ahead * _step_size(hyper, correction) / below
        if not value_of(hyper["epsilon"]).any():
            step = _zero_where(~np.isfinite(value_of(step)), step)  # zero divided by zero
        if lazy:
            is_zero = value_of(g) == 0
            step = _zero_where(is_zero, step)
            for cell, before in zip((m, v), was):
                cell.value = before + _zero_where(is_zero, cell.value - before)
        weight.value = weight.value - step

    return rule


def pytorch_nadam(cells: List[Any], hyper: Dict[str, Any], g: Any) -> None:
    """NAdam with the momentum schedule of Dozat (2016), as torch.optim and Keras have it."""
    weight, m, v, product, count = cells
    beta1, beta2 = (float(np.float32(value_of(hyper[x]))) for x in ("beta1", "beta2"))
    t = np.ravel(value_of(count.value))[0] + 1
    mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (k * 0.004)) for k in (t, t + 1))
    before = np.ravel(value_of(product.value))[0] or 1.0
    now = before * mu
    m.value = eb.average(m.value, g, 1.0 - hyper["beta1"])
    v.value = eb.average(v.value, g * g, 1.0 - hyper["beta2"])
    ahead = m.value * (mu_next / (1 - now * mu_next)) + g * ((1 - mu) / (1 - now))
    root = eb.sqrt(v.value / (1 - beta2**t)) + hyper["epsilon"]
    weight.value = weight.value - ahead * hyper.get("rate", 1.0) / root
    product.value = product.value * 0.0 + now
    count.value = count.value + 1.0


def of_operation(name: str, **attributes: Any) -> Rule:
    """Returns the rule of an update operation of TensorFlow, such as "ApplyMomentum"."""
    number, gradient = SIGNATURES[name]
    update = Update(Node(name, name, (), attributes), ("",) * number, gradient)

    def rule(cells: List[Any], hyper: Dict[str, Any], g: Any) -> None:
        values = [{"rate": 1.0, **hyper}[key] for key in HYPER[update.rule]]
        values.insert(gradient - number, g)
        OPERATIONS[name].function(update.node, *cells[:number], *values)

    return rule


def rms_prop_of_pytorch(cells: List[Any], hyper: Dict[str, Any], g: Any) -> None:
    """Applies RMSProp with epsilon outside of the root."""
    weight, square = cells[:2]
    square.value = eb.average(square.value, g * g, 1.0 - hyper["rho"])
    root = eb.sqrt(square.value) + hyper["epsilon"]
    weight.value = weight.value - g * hyper.get("rate", 1.0) / root


def rms_prop_with_outer_epsilon(cells: List[Any], hyper: Dict[str, Any], g: Any) -> None:
    """Applies RMSProp with epsilon outside of the root, and the slots of the graph."""
    weight, square, moment = cells
    square.value = eb.average(square.value, g * g, 1.0 - hyper["rho"])
    root = eb.sqrt(square.value) + hyper["epsilon"]
    moment.value = moment.value * hyper["momentum"] + g * hyper.get("rate", 1.0) / root
    weight.value = weight.value - moment.value


def momentum_of_steps(cells: List[Any], hyper: Dict[str, Any], g: Any) -> None:
    """Applies momentum to steps, not to gradients: a new rate changes no earlier step."""
    weight, moment = cells
    moment.value = moment.value * hyper["momentum"] + g * hyper.get("rate", 1.0)
    weight.value = weight.value - moment.value


def rms_prop_with_outer_rate(cells: List[Any], hyper: Dict[str, Any], g: Any) -> None:
    """Applies the momentum of RMSProp before the rate, as PyTorch does."""
    weight, square, moment = cells
    square.value = eb.average(square.value, g * g, 1.0 - hyper["rho"])
    step = g / eb.sqrt(square.value + hyper["epsilon"])
    moment.value = moment.value * hyper["momentum"] + step
    weight.value = weight.value - moment.value * hyper.get("rate", 1.0)


def rms_prop_not_centered(cells: List[Any], hyper: Dict[str, Any], g: Any) -> None:
    """Applies RMSProp with the slots of the centered one, without the mean of gradients."""
    weight, _, square, moment = cells
    of_operation("ApplyRMSProp")([weight, square, moment], hyper, g)
