"""Simulates a port that makes given mistakes, from the weights that the real port showed.

A `Model` holds what a port does before its optimizers: the edited graph and the edited feeds. A
`Trace` evaluates it step by step: losses, gradients and hyper-parameters. A `Program` holds what
the optimizers do. `replay` runs it on the gradients of a trace, one variable at a time, since a
diagnosis asks which of many programs explains a variable.
"""

import functools
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.error_bounds import UNIT, ErrorBounded, decimal, error_of, value_of
from tf1_mtl.baseline.evaluator import Plan
from tf1_mtl.baseline.operations import OPERATIONS, Variable
from tf1_mtl.baseline.operations.optimizers import SIGNATURES
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_graph import (
    ASSIGNMENTS,
    Node,
    RecordedGraph,
    needed_nodes,
    variable_of,
)
from tf1_mtl.errors import InputError

Feeds = Dict[str, np.ndarray]
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
    "Adam": ("beta1_power", "beta2_power", "rate", "beta1", "beta2", "epsilon"),
    "Ftrl": ("rate", "l1", "l2", "power"),
}


def rule_of(node: Node) -> str:
    """Return the name of the rule of an update operation: "Adam" for "ResourceApplyAdam"."""
    name = node.op
    for prefix in ("Resource", "Sparse", "Apply"):
        name = name[len(prefix) :] if name.startswith(prefix) else name
    return name


class DoesNotFit(Exception):
    """An edit does not fit a case: another shape would be fed, or a feed is missing."""


class Update(NamedTuple):
    """An operation of a task that changes a weight."""

    node: Node
    cells: Tuple[str, ...]  #: the variables it takes first: the weight and its slots
    gradient: int  #: index among the data inputs

    @property
    def is_sparse(self) -> bool:
        return "Sparse" in self.node.op or "Scatter" in self.node.op

    @property
    def hyper(self) -> List[int]:
        """Return the indices of the hyper-parameters among the data inputs."""
        indices = self.gradient + 1 if self.is_sparse else self.gradient
        others = range(len(self.cells), len(self.node.data_inputs))
        return [i for i in others if i not in (self.gradient, indices)]


def updates_of(case: Case, graph: RecordedGraph, task: str) -> Dict[str, Update]:
    """Return the updates of a task by the weight that they change."""
    names = {variable: name for name, variable in case.weights.items()}
    found = {}
    for node in needed_nodes(graph.nodes, case.tasks[task].operations).values():
        if node.op in SIGNATURES:
            cells, gradient = SIGNATURES[node.op]
        elif ASSIGNMENTS.fullmatch(node.op):
            cells, gradient = 1, len(node.data_inputs) - 1
        else:
            continue
        variables = [variable_of(graph.nodes, x) or "" for x in node.data_inputs[:cells]]
        if variables[0] in names:
            found[names[variables[0]]] = Update(node, tuple(variables), gradient)
    return found


class Model(NamedTuple):
    """What a port does before its optimizers, on one case."""

    case: Case
    graph: RecordedGraph
    hidden: Mapping[str, np.ndarray] = {}  #: initial values of variables that the port adds
    feed: Optional[Callable[[Case, int], Feeds]] = None  #: what it trains on in a step
    trains: Mapping[str, str] = {}  #: by task: the task whose losses it trains on instead
    returns: Mapping[str, str] = {}  #: by task: the task whose loss it returns instead
    is_stale: bool = False  #: whether a run is evaluated at the weights of the run before
    moved: Mapping[str, str] = {}  #: placeholders of weights after their update, with their names

    def source(self, index: int) -> int:
        """Return the run whose weights a run is evaluated at."""
        return max(index - 1, 0) if self.is_stale else index

    def feeds(self, index: int) -> Feeds:
        """Return what is fed, with zeros for what the port was given as zeros."""
        given = self.case.steps[index].feeds
        feeds = dict(self.feed(self.case, index) if self.feed else given)
        if any(np.shape(feeds[name]) != np.shape(value) for name, value in given.items()):
            raise DoesNotFit
        if self.case.is_article:
            for label in ("Y1", "Y2"):
                columns = self.case.initial[self.case.weights["share_" + label]].shape[1]
                rows = len(feeds[self.case.feeds["X"]])
                feeds.setdefault(self.case.feeds[label], np.zeros((rows, columns), np.float32))
        return feeds


def model_of(case: Case) -> Model:
    """Return the model of a right port."""
    return Model(case, case.graph)


class Traced(NamedTuple):
    """What one step of a model gives."""

    loss: Any  #: None where the task has none
    inputs: Mapping[str, Tuple[Any, ...]]  #: by weight: the data inputs of its update; None: cell


