"""Edits recorded graphs, for ports that compute something else.

Each edit returns a new graph in which the forward operation and its gradient operations are changed
together; `gradient_scopes.py` finds the latter.
"""

import re
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline.error_bounds import ErrorBounded
from tf1_mtl.baseline.gradient_scopes import GradientScope, gradient_scopes, users_of
from tf1_mtl.baseline.operations import OPERATIONS
from tf1_mtl.baseline.operations.table import Variable, gives, updates
from tf1_mtl.baseline.recorded_graph import (
    Node,
    RecordedGraph,
    node_and_output,
)


@gives("Edited")
def _edited(node: Node, *inputs: Any) -> Any:
    values = (x.value if isinstance(x, Variable) else x for x in inputs)
    return node.attributes["function"](*values)


def _edited_update(node: Node, *inputs: Any) -> Any:
    return node.attributes["function"](*inputs)


for _cells in range(1, 5):
    updates(_cells, f"EditedUpdate{_cells}")(_edited_update)


def edited(name: str, function: Callable[..., Any], *inputs: str) -> Node:
    """Returns a node that calls a function of its inputs."""
    return Node(name, "Edited", inputs, {"function": function})


def elementwise(
    function: Callable[[np.ndarray], np.ndarray], least: float = 0.0
) -> Callable[[Any], Any]:
    """Returns a function that carries errors through a function of float64 arrays.

    The error covers what changes between `x - error` and `x + error`, a few roundings, and `least`.
    """

    def bounded(x: Any) -> Any:
        if not isinstance(x, ErrorBounded):
            return function(np.asarray(x, np.float64))
        value = function(x.value)
        sides = (function(x.value + x.error), function(x.value - x.error))
        change = np.maximum(*(np.abs(side - value) for side in sides))
        rounding = 8 * x.precision.unit * np.maximum(np.abs(value), np.abs(x.value))
        return ErrorBounded(
            value, change + np.where(x.value == 0, 0, rounding) + least, x.precision
        )

    return bounded


def with_nodes(graph: RecordedGraph, changed: Iterable[Node]) -> RecordedGraph:
    """Returns a graph in which these nodes replace those of their names, or are new."""
    return graph._replace(nodes={**graph.nodes, **{node.name: node for node in changed}})


def replace_pointwise(
    graph: RecordedGraph,
    name: str,
    function: Optional[Callable[[Any], Any]],
    slope: Callable[[Any, Any], Any],
    index: int = 0,
) -> RecordedGraph:
    """Replaces an operation of one input and its gradient.

    Args:
      graph: The graph.
      name: The operation.
      function: Of the input; None keeps the forward operation.
      slope: From the gradient from above and the input to the gradient below.
      index: Of the input, where others are constants.
    """
    node = graph.nodes[name]
    x = node.data_inputs[index]
    changed = [] if function is None else [edited(name, function, x, *_controls(node))]
    for scope in gradient_scopes(graph, name):
        if len(scope.leaving) == 1 and len(scope.entering) == 1:
            target = node_and_output(scope.leaving[0])[0]
            changed.append(edited(target, slope, scope.entering[0], x))
    return with_nodes(graph, changed)


def _controls(node: Node) -> Tuple[str, ...]:
    return tuple("^" + name for name in node.control_inputs)


def edit_output(
    graph: RecordedGraph,
    name: str,
    function: Callable[..., Any],
    slope: Callable[..., Any],
    index: int = 0,
) -> RecordedGraph:
    """Passes what an operation gives through a function, and the gradient through its slope.

    Args:
      graph: The graph.
      name: The operation.
      function: From the output and an input, if any, to what takes the place of the output.
      slope: From the gradient from above, the output and the input to the gradient below.
      index: Of the input.
    """
    node = graph.nodes[name]
    taken = node.data_inputs[index : index + 1]
    changed = {x.name: x for x in wrapped(graph, name, function, *taken)}
    inner = next(iter(changed))
    for scope in gradient_scopes(graph, name):
        passed = {name: inner}
        for number, tensor in enumerate(scope.entering):
            below = free_name(graph, f"{scope.prefix}{name}/edited gradient {number}")
            passed[tensor] = below
            changed[below] = edited(below, slope, tensor, inner, *taken)
        changed.update((x, _taking(graph.nodes[x], passed)) for x in scope.nodes)
    return with_nodes(graph, changed.values())


