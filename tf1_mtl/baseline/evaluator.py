"""Runs a recorded graph in NumPy: what a fetch gives, and which variables the run changes.

    plan = Plan(graph, fetches=["Adam_1", "L2Loss"], fed=["X", "Y1"])
    evaluation = plan.run(feeds, variables)
    evaluation.values["L2Loss"]    # ErrorBounded: a float64 value and a bound on float32 rounding
    evaluation.variables["share_W"]

A TensorFlow 1 graph holds its gradients and its optimizer updates as operations, so nothing is
derived again here. Between two operations that no edge orders, a read comes before a write.
Random operations, queues and iterators are not run: their recorded outputs are fed.
"""

import functools
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.error_bounds import ErrorBounded
from tf1_mtl.baseline.execution_order import Loop, Schedule, Step, Steps, source_of
from tf1_mtl.baseline.operations import OPERATIONS, Operation, Variable
from tf1_mtl.baseline.operations.table import DEAD, DEAD_OUTPUTS, all_unknown
from tf1_mtl.baseline.recorded_graph import (
    RESOURCE_VARIABLES,
    VARIABLES,
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    node_and_output,
)
from tf1_mtl.baseline.tasks import is_source
from tf1_mtl.errors import InputError

State = Dict[str, Any]
Noise = Callable[[ErrorBounded], ErrorBounded]
Outputs = Dict[str, Tuple[Any, ...]]
#: What a plan or a run may raise where a graph contradicts itself or its values.
GRAPH_ERRORS = (
    *(InputError, LookupError, ValueError, TypeError, AttributeError, AssertionError),
    ArithmeticError,
)


class UnknownOperation(InputError):
    """Is raised if a run needs an operation that the table of `operations` does not hold."""

    def __init__(self, node: Node) -> None:
        super().__init__(
            f"node {node.name!r}: the operation {node.op} is not in the table of the evaluator; "
            f'should be a line of it. Add @gives("{node.op}") to a module of '
            "tf1_mtl/baseline/operations."
        )
        self.node = node


class Evaluation(NamedTuple):
    """Holds what one run gives."""

    values: Dict[str, Any]  #: by fetched tensor, without those of a branch that is not taken
    variables: State  #: the variables that the run changed, with their new values
    nodes: Outputs  #: by node that ran outside of loops: its outputs
    sampled: FrozenSet[str] = frozenset()  #: values and variables whose bounds are sampled


class _Run(NamedTuple):
    """Holds what the operations of one run share."""

    state: State
    bounds: bool
    noise: Optional[Noise] = None


