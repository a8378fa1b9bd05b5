"""Defines stacks, tensor arrays and tensor lists, which loops fill and read.

Stacks and arrays change during a run. The handles that an operation gets are the objects
themselves. A list never changes, since an operation returns a new one.
"""

from typing import Any, Dict, Iterable, List, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.slices import split
from tf1_mtl.baseline.operations.structure import zeros_like
from tf1_mtl.baseline.operations.table import gives, integer, ints, shape_of
from tf1_mtl.baseline.recorded_graph import Node

_FLOW = np.zeros((), np.float64)  # it only orders operations


class TensorList:
    """Holds tensors of one shape in order. None stands for zeros. A list never changes."""

    def __init__(self, elements: Sequence[Any], sizes: Sequence[int], dtype: str) -> None:
        self.elements, self.sizes, self.dtype = tuple(elements), tuple(sizes), dtype

    def with_elements(self, elements: Sequence[Any]) -> "TensorList":
        return TensorList(elements, self.sizes, self.dtype)

    def replaced(self, places: Sequence[int], new: Iterable[Any]) -> "TensorList":
        """Returns a list with other elements. A place beyond the end makes it longer."""
        missing = max(places, default=-1) + 1 - len(self.elements)
        elements = [*self.elements, *[None] * missing]
        for i, element in zip(places, new):
            elements[i] = element
        return self.with_elements(elements)

    def read(self, i: int, sizes: Any = -1) -> Any:
        """Returns an element, or zeros for one that was not written."""
        if self.elements[i] is not None:
            return self.elements[i]
        known = next((x for x in self.elements if x is not None), None)
        if known is not None:
            return zeros_like(known)
        asked = _known_sizes(sizes)
        return self._zeros(self.sizes if -1 in asked else asked)

    def stacked(self, places: Iterable[int], sizes: Any) -> Any:
        """Returns elements as one tensor. `sizes` is the shape of an element if there are none."""
        parts = [self.read(i, sizes) for i in places]
        return eb.joined(np.stack, parts) if parts else self._zeros([0, *_known_sizes(sizes)])

    def concatenated(self) -> Any:
        """Returns all elements as one tensor, and their lengths."""
        parts = [self.read(i) for i in range(len(self.elements))]
        return eb.joined(np.concatenate, parts), np.array([shape_of(x)[0] for x in parts], np.int64)

    def zeros_like(self) -> "TensorList":
        return self.with_elements([None if x is None else zeros_like(x) for x in self.elements])

    def __add__(self, other: "TensorList") -> "TensorList":
        pairs = zip(self.elements, other.elements)
        return self.with_elements([b if a is None else a if b is None else a + b for a, b in pairs])

    def _zeros(self, sizes: Sequence[int]) -> Any:
        """Returns zeros. A size that is not known is 0."""
        sizes = [max(n, 0) for n in sizes]
        if self.dtype in eb.PRECISIONS:
            return eb.ErrorBounded(np.zeros(sizes), None, eb.PRECISIONS[self.dtype])
        return np.zeros(sizes, self.dtype)


def _known_sizes(sizes: Any) -> List[int]:
    """Returns the shape of an element, or [-1] for a number, which means an unknown rank."""
    return ints(sizes) if np.ndim(sizes) else [-1]


def _shape_of_element(x: TensorList) -> Sequence[int]:
    return next((shape_of(one) for one in x.elements if one is not None), x.sizes)


def _rows(x: Any) -> Tuple[Any, ...]:
    """Returns the elements of a tensor along its first axis."""
    return eb.structural(tuple, x)


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
    """Holds a list that a run changes. An array of a gradient adds up what is written."""

    def __init__(self, held: TensorList, adds: bool) -> None:
        self.held, self.adds = held, adds
        self.gradients: Dict[str, _TensorArray] = {}

    def write(self, i: int, x: Any) -> None:
        elements = self.held.elements
        if self.adds and i < len(elements) and elements[i] is not None:
            x = elements[i] + x
        self.held = self.held.replaced([i], [x])


def _versions(name: str) -> Tuple[str, ...]:
    return tuple(f"TensorArray{name}{version}" for version in ("", "V2", "V3"))


gives(*_versions("Close"))(lambda node, handle: ())
gives(*_versions("Concat"))(lambda node, handle, flow: handle.held.concatenated())
gives(*_versions("Read"))(lambda node, handle, i, flow: handle.held.read(integer(i)))
gives(*_versions("Size"))(lambda node, handle, flow: np.array(len(handle.held.elements), np.int32))


@gives(*_versions(""))
def tensor_array(node: Node, size: Any) -> Any:
    sizes = node.attributes.get("element_shape") or ()
    held = TensorList([None] * integer(size), sizes, node.attributes["dtype"])
    return _TensorArray(held, adds=False), _FLOW


@gives(*_versions("Grad"), "TensorArrayGradWithShape")
def tensor_array_grad(node: Node, handle: _TensorArray, *_: Any) -> Any:
    source = node.attributes["source"]
    if source not in handle.gradients:
        held, sizes = handle.held, _shape_of_element(handle.held)
        zeros = TensorList([None] * len(held.elements), sizes, held.dtype)
        handle.gradients[source] = _TensorArray(zeros, adds=True)
    return handle.gradients[source], _FLOW


@gives(*_versions("Write"))
def tensor_array_write(node: Node, handle: _TensorArray, i: Any, x: Any, flow: Any) -> Any:
    handle.write(integer(i), x)
    return flow


@gives(*_versions("Gather"), "TensorArrayPack")
def tensor_array_gather(node: Node, handle: _TensorArray, *inputs: Any) -> Any:
    held = handle.held
    places = ints(inputs[0]) if len(inputs) > 1 else range(len(held.elements))
    return held.stacked(places, held.sizes)


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


def _list(node: Node, elements: Sequence[Any], sizes: Any) -> TensorList:
    return TensorList(elements, _known_sizes(sizes), node.attributes["element_dtype"])


gives("EmptyTensorList")(lambda node, sizes, most: _list(node, (), sizes))
gives("TensorListConcat", "TensorListConcatV2")(lambda node, x, *_: x.concatenated())
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
    return x.stacked(range(len(x.elements)), sizes)


@gives("TensorListPopBack")
def list_pop(node: Node, x: TensorList, sizes: Any) -> Any:
    return x.with_elements(x.elements[:-1]), x.read(len(x.elements) - 1, sizes)


@gives("TensorListElementShape")
def list_element_shape(node: Node, x: TensorList) -> Any:
    return np.array(_shape_of_element(x), node.attributes.get("shape_type", "int32"))


@gives("TensorListResize")
def list_resize(node: Node, x: TensorList, count: Any) -> Any:
    size = integer(count)
    return x.with_elements((*x.elements[:size], *[None] * (size - len(x.elements))))


@gives("TensorListGather")
def list_gather(node: Node, x: TensorList, at: Any, sizes: Any) -> Any:
    return x.stacked(ints(at), sizes)


@gives("TensorListSetItem")
def list_set(node: Node, x: TensorList, i: Any, element: Any) -> Any:
    return x.replaced([integer(i)], [element])


@gives("TensorListScatter", "TensorListScatterV2")
def list_scatter(node: Node, x: Any, at: Any, sizes: Any, *count: Any) -> Any:
    elements = [None] * (integer(count[0]) if count else 0)
    return _list(node, elements, sizes).replaced(ints(at), _rows(x))


@gives("TensorListScatterIntoExistingList")
def list_scatter_into(node: Node, x: TensorList, tensor: Any, at: Any) -> Any:
    return x.replaced(ints(at), _rows(tensor))
