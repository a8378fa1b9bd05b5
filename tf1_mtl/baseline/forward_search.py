"""Finds what a port does to feeds, layers and losses, from the losses that it returned.

The tasks are solved one after the other, those with few operations first, and what was found for
one is given to the next. So mistakes at several places are found in the sum of the times.
"""

import functools
import itertools
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import catalogue, update_catalogue
from tf1_mtl.baseline.edits import Edit
from tf1_mtl.baseline.fitting import nice, roots, secant, shortened
from tf1_mtl.baseline.graph_edits import PRODUCTS
from tf1_mtl.baseline.loss_comparison import (
    LossComparison,
    Sample,
    common_ratio,
    ratios_of,
    rounding_of,
)
from tf1_mtl.baseline.mutations import (
    DIVISORS,
    NOTHING,
    Forward,
    Mutation,
    addend_mutation,
    bias_mutation,
    constant_mutation,
    forward_mutations,
    leaky_mutation,
    penalty_mutation,
    scale_mutation,
    scaled_feed,
    shifted_feed,
)
from tf1_mtl.baseline.node_mutations import node_mutations, scalable, scaled
from tf1_mtl.baseline.places import (
    Places,
    addends_of,
    groups_of,
    is_constant,
    places_of,
    subsets,
)
from tf1_mtl.baseline.recorded_graph import node_and_output

#: How far a search goes: one known edit in a task, with a factor of the loss, with a fitted
#: number, two edits at once.
ONE, FACTOR, FITTED, PAIRS = 0, 1, 2, 3
#: A constant is fitted to one loss, so others must bear it out.
DEPTHS = (1, 2, 3)  # of sums in sums
LEAST_FOR_CONSTANTS, MOST_CONSTANTS = 4, 24