class Trace:
    """The steps of a model, each from the weights that the port showed."""

    def __init__(self, model: Model, run: PortRun, bounds: bool = False) -> None:
        self.model, self.run, self.bounds = model, run, bounds
        self._plans: Dict[Any, Plan] = {}
        self._own: Dict[str, Dict[str, Update]] = {}
        self._steps: List[Traced] = []
        initial = {**model.case.initial, **model.hidden}
        self._state: Dict[str, Any] = {
            name: decimal(value) if value.shape == () and value.dtype.kind == "f" else value
            for name, value in initial.items()
        }

    def updates(self, task: str) -> Dict[str, Update]:
        """Return the updates that a task makes: those of the task that it trains instead."""
        return self.updates_as(self.model.trains.get(task, task))

    def updates_as(self, task: str) -> Dict[str, Update]:
        """Return the updates of a task itself."""
        if task not in self._own:
            self._own[task] = updates_of(self.model.case, self.model.graph, task)
        return self._own[task]

    def step(self, index: int) -> Traced:
        """Return a step; those before it are evaluated too."""
        while len(self._steps) <= index:
            now = len(self._steps)
            traced, changed = self._evaluated(now, self.run.before[self.model.source(now)])
            self._steps.append(traced)
            weights = set(self.model.case.weights.values())
            self._state.update({k: v for k, v in changed.items() if k not in weights})
        return self._steps[index]

    def at(self, index: int, weights: Mapping[str, Any], task: str = "") -> Traced:
        """Return a step from other weights, or of another task; the state stays as it is."""
        self.step(index)
        return self._evaluated(index, weights, task)[0]

    def _evaluated(
        self, index: int, weights: Mapping[str, Any], task: str = ""
    ) -> Tuple[Traced, Dict[str, Any]]:
        case, feeds = self.model.case, self.model.feeds(index)
        for placeholder, name in self.model.moved.items():
            feeds[placeholder] = self.run.after[index][name]
        own = task or case.steps[index].task
        trained = task or self.model.trains.get(own, own)
        returned = task or self.model.returns.get(own, trained)
        key = trained, returned, tuple(feeds)
        updates = self.updates_as(trained)
        loss = case.tasks[returned].loss
        if key not in self._plans:
            fetches = {*case.tasks[trained].operations, *([loss] if loss else [])}
            for update in updates.values():
                fetches.update(update.node.data_inputs[len(update.cells) :])
            self._plans[key] = Plan(self.model.graph, sorted(fetches), feeds)
        state = dict(self._state)
        for name, variable in case.weights.items():
            state[variable] = self.weight(weights[name])
        try:
            evaluation = self._plans[key].run(self._rounded(feeds, index), state, self.bounds)
        except InputError as error:  # another task needs what this one is not fed
            raise DoesNotFit from error
        # A ref variable shows its value after the run; the update took the one before.
        values = {**evaluation.values, **self._before(updates, state)}
        inputs = {
            name: tuple(
                None if i < len(update.cells) else values[_canonical(x)]
                for i, x in enumerate(update.node.data_inputs)
            )
            for name, update in updates.items()
        }
        return Traced(values.get(loss) if loss else None, inputs), dict(evaluation.variables)

    def _rounded(self, feeds: Feeds, index: int) -> Mapping[str, Any]:
        """Return feeds; one that a model has changed has the error of a float32."""
        if not (self.bounds and self.model.feed):
            return feeds
        given = self.model.case.steps[index].feeds
        return {
            name: ErrorBounded(value, 2 * UNIT * np.abs(value))
            if value.dtype.kind == "f"
            and not (name in given and np.array_equal(value, given[name]))
            else value
            for name, value in feeds.items()
        }

    def _before(self, updates: Mapping[str, Update], state: Mapping[str, Any]) -> Dict[str, Any]:
        """Return the values of the variables that the updates take as hyper-parameters."""
        found = {}
        for update in updates.values():
            for tensor in update.node.data_inputs[len(update.cells) :]:
                variable = variable_of(self.model.graph.nodes, tensor)
                if variable is not None:
                    value = state[variable]
                    is_plain = isinstance(value, ErrorBounded) and not self.bounds
                    found[_canonical(tensor)] = value.value if is_plain else value
        return found

    def weight(self, value: Any) -> Any:
        if isinstance(value, ErrorBounded) or not self.bounds:
            return value
        value = np.asarray(value, np.float64)
        # A weight that a step has computed may be kept in more digits than float32 shows.
        return ErrorBounded(value, UNIT * np.abs(value) if self._steps else 0.0)


