"""Reads a graph without running it: what a run needs, reads and writes, and the parts of the graph.

A graph is a `tf.Graph`, or a `ReadableGraph`, which gives a recorded one the same small interface.
TensorFlow is not imported here.

The parts follow from how nodes are connected, and from names that TensorFlow gives. `tf.gradients`
works in a scope "gradients" and names the part of each op "<op>_grad". An optimizer updates a
variable in "<optimizer>/update_<variable>". The initial value and the first assignment of a
variable are in its own scope.
"""

import collections
import re
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
)

from tf1_mtl.baseline.recorded_graph import (
    ASSIGNMENTS,
    REF_VARIABLES,
    RULES,
    VARIABLES,
    Node,
    RecordedGraph,
    node_and_output,
)

Graph = Any  # tf.Graph or ReadableGraph
Operation = Any  # tf.Operation or RecordedOperation
Tensor = Any  # tf.Tensor or RecordedTensor

PLACEHOLDERS = ("Placeholder", "PlaceholderV2")
READS = ("Identity", "ReadVariableOp")

_LOOKS_ONLY = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd"}
_OVERWRITES = {"Assign", "AssignVariableOp"}
_TOUCHES_NO_VALUE = {"IsVariableInitialized", "VarIsInitializedOp", "VariableShape"}
_PASSES_ON = {"Enter", "Exit", "Identity", "Merge", "NextIteration", "Switch"}
_SIZES = {"OnesLike", "Rank", "Shape", "ShapeN", "Size", "ZerosLike"}
_REDUCTIONS = {"All", "Any", "Max", "Mean", "Min", "Prod", "Sum"}
#: A part of the forward graph with more nodes is divided by name scope, into so many parts.
_LARGE, _MOST_SCOPES = 60, 8

_GRADIENTS = re.compile(r"((?:.*/)?gradients(?:_\d+)?)/")


class DType(NamedTuple):
    """Holds the dtype of a recorded tensor, named as TensorFlow names it."""

    name: str  #: such as "float32", "float32_ref" or "resource"


class RecordedOperation:
    """Makes a node of a recorded graph readable as a `tf.Operation`."""

    def __init__(self, node: Node) -> None:
        self.name, self.type = node.name, node.op
        self.inputs: List[RecordedTensor] = []
        self.control_inputs: List[RecordedOperation] = []
        self.outputs: List[RecordedTensor] = []
        self._attributes = node.attributes

    def get_attr(self, name: str) -> Any:
        """Returns an attribute as the recording holds it."""
        return self._attributes[name]

    def output(self, index: int) -> "RecordedTensor":
        """Returns an output; a recording shows those that something takes, and the first one."""
        while len(self.outputs) <= index:
            self.outputs.append(RecordedTensor(self, len(self.outputs)))
        return self.outputs[index]

    @property
    def writes(self) -> bool:
        """Returns True if the operation changes the variables that it is given."""
        return bool(RULES.fullmatch(self.type) or ASSIGNMENTS.fullmatch(self.type))

    @property
    def dtype(self) -> DType:
        """Returns the dtype of the outputs."""
        if self.type == "VarHandleOp":
            return DType("resource")
        keys = ("DstT", "output_type", "out_type", "dtype", "T")
        name = str(next((self._attributes[key] for key in keys if key in self._attributes), ""))
        is_ref = self.type in REF_VARIABLES or self.type.startswith("Ref") or self.writes
        return DType(f"{name}_ref" if is_ref else name)

    @property
    def shape(self) -> Optional[List[Optional[int]]]:
        """Returns the shape of the first output, or of the value of a variable, where it is known.

        A recording keeps no shapes of other tensors. But TensorFlow names the axes of a reduction
        "reduction_indices" if they are given. So a reduction to a scalar is recognized.
        """
        if self.type in (*VARIABLES, *PLACEHOLDERS):
            sizes = self._attributes.get("shape")
            return None if sizes is None else [None if size < 0 else size for size in sizes]
        if self.type == "Const":
            return list(self._attributes["value"].shape)
        over_all = self.type in _REDUCTIONS and not self._attributes.get("keep_dims")
        if over_all and self.inputs[1].op.name.endswith("reduction_indices"):
            over_all = False
        return [] if over_all or self.type == "L2Loss" else None


