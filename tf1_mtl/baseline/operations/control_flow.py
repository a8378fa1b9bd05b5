"""Evaluates conditions, loops and calls of functions.

In a graph of v1 control flow, what an untaken branch gives is dead: `Switch` gives `DEAD` on one
side, the evaluator passes it on through every operation, and `Merge` takes the input that lives.
The evaluator runs the loops of v1. `While`, `If` and calls of functions are operations.

Where rounding leaves a condition open, the branch of the value is taken. Everything that it gives,
and every variable that is handed to it, has an infinite error. A variable that a branch changes
without one of its inputs, by a control dependency alone, is not covered.
"""

from typing import Any, Callable, Sequence

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.table import (
    ALL,
    DEAD,
    DEAD_OUTPUTS,
    all_unknown,
    calls,
    integer,
    refers,
)
from tf1_mtl.baseline.recorded_graph import Node

Call = Callable[[str, Sequence[Any]], Sequence[Any]]


# TensorFlow copies nothing here: a ref variable shows later updates too.
refers(1, "Identity", "RefIdentity", "StopGradient", "PreventGradient")(lambda node, x: x)
refers(1, "Exit", "RefExit", "NextIteration", "RefNextIteration", "LoopCond")(lambda node, x: x)


@refers(1, "Switch", "RefSwitch")
def switch(node: Node, x: Any, condition: Any) -> Any:
    return (DEAD, x) if bool(eb.decided(condition)) else (x, DEAD)


@refers(1, "_SwitchN")
def switch_n(node: Node, x: Any, index: Any) -> Any:
    count = node.attributes["num_outs"]
    chosen = integer(index)
    chosen = chosen if 0 <= chosen < count else count - 1
    return tuple(x if i == chosen else DEAD for i in range(count))


@refers(ALL, "Merge", "RefMerge")
def merge(node: Node, *branches: Any) -> Any:
    for i, x in enumerate(branches):
        if x is not DEAD:
            return x, np.array(i, np.int32)
    return DEAD_OUTPUTS


@calls("While", "StatelessWhile")
def while_(node: Node, call: Call, *values: Any) -> Any:
    condition, body = (node.attributes[key]["function"] for key in ("cond", "body"))
    is_sure = True
    while True:
        (goes_on,) = call(condition, values)
        is_sure &= not np.any(eb.error_of(goes_on))
        if not bool(eb.value_of(goes_on)):
            return tuple(values) if is_sure else all_unknown(values)
        values = tuple(call(body, values))


@calls("If", "StatelessIf")
def if_(node: Node, call: Call, condition: Any, *values: Any) -> Any:
    is_true = np.all(eb.decided(condition) != 0)
    branch = node.attributes["then_branch" if is_true else "else_branch"]
    return tuple(call(branch["function"], values))


@calls("Case", "StatelessCase")
def case(node: Node, call: Call, index: Any, *values: Any) -> Any:
    branches = node.attributes["branches"]
    chosen = integer(index)
    branch = branches[chosen if 0 <= chosen < len(branches) else -1]
    return tuple(call(branch["function"], values))


calls("PartitionedCall", "StatefulPartitionedCall")(
    lambda node, call, *values: tuple(call(node.attributes["f"]["function"], values))
)