def _canonical(tensor: str) -> str:
    return tensor[:-2] if tensor.endswith(":0") else tensor


class Now(NamedTuple):
    """Where a replay stands when it changes a gradient or applies a rule."""

    case: Case
    at: int  #: of the step
    task: str
    variable: str
    weight: Any  #: before the update
    gradients: Mapping[str, Any]  #: of all weights of this run, before any change
    runs: int  #: of this task before
    memory: Dict[Any, Any]  #: what a change keeps from step to step


Change = Callable[[Now, Any], Any]
#: (cells, hyper-parameters by name, gradient) -> None: sets the values of the cells
Rule = Callable[[List[Any], Dict[str, Any], Any], None]


class Program(NamedTuple):
    """What the optimizers of a port do."""

    changes: Tuple[Change, ...] = ()  #: of the gradients, in order
    rule: Optional[Rule] = None  #: in place of the rule of the graph
    needs: Tuple[str, ...] = ()  #: rules of the graph that it may replace; empty: all
    cells: int = 0  #: how many slots the rule keeps; 0: those of the graph
    start: float = 0.0  #: where these slots start
    scale: Optional[Callable[[Now], float]] = None  #: multiplies the step
    decay: float = 0.0  #: times the rate and the weight is subtracted
    hyper: Mapping[str, float] = {}
    slots: Mapping[str, str] = {}  #: by task: the task whose slots it uses; "*": of all
    powers: Mapping[str, str] = {}  #: by task: the task whose step counter it uses
    counter: Optional[Callable[[Now, int], int]] = (
        None  #: gives t; the number is that of the weight
    )
    counts_updates: bool = False  #: whether a weight that rests is not counted
    reset: Optional[Callable[[Now, Optional[str]], bool]] = None  #: of the task, before a step
    resets_powers: bool = True
    rests: Optional[Callable[[Now], bool]] = None  #: whether the run updates nothing
    borrows: str = ""  #: the task whose gradients move weights that the run does not train
    late: bool = False  #: an update takes effect one run later
    rounding: Optional[Callable[[np.ndarray], np.ndarray]] = None  #: of weights; not replayed
    is_dense: bool = False  #: whether sparse gradients become arrays before they are changed
    #: Whether weights that a run does not train get zeros as gradient; with `counts_updates` once
    #: they have had another.
    zeros: bool = False


class Moved(NamedTuple):
    """What a replay gives for one variable in one step."""

    at: int
    task: str
    after: Any


@functools.lru_cache(maxsize=256)
def _powers(beta: float, bounds: bool) -> List[Any]:
    return [decimal(beta) if bounds else float(np.float32(beta))]


def power(beta: float, exponent: int, bounds: bool) -> Any:
    """Return a power of beta as TensorFlow keeps it: multiplied once a step."""
    known = _powers(beta, bounds)
    while len(known) < exponent:
        known.append(known[-1] * known[0])
    return known[exponent - 1] if exponent > 0 else 1.0


def replay(trace: Trace, variable: str, programs: Callable[[str], Program]) -> Iterator[Moved]:
    """Yield what a port makes of a variable, for each step that updates it.

    Args:
      trace: Losses and gradients.
      variable: A weight, by its name in the port.
      programs: Gives the program of each task.
    """
    replayed = _Replay(trace, variable)
    for index in range(len(trace.run.after)):
        task = trace.model.case.steps[index].task
        after = replayed.step(index, task, programs(task))
        if after is not None:
            yield Moved(index, task, after)


