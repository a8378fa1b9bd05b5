"""Lays out a graph as boxes in rows. It reads nothing but the graph.

A box is a placeholder, a variable (with its reads), an optimizer (with its gradients, slots and
updates), or a chain of ops. An op whose only input is the box before it joins that box, so that
`relu(matmul(X, W))` is one layer. In a large graph, neighbouring boxes are folded into parts, those
of one name scope first.
"""

import collections
import itertools
import textwrap
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from tf1_mtl.data import shape_text
from tf1_mtl.graph_reader import (
    PLACEHOLDERS,
    READS,
    VARIABLES,
    Operation,
    Optimizer,
    RecordedOperation,
    Structure,
    needed,
    shape_of,
    structure,
    users_of,
)
from tf1_mtl.teaching.planning import AnyGraph, Names

_SOURCES = (*PLACEHOLDERS, *VARIABLES)
#: The number of letters that fit on a line of a box.
LETTERS = 25
#: A graph with more than _LARGE boxes is folded into _MOST, with so many of them placeholders, and
#: with so many optimizers beside them.
_LARGE, _MOST, _MOST_PLACEHOLDERS, _MOST_OPTIMIZERS = 40, 24, 8, 8
#: The number of names that are listed in a box.
_MOST_NAMES = 4
#: The number of rounds in which each box moves towards its neighbours.
_SWEEPS = 12


class Box(NamedTuple):
    """Describes one box."""

    kind: str  #: "placeholder", "variable", "ops", "part" (several of these folded) or "optimizer"
    title: str
    lines: Tuple[str, ...]
    nodes: Tuple[str, ...]  #: the box runs if one of these runs (its text names only some)
    row: int = 0
    column: float = 0.0  #: place of its centre, from the middle of the picture


class Edge(NamedTuple):
    """Describes an arrow between two boxes, by their numbers."""

    start: int
    end: int
    gradient: bool  #: True from a loss to the optimizer that differentiates it
    nodes: Tuple[str, ...]  #: the arrow is used when one of these runs
    way: Tuple[Tuple[float, int], ...] = ()  #: (column, row) in each row between its ends


class Diagram(NamedTuple):
    """Holds boxes and arrows, from the top row (0) down."""

    boxes: Tuple[Box, ...]
    edges: Tuple[Edge, ...]
    left_out: Tuple[str, ...] = ()  #: what is folded or not drawn, in sentences


def diagram(graph: AnyGraph, only: Optional[Iterable[Any]] = None) -> Diagram:
    """Returns the boxes and arrows of a graph.

    Args:
      graph: Any v1 graph, its `Names`, or a NamedTuple of its handles, whose field names the boxes
        get.
      only: Fetches. Only what they need is drawn, and the losses of their optimizers. None draws
        the whole graph.
    """
    names = graph if isinstance(graph, Names) else Names(graph)
    parts = structure(names.graph)
    shown = set(names.graph.get_operations())
    if only is not None:
        shown = needed([names.find(fetch) for fetch in only])
    optimizers = [o for o in parts.optimizers if not shown.isdisjoint(o.updates)]
    # The step of an optimizer does not compute the loss that it minimizes, but is drawn with it.
    shown |= needed([o.loss for o in optimizers if o.loss is not None])
    chains, home = _chains([op for op in parts.forward if op in shown], parts)
    folded = _folded(chains, home)
    part_of = {chain: number for number, part in enumerate(folded) for chain in part}
    home = {op: part_of[number] for op, number in home.items()}
    parted = [[chains[number] for number in part] for part in folded]
    boxes = [forward_box(names, part, optimizers) for part in parted]
    links: Dict[Tuple[int, int], List[str]] = {}
    for number, part in enumerate(parted):
        for op in itertools.chain(*part):
            for tensor in op.inputs:
                start = home.get(tensor.op, number)
                if start < number:  # the way back of a loop is not drawn
                    links.setdefault((start, number), []).append(op.name)
    edges = [Edge(start, end, False, tuple(nodes)) for (start, end), nodes in links.items()]
    for optimizer in optimizers[:_MOST_OPTIMIZERS]:
        box = optimizer_box(names, optimizer)
        if optimizer.loss in home:
            edges.append(Edge(home[optimizer.loss], len(boxes), True, box.nodes))
        boxes.append(box)
    picture = arrange(boxes, edges)
    if len(folded) == len(chains) and len(optimizers) <= _MOST_OPTIMIZERS:
        return picture
    inside = sum(map(len, itertools.chain(*parted)))
    rest = len(shown) - len({node for box in boxes for node in box.nodes})
    left_out = [
        f"folded: {inside} operations, into {len(folded)} boxes; not drawn: {rest} nodes, such as "
        "constants, gradients, initializers and savers"
    ]
    if len(optimizers) > _MOST_OPTIMIZERS:
        left_out.append(f"not drawn: {len(optimizers) - _MOST_OPTIMIZERS} of the optimizers")
    return picture._replace(left_out=tuple(left_out))


