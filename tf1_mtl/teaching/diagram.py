"""Lays out a graph as boxes in rows. It reads nothing but the graph.

A box is a placeholder, a variable (with its reads), an optimizer (with its gradients, slots and
updates), or a chain of ops. An op whose only input is the box before it joins that box, so that
`relu(matmul(X, W))` is one layer.
"""

import textwrap
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple

from tf1_mtl.graph_reader import (
    PLACEHOLDERS,
    READS,
    VARIABLES,
    Operation,
    Optimizer,
    Structure,
    needed,
    shape_of,
    structure,
)
from tf1_mtl.teaching.planning import AnyGraph, Names

_SOURCES = (*PLACEHOLDERS, *VARIABLES)
#: The number of letters that fit on a line of a box.
LETTERS = 25
#: The number of rounds in which each box moves towards its neighbours.
_SWEEPS = 12


class Box(NamedTuple):
    """Describes one box."""

    kind: str  #: "placeholder", "variable", "ops" or "optimizer"
    title: str
    lines: Tuple[str, ...]
    nodes: Tuple[str, ...]  #: the box runs if one of these runs (its text names only some)
    row: int
    column: float  #: place of its centre, from the middle of the picture


class Edge(NamedTuple):
    """Describes an arrow between two boxes, by their numbers."""

    start: int
    end: int
    gradient: bool  #: True from a loss to the optimizer that differentiates it
    nodes: Tuple[str, ...]  #: the arrow is used when one of these runs
    way: Tuple[Tuple[float, int], ...]  #: (column, row) in each row between its ends


class Diagram(NamedTuple):
    """Holds boxes and arrows, from the top row (0) down."""

    boxes: Tuple[Box, ...]
    edges: Tuple[Edge, ...]


def diagram(graph: AnyGraph, only: Optional[Iterable[Any]] = None) -> Diagram:
    """Returns the boxes and arrows of a graph.

    Args:
      graph: Any v1 graph, or a NamedTuple of its handles, whose field names the boxes get.
      only: Fetches. Only what they need is drawn, and the losses of their optimizers. None draws
        the whole graph.
    """
    names = Names(graph)
    parts = structure(names.graph)
    shown = set(names.graph.get_operations())
    if only is not None:
        shown = needed([names.find(fetch) for fetch in only])
    optimizers = [o for o in parts.optimizers if not shown.isdisjoint(o.updates)]
    # The step of an optimizer does not compute the loss that it minimizes, but is drawn with it.
    shown |= needed([o.loss for o in optimizers if o.loss is not None])
    chains, home = _chains([op for op in parts.forward if op in shown], parts)
    boxes = [_forward_box(names, chain, optimizers) for chain in chains]
    links: Dict[Tuple[int, int], Edge] = {}
    for number, chain in enumerate(chains):
        for op in chain:
            for tensor in op.inputs:
                start = home.get(tensor.op)
                if start not in (None, number):
                    links[start, number] = Edge(start, number, False, (op.name,), ())
    for optimizer in optimizers:
        number = len(boxes)
        boxes.append(_optimizer_box(names, optimizer))
        if optimizer.loss in home:
            start = home[optimizer.loss]
            links[start, number] = Edge(start, number, True, boxes[number].nodes, ())
    return _arrange(boxes, list(links.values()))


def _chains(
    forward: Sequence[Operation], parts: Structure
) -> Tuple[List[List[Operation]], Dict[Operation, int]]:
    """Returns the ops of each box, and the number of the box of each op."""
    chains: List[List[Operation]] = []
    home: Dict[Operation, int] = {}
    users: Dict[Operation, set] = {}
    for op in forward:
        for tensor in op.inputs:
            users.setdefault(tensor.op, set()).add(op)
    for op in forward:
        before = {home[tensor.op] for tensor in op.inputs if tensor.op in home}
        last = chains[min(before)][-1] if len(before) == 1 else None
        if op.type == "Const":
            continue
        if last is not None and last.type in VARIABLES and op.type in READS:
            home[op] = min(before)
        elif last is not None and last.type not in _SOURCES and users[last] == {op}:
            home[op] = min(before)
            chains[home[op]].append(op)
        else:
            home[op] = len(chains)
            chains.append([op])
    return chains, home


def _forward_box(names: Names, chain: Sequence[Operation], optimizers: Sequence[Optimizer]) -> Box:
    last = chain[-1]
    title = names.article.get(last.name, last.name)
    nodes = tuple(op.name for op in chain)
    if last.type in PLACEHOLDERS:
        return Box("placeholder", title, (f"placeholder {_shape(last)}",), nodes, 0, 0.0)
    if last.type in VARIABLES:
        by = [names.article.get(o.name, o.name) for o in optimizers if last in o.trained]
        lines = [f"variable {_shape(last)}", *(_wrap("trained by", by) if by else [])]
        return Box("variable", title, tuple(lines), nodes, 0, 0.0)
    lines = [*_wrap(" → ".join(op.type for op in chain), []), _shape(last)]
    return Box("ops", title, tuple(lines), nodes, 0, 0.0)