class RecordedTensor:
    """Makes an output of a `RecordedOperation` readable as a `tf.Tensor`."""

    def __init__(self, op: RecordedOperation, index: int) -> None:
        self.op, self.name = op, f"{op.name}:{index}"

    @property
    def dtype(self) -> DType:
        """Returns the dtype."""
        return self.op.dtype


class ReadableGraph:
    """Makes a recorded graph readable as a `tf.Graph`."""

    def __init__(self, recorded: RecordedGraph) -> None:
        self._ops = {name: RecordedOperation(node) for name, node in recorded.nodes.items()}
        for name, op in self._ops.items():
            node = recorded.nodes[name]
            op.control_inputs = [self._ops[before] for before in node.control_inputs]
            sources = map(node_and_output, node.data_inputs)
            op.inputs = [self._ops[source].output(index) for source, index in sources]
        for op in self._ops.values():
            if op.type != "NoOp":
                op.output(0)

    def get_operations(self) -> List[RecordedOperation]:
        """Returns the operations in the order of creation."""
        return list(self._ops.values())

    def get_operation_by_name(self, name: str) -> RecordedOperation:
        """Returns an operation, or raises KeyError."""
        return self._ops[name]

    def as_graph_element(self, name: Any) -> Any:
        """Returns the operation or tensor of a name, or raises KeyError or IndexError."""
        if not isinstance(name, str):
            return name
        op, colon, index = name.partition(":")
        return self._ops[op].outputs[int(index)] if colon and index.isdigit() else self._ops[name]


def op_of(element: Any) -> Operation:
    """Returns the operation of a tensor, or an operation as it is."""
    return getattr(element, "op", element)


def needed(fetches: Iterable[Any], fed: Iterable[Tensor] = ()) -> Set[Operation]:
    """Returns the ops that `Session.run` executes: backward from the fetches, up to the feeds.

    Where v1 control flow (`tf.cond`) takes one of two branches at run time, both are counted.

    Args:
      fetches: Operations and tensors.
      fed: Tensors whose value the caller gives; the op of a fed tensor does not run for it.
    """
    given = {tensor.name for tensor in fed}
    replaced = {tensor.op for tensor in fed if tensor.op.type in PLACEHOLDERS}
    ops: Set[Operation] = set()
    waiting = [op_of(fetch) for fetch in fetches if fetch.name not in given]
    while waiting:
        op = waiting.pop()
        if op in ops:
            continue
        ops.add(op)
        waiting.extend(tensor.op for tensor in op.inputs if tensor.name not in given)
        waiting.extend(before for before in op.control_inputs if before not in replaced)
    return ops


def users_of(ops: Iterable[Operation]) -> Dict[Operation, Set[Operation]]:
    """Returns those of some ops that take what another op gives, by that op."""
    users: Dict[Operation, Set[Operation]] = collections.defaultdict(set)
    for op in ops:
        for tensor in op.inputs:
            users[tensor.op].add(op)
    return users


class Access(NamedTuple):
    """Describes one use of a variable by an op."""

    op: Operation
    variable: Operation  #: the op that holds it: VariableV2 (ref) or VarHandleOp (resource)
    reads: bool
    writes: bool


def accesses(op: Operation) -> Iterator[Access]:
    """Yields what an op does to the variables among its inputs.

    For ref variables, the definition of the op says whether it takes the variable itself (and may
    change it) or its value. Resource ops do not say so; there the name of the op decides.
    """
    for tensor, takes_ref in zip(op.inputs, _takes_ref(op)):
        variable = variable_of(tensor)
        passes_on = op.type.startswith("Ref") or op.type in _PASSES_ON
        if variable is None or op.type in _TOUCHES_NO_VALUE:
            continue
        if _is_handle(tensor):
            if not passes_on:
                reads, writes = op.type not in _OVERWRITES, op.type not in _LOOKS_ONLY
                yield Access(op, variable, reads, writes)
        elif not takes_ref:
            yield Access(op, variable, reads=True, writes=False)
        elif not passes_on:
            yield Access(op, variable, reads=op.type not in _OVERWRITES, writes=True)


