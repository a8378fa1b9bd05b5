"""Finds reads of variables that TensorFlow may make before or after an update of the same run.

`minimize` orders them. A script that applies the result of `tf.gradients`, or that groups two
optimizers, may not: then its losses can differ from run to run. A resource variable hands out the
value it had, so only ref variables count.
"""

from typing import Dict, Iterable, List, NamedTuple

from tf1_mtl.baseline.recorded_graph import (
    ASSIGNMENTS,
    REF_VARIABLES,
    RULES,
    Node,
    RecordedGraph,
    needed_nodes,
    node_and_output,
)

_ALIASES = ("Identity",)  # gives the same memory


class UnorderedRead(NamedTuple):
    """Describes a read and an update that no edge of the graph orders."""

    variable: str
    reader: str
    update: str


def unordered_reads(
    graph: RecordedGraph, fetches: Iterable[str], fed: Iterable[str]
) -> List[UnorderedRead]:
    """Returns for each variable of a run the first read that no edge orders with its update.

    Reads by gradients come first, since they change what is trained.
    """
    nodes = needed_nodes(graph.nodes, fetches, fed)
    found: Dict[str, UnorderedRead] = {}
    for update in nodes.values():
        if not (RULES.fullmatch(update.op) or ASSIGNMENTS.fullmatch(update.op)):
            continue
        variable = node_and_output(update.data_inputs[0])[0]
        if variable in found or graph.nodes[variable].op not in REF_VARIABLES:
            continue
        before = needed_nodes(nodes, [update.name], fed)
        for reader in _readers(nodes, variable):
            if reader not in before and update.name not in needed_nodes(nodes, [reader], fed):
                found[variable] = UnorderedRead(variable, reader, update.name)
                break
    return sorted(found.values(), key=lambda read: "gradients" not in read.reader)


def _readers(nodes: Dict[str, Node], variable: str) -> List[str]:
    """Returns the operations that compute with the value of a variable."""
    holders, found = {variable}, []
    for node in nodes.values():  # each after its inputs
        if holders.intersection(node_and_output(x)[0] for x in node.data_inputs):
            if node.op in _ALIASES:
                holders.add(node.name)
            else:
                found.append(node.name)
    return found
