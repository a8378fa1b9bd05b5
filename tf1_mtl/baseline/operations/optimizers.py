"""Defines the rules of optimizers.

A rule is one function for four operations: `Apply<Rule>`, `ResourceApply<Rule>` and, on the rows
that a sparse gradient names, `SparseApply<Rule>` and `ResourceSparseApply<Rule>`. It takes the
node, the cells (variables, or rows of them), the hyper-parameters in the order of TensorFlow, and
the gradient. The rules are those of the kernels in tensorflow/core/kernels/training_ops.cc.
"""

from typing import Any, Callable, Dict, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.functions import applied, exponential
from tf1_mtl.baseline.operations.indexing import added_rows
from tf1_mtl.baseline.operations.table import shape_of, updates
from tf1_mtl.baseline.operations.updates import Rows, rounds
from tf1_mtl.baseline.recorded_graph import Node

Rule = Callable[[Node, Any, Any, Any], None]
#: By operation: how many variables it takes first, and the index of the gradient.
SIGNATURES: Dict[str, Tuple[int, int]] = {}


def _rule(cells: int, before: int, *names: str) -> Callable[[Rule], Rule]:
    """Registers a rule.

    Args:
      cells: How many variables it changes: the first inputs of the operation.
      before: The number of hyperparameters before the gradient. The others follow it, or its
        indices if it is sparse.
      names: The names of the rule in TensorFlow.
    """
    at = cells + before

    def register(rule: Rule) -> Rule:
        def dense(node: Node, *inputs: Any) -> Any:
            rule(node, inputs[:cells], inputs[cells:at] + inputs[at + 1 :], inputs[at])
            return inputs[0]

        def sparse(node: Node, *inputs: Any) -> Any:
            places = eb.decided(inputs[at + 1])
            hyper = inputs[cells:at] + inputs[at + 2 :]
            for now in rounds(places):
                rows = [Rows(variable, places[now]) for variable in inputs[:cells]]
                rule(node, rows, hyper, inputs[at][now])
            return inputs[0]

        for name in names:
            for prefix in ("Apply", "ResourceApply", "SparseApply", "ResourceSparseApply"):
                SIGNATURES[prefix + name] = cells, at
            updates(cells, "Apply" + name, "ResourceApply" + name)(dense)
            updates(cells, "SparseApply" + name, "ResourceSparseApply" + name)(sparse)
        return rule

    return register


@_rule(1, 1, "GradientDescent")
def gradient_descent(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable,), (rate,) = cells, hyper
    variable.value = variable.value - gradient * rate


@_rule(1, 3, "ProximalGradientDescent")
def proximal_gradient_descent(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable,), (rate, l1, l2) = cells, hyper
    variable.value = _proximal(variable.value - gradient * rate, rate, l1, l2)


def _proximal(x: Any, rate: Any, l1: Any, l2: Any) -> Any:
    return _shrunk(x, rate * l1) / (rate * l2 + 1.0)


def _shrunk(x: Any, limit: Any) -> Any:
    """Returns numbers that are nearer to zero by a limit, and zero within it."""
    return x - eb.monotonic(np.maximum, eb.monotonic(np.minimum, x, limit), -limit)


@_rule(2, 1, "Momentum")
def momentum(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, accumulator), (rate, factor) = cells, hyper
    accumulator.value = accumulator.value * factor + gradient
    step = accumulator.value * rate
    if node.attributes.get("use_nesterov"):
        step = gradient * rate + step * factor
    variable.value = variable.value - step


@_rule(2, 1, "KerasMomentum")
def keras_momentum(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, accumulator), (rate, factor) = cells, hyper
    step = accumulator.value * factor - gradient * rate
    accumulator.value = step
    if node.attributes.get("use_nesterov"):
        step = step * factor - gradient * rate
    variable.value = variable.value + step


def _add_square(node: Node, squares: Any, gradient: Any) -> None:
    if node.attributes.get("update_slots", True):
        squares.value = squares.value + gradient * gradient


@_rule(2, 1, "Adagrad")
@_rule(2, 2, "AdagradV2")
def adagrad(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, squares), (rate, *epsilon) = cells, hyper
    _add_square(node, squares, gradient)
    variable.value = variable.value - gradient * rate / sum(epsilon, eb.sqrt(squares.value))


@_rule(2, 3, "ProximalAdagrad")
def proximal_adagrad(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, squares), (rate, l1, l2) = cells, hyper
    _add_square(node, squares, gradient)
    rates = rate / eb.sqrt(squares.value)
    variable.value = _proximal(variable.value - gradient * rates, rates, l1, l2)


@_rule(3, 0, "AdagradDA")
def adagrad_da(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, gradients, squares), (rate, l1, l2, step) = cells, hyper
    gradients.value = gradients.value + gradient
    squares.value = squares.value + gradient * gradient
    steps = float(eb.decided(step))
    divisor = l2 * steps * rate + eb.sqrt(squares.value)
    variable.value = _shrunk(gradients.value, l1 * steps) * -rate / divisor