def edit_input(
    graph: RecordedGraph,
    name: str,
    index: int,
    function: Callable[..., Any],
    slope: Callable[..., Any],
    is_linear: bool = False,
    more: Tuple[str, ...] = (),
) -> RecordedGraph:
    """Passes one input of an operation through a function, and its gradient through the slope.

    Args:
      graph: The graph.
      name: The operation.
      index: Of the input.
      function: Of the input.
      slope: From the gradient from above and the input to the gradient below.
      is_linear: Whether the slope takes the gradient alone.
      more: Tensors that both functions take last.
    """
    node = graph.nodes[name]
    x, passed = node.data_inputs[index], free_name(graph, f"{name}/edited input {index}")
    changed = {passed: edited(passed, function, x, *more), name: _taking(node, {x: passed})}
    for scope in gradient_scopes(graph, name):
        changed.update((inner, _taking(graph.nodes[inner], {x: passed})) for inner in scope.nodes)
        for tensor in scope.leaving:
            if tensor in graph.nodes and is_of_input(tensor, scope, index, node):
                inner_name = free_name(graph, f"{tensor}/before the edit")
                changed[inner_name] = changed[tensor]._replace(name=inner_name)
                taken = (inner_name,) if is_linear else (inner_name, x)
                changed[tensor] = edited(tensor, slope, *taken, *more)
    return with_nodes(graph, changed.values())


def _taking(node: Node, passed: Mapping[str, str]) -> Node:
    """Returns a node that takes other tensors in place of some."""
    return node._replace(inputs=tuple(passed.get(x, x) for x in node.inputs))


def joined_in_order(graph: RecordedGraph, name: str, order: Sequence[int]) -> RecordedGraph:
    """Joins tensors in another order: in an operation and in those that split its gradient.

    Args:
      graph: The graph.
      name: A ConcatV2 of at most 16 tensors. TensorFlow splits the gradient of more in another way.
      order: The inputs in this order.
    """
    node = graph.nodes[name]
    *parts, axis = node.data_inputs
    inputs = (*(parts[i] for i in order), axis, *_controls(node))
    changed = [node._replace(inputs=inputs)]
    for scope in gradient_scopes(graph, name):
        inner = [graph.nodes[x] for x in scope.nodes]
        passed: Dict[str, str] = {}
        for offsets in (x for x in inner if x.op == "ConcatOffset"):
            axis, *sizes = offsets.data_inputs
            inputs = (axis, *(sizes[i] for i in order), *_controls(offsets))
            changed.append(offsets._replace(inputs=inputs))
            outputs = [offsets.name, *(f"{offsets.name}:{i}" for i in range(1, len(order)))]
            passed.update({outputs[i]: outputs[place] for place, i in enumerate(order)})
        changed += [_taking(x, passed) for x in inner if not passed.keys().isdisjoint(x.inputs)]
    return with_nodes(graph, changed)


def is_of_input(tensor: str, scope: GradientScope, index: int, node: Node) -> bool:
    """Returns whether a tensor is the gradient of an input, as TensorFlow numbers them."""
    if node.op == "Split":  # an axis comes before the only input that has a gradient
        return True
    number = re.search(r"_(\d+)$", tensor)
    is_numbered = "/tuple/" in tensor or len(scope.leaving) > 1
    return (int(number.group(1)) if number and is_numbered else 0) == index


def free_name(graph: RecordedGraph, name: str) -> str:
    """Returns a name that no node has: this one, or one with spaces behind it."""
    while name in graph.nodes:
        name += " "
    return name


def wrapped(
    graph: RecordedGraph, name: str, function: Callable[..., Any], *more: str
) -> List[Node]:
    """Returns nodes by which the output of a node passes through a function.

    Args:
      graph: The graph.
      name: The node.
      function: Of the output and of more tensors.
      more: These tensors.
    """
    inner = free_name(graph, name + "/before the edit")
    return [graph.nodes[name]._replace(name=inner), edited(name, function, inner, *more)]


def scale_addend(
    graph: RecordedGraph, total: str, addend: str, factor: float, scopes: Set[str]
) -> RecordedGraph:
    """Multiplies one addend of a sum of losses, and its gradient for the losses that sum it.

    Args:
      graph: The graph.
      total: The operation that adds.
      addend: The operation that is one of its inputs.
      factor: By what to multiply.
      scopes: Prefixes of the gradients of the losses that contain the sum.
    """
    weighted = f"{addend}/in {total}"
    node = graph.nodes[total]
    inputs = tuple(weighted if node_and_output(x)[0] == addend else x for x in node.inputs)
    changed = [times(weighted, factor, addend), node._replace(inputs=inputs)]
    for scope in gradient_scopes(graph, addend):
        if scope.prefix in scopes:
            for tensor in scope.leaving:
                name = node_and_output(tensor)[0]
                changed += wrapped(graph, name, lambda x: x * factor)
    return with_nodes(graph, changed)


