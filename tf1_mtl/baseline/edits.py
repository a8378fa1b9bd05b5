"""Edits of a recorded graph: what a wrong port does otherwise, and where.

An edit returns a new graph in which the forward operation and its gradient operations are changed
together. TensorFlow names the gradient operations of `name` `<scope>/name_grad/...`, with one scope
for each loss: `gradients`, `gradients_1`.
"""

import itertools
import re
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.error_bounds import ErrorBounded, value_of
from tf1_mtl.baseline.operations import OPERATIONS
from tf1_mtl.baseline.operations.table import gives, updates
from tf1_mtl.baseline.recorded_graph import (
    ASSIGNMENTS,
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    node_and_output,
    variable_of,
)
from tf1_mtl.baseline.simulation import HYPER, Update, rule_of, updates_of

Nodes = Dict[str, Node]


class Edit(NamedTuple):
    """One thing that a port does otherwise."""

    kind: str  #: an identifier of `catalogue.WORDS`
    places: Tuple[str, ...]  #: nodes, variables, feeds, tasks, or "task/variable"
    value: Any = None  #: a number or a name; None where the kind says it all


@gives("Edited")
def _edited(node: Node, *inputs: Any) -> Any:
    return node.attributes["function"](*inputs)


for _cells in range(1, 5):
    updates(_cells, f"EditedUpdate{_cells}")(_edited)


def edited(name: str, function: Callable[..., Any], *inputs: str) -> Node:
    """Return a node that calls a function of its inputs."""
    return Node(name, "Edited", inputs, {"function": function})


def elementwise(
    function: Callable[[np.ndarray], np.ndarray], least: float = 0.0
) -> Callable[[Any], Any]:
    """Return a function that carries errors through a function of float64 arrays.

    The error covers what changes between `x - error` and `x + error`, a few roundings, and `least`.
    """

    def bounded(x: Any) -> Any:
        if not isinstance(x, ErrorBounded):
            return function(np.asarray(x, np.float64))
        value = function(x.value)
        sides = (function(x.value + x.error), function(x.value - x.error))
        change = np.maximum(*(np.abs(side - value) for side in sides))
        rounding = 8 * x.precision.unit * np.maximum(np.abs(value), np.abs(x.value))
        return ErrorBounded(
            value, change + np.where(x.value == 0, 0, rounding) + least, x.precision
        )

    return bounded


def with_nodes(graph: RecordedGraph, changed: Iterable[Node]) -> RecordedGraph:
    """Return a graph in which these nodes replace those of their names, or are new."""
    given = {node.name: node for node in changed}
    nodes = {**graph.nodes, **given}
    if id(graph.nodes) in _INDEXES:
        _keep(_INDEXES[id(graph.nodes)].changed(nodes, given))
    return graph._replace(nodes=nodes)


class GradientScope(NamedTuple):
    """The gradient operations of one forward operation for one loss."""

    prefix: str  #: "gradients_1/"
    nodes: Tuple[str, ...]
    leaving: Tuple[str, ...]  #: tensors that nodes outside of the scope take
    entering: Tuple[str, ...]  #: tensors of gradients that the scope takes from outside


_GRADIENTS = re.compile(r"((?:.*/)?gradients(?:_\d+)?/)")
_SCOPE = re.compile(r"((?:.*/)?gradients(?:_\d+)?/)(.+?)_grad/")


class _Index(NamedTuple):
    """What edits look up in a graph."""

    nodes: Mapping[str, Node]  #: of the graph, so that their identity stays taken
    scopes: Dict[str, Dict[str, List[str]]]  #: by forward operation and prefix
    users: Dict[str, List[Tuple[str, str]]]  #: by node: who takes which tensor of it

    def changed(self, nodes: Mapping[str, Node], given: Mapping[str, Node]) -> "_Index":
        """Return the index of a graph with some other nodes.

        Args:
          nodes: All nodes of that graph.
          given: Those that are new, or replace others.
        """
        scopes, users = dict(self.scopes), dict(self.users)
        for name, node in given.items():
            replaced = self.nodes.get(name)
            match = None if replaced else _SCOPE.match(name)
            if match:
                prefix, forward = match.groups()
                scopes[forward] = dict(scopes.get(forward, {}))
                scopes[forward][prefix] = [*scopes[forward].get(prefix, []), name]
            for tensor in replaced.data_inputs if replaced else ():
                source = node_and_output(tensor)[0]
                users[source] = [user for user in users[source] if user[0] != name]
            for tensor in node.data_inputs:
                source = node_and_output(tensor)[0]
                users[source] = [*users.get(source, []), (name, canonical(tensor))]
        return _Index(nodes, scopes, users)