class Plan:
    """Evaluates the nodes of one kind of run, in an order that is found once."""

    def __init__(
        self,
        graph: RecordedGraph,
        fetches: Iterable[str],
        fed: Iterable[str] = (),
        known: Collection[str] = (),
        may_be_dead: Iterable[str] = (),
    ) -> None:
        """Orders the nodes that the fetches need.

        Args:
          graph: A recorded graph.
          fetches: Names of tensors and operations.
          fed: Names of the tensors that every run feeds.
          known: Names of the nodes whose outputs every run is given.
          may_be_dead: Those of them that are `may_be_dead` in the plan that gave the outputs.

        Raises:
          InputError: A fetch is not in the graph.
          UnknownOperation: An operation is not in the table, and every run would need it. One on a
            branch raises the same error from `run`, if the branch is taken.
        """
        self.fetches = tuple(canonical(fetch) for fetch in fetches)
        self.fed = frozenset(map(canonical, fed))
        for fetch in self.fetches:
            if node_and_output(fetch)[0] not in graph.nodes:
                raise InputError(
                    f"fetch {fetch!r}: not in the recorded graph of {len(graph.nodes)} nodes; "
                    "should be the name of a tensor or an operation. Check the name."
                )
        self._graph = graph
        self._bodies: Dict[str, Plan] = {}
        nodes = needed_nodes(graph.nodes, self.fetches, self.fed, known)
        self._variables = {
            name: node.attributes.get("shared_name") or name
            for name, node in nodes.items()
            if node.op in VARIABLES
        }
        self._resources = {name for name in nodes if nodes[name].op in RESOURCE_VARIABLES}
        self._precisions = self._narrow_or_wide(nodes)
        others = {name: node for name, node in nodes.items() if node.op not in VARIABLES}
        self.steps: Steps = []
        constants: Outputs = {}
        schedule = Schedule(others, self.fed, self._operation_of, may_be_dead)
        self.may_be_dead = schedule.may_be_dead  #: nodes on a branch or behind one
        for step in schedule.steps():
            if isinstance(step, Step) and step.node.op == "Const" and not step.may_be_dead:
                constants[step.node.name] = (step.operation.function(step.node),)
            else:
                self.steps.append(step)
        without_bounds = {name: _values(outputs) for name, outputs in constants.items()}
        self._constants = {True: constants, False: without_bounds}

    def run(
        self,
        feeds: Mapping[str, Any],
        variables: Mapping[str, Any],
        bounds: bool = True,
        known: Optional[Outputs] = None,
        noise: Optional[Noise] = None,
    ) -> Evaluation:
        """Evaluates the nodes once.

        Args:
          feeds: Values by tensor name: arrays, which count as exact, or `ErrorBounded`.
          variables: Values by variable name, likewise.
          bounds: False computes float64 values alone, which is faster.
          known: Outputs of nodes, from a run with the same variables and bounds.
          noise: From what an operation gives, with bounds, to what takes its place.

        Returns:
          The fetched values and the changed variables. `variables` itself is not changed. A whole
          number or boolean that rounding leaves open is an `ErrorBounded` too.

        Raises:
          InputError: The run needs a value that is not fed: of a placeholder, a random operation,
            a queue or an iterator. Or a variable lacks a value.
          UnknownOperation: A branch needs an operation that is not in the table.
        """
        state = {name: self._tracked(name, value, bounds) for name, value in variables.items()}
        before = dict(state)
        given = {canonical(name): value for name, value in feeds.items()}
        missing = self.fed - set(given)
        if missing:
            raise InputError(
                f"feed {min(missing)!r}: not given; should be, as the plan says. Add its value."
            )
        given = {name: self._tracked(name, given[name], bounds) for name in self.fed}
        with np.errstate(all="ignore"):
            outputs = self._outputs(given, _Run(state, bounds, noise), known or {})
            changed = {name: x for name, x in state.items() if x is not before.get(name, state)}
            values = {fetch: self._fetched(outputs, fetch) for fetch in self.fetches}
            return Evaluation(
                {fetch: _settled(x) for fetch, x in values.items() if x is not None},
                {name: _settled(x) for name, x in changed.items()},
                outputs,
            )

    def _outputs(self, given: Mapping[str, Any], run: _Run, known: Outputs) -> Outputs:
        """Returns the outputs of all nodes."""
        outputs = {**known, **self._constants[run.bounds]}
        for name, shared_name in self._variables.items():
            outputs[name] = (Variable(shared_name, run.state, name in self._resources),)
        for name, value in given.items():
            outputs[source_of(name, self.fed)[0]] = (value,)
        self._execute(self.steps, outputs, run)
        return outputs

    def _fetched(self, outputs: Outputs, fetch: str) -> Any:
        """Returns the value of a tensor, or None for an operation or a dead tensor."""
        name, index = source_of(fetch, self.fed)
        if index >= len(outputs[name]):
            return None
        x = outputs[name][index]
        return x.value if isinstance(x, Variable) else None if x is DEAD else x

    def _execute(self, steps: Iterable[Any], outputs: Outputs, run: _Run) -> None:
        for step in steps:
            if type(step) is Loop:
                self._repeat(step, outputs, run)
                continue
            node, operation, sources, may_be_dead, controls = step
            inputs = [outputs[name][index] for name, index in sources]
            if may_be_dead and (
                any(x is DEAD for x in inputs)
                or any(outputs[name] is DEAD_OUTPUTS for name in controls)
            ):
                outputs[node.name] = DEAD_OUTPUTS
                continue
            for i in range(operation.variables, len(inputs)):
                x = inputs[i]
                if type(x) is Variable and not x.is_resource:
                    inputs[i] = x.value
            call = (functools.partial(self._call, run),) if operation.calls else ()
            try:
                result = operation.function(node, *call, *inputs)
            except eb.Undecided:
                result = _undecided(node, operation, call, inputs)
            if not isinstance(result, tuple):
                result = (result,)
            if not run.bounds:
                result = _values(result)
            elif run.noise and any(isinstance(x, ErrorBounded) for x in result):
                noise = run.noise
                result = tuple(noise(x) if isinstance(x, ErrorBounded) else x for x in result)
            outputs[node.name] = result

    def _repeat(self, loop: Loop, outer: Outputs, run: _Run) -> None:
        """Runs a loop of v1 control flow."""
        entered = {name: (outer[node][index],) for name, (node, index) in loop.enters.items()}
        if loop.may_be_dead and any(x is DEAD for (x,) in entered.values()):
            outer.update(dict.fromkeys(loop.exits, DEAD_OUTPUTS))
            return
        inputs = {**entered, **dict.fromkeys(loop.again, DEAD_OUTPUTS)}
        while True:
            outputs: Outputs = dict(inputs)
            self._execute(loop.steps, outputs, run)
            if all(outputs[name][0] is DEAD for name in loop.again):
                break
            inputs = dict.fromkeys(loop.enters, DEAD_OUTPUTS)
            inputs.update({name: entered[name] for name in loop.constants})
            inputs.update({name: outputs[name] for name in loop.again})
        outer.update({name: outputs[name] for name in loop.exits})

    def _call(self, run: _Run, name: str, arguments: Sequence[Any]) -> List[Any]:
        """Returns the results of a function of the graph."""
        function = self._graph.functions[name]
        if name not in self._bodies:
            graph = RecordedGraph(function.nodes, self._graph.functions)
            fetches = (*function.results, *function.control_results)
            self._bodies[name] = Plan(graph, fetches, function.arguments)
            self._bodies[name]._bodies = self._bodies
        body = self._bodies[name]
        outputs = body._outputs(dict(zip(function.arguments, arguments)), run, {})
        sources = [source_of(tensor, body.fed) for tensor in function.results]
        return [outputs[source][index] for source, index in sources]

    def _operation_of(self, node: Node, in_branch: bool) -> Operation:
        if node.op == "Const":
            value = OPERATIONS[node.op].function(node)
            return Operation(lambda node: value)
        if node.op in OPERATIONS:
            return OPERATIONS[node.op]
        if node.op in self._graph.functions:  # TensorFlow 1 calls a function by its name
            return Operation(lambda node, call, *inputs: tuple(call(node.op, inputs)), calls=True)
        if node.op.startswith("Placeholder") or is_source(node.op):
            return Operation(_not_fed)
        if in_branch:
            return Operation(_not_known)
        raise UnknownOperation(node)

    def _narrow_or_wide(self, nodes: Mapping[str, Node]) -> Dict[str, eb.Precision]:
        """Returns the precision of what is given from outside, where it is not float32."""
        dtypes = {self._variables[name]: nodes[name].attributes for name in self._variables}
        for tensor in self.fed:
            node = self._graph.nodes.get(node_and_output(tensor)[0])
            dtypes[tensor] = node.attributes if node else {}
        found = {}
        for name, attributes in dtypes.items():
            dtype = attributes.get("dtype") or attributes.get("T") or ""
            precision = eb.PRECISIONS.get(dtype, eb.SINGLE) if isinstance(dtype, str) else eb.SINGLE
            if precision is not eb.SINGLE:
                found[name] = precision
        return found

    def _tracked(self, name: str, value: Any, bounds: bool) -> Any:
        """Returns floats as the evaluation keeps them, and other values as arrays."""
        if isinstance(value, ErrorBounded):
            if not bounds:
                return value.value
            if name in self._precisions and value.precision is not eb.WHOLE:
                return ErrorBounded(value.value, value.error, self._precisions[name])
            return value
        array = np.asarray(value)
        if array.dtype.kind != "f":
            return array
        if not bounds:
            return array.astype(np.float64)
        return ErrorBounded(array, None, self._precisions.get(name, eb.SINGLE))


