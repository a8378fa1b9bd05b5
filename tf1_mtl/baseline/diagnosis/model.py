"""Models a port that makes given mistakes, up to its optimizers: what it computes from its weights.

A `Model` is a case with edits: of the graph, the feeds, the initial variables. A `ModelRun`
evaluates it step by step, from the weights that the real port showed. It gives losses, gradients
and hyper-parameters. `replay.py` then computes what an optimizer makes of them.
"""

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline.case import Case, CaseEvaluator
from tf1_mtl.baseline.error_bounds import UNIT, ErrorBounded, error_of, value_of
from tf1_mtl.baseline.evaluator import GRAPH_ERRORS, Evaluation
from tf1_mtl.baseline.operations.optimizers import SIGNATURES
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_graph import (
    ASSIGNMENTS,
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    variable_of,
)
from tf1_mtl.baseline.sparse_updates import as_one

Feeds = Mapping[str, np.ndarray]
#: Names of the hyper-parameters, in the order of the inputs.
HYPER = {
    "GradientDescent": ("rate",),
    "Momentum": ("rate", "momentum"),
    "KerasMomentum": ("rate", "momentum"),
    "Adagrad": ("rate",),
    "AdagradV2": ("rate", "epsilon"),
    "Adadelta": ("rate", "rho", "epsilon"),
    "RMSProp": ("rate", "rho", "momentum", "epsilon"),
    "CenteredRMSProp": ("rate", "rho", "momentum", "epsilon"),
    "AdaMax": ("beta1_power", "rate", "beta1", "beta2", "epsilon"),
    "Adam": ("beta1_power", "beta2_power", "rate", "beta1", "beta2", "epsilon"),
    "Ftrl": ("rate", "l1", "l2", "power"),
    "FtrlV2": ("rate", "l1", "l2", "l2_shrinkage", "power"),
}


class DoesNotFit(Exception):
    """Reports that an edit does not fit a case: another shape is fed, or a feed is missing."""


class Update(NamedTuple):
    """Describes an operation of a task that changes a weight."""

    node: Node
    cells: Tuple[str, ...]  #: the variables it takes first: the weight and its slots
    gradient: int  #: index among the data inputs

    @property
    def rule(self) -> str:
        """Returns the name of the rule: "Adam" for "ResourceApplyAdam"."""
        name = self.node.op
        for prefix in ("Resource", "Sparse", "Apply"):
            name = name[len(prefix) :] if name.startswith(prefix) else name
        return name

    @property
    def indices(self) -> Optional[int]:
        """Returns the index of the rows of a sparse gradient among the data inputs, or None."""
        if "Scatter" in self.node.op:
            return self.gradient - 1
        return self.gradient + 1 if "Sparse" in self.node.op else None

    @property
    def hyper(self) -> Dict[str, int]:
        """Returns the indices of the hyper-parameters among the data inputs, by name."""
        others = range(len(self.cells), len(self.node.data_inputs))
        indices = (i for i in others if i not in (self.gradient, self.indices))
        return dict(zip(HYPER.get(self.rule, ()), indices))


def updates_of(case: Case, task: str) -> Dict[str, Update]:
    """Returns the updates of a task by the weight that they change."""
    names = {variable: name for name, variable in case.weights.items()}
    found = {}
    for node in needed_nodes(case.graph.nodes, case.tasks[task].operations).values():
        node = as_one(case.graph.nodes, node)
        if node.op in SIGNATURES:
            cells, gradient = SIGNATURES[node.op]
        elif ASSIGNMENTS.fullmatch(node.op):
            cells, gradient = 1, len(node.data_inputs) - 1
        else:
            continue
        variables = [variable_of(case.graph.nodes, x) or "" for x in node.data_inputs[:cells]]
        if variables[0] in names:
            found[names[variables[0]]] = Update(node, tuple(variables), gradient)
    return found