class ForwardSearch:
    """Searches what explains the losses of some runs."""

    def __init__(self, losses: LossComparison) -> None:
        self.losses = losses
        self._mutations: Dict[str, List[Mutation]] = {}

    def levels(self) -> Iterator[Iterator[Forward]]:
        """Yields searches for what explains all losses, the quickest first."""
        tasks = sorted(self.losses.tasks, key=lambda t: len(self.losses.case(t).loss_nodes(t)))
        yield self.explained(tasks, ONE)
        yield self.explained(tasks, FACTOR)
        yield self._with_bias(tasks)
        yield self.explained(tasks, FITTED)
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
        taken = {name: nodes[name].data_inputs[0] for name in self.places(task).activations}
        return [name for name, x in taken.items() if nodes[node_and_output(x)[0]].op in PRODUCTS]

    def _solved(self, forward: Forward, task: str, depth: int) -> Iterator[Forward]:
        """Yields how a task is explained, given what explains those before it."""
        samples = self.losses.samples(task)
        if not samples or self.losses.fits(forward, task, samples):
            yield forward
            return
        rounded = rounding_of(samples)
        if rounded:
            name, samples = rounded
            forward = self._reporting(forward, "loss rounded", task, name)
            if self.losses.fits(forward, task, samples):
                yield forward
                return
        yield from self._scaled(forward, task, samples)
        variants = list(self._variants(task, samples))
        for kind, value, changed in variants:
            report = self._reporting(forward, kind, task, value)
            if self.losses.fits(report, task, changed):
                yield report
        mutations = self.mutations(task)
        singles = [(mutation,) for mutation in mutations]
        yield from self._with_mutations(forward, task, samples, singles, depth >= FACTOR)
        yield from self._with_part(forward, task, samples)
        if depth == FACTOR:
            yield from self._with_constant(forward, task, samples)
        if depth >= FITTED:
            singles = [(mutation,) for mutation in node_mutations(self.losses.case(task), task)]
            yield from self._with_mutations(forward, task, samples, singles, False)
            yield from self._fitted(forward, task, samples)
        for kind, value, changed in variants if depth >= FACTOR else ():
            report = self._reporting(forward, kind, task, value)
            yield from self._scaled(report, task, changed)
        if depth >= PAIRS:
            for kind, value, changed in variants[:1]:
                report = self._reporting(forward, kind, task, value)
                yield from self._with_mutations(report, task, changed, singles, True)
            pairs = [pair for pair in itertools.combinations(mutations, 2) if _compatible(*pair)]
            yield from self._with_mutations(forward, task, samples, pairs, True)

    def _with_part(
        self, forward: Forward, task: str, samples: Sequence[Sample]
    ) -> Iterator[Forward]:
        """Yields that one addend of the loss is returned, where that explains the samples."""
        for name in self._addends(self.losses.loss_node(forward, task), task):
            values = (self.losses.value(forward, name, sample) for sample in samples)
            if all(abs(v - s.observed) <= s.tolerance for v, s in zip(values, samples)):
                yield self._reporting(forward, "loss of another task", task, name)

    def _with_constant(
        self, forward: Forward, task: str, samples: Sequence[Sample]
    ) -> Iterator[Forward]:
        """Yields models in which one constant has another value, where that explains the samples.

        A margin, a discount, a smoothing, a weight of a loss, a small number in a logarithm.
        """
        if len(samples) < LEAST_FOR_CONSTANTS:
            return
        constants = self._constants(task)[:MOST_CONSTANTS]
        yield from self._by_secant(
            forward,
            task,
            samples,
            [(functools.partial(constant_mutation, group), start) for group, start in constants],
        )

    def _by_secant(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        families: Iterable[Tuple[Callable[[float], Mutation], float]],
    ) -> Iterator[Forward]:
        """Yields models with a number for which one loss comes out right, where others do too.

        Args:
          forward: What is known to be otherwise.
          task: Whose losses are explained.
          samples: Of these losses.
          families: Mutations with a number, and the number that stands in the graph.
        """
        sample = self._telling(forward, task, samples)
        for family, start in families:

            def edited(value: float, family: Callable[[float], Mutation] = family) -> Forward:
                return forward.extended(family(value))

            def off(value: float, edited: Callable[[float], Forward] = edited) -> float:
                return self.losses.predicted(edited(value), task, [sample])[0] - sample.observed

            root = secant(off, start, sample.tolerance)
            for value in () if root is None else shortened(root, 1e-3 * abs(start)):
                found = edited(value)
                if self.losses.fits(found, task, samples):
                    yield found
                    break

    def _constants(self, task: str) -> List[Tuple[Tuple[str, ...], float]]:
        """Returns the constants of a task with their values: each alone, then equal ones."""
        nodes = self.losses.case(task).graph.nodes
        equal: Dict[float, List[str]] = {}
        for name in self.places(task).constants:
            equal.setdefault(float(nodes[name].attributes["value"].ravel()[0]), []).append(name)
        alone = [((name,), value) for value, names in equal.items() for name in names]
        groups = [(tuple(names), value) for value, names in equal.items() if len(names) > 1]
        return alone + groups

    def _telling(self, forward: Forward, task: str, samples: Sequence[Sample]) -> Sample:
        """Returns the sample among the first that is furthest from what a model gives."""
        right = self.losses.predicted(forward, task, samples[:8])
        pairs = zip(samples, right)
        return max(pairs, key=lambda pair: abs(pair[0].observed - pair[1]) / pair[0].tolerance)[0]

    def _addends(self, total: str, task: str) -> List[str]:
        """Returns the operations that a sum of losses adds; none where it is no such sum."""
        case = self.losses.case(task)
        node = case.graph.nodes[total]
        if node.op not in ("Add", "AddV2", "AddN") or len(set(node.data_inputs)) < 2:
            return []
        addends = [node_and_output(x)[0] for x in node.data_inputs]
        return [] if any(is_constant(case.graph, addend) for addend in addends) else addends

    def _reporting(self, forward: Forward, kind: str, task: str, value: Any) -> Forward:
        return forward._replace(reports=(*forward.reports, Edit(kind, (task,), value)))

    def _with_mutations(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        candidates: Sequence[Tuple[Mutation, ...]],
        factors: bool,
    ) -> Iterator[Forward]:
        """Yields the candidates that explain the samples, with a factor if that is allowed."""
        few, with_factor = self._few(samples), []
        for mutations in candidates:
            extended = forward.extended(*mutations)
            if self.losses.fits_but_for_a_factor(extended, task, few):
                if self.losses.fits(extended, task, samples):
                    yield extended
                elif factors:
                    with_factor.append(extended)
        for extended in with_factor:
            yield from self._scaled(extended, task, samples)

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

    def _scaled(self, forward: Forward, task: str, samples: Sequence[Sample]) -> Iterator[Forward]:
        """Yields the model with a factor of the loss, where one explains the samples."""
        predicted = self.losses.predicted(forward, task, samples)
        observed = np.array([s.observed for s in samples])
        with np.errstate(all="ignore"):
            scale = min(1.0, float(np.nanmedian(np.abs(observed / predicted))))
        samples = [
            s._replace(tolerance=s.tolerance + forward.slack).tightened(scale) for s in samples
        ]
        loss = self.losses.loss_node(forward, task)
        yield from self._weighted(forward, task, samples)
        for kind, value in self._factors(forward, task, samples, predicted):
            scaled = forward.extended(scale_mutation(kind, loss, value))
            if self.losses.fits(scaled, task, samples):
                yield scaled

    def _factors(
        self, forward: Forward, task: str, samples: Sequence[Sample], predicted: np.ndarray
    ) -> Iterator[Tuple[str, float]]:
        """Yields factors that the ratios of losses suggest."""
        ratios, errors = ratios_of(predicted, samples)
        loss = self.losses.loss_node(forward, task)
        for kind, divisor in DIVISORS.items():
            sizes = np.ones(len(samples))
            if kind != "loss scaled":
                if self.losses.case(task).graph.nodes[loss].op != "L2Loss":
                    return
                sizes = np.array([divisor(self.losses.shape(loss, s)) for s in samples])
            constant = common_ratio(ratios * sizes, errors * sizes)
            if constant is not None and abs(constant) > 1e-12:
                # The bound is one of the loss of TensorFlow, which the factor multiplies.
                sharp = np.array([s.sharp for s in samples]) / np.maximum(abs(predicted), 1e-300)
                value = nice(constant, sharp * abs(constant) / 8)
                if (kind, value) != ("loss scaled", 1.0):
                    yield kind, value

    def _weighted(self, forward: Forward, task: str, samples: Sequence[Sample]) -> List[Forward]:
        """Returns the model with weights of the addends of a loss that explain it."""
        graph, total = self.losses.case(task).graph, self.losses.loss_node(forward, task)
        divisions = [tuple(addends_of(graph, total, depth)) for depth in DEPTHS]
        found = (
            self._with_weights(forward, task, samples, addends)
            for addends in dict.fromkeys(divisions)
        )
        return next((weighted for weighted in found if weighted), [])

    def _with_weights(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        addends: Sequence[Tuple[str, str]],
    ) -> List[Forward]:
        """Returns the model with weights of these addends that explain the samples."""
        if not addends or len(samples) <= len(addends):
            return []
        few = samples[: len(addends) + 6]
        right = self.losses.predicted(forward, task, few)
        without = [
            self.losses.predicted(forward.extended(addend_mutation(*addend, 0.0)), task, few)
            for addend in addends
        ]
        tolerance = np.maximum([s.tolerance for s in few], 1e-300)
        parts = np.transpose([right - found for found in without]) / tolerance[:, None]
        rest = ([s.observed for s in few] - right) / tolerance
        if not (np.isfinite(parts).all() and np.isfinite(rest).all()):
            return []
        weights = 1 + np.linalg.lstsq(parts, rest, rcond=None)[0]
        errors = np.maximum(1e-4, 3 / np.maximum(np.linalg.norm(parts, axis=0), 1e-300))
        values = [
            nice(float(w), np.array([1e-4])) if abs(w) > error else 0.0
            for w, error in zip(weights, errors)
        ]
        if 0 in values and self._are_losses([addend for _, addend in addends]):
            return []  # the task may train on the loss of another one
        mutations = [
            scale_mutation("loss scaled", addend, value)
            if len(set(values)) == 1
            else addend_mutation(parent, addend, value)
            for (parent, addend), value in zip(addends, values)
            if value != 1
        ]
        weighted = forward.extended(*mutations)
        return [weighted] if mutations and self.losses.fits(weighted, task, samples) else []

    def _are_losses(self, names: Sequence[str]) -> bool:
        """Returns whether some of these operations give the loss of a task."""
        losses = (self.losses.case(task).tasks[task].loss for task in self.losses.tasks)
        return any(node_and_output(loss)[0] in names for loss in losses)

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

    def _fitted(self, forward: Forward, task: str, samples: Sequence[Sample]) -> Iterator[Forward]:
        """Yields models with a number that no list names, fitted to the losses."""
        for family, high in self._families(task):
            extended = self._fit(forward, task, samples, family, high)
            if extended and self.losses.fits(extended, task, samples):
                yield extended
        yield from self._penalized(forward, task, samples)
        if len(samples) >= LEAST_FOR_CONSTANTS:
            places = scalable(self.losses.case(task), task)
            families = [(functools.partial(scaled, place), 1.0) for place in places]
            yield from self._by_secant(forward, task, samples, families)

    def _families(self, task: str) -> Iterator[Tuple[Callable[[float], Mutation], float]]:
        """Yields edits with a number, and the largest size of the number."""
        places = self.places(task)
        for name in places.feeds:
            yield functools.partial(scaled_feed, (name,)), 1e3
            yield functools.partial(shifted_feed, (name,)), 1e3
        for group in groups_of(places.activations):
            yield functools.partial(leaky_mutation, group), 0.99

    def _penalized(self, forward: Forward, task: str, samples: Sequence[Sample]) -> List[Forward]:
        """Returns models with squares of weights in the loss, the closest first."""
        tolerance = np.maximum([s.tolerance for s in samples], 1e-300)
        rest = [s.observed for s in samples] - self.losses.predicted(forward, task, samples)
        if not np.isfinite(rest).all():
            return []
        trained, every = self.places(task).weights, tuple(self.losses.case(task).weights)
        groups = [(group, group, False) for group in groups_of(trained)]
        # Weights that this task does not train: in no loss of it, or in every loss.
        groups += [(every, trained, False), (every, every, True)]
        fitting = []
        for group, summed, resting in groups:
            squares = np.array([self._squares(summed, sample) for sample in samples])
            scaled = squares / tolerance
            factor = float((scaled * rest / tolerance).sum() / (scaled**2).sum())
            error = 3 / np.sqrt((scaled**2).sum())
            mutation = penalty_mutation(group, nice(factor, np.array([error])), resting)
            extended = forward.extended(mutation)
            if abs(factor) > error and self.losses.fits(extended, task, samples):
                off = np.abs(scaled * factor - rest / tolerance)
                fitting.append((float(off.max()), extended))
        return [extended for _, extended in sorted(fitting, key=lambda found: found[0])]

    def _squares(self, names: Sequence[str], sample: Sample) -> float:
        weights = self.losses.runs[sample.run].before[sample.at]
        return sum(float((weights[name].astype(np.float64) ** 2).sum()) for name in names) / 2

    def _fit(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        family: Callable[[float], Mutation],
        high: float,
    ) -> Optional[Forward]:
        """Returns the model with the number for which the first samples come out right."""
        sample = self._telling(forward, task, samples)

        def extended(value: float) -> Forward:
            return forward.extended(family(value))

        def off(value: float) -> float:
            return self.losses.predicted(extended(value), task, [sample])[0] - sample.observed

        for sign in (1, -1):
            for root in roots(off, sign * np.geomspace(1e-3, high, 25)):
                for value in shortened(root):
                    if value != 1.0 and self.losses.fits(extended(value), task, samples[:6]):
                        return extended(value)
        return None

    def places(self, task: str) -> Places:
        """Returns where the graph of a task can be edited."""
        return places_of(self.losses.case(task), task)

    def mutations(self, task: str) -> List[Mutation]:
        """Returns all known edits of what a task computes, the likeliest first."""
        if task not in self._mutations:
            self._mutations[task] = forward_mutations(self.losses.case(task), task)
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
    if a.edit.kind in rare or b.edit.kind in rare or len(a.edit.places) + len(b.edit.places) > 3:
        return False
    return not (a.is_hidden and b.is_hidden)
