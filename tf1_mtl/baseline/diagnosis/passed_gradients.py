"""Passes gradients on ways that the recorded graph does not take.

Where an edit needs a gradient that the graph does not hold, it is put together from those that the
graph holds of the operations behind it, and added to those of the operations before it.
"""

from typing import AbstractSet, Any, Callable, Dict, List, Sequence, Set, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.diagnosis.graph_edits import edited, free_name
from tf1_mtl.baseline.diagnosis.model import DoesNotFit
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.gradient_scopes import GRADIENTS, gradient_scopes, users_of
from tf1_mtl.baseline.recorded_graph import (
    VARIABLES,
    Node,
    RecordedGraph,
    canonical,
    node_and_output,
)


def _negated(gradient: Any, *_: Any) -> Any:
    return gradient * -1.0


def _same(gradient: Any, *_: Any) -> Any:
    return gradient


#: By operation, for each input: from the gradient of the output, and the inputs, to its gradient.
RULES: Dict[str, Tuple[Callable[..., Any], ...]] = {
    **dict.fromkeys(["Identity", "ReadVariableOp", "StopGradient"], (_same,)),
    **dict.fromkeys(["Reshape", "Squeeze", "ExpandDims"], (_same,)),
    **dict.fromkeys(["Add", "AddV2", "BiasAdd"], (_same, _same)),
    "Sub": (_same, _negated),
    "Neg": (_negated,),
    "Mul": (lambda g, x, y: g * y, lambda g, x, y: g * x),
    **dict.fromkeys(["RealDiv", "Div"], (lambda g, x, y: g / y,)),
    "Square": (lambda g, x: g * x * 2.0,),
    "SquaredDifference": (
        lambda g, x, y: g * (x - y) * 2.0,
        lambda g, x, y: g * (x - y) * -2.0,
    ),
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
        """Returns whether an operation, or one before it and no other stop, has a gradient."""
        seen, left = {name}, [name]
        while left:
            node = self.graph.nodes[left.pop()]
            if self._entering(node.name) or node.name in self.trained:
                return True
            if node.op != "StopGradient":
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
        rules = RULES.get(node.op, ())
        if index >= len(rules):
            raise DoesNotFit

        def of_input(gradient: Any, *inputs: Any) -> Any:
            return _in_shape(rules[index](gradient, *inputs), np.shape(value_of(inputs[index])))

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
