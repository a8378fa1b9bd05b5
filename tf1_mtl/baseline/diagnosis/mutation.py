"""Defines mutations: single edits of what a port computes, and what is made of several."""

from typing import Any, Callable, NamedTuple, Sequence, Tuple

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, Model
from tf1_mtl.baseline.evaluator import GRAPH_ERRORS


class Mutation(NamedTuple):
    """Holds an edit and the function that makes it in a model."""

    edit: Edit
    apply: Callable[[Model], Model]
    is_hidden: bool = False  #: whether the port trains variables that weights() does not return
    is_last: bool = False  #: whether it is made last: it changes what other edits put into a node
    slack: float = 0.0  #: rounding error of the loss beyond the usual bound

    def made_in(self, model: Model) -> Model:
        """Returns a model with the edit.

        Raises:
          DoesNotFit: The graph is not as the edit needs it.
        """
        try:
            return self.apply(model)
        except GRAPH_ERRORS as error:
            raise DoesNotFit from error


class Forward(NamedTuple):
    """Holds what explains the losses."""

    mutations: Tuple[Mutation, ...] = ()
    reports: Tuple[Edit, ...] = ()  #: edits of the losses that are returned, not of the training

    @property
    def edits(self) -> Tuple[Edit, ...]:
        """Returns all edits."""
        return (*(mutation.edit for mutation in self.mutations), *self.reports)

    @property
    def slack(self) -> float:
        """Returns the rounding error of the losses beyond the usual bound."""
        return sum(mutation.slack for mutation in self.mutations)

    def extended(self, *mutations: Mutation) -> "Forward":
        """Returns this with more mutations."""
        return self._replace(mutations=(*self.mutations, *mutations))

    def model(self, case: Case) -> Model:
        """Returns the model of a case with all mutations."""
        model = Model(case)
        for mutation in in_order(self.mutations):
            model = mutation.made_in(model)
        return model


NOTHING = Forward()  #: the port computes what the graph computes


def in_order(mutations: Sequence[Mutation]) -> Tuple[Mutation, ...]:
    """Returns mutations in the order in which they are made."""
    return tuple(sorted(mutations, key=lambda mutation: mutation.is_last))


def graph_mutation(kind: str, places: Tuple[str, ...], value: Any, change: Callable) -> Mutation:
    """Returns a mutation that changes the graph at each place that a graph has."""

    def apply(model: Model) -> Model:
        graph = model.graph
        for place in places:
            if place in graph.nodes:
                graph = change(graph, place)
        return model.with_graph(graph)

    return Mutation(Edit(kind, places, value), apply)
