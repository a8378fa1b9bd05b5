"""Defines operations that change variables: assignments and scatters."""

import operator
from typing import Any, Callable, Dict, Iterator

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.indexing import added_rows, replaced, row_numbers
from tf1_mtl.baseline.operations.slices import strided_index
from tf1_mtl.baseline.operations.table import Variable, gives, refers, shape_of, updates
from tf1_mtl.baseline.recorded_graph import Node


@updates(1, "Assign", "AssignVariableOp")
def assign(node: Node, variable: Variable, value: Any) -> Any:
    variable.value = value
    return variable


@updates(1, "AssignAdd", "AssignAddVariableOp")
def assign_add(node: Node, variable: Variable, value: Any) -> Any:
    variable.value = variable.value + value
    return variable


@updates(1, "AssignSub", "AssignSubVariableOp")
def assign_sub(node: Node, variable: Variable, value: Any) -> Any:
    variable.value = variable.value - value
    return variable


@updates(1, "CountUpTo", "ResourceCountUpTo")
def count_up_to(node: Node, variable: Variable) -> Any:
    before = variable.value
    variable.value = before + np.ones((), before.dtype)
    return before


refers(1, "IsVariableInitialized", "VarIsInitializedOp")(
    lambda node, variable: np.array(variable.name in variable.state)
)


@updates(1, "StridedSliceAssign", "ResourceStridedSliceAssign")
def strided_slice_assign(
    node: Node, variable: Variable, begin: Any, end: Any, strides: Any, value: Any
) -> Any:
    index = strided_index(node, begin, end, strides)
    variable.value = replaced(variable.value, index, value)
    return variable


# Scatters


class Rows:
    """Reads and writes rows of a variable, each once, like a variable."""

    def __init__(self, variable: Variable, places: np.ndarray) -> None:
        self._variable, self._places = variable, places

    @property
    def value(self) -> Any:
        return self._variable.value[self._places]

    @value.setter
    def value(self, value: Any) -> None:
        self._variable.value = replaced(self._variable.value, self._places, value)


def rounds(places: np.ndarray) -> Iterator[np.ndarray]:
    """Yields rounds of positions in which no place is repeated. Repeated ones come in order."""
    waiting = np.arange(places.size)
    while waiting.size:
        now = np.sort(np.unique(places[waiting], return_index=True)[1])
        yield waiting[now]
        waiting = np.delete(waiting, now)


_COMBINED: Dict[str, Callable[[Any, Any], Any]] = {
    "Mul": operator.mul,
    "Div": operator.truediv,
    "Update": lambda old, new: new,
    "Min": lambda old, new: eb.monotonic(np.minimum, old, new),
    "Max": lambda old, new: eb.monotonic(np.maximum, old, new),
}


def _changed_rows(kind: str, x: Any, places: np.ndarray, parts: Any) -> Any:
    """Returns a tensor with changed rows.

    Args:
      kind: "Add", "Sub" or one of `_COMBINED`.
      x: [rows, ...].
      places: [n] row numbers, which may repeat.
      parts: [n, ...].
    """
    if kind in _COMBINED:
        for now in rounds(places):
            new = _COMBINED[kind](x[places[now]], parts[now])
            x = replaced(x, places[now], new)
        return x
    distinct, index = np.unique(places, return_inverse=True)
    terms = eb.joined(np.concatenate, [x[distinct], parts if kind == "Add" else -parts])
    places = np.concatenate([np.arange(distinct.size), index.ravel()])
    return replaced(x, distinct, added_rows(terms, places, distinct.size))


def _scattered(kind: str, x: Any, indices: Any, parts: Any) -> Any:
    """Returns a tensor that is changed where index vectors say."""
    sizes = shape_of(x)
    places, outer = row_numbers(indices, sizes)
    x, parts = (tensor.reshape([-1, *sizes[len(outer) :]]) for tensor in (x, parts))
    return _changed_rows(kind, x, places, parts).reshape(sizes)


def _register_scatter(kind: str) -> None:
    @updates(1, "Scatter" + kind, "ResourceScatter" + kind)
    def scatter(node: Node, variable: Variable, indices: Any, parts: Any) -> Any:
        places = eb.decided(indices)
        row = shape_of(variable.value)[1:]
        each = eb.structural(lambda a: np.broadcast_to(a, [*places.shape, *row]), parts)
        each = each.reshape([places.size, *row])
        variable.value = _changed_rows(kind, variable.value, places.ravel(), each)
        return variable

    @updates(1, "ScatterNd" + kind, "ResourceScatterNd" + kind)
    def scatter_nd(node: Node, variable: Variable, indices: Any, parts: Any) -> Any:
        variable.value = _scattered(kind, variable.value, indices, parts)
        return variable

    gives("TensorScatter" + kind)(lambda node, x, at, parts: _scattered(kind, x, at, parts))


for _kind in ("Add", "Sub", *_COMBINED):
    _register_scatter(_kind)
