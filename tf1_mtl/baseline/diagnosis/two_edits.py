"""Finds a known edit beside something else that changes the loss: another edit, weights, a penalty.

Edits are tried alone, and their differences are combined. Where a loss is a sum, what is done to
one addend changes the loss by a difference that does not depend on what is done to the others.
Elsewhere the differences nearly add up, and the pairs whose sum is nearest are tried first.
"""

from typing import (
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Sequence,
    Set,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline.diagnosis.loss_comparison import LossComparison, Sample
from tf1_mtl.baseline.diagnosis.loss_fit import DEPTHS, LossFit
from tf1_mtl.baseline.diagnosis.mutation import Forward, Mutation
from tf1_mtl.baseline.diagnosis.places import addends_of
from tf1_mtl.baseline.recorded_graph import Node, needed_nodes, node_and_output

MOST_PENALTIES = 3  #: that are followed for each edit, the closest first
FEW = 12  #: samples that differences are taken of, at most
MOST_PAIRS = 4000  #: whose differences do not add up, the nearest first
MORE = 4  #: samples than addends that are weighed, so that weights do not fit by chance
Addend = Tuple[str, str]  #: the operation that adds, and the one that is added


class _Change(NamedTuple):
    """Describes what an edit alone does to the losses."""

    forward: Forward  #: with the edit
    mutations: Tuple[Mutation, ...]
    difference: np.ndarray  #: of some losses, in their tolerances


class TwoEdits:
    """Combines edits of a loss, each of which is tried alone."""

    def __init__(
        self,
        losses: LossComparison,
        fit: LossFit,
        candidates: Callable[[str], Iterable[Tuple[Mutation, ...]]],
    ) -> None:
        """Takes the losses, what fits numbers to them, and what gives the edits of a task."""
        self.losses, self.fit, self.candidates = losses, fit, candidates
        self._changes: Dict[Tuple[Forward, str], List[_Change]] = {}

    def in_sum(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
    ) -> Iterator[Forward]:
        """Yields models with one of the candidates and what is added, that explain the samples.

        Args:
          forward: What is known to be otherwise.
          task: Whose losses are explained.
          samples: Of these losses.
        """
        few = list(samples[:FEW])
        addends = self._addends(forward, task, len(few) - MORE)
        if len(addends) < 2:
            return
        tolerance, rest = self._rest(forward, task, few)
        parts = self.fit.parts(forward, task, few, addends) / tolerance[:, None]
        if np.isfinite(rest).all() and np.isfinite(parts).all():
            changes = self._of_candidates(forward, task, few)
            needed = self._needed(task, addends)
            for change in _with_weights(changes, needed, rest, parts):
                yield from self.fit.with_weights(change.forward, task, samples, addends)
            for both in _pairs(changes, rest):
                if self.losses.fits(both, task, samples):
                    yield both
            squares = self._squares(task, few) / tolerance
            for change in _with_multiple(changes, rest, squares):
                yield from self.fit.penalized(change.forward, task, samples)[:MOST_PENALTIES]

    def nearest(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
    ) -> List[Tuple[Mutation, ...]]:
        """Returns pairs of the candidates, those first whose differences nearly explain the losses.

        Args:
          forward: What is known to be otherwise.
          task: Whose losses are explained.
          samples: Of these losses.
        """
        few = samples[:FEW]
        _, rest = self._rest(forward, task, few)
        if not np.isfinite(rest).all():
            return []
        changes = self._of_candidates(forward, task, few)
        differences = np.array([change.difference for change in changes]).reshape(-1, len(rest))
        pairs = np.empty((0, 3))  # how far off the sum of two differences is, and their numbers
        for number, difference in enumerate(differences):
            self.losses.check_time()
            off = np.linalg.norm(rest - difference - differences[number + 1 :], axis=1)
            others = np.arange(number + 1, len(changes))
            pairs = np.vstack([pairs, np.stack([off, np.full(len(off), number), others], 1)])
            if len(pairs) > 20 * MOST_PAIRS or number == len(changes) - 1:
                pairs = pairs[np.argsort(pairs[:, 0], kind="stable")[:MOST_PAIRS]]
        numbers = pairs[:, 1:].astype(int)
        return [(*changes[a].mutations, *changes[b].mutations) for a, b in numbers]

    def _of_candidates(self, forward: Forward, task: str, few: Sequence[Sample]) -> List[_Change]:
        """Returns what each of the candidates alone does to the losses; kept for the next time."""
        if (forward, task) not in self._changes:
            found = []
            tolerance = self._tolerance(few)
            right = self.losses.predicted(forward, task, few)
            for mutations in self.candidates(task):
                extended = forward.extended(*mutations)
                difference = (self.losses.predicted(extended, task, few) - right) / tolerance
                if np.isfinite(difference).all() and np.abs(difference).max() > 1:
                    found.append(_Change(extended, mutations, difference))
            self._changes[forward, task] = found
        return self._changes[forward, task]

    def _rest(
        self, forward: Forward, task: str, few: Sequence[Sample]
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Returns the tolerances of samples, and in these units what is left to explain."""
        tolerance = self._tolerance(few)
        observed = np.array([s.observed for s in few])
        return tolerance, (observed - self.losses.predicted(forward, task, few)) / tolerance

    def _tolerance(self, few: Sequence[Sample]) -> np.ndarray:
        return np.maximum([s.tolerance for s in few], 1e-300)

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

    def _needed(self, task: str, addends: Sequence[Addend]) -> List[Set[str]]:
        """Returns the names of what each addend needs."""
        nodes = self.losses.case(task).loss_nodes(task)
        return [self._names(task, needed_nodes(nodes, [addend])) for _, addend in addends]

    def _names(self, task: str, nodes: Mapping[str, Node]) -> Set[str]:
        """Returns the names that edits of some operations, their weights and feeds have."""
        case = self.losses.case(task)
        weights = (name for name, variable in case.weights.items() if variable in nodes)
        feeds = (name for name, x in case.feeds.items() if node_and_output(x)[0] in nodes)
        return {*nodes, *weights, *feeds}


LARGEST_OFF = 3.0  #: that a sum of differences may be off, in tolerances; a right model is tried


def _with_weights(
    changes: Sequence[_Change], needed: Sequence[Set[str]], rest: np.ndarray, parts: np.ndarray
) -> Iterator[_Change]:
    """Yields the edits of one addend that explain the losses if the addends have other weights."""
    for change in changes:
        places = {place for mutation in change.mutations for place in mutation.edit.places}
        touched = [i for i, names in enumerate(needed) if places & names]
        if len(touched) == 1:
            edited = parts.copy()
            edited[:, touched[0]] += change.difference
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
