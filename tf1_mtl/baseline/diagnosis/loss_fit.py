"""Fits the numbers of models to losses: factors, weights of addends, constants, penalties.

A number that the losses suggest is tried in few digits first, and must explain all samples.
"""

import functools
import itertools
from typing import Callable, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.diagnosis.fitting import is_part, nice, roots, secant, shortened
from tf1_mtl.baseline.diagnosis.loss_comparison import (
    LossComparison,
    Sample,
    common_ratio,
    ratios_of,
)
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, updates_of
from tf1_mtl.baseline.diagnosis.model_edits import has_gradient
from tf1_mtl.baseline.diagnosis.mutation import Forward, Mutation
from tf1_mtl.baseline.diagnosis.mutations import (
    DIVISORS,
    addend_mutation,
    constant_mutation,
    leaky_mutation,
    penalty_mutation,
    scale_mutation,
    scaled_feed,
    shifted_feed,
)
from tf1_mtl.baseline.diagnosis.node_mutations import divided, divided_by, scalable, scaled
from tf1_mtl.baseline.diagnosis.places import addends_of, alike, groups_of, value_of_constant
from tf1_mtl.baseline.recorded_graph import node_and_output, variable_of

#: A constant is fitted to one loss, so others must bear it out.
LEAST_FOR_CONSTANTS, MOST_CONSTANTS = 4, 24
#: How many weights a penalty may sum in any combination, and how many weights are combined.
MOST_PENALIZED, MOST_WEIGHTS = 3, 16
DEPTHS = (1, 2, 3)  # of sums in sums


