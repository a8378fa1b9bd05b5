"""Passes gradients on ways that the recorded graph does not take.

Where an edit needs a gradient that the graph does not hold, it is put together from those that the
graph holds of the operations behind it, and added to those of the operations before it.
"""

from typing import AbstractSet, Any, Callable, Dict, List, Sequence, Set, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.diagnosis import catalogue
from tf1_mtl.baseline.diagnosis.graph_edits import edited, elementwise, free_name
from tf1_mtl.baseline.diagnosis.model import DoesNotFit
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.gradient_scopes import GRADIENTS, gradient_scopes, users_of
from tf1_mtl.baseline.operations import OPERATIONS
from tf1_mtl.baseline.operations.arithmetic import turned
from tf1_mtl.baseline.operations.functions import exponential
from tf1_mtl.baseline.recorded_graph import (
    VARIABLES,
    Node,
    RecordedGraph,
    canonical,
    node_and_output,
)

Rule = Callable[..., Any]  #: of a node, the index of an input, the gradient, and the inputs


def _each(*functions: Callable[..., Any]) -> Rule:
    """Returns a rule with a function for each input, of the gradient and the inputs."""

    def rule(node: Node, index: int, gradient: Any, *inputs: Any) -> Any:
        if index >= len(functions):
            raise DoesNotFit
        return functions[index](gradient, *inputs)

    return rule


def _negated(gradient: Any, *_: Any) -> Any:
    return gradient * -1.0


def _same(gradient: Any, *_: Any) -> Any:
    return gradient


def _activation(node: Node, index: int, gradient: Any, x: Any) -> Any:
    slope = catalogue.activation_of(node.op, node.attributes).slope
    return gradient * elementwise(slope)(x)


def _softmax(node: Node, index: int, gradient: Any, x: Any) -> Any:
    y = OPERATIONS["Softmax"].function(node, x)
    return y * (gradient - eb.total(gradient * y, -1, True))


def _product(node: Node, index: int, gradient: Any, a: Any, b: Any) -> Any:
    a, b = turned(node, a, "transpose_a", "adj_x"), turned(node, b, "transpose_b", "adj_y")
    if index:
        return turned(node, eb.matmul(_transposed(a), gradient), "transpose_b", "adj_y")
    return turned(node, eb.matmul(gradient, _transposed(b)), "transpose_a", "adj_x")


def _transposed(x: Any) -> Any:
    return eb.structural(lambda a: np.swapaxes(a, -1, -2), x)


def _part(node: Node, index: int, gradient: Any, *inputs: Any) -> Any:
    """Gives the gradient of one of the tensors that are joined."""
    *parts, axis = inputs
    sizes = [np.shape(value_of(x))[int(value_of(axis))] for x in parts]
    start = sum(sizes[:index])
    places = range(start, start + sizes[index])
    return eb.structural(lambda a: np.take(a, places, int(value_of(axis))), gradient)


def _reduced(node: Node, index: int, gradient: Any, x: Any, axes: Any) -> Any:
    """Gives the gradient of what is summed or averaged."""
    shape = np.shape(value_of(x))
    over = {int(axis) % len(shape) for axis in np.ravel(value_of(axes))}
    kept = tuple(1 if i in over else n for i, n in enumerate(shape))
    count = float(np.prod([shape[i] for i in over])) if node.op == "Mean" else 1.0
    spread = eb.structural(lambda a: np.broadcast_to(a.reshape(kept), shape), gradient)
    return spread * (1.0 / count)


#: By operation, the gradient of an input from that of the output.
RULES: Dict[str, Rule] = {
    **dict.fromkeys(["Identity", "ReadVariableOp", "StopGradient"], _each(_same)),
    **dict.fromkeys(["Reshape", "Squeeze", "ExpandDims"], _each(_same)),
    **dict.fromkeys(["Add", "AddV2", "BiasAdd"], _each(_same, _same)),
    "Sub": _each(_same, _negated),
    "Neg": _each(_negated),
    "Mul": _each(lambda g, x, y: g * y, lambda g, x, y: g * x),
    **dict.fromkeys(
        ["RealDiv", "Div"], _each(lambda g, x, y: g / y, lambda g, x, y: g * x / (y * y) * -1.0)
    ),
    "Square": _each(lambda g, x: g * x * 2.0),
    "Sqrt": _each(lambda g, x: g / (eb.sqrt(x) * 2.0)),
    "Log": _each(lambda g, x: g / x),
    "Exp": _each(lambda g, x: g * exponential(x)),
    "SquaredDifference": _each(
        lambda g, x, y: g * (x - y) * 2.0,
        lambda g, x, y: g * (x - y) * -2.0,
    ),
    **dict.fromkeys(catalogue.ACTIVATION_OPS, _activation),
    "Softmax": _softmax,
    **dict.fromkeys(["MatMul", "BatchMatMul", "BatchMatMulV2"], _product),
    "ConcatV2": _part,
    **dict.fromkeys(["Sum", "Mean"], _reduced),
}


#: Operations that pass no gradient, and whose output may be needed by others that do.
WITHOUT_GRADIENT = (
    *("StopGradient", "Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike", "ArgMax", "Cast"),
    *("Equal", "NotEqual", "Greater", "GreaterEqual", "Less", "LessEqual", "Round", "Floor"),
)


