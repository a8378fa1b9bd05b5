"""Edits models, for ports that train something else: other gradients, penalties, biases."""

from typing import Any, Callable, Dict, Iterable, List, Mapping, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.case import Case
from tf1_mtl.baseline.diagnosis.graph_edits import (
    BACKWARD_PRODUCTS,
    PRODUCTS,
    edited,
    with_nodes,
    wrapped,
)
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, Model, Update, updates_of
from tf1_mtl.baseline.diagnosis.replay import Program, apply_rule
from tf1_mtl.baseline.error_bounds import value_of
from tf1_mtl.baseline.gradient_scopes import GRADIENTS, gradient_scopes, prefixes_of
from tf1_mtl.baseline.operations import OPERATIONS
from tf1_mtl.baseline.recorded_graph import (
    ASSIGNMENTS,
    Node,
    RecordedGraph,
    canonical,
    needed_nodes,
    node_and_output,
    variable_of,
)


def with_moved_weights(model: Model, names: Iterable[str]) -> Model:
    """Takes gradients that flow through weights from the weights after their update.

    Args:
      model: What is edited.
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
                    if weight in inner.inputs and inner.op in (*PRODUCTS, *BACKWARD_PRODUCTS):
                        inputs = tuple(after if x == weight else x for x in inner.inputs)
                        changed.append(inner._replace(inputs=inputs))
                        moved[after] = name
        changed.append(Node(after, "Placeholder", (), {"dtype": "float32"}))
    return model.with_graph(with_nodes(graph, changed))._replace(moved=moved)


def with_penalty(model: Model, names: Iterable[str], factor: float, resting: bool = False) -> Model:
    """Adds half a factor times the squares of weights to each loss that trains them.

    Args:
      model: What is edited.
      names: Weights, by their names in the port.
      factor: Of the weight in the gradient.
      resting: Whether the loss contains also the weights that its task does not train.
    """
    names = list(names)
    tasks, changed = dict(model.case.tasks), []
    for key, task in model.case.tasks.items():
        trained = model.case.trained_weights(key)
        penalized = [name for name in names if name in trained]
        loss = f"{task.loss} of {key} with a penalty of {' and '.join(names)}"
        if task.loss and penalized:
            reads = [model.case.weights[name] for name in (names if resting else penalized)]
            changed.append(edited(loss, _penalized(factor), task.loss, *reads))
            tasks[key] = task._replace(loss=loss)
    model = with_gradients(model, names, lambda g, w: g + w * factor)
    model = model.with_graph(with_nodes(model.graph, changed))
    return model._replace(case=model.case._replace(tasks=tasks))


def _penalized(factor: float) -> Callable[..., Any]:
    def penalized(loss: Any, *weights: Any) -> Any:
        for w in weights:
            loss = loss + eb.total(w * w) * (factor / 2)
        return loss

    return penalized


def with_gradients(
    model: Model, names: Iterable[str], function: Callable[[Any, Any], Any]
) -> Model:
    """Changes gradients as they come out of the backward pass, before a graph clips them.

    Args:
      model: What is edited.
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
            changed = [edited(name, function, tensor, weight), _applying(graph, update, name)]
        else:
            changed = wrapped(graph, name, function, weight)
        graph = with_nodes(graph, changed)
    return model.with_graph(graph)


def with_more_gradient(model: Model, variable: str, prefix: str, tensor: str) -> Model:
    """Adds a tensor to the gradients of a variable in one loss; a sparse one gets all rows.

    Args:
      model: What is edited.
      variable: The variable.
      prefix: Of the gradients of the loss.
      tensor: In the shape of the variable.

    Raises:
      DoesNotFit: A gradient has another form.
    """
    names = [name for name, x in model.case.weights.items() if x == variable]
    changed: List[Node] = []
    others = _updates_of_all(model, set(model.case.weights).difference(names))
    of_others = {raw_gradient(model.graph, update) for update in others}
    for update in _updates_of_all(model, names):
        raw = raw_gradient(model.graph, update)
        if not raw.startswith(prefix):
            continue
        if raw in of_others or raw not in model.graph.nodes:
            raise DoesNotFit
        if update.indices is None:
            changed += wrapped(model.graph, raw, lambda g, more: g + more, tensor)
        else:
            rows, all_rows = wrapped(model.graph, _rows_of(model.graph, update), _all_rows, tensor)
            changed += [rows, all_rows, *wrapped(model.graph, raw, _summed, rows.name, tensor)]
    return model.with_graph(with_nodes(model.graph, changed))


