"""Holds the graph of a recording: nodes, attributes and constants, without TensorFlow.

A node keeps the name, operation and inputs that TensorFlow gave it. A tensor is named as in a
GraphDef: "node" is the first output of a node, "node:1" the second, and "^node" among the inputs is
a control dependency. `recorder` makes a `RecordedGraph` from a `tf.Graph`; `evaluator` runs it.
"""

import functools
import math
import re
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
)

import numpy as np

#: Operations that hold a variable: ref variables, then resource variables.
REF_VARIABLES = ("Variable", "VariableV2")
RESOURCE_VARIABLES = ("VarHandleOp",)
VARIABLES = (*REF_VARIABLES, *RESOURCE_VARIABLES)
#: Operations that change a variable, their first input: by the rule of an optimizer, or directly.
RULES = re.compile(r"(Resource)?(Sparse)?Apply[A-Z]\w*")
ASSIGNMENTS = re.compile(
    r"Assign(Add|Sub)?(VariableOp)?|(Resource)?StridedSliceAssign"
    r"|(Resource)?Scatter(Nd)?(Add|Sub|Mul|Div|Min|Max|Update)"
)
#: Operations that add tensors, or subtract one.
SUMS = ("Add", "AddV2", "AddN", "Sub")
LINES = "_lines"  #: attribute: lines of the script that made a node, such as "model.py:7"
_PASS_ON = ("Identity", "ReadVariableOp", "Enter", "RefEnter", "Switch", "RefSwitch")


class Node(NamedTuple):
    """Describes one operation of a graph."""

    name: str
    op: str  #: the name of the operation in TensorFlow, such as "MatMul"
    inputs: Tuple[str, ...]  #: tensors in order, then control dependencies
    #: JSON values by name: a dtype is its name ("float32"), a shape is a list with -1 for an
    #: unknown dimension or None for an unknown rank, a function is {"function": its name}. A tensor
    #: (the `value` of a Const) is a NumPy array, of strings an array of `bytes` objects.
    attributes: Mapping[str, Any] = {}

    @property
    def data_inputs(self) -> Tuple[str, ...]:
        """Returns the tensors that the node takes, without control dependencies."""
        return _data_inputs(self.inputs)

    @property
    def control_inputs(self) -> Tuple[str, ...]:
        """Returns the names of the nodes that must run before this one."""
        return tuple(name[1:] for name in self.inputs if name.startswith("^"))

    @property
    def lines(self) -> Tuple[str, ...]:
        """Returns the lines of the script that made the node, where known: a caller first."""
        lines = self.attributes.get(LINES)
        return tuple(map(str, lines)) if isinstance(lines, list) else ()


class Function(NamedTuple):
    """Holds the body of a function, which `While` and `If` operations call."""

    arguments: Tuple[str, ...]  #: names of the nodes that stand for the arguments, in order
    nodes: Mapping[str, Node]
    results: Tuple[str, ...]  #: tensors, in order
    control_results: Tuple[str, ...] = ()  #: nodes that run although no result needs them


class RecordedGraph(NamedTuple):
    """Holds a graph as TensorFlow ran it."""

    nodes: Mapping[str, Node]  #: by name, in the order of creation
    functions: Mapping[str, Function] = {}

    def joined(self, added: "RecordedGraph") -> "RecordedGraph":
        """Returns the graph with more nodes and functions."""
        return RecordedGraph({**self.nodes, **added.nodes}, {**self.functions, **added.functions})

    def __repr__(self) -> str:
        return f"RecordedGraph({len(self.nodes)} nodes, {len(self.functions)} functions)"


@functools.lru_cache(maxsize=1 << 16)
def node_and_output(tensor: str) -> Tuple[str, int]:
    """Returns the node and the output index that a tensor name means.

    Args:
      tensor: "node", "node:1" or "^node".
    """
    name, _, index = tensor.lstrip("^").partition(":")
    return name, int(index or 0)


@functools.lru_cache(maxsize=1 << 16)
def _data_inputs(inputs: Tuple[str, ...]) -> Tuple[str, ...]:
    return tuple(name for name in inputs if not name.startswith("^"))


@functools.lru_cache(maxsize=1 << 16)
def canonical(tensor: str) -> str:
    """Returns the name of a tensor in the form of a GraphDef: "X" for "X:0"."""
    return tensor[:-2] if tensor.endswith(":0") else tensor


def needed_nodes(
    nodes: Mapping[str, Node],
    fetches: Iterable[str],
    fed: Iterable[str] = (),
    known: Collection[str] = (),
) -> Dict[str, Node]:
    """Returns the nodes that a run executes, each after its inputs.

    The walk goes backward from the fetches and stops at the fed tensors. Loops of v1 control flow
    are cut at their `NextIteration`.

    Args:
      nodes: The nodes of a graph, by name.
      fetches: Names of tensors or of operations.
      fed: Names of the tensors whose value the caller gives.
      known: Names of the nodes whose outputs the caller gives.

    Raises:
      KeyError: A fetch or an input is not in the graph.
    """
    given = frozenset(map(canonical, fed))
    placed: Dict[str, Node] = {}
    opened = set()
    stack: List[Tuple[str, bool]] = []
    for fetch in reversed([canonical(fetch) for fetch in fetches]):
        if fetch not in given and node_and_output(fetch)[0] not in known:
            stack.append((node_and_output(fetch)[0], False))
    while stack:
        name, inputs_are_placed = stack.pop()
        if name in placed:
            continue
        node = nodes[name]
        if inputs_are_placed:
            placed[name] = node
            continue
        if name in opened:
            continue  # a cycle of a v1 loop; the node is placed when its inputs are
        opened.add(name)
        stack.append((name, True))
        for tensor in reversed(node.inputs):
            source = node_and_output(tensor)[0]
            if canonical(tensor) in given or (tensor.startswith("^") and source in given):
                continue
            if source not in placed and source not in known:
                stack.append((source, False))
    return placed


