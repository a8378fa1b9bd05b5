"""Reads a graph without running it: what a run needs, and which ops use which variables.

TensorFlow is not imported here.
"""

from typing import Any, Iterable, Iterator, List, NamedTuple, Optional, Set

Operation = Any  # tf.Operation
Tensor = Any  # tf.Tensor

PLACEHOLDERS = ("Placeholder", "PlaceholderV2")
VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
READS = ("Identity", "ReadVariableOp")

_LOOKS_ONLY = {"ReadVariableOp", "ResourceGather", "ResourceGatherNd"}
_OVERWRITES = {"Assign", "AssignVariableOp"}
_TOUCHES_NO_VALUE = {"IsVariableInitialized", "VarIsInitializedOp", "VariableShape"}
_PASSES_ON = {"Enter", "Exit", "Identity", "Merge", "NextIteration", "Switch"}


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
    # A tensor has an op; an operation is one.
    waiting = [getattr(fetch, "op", fetch) for fetch in fetches if fetch.name not in given]
    while waiting:
        op = waiting.pop()
        if op in ops:
            continue
        ops.add(op)
        waiting.extend(tensor.op for tensor in op.inputs if tensor.name not in given)
        waiting.extend(before for before in op.control_inputs if before not in replaced)
    return ops


class Access(NamedTuple):
    """One use of a variable by an op."""

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
    while _is_handle(tensor) or tensor.dtype != tensor.dtype.base_dtype:
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
    flags: List[bool] = []
    for arg in op.op_def.input_arg:
        count = 1
        if arg.number_attr:
            count = op.get_attr(arg.number_attr)
        elif arg.type_list_attr:
            count = len(op.get_attr(arg.type_list_attr))
        flags.extend([arg.is_ref] * count)
    return flags
