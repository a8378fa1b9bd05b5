"""Defines stacks, tensor arrays and tensor lists, which loops fill and read.

Stacks and arrays change during a run. The handles that an operation gets are the objects
themselves. A list never changes, since an operation returns a new one.
"""

from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.slices import split
from tf1_mtl.baseline.operations.structure import zeros_like
from tf1_mtl.baseline.operations.table import gives, integer, ints, shape_of
from tf1_mtl.baseline.recorded_graph import Node

_FLOW = np.zeros((), np.float64)  # it only orders operations


def _zeros(sizes: Sequence[int], dtype: str) -> Any:
    """Returns zeros. A size that is not known is 0."""
    sizes = [max(n, 0) for n in sizes]
    if dtype in eb.PRECISIONS:
        return eb.ErrorBounded(np.zeros(sizes), None, eb.PRECISIONS[dtype])
    return np.zeros(sizes, dtype)


def _element(elements: Sequence[Any], i: int, sizes: Sequence[int], dtype: str) -> Any:
    """Returns an element, or zeros for one that was not written."""
    if elements[i] is not None:
        return elements[i]
    known = next((x for x in elements if x is not None), None)
    return _zeros(sizes, dtype) if known is None else zeros_like(known)


def _stacked(parts: Sequence[Any], sizes: Sequence[int], dtype: str) -> Any:
    """Returns elements as one tensor. `sizes` is the shape of an element if there are none."""
    return eb.joined(np.stack, parts) if parts else _zeros([0, *sizes], dtype)


def _concatenated(parts: Sequence[Any]) -> Any:
    """Returns elements as one tensor, and their lengths."""
    return eb.joined(np.concatenate, parts), np.array([shape_of(x)[0] for x in parts], np.int64)


def _rows(x: Any) -> List[Any]:
    """Returns the elements of a tensor along its first axis."""
    return [eb.structural(lambda a, i=i: a[i], x) for i in range(shape_of(x)[0])]


# Stacks of v1 control flow. A handle is a list.

gives("Stack", "StackV2")(lambda node, *_: [])
gives("StackPop", "StackPopV2")(lambda node, handle: handle.pop())
gives("StackClose", "StackCloseV2")(lambda node, handle: ())


@gives("StackPush", "StackPushV2")
def stack_push(node: Node, handle: List[Any], x: Any) -> Any:
    handle.append(x)
    return x


# Tensor arrays


class _TensorArray:
    """Holds tensors. An array of a gradient adds up what is written to one element."""

    def __init__(self, size: int, dtype: str, sizes: Optional[Sequence[int]], adds: bool) -> None:
        self.elements: List[Any] = [None] * size
        self.dtype, self.sizes, self.adds = dtype, sizes or (), adds
        self.gradients: Dict[str, _TensorArray] = {}

    def write(self, i: int, x: Any) -> None:
        self.elements.extend([None] * (i + 1 - len(self.elements)))
        old = self.elements[i]
        self.elements[i] = old + x if self.adds and old is not None else x

    def read(self, i: int) -> Any:
        return _element(self.elements, i, self.sizes, self.dtype)

    def all(self) -> List[Any]:
        return [self.read(i) for i in range(len(self.elements))]


def _versions(name: str) -> Tuple[str, ...]:
    return tuple(f"TensorArray{name}{version}" for version in ("", "V2", "V3"))


gives(*_versions("Close"))(lambda node, handle: ())
gives(*_versions("Concat"))(lambda node, handle, flow: _concatenated(handle.all()))
gives(*_versions("Read"))(lambda node, handle, i, flow: handle.read(integer(i)))
gives(*_versions("Size"))(lambda node, handle, flow: np.array(len(handle.elements), np.int32))


@gives(*_versions(""))
def tensor_array(node: Node, size: Any) -> Any:
    sizes = node.attributes.get("element_shape")
    return _TensorArray(integer(size), node.attributes["dtype"], sizes, False), _FLOW


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


@gives(*_versions("Gather"), "TensorArrayPack")
def tensor_array_gather(node: Node, handle: _TensorArray, *inputs: Any) -> Any:
    parts = [handle.read(i) for i in ints(inputs[0])] if len(inputs) > 1 else handle.all()
    return _stacked(parts, handle.sizes, handle.dtype)


@gives(*_versions("Scatter"))
def tensor_array_scatter(node: Node, handle: _TensorArray, at: Any, x: Any, flow: Any) -> Any:
    return _filled(handle, ints(at), _rows(x), flow)


