"""Draws a graph, and what one run of it executed."""

import os
from itertools import cycle
from textwrap import wrap
from typing import Any, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union

from tf1_mtl.errors import InputError, require
from tf1_mtl.teaching import style
from tf1_mtl.teaching.chinese import in_language
from tf1_mtl.teaching.diagram import LETTERS, Box, Diagram, Edge, cut, diagram
from tf1_mtl.teaching.explanation import Explanation
from tf1_mtl.teaching.planning import AnyGraph

# Lengths in inches, so that a row of four boxes is 8 inches wide. Sizes of text in points.
_PITCH, _BOX_WIDTH, _MARGIN = 1.98, 1.8, 0.12
_GAP, _HEAD, _LINE, _PADDING = 0.42, 0.14, 0.155, 0.08
_TITLE_SIZE, _TEXT_SIZE = 10.0, 8.5
_MOST_LETTERS = 26  # of a title; it is smaller the longer it is

_FILL = {
    "placeholder": "#CFE7F6",
    "variable": "#FBE3B0",
    "ops": "#F4E1EC",
    "part": "#E4E0F2",
    "optimizer": "#BFE5D8",
}
#: Of the processes of a cluster, in the order of their names. They repeat from the seventh on, and
#: each box names its process. A box on several of them is white.
_FILL_OF_PROCESS = ("#CFE7F6", "#FBE3B0", "#BFE5D8", "#F0D5E4", "#F7D9C7", "#E4E0F2")
_ROUNDING = {"placeholder": 0.22, "variable": 0.0, "ops": 0.08, "part": 0.08, "optimizer": 0.0}
_Place = Tuple[float, int]
_INK, _GREY, _PALE = "#1a1a1a", "#666666", "#f5f5f5"


def draw(
    path: str,
    graph: Union[AnyGraph, Diagram],
    only: Optional[Iterable[Any]] = None,
    explanation: Optional[Explanation] = None,
    title: str = "",
    language: str = "en",
    processes: Optional[Mapping[str, str]] = None,
) -> None:
    """Draws a graph into a PNG or SVG file.

    Args:
      path: The file. It ends with .png or .svg.
      graph: Any v1 graph, or a NamedTuple of its handles, whose field names the picture uses; or
        the boxes and arrows themselves.
      only: Fetches. Only what they need is drawn. None draws the whole graph.
      explanation: A run of the graph. What it executed is drawn in colour, the rest grey and
        dotted. Variables that it wrote have a thick border, and a line that states it.
      title: The title of the picture.
      language: "en" or "zh".
      processes: The process of each node, for a graph over several of them.

    Raises:
      InputError: The path cannot be written, or a name is not in the graph.
      MissingExtra: matplotlib is not installed.
    """
    style.check_path(path)
    with style.font_of(language, path):
        figure = paint(graph, only, explanation, title, language, processes)
        style.save(figure, path, title or os.path.basename(path))


def paint(
    graph: Union[AnyGraph, Diagram],
    only: Optional[Iterable[Any]] = None,
    explanation: Optional[Explanation] = None,
    title: str = "",
    language: str = "en",
    processes: Optional[Mapping[str, str]] = None,
) -> Any:
    """Returns the picture that `draw` writes, as a matplotlib Figure.

    Parts have names (gid), which an SVG file keeps as ids: "box3-shape", "box3-title",
    "box3-line0", "box3-state" (what the run did to it), "edge5". Numbers are those of `diagram`.
    """
    picture = graph if isinstance(graph, Diagram) else diagram(graph, only)
    if not picture.boxes:
        raise InputError("draw: the graph computes nothing from a variable. Draw another.")
    states = [_state(box, explanation, language, processes) for box in picture.boxes]
    columns = [abs(box.column) for box in picture.boxes]
    columns += [abs(column) for edge in picture.edges for column, _ in edge.way]
    width = max(4.2, (2 * max(columns, default=0) + 1) * _PITCH + 2 * _MARGIN)
    # The divisor is the greatest width of a letter in inches. Long lines are broken, not cut.
    titles = [in_language(line, language) for line in title.splitlines()]
    head = [part for line in titles for part in wrap(line, int(width / 0.11))]
    legend = [in_language(line, language) for line in _legend(picture, explanation, processes)]
    foot = [part for line in legend for part in wrap(line, int(width / 0.072))]
    rows, depth = _rows(picture, states, _MARGIN + 0.24 * len(head))
    height = depth + 0.2 * len(foot) + 2 * _MARGIN

    figure = style.new_figure(width, height)
    axes = figure.add_axes([0, 0, 1, 1])
    axes.set_xlim(-width / 2, width / 2)
    axes.set_ylim(height, 0)  # downwards, as the rows go
    axes.axis("off")
    for number, line in enumerate(head):
        weight = "bold" if number == 0 else "normal"
        y = _MARGIN + 0.1 + 0.22 * number
        axes.text(0, y, line, ha="center", va="center", size=11, weight=weight)
    for number, edge in enumerate(picture.edges):
        _draw_edge(axes, f"edge{number}", edge, states, rows, explanation)
    for number, state in enumerate(states):
        _draw_box(axes, f"box{number}", state, rows[state.box.row].middle)
    for number, line in enumerate(foot):
        y = depth + 0.22 + 0.2 * number
        axes.text(0, y, line, ha="center", va="center", size=_TEXT_SIZE, color=_INK)
    return figure