class PassedGradients:
    """Holds the nodes by which gradients of one loss pass on other ways."""

    def __init__(
        self, graph: RecordedGraph, prefix: str, label: str, trained: AbstractSet[str]
    ) -> None:
        """Starts without nodes.

        Args:
          graph: The graph.
          prefix: Of the gradients of the loss.
          label: A part of the names of the nodes.
          trained: The variables that a task trains.
        """
        self.graph, self.prefix, self.label, self.trained = graph, prefix, label, trained
        self._made: Dict[str, Node] = {}
        self._known: Dict[str, str] = {}
        self._shares: Dict[str, List[str]] = {}
        self._of_variables: Dict[str, List[str]] = {}

    def made(self) -> Tuple[Dict[str, Node], Dict[str, str]]:
        """Adds the gradients that were passed to those of the graph. It is called once.

        Returns:
          The nodes that are new or changed, by name, and the gradients that reached variables, to
          be added to those that updates take. Both are empty if no gradient was passed.

        Raises:
          DoesNotFit: TensorFlow has not kept the gradients of an operation apart.
        """
        for name, shares in self._shares.items():
            self._add(name, shares)
        variables = {name: self._sum(shares) for name, shares in self._of_variables.items()}
        return (self._made if self._shares or variables else {}), variables

    def behind(self, name: str) -> str:
        """Returns the gradient of what an operation gives, from those behind it; "" without one.

        Raises:
          DoesNotFit: It passes an operation that is not in `RULES`.
        """
        if name not in self._known:
            users = dict.fromkeys(user for user, _ in users_of(self.graph, name))
            parts = [
                self._of_input(user, index, gradient)
                for user in users
                if not GRADIENTS.match(user) and self.graph.nodes[user].op not in WITHOUT_GRADIENT
                for gradient in [self._entering(user) or self.behind(user)]
                if gradient
                for index, x in enumerate(self.graph.nodes[user].data_inputs)
                if node_and_output(x)[0] == name
            ]
            self._known[name] = self._sum(parts)
        return self._known[name]

    def pass_below(self, name: str, gradient: str) -> None:
        """Passes a gradient of what an operation gives to the operations before it.

        Raises:
          DoesNotFit: It passes an operation that is not in `RULES`.
        """
        node = self.graph.nodes[name]
        if self._entering(name):
            self._shares.setdefault(name, []).append(gradient)
            return
        if node.op in VARIABLES:
            self._of_variables.setdefault(name, []).append(gradient)
            return
        for index, x in enumerate(node.data_inputs):
            before = node_and_output(x)[0]
            if self._leads_to_gradients(before):
                self.pass_below(before, self._of_input(name, index, gradient))

    def _leads_to_gradients(self, name: str) -> bool:
        """Returns whether an operation, or one before it without a stop between, has a gradient."""
        seen, left = {name}, [name]
        while left:
            node = self.graph.nodes[left.pop()]
            if self._entering(node.name) or node.name in self.trained:
                return True
            if node.op not in WITHOUT_GRADIENT:
                before = {node_and_output(x)[0] for x in node.data_inputs} - seen
                seen |= before
                left += before
        return False

    def _add(self, name: str, shares: Sequence[str]) -> None:
        """Adds gradients of what an operation gives to the one that the graph holds."""
        entering = self._entering(name)
        total = self._sum([entering, *shares])
        scopes = [x for x in gradient_scopes(self.graph, name) if x.prefix == self.prefix]
        inside = {inner for scope in scopes for inner in scope.nodes}
        for user, tensor in users_of(self.graph, node_and_output(entering)[0]):
            if tensor == entering and user not in inside:
                raise DoesNotFit  # a gradient that is handed on as it is
        for inner in inside:
            node = self.graph.nodes[inner]
            inputs = tuple(total if canonical(x) == entering else x for x in node.inputs)
            self._made[inner] = node._replace(inputs=inputs)

    def _entering(self, name: str) -> str:
        """Returns the gradient of what an operation gives that the graph holds; "" without one."""
        entering: Set[str] = set()
        for scope in gradient_scopes(self.graph, name):
            if scope.prefix == self.prefix:
                entering.update(map(canonical, scope.entering))
        return entering.pop() if len(entering) == 1 else ""

    def _sum(self, parts: Sequence[str]) -> str:
        """Returns the sum of gradients; "" without one."""
        left = list(parts)
        while len(left) > 1:
            left.append(self._new("sum", lambda a, b: a + b, left.pop(0), left.pop(0)))
        return left[0] if left else ""

    def _of_input(self, name: str, index: int, gradient: str) -> str:
        """Returns the gradient of an input of an operation from that of its output."""
        node = self.graph.nodes[name]
        if node.op not in RULES:
            raise DoesNotFit

        def of_input(gradient: Any, *inputs: Any) -> Any:
            found = RULES[node.op](node, index, gradient, *inputs)
            return _in_shape(found, np.shape(value_of(inputs[index])))

        return self._new(f"{name}/input {index}", of_input, gradient, *node.data_inputs)

    def _new(self, name: str, function: Callable[..., Any], *inputs: str) -> str:
        """Makes a node, and returns its name."""
        name = free_name(self.graph, f"{self.prefix}passed/{self.label}/{name}/{len(self._made)}")
        self._made[name] = edited(name, function, *inputs)
        return name


def _in_shape(gradient: Any, shape: Tuple[int, ...]) -> Any:
    """Returns a gradient summed over the axes along which an input was repeated, and reshaped."""
    lengths = np.shape(value_of(gradient))
    if np.prod(lengths) != np.prod(shape):
        wanted = (1,) * (len(lengths) - len(shape)) + tuple(shape)
        axes = tuple(i for i, (n, m) in enumerate(zip(lengths, wanted)) if m == 1 != n)
        gradient = eb.total(gradient, axes, True)
    return eb.structural(lambda a: a.reshape(shape), gradient)
