"""Operations that change variables: assignments and scatters."""

import operator
from typing import Any, Callable, Dict, Iterator, List

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.decisions import decided
from tf1_mtl.baseline.operations.arithmetic import extreme
from tf1_mtl.baseline.operations.indexing import added_rows, row_numbers
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


@refers(1, "IsVariableInitialized", "VarIsInitializedOp")
def is_initialized(node: Node, variable: Variable) -> np.ndarray:
    return np.array(variable.name in variable.state)


@updates(1, "StridedSliceAssign", "ResourceStridedSliceAssign")
def strided_slice_assign(
    node: Node, variable: Variable, begin: Any, end: Any, strides: Any, value: Any
) -> Any:
    index = strided_index(node, begin, end, strides)

    def replace(parts: List[np.ndarray]) -> np.ndarray:
        result = parts[0].copy()
        result[index] = parts[1]
        return result

    variable.value = eb.joined(replace, [variable.value, value])
    return variable


# Scatters


class Rows:
    """Reads and writes rows of a variable, each once, like a variable."""

    def __init__(self, variable: Variable, places: np.ndarray) -> None:
        self._variable, self._places = variable, places

    @property
    def value(self) -> Any:
        return eb.structural(lambda a: a[self._places], self._variable.value)

    @value.setter
    def value(self, value: Any) -> None:
        def replace(parts: List[np.ndarray]) -> np.ndarray:
            result = parts[0].copy()
            result[self._places] = parts[1]
            return result

        self._variable.value = eb.joined(replace, [self._variable.value, value])


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
    "Min": lambda old, new: extreme(np.minimum, old, new),
    "Max": lambda old, new: extreme(np.maximum, old, new),
}


def _change_rows(kind: str, variable: Any, places: np.ndarray, x: Any) -> None:
    """Changes rows of a variable.

    Args:
      kind: "Add", "Sub" or one of `_COMBINED`.
      variable: A variable of rows.
      places: [n] row numbers, which may repeat.
      x: [n, ...].
    """
    if kind in _COMBINED:
        for now in rounds(places):
            rows, part = Rows(variable, places[now]), eb.structural(lambda a, now=now: a[now], x)
            rows.value = _COMBINED[kind](rows.value, part)
        return
    distinct, index = np.unique(places, return_inverse=True)
    rows = Rows(variable, distinct)
    terms = eb.joined(np.concatenate, [rows.value, x if kind == "Add" else -x])
    places = np.concatenate([np.arange(distinct.size), index.ravel()])
    rows.value = added_rows(terms, places, distinct.size)


def _register_scatter(kind: str) -> None:
    @updates(1, "Scatter" + kind, "ResourceScatter" + kind)
    def scatter(node: Node, variable: Variable, indices: Any, x: Any) -> Any:
        places = np.asarray(decided(indices))
        sizes = [*places.shape, *shape_of(variable.value)[1:]]
        each = eb.structural(
            lambda a: np.broadcast_to(a, sizes).reshape([-1, *sizes[places.ndim :]]), x
        )
        _change_rows(kind, variable, places.ravel(), each)
        return variable

    @updates(1, "ScatterNd" + kind, "ResourceScatterNd" + kind)
    def scatter_nd(node: Node, variable: Variable, indices: Any, x: Any) -> Any:
        variable.value = _scattered(kind, variable.value, indices, x)
        return variable

    @gives("TensorScatter" + kind)
    def tensor_scatter(node: Node, tensor: Any, indices: Any, x: Any) -> Any:
        return _scattered(kind, tensor, indices, x)


def _scattered(kind: str, tensor: Any, indices: Any, x: Any) -> Any:
    """Returns a tensor that is changed where index vectors say."""
    lengths = shape_of(tensor)
    places, outer = row_numbers(indices, lengths)
    inner = lengths[len(outer) :]
    state = {"": eb.structural(lambda a: a.reshape([-1, *inner]), tensor)}
    _change_rows(
        kind, Variable("", state), places, eb.structural(lambda a: a.reshape([-1, *inner]), x)
    )
    return eb.structural(lambda a: a.reshape(lengths), state[""])


for _kind in ("Add", "Sub", *_COMBINED):
    _register_scatter(_kind)
