"""Adds to a graph what the faster step modes and checkpoints need.

The nodes are added on first use and found again by their names. The variables among them are not
global variables, so an initializer or a Saver of the model does not see them.

A minimize op reads the placeholders that it was built on. The faster step modes train on batches
that the graph holds, or inside a loop. So they copy the nodes of the op (forward pass, gradients,
Adam) and replace each placeholder by another tensor. No formula is written a second time.
Variables and slots are not copied, so all step modes train the same ones.
"""

from typing import Any, Mapping, Sequence, Tuple

import tensorflow.compat.v1 as tf

from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.graph_reader import VARIABLES, needed
from tf1_mtl.training import fetches


def copy_step(
    net: MultiTaskGraph, task: str, inputs: Mapping[str, tf.Tensor], name: str
) -> Tuple[tf.Operation, tf.Tensor]:
    """Adds a copy of the training step of one task to the current graph.

    Args:
      net: The graph of the article, which is the current one.
      task: "Y1", "Y2" or "joint".
      inputs: What the copy reads instead of a placeholder, by its name: float32 [batch, columns].
      name: Is put before the names of the copied nodes.

    Returns:
      The copies of the minimize op of the task and of its loss (before the update).
    """
    op, loss = copy_nodes(net, fetches(net)[task], {f"{x}:0": inputs[x] for x in inputs}, name)
    return op, loss


def copy_nodes(
    net: MultiTaskGraph,
    wanted: Sequence[Any],
    stand_ins: Mapping[str, tf.Tensor],
    name: str,
    device: str = "",
) -> Tuple[Any, ...]:
    """Adds copies of some operations or tensors, and of what they need, to the current graph.

    Args:
      net: The graph of the article, which is the current one.
      wanted: Operations and tensors.
      stand_ins: What the copies read instead of a tensor, by the name of the tensor. What only
        that tensor needs is not copied; variables never are.
      name: Is put before the names of the copied nodes.
      device: Where the copies are; "" keeps the devices of the nodes.

    Returns:
      The copies of `wanted`.
    """
    fed = [net.graph.get_tensor_by_name(given) for given in stand_ins]
    graph_def = tf.GraphDef(versions=net.graph.graph_def_versions)
    behind = needed(wanted, fed)
    nodes = [node for node in net.graph.get_operations() if node in behind]
    used = {tensor.name for node in nodes for tensor in node.inputs}
    input_map = {given: tensor for given, tensor in stand_ins.items() if given in used}
    for node in nodes:
        if node.type in VARIABLES:
            input_map[node.outputs[0].name] = node.outputs[0]
            continue
        copied = graph_def.node.add()
        copied.CopyFrom(node.node_def)
        copied.attr.pop("_class", None)  # it names a node that is not copied
        copied.device = device or copied.device
    return tuple(
        tf.import_graph_def(graph_def, input_map, [each.name for each in wanted], name=name)
    )


def held(net: MultiTaskGraph, value: tf.Tensor, name: str) -> tf.Variable:
    """Adds a variable of the kind that the net has. Its initializer sets it.

    Args:
      net: The graph of the article, which is the current one.
      value: What the initializer writes, such as a placeholder.
      name: The name of the variable.
    """
    return tf.Variable(
        value,
        name=name,
        trainable=False,
        collections=[tf.GraphKeys.LOCAL_VARIABLES],
        validate_shape=False,  # another value may have another shape
        use_resource=net.shared_layer_weights.op.type == "VarHandleOp",
    )


def is_built(graph: tf.Graph, name: str) -> bool:
    """Returns True if the graph has an operation of this name."""
    try:
        graph.get_operation_by_name(name)
    except KeyError:
        return False
    return True