_INDEXES: Dict[int, _Index] = {}


def _index(graph: RecordedGraph) -> _Index:
    """Return the index of a graph, made once while the graph is in use."""
    if id(graph.nodes) not in _INDEXES:
        _keep(_Index({}, {}, {}).changed(graph.nodes, graph.nodes))
    return _INDEXES[id(graph.nodes)]


def _keep(index: _Index) -> None:
    if len(_INDEXES) > 1000:
        _INDEXES.clear()
    _INDEXES[id(index.nodes)] = index


def gradient_scopes(graph: RecordedGraph, name: str) -> List[GradientScope]:
    """Return the gradient operations of a forward operation, one scope for each loss."""
    index = _index(graph)
    forward = {name, *(node_and_output(x)[0] for x in graph.nodes[name].data_inputs)}
    found = []
    for prefix, nodes in index.scopes.get(name, {}).items():
        inside = set(nodes)
        leaving: Dict[str, None] = {}
        entering: Dict[str, None] = {}
        for inner in nodes:
            for user, tensor in index.users.get(inner, ()):
                if user not in inside:
                    leaving[tensor] = None
            for tensor in graph.nodes[inner].data_inputs:
                source = node_and_output(tensor)[0]
                if source not in inside and source not in forward and source.startswith(prefix):
                    entering[tensor] = None
        found.append(GradientScope(prefix, tuple(nodes), tuple(leaving), tuple(entering)))
    return found


def replace_pointwise(
    graph: RecordedGraph,
    name: str,
    function: Optional[Callable[[Any], Any]],
    slope: Callable[[Any, Any], Any],
) -> RecordedGraph:
    """Replace an operation of one input and its gradient.

    Args:
      graph: The graph.
      name: The operation.
      function: Of the input; None keeps the forward operation.
      slope: From the gradient from above and the input to the gradient below.
    """
    node = graph.nodes[name]
    x = node.data_inputs[0]
    changed = [] if function is None else [edited(name, function, x, *_controls(node))]
    for scope in gradient_scopes(graph, name):
        if len(scope.leaving) == 1 and len(scope.entering) == 1:
            target = node_and_output(scope.leaving[0])[0]
            changed.append(edited(target, slope, scope.entering[0], x))
    return with_nodes(graph, changed)


def _controls(node: Node) -> Tuple[str, ...]:
    return tuple("^" + name for name in node.control_inputs)


def scale_output(
    graph: RecordedGraph, name: str, factor: Callable[[Tuple[int, ...]], float]
) -> RecordedGraph:
    """Multiply the output of an operation, and the gradients that flow into it.

    Args:
      graph: The graph.
      name: The operation.
      factor: Gives the number from the shape of the first input.
    """
    inputs = graph.nodes[name].data_inputs

    def scaled(y: Any, *x: Any) -> Any:
        return y * factor(np.shape(value_of(x[0])) if x else ())

    changed = _wrapped(graph, name, scaled, *inputs[:1])
    for scope in gradient_scopes(graph, name):
        for tensor in scope.leaving:
            changed += _wrapped(graph, node_and_output(tensor)[0], scaled, *inputs[:1])
    return with_nodes(graph, changed)


def _wrapped(
    graph: RecordedGraph, name: str, function: Callable[..., Any], *more: str
) -> List[Node]:
    """Return nodes by which the output of a node passes through a function.

    Args:
      graph: The graph.
      name: The node.
      function: Of the output and of more tensors.
      more: These tensors.
    """
    inner = name + "/before the edit"
    while inner in graph.nodes:
        inner += " "
    return [graph.nodes[name]._replace(name=inner), edited(name, function, inner, *more)]


