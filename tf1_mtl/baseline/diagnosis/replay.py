"""Replays what the optimizers of a port make of the gradients of a model.

A `Program` holds what the optimizers do. It is replayed one variable at a time, since a diagnosis
asks which of many programs explains a variable.
"""

import functools
from typing import (
    Any,
    Callable,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline.diagnosis.model import ModelRun, ModelStep, Update
from tf1_mtl.baseline.error_bounds import ErrorBounded, decimal, structural, value_of
from tf1_mtl.baseline.operations import OPERATIONS, Variable
from tf1_mtl.baseline.operations.indexing import added_rows
from tf1_mtl.baseline.operations.table import shape_of


class Now(NamedTuple):
    """Holds what a change of a gradient or a rule can depend on."""

    at: int  #: index of the step
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
    """Describes what the optimizers of a port do."""

    changes: Tuple[Change, ...] = ()  #: of the gradients, in order
    rule: Optional[Rule] = None  #: in place of the rule of the graph
    needs: Tuple[str, ...] = ()  #: rules of the graph that it may replace; empty: all
    cells: int = 0  #: how many slots the rule keeps; 0: those of the graph
    start: float = 0.0  #: where these slots start
    first_slot: Optional[float] = None  #: where the first slot of the graph starts
    scale: Optional[Callable[[Now], float]] = None  #: multiplies the step
    decay: float = 0.0  #: times the rate and the weight is subtracted
    scales_decay: bool = False  #: whether `scale` multiplies the decay too
    hyper: Mapping[str, float] = {}
    slots: Mapping[str, str] = {}  #: by task: the task whose slots it uses
    powers: Mapping[str, str] = {}  #: by task: the task whose step counter it uses
    #: Gives t of the beta powers from the number of the weight in its run.
    counter: Optional[Callable[[Now, int], int]] = None
    counts_updates: bool = False  #: whether a weight that rests is not counted
    reset: Optional[Callable[[Now, Optional[str]], bool]] = None  #: of the task, before a step
    resets_powers: bool = True
    rests: Optional[Callable[[Now], bool]] = None  #: whether the run updates nothing
    borrows: str = ""  #: the task whose gradients move weights that the run does not train
    late: bool = False  #: whether an update takes effect one run later
    rounding: Optional[Callable[[np.ndarray], np.ndarray]] = None  #: of weights; not replayed
    is_dense: bool = False  #: whether sparse gradients become arrays before they are changed
    sets_rows: bool = False  #: whether the last gradient of a row counts alone in such an array
    #: Whether weights that a run does not train get zeros as gradient; with `counts_updates` once
    #: they have had another.
    zeros: bool = False

    @property
    def counts_otherwise(self) -> bool:
        """Returns whether the beta powers of the graph may not be those of the program."""
        return bool(
            self.counter
            or self.powers
            or self.rests
            or (self.reset and self.resets_powers)
            or {"beta1", "beta2"}.intersection(self.hyper)
        )


RIGHT = Program()  #: what the optimizers of the graph do


class Moved(NamedTuple):
    """Holds what a replay gives for one variable in one step."""

    at: int
    task: str
    after: Any


def replay(
    run: ModelRun,
    variable: str,
    program: Program = RIGHT,
    by_task: Optional[Mapping[str, Program]] = None,
) -> Iterator[Moved]:
    """Yields what a port makes of a variable, for each step that updates it.

    Args:
      run: Losses and gradients.
      variable: A weight, by its name in the port.
      program: What the optimizers do.
      by_task: What they do in some tasks instead.
    """
    replayed = Replay(run, variable)
    for index in range(len(run.port_run.after)):
        task = run.task(index)
        now = program if by_task is None else by_task.get(task, program)
        given = run.step(index)
        after = replayed.step(index, task, now, run.weight(index, variable), given)
        if after is not None:
            yield Moved(index, task, after)


class Replay:
    """Replays the updates of one variable, step by step."""

    def __init__(self, run: ModelRun, variable: str) -> None:
        self.run, self.variable = run, variable
        self.state: Dict[str, Any] = {}  # slots, by "task/number"
        self.counts: Dict[str, int] = {}
        self.runs: Dict[str, int] = {}
        self.memory: Dict[Any, Any] = {}
        self.waiting: Any = None
        self.task_before: Optional[str] = None

    def step(self, index: int, task: str, program: Program, weight: Any, given: ModelStep) -> Any:
        """Returns the weight after a step; None where the step does not update it.

        Args:
          index: Of the step.
          task: Whose slots are used.
          program: What the optimizer does.
          weight: Before the update.
          given: Gradients and hyper-parameters.
        """
        variable = self.variable
        gradients = {name: self._gradient(program, index, given, name) for name in given.inputs}
        number = self.runs.get(task, 0)
        now = Now(index, task, variable, weight, gradients, number, self.memory)
        counter = program.powers.get(task, task)
        if program.reset and program.reset(now, self.task_before):
            self.state = {k: v for k, v in self.state.items() if not k.startswith(task + "/")}
            if program.resets_powers:
                self.counts.pop(counter, None)
        rests = bool(program.rests and program.rests(now))
        has_zeros = (
            program.zeros
            and self._has_optimizer(given)
            and (bool(self.state) or not program.counts_updates)
        )
        if not rests and (variable in gradients or has_zeros or not program.counts_updates):
            self.counts[counter] = self.counts.get(counter, 0) + 1
        self.runs[task], self.task_before = number + 1, task
        if variable in gradients:
            gradient = gradients[variable]
            for change in program.changes:
                gradient = None if gradient is None else change(now, gradient)
        elif has_zeros:
            gradient = value_of(weight) * 0.0
        elif self._borrows(program, given):
            borrowed = self.run.at(index, self.run.port_run.before[index], program.borrows)
            if variable not in borrowed.inputs:
                return None
            gradient = borrowed.inputs[variable][borrowed.updates[variable].gradient]
        elif program.late and self.waiting is not None:
            after, self.waiting = weight + self.waiting, None
            return after
        else:
            return None
        if gradient is None or rests:
            return weight
        after = self._applied(program, now, gradient, given)
        if program.late:
            moved = after - weight
            after = weight if self.waiting is None else weight + self.waiting
            self.waiting = moved
        return after

    def _gradient(self, program: Program, index: int, given: ModelStep, name: str) -> Any:
        """Returns the gradient of a weight in a step, as an array where the program wants that."""
        update, inputs = given.updates[name], given.inputs[name]
        if not (program.is_dense and update.indices):
            return inputs[update.gradient]
        weight = self.run.port_run.before[index][name]
        gather = _last_rows if program.sets_rows else _dense
        return gather(inputs[update.gradient], inputs[update.indices], weight)

    def _applied(self, program: Program, now: Now, gradient: Any, given: ModelStep) -> Any:
        """Returns the weight after one update; the slots are in the state."""
        update = given.updates.get(self.variable) or self._update_of_another_task()
        if program.needs and update.rule not in program.needs:
            program = RIGHT
        inputs: Sequence[Any] = given.inputs.get(self.variable, ())
        hyper = {**given.hyper(self.variable), **program.hyper}
        self._set_powers(program, now, hyper, given)
        cells = self._cells(program, update, now)
        if program.is_dense:
            update, inputs = _dense_update(update, inputs)
        elif program.rule and update.indices and inputs:
            gradient = _dense(gradient, inputs[update.indices], now.weight)
        apply_rule(program, update, cells, hyper, inputs, gradient)
        after = self.state.pop("weight")
        scale = program.scale(now) if program.scale else 1.0
        if program.scale:
            after = now.weight + (after - now.weight) * scale
        if program.decay:
            decay = program.decay * (scale if program.scales_decay else 1.0)
            after = after - now.weight * (hyper.get("rate", 1.0) * decay)
        return after

    def _update_of_another_task(self) -> Update:
        """Returns the update of the variable in the first task that trains it."""
        updates = map(self.run.updates, self.run.model.case.tasks)
        return next(found[self.variable] for found in updates if self.variable in found)

    def _borrows(self, program: Program, given: ModelStep) -> bool:
        """Returns whether a run moves the variable by a gradient of another task."""
        if not program.borrows or self.variable not in self.run.updates_as(program.borrows):
            return False
        return self._has_optimizer(given)

    def _has_optimizer(self, given: ModelStep) -> bool:
        """Returns whether a run has what an update of the variable takes, such as a rate."""
        return set(self._update_of_another_task().hyper) <= set(given.hyper(self.variable))

    def _set_powers(
        self, program: Program, now: Now, hyper: Dict[str, Any], given: ModelStep
    ) -> None:
        """Sets the beta powers, unless those that the graph keeps are right."""
        if "beta1" not in hyper:
            return
        in_parts = given is not self.run.step(now.at)
        if "beta1_power" in hyper and not (
            in_parts or self.run.model.trains or program.counts_otherwise
        ):
            return
        names = list(now.gradients)
        position = names.index(now.variable) if now.variable in names else 0
        count = self.counts.get(program.powers.get(now.task, now.task), 0)
        t = program.counter(now, position) if program.counter else count
        for beta in ("beta1", "beta2"):
            value = float(np.float32(np.ravel(value_of(hyper[beta]))[0]))
            hyper[beta + "_power"] = power(value, t, self.run.bounds)

    def _cells(self, program: Program, update: Update, now: Now) -> List[Variable]:
        """Returns the weight and its slots, which start where the graph or the rule says."""
        owner = program.slots.get(now.task, now.task)
        starts: List[Any] = [self.run.model.case.initial[name] for name in update.cells[1:]]
        if program.rule and program.cells:
            starts = [np.full(np.shape(value_of(now.weight)), program.start)] * program.cells
        elif program.first_slot is not None and starts:
            starts[0] = np.full(np.shape(starts[0]), program.first_slot)
        slots = [f"{owner}/{k}" for k in range(len(starts))]
        for slot, start in zip(slots, starts):
            if slot not in self.state:
                value = np.asarray(start, np.float64)
                self.state[slot] = ErrorBounded(value) if self.run.bounds else value
        self.state["weight"] = now.weight
        return [Variable(name, self.state) for name in ("weight", *slots)]


def apply_rule(
    program: Program,
    update: Update,
    cells: Sequence[Variable],
    hyper: Mapping[str, Any],
    inputs: Sequence[Any],
    gradient: Any,
) -> None:
    """Sets a weight and its slots, by the rule of a program or else of the graph.

    Args:
      program: What the optimizer does.
      update: The operation of the graph.
      cells: The weight and its slots.
      hyper: By name: what takes the place of the hyper-parameters.
      inputs: Of the operation; empty where it does not run.
      gradient: What is applied.
    """
    if program.rule:
        program.rule(list(cells), dict(hyper), gradient)
        return
    given = list(inputs) or [None] * len(update.node.data_inputs)
    for name, i in update.hyper.items():
        given[i] = hyper[name]
    given[update.gradient] = gradient
    given[: len(cells)] = cells
    OPERATIONS[update.node.op].function(update.node, *given)


@functools.lru_cache(maxsize=256)
def _powers(beta: float, bounds: bool) -> List[Any]:
    return [decimal(beta) if bounds else float(np.float32(beta))]


def power(beta: float, exponent: int, bounds: bool) -> Any:
    """Returns a power of beta as TensorFlow keeps it: multiplied once a step."""
    known = _powers(beta, bounds)
    while len(known) < exponent:
        known.append(known[-1] * known[0])
    return known[exponent - 1] if exponent > 0 else 1.0


def _dense(gradient: Any, indices: Any, weight: Any) -> Any:
    """Returns a sparse gradient as an array of the shape of the weight."""
    return added_rows(gradient, np.asarray(value_of(indices), np.int64), shape_of(weight)[0])


def _last_rows(gradient: Any, indices: Any, weight: Any) -> Any:
    """Returns a sparse gradient as an array that holds the last gradient of each row."""

    def put(rows: np.ndarray) -> np.ndarray:
        array = np.zeros(shape_of(weight))
        array[np.asarray(value_of(indices), np.int64)] = rows
        return array

    return structural(put, gradient)


def _dense_update(update: Update, inputs: Sequence[Any]) -> Tuple[Update, List[Any]]:
    """Returns the update for arrays with the rule of one for sparse gradients, and its inputs."""
    given, names, node = list(inputs), list(update.node.data_inputs), update.node
    if update.indices is None:
        return update, given
    op = node.op.replace("Sparse", "")
    if "Scatter" in op:
        op = op.replace("ResourceScatter", "Assign").replace("Scatter", "Assign")
        op += "VariableOp" if node.op.startswith("Resource") else ""
    del names[update.indices], given[update.indices : update.indices + 1]
    gradient = update.gradient - (update.indices < update.gradient)
    node = node._replace(op=op, inputs=tuple(names))
    return update._replace(node=node, gradient=gradient), given