def variable_of(nodes: Mapping[str, Node], tensor: str) -> Optional[str]:
    """Returns the variable that a tensor holds or stands for, or None."""
    seen = set()
    node = nodes.get(node_and_output(tensor)[0])
    while node is not None and node.name not in seen:
        if node.op in VARIABLES:
            return node.name
        if node.op not in _PASS_ON and not ASSIGNMENTS.fullmatch(node.op):
            return None
        seen.add(node.name)
        node = nodes.get(node_and_output(node.data_inputs[0])[0]) if node.data_inputs else None
    return None


def check_inputs(graph: RecordedGraph) -> None:
    """Checks that a graph has every node that another one, or a function, names as its input.

    Raises:
      ValueError: One is missing.
    """
    for nodes in (graph.nodes, *(function.nodes for function in graph.functions.values())):
        for node in nodes.values():
            missing = [name for name in node.inputs if node_and_output(name)[0] not in nodes]
            if missing:
                raise ValueError(
                    f"node {node.name!r} has the input {missing[0]!r}, which is missing"
                )


def graph_to_json(graph: RecordedGraph, store: Callable[[str, np.ndarray], Any]) -> Dict[str, Any]:
    """Returns a graph as a JSON value.

    Args:
      graph: What to write.
      store: Keeps an array elsewhere under a name and returns a JSON value that refers to it.
    """
    functions = {}
    for name, function in graph.functions.items():
        nodes = _nodes_to_json(function.nodes.values(), store, f"{name}/")
        functions[name] = {**function._asdict(), "nodes": nodes}
    return {"nodes": _nodes_to_json(graph.nodes.values(), store), "functions": functions}


def graph_from_json(entry: Any, resolve: Callable[[Any], np.ndarray]) -> RecordedGraph:
    """Returns the graph that `graph_to_json` wrote.

    Args:
      entry: Its JSON value.
      resolve: Returns the array that a reference of `store` means.

    Raises:
      ValueError, TypeError, KeyError, AttributeError: The entry is not such a value.
    """
    functions = {}
    for name, function in entry["functions"].items():
        tensors = (_names(function[key]) for key in ("arguments", "results", "control_results"))
        arguments, results, control_results = tensors
        nodes = _nodes_from_json(function["nodes"], resolve)
        functions[name] = Function(arguments, nodes, results, control_results)
    return RecordedGraph(_nodes_from_json(entry["nodes"], resolve), functions)


def _nodes_to_json(
    nodes: Iterable[Node], store: Callable[[str, np.ndarray], Any], prefix: str = ""
) -> List[Any]:
    entry = []
    for node in nodes:
        where = f"{prefix}{node.name}"
        attributes = {
            key: _attribute_to_json(value, functools.partial(store, f"{where}/{key}"))
            for key, value in node.attributes.items()
        }
        entry.append([node.name, node.op, list(node.inputs), attributes])
    return entry


def _nodes_from_json(entry: Any, resolve: Callable[[Any], np.ndarray]) -> Dict[str, Node]:
    nodes = {}
    for name, op, inputs, attributes in entry:
        name, op = _names([name, op])
        values = {key: _attribute_from_json(x, resolve) for key, x in attributes.items()}
        nodes[name] = Node(name, op, _names(inputs), values)
    return nodes


def _names(entry: Any) -> Tuple[str, ...]:
    if not isinstance(entry, list) or not all(isinstance(name, str) for name in entry):
        raise TypeError(f"{entry!r:.80} should be a list of names")
    return tuple(entry)


def _attribute_to_json(value: Any, store: Callable[[np.ndarray], Any]) -> Any:
    """Returns an attribute as JSON, which has neither arrays nor numbers that are not finite."""
    if isinstance(value, np.ndarray):
        if not value.dtype.hasobject:
            return {"tensor": store(value)}
        strings = [text.decode("utf-8", "surrogateescape") for text in value.ravel()]
        return {"strings": strings, "shape": list(value.shape)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, list):
        return [_attribute_to_json(one, store) for one in value]
    return value


def _attribute_from_json(entry: Any, resolve: Callable[[Any], np.ndarray]) -> Any:
    if isinstance(entry, list):
        return [_attribute_from_json(one, resolve) for one in entry]
    if not isinstance(entry, dict) or "function" in entry:
        return entry
    if "tensor" in entry:
        return resolve(entry["tensor"])
    if "float" in entry:
        return float(entry["float"])
    strings = [text.encode("utf-8", "surrogateescape") for text in entry["strings"]]
    array = np.empty(len(strings), object)
    array[:] = strings
    return array.reshape(entry["shape"])
