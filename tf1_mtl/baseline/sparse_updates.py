"""Recognizes updates by a sparse gradient that TensorFlow 1 makes of several operations.

Adam: about 20 operations decay the slots of all rows, add to those of the rows of the gradient, and
subtract a step from all rows. So the update is that of Adam with zeros in the other rows. Source:
`AdamOptimizer._apply_sparse_shared` in tensorflow/python/training/adam.py.

Gradient descent: the gradient times the rate is subtracted from its rows. Source:
`GradientDescentOptimizer` in tensorflow/python/training/gradient_descent.py.
"""

import re
from typing import Mapping, Optional

from tf1_mtl.baseline.gradient_scopes import GRADIENTS
from tf1_mtl.baseline.recorded_graph import Node, node_and_output

#: Where the inputs of the update are: from what is subtracted, along the inputs of operations.
_RATE = "RealDiv:0 Mul:0 RealDiv"
_M, _V = "RealDiv:0 Mul:1 ScatterAdd", "RealDiv:1 Add:0 Sqrt:0 ScatterAdd"
_PATHS = (
    f"{_M}:0",
    f"{_V}:0",
    f"{_RATE}:1 Sub:1",  # beta1_power
    f"{_RATE}:0 Mul:1 Sqrt:0 Sub:1",  # beta2_power
    f"{_RATE}:0 Mul:0",
    f"{_M}:2 Mul:1 Sub:1",  # beta1
    f"{_V}:2 Mul:1 Sub:1",  # beta2
    "RealDiv:1 Add:1",  # epsilon
    f"{_M}:2 Mul:0",
    f"{_M}:1",
)


_SCATTERS = ("ScatterSub", "ResourceScatterSub", "ResourceScatterAdd")
#: Of the name that an optimizer gives to what updates a variable.
_OF_OPTIMIZER = re.compile(r"(^|/)update_")


def as_one(nodes: Mapping[str, Node], node: Node) -> Node:
    """Returns an update as one operation, such as "SparseApplyAdam"; any other one as it is.

    Args:
      nodes: Of the graph, by name.
      node: An operation that changes a variable.
    """
    return _adam(nodes, node) or _descent(nodes, node) or node


def _descent(nodes: Mapping[str, Node], node: Node) -> Optional[Node]:
    """Returns an update as "SparseApplyGradientDescent"; None if it is another one."""
    if not (node.op in _SCATTERS and _OF_OPTIMIZER.search(node.name)):
        return None
    variable, indices, step = node.data_inputs
    gradient = "Mul:0" if node.op.endswith("Sub") else "Mul:0 Neg:0"  # of a resource, it is negated
    given = [_along(nodes, step, path) for path in ("Mul:1", gradient)]
    if None in given or not _is_of_gradient(nodes, str(given[1])):
        return None
    inputs = (variable, *map(str, given), indices)
    return Node(node.name, "SparseApplyGradientDescent", inputs, node.attributes)


def _is_of_gradient(nodes: Mapping[str, Node], tensor: str) -> bool:
    """Returns whether a tensor is computed from a gradient of TensorFlow."""
    waiting, seen = [tensor], set()
    while waiting:
        name = node_and_output(waiting.pop())[0]
        if GRADIENTS.match(name):
            return True
        if name not in seen:
            seen.add(name)
            waiting += nodes[name].data_inputs
    return False


def _adam(nodes: Mapping[str, Node], node: Node) -> Optional[Node]:
    """Returns an update as "SparseApplyAdam"; None if it is another one."""
    if node.op not in ("AssignSub", "AssignSubVariableOp"):
        return None
    found = []
    for path in _PATHS:
        tensor = _along(nodes, node.data_inputs[1], path)
        if tensor is None:
            return None
        found.append(tensor)
    return Node(node.name, "SparseApplyAdam", (node.data_inputs[0], *found), node.attributes)


def _along(nodes: Mapping[str, Node], tensor: str, path: str) -> Optional[str]:
    """Returns a tensor that a path leads to, such as "RealDiv:1 Add:0"; None if none is there."""
    for part in path.split():
        op, index = part.split(":")
        node: Optional[Node] = nodes[node_and_output(tensor)[0]]
        if op == "ScatterAdd":
            node = _scattering(nodes, tensor)
        elif node and node.op.replace("V2", "") != op:
            node = None
        if node is None:
            return None
        tensor = node.data_inputs[int(index)]
    return tensor


def _scattering(nodes: Mapping[str, Node], tensor: str) -> Optional[Node]:
    """Returns the operation that adds to some rows of the variable that a tensor shows."""
    node = nodes[node_and_output(tensor)[0]]
    before = (nodes[name] for name in node.control_inputs)  # of a resource, which is read behind it
    found = (x for x in (node, *before) if x.op in ("ScatterAdd", "ResourceScatterAdd"))
    return next(found, None)
