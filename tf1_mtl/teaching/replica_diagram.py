"""Lays out a joint step over replicas, with one box for each replica.

The names that `tf1_mtl.scale.replicas` gives to nodes tell the parts: "replicas/rows/" cuts the
rows, and "replicas/0/" has the loss and the gradients of the first part of them.
"""

import re
from typing import Any, Dict, List, Tuple

from tf1_mtl.graph_reader import PLACEHOLDERS, READS, VARIABLES, Operation, needed, structure
from tf1_mtl.teaching.diagram import Box, Diagram, Edge, arrange, forward_box, optimizer_box
from tf1_mtl.teaching.planning import Names

_ROWS = "replicas/rows/"
_LEGEND = "replicas/0/, ...: the layers for a part of the rows each; Optimiser adds the gradients"


def replica_diagram(net: Any) -> Diagram:
    """Returns the boxes and arrows of the joint step.

    Args:
      net: From `tf1_mtl.scale.replicas.replicate`.
    """
    names = Names(net)
    (optimizer,) = (o for o in structure(net.graph).optimizers if o.name == net.Optimiser.name)
    optimizer = optimizer._replace(loss=net.Joint_Loss.op)
    runs = needed([net.Optimiser, net.Joint_Loss])
    home = {
        op: _part_of(op, net, optimizer.trained) for op in net.graph.get_operations() if op in runs
    }
    parts: Dict[str, List[Operation]] = {}
    for op, part in home.items():
        parts.setdefault(part, []).append(op)
    del parts[optimizer.name]
    boxes = [_box(names, part, ops, optimizer) for part, ops in parts.items()]
    boxes.append(optimizer_box(names, optimizer))
    number = {part: index for index, part in enumerate([*parts, optimizer.name])}
    links: Dict[Tuple[int, int], Edge] = {}
    for op, part in home.items():
        for tensor in op.inputs:
            start, end = number[home[tensor.op]], number[part]
            # That the optimizer reads a weight is not drawn. Its box names what it trains.
            if start != end and (boxes[start].kind, part) != ("variable", optimizer.name):
                nodes = links[start, end].nodes if (start, end) in links else ()
                links[start, end] = Edge(start, end, False, (*nodes, op.name))
    return arrange(boxes, list(links.values()))._replace(left_out=(_LEGEND,))


def _part_of(op: Operation, net: Any, weights: Tuple[Operation, ...]) -> str:
    """Returns the name of the box of a node. The optimizer has its slots, and adds gradients."""
    replica = re.match(r"replicas/(rows|\d+)/", op.name)
    if replica:
        return replica.group()
    if op.type in READS and op.inputs[0].op in weights:
        op = op.inputs[0].op
    loss = net.Joint_Loss.op
    if op is loss.inputs[0].op:
        op = loss
    is_own = op is loss or op in weights or op.type in PLACEHOLDERS
    return str(op.name if is_own else net.Optimiser.name)


def _box(names: Names, part: str, ops: List[Operation], optimizer: Any) -> Box:
    if part.endswith("/"):
        lines = ("loss and gradients", "of a part of the rows")
        nodes = tuple(op.name for op in ops)
        return Box("part", part, ("cuts the rows",) if part == _ROWS else lines, nodes)
    # A weight is drawn without its reads.
    return forward_box(names, [[op for op in ops if op.type in VARIABLES] or ops], [optimizer])
