"""Finds a known edit beside others that add to the loss: weights of addends, a penalty, an edit.

A loss is often a sum. What is done to one addend changes the loss by a difference that does not
depend on what is done to the others. So edits are tried alone, and their differences are combined.
"""

from typing import Callable, Iterable, Iterator, List, Mapping, NamedTuple, Sequence, Set, Tuple

import numpy as np

from tf1_mtl.baseline.diagnosis.loss_comparison import LossComparison, Sample
from tf1_mtl.baseline.diagnosis.loss_fit import DEPTHS, LossFit
from tf1_mtl.baseline.diagnosis.mutation import Forward, Mutation
from tf1_mtl.baseline.diagnosis.places import addends_of
from tf1_mtl.baseline.recorded_graph import Node, needed_nodes, node_and_output

MOST_PENALTIES = 3  #: that are followed for each edit, the closest first
FEW = 12  #: samples that differences are taken of, at most
MORE = 4  #: samples than addends that are weighed, so that weights do not fit by chance
Addend = Tuple[str, str]  #: the operation that adds, and the one that is added


class _Change(NamedTuple):
    """Describes what an edit alone does to the losses."""

    forward: Forward  #: with the edit
    mutations: Tuple[Mutation, ...]
    touched: List[int]  #: addends
    difference: np.ndarray  #: of some losses, in their tolerances


class SumFit:
    """Combines edits of a loss that is a sum."""

    def __init__(self, losses: LossComparison, fit: LossFit) -> None:
        self.losses, self.fit = losses, fit

    def explained(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        candidates: Iterable[Tuple[Mutation, ...]],
    ) -> Iterator[Forward]:
        """Yields models with one of the candidates and what is added, that explain the samples.

        Args:
          forward: What is known to be otherwise.
          task: Whose losses are explained.
          samples: Of these losses.
          candidates: The edits that are tried.
        """
        few = list(samples[:FEW])
        addends = self._addends(forward, task, len(few) - MORE)
        if len(addends) < 2:
            return
        tolerance = np.maximum([s.tolerance for s in few], 1e-300)
        right = self.losses.predicted(forward, task, few)
        rest = ([s.observed for s in few] - right) / tolerance
        parts = self.fit.parts(forward, task, few, addends) / tolerance[:, None]
        if np.isfinite(rest).all() and np.isfinite(parts).all():
            touched = self._touched(task, addends)
            changes = []
            for mutations in candidates:
                extended = forward.extended(*mutations)
                difference = (self.losses.predicted(extended, task, few) - right) / tolerance
                if np.isfinite(difference).all() and np.abs(difference).max() > 1:
                    changes.append(_Change(extended, mutations, touched(mutations), difference))
            for change in _with_weights(changes, rest, parts):
                yield from self.fit.with_weights(change.forward, task, samples, addends)
            for both in _pairs(changes, rest):
                if self.losses.fits(both, task, samples):
                    yield both
            squares = self._squares(task, few) / tolerance
            for change in _with_multiple(changes, rest, squares):
                yield from self.fit.penalized(change.forward, task, samples)[:MOST_PENALTIES]

    def _squares(self, task: str, few: Sequence[Sample]) -> np.ndarray:
        """Returns half the sums of squares in possible penalties, an array [penalties, samples]."""
        penalties = [summed for _, summed, _ in self.fit.penalties(task)]
        names = {name for summed in penalties for name in summed}
        squares = {name: np.array([self.fit.squares(name, s) for s in few]) for name in names}
        sums = [sum(squares[name] for name in summed) for summed in penalties]
        return np.array(sums, np.float64).reshape(-1, len(few))

    def _addends(self, forward: Forward, task: str, most: int) -> List[Addend]:
        """Returns the addends of a loss, those of sums in sums where they are few enough."""
        graph, total = self.losses.case(task).graph, self.losses.loss_node(forward, task)
        divisions = [addends_of(graph, total, depth) for depth in DEPTHS]
        return max((x for x in divisions if len(x) <= most), key=len, default=[])

    def _touched(
        self, task: str, addends: Sequence[Addend]
    ) -> Callable[[Tuple[Mutation, ...]], List[int]]:
        """Returns what gives the addends that some edits touch."""
        nodes = self.losses.case(task).loss_nodes(task)
        needed = [self._names(task, needed_nodes(nodes, [addend])) for _, addend in addends]

        def touched(mutations: Tuple[Mutation, ...]) -> List[int]:
            places = {place for mutation in mutations for place in mutation.edit.places}
            return [i for i, names in enumerate(needed) if places & names]

        return touched

    def _names(self, task: str, nodes: Mapping[str, Node]) -> Set[str]:
        """Returns the names that edits of some operations, their weights and feeds have."""
        case = self.losses.case(task)
        weights = (name for name, variable in case.weights.items() if variable in nodes)
        feeds = (name for name, x in case.feeds.items() if node_and_output(x)[0] in nodes)
        return {*nodes, *weights, *feeds}


LARGEST_OFF = 3.0  #: that a sum of differences may be off, in tolerances; a right model is tried


def _with_weights(
    changes: Sequence[_Change], rest: np.ndarray, parts: np.ndarray
) -> Iterator[_Change]:
    """Yields the edits of one addend that explain the losses if the addends have other weights."""
    for change in changes:
        if len(change.touched) == 1:
            edited = parts.copy()
            edited[:, change.touched[0]] += change.difference
            left = rest - change.difference
            weights = np.linalg.lstsq(edited, left, rcond=None)[0]
            if np.abs(edited @ weights - left).max() <= LARGEST_OFF:
                yield change


def _pairs(changes: Sequence[_Change], rest: np.ndarray) -> Iterator[Forward]:
    """Yields two edits whose differences together explain the losses."""
    differences = np.array([change.difference for change in changes]).reshape(-1, len(rest))
    for number, change in enumerate(changes):
        others = differences[number + 1 :]
        off = np.abs(rest - change.difference - others).max(axis=1)
        for index in np.flatnonzero(off <= LARGEST_OFF):
            yield change.forward.extended(*changes[number + 1 + int(index)].mutations)


def _with_multiple(
    changes: Sequence[_Change], rest: np.ndarray, squares: np.ndarray
) -> List[_Change]:
    """Returns the edits that explain the losses with a multiple of some squares, the best first."""
    lengths = np.maximum((squares**2).sum(axis=1), 1e-300)
    found = []
    for number, change in enumerate(changes):
        left = rest - change.difference
        factors = squares @ left / lengths
        off = np.abs(factors[:, None] * squares - left).max(axis=1, initial=0).min(initial=np.inf)
        if off <= LARGEST_OFF:
            found.append((off, number))
    return [changes[number] for _, number in sorted(found)]
