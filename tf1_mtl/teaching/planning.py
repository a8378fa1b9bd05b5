"""Plans what one `Session.run` needs, reads, writes and runs, as the graph says; nothing is run.

TensorFlow is not imported here: a recorded graph is planned as well.
"""

import difflib
import itertools
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from tf1_mtl.errors import InputError
from tf1_mtl.graph_reader import (
    PLACEHOLDERS,
    VARIABLES,
    Graph,
    Operation,
    Tensor,
    accesses,
    group,
    needed,
    op_of,
    structure,
    variable_of,
)
from tf1_mtl.teaching.explanation import Explanation

#: A graph, or a NamedTuple of handles with a field "graph", such as MultiTaskGraph.
AnyGraph = Any
Element = Any  # an operation or a tensor

#: A name that the others of the article lead to expect, and the one that it has instead.
_EXPECTED = {"Joint_op": "Optimiser"}

_VALUE = "/Read/ReadVariableOp"  # after the name of a resource variable: the read that is fetched


def plan(names: "Names", elements: Sequence[Element], feeds: Iterable[Tensor]) -> Explanation:
    """Returns the plan of one run: an explanation without what is measured.

    Args:
      names: Those of the graph.
      elements: The fetched operations and tensors.
      feeds: The fed tensors.
    """
    feeds = list(feeds)
    ops = names.graph.get_operations()
    planned = needed(elements, feeds)
    # The placeholders that the fetches need, whether they are fed here or not.
    inside = [tensor for tensor in feeds if tensor.op.type not in PLACEHOLDERS]
    must = needed(map(op_of, elements), inside)
    placeholders = [op for op in ops if op.type in PLACEHOLDERS]
    touches = [access for op in ops if op in planned for access in accesses(op)]
    reads = {access.variable for access in touches if access.reads}
    reads.update(filter(None, (variable_of(e) for e in elements if hasattr(e, "op"))))
    written_by: Dict[str, Tuple[str, ...]] = {}
    for access in touches:
        if access.writes:
            by = written_by.get(access.variable.name, ())
            written_by[access.variable.name] = (*by, access.op.name)
    return Explanation(
        fetches=tuple(names.spoken(element) for element in elements),
        feeds=tuple(names.spoken(tensor) for tensor in feeds),
        planned=tuple(op.name for op in ops if op in planned),
        measured=None,
        error=None,
        must_feed=tuple(names.spoken(op) for op in placeholders if op in must),
        not_needed=tuple(names.spoken(op) for op in placeholders if op not in must),
        variables=tuple(op.name for op in ops if op.type in VARIABLES),
        reads=tuple(op.name for op in ops if op in reads),
        writes=tuple(op.name for op in ops if op.name in written_by),
        written_by=written_by,
        unordered=_unordered(names.graph, written_by, feeds),
        changed=None,
        groups=group(names.graph, names.article),
        removed_by_optimizer=None,
    )


