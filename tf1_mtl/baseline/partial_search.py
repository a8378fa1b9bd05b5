"""Finds what explains a part of what a port did, where nothing known explains all of it.

Each step is judged from the weights of the port, so the losses of a task, and the updates of a
weight, can be explained without the others.
"""

import contextlib
import itertools
from typing import AbstractSet, FrozenSet, Iterator, NamedTuple, Sequence, Set, Tuple

from tf1_mtl.baseline.edits import Edit, Pair
from tf1_mtl.baseline.forward_search import FITTED, ONE
from tf1_mtl.baseline.gradient_mutations import backward_mutations, rate_mutations
from tf1_mtl.baseline.model import DoesNotFit
from tf1_mtl.baseline.mutation import NOTHING, Forward
from tf1_mtl.baseline.staged_search import (
    ALTERNATIVES,
    StagedSearch,
    case_with_most_tasks,
    returned_only,
)
from tf1_mtl.baseline.update_search import Updates, UpdateSearch


class Part(NamedTuple):
    """Holds edits with what they explain, and what they leave."""

    edits: Tuple[Edit, ...]
    losses: Tuple[str, ...]  #: tasks whose losses were wrong and are explained
    updates: Tuple[Pair, ...]  #: that were wrong and are explained
    losses_left: FrozenSet[str]
    updates_left: FrozenSet[Pair]

    @property
    def size(self) -> int:
        """Returns how much is explained."""
        return len(self.losses) + len(self.updates)


def parts(search: StagedSearch) -> Iterator[Part]:
    """Yields what explains a part; what the quickest searches find comes first.

    What explains the losses of a task alone may do so by chance. It counts if it also explains some
    of the updates of the task that were wrong.
    """
    wrong = [task for task in search.losses.tasks if not search.losses.is_right(task)]
    wrong_updates = search.updates().wrong
    for depth in (ONE, FITTED):
        unknown: Set[str] = set()
        while True:
            unconfirmed: Set[str] = set()
            for forward, found, updates in _stages(search, wrong, unknown, depth):
                left = {pair for pair in found.wrong if pair not in updates.solutions}
                left.update(pair for pair in wrong_updates if pair[0] in found.unknown)
                losses = [task for task in wrong if task not in found.unknown]
                explained = [pair for pair in wrong_updates if pair not in left]
                unconfirmed = {task for task, _ in wrong_updates} - {task for task, _ in explained}
                unconfirmed.intersection_update(losses)
                edits = (*forward.edits, *updates.edits)
                if edits and explained and not unconfirmed:
                    losses_left, updates_left = frozenset(found.unknown), frozenset(left)
                    yield Part(edits, tuple(losses), tuple(explained), losses_left, updates_left)
            if not unconfirmed:
                break
            unknown |= unconfirmed


def _stages(
    search: StagedSearch, wrong: Sequence[str], unknown: AbstractSet[str], depth: int
) -> Iterator[Tuple[Forward, UpdateSearch, Updates]]:
    """Yields edits of losses and gradients, what they leave, and edits of updates.

    Args:
      search: What was searched before.
      wrong: Tasks whose losses are wrong.
      unknown: Those of them that are left.
      depth: How far the search goes.
    """
    forward, left = _of_losses(search, wrong, unknown, depth)
    found = search.updates(forward, left)
    reported = returned_only(forward) if search.factors_show else None
    if reported:
        other = search.updates(reported, left)
        if len(other.wrong) < len(found.wrong):
            forward, found = reported, other
    yield forward, found, Updates()
    if depth > ONE and found.wrong:
        case = case_with_most_tasks(search.runs)
        mutations = [*rate_mutations(case), *backward_mutations(case)]
        forward, found = search.better(forward, found, mutations)
    if found.wrong:
        yield forward, found, _of_updates(search, forward, found, depth > ONE)


def _of_losses(
    search: StagedSearch, wrong: Sequence[str], unknown: AbstractSet[str], depth: int
) -> Tuple[Forward, AbstractSet[str]]:
    """Returns what explains the losses of some tasks, and the tasks that it leaves."""
    losses, forward, left = search.losses, NOTHING, {*wrong}
    for task in sorted(left - unknown, key=lambda t: (len(losses.case(t).loss_nodes(t)), t)):
        others = left - {task}
        found = (
            (len(updates.wrong), number, candidate)
            for number, candidate in enumerate(search.search.explained([task], depth, forward))
            if search.explains_losses(candidate, others)
            for updates in _updates(search, candidate, others)
        )
        best = min(itertools.islice(found, ALTERNATIVES), default=None)
        if best:
            forward, left = best[-1], others
    return forward, left


def _updates(
    search: StagedSearch, forward: Forward, unknown: AbstractSet[str]
) -> Iterator[UpdateSearch]:
    with contextlib.suppress(DoesNotFit):
        yield search.updates(forward, unknown)


def _of_updates(search: StagedSearch, forward: Forward, found: UpdateSearch, fits: bool) -> Updates:
    """Returns what explains the updates of some weights in some tasks; see `in_part`."""
    for updates in found.in_part(fits):
        try:
            wrong = search.unexplained(forward, updates)
        except DoesNotFit:
            continue
        if all(pair in found.wrong for pair in updates.solutions if pair in wrong):
            return found.of({p: x for p, x in updates.solutions.items() if p not in wrong})
    return Updates()