class _Replay:
    """The state of a replay."""

    def __init__(self, trace: Trace, variable: str) -> None:
        self.trace, self.variable = trace, variable
        self.traced: Any = None
        self.state: Dict[str, Any] = {}
        self.counts: Dict[str, int] = {}
        self.runs: Dict[str, int] = {}
        self.memory: Dict[Any, Any] = {}
        self.waiting: Any = None
        self.task_before: Optional[str] = None

    def step(
        self,
        index: int,
        task: str,
        program: Program,
        weight: Any = None,
        traced: Optional[Traced] = None,
        optimizer: str = "",
    ) -> Any:
        """Return the weight after a step; None where the step does not update it.

        Args:
          index: Of the step.
          task: Whose gradients are applied.
          program: What the optimizer does.
          weight: Before the update; None: as the port showed it.
          traced: Losses and gradients; None: those of the trace.
          optimizer: The task whose slots are used; "": that of the task.
        """
        trace, variable = self.trace, self.variable
        self.traced = traced = traced or trace.step(index)
        updates = trace.updates(task) if traced is trace.step(index) else trace.updates_as(task)
        if weight is None:
            weight = trace.weight(trace.run.before[index][variable])
        task = optimizer or task
        gradients = {name: x[updates[name].gradient] for name, x in traced.inputs.items()}
        number = self.runs.get(task, 0)
        now = Now(trace.model.case, index, task, variable, weight, gradients, number, self.memory)
        counter = program.powers.get("*", program.powers.get(task, task))
        if program.reset and program.reset(now, self.task_before):
            self.state = {k: v for k, v in self.state.items() if not k.startswith(task + "/")}
            if program.resets_powers:
                self.counts.pop(counter, None)
        rests = bool(program.rests and program.rests(now))
        count = self.counts.get(counter, 0)
        has_zeros = program.zeros and (bool(self.state) or not program.counts_updates)
        if not rests and (variable in gradients or has_zeros or not program.counts_updates):
            self.counts[counter] = count = count + 1
        self.runs[task], self.task_before = number + 1, task
        if variable in gradients:
            gradient = gradients[variable]
            if program.is_dense and updates[variable].is_sparse:
                update = updates[variable]
                indices = traced.inputs[variable][update.gradient + 1]
                gradient = _dense(gradient, indices, weight)
            for change in program.changes:
                gradient = None if gradient is None else change(now, gradient)
        elif has_zeros:
            gradient = value_of(weight) * 0.0
        elif program.borrows and variable in trace.updates_as(program.borrows):
            borrowed = trace.at(index, trace.run.before[index], program.borrows)
            update = trace.updates_as(program.borrows)[variable]
            gradient = borrowed.inputs[variable][update.gradient]
        elif program.late and self.waiting is not None:
            after, self.waiting = weight + self.waiting, None
            return after
        else:
            return None
        if gradient is None or rests:
            return weight
        after = self._applied(program, now, gradient, count)
        if program.late:
            moved = after - weight
            after = weight if self.waiting is None else weight + self.waiting
            self.waiting = moved
        return after

    def _applied(self, program: Program, now: Now, gradient: Any, count: int) -> Any:
        """Return the weight after one update; the slots are in the state."""
        update = self._update(now)
        if program.needs and rule_of(update.node) not in program.needs:
            program = Program()
        inputs = list(self.traced.inputs.get(now.variable, ()))
        names = HYPER.get(rule_of(update.node), ())
        at = update.hyper
        hyper = dict(zip(names, (inputs[i] for i in at))) if inputs else self._some_hyper(now)
        hyper.update(program.hyper)
        self._set_powers(program, now, hyper, count)
        owner = program.slots.get("*", program.slots.get(now.task, now.task))
        cells = self._cells(program, update, now.weight, owner)
        if program.is_dense and update.is_sparse:
            update = update._replace(node=update.node._replace(op=_dense_operation(update.node)))
            del inputs[update.gradient + 1 : update.gradient + 2]
            at = [i if i < update.gradient else i - 1 for i in at]
        if program.rule:
            if update.is_sparse and inputs:
                gradient = _dense(gradient, inputs[update.gradient + 1], now.weight)
            hyper["nesterov"] = update.node.attributes.get("use_nesterov")
            program.rule(cells, hyper, gradient)
        else:
            inputs = inputs or [None] * len(update.node.data_inputs)
            for name, i in zip(names, at):
                inputs[i] = hyper[name]
            inputs[update.gradient] = gradient
            local = {str(k): cell.value for k, cell in enumerate(cells)}
            inputs[: len(cells)] = [Variable(name, local) for name in local]
            OPERATIONS[update.node.op].function(update.node, *inputs)
            for k, cell in enumerate(cells):
                cell.value = local[str(k)]
        for k, cell in enumerate(cells[1:]):
            self.state[f"{owner}/{k}"] = cell.value
        after = cells[0].value
        if program.scale:
            after = now.weight + (after - now.weight) * program.scale(now)
        if program.decay:
            factor = program.decay * (program.scale(now) if program.scale else 1.0)
            after = after - now.weight * (hyper.get("rate", 1.0) * factor)
        return after

    def _update(self, now: Now) -> Update:
        """Return the update of the variable in this task, or else in another one."""
        for task in (now.task, *self.trace.model.case.tasks):
            found = self.trace.updates(task).get(self.variable)
            if found:
                return found
        raise KeyError(self.variable)

    def _set_powers(self, program: Program, now: Now, hyper: Dict[str, Any], count: int) -> None:
        """Set the beta powers, unless those that the graph keeps are right."""
        if "beta1" not in hyper:
            return
        in_parts = self.traced is not self.trace.step(now.at)
        counts = in_parts or self.trace.model.trains or _counts_otherwise(program)
        if "beta1_power" in hyper and not counts:
            return
        names = list(now.gradients)
        position = names.index(now.variable) if now.variable in names else 0
        t = program.counter(now, position) if program.counter else count
        for beta in ("beta1", "beta2"):
            value = float(np.float32(np.ravel(value_of(hyper[beta]))[0]))
            hyper[beta + "_power"] = power(value, t, self.trace.bounds)

    def _some_hyper(self, now: Now) -> Dict[str, Any]:
        """Return the hyper-parameters of another weight of the same run."""
        for name, inputs in self.traced.inputs.items():
            update = self.trace.updates(now.task)[name]
            names = HYPER.get(rule_of(update.node), ())
            return dict(zip(names, (inputs[i] for i in update.hyper)))
        return {}

    def _cells(self, program: Program, update: Update, weight: Any, owner: str) -> List[Any]:
        """Return the weight and its slots, which start where the graph or the rule says."""
        cells: List[Any] = [_Cell(weight)]
        number = program.cells if program.rule and program.cells else len(update.cells) - 1
        for k in range(number):
            if f"{owner}/{k}" not in self.state:
                if program.rule and program.cells:
                    start = np.full(np.shape(value_of(weight)), program.start)
                else:
                    start = np.asarray(
                        self.trace.model.case.initial[update.cells[k + 1]], np.float64
                    )
                self.state[f"{owner}/{k}"] = ErrorBounded(start) if self.trace.bounds else start
            cells.append(_Cell(self.state[f"{owner}/{k}"]))
        return cells