class Names:
    """Finds the elements of a graph by name: of the graph or, if it is ours, of the article."""

    def __init__(self, graph: AnyGraph, fields: Optional[Mapping[str, Any]] = None) -> None:
        """Collects the names.

        Args:
          graph: A graph, or a NamedTuple of its handles.
          fields: Elements of the graph by other names; None takes those of the NamedTuple.
        """
        self.graph: Graph = getattr(graph, "graph", graph)
        self.fields: Dict[str, Any] = dict(fields or {})
        if graph is not self.graph:
            self.fields = {k: v for k, v in graph._asdict().items() if k != "graph"}
        ops = {name: op_of(element) for name, element in self.fields.items()}
        #: {"Adam_1": "Y1_op", "L2Loss": "Y1_Loss", ...}; variables keep their graph names.
        self.article: Dict[str, str] = {
            op.name: name
            for name, op in ops.items()
            if getattr(op, "type", VARIABLES[0]) not in VARIABLES
        }

    def find_all(self, fetches: Any) -> List[Element]:
        """Returns the elements of one fetch or of a list; see `find`."""
        items = list(fetches) if isinstance(fetches, (list, tuple)) else [fetches]
        if not items:
            some = ", ".join(self._known()[:10]) or "none, since the graph is empty"
            raise InputError(f"fetches: none, but a run needs at least one. Some are {some}.")
        return [self.find(fetch) for fetch in items]

    def find(self, name: Any) -> Element:
        """Returns the operation or tensor of a name; of a variable, the tensor of its value.

        Args:
          name: A name, or what TensorFlow can fetch.

        Raises:
          InputError: The graph has no such name; the message lists near names.
        """
        wanted = self.fields.get(name, name) if isinstance(name, str) else name
        if (
            wanted is name
            and str(name).endswith(":0")
            and hasattr(self.fields.get(name[:-2]), "op")
        ):
            wanted = self.fields[name[:-2]]
        try:
            element = self.graph.as_graph_element(wanted)
            op = op_of(element)
            return self._value(op) if op.type in VARIABLES else element
        except (LookupError, ValueError, TypeError) as error:
            known = self._known()
            near = self._near(str(name), known)
            hint = (
                f"Near: {', '.join(near)}"
                if near
                else f"Some are {', '.join(known[:10]) or 'none, since the graph is empty'}"
            )
            raise InputError(
                f"{name!r}: not in the graph, but should be an operation, a tensor or a name "
                f"of one. {hint}."
            ) from error

    def placeholders(self, without: Iterable[str] = ()) -> List[Tensor]:
        """Returns the placeholders, all but some.

        Args:
          without: Names of placeholders.

        Raises:
          InputError: One is not a placeholder of the graph.
        """
        ops = [op for op in self.graph.get_operations() if op.type in PLACEHOLDERS]
        left_out = [self.find(name) for name in without]
        for name, element in zip(without, left_out):
            if op_of(element) not in ops:
                known = ", ".join(self.spoken(op) for op in ops[:20]) or "(there are none)"
                raise InputError(f"{name!r}: should be a placeholder: {known}. Choose one.")
        outside = set(map(op_of, left_out))
        return [op.outputs[0] for op in ops if op not in outside]

    def spoken(self, element: Element) -> str:
        """Returns the name that the article gives an element, or else its own name."""
        op = op_of(element)
        if op.name.endswith(_VALUE) and op.type == "ReadVariableOp":
            return op.name[: -len(_VALUE)]
        own = element.name if len(op.outputs) > 1 else op.name
        return self.article.get(op.name, own)

    def called(self, one: Any) -> str:
        """Returns the name that the article gives to something with a name, or else its own."""
        return self.article.get(one.name, one.name)

    def main(self) -> List[str]:
        """Returns the names of what trains, of losses, of fields, placeholders and weights."""
        parts = structure(self.graph)
        trains = map(self.called, parts.optimizers)
        weights = [op.name for optimizer in parts.optimizers for op in optimizer.trained]
        others = [*self.fields, *map(self.spoken, parts.placeholders), *weights]
        return list(dict.fromkeys([*trains, *map(self.spoken, parts.losses), *others]))

    def _known(self) -> List[str]:
        """Returns all names, the main ones first."""
        nodes = (op.name for op in self.graph.get_operations())
        return list(dict.fromkeys([*self.main(), *nodes]))

    def _near(self, name: str, known: Sequence[str]) -> Sequence[str]:
        """Returns the known names that are nearest to one that is not known."""
        expected = [guess for guess, meant in _EXPECTED.items() if meant in self.fields]
        near = difflib.get_close_matches(name, [*known, *expected], n=5, cutoff=0.5)
        return list(dict.fromkeys(_EXPECTED.get(guess, guess) for guess in near))

    def _value(self, variable: Operation) -> Tensor:
        """Returns what `session.run(variable)` fetches."""
        if variable.type != "VarHandleOp":
            return variable.outputs[0]
        return self.graph.as_graph_element(variable.name + _VALUE + ":0")


def _unordered(
    graph: Graph, written_by: Mapping[str, Tuple[str, ...]], fed: Iterable[Tensor]
) -> Dict[str, Tuple[str, ...]]:
    """Returns the variables with writers that may run in any order, and those writers."""
    several = {name: ops for name, ops in written_by.items() if len(ops) > 1}
    before = {
        name: {op.name for op in needed([graph.get_operation_by_name(name)], fed)}
        for ops in several.values()
        for name in ops
    }
    return {
        variable: ops
        for variable, ops in several.items()
        if any(
            one not in before[other] and other not in before[one]
            for one, other in itertools.combinations(ops, 2)
        )
    }
