"""Stacks, tensor arrays and tensor lists, which loops fill and read.

Stacks and arrays change during a run. The handles that an operation gets are the objects
themselves. A list never changes, since an operation returns a new one.
"""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.slices import split_v
from tf1_mtl.baseline.operations.structure import zeros_like
from tf1_mtl.baseline.operations.table import gives, integer, ints, shape_of
from tf1_mtl.baseline.recorded_graph import Node

_FLOW = np.zeros((), np.float64)  # it only orders operations


def _zeros(sizes: Sequence[int], dtype: str) -> Any:
    if dtype in eb.PRECISIONS:
        return eb.ErrorBounded(np.zeros(sizes), 0.0, eb.PRECISIONS[dtype])
    return np.zeros(sizes, dtype)


def _stacked(parts: Sequence[Any], sizes: Sequence[int], dtype: str) -> Any:
    """Returns elements as one tensor. `sizes` is the shape of an element if there are none."""
    if parts:
        return eb.joined(np.stack, parts)
    return _zeros([0, *(max(n, 0) for n in sizes)], dtype)


def _row(x: Any, i: int) -> Any:
    return eb.structural(lambda a: a[i], x)


# Stacks of v1 control flow


@gives("Stack", "StackV2")
def stack(node: Node, *_: Any) -> Any:
    return _Stack()


class _Stack:
    def __init__(self) -> None:
        self.values: List[Any] = []


@gives("StackPush", "StackPushV2")
def stack_push(node: Node, handle: _Stack, x: Any) -> Any:
    handle.values.append(x)
    return x


@gives("StackPop", "StackPopV2")
def stack_pop(node: Node, handle: _Stack) -> Any:
    return handle.values.pop()


@gives("StackClose", "StackCloseV2", "TensorArrayClose", "TensorArrayCloseV2", "TensorArrayCloseV3")
def close(node: Node, handle: Any) -> Any:
    return ()


# Tensor arrays


class _TensorArray:
    """An array of tensors. That of a gradient adds up what is written to one element."""

    def __init__(self, size: int, dtype: str, sizes: Optional[Sequence[int]], adds: bool) -> None:
        self.elements: List[Any] = [None] * size
        self.dtype, self.sizes, self.adds = dtype, sizes or (), adds
        self.gradients: Dict[str, _TensorArray] = {}

    def write(self, i: int, x: Any) -> None:
        self.elements.extend([None] * (i + 1 - len(self.elements)))
        old = self.elements[i]
        self.elements[i] = old + x if self.adds and old is not None else x

    def read(self, i: int) -> Any:
        if self.elements[i] is not None:
            return self.elements[i]
        known = next((x for x in self.elements if x is not None), None)
        return zeros_like(_NODE, known) if known is not None else _zeros(self.sizes, self.dtype)


_NODE = Node("", "ZerosLike", ())


def _versions(name: str) -> Tuple[str, ...]:
    return tuple(f"TensorArray{name}{version}" for version in ("", "V2", "V3"))


@gives(*_versions(""))
def tensor_array(node: Node, size: Any) -> Any:
    count, attributes = integer(size), node.attributes
    sizes = attributes.get("element_shape")
    return _TensorArray(count, attributes["dtype"], sizes, False), _FLOW


@gives(*_versions("Grad"), "TensorArrayGradWithShape")
def tensor_array_grad(node: Node, handle: _TensorArray, *_: Any) -> Any:
    source = node.attributes["source"]
    if source not in handle.gradients:
        first = next((x for x in handle.elements if x is not None), None)
        sizes = handle.sizes if first is None else shape_of(first)
        handle.gradients[source] = _TensorArray(
            len(handle.elements), handle.dtype, sizes, adds=True
        )
    return handle.gradients[source], _FLOW


@gives(*_versions("Write"))
def tensor_array_write(node: Node, handle: _TensorArray, i: Any, x: Any, flow: Any) -> Any:
    handle.write(integer(i), x)
    return flow


@gives(*_versions("Read"))
def tensor_array_read(node: Node, handle: _TensorArray, i: Any, flow: Any) -> Any:
    return handle.read(integer(i))


@gives(*_versions("Gather"), "TensorArrayPack")
def tensor_array_gather(node: Node, handle: _TensorArray, *inputs: Any) -> Any:
    places = ints(inputs[0]) if len(inputs) > 1 else range(len(handle.elements))
    return _stacked([handle.read(i) for i in places], handle.sizes, handle.dtype)


@gives(*_versions("Scatter"))
def tensor_array_scatter(node: Node, handle: _TensorArray, at: Any, x: Any, flow: Any) -> Any:
    for row, i in enumerate(ints(at)):
        handle.write(i, _row(x, row))
    return flow


@gives("TensorArrayUnpack")
def tensor_array_unpack(node: Node, handle: _TensorArray, x: Any, flow: Any) -> Any:
    return tensor_array_scatter(node, handle, np.arange(shape_of(x)[0]), x, flow)


@gives(*_versions("Concat"))
def tensor_array_concat(node: Node, handle: _TensorArray, flow: Any) -> Any:
    parts = [handle.read(i) for i in range(len(handle.elements))]
    return eb.joined(np.concatenate, parts), np.array([shape_of(x)[0] for x in parts], np.int64)


@gives(*_versions("Split"))
def tensor_array_split(node: Node, handle: _TensorArray, x: Any, sizes: Any, flow: Any) -> Any:
    for i, part in enumerate(split_v(node, x, sizes, 0)):
        handle.write(i, part)
    return flow