def _chains(
    forward: Sequence[Operation], parts: Structure
) -> Tuple[List[List[Operation]], Dict[Operation, int]]:
    """Returns the ops of each box, and the number of the box of each op."""
    chains: List[List[Operation]] = []
    home: Dict[Operation, int] = {}
    users = users_of(forward)
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


def _folded(
    chains: Sequence[Sequence[Operation]], home: Mapping[Operation, int]
) -> List[List[int]]:
    """Returns the numbers of the chains in each box; in a large graph, a box has several.

    Only neighbours in the order of the graph are folded, so that every arrow still leads on.
    """
    numbers = range(len(chains))
    if len(chains) <= _LARGE:
        return [[number] for number in numbers]
    fixed = [number for number in numbers if chains[number][0].type in PLACEHOLDERS]
    fixed = fixed if len(fixed) <= _MOST_PLACEHOLDERS else []
    # A placeholder or variable goes with what uses it first.
    user: Dict[int, int] = {}
    for op, number in home.items():
        for start in {home[tensor.op] for tensor in op.inputs if tensor.op in home} - {number}:
            if start not in fixed and chains[start][0].type in _SOURCES:
                user[start] = min(number, user.get(start, number))
    parts: Dict[int, List[int]] = {}
    for number in numbers:
        if number not in fixed:
            parts.setdefault(user.get(number, number), []).append(number)
    ordered = [parts[number] for number in sorted(parts)]
    scopes = [chains[part[-1]][-1].name.split("/")[:-1] for part in ordered]

    def reluctance(left: int) -> Tuple[int, int]:
        """Returns smaller numbers for a deeper scope of the two, then for smaller parts."""
        return -len(_common(scopes[left : left + 2])), len(ordered[left]) + len(ordered[left + 1])

    def is_one(left: int) -> bool:
        """Returns True for two parts of one scope that are begun."""
        several = min(len(ordered[left]), len(ordered[left + 1])) > 1
        return several and scopes[left] == scopes[left + 1] != []

    while True:
        candidates: Sequence[int] = range(len(ordered) - 1)
        if len(fixed) + len(ordered) <= _MOST:
            candidates = [left for left in candidates if is_one(left)]
        if not candidates:
            return [[number] for number in fixed] + ordered
        left = min(candidates, key=reluctance)
        scopes[left : left + 2] = [_common(scopes[left : left + 2])]
        ordered[left : left + 2] = [ordered[left] + ordered[left + 1]]


def forward_box(
    names: Names, part: Sequence[Sequence[Operation]], optimizers: Sequence[Optimizer]
) -> Box:
    """Returns the box of a chain of ops, or of several chains that are folded."""
    if len(part) > 1:
        return _part_box(names, list(itertools.chain(*part)))
    chain = part[0]
    last = chain[-1]
    title = names.called(last)
    nodes = tuple(op.name for op in chain)
    if last.type in PLACEHOLDERS:
        return Box("placeholder", title, (f"placeholder {_shape(last)}",), nodes)
    if last.type in VARIABLES:
        by = [names.called(o) for o in optimizers if last in o.trained]
        lines = [f"variable {_shape(last)}", *(_wrap("trained by", by) if by else [])]
        return Box("variable", title, tuple(lines), nodes)
    lines = [*_wrap(" → ".join(op.type for op in chain), []), *filter(None, [_shape(last)])]
    return Box("ops", title, tuple(lines), nodes)


def _common(scopes: Sequence[Sequence[str]]) -> List[str]:
    """Returns the beginning that all scopes share."""
    levels = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*scopes))
    return [level[0] for level in levels]


