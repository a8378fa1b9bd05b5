"""The table of operations that the evaluator knows: what each gives, in a few lines of NumPy.

A float tensor is an `ErrorBounded`, or a plain float64 array where only values are asked for. An
integer, boolean or string tensor is a plain array. A function takes the node and the values of its
inputs, and returns its output, or a tuple of outputs. A function that is registered by `updates`
gets its first inputs as `Variable` objects, whose values it may change.

To add an operation, write a function here and register it under the name of TensorFlow.
"""

from typing import Any, Callable, Dict, NamedTuple, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.recorded_graph import Node

Function = Callable[..., Any]


class Operation(NamedTuple):
    """One line of the table."""

    function: Function  #: (node, *inputs) -> output or tuple of outputs
    variables: int = 0  #: how many of the first inputs are variables that it may change


class Variable:
    """A variable during one run: a name in the state that the run may change."""

    __slots__ = ("name", "state")

    def __init__(self, name: str, state: Dict[str, Any]) -> None:
        self.name, self.state = name, state

    @property
    def value(self) -> Any:
        return self.state[self.name]

    @value.setter
    def value(self, value: Any) -> None:
        self.state[self.name] = value


OPERATIONS: Dict[str, Operation] = {}


def gives(*names: str) -> Callable[[Function], Function]:
    """Register a function that computes its outputs from its inputs."""

    def register(function: Function) -> Function:
        for name in names:
            OPERATIONS[name] = Operation(function)
        return function

    return register


def updates(variables: int, *names: str) -> Callable[[Function], Function]:
    """Register a function that changes some of its first inputs, which are variables."""

    def register(function: Function) -> Function:
        for name in names:
            OPERATIONS[name] = Operation(function, variables)
        return function

    return register


# Constants, reads and structure


@gives("Const")
def const(node: Node) -> Any:
    value = node.attributes["value"]
    if value.dtype.kind != "f":
        return value
    return eb.decimal(value[()]) if value.ndim == 0 else eb.ErrorBounded(value)


@gives("Identity", "StopGradient", "PreventGradient", "ReadVariableOp", "Snapshot")
def identity(node: Node, x: Any, *_: Any) -> Any:
    return x


@gives("NoOp", "ControlTrigger")
def no_op(node: Node) -> Tuple:
    return ()


@gives("Shape")
def shape(node: Node, x: Any) -> np.ndarray:
    return np.array(np.shape(eb.value_of(x)), np.int32)


@gives("Reshape")
def reshape(node: Node, x: Any, sizes: Any) -> Any:
    return eb.structural(lambda a: a.reshape([int(n) for n in sizes]), x)


@gives("Fill")
def fill(node: Node, sizes: Any, x: Any) -> Any:
    return eb.structural(lambda a: np.full([int(n) for n in sizes], a), x)


@gives("BroadcastGradientArgs")
def broadcast_gradient_args(node: Node, a: Any, b: Any) -> Tuple[np.ndarray, np.ndarray]:
    rank = max(len(a), len(b))
    sizes = [np.concatenate([np.ones(rank - len(s), int), np.asarray(s, int)]) for s in (a, b)]
    # Both are reduced where both have size 1, as the kernel does.
    reduced = [
        np.flatnonzero((size == 1) & ((other != 1) | (sizes[0] == sizes[1])))
        for size, other in (sizes, sizes[::-1])
    ]
    return reduced[0].astype(np.int32), reduced[1].astype(np.int32)


# Arithmetic


@gives("Add", "AddV2")
def add(node: Node, a: Any, b: Any) -> Any:
    return a + b


@gives("AddN")
def add_n(node: Node, *terms: Any) -> Any:
    if len(terms) == 1:
        return terms[0]
    return eb.total(eb.joined(np.stack, terms), axis=0)


@gives("Sub")
def sub(node: Node, a: Any, b: Any) -> Any:
    return a - b


@gives("Mul")
def mul(node: Node, a: Any, b: Any) -> Any:
    return a * b


@gives("RealDiv")
def real_div(node: Node, a: Any, b: Any) -> Any:
    return a / b


@gives("Neg")
def neg(node: Node, x: Any) -> Any:
    return -x


@gives("Sqrt")
def sqrt(node: Node, x: Any) -> Any:
    return eb.sqrt(x)


@gives("MatMul")
def mat_mul(node: Node, a: Any, b: Any) -> Any:
    if node.attributes.get("transpose_a"):
        a = eb.structural(np.transpose, a)
    if node.attributes.get("transpose_b"):
        b = eb.structural(np.transpose, b)
    return eb.matmul(a, b)


@gives("Sum")
def sum_(node: Node, x: Any, axes: Any) -> Any:
    return eb.total(x, _axes(axes), bool(node.attributes.get("keep_dims")))


@gives("L2Loss")
def l2_loss(node: Node, x: Any) -> Any:
    return eb.total(x * x) * 0.5


@gives("Relu")
def relu(node: Node, x: Any) -> Any:
    return eb.pointwise(lambda value: np.maximum(value, 0), x)


@gives("ReluGrad")
def relu_grad(node: Node, gradient: Any, x: Any) -> Any:
    return eb.gated(gradient, x)


# Variables


@updates(1, "Assign", "AssignVariableOp")
def assign(node: Node, variable: Variable, value: Any) -> Any:
    variable.value = value
    return value


@updates(1, "AssignAdd", "AssignAddVariableOp")
def assign_add(node: Node, variable: Variable, value: Any) -> Any:
    variable.value = variable.value + value
    return variable.value


@updates(1, "AssignSub", "AssignSubVariableOp")
def assign_sub(node: Node, variable: Variable, value: Any) -> Any:
    variable.value = variable.value - value
    return variable.value


@updates(3, "ApplyAdam", "ResourceApplyAdam")
def apply_adam(
    node: Node,
    variable: Variable,
    m: Variable,
    v: Variable,
    beta1_power: Any,
    beta2_power: Any,
    learning_rate: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    gradient: Any,
) -> Any:
    """Kingma and Ba (2015), end of section 2: both bias corrections are in the step size."""
    alpha = learning_rate * eb.sqrt(1.0 - beta2_power) / (1.0 - beta1_power)
    m.value = eb.average(m.value, gradient, 1.0 - beta1)
    v.value = eb.average(v.value, gradient * gradient, 1.0 - beta2)
    if node.attributes.get("use_nesterov"):
        step = (m.value * beta1 + gradient * (1.0 - beta1)) * alpha
    else:
        step = m.value * alpha
    variable.value = variable.value - step / (eb.sqrt(v.value) + epsilon)
    return variable.value


def _axes(axes: Any) -> Tuple[int, ...]:
    return tuple(int(axis) for axis in np.atleast_1d(axes))
