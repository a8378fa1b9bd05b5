"""Holds what `explain` found out about one run, and prints it."""

import textwrap
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

Names = Tuple[str, ...]

_WIDTH = 96
#: So many names of one kind are printed, and if a graph has more nodes than that, so many.
_MOST, _LARGE, _FEW = 40, 400, 6


class Explanation(NamedTuple):
    """Describes one run. Nodes and variables have the names and the order of the graph."""

    fetches: Names  #: under the names of the article, if it has them
    feeds: Names
    planned: Names  #: the nodes that must run, read off the graph
    measured: Optional[Names]  #: the nodes in the trace; None if nothing ran, or it failed
    error: Optional[str]  #: the message of TensorFlow if the run failed
    must_feed: Names  #: placeholders that the fetches need, as the article calls them
    not_needed: Names  #: placeholders that the fetches do not need, fed or not
    variables: Names  #: all variables of the graph
    reads: Names  #: variables whose value is used
    writes: Names  #: variables that are assigned
    written_by: Dict[str, Names]  #: variable -> the ops that assign it
    unordered: Dict[str, Names]  #: variable -> its writers, if they may run in any order
    changed: Optional[Names]  #: variables whose bits differ after the real run
    groups: Dict[str, Names]  #: all nodes of the graph, in the words of the article
    removed_by_optimizer: Optional[Names]  #: measured nodes that a default session does not run

    @property
    def is_plan(self) -> bool:
        """Returns True if nothing was run."""
        return self.measured is None and self.error is None

    @property
    def agrees(self) -> bool:
        """Returns True if planned and measured are the same nodes."""
        return self.measured == self.planned

    def as_json(self) -> Dict[str, Any]:
        """Returns everything for `json.dumps`, with counts of the nodes of each group."""
        return {
            **self._asdict(),
            "agrees": None if self.is_plan else self.agrees,
            "rewritten": self.rewritten,
            "groups": self._counts(),
        }

    @property
    def rewritten(self) -> Names:
        """Returns the variables to which the real run assigned the bits that they had before."""
        if self.changed is None:
            return ()
        return tuple(name for name in self.writes if name not in self.changed)

    def _written(self) -> Dict[str, List[str]]:
        """Returns the variables by the op that writes them."""
        by_op: Dict[str, List[str]] = {}
        for variable in self.writes:
            for op in self.written_by[variable]:
                by_op.setdefault(op, []).append(variable)
        return by_op

    def _counts(self) -> Dict[str, Dict[str, int]]:
        """Returns the numbers of nodes by group."""
        planned, measured = set(self.planned), set(self.measured or ())
        return {
            title: {
                "planned": len(planned.intersection(nodes)),
                "measured": len(measured.intersection(nodes)),
                "nodes": len(nodes),
            }
            for title, nodes in self.groups.items()
        }

    def __str__(self) -> str:
        lines = [f"session.run([{', '.join(self.fetches)}])", ""]
        lines += self._listed("fed", self.feeds)
        lines += self._listed("must be fed", self.must_feed)
        lines += self._listed("need not be fed", self.not_needed)
        lines += self._listed("reads", self.reads)
        written = list(self._written().items())
        for number, (op, variables) in enumerate(written[: self._most]):
            first = f"{'' if number else 'writes':20}"
            lines += _wrapped(f"{op}: {self._cut(variables)}", " " * 22, first)
        if len(written) > self._most:
            lines.append(f"{'':20}... and {len(written) - self._most} more operations")
        if self.changed is not None:
            touched = {*self.changed, *self.rewritten}
            if self.changed or not self.rewritten:
                lines += self._listed("changed", self.changed)
            if self.rewritten:
                lines += self._listed("written, same value", self.rewritten)
            same = [name for name in self.variables if name not in touched]
            lines += self._listed("the same bits after", same)
        elif self.is_plan:
            touched = {*self.reads, *self.writes}
            untouched = [name for name in self.variables if name not in touched]
            lines += self._listed("not touched", untouched)
        lines += ["", *self._table(), ""]
        for title, nodes in self.groups.items():
            running = [node for node in nodes if node in self.planned]
            if running:
                lines += _wrapped(f"{title}: {self._cut(running)}", "  ")
        return "\n".join([*lines, "", *self._verdict()])

    def _table(self) -> List[str]:
        counts = self._counts()
        kinds = ("planned", "measured", "nodes")
        counts["all"] = {kind: sum(count[kind] for count in counts.values()) for kind in kinds}
        width = max(map(len, counts)) + 2
        heads = "" if self.is_plan else f"{'measured':>10}"
        lines = [f"{'nodes that run':{width}}{'planned':>9}{heads}{'in the graph':>14}"]
        for title, count in counts.items():
            ran = "" if self.is_plan else f"{count['measured'] if self.error is None else '-':>10}"
            lines.append(f"{title:{width}}{count['planned']:>9}{ran}{count['nodes']:>14}")
        return lines

    def _verdict(self) -> List[str]:
        if self.error is not None:
            return [*self._warning(), f"The run fails: {self.error}"]
        if self.is_plan:
            return [*self._warning(), "Planned from the graph. Nothing was run."]
        removed = self.removed_by_optimizer or ()
        lines = self._warning()
        lines += ["Planned and measured are the same nodes. What is fed does not run."]
        if not self.agrees:
            differ = sorted(set(self.planned).symmetric_difference(self.measured or ()))
            lines[-1:] = _wrapped(f"Planned and measured differ in {', '.join(differ)}.", "")
        if removed:
            lines += _wrapped(
                f"With TensorFlow's graph optimizer on, {len(removed)} of them do not run: "
                f"{', '.join(removed)}.",
                "",
            )
        return lines

    def _warning(self) -> List[str]:
        if not self.unordered:
            return []
        counts = [f"{name} by {len(ops)} operations" for name, ops in self.unordered.items()]
        return [
            *_wrapped(
                f"Warning: several operations of this run write one variable, and their order is "
                f"undefined: {self._cut(counts)}. The result depends on which of them TensorFlow "
                "runs first. Fetch them in runs of their own, or order them with "
                "tf.control_dependencies.",
                "",
            ),
            "",
        ]

    def _listed(self, title: str, names: Sequence[str]) -> List[str]:
        return _wrapped(self._cut(names) or "none", " " * 20, f"{title:20}")

    def _cut(self, names: Sequence[str]) -> str:
        """Returns the names, or the first of many; JSON has them all."""
        rest = len(names) - self._most
        return ", ".join([*names[: self._most], f"... and {rest} more"] if rest > 0 else names)

    @property
    def _most(self) -> int:
        return _MOST if sum(map(len, self.groups.values())) <= _LARGE else _FEW


def _wrapped(text: str, indent: str, first: str = "") -> List[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
