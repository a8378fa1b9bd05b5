"""Names what a port does otherwise: an `Edit`, its places, and its sentence in the report."""

import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Sequence, Tuple

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import catalogue

Pair = Tuple[str, str]  #: task and weight
Named = Tuple[Tuple[str, Any], ...]  #: kinds and values of edits
FROZEN = "variable frozen"
MOST_SHOWN = 6  #: places in a sentence; JSON has all


class Edit(NamedTuple):
    """Describes one thing that a port does otherwise."""

    kind: str  #: an identifier of `catalogue.WORDS`
    places: Tuple[str, ...]  #: nodes, variables, feeds, tasks, or "task/variable"
    value: Any = None  #: a number or a name; None where the kind says it all
    lines: Tuple[str, ...] = ()  #: of the script, which made the nodes among the places

    def __str__(self) -> str:
        """Returns the sentence of the report."""
        lines = f" ({listed(self.lines)})" if self.lines else ""
        value = f"{self.value:.6g}" if isinstance(self.value, float) else str(self.value)
        places = listed(self.places)
        words = catalogue.WORDS[self.kind]
        if len(self.places) > 1:
            words = re.sub(r"(?<=^\{places\} )\w+s\b", lambda verb: _plural(verb[0]), words)
        return words.format(places=places, value=value) + lines


def listed(names: Sequence[str]) -> str:
    """Returns names as a part of a sentence; the last of many are counted."""
    shown = list(names)
    if len(shown) > MOST_SHOWN:
        shown[MOST_SHOWN - 1 :] = [f"{len(shown) - MOST_SHOWN + 1} more"]
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


#: Plurals of verbs that lose more than an s.
_PLURALS = {"is": "are", "has": "have", "does": "do", "applies": "apply"}


def _plural(verb: str) -> str:
    """Returns the plural of a verb in the third person."""
    return _PLURALS.get(verb, verb[:-1])


# The edits of updates, at their places


def merged(
    named: Mapping[Pair, Named], pairs: Iterable[Pair], are_averages: bool
) -> Tuple[Edit, ...]:
    """Returns edits at all their places; all weights of a task are the task, and so on.

    Args:
      named: What explains the updates of a weight in a task.
      pairs: All tasks with the weights that they train.
      are_averages: Whether the weights are moving averages alone, so that they are named.
    """
    places: Dict[Tuple[str, Any], List[Pair]] = {}
    for pair, edits in named.items():
        for edit in edits:
            places.setdefault(edit, []).append(pair)
    # Of a frozen weight nothing else can be seen.
    frozen = {pair for (kind, _), where in places.items() if kind == FROZEN for pair in where}
    seen = [pair for pair in pairs if pair not in frozen]
    return tuple(
        Edit(
            kind, _places(where, list(pairs) if kind == FROZEN else seen, kind, are_averages), value
        )
        for (kind, value), where in places.items()
    )


def _places(
    where: Iterable[Pair], pairs: Sequence[Pair], kind: str, are_averages: bool
) -> Tuple[str, ...]:
    """Returns the name of a task or a weight where a whole one is meant, else "task/weight"."""
    left = dict.fromkeys(where)
    names: List[str] = []
    has_tasks = len({task for task, _ in pairs}) > 1
    weights_first = are_averages or (has_tasks and kind in catalogue.OF_VARIABLES)
    for position in (1, 0) if weights_first else (0, 1):
        for name in {pair[position]: None for pair in pairs}:
            group = [pair for pair in pairs if pair[position] == name]
            if all(pair in left for pair in group):
                names.append(name)
                for pair in group:
                    del left[pair]
    return (*names, *("/".join(pair) for pair in left))


# The edits of a diagnosis


def in_words_of_the_report(case: Case, found: Sequence[Edit]) -> Tuple[Edit, ...]:
    """Returns edits in the words of the catalogue, each once at all its places."""
    if any(edit.kind.startswith("clipped by") for edit in found):
        found = [edit for edit in found if edit.kind != "clipping missing"]
    places: Dict[Tuple[str, Any], Dict[str, None]] = {}
    for edit in found:
        kind, names, value, _ = _reported(case, edit, found)
        if edit.kind not in catalogue.OF_FEEDS and case.is_article:
            names = tuple(map(_article, names))
        places.setdefault((kind, value), {}).update(dict.fromkeys(names))
    return tuple(
        Edit(kind, tuple(sorted(p)), value, _lines(case, sorted(p)))
        for (kind, value), p in places.items()
    )


def _lines(case: Case, places: Iterable[str]) -> Tuple[str, ...]:
    """Returns the lines of the script that made the operations among some places."""
    nodes, named = case.graph.nodes, {*case.weights, *case.feeds, *case.tasks}
    found = [nodes[place].lines for place in places if place in nodes and place not in named]
    return tuple(dict.fromkeys(" -> ".join(lines) for lines in found if lines))


def _reported(case: Case, edit: Edit, found: Sequence[Edit]) -> Edit:
    """Returns an edit of the search as the catalogue calls it."""
    if edit.kind == "reported loss scaled":
        kind, value = edit.value
        return edit._replace(value=value if kind == "loss scaled" else f"{value:g} ({kind})")
    if edit.kind == "divided by":
        count, divisor = edit.value
        count = count if isinstance(count, str) else f"{count:g}"
        return edit._replace(value=f"{count} in place of {divisor}")
    if edit.kind == "loss of another task":
        return edit._replace(value=None)
    if edit.kind != "trains another task":
        return edit
    task, other = edit.places[0], edit.value
    if any(e.kind == edit.kind and e.places == (other,) and e.value == task for e in found):
        return Edit("feeds swapped", edit.places)
    is_more = len(case.loss_nodes(other)) > len(case.loss_nodes(task))
    return Edit("trains more" if is_more else "trains less", edit.places)


def _article(place: str) -> str:
    """Returns a place by the names of the article."""
    first, slash, rest = place.partition("/")
    return {"joint": "Optimiser", "Y1": "Y1_op", "Y2": "Y2_op"}.get(first, first) + slash + rest