def times(name: str, factor: float, tensor: str) -> Node:
    """Returns a node that multiplies a tensor."""
    return edited(name, lambda x: x * factor, tensor)


def with_constant(graph: RecordedGraph, name: str, value: float) -> RecordedGraph:
    """Gives a constant another value, or what is of zeros or ones; gradients take the same."""
    node = graph.nodes[name]
    if node.op != "Const":
        return with_nodes(graph, wrapped(graph, name, lambda y: y * 0.0 + value))
    array = np.full_like(node.attributes["value"], value)
    return with_nodes(graph, [node._replace(attributes={**node.attributes, "value": array})])


def with_attributes(
    graph: RecordedGraph, name: str, known: str, attributes: Dict[str, Any]
) -> RecordedGraph:
    """Gives an operation other attributes, and those of its gradient that have the known one."""
    names = [name, *(x for s in gradient_scopes(graph, name) for x in s.nodes)]
    nodes = [graph.nodes[x] for x in names if known in graph.nodes[x].attributes]
    changed = [node._replace(attributes={**node.attributes, **attributes}) for node in nodes]
    return with_nodes(graph, changed)


PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "Conv2D")
BACKWARD_PRODUCTS = ("Conv2DBackpropInput", "Conv2DBackpropFilter")


def round_products(
    graph: RecordedGraph,
    name: str,
    rounding: Callable[[np.ndarray], np.ndarray],
    result: Callable[[np.ndarray], np.ndarray],
) -> RecordedGraph:
    """Rounds the operands and the result of a product, and of the products of its gradients.

    Args:
      graph: The graph.
      name: The product.
      rounding: Of both operands.
      result: Rounds what the product gives.
    """
    nodes = [name, *(x for scope in gradient_scopes(graph, name) for x in scope.nodes)]
    changed = []
    for each in nodes:
        node = graph.nodes[each]
        if node.op in (*PRODUCTS, *BACKWARD_PRODUCTS):
            product = _rounded_product(node, rounding, result)
            changed.append(edited(each, product, *node.inputs))
    return with_nodes(graph, changed)


def _rounded_product(
    node: Node,
    rounding: Callable[[np.ndarray], np.ndarray],
    result: Callable[[np.ndarray], np.ndarray],
) -> Callable[..., Any]:
    function = OPERATIONS[node.op].function

    def product(*inputs: Any) -> Any:
        return round_to(result, function(node, *(round_to(rounding, x) for x in inputs)))

    return product


def round_to(rounding: Callable[[np.ndarray], np.ndarray], x: Any) -> Any:
    """Returns a float tensor rounded by a function; where its error decides, both sides count."""
    if not isinstance(x, ErrorBounded):
        return rounding(x) if np.asarray(x).dtype.kind == "f" else x
    value = rounding(x.value)
    sides = (rounding(x.value + x.error), rounding(x.value - x.error))
    error = np.maximum(*(np.abs(side - value) for side in sides))
    return ErrorBounded(value, error, x.precision)


def stop_gradient(graph: RecordedGraph, name: str, prefixes: Set[str]) -> RecordedGraph:
    """Stops the gradients that flow from an operation to those before it, not to variables.

    Args:
      graph: The graph.
      name: A product, such as the first of a task.
      prefixes: Of the gradients that stop.
    """
    changed = []
    for scope in gradient_scopes(graph, name):
        for tensor in scope.leaving if scope.prefix in prefixes else ():
            source = node_and_output(tensor)[0]
            if any(user.startswith(scope.prefix) for user, _ in users_of(graph, source)):
                changed += wrapped(graph, source, lambda x: x * 0.0)
    return with_nodes(graph, changed)


def stop_branch(graph: RecordedGraph, name: str, prefixes: Optional[Set[str]]) -> RecordedGraph:
    """Stops all gradients that flow from an operation, to variables too.

    Args:
      graph: The graph.
      name: The end of a branch, such as the output of one of two networks with shared weights.
      prefixes: Of the gradients that stop; None for all.
    """
    changed = []
    for scope in gradient_scopes(graph, name):
        for tensor in scope.leaving if prefixes is None or scope.prefix in prefixes else ():
            changed += wrapped(graph, node_and_output(tensor)[0], lambda x: x * 0.0)
    return with_nodes(graph, changed)