#: Updates that a step makes one after the other: (task of the gradients, task whose slots are
#: used, weights or None for all)
Parts = Tuple[Tuple[str, str, Optional[Tuple[str, ...]]], ...]


def replay_parts(
    trace: Trace, parts: Callable[[str], Parts], program: Program
) -> Iterator[Tuple[int, List[Any], Dict[str, Any]]]:
    """Yield the step, the losses of its parts, and the weights after it."""
    case, run = trace.model.case, trace.run
    replays = {name: _Replay(trace, name) for name in case.weights}
    for index in range(len(run.after)):
        weights: Dict[str, Any] = {n: trace.weight(w) for n, w in run.before[index].items()}
        losses = []
        for task, optimizer, names in parts(case.steps[index].task):
            traced = trace.at(index, weights, task)
            losses.append(traced.loss)
            after = dict(weights)
            for name in names or case.weights:
                replayed = replays[name]
                moved = replayed.step(index, task, program, weights[name], traced, optimizer)
                after[name] = weights[name] if moved is None else moved
            weights = after
        yield index, losses, weights


def _counts_otherwise(program: Program) -> bool:
    return bool(
        program.counter
        or program.powers
        or program.rests
        or (program.reset and program.resets_powers)
        or set(program.hyper) & {"beta1", "beta2"}
    )


class _Cell:
    """A value that a rule may replace."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _dense(gradient: Any, indices: Any, weight: Any) -> Any:
    """Return a sparse gradient as an array of the shape of the weight."""
    places = np.asarray(value_of(indices), np.int64)

    def spread(rows: np.ndarray) -> np.ndarray:
        result = np.zeros(np.shape(value_of(weight)))
        np.add.at(result, places, rows)
        return result

    if isinstance(gradient, ErrorBounded):
        size = spread(np.abs(gradient.value) + gradient.error)
        error = spread(gradient.error) + eb.gamma(len(places)) * size
        return ErrorBounded(spread(gradient.value), error)
    return spread(gradient)


def _dense_operation(node: Node) -> str:
    """Return the update operation for arrays with the rule of one for sparse gradients."""
    name = node.op.replace("Sparse", "")
    if name not in OPERATIONS:
        raise DoesNotFit
    return name


def _right(task: str) -> Program:
    return Program()


def tolerance_of(
    run: PortRun, model: Optional[Model] = None
) -> List[Tuple[float, Dict[str, np.ndarray]]]:
    """Return, by step, the error bounds of the loss and of the weights.

    Args:
      run: What the port did.
      model: What it may do before its optimizers; None: what TensorFlow does.
    """
    trace = Trace(model or model_of(run.case), run, bounds=True)
    weights: List[Dict[str, np.ndarray]] = [{} for _ in run.after]
    for name in run.case.weights:
        for moved in replay(trace, name, _right):
            weights[moved.at][name] = error_of(moved.after)
    losses = (trace.step(index).loss for index in range(len(run.losses)))
    bounds = (0.0 if loss is None else float(np.max(error_of(loss))) for loss in losses)
    return list(zip(bounds, weights))
