"""Evaluates losses of a run of a port under many edits, without gradients and updates.

The recorded graph is evaluated once for each step, and what every operation gives is kept. Of an
edited graph only the operations behind an edit are evaluated.
"""

from typing import (
    Any,
    Collection,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Set,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline.case import Case, CaseEvaluator, Step
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, Model
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.evaluator import GRAPH_ERRORS, Outputs, Plan, State
from tf1_mtl.baseline.execution_order import Loop, Steps
from tf1_mtl.baseline.port_run import PortRun
from tf1_mtl.baseline.recorded_graph import (
    VARIABLES,
    Node,
    canonical,
    needed_nodes,
    node_and_output,
)

PLANS = 500  #: that are kept
MOST_BYTES = 1 << 28  #: of the kept outputs of one run
#: These change what another operation gave, so they cannot be run again.
_CHANGING = ("Stack", "TensorArrayWrite", "TensorArrayScatter", "TensorArraySplit")


class _Known(NamedTuple):
    """Holds what the recorded graph gives in one step."""

    outputs: Outputs
    variables: State


def without_training(case: Case) -> Case:
    """Returns a case whose graph computes the losses alone."""
    nodes = needed_nodes(case.graph.nodes, [task.loss for task in case.tasks.values() if task.loss])
    tasks = {name: task._replace(operations=()) for name, task in case.tasks.items()}
    return case._replace(graph=case.graph._replace(nodes=nodes), tasks=tasks)


class ForwardRun:
    """Evaluates the forward pass of one run, each step from the weights that the port showed."""

    def __init__(self, run: PortRun) -> None:
        self._run = run
        self.model = Model(without_training(run.case))
        self._nodes = self.model.graph.nodes
        self._users: Dict[str, List[str]] = {}
        for name, node in self._nodes.items():
            for tensor in node.inputs:
                self._users.setdefault(node_and_output(tensor)[0], []).append(name)
        self._known: Dict[Tuple[int, bool], _Known] = {}
        self._bytes = 0
        self._unrepeatable: Set[str] = set()
        self._may_be_dead: Set[str] = set()
        self._plans: Dict[Any, Tuple[Plan, Any]] = {}
        self._others: List[State] = []

    def value(self, model: Model, tensor: str, index: int, at_after: bool = False) -> np.ndarray:
        """Returns a tensor in a step of a model.

        Args:
          model: `model` of this run, with edits.
          tensor: The name of a tensor that a loss needs, or of a loss.
          index: Of the step.
          at_after: Whether the weights are those after the step.

        Raises:
          DoesNotFit: An edit does not fit a shape, an index or a loop.
        """
        step, given = model.case.steps[index], self._run.case.steps[index].feeds
        source = model.source(index)
        if source == index:
            known = self._known_in(index, at_after)
        else:
            known = _Known({}, self._variables(source, index, at_after))
        changed = tuple(name for name, x in step.feeds.items() if x is not given.get(name))
        try:
            if any(np.shape(step.feeds[name]) != np.shape(x) for name, x in given.items()):
                raise DoesNotFit
            plan = self._plan(model, tensor, step, changed, known.outputs)
            values = plan.run(step.feeds, known.variables, False, known.outputs).values
            return value_of(values[canonical(tensor)])
        # A KeyError where an edit made the tensor dead. What is raised without an edit has been
        # raised before, when the port was judged.
        except GRAPH_ERRORS as error:
            raise DoesNotFit from error

    def shapes_in(self, index: int) -> Dict[str, Tuple[int, ...]]:
        """Returns the shapes of the operations that give one float tensor, as far as it is kept."""
        return {
            name: outputs[0].shape
            for name, outputs in self._known_in(index, False).outputs.items()
            if len(outputs) == 1
            and isinstance(outputs[0], (np.ndarray, np.floating))
            and outputs[0].dtype.kind == "f"
            and name in self._nodes
        }

    def _plan(
        self, model: Model, tensor: str, step: Step, changed: Tuple[str, ...], known: Outputs
    ) -> Plan:
        """Returns the plan of what is behind an edit, or of all where the rest cannot be known."""
        nodes = model.graph.nodes
        key = id(nodes), tensor, step.task, changed, bool(known), *step.feeds
        if key not in self._plans:
            if len(self._plans) > PLANS:
                self._plans.clear()
            name, given = node_and_output(tensor)[0], set()
            if known and (name in known or name not in self._nodes):
                behind = self._behind(nodes, changed)
                if behind.isdisjoint(self._unrepeatable):
                    given = known.keys() - behind
            may_be_dead = self._may_be_dead.intersection(given)
            plan = Plan(model.graph, [tensor], step.feeds, given, may_be_dead)
            self._plans[key] = plan, nodes  # while the nodes are kept, nothing else has their id
        return self._plans[key][0]

    def _behind(self, nodes: Mapping[str, Node], changed: Collection[str]) -> Set[str]:
        """Returns the operations whose outputs an edit may change.

        Args:
          nodes: Of the edited graph.
          changed: The feeds that are edited.
        """
        waiting = [name for name, node in nodes.items() if self._nodes.get(name) is not node]
        for tensor in changed:
            for user in self._users.get(node_and_output(tensor)[0], ()):
                if tensor in map(canonical, self._nodes[user].data_inputs):
                    waiting.append(user)
        behind: Set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in behind:
                behind.add(name)
                waiting += self._users.get(name, ())
        return behind

    # What the recorded graph gives

    def _known_in(self, index: int, at_after: bool) -> _Known:
        """Returns what the recorded graph gives in a step; no outputs where they take too much."""
        key = index, at_after
        if key in self._known:
            return self._known[key]
        known = _Known({}, self._variables(index, index, at_after))
        if self._bytes < MOST_BYTES:
            step = self._run.case.steps[index]
            plan = self._plan(self.model, self.model.case.tasks[step.task].loss, step, (), {})
            self._unrepeatable.update(_unrepeatable(plan.steps))
            self._may_be_dead.update(plan.may_be_dead)
            known = known._replace(outputs=plan.run(step.feeds, known.variables, False).nodes)
            self._bytes += sum(_bytes(outputs) for outputs in known.outputs.values())
            self._known[key] = known
        return known

    def _variables(self, source: int, index: int, at_after: bool) -> State:
        """Returns the weights that the port showed in one step, and the other variables of one."""
        case, weights = self._run.case, (self._run.after if at_after else self._run.before)[source]
        others = self._others_before(index + at_after)
        return {**others, **{case.weights[name]: value for name, value in weights.items()}}

    def _others_before(self, index: int) -> State:
        """Returns the variables that a loss reads and the port does not hold, before a step."""
        read = {
            node.attributes.get("shared_name") or name
            for name, node in self._nodes.items()
            if node.op in VARIABLES
        }
        others = read.difference(self._run.case.weights.values())
        if not others:
            return {}
        if not self._others:
            evaluator = CaseEvaluator(self._run.case, bounds=False)
            for number, weights in enumerate(self._run.before):
                evaluator.begin(number)
                self._others.append({name: evaluator.state[name] for name in others})
                evaluator.step(number, weights)
            self._others.append({name: evaluator.state[name] for name in others})
        return self._others[min(index, len(self._others) - 1)]


def _bytes(outputs: Iterable[Any]) -> int:
    return sum(getattr(x, "nbytes", 0) for x in outputs)


def _unrepeatable(steps: Steps) -> Iterator[str]:
    """Yields the operations of loops, and those that change what others gave."""
    for step in steps:
        if isinstance(step, Loop):
            yield from (*step.enters, *step.exits, *_names(step.steps))
        elif step.operation.writes or step.operation.calls or step.node.op.startswith(_CHANGING):
            yield step.node.name


def _names(steps: Iterable[Any]) -> Iterator[str]:
    for step in steps:
        yield from _unrepeatable([step]) if isinstance(step, Loop) else (step.node.name,)