def variable_of(tensor: Tensor) -> Optional[Operation]:
    """Returns the variable that a ref or resource tensor stands for; None for any other tensor."""
    seen: Set[Operation] = set()
    while _is_handle(tensor) or tensor.dtype.name.endswith("_ref"):
        op = tensor.op
        if op.type in VARIABLES:
            return op
        # Assign, ApplyAdam, Enter, ... hand on the variable that is their first input.
        if op in seen or not op.inputs:
            return None
        seen.add(op)
        tensor = op.inputs[0]
    return None


def variable_read(tensor: Tensor) -> Optional[Operation]:
    """Returns the variable whose value a tensor is, with only reads in between; else None."""
    op = tensor.op
    while op.type in READS:
        op = op.inputs[0].op
    return op if op.type in VARIABLES else None


def _is_handle(tensor: Tensor) -> bool:
    return tensor.dtype.name == "resource"


def _takes_ref(op: Operation) -> List[bool]:
    """Returns, for each input, whether the definition of the op takes the variable itself."""
    if isinstance(op, RecordedOperation):
        return [op.writes or op.type.startswith("Ref")] * len(op.inputs)
    flags: List[bool] = []
    for arg in op.op_def.input_arg:
        count = 1
        if arg.number_attr:
            count = op.get_attr(arg.number_attr)
        elif arg.type_list_attr:
            count = len(op.get_attr(arg.type_list_attr))
        flags.extend([arg.is_ref] * count)
    return flags


def shape_of(op: Operation) -> Optional[List[Optional[int]]]:
    """Returns the shape of what an op gives, or of the value of a variable.

    An unknown size is None; None stands for a shape that is not known at all.
    """
    if isinstance(op, RecordedOperation):
        return op.shape
    if op.type in VARIABLES:
        shape = op.get_attr("shape")
        sizes = [dimension.size for dimension in shape.dim]
        return None if shape.unknown_rank else [None if size < 0 else size for size in sizes]
    tensors = [tensor.shape for tensor in op.outputs[:1]]
    return None if not tensors or tensors[0].ndims is None else list(tensors[0].as_list())


def _is_floating(tensor: Tensor) -> bool:
    return str(tensor.dtype.name).startswith(("float", "bfloat"))


def _holds_floats(variable: Operation) -> bool:
    dtype = variable.get_attr("dtype")  # a recording has its name
    return str(getattr(dtype, "name", dtype)).startswith(("float", "bfloat"))


Ops = Tuple[Operation, ...]


class Optimizer(NamedTuple):
    """Holds what one `minimize` call added to the graph."""

    name: str  #: of the op that `minimize` returns, such as "Adam_1"
    loss: Optional[Operation]  #: what it minimizes, or None if that is not known
    updates: Ops  #: the ops that change what it trains
    trained: Ops  #: the variables that it trains
    own: Ops  #: its slots and its other variables
    nodes: Ops  #: its ops, and the ops of its variables


class Task(NamedTuple):
    """Holds a task of a graph. It has a loss."""

    loss: Operation
    label: Optional[Operation]  #: the placeholder that no other task needs
    nodes: Set[Operation]  #: all that the loss needs


class Gradients(NamedTuple):
    """Holds what one call of `tf.gradients` added to the graph."""

    scope: str  #: such as "gradients_1"
    loss: Optional[Operation]  #: what is differentiated, or None if that is not known
    nodes: Ops


class Structure(NamedTuple):
    """Holds the parts of a graph."""

    placeholders: Ops
    forward: Ops  #: from placeholders and weights to the losses and other last values
    tasks: Tuple[Task, ...]
    losses: Ops  #: of the tasks, and what is computed from them and minimized
    gradients: Tuple[Gradients, ...]
    optimizers: Tuple[Optimizer, ...]
    family: Dict[Operation, Operation]  #: nodes that belong to a variable -> the variable


def structure(graph: Graph) -> Structure:
    """Returns the parts of a graph."""
    ops = graph.get_operations()
    family = _families(ops)
    gradients = _gradients(ops)
    optimizers = _optimizers(ops, family, gradients)

    behind = {op for part in gradients for op in part.nodes}
    behind.update(op for optimizer in optimizers for op in optimizer.nodes)
    minimized = [optimizer.loss for optimizer in optimizers if optimizer.loss is not None]
    sinks = _sinks(ops, behind, family)
    forward = needed([*minimized, *sinks])
    ends = minimized or sinks
    towards = needed(ends)
    tasks = _tasks(ops, ends)
    below = {op for task in tasks for op in task.nodes if op is not task.loss}
    return Structure(
        placeholders=tuple(op for op in ops if op.type in PLACEHOLDERS),
        forward=tuple(op for op in ops if op in forward),
        tasks=tasks,
        losses=tuple(op for op in ops if op in towards and op not in below),
        gradients=gradients,
        optimizers=optimizers,
        family=family,
    )