class Model(NamedTuple):
    """Describes what a port does before its optimizers, on one case."""

    case: Case  #: with edits
    trains: Mapping[str, str] = {}  #: by task: the task whose losses it trains on instead
    returns: Mapping[str, str] = {}  #: by task: the task whose loss it returns instead
    is_stale: bool = False  #: whether a run is evaluated at the weights of the run before
    moved: Mapping[str, str] = {}  #: placeholders of weights after their update, with their names

    @property
    def graph(self) -> RecordedGraph:
        return self.case.graph

    def with_graph(self, graph: RecordedGraph) -> "Model":
        return self._replace(case=self.case._replace(graph=graph))

    def with_feeds(self, fed: Callable[[int, Feeds], Feeds]) -> "Model":
        """Returns a model with other feeds.

        Args:
          fed: From the index of a step and its feeds to those that take their place.
        """
        steps = [s._replace(feeds=fed(i, s.feeds)) for i, s in enumerate(self.case.steps)]
        return self._replace(case=self.case._replace(steps=tuple(steps)))

    def trained(self, task: str) -> str:
        """Returns the task whose losses a task trains on."""
        return self.trains.get(task, task)

    def returned(self, task: str) -> str:
        """Returns the task whose loss a task returns."""
        return self.returns.get(task, self.trained(task))

    def source(self, index: int) -> int:
        """Returns the run whose weights a run is evaluated at."""
        return max(index - 1, 0) if self.is_stale else index


class ModelStep(NamedTuple):
    """Holds what one step of a model gives."""

    loss: Any  #: None where the task has none
    updates: Mapping[str, Update]  #: by weight
    inputs: Mapping[str, Tuple[Any, ...]]  #: by weight: the data inputs of its update; None: cell
    after: Mapping[str, Any]  #: the weights that the graph changes

    def hyper(self, weight: str) -> Dict[str, Any]:
        """Returns the hyper-parameters of a weight, or of another one if it is not trained."""
        for name in (weight, *self.inputs):
            if name in self.inputs:
                return {x: self.inputs[name][i] for x, i in self.updates[name].hyper.items()}
        return {}


