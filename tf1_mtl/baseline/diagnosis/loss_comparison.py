"""Compares the losses that a port returned with those of models."""

import itertools
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis import catalogue
from tf1_mtl.baseline.diagnosis.forward_run import ForwardRun
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, Model, ModelRun, Tolerances
from tf1_mtl.baseline.diagnosis.mutation import NOTHING, Forward, Mutation, in_order
from tf1_mtl.baseline.diagnosis.places import Places, places_of
from tf1_mtl.baseline.error_bounds import UNIT, error_of, value_of
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_graph import node_and_output

EQUAL_FORMULA_ULPS = 2
MODELS = 500  #: that are kept
SAMPLES = 24  #: losses of a task that are compared
LEAST = 1e-12  #: a loss that is smaller is rounding


class Sample(NamedTuple):
    """Describes one observed loss."""

    run: int
    at: int
    observed: float
    tolerance: float  #: which leaves room for the rounding of an edited model
    sharp: float  #: error bound of a right port
    at_after: bool = False  #: whether it is the loss of the weights after the step

    def loosened(self, room: float) -> "Sample":
        """Returns the sample with more room for another rounding."""
        return self._replace(tolerance=self.tolerance + room, sharp=self.sharp + room)

    def tightened(self, scale: float) -> "Sample":
        """Returns the sample with the bounds of a loss that is smaller by a factor."""
        size = abs(self.observed)
        return self._replace(
            tolerance=max(scale * self.tolerance, 1e-5 * size),
            sharp=max(scale * self.sharp, EQUAL_FORMULA_ULPS * 2 * UNIT * size),
        )