def group(graph: Graph, names: Mapping[str, str]) -> Dict[str, Tuple[str, ...]]:
    """Returns every node of a graph, in exactly one group.

    Args:
      graph: Any v1 graph.
      names: Other names for nodes, such as {"Adam_1": "Y1_op"}.

    Returns:
      Node names by group, both in the order of the graph: "placeholders"; "shared layer", what
      several tasks need; "task 1 (Y1)" and so on, what one task needs ("model" in a graph of one
      task); "losses"; "gradients of ..."; "optimizer ..."; "initialization"; "other". A large
      task or shared layer is divided by name scope: "model, encoder/" and so on.
    """
    parts = structure(graph)

    def spoken(one: Any) -> str:
        return names.get(one.name, one.name)

    titles = [
        f"task {number} ({spoken(task.label or task.loss)})"
        for number, task in enumerate(parts.tasks, 1)
    ]
    if len(titles) == 1:
        titles = ["model"]
    place: Dict[Operation, str] = {}
    order = ["placeholders", "shared layer", *titles, "losses"]
    for op in parts.forward:
        reached = [title for title, task in zip(titles, parts.tasks) if op in task.nodes]
        if reached:
            place[op] = reached[0] if len(reached) == 1 else "shared layer"
    place.update(dict.fromkeys(parts.losses, "losses"))
    place.update(dict.fromkeys(parts.placeholders, "placeholders"))
    for part in parts.gradients:
        title = f"gradients of {part.scope if part.loss is None else spoken(part.loss)}"
        order.append(title)
        place.update(dict.fromkeys(part.nodes, title))
    for optimizer in parts.optimizers:
        title = f"optimizer {spoken(optimizer)}"
        order.append(title)
        place.update(dict.fromkeys(optimizer.nodes, title))
        for op in needed(optimizer.updates):
            place.setdefault(op, title)  # what is done to gradients, such as clipping
    for op, variable in parts.family.items():
        place[op] = place.get(variable, "other") if _is_value(op) else "initialization"
    for op in graph.get_operations():
        before = op.control_inputs
        if op not in place and before and all(place.get(b) == "initialization" for b in before):
            place[op] = "initialization"

    groups: Dict[str, List[str]] = {title: [] for title in [*order, "initialization", "other"]}
    for op in graph.get_operations():
        groups[place.get(op, "other")].append(op.name)
    forward = {"shared layer", *titles}
    parted = (_by_scope(t, nodes) if t in forward else {t: nodes} for t, nodes in groups.items())
    return {title: tuple(nodes) for part in parted for title, nodes in part.items() if nodes}


def _by_scope(title: str, nodes: Sequence[str]) -> Dict[str, List[str]]:
    """Returns a group of nodes as it is or, if it is large, by its largest name scopes."""
    scopes: List[str] = [""] * len(nodes)
    for depth in range(1, 9):
        if len(nodes) <= _LARGE or max(map(scopes.count, set(scopes))) < 0.7 * len(nodes):
            break
        scopes = ["/".join(name.split("/")[:-1][:depth]) for name in nodes]
    counts = collections.Counter(scope for scope in scopes if scope)
    largest = {scope for scope, _ in counts.most_common(_MOST_SCOPES)}
    parts: Dict[str, List[str]] = {}
    for name, scope in zip(nodes, scopes):
        part = f"{title}, {scope}/" if scope in largest else f"{title}, rest" if largest else title
        parts.setdefault(part, []).append(name)
    return parts


def _families(ops: Sequence[Operation]) -> Dict[Operation, Operation]:
    variables = {op.name: op for op in ops if op.type in VARIABLES}
    family: Dict[Operation, Operation] = {}
    for op in ops:
        # The longest name wins: "share_W/Adam/read" belongs to the slot, not to share_W.
        parts = op.name.split("/")
        for length in range(len(parts), 0, -1):
            variable = variables.get("/".join(parts[:length]))
            if variable is not None:
                family[op] = variable
                break
    return family