def _rows_of(graph: RecordedGraph, update: Update) -> str:
    """Returns the operation that gives the rows of a sparse gradient; some may be equal."""
    tensor = update.node.data_inputs[update.indices or 0]
    before = graph.nodes[node_and_output(tensor)[0]]
    tensor = canonical(before.data_inputs[0] if before.op == "Unique" else tensor)
    if not GRADIENTS.match(tensor) or tensor not in graph.nodes:
        raise DoesNotFit
    return tensor


def _summed(values: Any, rows: np.ndarray, more: Any) -> Any:
    """Returns the sum of rows, and of a tensor with all rows."""
    node, count = Node("", "UnsortedSegmentSum", ()), np.int32(np.shape(value_of(more))[0])
    return OPERATIONS[node.op].function(node, values, rows, count) + more


def _all_rows(rows: np.ndarray, more: Any) -> np.ndarray:
    return np.arange(np.shape(value_of(more))[0], dtype=rows.dtype)


def with_variables(model: Model, instead: Mapping[str, str]) -> Model:
    """Computes with other variables, which get the gradients of those that they stand for.

    Operations that read a variable themselves, such as a gather, still read the recorded one.

    Args:
      model: What is edited.
      instead: By the name of a weight: that of the weight of its shape that takes its place.
    """
    graph, weights = model.graph, model.case.weights
    reads = {
        weights[name]: [
            node.name
            for node in graph.nodes.values()
            if node.op in ("Identity", "ReadVariableOp") and node.data_inputs[0] == weights[name]
        ]
        for name in (*instead, *instead.values())
    }
    changed = [
        graph.nodes[read]._replace(inputs=(weights[other], *graph.nodes[read].inputs[1:]))
        for name, other in instead.items()
        for read in reads[weights[name]]
    ]
    graph = with_nodes(graph, changed)
    for task in model.case.tasks:
        graph = _with_exchanged_gradients(graph, updates_of(model.case, task), instead)
    return model.with_graph(graph)


def _with_exchanged_gradients(
    graph: RecordedGraph, updates: Mapping[str, Update], instead: Mapping[str, str]
) -> RecordedGraph:
    """Gives each weight the gradients of what it stands for."""
    raw = {
        name: raw_gradient(graph, update)
        for name, update in updates.items()
        if has_gradient(graph, update)
    }
    changed = []
    for name in [n for n in dict.fromkeys((*instead, *instead.values())) if n in raw]:
        if raw[name] not in graph.nodes:
            raise DoesNotFit  # one of several outputs
        stands_for = [x for x, other in instead.items() if other == name and x in raw]
        stands_for += [] if name in instead else [name]
        taken = [f"{raw[x]}/of {x}" for x in stands_for]
        own = f"{raw[name]}/of {name}"
        changed.append(graph.nodes[raw[name]]._replace(name=own))
        # Without any use the gradient is zero.
        changed.append(edited(raw[name], _sum_or_zero, own, *taken))
    return with_nodes(graph, changed)


def _sum_or_zero(own: Any, *used: Any) -> Any:
    total = own * 0.0
    for gradient in used:
        total = total + gradient
    return total


def without_clipping(model: Model, names: Iterable[str]) -> Model:
    """Applies gradients as they come out of the backward pass.

    Args:
      model: What is edited.
      names: Weights, by their names in the port.
    """
    updates = _updates_of_all(model, names)
    graph = model.graph
    changed = [_applying(graph, update, raw_gradient(graph, update)) for update in updates]
    return model.with_graph(with_nodes(graph, changed))


def is_clipped(graph: RecordedGraph, update: Update) -> bool:
    """Returns whether a graph changes a gradient after its backward pass.

    What an assignment takes, as sparse updates of plain descent, is not a gradient.
    """
    if ASSIGNMENTS.fullmatch(update.node.op):
        return False
    node, place = _taker(graph, update)
    return raw_gradient(graph, update) != canonical(node.data_inputs[place])


def _taker(graph: RecordedGraph, update: Update) -> Tuple[Node, int]:
    """Returns the operation that takes a gradient, and as which input.

    That is the update. Before that of a sparse gradient, equal rows are summed.
    """
    gradient = update.node.data_inputs[update.gradient]
    before = graph.nodes[node_and_output(gradient)[0]]
    is_sum = update.indices is not None and before.op == "UnsortedSegmentSum"
    is_sum = is_sum and not GRADIENTS.match(before.name)
    return (before, 0) if is_sum else (update.node, update.gradient)


def _applying(graph: RecordedGraph, update: Update, gradient: str) -> Node:
    """Returns the operation that takes the gradient of an update, with another one."""
    node, place = _taker(graph, update)
    inputs = list(node.inputs)
    inputs[place] = gradient
    return node._replace(inputs=tuple(inputs))