class LossComparison:
    """Compares the losses of models with those that a port returned."""

    def __init__(
        self,
        runs: Sequence[PortRun],
        tolerances: Sequence[Tolerances],
        check_time: Callable[[], None],
    ) -> None:
        """Takes what the port did.

        Args:
          runs: What the port did.
          tolerances: The error bounds of each run.
          check_time: Raises an exception when the time is up.
        """
        self.runs, self.tolerances, self.check_time = runs, tolerances, check_time
        self.tasks: Dict[str, int] = {}  #: those with a loss, with the first run that has steps
        for number, run in enumerate(runs):
            for step in run.case.steps[: run.steps]:
                if run.case.tasks[step.task].loss:
                    self.tasks.setdefault(step.task, number)
        self._forward = [ForwardRun(run) for run in runs]
        self._models: Dict[Any, Model] = {}
        self._values: Dict[Any, float] = {}

    def first_steps(self) -> "LossComparison":
        """Returns the comparison of the first step of each run."""
        firsts = [run.first(1) for run in self.runs]
        return LossComparison(firsts, self.tolerances, self.check_time)

    def case(self, task: str) -> Case:
        """Returns the first case with steps of a task."""
        return self.runs[self.tasks[task]].case

    def places(self, task: str) -> Places:
        """Returns where the graph of a task can be edited."""
        return places_of(self.case(task), task)

    def loss_node(self, forward: Forward, task: str) -> str:
        """Returns the operation of the recorded graph that gives the loss of a task."""
        model = self._model(forward.mutations, self.tasks[task])
        return node_and_output(self.case(task).tasks[model.returned(task)].loss)[0]

    def samples(self, task: str) -> List[Sample]:
        """Returns the observed losses of a task, of all runs in turn."""
        by_run = [
            [
                self._sample(number, i)
                for i in range(run.steps)
                if run.case.steps[i].task == task and np.isfinite(run.losses[i])
            ]
            for number, run in enumerate(self.runs)
        ]
        turns = itertools.zip_longest(*by_run)
        return [sample for turn in turns for sample in turn if sample][:SAMPLES]

    def _sample(self, run: int, index: int) -> Sample:
        observed, bound = self.runs[run].losses[index], self.tolerances[run][index].loss
        sharp = max(bound, EQUAL_FORMULA_ULPS * 2 * UNIT * abs(observed))
        tolerance = 3 * bound + 1e-5 * abs(observed) + LEAST
        return Sample(run, index, observed, tolerance, sharp)

    def is_right(self, task: str) -> bool:
        """Returns whether the losses of a task are those of TensorFlow."""
        return self.fits(NOTHING, task, self.samples(task))

    def ratios(self, task: str) -> np.ndarray:
        """Returns the losses of a task over those of TensorFlow."""
        samples = self.samples(task)
        found, _ = ratios_of(self.predicted(NOTHING, task, samples), samples)
        return found[~np.isnan(found)]

    def fits(self, forward: Forward, task: str, samples: Sequence[Sample]) -> bool:
        """Returns whether a model explains all samples."""
        return bool(samples) and all(
            abs(s.observed - predicted)
            <= forward.slack + error + (s.sharp if predicted == right else s.tolerance)
            for s, (predicted, error), right in zip(
                samples,
                self._predictions(forward, task, samples),
                (loss for loss, _ in self._predictions(NOTHING, task, samples)),
            )
        )

    def fits_but_for_a_factor(self, forward: Forward, task: str, samples: Sequence[Sample]) -> bool:
        """Returns whether a model may explain samples of one run, if its loss is multiplied."""
        loose = [s.loosened(forward.slack) for s in samples]
        # Two samples refute most models.
        return all(may_fit(self.predicted(forward, task, p), p) for p in (loose[:2], loose))

    def predicted(self, forward: Forward, task: str, samples: Sequence[Sample]) -> np.ndarray:
        """Returns the losses of a model for the samples; NaN where it cannot be evaluated."""
        return np.array([loss for loss, _ in self._predictions(forward, task, samples)])

    def _predictions(
        self, forward: Forward, task: str, samples: Sequence[Sample]
    ) -> Iterator[Tuple[float, float]]:
        """Yields the loss of a model for each sample, and the error of what it trains unseen."""
        self.check_time()
        is_hidden = any(mutation.is_hidden for mutation in forward.mutations)
        bounded: Dict[int, ModelRun] = {}
        for sample in samples:
            if not is_hidden:
                yield self._predicted_value(forward, task, sample), 0.0
                continue
            try:
                if sample.run not in bounded:
                    run = self.runs[sample.run]
                    bounded[sample.run] = ModelRun(forward.model(run.case), run, bounds=True)
                loss = bounded[sample.run].step(sample.at).loss
                yield float(value_of(loss)), 3 * float(np.max(error_of(loss)))
            except DoesNotFit:
                yield np.nan, 0.0

    def _predicted_value(self, forward: Forward, task: str, sample: Sample) -> float:
        """Returns the loss that a task returns; NaN where an edit does not fit."""
        try:
            model = self._model(forward.mutations, sample.run)
        except DoesNotFit:
            return np.nan
        return self.value(forward, model.case.tasks[model.returned(task)].loss, sample)

    def value(self, forward: Forward, tensor: str, sample: Sample) -> float:
        """Returns a number in the step of a sample; NaN where it cannot be evaluated."""
        key = forward.mutations, tensor, sample.run, sample.at, sample.at_after
        if key not in self._values:
            try:
                value = np.asarray(self._tensor(forward, tensor, sample))
                # With an edit a loss may have more elements than one.
                self._values[key] = float(value.reshape(())) if value.size == 1 else np.nan
            except DoesNotFit:
                self._values[key] = np.nan
        return self._values[key]

    def numbers_of(self, task: str) -> List[str]:
        """Returns the operations on the way to a loss that give one number, the nearest first."""
        loss = self.case(task).tasks[task].loss
        shapes, nodes = self.shapes(task), self.case(task).graph.nodes
        names = [x for x, shape in shapes.items() if shape == () and nodes[x].op != "Const"]
        return [name for name in names[::-1] if name != node_and_output(loss)[0]]

    def shapes(self, task: str) -> Dict[str, Tuple[int, ...]]:
        """Returns the shapes of what operations give in the first sample, as far as it is kept."""
        sample = self.samples(task)[0]
        return self._forward[sample.run].shapes_in(sample.at)

    def mean(self, tensor: str, sample: Sample) -> float:
        """Returns the mean of a tensor in the step of a sample."""
        return float(np.mean(self._tensor(NOTHING, tensor, sample)))

    def shape(self, loss: str, sample: Sample) -> Tuple[int, ...]:
        """Returns the shape of the input of a loss operation."""
        x = self.runs[sample.run].case.graph.nodes[loss].data_inputs[0]
        return np.shape(self._tensor(NOTHING, x, sample))

    def _tensor(self, forward: Forward, tensor: str, sample: Sample) -> np.ndarray:
        model = self._model(forward.mutations, sample.run)
        return self._forward[sample.run].value(model, tensor, sample.at, sample.at_after)

    def _model(self, mutations: Tuple[Mutation, ...], number: int) -> Model:
        """Returns the model of a run with some edits; what was made before is kept."""
        if not mutations:
            return self._forward[number].model
        mutations = in_order(mutations)
        if (mutations, number) not in self._models:
            if len(self._models) > MODELS:
                self._models.clear()
            model = mutations[-1].made_in(self._model(mutations[:-1], number))
            self._models[mutations, number] = model
        return self._models[mutations, number]