def _is_value(op: Operation) -> bool:
    """Returns True for a variable or a read of it, False for an op that initializes it."""
    return op.type in (*VARIABLES, *READS) and "/Initializer/" not in op.name


def _gradients(ops: Sequence[Operation]) -> Tuple[Gradients, ...]:
    scopes: Dict[str, List[Operation]] = {}
    for op in ops:
        match = _GRADIENTS.match(op.name)
        if match:
            scopes.setdefault(match.group(1), []).append(op)
    found = []
    for scope, nodes in scopes.items():
        differentiated = {re.sub(r"_grad/.*", "", op.name[len(scope) + 1 :]) for op in nodes}
        # Of the ops that are differentiated, the loss was made last.
        losses = [op for op in ops if op.name in differentiated]
        found.append(Gradients(scope, losses[-1] if losses else None, tuple(nodes)))
    return tuple(found)


def _optimizers(
    ops: Sequence[Operation],
    family: Mapping[Operation, Operation],
    gradients: Sequence[Gradients],
) -> Tuple[Optimizer, ...]:
    updates: Dict[str, List[Operation]] = {}
    for op in ops:
        if RULES.fullmatch(op.type) and "/update_" in op.name:
            updates.setdefault(op.name.split("/update_")[0], []).append(op)
    targets = {op: variable_of(op.inputs[0]) for applied in updates.values() for op in applied}
    all_trained = set(targets.values())
    found = []
    for name, applied in updates.items():
        scope = [op for op in ops if op.name == name or op.name.startswith(name + "/")]
        written = {a.variable for op in scope for a in accesses(op) if a.writes}
        # A step counter, an integer, belongs to the user.
        own = {variable for variable in written if _holds_floats(variable)} - all_trained
        trained = {targets[op] for op in applied}
        # If an update needs several gradients, the outermost were computed last.
        before = needed(applied)
        losses = [part.loss for part in gradients if not before.isdisjoint(part.nodes)]
        found.append(
            Optimizer(
                name=name,
                loss=losses[-1] if losses else None,
                updates=tuple(applied),
                trained=tuple(op for op in ops if op in trained),
                own=tuple(op for op in ops if op in own),
                nodes=(*scope, *(op for op in family if family[op] in own)),
            )
        )
    return tuple(found)


def _sinks(
    ops: Sequence[Operation],
    behind: Set[Operation],
    family: Mapping[Operation, Operation],
) -> List[Operation]:
    """Returns the numbers that depend on a variable and that no other forward op uses."""
    users = users_of(ops)

    def is_sink(op: Operation) -> bool:
        if op in behind or op in family or any(access.writes for access in accesses(op)):
            return False
        if not users[op] <= behind or not any(map(_is_floating, op.outputs)):
            return False
        before = needed([op])
        return before.isdisjoint(behind) and any(other.type in VARIABLES for other in before)

    return [op for op in ops if is_sink(op)]


def _tasks(ops: Sequence[Operation], ends: Sequence[Operation]) -> Tuple[Task, ...]:
    """Returns the tasks. Their losses are the first scalars on the way to what is minimized."""

    def is_loss(op: Operation) -> bool:
        if len(op.outputs) != 1 or shape_of(op) != []:
            return False
        types = {before.type for before in needed([op], sizes)}
        return not types.isdisjoint(VARIABLES) and not types.isdisjoint(PLACEHOLDERS)

    # Numbers that depend on the sizes of data alone are not losses.
    sizes = [tensor for op in ops if op.type in _SIZES for tensor in op.outputs]
    on_the_way = needed(ends)
    found = [op for op in ops if op in on_the_way and is_loss(op)] or list(dict.fromkeys(ends))
    nodes = {op: needed([op]) for op in found}
    losses = [op for op in found if not any(o is not op and o in nodes[op] for o in found)]
    tasks = []
    for loss in losses:
        others: Set[Operation] = set().union(*(nodes[o] for o in losses if o is not loss))
        labels = [op for op in ops if op.type in PLACEHOLDERS and op in nodes[loss] - others]
        tasks.append(Task(loss, labels[-1] if labels and others else None, nodes[loss]))
    return tuple(tasks)