class ModelRun:
    """Evaluates the steps of a model, each from the weights that the port showed."""

    def __init__(self, model: Model, run: PortRun, bounds: bool = False) -> None:
        self.model, self.port_run, self.bounds = model, run, bounds
        self._evaluator = CaseEvaluator(model.case, bounds)
        # The search for mistakes in the article, which has few layers, does without.
        self._evaluator.sharpens = not model.case.is_article
        self._own: Dict[str, Dict[str, Update]] = {}
        self._steps: List[ModelStep] = []

    def task(self, index: int) -> str:
        return self.port_run.case.steps[index].task

    def weight(self, index: int, name: str) -> Any:
        """Returns a weight before a step, with its error."""
        return self._evaluator.weight(name, self.port_run.before[index][name])

    def updates(self, task: str) -> Dict[str, Update]:
        """Returns the updates that a task makes: those of the task that it trains instead."""
        return self.updates_as(self.model.trained(task))

    def updates_as(self, task: str) -> Dict[str, Update]:
        """Returns the updates of a task itself."""
        if task not in self._own:
            self._own[task] = updates_of(self.model.case, task)
        return self._own[task]

    def step(self, index: int) -> ModelStep:
        """Returns a step; those before it are evaluated too."""
        while len(self._steps) <= index:
            now = len(self._steps)
            self._evaluator.begin(now)
            weights = self.port_run.before[self.model.source(now)]
            trained, loss = (
                self.model.trained(self.task(now)),
                self.model.case.tasks[self.model.returned(self.task(now))].loss,
            )
            step, changed = self._evaluated(now, weights, trained, loss)
            self._steps.append(step)
            self._evaluator.state.update(changed)
        return self._steps[index]

    def at(self, index: int, weights: Mapping[str, np.ndarray], task: str) -> ModelStep:
        """Returns a step of any task from other weights."""
        self.step(index)
        return self._evaluated(index, weights, task, self.model.case.tasks[task].loss)[0]

    def _evaluated(
        self, index: int, weights: Mapping[str, np.ndarray], task: str, loss: str
    ) -> Tuple[ModelStep, Mapping[str, Any]]:
        """Returns what a step gives, and the variables that it changes."""
        updates, fetches = self.updates_as(task), {*self.model.case.tasks[task].operations}
        fetches.update(
            [loss] if loss else [],
            *(update.node.data_inputs[len(update.cells) :] for update in updates.values()),
        )
        evaluation = self._run(index, sorted(fetches), weights)
        # A ref variable shows its value after the run; the update took the one before.
        values = {**evaluation.values, **self._before(updates)}
        inputs = {
            name: tuple(
                None if i < len(update.cells) else values[canonical(x)]
                for i, x in enumerate(update.node.data_inputs)
            )
            for name, update in updates.items()
            if values.keys() >= set(map(canonical, update.node.data_inputs[len(update.cells) :]))
        }  # without updates in a branch that is not taken
        changed = evaluation.variables
        after = {n: changed[v] for n, v in self.model.case.weights.items() if v in changed}
        return ModelStep(values.get(loss), updates, inputs, after), changed

    def _run(
        self, index: int, fetches: Sequence[str], weights: Mapping[str, np.ndarray]
    ) -> Evaluation:
        try:
            return self._evaluator.evaluate(fetches, self._feeds(index), weights)
        # Another task needs what this one is not fed, or an edit does not fit. What is raised
        # without an edit has been raised before, when the port was judged.
        except GRAPH_ERRORS as error:
            raise DoesNotFit from error

    def _feeds(self, index: int) -> Dict[str, Any]:
        """Returns what is fed; a feed that the model changes has the error of a float32."""
        given = self.port_run.case.steps[index].feeds
        feeds: Dict[str, Any] = dict(self.model.case.steps[index].feeds)
        for name, value in given.items():
            if np.shape(feeds[name]) != np.shape(value):
                raise DoesNotFit
            is_float = np.asarray(value).dtype.kind == "f"
            if self.bounds and is_float and not np.array_equal(feeds[name], value):
                feeds[name] = ErrorBounded(feeds[name], 2 * UNIT * np.abs(feeds[name]))
        feeds.update({x: self.port_run.after[index][name] for x, name in self.model.moved.items()})
        return feeds

    def _before(self, updates: Mapping[str, Update]) -> Dict[str, Any]:
        """Returns the values of the variables that the updates take as hyper-parameters."""
        found = {}
        for update in updates.values():
            for tensor in update.node.data_inputs[len(update.cells) :]:
                variable = variable_of(self.model.graph.nodes, tensor)
                if variable is not None:
                    value = self._evaluator.state[variable]
                    found[canonical(tensor)] = value if self.bounds else value_of(value)
        return found


class StepTolerance(NamedTuple):
    """Holds the error bounds of one step."""

    loss: float
    weights: Dict[str, np.ndarray]  #: after the step, by name in the port
    #: Of the step itself, without the rounding of the weight, in parts of its length.
    relative: Dict[str, np.ndarray]


Tolerances = List[StepTolerance]  #: by step


def tolerances_of(bounded: ModelRun, check_time: Callable[[], None] = lambda: None) -> Tolerances:
    """Returns the error bounds of all steps.

    Args:
      bounded: Is evaluated with bounds.
      check_time: Is called before each step.
    """
    steps = []
    for index in range(len(bounded.port_run.losses)):
        check_time()
        steps.append(bounded.step(index))
    return [
        StepTolerance(
            0.0 if step.loss is None else float(np.max(error_of(step.loss))),
            {name: error_of(weight) for name, weight in step.after.items()},
            {name: _relative(weight, before[name]) for name, weight in step.after.items()},
        )
        for step, before in zip(steps, bounded.port_run.before)
    ]


def _relative(after: Any, before: np.ndarray) -> np.ndarray:
    """Returns the error of a step in parts of its length; infinite where nothing is known."""
    error = np.maximum(error_of(after) - 2 * UNIT * np.abs(before), 0.0)
    length = np.abs(value_of(after) - before)
    known = np.where(error > 0, np.inf, np.zeros(np.shape(length)))
    return np.divide(error, length, out=known, where=length > 0)