@gives("TensorArrayUnpack")
def tensor_array_unpack(node: Node, handle: _TensorArray, x: Any, flow: Any) -> Any:
    return _filled(handle, range(shape_of(x)[0]), _rows(x), flow)


@gives(*_versions("Split"))
def tensor_array_split(node: Node, handle: _TensorArray, x: Any, lengths: Any, flow: Any) -> Any:
    return _filled(handle, range(np.size(lengths)), split(x, lengths, 0), flow)


def _filled(handle: _TensorArray, places: Iterable[int], parts: Iterable[Any], flow: Any) -> Any:
    for i, part in zip(places, parts):
        handle.write(i, part)
    return flow


# Tensor lists of v2 control flow


class TensorList:
    """Holds tensors in order. None means zeros."""

    def __init__(self, elements: Sequence[Any], sizes: Sequence[int], dtype: str) -> None:
        self.elements, self.sizes, self.dtype = tuple(elements), tuple(sizes), dtype

    def with_elements(self, elements: Sequence[Any]) -> "TensorList":
        return TensorList(elements, self.sizes, self.dtype)

    def read(self, i: int, sizes: Any = -1) -> Any:
        asked = _known_sizes(sizes)
        return _element(self.elements, i, self.sizes if -1 in asked else asked, self.dtype)

    def all(self, sizes: Any = -1) -> List[Any]:
        return [self.read(i, sizes) for i in range(len(self.elements))]

    def zeros_like(self) -> "TensorList":
        return self.with_elements([None if x is None else zeros_like(x) for x in self.elements])

    def __add__(self, other: "TensorList") -> "TensorList":
        pairs = zip(self.elements, other.elements)
        return self.with_elements([b if a is None else a if b is None else a + b for a, b in pairs])


def _known_sizes(sizes: Any) -> List[int]:
    """Returns the shape of an element, or [-1] for a number, which means an unknown rank."""
    return ints(sizes) if np.ndim(sizes) else [-1]


def _list(node: Node, elements: Sequence[Any], sizes: Any) -> TensorList:
    return TensorList(elements, _known_sizes(sizes), node.attributes["element_dtype"])


gives("EmptyTensorList")(lambda node, sizes, most: _list(node, (), sizes))
gives("TensorListConcat", "TensorListConcatV2")(lambda node, x, *_: _concatenated(x.all()))
gives("TensorListConcatLists")(lambda node, a, b: a.with_elements(a.elements + b.elements))
gives("TensorListGetItem")(lambda node, x, i, sizes: x.read(integer(i), sizes))
gives("TensorListLength")(lambda node, x: np.array(len(x.elements), np.int32))
gives("TensorListPushBack")(lambda node, x, element: x.with_elements((*x.elements, element)))
gives("TensorListReserve")(lambda node, sizes, n: _list(node, [None] * integer(n), sizes))
gives("TensorListSplit")(lambda node, x, sizes, lengths: _list(node, split(x, lengths, 0), sizes))


@gives("TensorListFromTensor")
def list_from_tensor(node: Node, x: Any, sizes: Any) -> Any:
    return _list(node, _rows(x), shape_of(x)[1:])


@gives("TensorListStack")
def list_stack(node: Node, x: TensorList, sizes: Any) -> Any:
    return _stacked(x.all(sizes), _known_sizes(sizes), x.dtype)


@gives("TensorListPopBack")
def list_pop(node: Node, x: TensorList, sizes: Any) -> Any:
    return x.with_elements(x.elements[:-1]), x.read(len(x.elements) - 1, sizes)


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


@gives("TensorListSetItem")
def list_set(node: Node, x: TensorList, i: Any, element: Any) -> Any:
    return x.with_elements(_replaced(x.elements, [integer(i)], [element]))


@gives("TensorListScatter", "TensorListScatterV2")
def list_scatter(node: Node, x: Any, at: Any, sizes: Any, *count: Any) -> Any:
    elements = [None] * (integer(count[0]) if count else 0)
    return _list(node, _replaced(elements, ints(at), _rows(x)), sizes)


@gives("TensorListScatterIntoExistingList")
def list_scatter_into(node: Node, x: TensorList, tensor: Any, at: Any) -> Any:
    return x.with_elements(_replaced(x.elements, ints(at), _rows(tensor)))


def _replaced(elements: Sequence[Any], places: Sequence[int], new: Sequence[Any]) -> List[Any]:
    """Returns elements, some of them replaced. A place beyond their end makes them more."""
    length = max([len(elements), *(i + 1 for i in places)])
    result = [*elements, *[None] * (length - len(elements))]
    for i, element in zip(places, new):
        result[i] = element
    return result