def _part_box(names: Names, ops: Sequence[Operation]) -> Box:
    computing = [op for op in ops if op.type not in (*_SOURCES, *READS)] or ops
    scope = "/".join(_common([op.name.split("/")[:-1] for op in computing]))
    last = names.called(computing[-1])
    kinds = collections.Counter(op.type for op in computing).most_common()
    counts = [kind if count == 1 else f"{count}\u00a0{kind}" for kind, count in kinds[:3]]
    lines = ["and what leads to it:"] if not scope and len(computing) > 1 else []
    lines += textwrap.wrap(", ".join([*counts, "..."][: len(kinds)]), LETTERS)
    held = sum(op.type in VARIABLES for op in ops)
    if held:
        lines.append(f"variables: {held}")
    title = f"{scope}/" if scope and len(computing) > 1 else last
    return Box("part", title, tuple(lines), tuple(op.name for op in ops))


def optimizer_box(names: Names, optimizer: Optimizer) -> Box:
    """Returns the box of an optimizer."""
    title = names.called(optimizer)
    ops = [op for op in optimizer.nodes if op.name.startswith(optimizer.name)]
    kinds = {op.type.split("Apply")[-1] for op in optimizer.updates}
    loss = optimizer.loss
    on = "" if loss is None else f" on {names.called(loss)}"
    lines = _wrap(f"{'/'.join(sorted(kinds))}{on}", [])
    lines += _wrap("trains", [op.name for op in optimizer.trained])
    if optimizer.own:
        lines.append(f"own variables: {len(optimizer.own)}")
    return Box("optimizer", title, tuple(lines), tuple(op.name for op in ops))


def _shape(op: Operation) -> str:
    """Returns the shape of the output of an op, or of the value of a variable."""
    if not op.outputs:
        return "no output"  # such as tf.Assert, which TensorFlow adds to some losses
    shape = shape_of(op)
    if shape is None and isinstance(op, RecordedOperation):
        return ""  # a recording does not have it
    if not shape:
        return "scalar" if shape == [] else "[...]"
    return shape_text(shape)


def _wrap(verb: str, names: Sequence[str]) -> List[str]:
    short = [cut(name, LETTERS - 1) for name in names[:_MOST_NAMES]]
    if len(names) > _MOST_NAMES:
        short.append(f"+{len(names) - _MOST_NAMES}")
    return textwrap.wrap(f"{verb} {', '.join(short)}", LETTERS, break_on_hyphens=False)


def cut(text: str, letters: int) -> str:
    """Returns a long name with an ellipsis for the beginning of its longest scope.

    Where too little of that would be left, the ellipsis stands for the beginning of the name.
    """
    if len(text) <= letters:
        return text
    longest = max(text.split("/"), key=len)
    kept = len(longest) - (len(text) - letters) - 1
    if kept < 4:  # letters
        return "…" + text[-letters + 1 :]
    return text.replace(longest, "…" + longest[-kept:], 1)


def arrange(boxes: Sequence[Box], edges: Sequence[Edge]) -> Diagram:
    """Places boxes in rows and columns, and arrows between them. Inputs come before their users."""
    rows = _rows(boxes, edges)
    # An arrow that passes a row gets a place in that row, so that it crosses no box.
    slots: List[List[Any]] = [[] for _ in range(max(rows, default=0) + 1)]
    for number, row in enumerate(rows):
        slots[row].append(number)
    ways: List[List[Any]] = []
    pairs: List[Tuple[Any, Any]] = []
    for edge in edges:
        between = range(rows[edge.start] + 1, rows[edge.end])
        way = [(edge.start, edge.end, row) for row in between]
        for station, row in zip(way, between):
            slots[row].append(station)
        pairs.extend(zip([edge.start, *way], [*way, edge.end]))
        ways.append(way)
    outside = {n for n, box in enumerate(boxes) if box.kind in ("placeholder", "variable")}
    place = _columns(slots, pairs, outside)
    return Diagram(
        tuple(box._replace(row=rows[n], column=place[n]) for n, box in enumerate(boxes)),
        tuple(
            edge._replace(way=tuple((place[station], station[-1]) for station in way))
            for edge, way in zip(edges, ways)
        ),
    )


def _rows(boxes: Sequence[Box], edges: Sequence[Edge]) -> List[int]:
    """Returns a row for each box, below its inputs.

    Placeholders and variables are just above the box that uses them.
    """
    rows = [0] * len(boxes)
    for number in range(len(boxes)):  # in the order of the graph, so inputs come first
        before = [e.start for e in edges if e.end == number]
        before = [start for start in before if boxes[start].kind in ("ops", "part")]
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
