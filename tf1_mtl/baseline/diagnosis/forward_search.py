"""Finds what a port does to feeds, layers and losses, from the losses that it returned.

The tasks are solved one after the other, those with few operations first, and what was found for
one is given to the next. So mistakes at several places are found in the sum of the times.
"""

import itertools
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.diagnosis import catalogue, update_catalogue
from tf1_mtl.baseline.diagnosis.count_mutations import count_mutations
from tf1_mtl.baseline.diagnosis.edits import Edit
from tf1_mtl.baseline.diagnosis.graph_edits import PRODUCTS
from tf1_mtl.baseline.diagnosis.layer_mutations import layer_mutations
from tf1_mtl.baseline.diagnosis.loss_comparison import LossComparison, Sample, rounding_of
from tf1_mtl.baseline.diagnosis.loss_fit import LossFit
from tf1_mtl.baseline.diagnosis.mutation import NOTHING, Forward, Mutation
from tf1_mtl.baseline.diagnosis.mutations import bias_mutation, forward_mutations
from tf1_mtl.baseline.diagnosis.node_mutations import node_mutations
from tf1_mtl.baseline.diagnosis.path_mutations import other_tensors
from tf1_mtl.baseline.diagnosis.places import subsets
from tf1_mtl.baseline.diagnosis.structure_mutations import structure_mutations
from tf1_mtl.baseline.diagnosis.two_edits import TwoEdits
from tf1_mtl.baseline.recorded_graph import node_and_output

#: How far a search goes: a factor of the loss alone, one known edit in a task, with a factor of the
#: loss, with a fitted number, one with what is done to other addends, two edits at once.
ALONE, ONE, FACTOR, FITTED, SUMS, PAIRS = range(6)