def _updates_of_all(model: Model, names: Iterable[str]) -> List[Update]:
    """Returns the updates of some weights in all tasks, one for each gradient."""
    names, found = set(names), {}
    for task in model.case.tasks:
        for name, update in updates_of(model.case, task).items():
            if name in names:
                found[raw_gradient(model.graph, update)] = update
    return list(found.values())


def raw_gradient(graph: RecordedGraph, update: Update) -> str:
    """Returns the tensor that an update applies, as it comes out of the backward pass."""
    node, place = _taker(graph, update)
    applied = canonical(node.data_inputs[place])
    waiting, seen = [applied], set()
    while waiting:
        tensor = waiting.pop(0)
        name = node_and_output(tensor)[0]
        if GRADIENTS.match(name):
            return tensor
        if name not in seen:
            seen.add(name)
            waiting += map(canonical, graph.nodes[name].data_inputs)
    return applied


def clipping_numbers(case: Case) -> List[float]:
    """Returns the numbers by which a graph changes gradients after its backward pass."""
    graph = case.graph
    found: Dict[float, None] = {}
    gradients = {name for name in graph.nodes if GRADIENTS.match(name)}
    for task in case.tasks:
        for update in updates_of(case, task).values():
            node, place = _taker(graph, update)
            tensor = node.data_inputs[place]
            clipped = [tensor] if is_clipped(graph, update) else []
            for inner in needed_nodes(graph.nodes, clipped, known=gradients).values():
                value = np.ravel(inner.attributes.get("value", ()))
                if value.size == 1 and value.dtype.kind == "f" and value[0] > 0:
                    found[float(value[0])] = None
    return list(found)


def has_gradient(graph: RecordedGraph, update: Update) -> bool:
    """Returns whether an update applies a gradient, unlike that of a moving average."""
    return bool(GRADIENTS.match(raw_gradient(graph, update)))


def is_copy(nodes: Mapping[str, Node], update: Update) -> bool:
    """Returns whether an update gives a variable the value of another one."""
    is_assign = update.node.op in ("Assign", "AssignVariableOp")
    return is_assign and variable_of(nodes, update.node.data_inputs[-1]) is not None


def with_bias(model: Model, name: str, start: float, program: Program) -> Model:
    """Adds a bias to the input of an activation, trained by the rule of the weights.

    Args:
      model: What is edited.
      name: The activation.
      start: Initial value of all elements.
      program: What the optimizers do to the bias.
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
    initial = {**case.initial, bias: np.full(columns, start, np.float32)}
    for key, task in case.tasks.items():
        prefixes = prefixes_of(graph, task.operations)
        scope = next((s for s in gradient_scopes(graph, name) if s.prefix in prefixes), None)
        changes = updates_of(case, key)
        if scope is None or not scope.leaving or not changes:
            continue
        rule = next(iter(changes.values()))
        gradient = f"{bias}/gradient of {key}"
        changed[gradient] = edited(gradient, _sum_rows, scope.leaving[0])
        given = list(rule.node.data_inputs)
        given[0], given[rule.gradient] = bias, gradient
        for number, cell in enumerate(rule.cells[1:], 1):
            given[number] = slot = f"{gradient}/slot {number}"
            changed[slot] = Node(slot, "VariableV2", (), {"dtype": "float32"})
            initial[slot] = np.full(columns, case.initial[cell].flat[0], np.float32)
        update = f"{gradient}/update"
        changed[update] = _update_node(update, rule, tuple(given), program)
        # Beta powers and counters change after all updates, as those of the graph do.
        needed = needed_nodes(graph.nodes, task.operations).values()
        later = [node.name for node in needed if ASSIGNMENTS.fullmatch(node.op)]
        for name_of_later in (task.operations[0], *later):
            node = changed.get(name_of_later, graph.nodes[name_of_later])
            changed[node.name] = node._replace(inputs=(*node.inputs, "^" + update))
    model = model.with_graph(with_nodes(graph, changed.values()))
    return model._replace(case=model.case._replace(initial=initial))


def _update_node(name: str, update: Update, inputs: Tuple[str, ...], program: Program) -> Node:
    """Returns an update operation with the rule of another one, or of a program."""
    cells = len(update.cells)

    def apply(*values: Any) -> Any:
        hyper = {key: values[i] for key, i in update.hyper.items()}
        hyper.update(program.hyper)
        apply_rule(program, update, values[:cells], hyper, values, values[update.gradient])
        return values[0]

    return Node(name, f"EditedUpdate{cells}", inputs, {"function": apply})


def _sum_rows(x: Any) -> Any:
    axes = tuple(range(np.ndim(value_of(x)) - 1))
    return eb.total(x, axis=axes) if axes else x
