"""Turns a GraphDef of any TensorFlow from 0.12 on into a `RecordedGraph`.

No TensorFlow is imported here: the caller has one, and the messages are only read.
"""

import inspect
import itertools
import os
import re
import sysconfig
from typing import Any, Dict, List

import numpy as np

import tf1_mtl
from tf1_mtl.baseline.gradient_scopes import GRADIENTS
from tf1_mtl.baseline.recorded_graph import LINES, Function, Node, RecordedGraph, canonical

MOST_LINES = 2  #: of a script that are kept of an operation: its own, and that of the caller
_PACKAGES = re.compile(r"[\\/](site|dist)-packages[\\/]")


def recorded_graph(
    graph: Any, tensorflow: Any, since: int = 0, has_lines: bool = False
) -> RecordedGraph:
    """Returns the nodes and functions of a graph.

    Args:
      graph: A `tf.Graph`.
      tensorflow: The module with the TensorFlow 1 API.
      since: Gives only the nodes that were added after the graph had this version.
      has_lines: Also gives the lines of the script, but not those of gradients. This takes time.
    """
    graph_def = graph.as_graph_def(from_version=since) if since else graph.as_graph_def()
    converter = _Converter(graph, tensorflow)
    nodes = {node.name: converter.node(node) for node in graph_def.node}
    for name in nodes if has_lines else ():
        if not GRADIENTS.match(name):
            nodes[name] = converter.with_lines(nodes[name])
    library = graph_def.library
    functions = {x.signature.name: converter.function(x) for x in library.function}
    return RecordedGraph(nodes, functions)


class _Converter:
    """Converts messages with the help of the TensorFlow that made them."""

    def __init__(self, graph: Any, tensorflow: Any) -> None:
        self._tf = tensorflow
        self._graph = graph
        here, of_graphs = (os.path.dirname(inspect.getfile(x)) for x in (tf1_mtl, type(graph)))
        libraries = (sysconfig.get_path("stdlib"), here, os.path.dirname(of_graphs))
        self._names: Dict[str, str] = {}
        self._libraries = ("<frozen ", *(os.path.join(folder, "") for folder in libraries))

    def node(self, node: Any) -> Node:
        attributes = {key: self._attribute(node.attr[key]) for key in sorted(node.attr)}
        return Node(node.name, node.op, tuple(map(canonical, node.input)), attributes)

    def with_lines(self, node: Node) -> Node:
        """Returns a node of the graph with the lines of the script that make it; see `Node`."""
        try:
            operation = self._graph.get_operation_by_name(node.name)
        except KeyError:  # another thread is adding it
            return node
        frames = reversed(tuple(getattr(operation, "traceback", None) or ()))
        of_script = (frame for frame in frames if self._name(str(frame[0])))
        inner = itertools.islice(of_script, MOST_LINES)
        lines = [f"{self._name(str(frame[0]))}:{frame[1]}" for frame in inner][::-1]
        return node._replace(attributes={**node.attributes, LINES: lines}) if lines else node

    def _name(self, file: str) -> str:
        """Returns the name of a file of a script; "" for Python, installed packages, and this."""
        if file not in self._names:
            is_library = file.startswith(self._libraries) or _PACKAGES.search(file)
            self._names[file] = "" if is_library else os.path.basename(file)
        return self._names[file]

    def function(self, function: Any) -> Function:
        """Returns a function; its tensors are named as in a graph."""
        signature = function.signature
        arguments = [arg.name for arg in signature.input_arg]
        nodes = {
            arg.name: Node(arg.name, "_Arg", (), {"T": self._dtype(arg.type), "index": index})
            for index, arg in enumerate(signature.input_arg)
        }
        first_outputs = {node.name: self._first_outputs(node) for node in function.node_def}
        for node in function.node_def:
            inputs = tuple(_in_graph_form(name, first_outputs) for name in node.input)
            nodes[node.name] = self.node(node)._replace(inputs=inputs)
        results = [
            _in_graph_form(function.ret[arg.name], first_outputs) for arg in signature.output_arg
        ]
        controls = getattr(signature, "control_output", ())  # from 1.14 on
        control_results = [function.control_ret[key] for key in controls]
        return Function(tuple(arguments), nodes, tuple(results), tuple(control_results))

    def _first_outputs(self, node: Any) -> Dict[str, int]:
        """Returns the index of the first output of each output argument of an operation."""
        find = getattr(self._graph, "op_def_for_type", None) or self._graph._get_op_def
        first, index = {}, 0
        for arg in find(node.op).output_arg:
            first[arg.name] = index
            if arg.number_attr:
                index += node.attr[arg.number_attr].i
            elif arg.type_list_attr:
                index += len(node.attr[arg.type_list_attr].list.type)
            else:
                index += 1
        return first

    def _attribute(self, attribute: Any) -> Any:
        kind = attribute.WhichOneof("value")
        if kind == "list":
            # At most one of the fields of a list is filled.
            return [
                self._value(field.name, value)
                for field, values in attribute.list.ListFields()
                for value in values
            ]
        return None if kind is None else self._value(kind, getattr(attribute, kind))

    def _value(self, kind: str, value: Any) -> Any:
        if kind == "s":
            return value.decode("utf-8", "surrogateescape")
        if kind == "type":
            return self._dtype(value)
        if kind == "shape":
            return None if value.unknown_rank else [int(dim.size) for dim in value.dim]
        if kind == "tensor":
            return self._tensor(value)
        if kind == "func":
            return {"function": value.name}
        return value

    def _dtype(self, number: int) -> str:
        try:
            return str(self._tf.as_dtype(number).name)
        except (TypeError, ValueError):
            return f"dtype {number}"

    def _tensor(self, tensor: Any) -> Any:
        make = getattr(self._tf, "make_ndarray", None) or self._tf.contrib.util.make_ndarray
        array = make(tensor)
        if array.dtype.kind == "V":  # bfloat16 and smaller numbers, which the file does not have
            array = array.astype(np.float32)
        return array


def _in_graph_form(name: str, first_outputs: Dict[str, Dict[str, int]]) -> str:
    """Returns "node:index" for the "node:output argument:index" of a function."""
    parts: List[str] = name.split(":")
    if len(parts) < 3:
        return name
    node, argument, index = parts
    return canonical(f"{node}:{first_outputs[node][argument] + int(index)}")
