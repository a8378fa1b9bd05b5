"""Lists what versions of TensorFlow write differently for the same graph.

`DIFFERENCES` holds every difference between the graph of the article as TensorFlow 1.15.5 writes it
and as another version does. `as_written_by` applies those of one version. They come from comparing
all 216 nodes. A graph that differs in anything else is another graph.
"""

from typing import Callable, List, NamedTuple, Tuple

import tensorflow.compat.v1 as tf


class Difference(NamedTuple):
    """One difference to 1.15.5, with the versions that show it."""

    name: str
    shown_by: Callable[[Tuple[int, int]], bool]  #: takes (major, minor)
    apply: Callable[[tf.GraphDef], None]  #: changes a graph of 1.15.5 in place


def as_written_by(version: str, graph_def: tf.GraphDef) -> tf.GraphDef:
    """Gives the graph that another TensorFlow writes where 1.15.5 wrote this one.

    Args:
      version: TensorFlow's, such as "2.21.0".
      graph_def: Written by 1.15.5. Not changed.
    """
    major, minor = (int(part) for part in version.split(".")[:2])
    result = tf.GraphDef()
    result.CopyFrom(graph_def)
    for difference in DIFFERENCES:
        if difference.shown_by((major, minor)):
            difference.apply(result)
    return result


def node_differences(expected: tf.GraphDef, actual: tf.GraphDef) -> List[str]:
    """Compares two graphs node by node: name, op, inputs, device and attributes, in order.

    Returns:
      One line for each difference. Empty if the graphs are the same.
    """
    found = []
    if len(expected.node) != len(actual.node):
        found.append(f"{len(actual.node)} nodes, should be {len(expected.node)}")
    for index, (should, node) in enumerate(zip(expected.node, actual.node)):
        where = f"node {index} ({should.name})"
        for field in ("name", "op", "device"):
            if getattr(node, field) != getattr(should, field):
                found.append(
                    f"{where}: {field} is {getattr(node, field)!r}, "
                    f"should be {getattr(should, field)!r}"
                )
        if list(node.input) != list(should.input):
            found.append(f"{where}: inputs are {list(node.input)}, should be {list(should.input)}")
        for key in sorted(set(node.attr) | set(should.attr)):
            if key not in node.attr or key not in should.attr:
                state = "missing" if key in should.attr else "not in the expected graph"
                found.append(f"{where}: attribute {key} is {state}")
            elif node.attr[key] != should.attr[key]:
                found.append(f"{where}: attribute {key} differs")
    return found


def _add_not_yet_v2(graph_def: tf.GraphDef) -> None:
    """The Add of Joint_Loss became AddV2."""
    for node in graph_def.node:
        if node.op == "AddV2":
            node.op = "Add"


def _fill_takes_the_seeds_name(graph_def: tf.GraphDef) -> None:
    """The seed of the gradients: the Fill is named grad_ys_0, and its Const grad_ys_0/Const."""
    renamed = {}
    for node in graph_def.node:
        scope, _, name = node.name.rpartition("/")
        if node.op == "Fill" and name == "Fill":
            renamed[node.name] = f"{scope}/grad_ys_0"
        elif node.op == "Const" and name == "grad_ys_0":
            renamed[node.name] = f"{scope}/grad_ys_0/Const"
    for node in graph_def.node:
        node.name = renamed.get(node.name, node.name)
        for index, name in enumerate(node.input):
            control = "^" if name.startswith("^") else ""
            bare = name.lstrip("^")
            node.input[index] = control + renamed.get(bare, bare)
        if "_class" in node.attr:
            classes = node.attr["_class"].list.s
            for index, colocated in enumerate(classes):
                bare = colocated.decode().replace("loc:@", "", 1)
                classes[index] = f"loc:@{renamed.get(bare, bare)}".encode()


def _control_sources_marked(graph_def: tf.GraphDef) -> None:
    """Every node that another one waits for carries _has_manual_control_dependencies."""
    waited_for = {name[1:] for node in graph_def.node for name in node.input if name[0] == "^"}
    for node in graph_def.node:
        if node.name in waited_for:
            node.attr["_has_manual_control_dependencies"].b = True


def _matmul_says_which_input_is_a_gradient(graph_def: tf.GraphDef) -> None:
    """MatMul has grad_a and grad_b: whether that input is a gradient."""
    for node in graph_def.node:
        if node.op == "MatMul":
            for key, name in zip(("grad_a", "grad_b"), node.input):
                node.attr[key].b = name.startswith("gradients")


DIFFERENCES = (
    Difference("Add, not AddV2", lambda version: version < (1, 15), _add_not_yet_v2),
    # 2.3.4 is as 1.15.5; 2.4 and 2.5 were not looked at.
    Difference("grad_ys_0", lambda version: version >= (2, 6), _fill_takes_the_seeds_name),
    # 2.9.3 has none; 2.10 and 2.11 were not looked at.
    Difference(
        "_has_manual_control_dependencies",
        lambda version: version >= (2, 12),
        _control_sources_marked,
    ),
    # 2.15.1 has none.
    Difference(
        "grad_a, grad_b",
        lambda version: version >= (2, 16),
        _matmul_says_which_input_is_a_gradient,
    ),
)