def scale_addend(
    graph: RecordedGraph, total: str, addend: str, factor: float, scopes: Set[str]
) -> RecordedGraph:
    """Multiply one addend of a sum of losses, and its gradient for the losses that sum it.

    Args:
      graph: The graph.
      total: The operation that adds.
      addend: The operation that is one of its inputs.
      factor: By what to multiply.
      scopes: Prefixes of the gradients of the losses that contain the sum.
    """
    weighted = f"{addend}/in {total}"
    node = graph.nodes[total]
    inputs = tuple(weighted if node_and_output(x)[0] == addend else x for x in node.inputs)
    changed = [times(weighted, factor, addend), node._replace(inputs=inputs)]
    for scope in gradient_scopes(graph, addend):
        if scope.prefix in scopes:
            for tensor in scope.leaving:
                name = node_and_output(tensor)[0]
                changed += _wrapped(graph, name, lambda x: x * factor)
    return with_nodes(graph, changed)


def times(name: str, factor: float, tensor: str) -> Node:
    """Return a node that multiplies a tensor."""
    return edited(name, lambda x: x * factor, tensor)


def prefixes_of(graph: RecordedGraph, operations: Iterable[str]) -> Set[str]:
    """Return the prefixes of the gradient operations that training operations need."""
    found = (_GRADIENTS.match(name) for name in needed_nodes(graph.nodes, operations))
    return {match.group(1) for match in found if match}


PRODUCTS = ("MatMul", "BatchMatMul", "BatchMatMulV2", "Conv2D")
_BACKWARD_PRODUCTS = ("Conv2DBackpropInput", "Conv2DBackpropFilter")


def round_products(
    graph: RecordedGraph, name: str, rounding: Callable[[np.ndarray], np.ndarray]
) -> RecordedGraph:
    """Round both operands of a product, and of the products of its gradients."""
    nodes = [name, *(x for scope in gradient_scopes(graph, name) for x in scope.nodes)]
    changed = []
    for each in nodes:
        node = graph.nodes[each]
        if node.op in (*PRODUCTS, *_BACKWARD_PRODUCTS):
            changed.append(edited(each, _rounded_product(node, rounding), *node.inputs))
    return with_nodes(graph, changed)


def _rounded_product(node: Node, rounding: Callable[[np.ndarray], np.ndarray]) -> Any:
    function = OPERATIONS[node.op].function

    def product(*inputs: Any) -> Any:
        return function(node, *(round_to(rounding, x) for x in inputs))

    return product


def round_to(rounding: Callable[[np.ndarray], np.ndarray], x: Any) -> Any:
    """Return a float tensor rounded by a function; where its error decides, both sides count."""
    if not isinstance(x, ErrorBounded):
        return rounding(x) if np.asarray(x).dtype.kind == "f" else x
    value = rounding(x.value)
    sides = (rounding(x.value + x.error), rounding(x.value - x.error))
    error = np.maximum(*(np.abs(side - value) for side in sides))
    return ErrorBounded(value, error, x.precision)


def stop_gradient(graph: RecordedGraph, name: str, prefixes: Set[str]) -> RecordedGraph:
    """Stop the gradients that flow from an operation to those before it, not to variables.

    Args:
      graph: The graph.
      name: A product, such as the first of a task.
      prefixes: Of the gradients that stop.
    """
    users = _index(graph).users
    changed = []
    for scope in gradient_scopes(graph, name):
        for tensor in scope.leaving if scope.prefix in prefixes else ():
            source = node_and_output(tensor)[0]
            if any(user.startswith(scope.prefix) for user, _ in users.get(source, ())):
                changed += _wrapped(graph, source, lambda x: x * 0.0)
    return with_nodes(graph, changed)


