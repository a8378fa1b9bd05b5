"""Runs a recorded graph in NumPy: what a fetch gives, and which variables the run changes.

    plan = Plan(graph, fetches=["Adam_1", "L2Loss"], fed=["X", "Y1"])
    evaluation = plan.run(feeds, variables)
    evaluation.values["L2Loss"]    # ErrorBounded: a float64 value and a bound on float32 rounding
    evaluation.variables["share_W"]

A TensorFlow 1 graph holds its gradients and its optimizer updates as operations, so nothing is
derived again here. Between two operations that no edge orders, a read comes before a write.
"""

import heapq
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Tuple

import numpy as np

from tf1_mtl.baseline.error_bounds import ErrorBounded
from tf1_mtl.baseline.operations import OPERATIONS, Operation, Variable
from tf1_mtl.baseline.recorded_graph import (
    REF_VARIABLES,
    RESOURCE_VARIABLES,
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    node_and_output,
)
from tf1_mtl.errors import InputError

State = Dict[str, Any]


class UnknownOperation(InputError):
    """A run needs an operation that the table of `operations` does not hold."""

    def __init__(self, node: Node) -> None:
        super().__init__(
            f"node {node.name!r}: the operation {node.op} is not in the table of the evaluator; "
            f'should be a line of it. Add @gives("{node.op}") to tf1_mtl/baseline/operations.py.'
        )
        self.node = node


class Evaluation(NamedTuple):
    """What one run gives."""

    values: Dict[str, Any]  #: by fetched tensor
    variables: State  #: the variables that the run changed, with their new values
    nodes: Dict[str, Any]  #: by node that ran: the tuple of its outputs


class _Step(NamedTuple):
    """One node of a plan, with everything that does not change from run to run."""

    node: Node
    operation: Operation
    sources: Tuple[Tuple[str, int], ...]  #: where each input comes from: node and output


class Plan:
    """The order in which the nodes of one kind of run are evaluated."""

    def __init__(
        self, graph: RecordedGraph, fetches: Iterable[str], fed: Iterable[str] = ()
    ) -> None:
        """Order the nodes that the fetches need.

        Args:
          graph: A recorded graph.
          fetches: Names of tensors and operations.
          fed: Names of the tensors that every run feeds.

        Raises:
          InputError: A fetch is not in the graph.
          UnknownOperation: An operation is not in the table.
        """
        self.fetches = tuple(canonical(fetch) for fetch in fetches)
        self.fed = frozenset(map(canonical, fed))
        for fetch in self.fetches:
            if node_and_output(fetch)[0] not in graph.nodes:
                raise InputError(
                    f"fetch {fetch!r}: not in the recorded graph of {len(graph.nodes)} nodes; "
                    "should be the name of a tensor or an operation. Check the name."
                )
        nodes = needed_nodes(graph.nodes, self.fetches, self.fed)
        steps = [_step(node) for node in _ordered(nodes, self.fed)]
        self._steps = [step for step in steps if step.node.op != "Const"]
        self._constants = {
            step.node.name: (step.operation.function(step.node),)
            for step in steps
            if step.node.op == "Const"
        }

    def run(
        self, feeds: Mapping[str, Any], variables: Mapping[str, Any], bounds: bool = True
    ) -> Evaluation:
        """Evaluate the nodes once.

        Args:
          feeds: Values by tensor name: arrays, which count as exact, or `ErrorBounded`.
          variables: Values by variable name, likewise.
          bounds: False computes float64 values alone, which is faster.

        Returns:
          The fetched values and the changed variables. `variables` itself is not changed.

        Raises:
          InputError: A placeholder that the run needs is not fed, or a variable has no value.
        """
        state: State = {name: _tracked(value, bounds) for name, value in variables.items()}
        before = dict(state)
        given = {canonical(name): _tracked(value, bounds) for name, value in feeds.items()}
        outputs: Dict[str, Any] = {
            name: tuple(_tracked(value, bounds) for value in values)
            for name, values in self._constants.items()
        }

        def value_at(source: Tuple[str, int]) -> Any:
            name, index = source
            tensor = name if index == 0 else f"{name}:{index}"
            return given[tensor] if tensor in given else outputs[name][index]

        for node, operation, sources in self._steps:
            inputs = [value_at(source) for source in sources]
            for i in range(operation.variables, len(inputs)):
                if isinstance(inputs[i], Variable):
                    inputs[i] = _value(inputs[i])
            if operation is _VARIABLE:
                result: Any = Variable(_variable_name(node), state)
            else:
                result = operation.function(node, *inputs)
            if not bounds and isinstance(result, ErrorBounded):
                result = result.value
            outputs[node.name] = result if isinstance(result, tuple) else (result,)
        values = {}
        for fetch in self.fetches:
            name, index = node_and_output(fetch)
            if canonical(fetch) in given:
                values[fetch] = given[canonical(fetch)]
            elif index < len(outputs[name]):
                fetched = outputs[name][index]
                values[fetch] = _value(fetched) if isinstance(fetched, Variable) else fetched
        changed = {
            name: value for name, value in state.items() if value is not before.get(name, state)
        }
        return Evaluation(values, changed, outputs)


def evaluate(
    graph: RecordedGraph,
    fetches: Iterable[str],
    feeds: Mapping[str, Any],
    variables: Mapping[str, Any],
) -> Evaluation:
    """Run a recorded graph once; see `Plan` for its arguments, its errors and for many runs."""
    return Plan(graph, fetches, feeds).run(feeds, variables)


def _variable(node: Node) -> Any:
    raise AssertionError("the plan makes variables itself")


_VARIABLE = Operation(_variable)


def _step(node: Node) -> _Step:
    if node.op in REF_VARIABLES + RESOURCE_VARIABLES:
        return _Step(node, _VARIABLE, ())
    if node.op not in OPERATIONS:
        raise UnknownOperation(node)
    return _Step(node, OPERATIONS[node.op], tuple(map(node_and_output, node.data_inputs)))


def _ordered(nodes: Mapping[str, Node], fed: Iterable[str]) -> List[Node]:
    """Return the nodes, each after its inputs, and writes of variables as late as possible."""
    rank = {name: i for i, name in enumerate(nodes)}
    waits_for: Dict[str, int] = {}
    consumers: Dict[str, List[str]] = {name: [] for name in nodes}
    ready: List[Tuple[bool, int, str]] = []

    def push(name: str) -> None:
        operation = OPERATIONS.get(nodes[name].op)
        heapq.heappush(ready, (bool(operation and operation.variables), rank[name], name))

    for name, node in nodes.items():
        sources = {node_and_output(tensor)[0] for tensor in node.inputs} & set(nodes)
        waits_for[name] = len(sources)
        for source in sources:
            consumers[source].append(name)
        if not sources:
            push(name)
    ordered = []
    while ready:
        name = heapq.heappop(ready)[2]
        ordered.append(nodes[name])
        for consumer in consumers[name]:
            waits_for[consumer] -= 1
            if not waits_for[consumer]:
                push(consumer)
    return ordered


def _variable_name(node: Node) -> str:
    return node.attributes.get("shared_name") or node.name


def _value(variable: Variable) -> Any:
    if variable.name not in variable.state:
        raise InputError(
            f"variable {variable.name!r}: has no value; should be given. Pass all variables that "
            "the recording holds."
        )
    return variable.value


def _tracked(value: Any, bounds: bool) -> Any:
    """Return floats as the evaluation keeps them, and other values as arrays."""
    if isinstance(value, ErrorBounded):
        return value if bounds else value.value
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array
    return ErrorBounded(array) if bounds else array.astype(np.float64)