# What the ratios of losses say


def may_fit(predicted: np.ndarray, samples: Sequence[Sample]) -> bool:
    """Returns whether samples of one run are right but for a factor."""
    if not np.isfinite(predicted).all():
        return False
    ratios, errors = ratios_of(predicted, samples)
    says_nothing = len(samples) < 2 or bool(np.isnan(ratios).all())
    return says_nothing or common_ratio(ratios, errors) is not None


def ratios_of(predicted: np.ndarray, samples: Sequence[Sample]) -> Tuple[np.ndarray, np.ndarray]:
    """Returns observed / predicted with errors; NaN where the numbers say nothing."""
    observed = np.array([s.observed for s in samples])
    tolerance = np.array([s.tolerance for s in samples])
    with np.errstate(all="ignore"):
        ratios = observed / predicted
        errors = tolerance / np.abs(predicted) + 2e-6 * np.abs(ratios)
    nothing = (np.abs(predicted) <= tolerance) & (np.abs(observed) <= tolerance)
    return np.where(nothing, np.nan, ratios), errors


def common_ratio(ratios: np.ndarray, errors: np.ndarray) -> Optional[float]:
    """Returns the ratio that all have in common, or None."""
    known = ~np.isnan(ratios)
    if not known.any() or not np.isfinite(ratios[known]).all():
        return None
    weights = 1 / np.maximum(errors[known], 1e-300)
    best = float((ratios[known] * weights).sum() / weights.sum())
    return best if np.all(np.abs(ratios[known] - best) <= 2 * errors[known]) else None


def rounding_of(samples: Sequence[Sample]) -> Optional[Tuple[str, List[Sample]]]:
    """Returns to what all losses are rounded, and the samples with room for it."""
    observed = np.array([s.observed for s in samples])
    if len(samples) < 4:
        return None
    for digits in (0, 1, 2, 3):
        unit = 10.0**-digits
        if np.all(np.abs(observed - np.round(observed, digits)) <= 1e-7 * np.abs(observed)):
            small = np.abs(observed) < 2**23 * unit
            if small.sum() >= 3 and len(set(observed[small] % 1)) > (1 if digits else 0):
                name = f"{digits} decimals" if digits else "integers"
                room = unit if not digits else unit / 2 * 1.01
                return name, [s.loosened(room) for s in samples]
    for name in ("float16", "bfloat16"):
        with np.errstate(over="ignore"):
            rounded = catalogue.PRECISIONS[name](observed)
        finite = np.isfinite(rounded)
        if finite.sum() >= 3 and np.all(rounded[finite] == observed[finite]):
            unit, least = (2.0**-11, 2.0**-25) if name == "float16" else (2.0**-8, 0.0)
            return name, [s.loosened(1.01 * max(unit * abs(s.observed), least)) for s in samples]
    return None