@_rule(3, 3, "Adadelta")
def adadelta(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, squares, steps), (rate, rho, epsilon) = cells, hyper
    squares.value = eb.average(squares.value, gradient * gradient, 1.0 - rho)
    step = gradient * (eb.sqrt(steps.value + epsilon) / eb.sqrt(squares.value + epsilon))
    variable.value = variable.value - step * rate
    steps.value = eb.average(steps.value, step * step, 1.0 - rho)


@_rule(3, 4, "RMSProp")
@_rule(4, 4, "CenteredRMSProp")
def rms_prop(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, *means, squares, moment), (rate, rho, factor, epsilon) = cells, hyper
    squares.value = eb.average(squares.value, gradient * gradient, 1.0 - rho)
    variance = squares.value
    for mean in means:  # in the centered rule, the first slot
        mean.value = eb.average(mean.value, gradient, 1.0 - rho)
        variance = variance - mean.value * mean.value
    moment.value = moment.value * factor + gradient * rate / eb.sqrt(variance + epsilon)
    variable.value = variable.value - moment.value


@_rule(3, 6, "Adam")
@_rule(4, 6, "AdamWithAmsgrad")
def adam(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    """Follows Kingma and Ba (2015), end of section 2: the step size has both bias corrections."""
    variable, m, v, *largest = cells
    beta1_power, beta2_power, rate, beta1, beta2, epsilon = hyper
    alpha = rate * eb.sqrt(1.0 - beta2_power) / (1.0 - beta1_power)
    m.value = eb.average(m.value, gradient, 1.0 - beta1)
    v.value = eb.average(v.value, gradient * gradient, 1.0 - beta2)
    step, squares = m.value, v.value
    if node.attributes.get("use_nesterov"):
        step = step * beta1 + gradient * (1.0 - beta1)
    for most in largest:  # in the rule with AMSGrad, the last slot
        most.value = squares = eb.monotonic(np.maximum, most.value, squares)
    variable.value = variable.value - step * alpha / (eb.sqrt(squares) + epsilon)


@updates(3, "SparseApplyAdam")
def adam_of_all_rows(node: Node, *inputs: Any) -> Any:
    """Applies Adam with zeros in the rows that a gradient does not name: `sparse_updates.py`."""
    *before, gradient, places = inputs
    rows = shape_of(before[0].value)[0]
    adam(node, before[:3], before[3:], added_rows(gradient, eb.decided(places), rows))
    return inputs[0]


@_rule(3, 5, "AdaMax")
def ada_max(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, m, v), (beta1_power, rate, beta1, beta2, epsilon) = cells, hyper
    m.value = eb.average(m.value, gradient, 1.0 - beta1)
    v.value = eb.monotonic(np.maximum, v.value * beta2, abs(gradient))
    step = rate / (1.0 - beta1_power) * (m.value / (v.value + epsilon))
    variable.value = variable.value - step


@_rule(2, 4, "AddSign", "PowerSign")
def add_or_power_sign(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, m), (rate, alpha_or_base, decay, beta) = cells, hyper
    m.value = eb.average(m.value, gradient, 1.0 - beta)
    agreement = applied("Sign", gradient) * applied("Sign", m.value)
    if node.op.endswith("AddSign"):
        factor = decay * agreement + alpha_or_base
    else:
        factor = exponential(alpha_or_base * decay * agreement)
    variable.value = variable.value - factor * gradient * rate


@_rule(3, 0, "Ftrl", "FtrlV2")
def ftrl(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    """Follows McMahan and others (2013), algorithm 1, with L2 shrinkage. -power is the exponent."""
    (variable, squares, linear), (rate, l1, l2, *shrinkage, power) = cells, hyper
    shrunk = gradient
    if any(np.any(eb.value_of(factor)) for factor in shrinkage):  # which FtrlV2 has
        shrunk = gradient + variable.value * shrinkage[0] * 2.0
    new = squares.value + gradient * gradient
    before, after = (_to_minus(x, power) for x in (squares.value, new))
    # TensorFlow 2.3 can keep the linear term times the rate.
    scale, divisor = (rate, 1.0) if node.attributes.get("multiply_linear_by_lr") else (1.0, rate)
    change = (after - before) / divisor * variable.value
    linear.value = linear.value + (shrunk * scale - change)
    curvature = after / divisor + l2 * 2.0 * scale
    variable.value = -_shrunk(linear.value, l1 * scale) / curvature
    squares.value = new


def _to_minus(x: Any, power: Any) -> Any:
    """Returns x to minus a power: for the usual -0.5 the square root."""
    if eb.value_of(power) == -0.5:
        return eb.sqrt(x)
    return exponential(applied("Log", x) * -power)