def _optimizer_box(names: Names, optimizer: Optimizer) -> Box:
    title = names.article.get(optimizer.name, optimizer.name)
    ops = [op for op in optimizer.nodes if op.name.startswith(optimizer.name)]
    kinds = {op.type.split("Apply")[-1] for op in optimizer.updates}
    loss = optimizer.loss
    on = "" if loss is None else f" on {names.article.get(loss.name, loss.name)}"
    lines = _wrap(f"{'/'.join(sorted(kinds))}{on}", [])
    lines += _wrap("trains", [op.name for op in optimizer.trained])
    if optimizer.own:
        lines.append(f"own variables: {len(optimizer.own)}")
    return Box("optimizer", title, tuple(lines), tuple(op.name for op in ops), 0, 0.0)


def _shape(op: Operation) -> str:
    """Returns the shape of the output of an op, or of the value of a variable."""
    if not op.outputs:
        return "no output"  # such as tf.Assert, which TensorFlow adds to some losses
    shape = shape_of(op)
    if not shape:
        return "scalar" if shape == [] else "[...]"
    return "[" + ", ".join("any" if size is None else str(size) for size in shape) + "]"


def _wrap(verb: str, names: Sequence[str]) -> List[str]:
    return textwrap.wrap(f"{verb} {', '.join(names)}", LETTERS)


def _arrange(boxes: Sequence[Box], edges: Sequence[Edge]) -> Diagram:
    rows = _rows(boxes, edges)
    # An arrow that passes a row gets a place in that row, so that it crosses no box.
    slots: List[List[Any]] = [[] for _ in range(max(rows, default=0) + 1)]
    for number, row in enumerate(rows):
        slots[row].append(number)
    pairs: List[Tuple[Any, Any]] = []
    for edge in edges:
        stations: List[Any] = [edge.start]
        for row in range(rows[edge.start] + 1, rows[edge.end]):
            stations.append((edge.start, edge.end, row))
            slots[row].append(stations[-1])
        stations.append(edge.end)
        pairs.extend(zip(stations, stations[1:]))
    outside = {n for n, box in enumerate(boxes) if box.kind in ("placeholder", "variable")}
    place = _columns(slots, pairs, outside)
    return Diagram(
        tuple(
            box._replace(row=rows[number], column=place[number]) for number, box in enumerate(boxes)
        ),
        tuple(
            edge._replace(
                way=tuple(
                    (place[edge.start, edge.end, row], row)
                    for row in range(rows[edge.start] + 1, rows[edge.end])
                )
            )
            for edge in edges
        ),
    )


def _rows(boxes: Sequence[Box], edges: Sequence[Edge]) -> List[int]:
    """Returns a row for each box, below its inputs.

    Placeholders and variables are just above the box that uses them.
    """
    rows = [0] * len(boxes)
    for number in range(len(boxes)):  # in the order of the graph, so inputs come first
        before = [e.start for e in edges if e.end == number and boxes[e.start].kind == "ops"]
        rows[number] = max((rows[start] + 1 for start in before), default=0)
    for number, box in enumerate(boxes):
        if box.kind in ("placeholder", "variable"):
            used = [rows[edge.end] for edge in edges if edge.start == number]
            rows[number] = min(used, default=0) - 1
    return [row - min(rows) for row in rows]


def _columns(
    slots: List[List[Any]], pairs: Sequence[Tuple[Any, Any]], outside: Set[Any]
) -> Dict[Any, float]:
    """Orders every row so that connected places lie near each other, and centres it.

    Of two places that are pulled to the same column, those in `outside` go farther out.
    """
    place: Dict[Any, float] = {}

    def spread(row: List[Any]) -> None:
        for index, item in enumerate(row):
            place[item] = index - (len(row) - 1) / 2

    for row in slots:
        spread(row)
    joined: Dict[Any, List[Any]] = {}
    for start, end in pairs:
        joined.setdefault(start, []).append(end)
        joined.setdefault(end, []).append(start)

    def pull(item: Any) -> float:
        near = joined.get(item, [item])
        mean = sum(place[other] for other in near) / len(near)
        return mean * 1.01 if item in outside else mean

    for sweep in range(_SWEEPS):
        for row in slots if sweep % 2 else reversed(slots):
            row.sort(key=pull)
            spread(row)
    return place