def with_moved_weights(model: Any, names: Iterable[str]) -> Any:
    """Take gradients that flow through weights from the weights after their update.

    Args:
      model: A `simulation.Model`.
      names: Weights, by their names in the port.
    """
    graph, moved = model.graph, dict(model.moved)
    changed = []
    for name in names:
        after = f"{name} after its update"
        for product in [n for n, node in graph.nodes.items() if node.op in PRODUCTS]:
            weight = graph.nodes[product].data_inputs[1]
            if variable_of(graph.nodes, weight) != model.case.weights.get(name):
                continue
            for scope in gradient_scopes(graph, product):
                for inner in map(graph.nodes.__getitem__, scope.nodes):
                    if weight in inner.inputs and inner.op in (*PRODUCTS, *_BACKWARD_PRODUCTS):
                        inputs = tuple(after if x == weight else x for x in inner.inputs)
                        changed.append(inner._replace(inputs=inputs))
                        moved[after] = name
        changed.append(Node(after, "Placeholder", (), {"dtype": "float32"}))
    return model._replace(graph=with_nodes(graph, changed), moved=moved)


def with_penalty(model: Any, names: Iterable[str], factor: float, resting: bool = False) -> Any:
    """Add half a factor times the squares of weights to each loss that trains them.

    Args:
      model: A `simulation.Model`.
      names: Weights, by their names in the port.
      factor: Of the weight in the gradient.
      resting: Whether the loss contains also the weights that its task does not train.
    """
    case, graph = model.case, model.graph
    tasks, changed = dict(case.tasks), []
    names = list(names)
    of = "penalty of " + " and ".join(names)
    for task in case.tasks.values():
        changes = updates_of(case, graph, task.name)
        penalized = [name for name in names if name in changes]
        loss = f"{task.name}/loss with a {of}"
        if not task.loss or not penalized:
            continue
        reads = [case.weights[name] for name in (names if resting else penalized)]
        changed.append(edited(loss, _penalized(factor), task.loss, *reads))
        tasks[task.name] = task._replace(loss=loss)
    model = with_gradients(model, names, lambda g, w: g + w * factor)
    case, graph = case._replace(tasks=tasks), with_nodes(model.graph, changed)
    return model._replace(case=case, graph=graph)


def with_gradients(model: Any, names: Iterable[str], function: Callable[[Any, Any], Any]) -> Any:
    """Change gradients as they come out of the backward pass, before a graph clips them.

    Args:
      model: A `simulation.Model`.
      names: Weights, by their names in the port.
      function: From the gradient and the weight to the changed gradient.
    """
    graph = model.graph
    for update in _updates_of_all(model, names):
        tensor = raw_gradient(graph, update)
        weight = update.node.data_inputs[0]
        name = node_and_output(tensor)[0]
        if tensor != name:  # one of several outputs
            name = f"{update.node.name}/edited gradient"
            inputs = list(update.node.inputs)
            inputs[update.gradient] = name
            changed = [
                edited(name, function, tensor, weight),
                update.node._replace(inputs=tuple(inputs)),
            ]
        else:
            changed = _wrapped(graph, name, function, weight)
        graph = with_nodes(graph, changed)
    return model._replace(graph=graph)


def without_clipping(model: Any, names: Iterable[str]) -> Any:
    """Apply gradients as they come out of the backward pass.

    Args:
      model: A `simulation.Model`.
      names: Weights, by their names in the port.
    """
    changed = []
    for update in _updates_of_all(model, names):
        inputs = list(update.node.inputs)
        inputs[update.gradient] = raw_gradient(model.graph, update)
        changed.append(update.node._replace(inputs=tuple(inputs)))
    return model._replace(graph=with_nodes(model.graph, changed))


def _updates_of_all(model: Any, names: Iterable[str]) -> List[Update]:
    """Return the updates of some weights in all tasks, one for each gradient."""
    names, found = set(names), {}
    for task in model.case.tasks:
        for name, update in updates_of(model.case, model.graph, task).items():
            if name in names:
                found[raw_gradient(model.graph, update)] = update
    return list(found.values())


def raw_gradient(graph: RecordedGraph, update: Update) -> str:
    """Return the tensor that an update applies, as it comes out of the backward pass."""
    applied = canonical(update.node.data_inputs[update.gradient])
    waiting, seen = [applied], set()
    while waiting:
        tensor = waiting.pop(0)
        name = node_and_output(tensor)[0]
        if _GRADIENTS.match(name):
            return tensor
        if name not in seen:
            seen.add(name)
            waiting += map(canonical, graph.nodes[name].data_inputs)
    return applied