@gives(*_versions("Size"))
def tensor_array_size(node: Node, handle: _TensorArray, flow: Any) -> Any:
    return np.array(len(handle.elements), np.int32)


# Tensor lists of v2 control flow


class TensorList:
    """Holds tensors in order. None means zeros."""

    def __init__(self, elements: Sequence[Any], sizes: Sequence[int], dtype: str) -> None:
        self.elements, self.sizes, self.dtype = tuple(elements), tuple(sizes), dtype

    def with_elements(self, elements: Sequence[Any]) -> "TensorList":
        return TensorList(elements, self.sizes, self.dtype)

    def read(self, i: int, sizes: Any) -> Any:
        if self.elements[i] is not None:
            return self.elements[i]
        known = next((x for x in self.elements if x is not None), None)
        if known is not None:
            return zeros_like(_NODE, known)
        asked = _known_sizes(sizes)
        return _zeros(asked if -1 not in asked else [max(n, 0) for n in self.sizes], self.dtype)

    def zeros_like(self) -> "TensorList":
        return self.with_elements(
            [None if x is None else zeros_like(_NODE, x) for x in self.elements]
        )

    def __add__(self, other: "TensorList") -> "TensorList":
        pairs = zip(self.elements, other.elements)
        return self.with_elements([b if a is None else a if b is None else a + b for a, b in pairs])


def _known_sizes(sizes: Any) -> List[int]:
    """Returns the shape of an element, or [-1] for a number, which means an unknown rank."""
    return ints(sizes) if np.ndim(sizes) else [-1]


def _list(node: Node, elements: Sequence[Any], sizes: Any) -> TensorList:
    return TensorList(elements, _known_sizes(sizes), node.attributes["element_dtype"])


@gives("EmptyTensorList")
def empty_list(node: Node, sizes: Any, most: Any) -> Any:
    return _list(node, (), sizes)


@gives("TensorListReserve")
def list_reserve(node: Node, sizes: Any, count: Any) -> Any:
    return _list(node, [None] * integer(count), sizes)


@gives("TensorListFromTensor")
def list_from_tensor(node: Node, x: Any, sizes: Any) -> Any:
    return _list(node, [_row(x, i) for i in range(shape_of(x)[0])], shape_of(x)[1:])


@gives("TensorListStack")
def list_stack(node: Node, x: TensorList, sizes: Any) -> Any:
    parts = [x.read(i, sizes) for i in range(len(x.elements))]
    return _stacked(parts, _known_sizes(sizes), x.dtype)


@gives("TensorListPushBack")
def list_push(node: Node, x: TensorList, element: Any) -> Any:
    return x.with_elements((*x.elements, element))


@gives("TensorListPopBack")
def list_pop(node: Node, x: TensorList, sizes: Any) -> Any:
    return x.with_elements(x.elements[:-1]), x.read(len(x.elements) - 1, sizes)


@gives("TensorListGetItem")
def list_get(node: Node, x: TensorList, i: Any, sizes: Any) -> Any:
    return x.read(integer(i), sizes)


@gives("TensorListSetItem")
def list_set(node: Node, x: TensorList, i: Any, element: Any) -> Any:
    at = integer(i)
    elements = [*x.elements, *[None] * (at + 1 - len(x.elements))]
    elements[at] = element
    return x.with_elements(elements)


@gives("TensorListLength")
def list_length(node: Node, x: TensorList) -> Any:
    return np.array(len(x.elements), np.int32)


@gives("TensorListElementShape")
def list_element_shape(node: Node, x: TensorList) -> Any:
    known = next((shape_of(one) for one in x.elements if one is not None), x.sizes)
    return np.array(known, node.attributes.get("shape_type", "int32"))


@gives("TensorListResize")
def list_resize(node: Node, x: TensorList, count: Any) -> Any:
    size = integer(count)
    return x.with_elements((*x.elements[:size], *[None] * (size - len(x.elements))))


@gives("TensorListGather")
def list_gather(node: Node, x: TensorList, at: Any, sizes: Any) -> Any:
    return _stacked([x.read(i, sizes) for i in ints(at)], _known_sizes(sizes), x.dtype)


@gives("TensorListScatter", "TensorListScatterV2")
def list_scatter(node: Node, x: Any, at: Any, sizes: Any, *count: Any) -> Any:
    places = ints(at)
    length = integer(count[0]) if count else 0
    elements: List[Any] = [None] * max([length, *(i + 1 for i in places)])
    for row, i in enumerate(places):
        elements[i] = _row(x, row)
    return _list(node, elements, sizes)


@gives("TensorListScatterIntoExistingList")
def list_scatter_into(node: Node, x: TensorList, tensor: Any, at: Any) -> Any:
    elements = list(x.elements)
    for row, i in enumerate(ints(at)):
        elements[i] = _row(tensor, row)
    return x.with_elements(elements)


@gives("TensorListConcat", "TensorListConcatV2")
def list_concat(node: Node, x: TensorList, *_: Any) -> Any:
    parts = [x.read(i, [-1]) for i in range(len(x.elements))]
    return eb.joined(np.concatenate, parts), np.array([shape_of(p)[0] for p in parts], np.int64)


@gives("TensorListSplit")
def list_split(node: Node, x: Any, sizes: Any, lengths: Any) -> Any:
    return _list(node, split_v(node, x, lengths, 0), sizes)


@gives("TensorListConcatLists")
def list_concat_lists(node: Node, a: TensorList, b: TensorList) -> Any:
    return a.with_elements((*a.elements, *b.elements))