class _State(NamedTuple):
    """Holds a box as it is drawn, with what the run did to it."""

    box: Box
    used: bool
    written: bool
    happened: str
    lines: Sequence[str]
    fill: str
    processes: Set[str]

    @property
    def height(self) -> float:
        return _LINE * (len(self.lines) + bool(self.happened) + 1.25) + 2 * _PADDING


def _state(
    box: Box,
    explanation: Optional[Explanation],
    language: str,
    processes: Optional[Mapping[str, str]],
) -> _State:
    """Returns a box with what the run did to it, and the processes that it is on."""
    used, written, happened = True, False, ""
    if explanation is not None:
        used = not set(_ran(explanation)).isdisjoint(box.nodes)
        if box.kind == "placeholder":
            used = box.title in explanation.must_feed
        if box.kind in ("variable", "part"):
            written = not set(explanation.writes).isdisjoint(box.nodes)
        happened = _what_happened(box, explanation, used)
    lines, fill, of_box = [*box.lines], _FILL[box.kind], set()
    if processes is not None:
        of_box = {processes[node] for node in box.nodes}
        lines += wrap(f"on {', '.join(sorted(of_box))}", LETTERS)
        colours = dict(zip(sorted(set(processes.values())), cycle(_FILL_OF_PROCESS)))
        fill = colours[min(of_box)] if len(of_box) == 1 else "white"
    lines = [in_language(line, language) for line in lines]
    return _State(box, used, written, in_language(happened, language), lines, fill, of_box)


def _what_happened(box: Box, explanation: Explanation, used: bool) -> str:
    """Returns in words what a run did to a box."""
    if box.kind == "placeholder":
        return "must be fed" if used else "need not be fed"
    written = [node for node in box.nodes if node in explanation.writes]
    if box.kind == "variable":
        if not written:
            return "read, not changed" if used else "not touched"
        if written[0] in explanation.rewritten:
            return "WRITTEN, same value"
        return "WRITTEN by this run" if explanation.changed is None else "CHANGED by this run"
    if box.kind == "part" and written:
        return f"WRITTEN variables: {len(written)}"
    if not used:
        return "does not run"
    rest = [node for node in box.nodes if node not in _ran(explanation)]
    if box.kind == "part" and rest:
        return f"runs: {len(box.nodes) - len(rest)} of {len(box.nodes)}"
    return f"not run: {', '.join(rest)}" if box.kind == "ops" and rest else ""


class _Row(NamedTuple):
    """Holds the top and the bottom of a row of boxes, in inches from the top."""

    top: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def _rows(picture: Diagram, states: Sequence[_State], top: float) -> Tuple[List[_Row], float]:
    """Returns the rows from the top down, and the end of the last one.

    The farther an arrow goes sideways, the more room it gets between two rows.
    """
    rows = []
    for number in range(max((state.box.row for state in states), default=0) + 1):
        height = max(state.height for state in states if state.box.row == number)
        rows.append(_Row(top, top + height))
        aside = [
            abs(end - start)
            for edge in picture.edges
            for (start, row), (end, _) in _pairs(edge, states)
            if row == number
        ]
        top += height + _GAP + 0.12 * max(max(aside, default=0) - 1, 0)
    return rows, rows[-1].bottom


def _pairs(edge: Edge, states: Sequence[_State]) -> Iterable[Tuple[_Place, _Place]]:
    """Yields the parts of an arrow from row to row, each as two places (column, row)."""
    start, end = states[edge.start].box, states[edge.end].box
    places = [(start.column, start.row), *edge.way, (end.column, end.row)]
    return zip(places, places[1:])


