"""Finds what explains a part of what a port did, where nothing known explains all of it.

Each step is judged from the weights of the port, so the losses of a task, and the updates of a
weight, can be explained without the others.
"""

import contextlib
import itertools
from typing import AbstractSet, FrozenSet, Iterator, NamedTuple, Sequence, Set, Tuple

from tf1_mtl.baseline.diagnosis.edits import Edit, Pair
from tf1_mtl.baseline.diagnosis.forward_search import FITTED, ONE
from tf1_mtl.baseline.diagnosis.gradient_mutations import backward_mutations, rate_mutations
from tf1_mtl.baseline.diagnosis.model import DoesNotFit
from tf1_mtl.baseline.diagnosis.mutation import NOTHING, Forward
from tf1_mtl.baseline.diagnosis.staged_search import (
    ALTERNATIVES,
    StagedSearch,
    case_with_most_tasks,
    returned_only,
)
from tf1_mtl.baseline.diagnosis.update_search import Updates, UpdateSearch


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


class _Found(NamedTuple):
    """Holds what a stage of the search has found."""

    forward: Forward  #: what the port trains on, and the losses that it returns
    search: UpdateSearch  #: for what that leaves of the updates
    updates: Updates = Updates()


def parts(search: StagedSearch) -> Iterator[Part]:
    """Yields what explains a part; what the quickest searches find comes first.

    Edits are no part if they make updates wrong that were right. What explains the losses of a task
    alone may do so by chance. It counts if it is needed for some of the updates that were wrong, or
    if it is only what the task returns and all its updates were right.
    """
    wrong = [task for task in search.losses.tasks if not search.losses.is_right(task)]
    wrong_updates = {*search.updates().wrong, *search.unexplained(NOTHING, Updates())}
    for depth in (ONE, FITTED):
        unknown: Set[str] = set()
        while True:
            unconfirmed: Set[str] = set()
            for found in _stages(search, wrong, unknown, depth):
                edits = (*found.forward.edits, *found.updates.edits)
                try:
                    left = _left(search, found, wrong_updates) if edits else wrong_updates
                except DoesNotFit:  # a case that was not searched does not allow an edit
                    continue
                losses = [task for task in wrong if task not in found.search.unknown]
                explained = sorted(wrong_updates - left)
                confirmed = _confirmed(search, found, explained, wrong_updates) if losses else ()
                unconfirmed = {*losses}.difference(confirmed)
                if (losses or explained) and not unconfirmed and left <= wrong_updates:
                    unknown_losses = frozenset(found.search.unknown)
                    yield Part(
                        edits, tuple(losses), tuple(explained), unknown_losses, frozenset(left)
                    )
            if not unconfirmed:
                break
            unknown |= unconfirmed


def _left(search: StagedSearch, found: _Found, wrong_updates: AbstractSet[Pair]) -> Set[Pair]:
    """Returns the updates that some edits do not explain; those of unknown tasks if wrong."""
    unknown = found.search.unknown
    left = {pair for pair in found.search.wrong if pair not in found.updates.solutions}
    unexplained = search.unexplained(found.forward, found.updates)
    left.update(pair for pair in unexplained if pair[0] not in unknown)
    return left | {pair for pair in wrong_updates if pair[0] in unknown}


def _confirmed(
    search: StagedSearch,
    found: _Found,
    explained: Sequence[Pair],
    wrong_updates: AbstractSet[Pair],
) -> Set[str]:
    """Returns the tasks whose losses are not explained by chance; see `parts`."""
    needed = search.unexplained(NOTHING, found.updates)
    confirmed = {task for task, weight in explained if (task, weight) in needed}
    reports = {place for edit in found.forward.reports for place in edit.places}
    reports.update(
        task
        for edit in found.forward.reports
        for task in search.losses.tasks
        if search.losses.loss_node(NOTHING, task) in edit.places
    )
    return confirmed | (reports - {task for task, _ in wrong_updates})


def _stages(
    search: StagedSearch, wrong: Sequence[str], unknown: AbstractSet[str], depth: int
) -> Iterator[_Found]:
    """Yields edits of losses, then with edits of gradients, then with edits of updates.

    Args:
      search: What was searched before.
      wrong: Tasks whose losses are wrong.
      unknown: Those of them that are left.
      depth: How far the search goes.
    """
    found = _of_losses(search, wrong, unknown, depth)
    yield found
    if depth > ONE and found.search.wrong:
        case = case_with_most_tasks(search.runs)
        mutations = [*rate_mutations(case), *backward_mutations(case)]
        for better in search.better(found.forward, found.search, mutations):
            found = _Found(*better)
        yield found
    if found.search.wrong:
        yield found._replace(updates=_of_updates(search, found, depth > ONE))


def _of_losses(
    search: StagedSearch, wrong: Sequence[str], unknown: AbstractSet[str], depth: int
) -> _Found:
    """Returns what explains the losses of some tasks."""
    losses, returned, left = search.losses, NOTHING, {*wrong}
    found = _Found(NOTHING, search.updates(NOTHING, left))
    for task in sorted(left - unknown, key=lambda t: (len(losses.case(t).loss_nodes(t)), t)):
        others = left - {task}
        allowed = {*search.updates(found.forward, others).wrong}
        candidates = (
            (len(one.search.wrong), number, candidate, one)
            for number, candidate in enumerate(search.search.explained([task], depth, returned))
            if search.explains_losses(candidate, others)
            for one in _trained(search, candidate, others)
            if allowed.issuperset(one.search.wrong)
        )
        best = min(itertools.islice(candidates, ALTERNATIVES), key=lambda x: x[:2], default=None)
        if best:
            _, _, returned, found = best
            left = others
    return found


def _trained(
    search: StagedSearch, returned: Forward, unknown: AbstractSet[str]
) -> Iterator[_Found]:
    """Yields what a port may train on that returns some losses, with what that leaves."""
    reported = returned_only(returned) if search.factors_show else None
    for forward in (returned, reported):
        with contextlib.suppress(DoesNotFit):
            if forward:
                yield _Found(forward, search.updates(forward, unknown))


def _of_updates(search: StagedSearch, found: _Found, fits: bool) -> Updates:
    """Returns what explains the updates of some weights in some tasks; see `in_part`."""
    for updates in found.search.in_part(fits):
        wrong = search.unexplained(found.forward, updates)
        if all(pair in found.search.wrong for pair in updates.solutions if pair in wrong):
            return found.search.of({p: x for p, x in updates.solutions.items() if p not in wrong})
    return Updates()
