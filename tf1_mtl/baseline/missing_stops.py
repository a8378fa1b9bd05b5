"""Makes mutations by which a gradient passes a `StopGradient` of the graph.

The graph holds no gradient of such an operation. It is put together from the gradients that the
graph holds of the operations behind it, and added to those of the operations before it.
"""

from typing import Any, Callable, Dict, Iterator, Set, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.gradient_scopes import GRADIENTS, gradient_scopes, users_of
from tf1_mtl.baseline.graph_edits import edited, with_nodes
from tf1_mtl.baseline.model import DoesNotFit
from tf1_mtl.baseline.mutation import Mutation, graph_mutation
from tf1_mtl.baseline.recorded_graph import Node, RecordedGraph, node_and_output


def _negated(gradient: Any, *_: Any) -> Any:
    return gradient * -1.0


def _same(gradient: Any, *_: Any) -> Any:
    return gradient


#: By operation, for each input: from the gradient of the output, and the inputs, to its gradient.
RULES: Dict[str, Tuple[Callable[..., Any], ...]] = {
    **dict.fromkeys(["Identity", "Reshape", "Squeeze", "ExpandDims", "StopGradient"], (_same,)),
    **dict.fromkeys(["Add", "AddV2", "BiasAdd"], (_same, _same)),
    "Sub": (_same, _negated),
    "Neg": (_negated,),
    "Mul": (lambda g, x, y: g * y, lambda g, x, y: g * x),
    **dict.fromkeys(["RealDiv", "Div"], (lambda g, x, y: g / y,)),
    "Square": (lambda g, x: g * x * 2.0,),
}


def missing_stops(case: Case, task: str) -> Iterator[Mutation]:
    """Yields a mutation for each operation at which the gradient of a loss stops."""
    for name, node in case.loss_nodes(task).items():
        if node.op == "StopGradient":
            yield graph_mutation("stop missing", (name,), None, passing)


def passing(graph: RecordedGraph, place: str) -> RecordedGraph:
    """Returns a graph in which the gradient passes an operation that stops it.

    Raises:
      DoesNotFit: The graph lacks a gradient that is needed, or an operation is not in `RULES`.
    """
    prefixes = {match.group(1) for match in map(GRADIENTS.match, graph.nodes) if match}
    changed: Dict[str, Node] = {}
    for prefix in sorted(prefixes):
        passed = _Passed(graph, prefix)
        gradient = passed.behind(place)
        if gradient:
            passed.below(place, gradient)
            reaches = not graph.nodes.keys().isdisjoint(passed.changed)
            changed.update(passed.changed if reaches else {})
    if not changed:
        raise DoesNotFit
    return with_nodes(graph, changed.values())


class _Passed:
    """Holds the nodes by which a gradient of one loss passes."""

    def __init__(self, graph: RecordedGraph, prefix: str) -> None:
        self.graph, self.prefix = graph, prefix
        self.changed: Dict[str, Node] = {}

    def behind(self, name: str) -> str:
        """Returns the tensor of the gradient of what an operation gives; "" without one."""
        parts = [
            self._of_input(user, index, gradient)
            for user in dict.fromkeys(user for user, _ in users_of(self.graph, name))
            if not GRADIENTS.match(user)
            for gradient in [self._entering(user) or self._behind_known(user)]
            if gradient
            for index, x in enumerate(self.graph.nodes[user].data_inputs)
            if node_and_output(x)[0] == name
        ]
        while len(parts) > 1:
            parts.append(self._new("sum", lambda a, b: a + b, parts.pop(0), parts.pop(0)))
        return parts[0] if parts else ""

    def _behind_known(self, name: str) -> str:
        op = self.graph.nodes[name].op
        return self.behind(name) if op in RULES and op != "StopGradient" else ""

    def below(self, name: str, gradient: str) -> None:
        """Adds a gradient of what an operation gives to those that the graph holds before it."""
        entering = self._entering(name)
        if entering:
            total = self._new("sum", lambda a, b: a + b, entering, gradient)
            for scope in gradient_scopes(self.graph, name):
                for inner in scope.nodes if scope.prefix == self.prefix else ():
                    node = self.changed.get(inner, self.graph.nodes[inner])
                    inputs = tuple(total if x == entering else x for x in node.inputs)
                    self.changed[inner] = node._replace(inputs=inputs)
            return
        for index, x in enumerate(self.graph.nodes[name].data_inputs):
            before = node_and_output(x)[0]
            if self._leads_to_gradients(before):
                self.below(before, self._of_input(name, index, gradient))

    def _leads_to_gradients(self, name: str) -> bool:
        """Returns whether an operation, or one before it and no other stop, has a gradient."""
        seen, left = {name}, [name]
        while left:
            node = self.graph.nodes[left.pop()]
            if self._entering(node.name):
                return True
            if node.op != "StopGradient":
                before = {node_and_output(x)[0] for x in node.data_inputs} - seen
                seen |= before
                left += before
        return False

    def _entering(self, name: str) -> str:
        """Returns the gradient of what an operation gives that the graph holds; "" without one."""
        entering: Set[str] = set()
        for scope in gradient_scopes(self.graph, name):
            if scope.prefix == self.prefix:
                entering.update(scope.entering)
        return entering.pop() if len(entering) == 1 else ""

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
        name = f"{self.prefix}passed/{name}/{len(self.changed)}"
        self.changed[name] = edited(name, function, *inputs)
        return name


def _in_shape(gradient: Any, shape: Any) -> Any:
    """Returns a gradient summed over the axes along which an input was repeated, and reshaped."""
    lengths = np.shape(value_of(gradient))
    if np.prod(lengths) != np.prod(shape):
        wanted = (1,) * (len(lengths) - len(shape)) + tuple(shape)
        axes = tuple(i for i, (n, m) in enumerate(zip(lengths, wanted)) if m == 1 != n)
        gradient = eb.total(gradient, axes, True)
    return eb.structural(lambda a: a.reshape(shape), gradient)
