"""The rules of optimizers.

A rule is one function for four operations: `Apply<Rule>`, `ResourceApply<Rule>` and, on the rows
that a sparse gradient names, `SparseApply<Rule>` and `ResourceSparseApply<Rule>`. It takes the
node, the cells (variables, or rows of them), the hyper-parameters in the order of TensorFlow, and
the gradient. The rules are those of the kernels in tensorflow/core/kernels/training_ops.cc.
"""

from typing import Any, Callable, Dict, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.decisions import decided
from tf1_mtl.baseline.operations.arithmetic import absolute, extreme
from tf1_mtl.baseline.operations.functions import exponential
from tf1_mtl.baseline.operations.table import updates
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
            places = np.asarray(decided(inputs[at + 1]))
            hyper = inputs[cells:at] + inputs[at + 2 :]
            for now in rounds(places):
                rows = [Rows(variable, places[now]) for variable in inputs[:cells]]
                rule(node, rows, hyper, eb.structural(lambda a, now=now: a[now], inputs[at]))
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
    return x - extreme(np.maximum, extreme(np.minimum, x, limit), -limit)


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
def adagrad(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, squares), (rate,) = cells, hyper
    _add_square(node, squares, gradient)
    variable.value = variable.value - gradient * rate / eb.sqrt(squares.value)


@_rule(2, 2, "AdagradV2")
def adagrad_v2(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, squares), (rate, epsilon) = cells, hyper
    _add_square(node, squares, gradient)
    variable.value = variable.value - gradient * rate / (eb.sqrt(squares.value) + epsilon)


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
    steps = float(decided(step))
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
def rms_prop(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, squares, moment), (rate, rho, factor, epsilon) = cells, hyper
    squares.value = eb.average(squares.value, gradient * gradient, 1.0 - rho)
    step = gradient * rate / eb.sqrt(squares.value + epsilon)
    moment.value = moment.value * factor + step
    variable.value = variable.value - moment.value


@_rule(4, 4, "CenteredRMSProp")
def centered_rms_prop(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, means, squares, moment), (rate, rho, factor, epsilon) = cells, hyper
    squares.value = eb.average(squares.value, gradient * gradient, 1.0 - rho)
    means.value = eb.average(means.value, gradient, 1.0 - rho)
    variance = squares.value - means.value * means.value + epsilon
    moment.value = moment.value * factor + gradient * rate / eb.sqrt(variance)
    variable.value = variable.value - moment.value


@_rule(3, 6, "Adam")
def adam(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    """Kingma and Ba (2015), end of section 2: both bias corrections are in the step size."""
    variable, m, v = cells
    beta1_power, beta2_power, rate, beta1, beta2, epsilon = hyper
    alpha = rate * eb.sqrt(1.0 - beta2_power) / (1.0 - beta1_power)
    m.value = eb.average(m.value, gradient, 1.0 - beta1)
    v.value = eb.average(v.value, gradient * gradient, 1.0 - beta2)
    step = m.value
    if node.attributes.get("use_nesterov"):
        step = step * beta1 + gradient * (1.0 - beta1)
    variable.value = variable.value - step * alpha / (eb.sqrt(v.value) + epsilon)


@_rule(4, 6, "AdamWithAmsgrad")
def adam_with_amsgrad(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    variable, m, v, largest = cells
    beta1_power, beta2_power, rate, beta1, beta2, epsilon = hyper
    alpha = rate * eb.sqrt(1.0 - beta2_power) / (1.0 - beta1_power)
    m.value = eb.average(m.value, gradient, 1.0 - beta1)
    v.value = eb.average(v.value, gradient * gradient, 1.0 - beta2)
    largest.value = extreme(np.maximum, largest.value, v.value)
    variable.value = variable.value - m.value * alpha / (eb.sqrt(largest.value) + epsilon)


@_rule(3, 5, "AdaMax")
def ada_max(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, m, v), (beta1_power, rate, beta1, beta2, epsilon) = cells, hyper
    m.value = eb.average(m.value, gradient, 1.0 - beta1)
    v.value = extreme(np.maximum, v.value * beta2, absolute(gradient))
    step = rate / (1.0 - beta1_power) * (m.value / (v.value + epsilon))
    variable.value = variable.value - step


def _agreement(gradient: Any, moment: Any) -> Any:
    return eb.pointwise(np.sign, gradient) * eb.pointwise(np.sign, moment)


@_rule(2, 4, "AddSign")
def add_sign(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, m), (rate, alpha, decay, beta) = cells, hyper
    m.value = eb.average(m.value, gradient, 1.0 - beta)
    factor = decay * _agreement(gradient, m.value) + alpha
    variable.value = variable.value - factor * gradient * rate


@_rule(2, 4, "PowerSign")
def power_sign(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    (variable, m), (rate, base, decay, beta) = cells, hyper
    m.value = eb.average(m.value, gradient, 1.0 - beta)
    factor = exponential(base * decay * _agreement(gradient, m.value))
    variable.value = variable.value - factor * gradient * rate


@_rule(3, 0, "Ftrl")
def ftrl(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    rate, l1, l2, power = hyper
    ftrl_v2(node, cells, (rate, l1, l2, 0.0, power), gradient)


@_rule(3, 0, "FtrlV2")
def ftrl_v2(node: Node, cells: Any, hyper: Any, gradient: Any) -> None:
    """McMahan and others (2013), algorithm 1, with L2 shrinkage. -power is the exponent."""
    (variable, squares, linear), (rate, l1, l2, shrinkage, power) = cells, hyper
    if np.any(eb.value_of(shrinkage)):
        shrunk = gradient + variable.value * shrinkage * 2.0
    else:
        shrunk = gradient
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
    return exponential(eb.pointwise(np.log, x, 8, 1) * -power)
