"""Finds ports that make several updates in one step: again, for each part, or in two halves."""

import itertools
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from tf1_mtl.baseline.diagnosis import update_catalogue
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, ModelRun
from tf1_mtl.baseline.diagnosis.replay import Program, Replay
from tf1_mtl.baseline.diagnosis.step_comparison import StepComparison
from tf1_mtl.baseline.error_bounds import value_of

#: Updates that a step makes one after the other: (task of the gradients, task whose slots are
#: used, weights or None for all)
Parts = Tuple[Tuple[str, str, Optional[Tuple[str, ...]]], ...]


def several_updates(
    comparison: StepComparison, wrong: Sequence[str] = ()
) -> Iterator[Tuple[Edit, ...]]:
    """Yields the edits where several updates in one step explain what a port did.

    Args:
      comparison: Compares steps.
      wrong: Tasks that return the sum of the losses of their parts.
    """
    runs = comparison.runs
    tasks = list({step.task: None for run in runs for step in run.port_run.case.steps})
    ways = [
        (edit, parts)
        for edit, parts in _ways(tuple(runs[0].port_run.case.weights), tasks)
        if not wrong or (edit.kind == "two steps" and edit.places == tuple(wrong))
    ]
    complete = [n for n, run in enumerate(runs) if set(tasks) <= set(run.model.case.tasks)]
    for extra in [(), *((piece,) for piece in update_catalogue.USUAL)]:
        program = update_catalogue.program_of(extra)
        for edit, parts in ways:
            comparison.check_time()
            if all(_fits(comparison, number, parts, program, wrong) for number in complete):
                yield (edit, *(Edit(k, tuple(tasks), v) for piece in extra for k, v in piece.edits))


def _ways(
    names: Tuple[str, ...], tasks: Sequence[str]
) -> Iterator[Tuple[Edit, Callable[[str], Parts]]]:
    """Yields edits with functions that give the parts of a task."""

    def only(chosen: Tuple[str, ...], parts: Callable[[str], Parts]) -> Callable[[str], Parts]:
        return lambda task: parts(task) if task in chosen else ((task, task, None),)

    def again(times: int) -> Callable[[str], Parts]:
        return lambda task: ((task, task, None),) * times

    def in_turn(order: Sequence[str], own: bool) -> Callable[[str], Parts]:
        return lambda task: tuple((part, part if own else task, None) for part in order)

    def first_then(first: Tuple[str, ...], then: Tuple[str, ...]) -> Callable[[str], Parts]:
        return lambda task: ((task, task, first), (task, task, then))

    groups = [tuple(tasks), *((task,) for task in tasks if len(tasks) > 1)]
    for group in groups:
        for times in (2, 3):
            yield Edit("step repeated", group, times), only(group, again(times))
    for task in tasks:
        others = [t for t in tasks if t != task]
        for order in itertools.permutations(others) if 1 < len(others) <= 3 else ():
            for own in (True, False):
                yield Edit("two steps", (task,)), only((task,), in_turn(order, own))
    for first in dict.fromkeys([names[1:], names[:1], *((name,) for name in names[1:])]):
        then = tuple(name for name in names if name not in first)
        if first and then:
            yield Edit("gradients after an update", first), first_then(first, then)


def _fits(
    comparison: StepComparison,
    number: int,
    parts: Callable[[str], Parts],
    program: Program,
    added: Sequence[str],
) -> bool:
    """Returns whether a run is explained by several updates in each step.

    Args:
      comparison: Compares steps.
      number: Of the run.
      parts: Gives the updates of a task.
      program: What the optimizers do.
      added: Tasks that return the sum of the losses of their parts.
    """
    run = comparison.runs[number]
    try:
        for index, losses, after in _replayed(run, parts, program):
            if run.task(index) in added:
                returned = run.port_run.losses[index]
                room = 3 * comparison.tolerances[number][index].loss + 1e-5 * abs(returned)
                if abs(returned - float(value_of(sum(losses)))) > room:
                    return False
            if not all(comparison.fits(number, index, name, w) for name, w in after.items()):
                return False
    except DoesNotFit:
        return False
    return True


def _replayed(
    run: ModelRun, parts: Callable[[str], Parts], program: Program
) -> Iterator[Tuple[int, List[Any], Dict[str, Any]]]:
    """Yields the index of each step, the losses of its parts, and the weights after it."""
    replays = {name: Replay(run, name) for name in run.model.case.weights}
    for index, before in enumerate(run.port_run.before):
        weights: Dict[str, Any] = dict(before)
        losses = []
        for task, optimizer, names in parts(run.task(index)):
            given = run.at(index, weights, task)
            losses.append(given.loss)
            after = dict(weights)
            for name in names or weights:
                moved = replays[name].step(index, optimizer, program, weights[name], given)
                after[name] = weights[name] if moved is None else moved
            weights = after
        yield index, losses, weights