def _draw_box(axes: Any, name: str, state: _State, middle: float) -> None:
    patches = require("matplotlib.patches", "plot")
    box, centre = state.box, state.box.column * _PITCH
    title_at = middle - state.height / 2 + _PADDING + _LINE * 0.65
    rounding = _ROUNDING[box.kind]
    border, weight, line = _INK, 1.2, "-"
    if state.written:
        border, weight = style.VERMILLION, 3.0
    elif not state.used:
        border, weight, line = _GREY, 1.0, ":"
    axes.add_patch(
        patches.FancyBboxPatch(
            (centre - _BOX_WIDTH / 2, middle - state.height / 2),
            _BOX_WIDTH,
            state.height,
            boxstyle=f"round,pad=0,rounding_size={rounding}" if rounding else "square,pad=0",
            facecolor=state.fill if state.used else _PALE,
            edgecolor=border,
            linewidth=weight,
            linestyle=line,
            gid=f"{name}-shape",
        )
    )

    def write(part: str, text: str, down: float, weight: str, size: float, letters: int) -> None:
        """Writes a line, smaller if it has more letters than the box holds."""
        axes.text(
            centre, title_at + _LINE * down, text, ha="center", va="center", weight=weight,
            color=_INK if state.used else _GREY, size=size * min(1.0, letters / len(text)),
            gid=f"{name}-{part}",
        )  # fmt: skip

    write("title", cut(box.title, _MOST_LETTERS), 0.0, "bold", _TITLE_SIZE, 19)
    for number, line in enumerate(state.lines):
        write(f"line{number}", line, number + 1.1, "normal", _TEXT_SIZE, LETTERS)
    if state.happened:
        boldness = "bold" if state.written else "normal"
        write("state", state.happened, len(state.lines) + 1.1, boldness, _TEXT_SIZE, LETTERS)


def _draw_edge(
    axes: Any,
    name: str,
    edge: Edge,
    states: Sequence[_State],
    rows: Sequence[_Row],
    explanation: Optional[Explanation],
) -> None:
    patches = require("matplotlib.patches", "plot")
    path = require("matplotlib.path", "plot").Path
    start, end = states[edge.start], states[edge.end]
    # The arrow goes straight down beside boxes, and sideways only between rows. So it crosses no
    # box.
    points = [(start.box.column * _PITCH, rows[start.box.row].middle + start.height / 2)]
    for (column, row), (next_column, next_row) in _pairs(edge, states):
        points.append((column * _PITCH, rows[row].bottom))
        if next_row == end.box.row:
            # An arrow ends a little to the side that it comes from.
            next_column += max(-0.38, min(0.38, (column - next_column) * 0.3))
        points.append((next_column * _PITCH, rows[next_row].top - _HEAD))
    points.append((points[-1][0], rows[end.box.row].middle - end.height / 2))
    used = explanation is None or not set(_ran(explanation)).isdisjoint(edge.nodes)
    sent = not edge.gradient and start.processes != end.processes
    axes.add_patch(
        patches.FancyArrowPatch(
            path=path(points),
            arrowstyle="-|>",
            mutation_scale=11,
            shrinkA=0,
            shrinkB=0,
            color=(style.VERMILLION if sent else _INK) if used else "#999999",
            linewidth=(2.8 if sent else 1.4) if used else 0.9,
            linestyle="--" if edge.gradient else ("-" if used else ":"),
            gid=name,
        )
    )


def _ran(explanation: Explanation) -> Sequence[str]:
    """Returns the nodes that ran. If the run failed, returns those that would have run."""
    return explanation.planned if explanation.measured is None else explanation.measured


def _legend(
    picture: Diagram,
    explanation: Optional[Explanation],
    processes: Optional[Mapping[str, str]],
) -> List[str]:
    lines = []
    if any(edge.gradient for edge in picture.edges):
        lines.append("solid arrow: a value; dashed arrow: the loss that an optimizer minimizes")
    if processes is not None:
        lines.append("colour: the process, named in the box; thick arrow: sent to another process")
    if explanation is not None:
        lines.append(
            "filled: runs; grey and dotted: does not run; thick border: written by this run"
        )
    if any(cut(box.title, _MOST_LETTERS) != box.title for box in picture.boxes):
        lines.append("… : a part of a long name is left out")
    return [*lines, *picture.left_out]


def run_title(explanation: Explanation) -> str:
    """Returns the title of a highlighted picture: the call that it shows."""
    return f"session.run([{', '.join(explanation.fetches)}])"