class LossFit:
    """Fits numbers to the losses of a task. Each method yields the models that explain samples."""

    def __init__(self, losses: LossComparison) -> None:
        self.losses = losses

    def factors(self, forward: Forward, task: str, samples: Sequence[Sample]) -> Iterator[Forward]:
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
            self.with_weights(forward, task, samples, addends)
            for addends in dict.fromkeys(divisions)
        )
        return next((weighted for weighted in found if weighted), [])

    def with_weights(
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
        tolerance = np.maximum([s.tolerance for s in few], 1e-300)
        parts = self.parts(forward, task, few, addends) / tolerance[:, None]
        right = self.losses.predicted(forward, task, few)
        rest = ([s.observed for s in few] - right) / tolerance
        if not (np.isfinite(parts).all() and np.isfinite(rest).all()):
            return []
        weights = 1 + np.linalg.lstsq(parts, rest, rcond=None)[0]
        errors = np.maximum(1e-4, 3 / np.maximum(np.linalg.norm(parts, axis=0), 1e-300))
        fitted = [_weight(float(w), float(error)) for w, error in zip(weights, errors)]
        values = [value for value in fitted if value is not None]
        if len(values) < len(fitted):
            return []  # numbers with more digits fit anything that changes slowly
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

    def parts(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        addends: Sequence[Tuple[str, str]],
    ) -> np.ndarray:
        """Returns what each addend adds to the loss, an array [samples, addends]."""
        right = self.losses.predicted(forward, task, samples)
        without = [forward.extended(addend_mutation(*addend, 0.0)) for addend in addends]
        found = [right - self.losses.predicted(each, task, samples) for each in without]
        return np.transpose(found)

    def _are_losses(self, names: Sequence[str]) -> bool:
        """Returns whether some of these operations give the loss of a task."""
        losses = (self.losses.case(task).tasks[task].loss for task in self.losses.tasks)
        return any(node_and_output(loss)[0] in names for loss in losses)

    def constants(
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
            is_constant=True,
        )

    def _constants(self, task: str) -> List[Tuple[Tuple[str, ...], float]]:
        """Returns constants with their values: equal ones, copies of a layer, each alone."""
        nodes = self.losses.case(task).graph.nodes
        equal: Dict[float, List[str]] = {}
        for name in self.losses.places(task).constants:
            equal.setdefault(value_of_constant(nodes[name]), []).append(name)
        groups = [(tuple(names), value) for value, names in equal.items()]
        # Copies of a layer have constants of their own, such as the bias of a forget gate.
        groups += [(x, value) for value, names in equal.items() for x in alike(names, copies=3)]
        return list(dict.fromkeys(groups))

    def _divisors(
        self, task: str, sample: Sample
    ) -> Iterator[Tuple[Callable[[float], Mutation], float]]:
        """Yields edits by which an operation divides by a number, and the mean of the divisors."""
        for place, tensor in divided(self.losses.case(task), task):
            try:
                mean = self.losses.mean(tensor, sample)
            except DoesNotFit:  # it is in a loop, or in a branch that is not taken
                continue
            yield functools.partial(divided_by, place, tensor), mean

    def numbers(self, forward: Forward, task: str, samples: Sequence[Sample]) -> Iterator[Forward]:
        """Yields models with a number that no list names, fitted to the losses."""
        if len(samples) >= LEAST_FOR_CONSTANTS:
            divisors = self._divisors(task, samples[0])
            yield from self._by_secant(forward, task, samples, divisors)
        for family, high in self._families(task):
            extended = self._fit(forward, task, samples, family, high)
            if extended and self.losses.fits(extended, task, samples):
                yield extended
        if len(samples) >= LEAST_FOR_CONSTANTS:
            places = alike(scalable(self.losses.case(task), task))
            families = [(functools.partial(scaled, group), 1.0) for group in places]
            yield from self._by_secant(forward, task, samples, families)

    def _families(self, task: str) -> Iterator[Tuple[Callable[[float], Mutation], float]]:
        """Yields edits with a number, and the largest size of the number."""
        places = self.losses.places(task)
        for name in places.feeds:
            yield functools.partial(scaled_feed, (name,)), 1e3
            yield functools.partial(shifted_feed, (name,)), 1e3
        nodes = self.losses.case(task).graph.nodes
        slopes = [x for x in places.activations if nodes[x].op in ("Relu", "LeakyRelu")]
        for group in groups_of(slopes):
            yield functools.partial(leaky_mutation, group), 0.99

    def penalized(self, forward: Forward, task: str, samples: Sequence[Sample]) -> List[Forward]:
        """Returns models with squares of weights in the loss, the closest first."""
        tolerance = np.maximum([s.tolerance for s in samples], 1e-300)
        rest = [s.observed for s in samples] - self.losses.predicted(forward, task, samples)
        if not np.isfinite(rest).all():
            return []
        every = tuple(self.losses.case(task).weights)
        squares = {
            name: np.array([self.squares(name, s) for s in samples]) / tolerance for name in every
        }
        room = 1 + forward.slack / tolerance
        fitting = []
        for group, summed, resting in self.penalties(task):
            scaled = np.sum([squares[name] for name in summed], axis=0)
            factor = float((scaled * rest / tolerance).sum() / (scaled**2).sum())
            error = 3 / np.sqrt((scaled**2).sum())
            value = nice(factor, np.array([error]))
            off = np.abs(scaled * value - rest / tolerance)
            if abs(factor) > error and np.all(off <= room):
                extended = forward.extended(penalty_mutation(group, value, resting))
                fitting.append((float(off.max()), extended))
        return [extended for _, extended in sorted(fitting, key=lambda found: found[0])]

    def penalties(self, task: str) -> Iterator[Tuple[Tuple[str, ...], Tuple[str, ...], bool]]:
        """Yields the weights of penalties, those that are summed, and whether in every loss."""
        case, trained = self.losses.case(task), self._trained(task)
        vectors = [n for n in trained if np.ndim(case.initial[case.weights[n]]) < 2]
        matrices = [n for n in trained if n not in vectors]
        groups = [trained, tuple(vectors), tuple(matrices), self._without_squares(task)]
        for size in range(1, MOST_PENALIZED + 1):
            groups += itertools.combinations(trained[:MOST_WEIGHTS], size)
        yield from ((group, group, False) for group in dict.fromkeys(groups) if group)
        # Weights that this task does not train: in no loss of it, or in every loss.
        every = tuple(case.weights)
        if trained:
            yield from ((every, trained, False), (every, every, True))

    def _without_squares(self, task: str) -> Tuple[str, ...]:
        """Returns the weights of which the loss contains no squares."""
        case = self.losses.case(task)
        nodes = case.loss_nodes(task)
        sums = [node for node in nodes.values() if node.op == "L2Loss"]
        squared = {variable_of(nodes, node.data_inputs[0]) for node in sums}
        return tuple(name for name in self._trained(task) if case.weights[name] not in squared)

    def _trained(self, task: str) -> Tuple[str, ...]:
        """Returns the weights of a loss that have a gradient, unlike a moving average."""
        case = self.losses.case(task)
        updates = updates_of(case, task)
        return tuple(
            name
            for name in self.losses.places(task).weights
            if name in updates and has_gradient(case.graph, updates[name])
        )

    def squares(self, name: str, sample: Sample) -> float:
        """Returns half the sum of the squares of a weight."""
        weight = self.losses.runs[sample.run].before[sample.at][name]
        return float((weight.astype(np.float64) ** 2).sum()) / 2

    def _by_secant(
        self,
        forward: Forward,
        task: str,
        samples: Sequence[Sample],
        families: Iterable[Tuple[Callable[[float], Mutation], float]],
        is_constant: bool = False,
    ) -> Iterator[Forward]:
        """Yields models with a number for which one loss comes out right, where others do too.

        Args:
          forward: What is known to be otherwise.
          task: Whose losses are explained.
          samples: Of these losses.
          families: Mutations with a number, and the number that stands in the graph.
          is_constant: Whether the number may be a small one as well.
        """
        sample = self._telling(forward, task, samples)
        for family, start in families:

            def edited(value: float, family: Callable[[float], Mutation] = family) -> Forward:
                return forward.extended(family(value))

            def off(value: float, edited: Callable[[float], Forward] = edited) -> float:
                return self.losses.predicted(edited(value), task, [sample])[0] - sample.observed

            # A loss may come out right at several numbers.
            for other in (start * 1.1 or 0.01, *([0.0] if start and is_constant else [])):
                root = secant(off, start, other, sample.tolerance)
                tried = () if root is None else shortened(root, 1e-3 * abs(start))
                fitting = (x for x in map(edited, tried) if self.losses.fits(x, task, samples))
                found = next(fitting, None)
                if found:
                    yield found
                    break

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

    def _telling(self, forward: Forward, task: str, samples: Sequence[Sample]) -> Sample:
        """Returns the sample among the first that is furthest from what a model gives."""
        right = self.losses.predicted(forward, task, samples[:8])
        pairs = zip(samples, right)
        return max(pairs, key=lambda pair: abs(pair[0].observed - pair[1]) / pair[0].tolerance)[0]


def _weight(fitted: float, error: float) -> Optional[float]:
    """Returns the number of up to three digits, or 1 / n, that a fitted weight is; else None.

    It is 1 or 0 where it is within its error of these.
    """
    for usual in (1.0, 0.0):
        if abs(fitted - usual) <= error:
            return usual
    value, whole = nice(fitted, np.array([1e-4])), round(1 / fitted)
    found = [value] if value == float(f"{value:.3g}") else []
    found += [1 / whole] if is_part(fitted, whole, 1e-4 / abs(fitted)) else []
    return min(found, key=lambda x: abs(x - fitted), default=None)