def _not_fed(node: Node, *_: Any) -> Any:
    raise InputError(
        f"node {node.name!r}: the run needs what {node.op} gives, and it is not fed; the evaluator "
        "should be given it. Feed the value that the recording holds, in the feeds or the outputs "
        "of its run. A recording holds no output of a random operation inside of a loop or branch."
    )


def _not_known(node: Node, *_: Any) -> Any:
    raise UnknownOperation(node)


def _undecided(
    node: Node, operation: Operation, call: Tuple[Any, ...], inputs: Sequence[Any]
) -> Tuple[Any, ...]:
    """Returns what an operation gives for the values, when it needs whole numbers that are open."""
    is_open = [isinstance(x, ErrorBounded) and x.precision is eb.WHOLE for x in inputs]
    values = [x.value.astype(np.int64) if o else x for x, o in zip(inputs, is_open)]
    result = operation.function(node, *call, *values)
    for x in inputs[: operation.variables]:
        if isinstance(x, Variable) and (operation.writes or operation.calls):
            (x.value,) = all_unknown([x.value])
    return all_unknown(result if isinstance(result, tuple) else (result,))


def _values(result: Tuple[Any, ...]) -> Tuple[Any, ...]:
    """Returns outputs without errors."""
    if any(isinstance(x, ErrorBounded) for x in result):
        return tuple(x.value if isinstance(x, ErrorBounded) else x for x in result)
    return result


def _settled(x: Any) -> Any:
    return eb.settled(x) if isinstance(x, ErrorBounded) else x