class ForwardSearch:
    """Searches what explains the losses of some runs."""

    def __init__(self, losses: LossComparison) -> None:
        self.losses, self.fit = losses, LossFit(losses)
        self.two = TwoEdits(losses, self.fit, self._singles)
        self._mutations: Dict[str, List[Mutation]] = {}
        self._at_nodes: Dict[str, List[Tuple[Mutation, ...]]] = {}
        self._found: Dict[Tuple[Forward, str], List[Forward]] = {}  #: without sums and pairs

    def levels(self) -> Iterator[Iterator[Forward]]:
        """Yields searches for what explains all losses, the quickest first."""
        tasks = sorted(self.losses.tasks, key=lambda t: len(self.losses.case(t).loss_nodes(t)))
        yield self.explained(tasks, ALONE)
        yield self._of_all_feeds(tasks)
        yield self.explained(tasks, ONE)
        yield self.explained(tasks, FACTOR)
        yield self._with_bias(tasks)
        yield self.explained(tasks, FITTED)
        yield self.explained(tasks, SUMS)
        yield self.explained(tasks, PAIRS)

    def explained(
        self, tasks: Sequence[str], depth: int, forward: Forward = NOTHING
    ) -> Iterator[Forward]:
        """Yields what explains the losses of some tasks.

        Args:
          tasks: They are explained one after the other.
          depth: How far the search goes.
          forward: What is known to be otherwise.
        """
        if not tasks:
            yield forward
            return
        for solved in self._solved(forward, tasks[0], depth):
            yield from self.explained(tasks[1:], depth, solved)

    def _of_all_feeds(self, tasks: Sequence[str]) -> Iterator[Forward]:
        """Yields edits of all feeds alike that explain all tasks."""
        samples = [(task, self.losses.samples(task)) for task in tasks]
        feeds = {name for task in tasks for name in self.losses.places(task).labels}
        for mutation in self.mutations(tasks[-1]) if len(feeds) > 1 else ():
            forward = NOTHING.extended(mutation)
            if feeds == {*mutation.edit.places} and all(
                self.losses.fits(forward, task, found) for task, found in samples
            ):
                yield forward

    def _with_bias(self, tasks: Sequence[str]) -> Iterator[Forward]:
        """Yields models with biases, which a port trains and does not show.

        A bias that starts at zero changes no loss of a first step. So these are explained first,
        and the biases are tried with what was found.
        """
        activations = {name: None for task in tasks for name in self._without_bias(task)}
        if not activations:
            return
        search = ForwardSearch(self.losses.first_steps())
        bases = list(itertools.islice(search.explained(tasks, ONE), 4))
        tried = itertools.product(
            catalogue.BIAS_STARTS, update_catalogue.BIAS_RULES, subsets(list(activations))
        )
        samples = [(task, self.losses.samples(task)) for task in tasks]
        few = [(task, self._few(found)) for task, found in samples]
        for start, pieces, group in tried:
            for base in bases if start == 0 else [NOTHING]:
                forward = base._replace(
                    mutations=(bias_mutation(group, start, pieces), *base.mutations)
                )
                if all(self.losses.fits(forward, task, found) for task, found in (*few, *samples)):
                    yield forward

    def _without_bias(self, task: str) -> List[str]:
        """Returns the activations that take a product as it is."""
        nodes = self.losses.case(task).graph.nodes
        taken = {name: nodes[name].data_inputs[0] for name in self.losses.places(task).activations}
        return [name for name, x in taken.items() if nodes[node_and_output(x)[0]].op in PRODUCTS]

    def _solved(self, forward: Forward, task: str, depth: int) -> Iterator[Forward]:
        """Yields how a task is explained, given what explains those before it."""
        samples = self.losses.samples(task)
        if not samples or self.losses.fits(forward, task, samples):
            yield forward
            return
        key = forward, task
        forward, samples = self._unrounded(forward, task, samples)
        if self.losses.fits(forward, task, samples):
            yield forward
            return
        if depth < FITTED:
            yield from self._by_one(forward, task, samples, depth)
            return
        if key not in self._found:
            found = []
            for solved in self._by_one(forward, task, samples, depth):
                found.append(solved)
                yield solved
            self._found[key] = found
        else:
            yield from self._found[key]
        if depth == SUMS:
            yield from self.two.in_sum(forward, task, samples)
        if depth >= PAIRS:
            yield from self._by_two(forward, task, samples)

    def _unrounded(
        self, forward: Forward, task: str, samples: List[Sample]
    ) -> Tuple[Forward, List[Sample]]:
        """Returns what is known and the samples, with room where all losses are rounded."""
        rounded = rounding_of(samples)
        if not rounded:
            return forward, samples
        name, loosened = rounded
        return self._reporting(forward, "loss rounded", task, name), loosened

    def _by_one(
        self, forward: Forward, task: str, samples: List[Sample], depth: int
    ) -> Iterator[Forward]:
        """Yields how a task is explained by one known edit."""
        yield from self._with_part(forward, task, samples, of_tasks=False)
        yield from self.fit.factors(forward, task, samples)
        if depth == ALONE:
            return
        variants = list(self._variants(task, samples))
        for kind, value, changed in variants:
            report = self._reporting(forward, kind, task, value)
            if self.losses.fits(report, task, changed):
                yield report
        mutations = self.mutations(task)
        singles = [(mutation,) for mutation in mutations]
        if depth >= FACTOR:
            yield from self.fit.penalized(forward, task, samples)
            yield from self.fit.constants(forward, task, samples)
        yield from self._with_mutations(forward, task, samples, singles, depth >= FACTOR)
        yield from self._with_part(forward, task, samples, of_tasks=True)
        if depth >= FITTED:
            yield from self._with_mutations(forward, task, samples, self._of_nodes(task), False)
            yield from self.fit.numbers(forward, task, samples)
        for kind, value, changed in variants if depth >= FACTOR else ():
            report = self._reporting(forward, kind, task, value)
            yield from self.fit.factors(report, task, changed)

    def _by_two(self, forward: Forward, task: str, samples: List[Sample]) -> Iterator[Forward]:
        """Yields how a task is explained by two known edits."""
        for kind, value, changed in itertools.islice(self._variants(task, samples), 1):
            report = self._reporting(forward, kind, task, value)
            singles = [(mutation,) for mutation in self.mutations(task)]
            yield from self._with_mutations(report, task, changed, singles, True)
        pairs = self.two.nearest(forward, task, samples)
        compatible = (pair for pair in pairs if _compatible(*pair))
        yield from self._with_mutations(forward, task, samples, compatible, True)

    def _singles(self, task: str) -> Iterator[Tuple[Mutation, ...]]:
        """Yields all known edits of what a task computes, each alone."""
        yield from ((mutation,) for mutation in self.mutations(task))
        yield from self._of_nodes(task)

    def _of_nodes(self, task: str) -> List[Tuple[Mutation, ...]]:
        """Returns the edits that the graph of any script allows."""
        if task not in self._at_nodes:
            case = self.losses.case(task)
            found = itertools.chain(
                node_mutations(case, task),
                structure_mutations(case, task),
                other_tensors(case, task, self.losses.shapes(task)),
            )
            self._at_nodes[task] = [(mutation,) for mutation in found]
        return self._at_nodes[task]

    def _with_part(
        self, forward: Forward, task: str, samples: Sequence[Sample], of_tasks: bool
    ) -> Iterator[Forward]:
        """Yields that another number on the way to the loss is returned, where that explains it.

        Args:
          forward: What is known to be otherwise.
          task: Whose losses are explained.
          samples: Of these losses.
          of_tasks: Whether the number is the loss of a task, which may also be trained.
        """
        if len(samples) < 2:
            return
        losses = {node_and_output(x.loss)[0] for x in self.losses.case(task).tasks.values()}
        kind = "loss of another task" if of_tasks else "other value returned"
        for name in self.losses.numbers_of(task):
            if (name in losses) != of_tasks:
                continue
            values = (self.losses.value(forward, name, sample) for sample in samples)
            if all(abs(v - s.observed) <= s.tolerance for v, s in zip(values, samples)):
                yield self._reporting(forward, kind, task, name)

    def _reporting(self, forward: Forward, kind: str, task: str, value: Any) -> Forward:
        return forward._replace(reports=(*forward.reports, Edit(kind, (task,), value)))

    def _with_mutations(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        candidates: Iterable[Tuple[Mutation, ...]],
        factors: bool,
    ) -> Iterator[Forward]:
        """Yields the candidates that explain the samples, with a factor if that is allowed."""
        few, with_factor = self._few(samples), []
        tolerance = np.array([sample.tolerance for sample in few])
        known = self.losses.predicted(forward, task, few)
        for mutations in candidates:
            extended = forward.extended(*mutations)
            if self.losses.fits_but_for_a_factor(extended, task, few):
                if self.losses.fits(extended, task, samples):
                    yield extended
                # What shows in no loss explains no more with a factor than without it.
                elif factors and np.any(
                    abs(self.losses.predicted(extended, task, few) - known) > tolerance
                ):
                    with_factor.append(extended)
        for extended in with_factor:
            yield from self.fit.factors(extended, task, samples)

    def _few(self, samples: Sequence[Sample]) -> List[Sample]:
        """Returns some samples of one run, which a factor of the loss must fit alike."""
        by_run: Dict[int, List[Sample]] = {}
        for sample in samples:
            by_run.setdefault(sample.run, []).append(sample)

        def says(group: List[Sample]) -> float:
            sharpness = [abs(s.observed) / max(s.tolerance, 1e-300) for s in group[:4]]
            return min(len(group), 3) * 1e9 + min(sharpness)

        group = max(list(by_run.values()), key=says)
        return sorted(group, key=lambda s: s.at)[:4]

    def _variants(
        self, task: str, samples: Sequence[Sample]
    ) -> Iterator[Tuple[str, Any, List[Sample]]]:
        """Yields what the port may return in place of the loss, and the losses behind it."""
        # The error bound of a right port is that of the weights before the step.
        after = [s._replace(at_after=True, sharp=s.tolerance) for s in samples]
        yield "loss after the update", None, after
        for kind, value, behind in AVERAGES:
            changed = []
            for sample in samples:
                run = self.losses.runs[sample.run]
                found = behind(run.losses, sample.at)
                if found is not None:
                    factor = max(1.0, 2.0 * (sample.at + 1), 20.0 * (value is not None))
                    tolerance = sample.tolerance * factor
                    changed.append(
                        sample._replace(observed=found, tolerance=tolerance, sharp=tolerance)
                    )
            if len(changed) >= 2:
                yield kind, value, changed

    def mutations(self, task: str) -> List[Mutation]:
        """Returns all known edits of what a task computes, the likeliest first."""
        if task not in self._mutations:
            case = self.losses.case(task)
            self._mutations[task] = [
                *count_mutations(case, task),
                *layer_mutations(case, task),
                *forward_mutations(case, task),
            ]
        return self._mutations[task]


def _late(losses: Sequence[float], index: int) -> Optional[float]:
    return losses[index + 1] if index + 1 < len(losses) else None


def _from_running_mean(losses: Sequence[float], index: int) -> Optional[float]:
    if not index:
        return losses[0]
    return (index + 1) * losses[index] - index * losses[index - 1]


def _from_smoothed(losses: Sequence[float], index: int) -> Optional[float]:
    return (losses[index] - 0.9 * losses[index - 1]) / 0.1 if index else losses[0]


#: What may be returned in place of the loss, with the loss behind it.
AVERAGES = (
    ("loss late", None, _late),
    ("loss averaged", "running mean", _from_running_mean),
    ("loss averaged", "smoothed by 0.9", _from_smoothed),
)


def _compatible(a: Mutation, b: Mutation) -> bool:
    """Returns whether two edits may both be made, and need be tried together."""
    if a.edit.kind == b.edit.kind and set(a.edit.places) & set(b.edit.places):
        return False
    rare = {"precision of products", "penalty in the loss", "feed of an earlier step"}
    if a.edit.kind in rare or b.edit.kind in rare:
        return False
    return not (a.is_hidden and b.is_hidden)