def _penalized(factor: float) -> Callable[..., Any]:
    def penalized(loss: Any, *weights: Any) -> Any:
        for w in weights:
            loss = loss + eb.total(w * w) * (factor / 2)
        return loss

    return penalized


def with_bias(model: Any, name: str, start: float, program: Optional[Any] = None) -> Any:
    """Add a bias to the input of an activation, trained by the rule of the weights.

    Args:
      model: A `simulation.Model`.
      name: The activation.
      start: Initial value of all elements.
      program: A `simulation.Program` whose rule trains the bias; None for that of the weights.
    """
    case, graph = model.case, model.graph
    if name not in graph.nodes:
        return model
    x, bias = graph.nodes[name].data_inputs[0], f"bias of {name}"
    product = graph.nodes[node_and_output(x)[0]]
    weight = product.op in PRODUCTS and variable_of(graph.nodes, product.data_inputs[1])
    if not weight:
        return model
    columns = case.initial[weight].shape[-1]
    activation = graph.nodes[name]
    inputs = tuple(f"{bias}/add" if i == x else i for i in activation.inputs)
    changed = {
        bias: Node(bias, "VariableV2", (), {"dtype": "float32", "shape": [columns]}),
        f"{bias}/add": edited(f"{bias}/add", lambda a, b: a + b, x, bias),
        name: activation._replace(inputs=inputs),
    }
    hidden = {**model.hidden, bias: np.full(columns, start, np.float32)}
    for task in case.tasks.values():
        prefixes = prefixes_of(graph, task.operations)
        scope = next((s for s in gradient_scopes(graph, name) if s.prefix in prefixes), None)
        changes = updates_of(case, graph, task.name)
        if scope is None or not scope.leaving or not changes:
            continue
        rule = next(iter(changes.values()))
        gradient = f"{bias}/gradient of {task.name}"
        changed[gradient] = edited(gradient, _sum_rows, scope.leaving[0])
        given = list(rule.node.data_inputs)
        given[0], given[rule.gradient] = bias, gradient
        for number, cell in enumerate(rule.cells[1:], 1):
            given[number] = slot = f"{gradient}/slot {number}"
            changed[slot] = Node(slot, "VariableV2", (), {"dtype": "float32"})
            hidden[slot] = np.full(columns, case.initial[cell].flat[0], np.float32)
        update = f"{gradient}/update"
        changed[update] = _update_node(update, rule, tuple(given), program)
        # Beta powers and counters change after all updates, as those of the graph do.
        needed = needed_nodes(graph.nodes, task.operations).values()
        later = [node.name for node in needed if ASSIGNMENTS.fullmatch(node.op)]
        for name_of_later in (task.operations[0], *later):
            node = changed.get(name_of_later, graph.nodes[name_of_later])
            changed[node.name] = node._replace(inputs=(*node.inputs, "^" + update))
    return model._replace(graph=with_nodes(graph, changed.values()), hidden=hidden)


def _update_node(name: str, rule: Update, inputs: Tuple[str, ...], program: Any) -> Node:
    """Return an update operation with the rule of another one, or of a program."""
    if program is None:
        return rule.node._replace(name=name, inputs=inputs)
    names = HYPER[rule_of(rule.node)]
    cells = len(rule.cells)

    def update(*values: Any) -> Any:
        given = dict(zip(names, values[cells : rule.gradient] + values[rule.gradient + 1 :]))
        given.update(program.hyper)
        if program.rule:
            program.rule(list(values[:cells]), given, values[rule.gradient])
        else:
            plain = (given[n] for n in names)
            before = list(itertools.islice(plain, rule.gradient - cells))
            OPERATIONS[rule.node.op].function(
                rule.node, *values[:cells], *before, values[rule.gradient], *plain
            )
        return values[0]

    return Node(name, f"EditedUpdate{cells}", inputs, {"function": update})


def _sum_rows(x: Any) -> Any:
    axes = tuple(range(np.ndim(value_of(x)) - 1))
    return eb.total(x, axis=axes) if axes else x
