"""Functions that move elements: joins, slices, transpositions, paddings and blocks."""

from typing import Any, List, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.decisions import decided
from tf1_mtl.baseline.operations.indexing import added_rows
from tf1_mtl.baseline.operations.table import (
    axes_of,
    gives,
    integer,
    ints,
    shape_of,
)
from tf1_mtl.baseline.recorded_graph import Node

# Joins and slices


@gives("Pack")
def pack(node: Node, *x: Any) -> Any:
    axis = node.attributes.get("axis", 0)
    return eb.joined(lambda parts: np.stack(parts, axis), x)


@gives("Unpack")
def unpack(node: Node, x: Any) -> Any:
    axis = node.attributes.get("axis", 0)
    count = shape_of(x)[axis]
    return tuple(eb.structural(lambda a, i=i: np.take(a, i, axis), x) for i in range(count))


@gives("ConcatV2")
def concat(node: Node, *x: Any) -> Any:
    axis = integer(x[-1])
    return eb.joined(lambda parts: np.concatenate(parts, axis), x[:-1])


@gives("Concat")
def concat_v1(node: Node, axis: Any, *x: Any) -> Any:
    return concat(node, *x, axis)


@gives("ConcatOffset")
def concat_offset(node: Node, axis: Any, *sizes: Any) -> Any:
    at = integer(axis)
    offsets, start = [], 0
    for lengths in sizes:
        offset = np.zeros_like(lengths)
        offset[at] = start
        start += int(lengths[at])
        offsets.append(offset)
    return tuple(offsets)


def _split(x: Any, lengths: Sequence[int], axis: int) -> Any:
    ends = np.cumsum(lengths)[:-1]
    values = np.split(eb.value_of(x), ends, axis)
    if not isinstance(x, eb.ErrorBounded):
        return tuple(values)
    errors = np.split(x.error, ends, axis)
    return tuple(eb.ErrorBounded(*pair, x.precision) for pair in zip(values, errors))


@gives("Split")
def split(node: Node, axis: Any, x: Any) -> Any:
    at, count = integer(axis), node.attributes["num_split"]
    return _split(x, [shape_of(x)[at] // count] * count, at)


@gives("SplitV")
def split_v(node: Node, x: Any, lengths: Any, axis: Any) -> Any:
    at, sizes = integer(axis), ints(lengths)
    rest = shape_of(x)[at] - sum(n for n in sizes if n >= 0)
    return _split(x, [n if n >= 0 else rest for n in sizes], at)


@gives("Slice")
def slice_(node: Node, x: Any, begin: Any, sizes: Any) -> Any:
    index = tuple(
        slice(start, None if length == -1 else start + length)
        for start, length in zip(ints(begin), ints(sizes))
    )
    return eb.structural(lambda a: a[index], x)


@gives("StridedSlice")
def strided_slice(node: Node, x: Any, begin: Any, end: Any, strides: Any) -> Any:
    index = strided_index(node, begin, end, strides)
    return eb.structural(lambda a: a[index], x)


@gives("StridedSliceGrad")
def strided_slice_grad(
    node: Node, sizes: Any, begin: Any, end: Any, strides: Any, gradient: Any
) -> Any:
    index = strided_index(node, begin, end, strides)

    def spread(a: np.ndarray) -> np.ndarray:
        result = np.zeros(ints(sizes), a.dtype)
        result[index] = a
        return result

    return eb.structural(spread, gradient)


def strided_index(node: Node, begin: Any, end: Any, strides: Any) -> Tuple[Any, ...]:
    """Returns the index of NumPy for a slice of TensorFlow."""

    def has(mask: str, position: int) -> bool:
        return bool(node.attributes.get(f"{mask}_mask", 0) >> position & 1)

    index: List[Any] = []
    for i, (first, last, step) in enumerate(zip(ints(begin), ints(end), ints(strides))):
        if has("ellipsis", i):
            index.append(Ellipsis)
        elif has("new_axis", i):
            index.append(None)
        elif has("shrink_axis", i):
            index.append(first)
        else:
            start, stop = None if has("begin", i) else first, None if has("end", i) else last
            index.append(slice(start, stop, step))
    return tuple(index)


@gives("Tile")
def tile(node: Node, x: Any, multiples: Any) -> Any:
    return eb.structural(lambda a: np.tile(a, ints(multiples)), x)


@gives("Transpose", "ConjugateTranspose")
def transpose(node: Node, x: Any, order: Any) -> Any:
    return eb.structural(lambda a: np.transpose(a, ints(order)), x)


@gives("InvertPermutation")
def invert_permutation(node: Node, order: Any) -> np.ndarray:
    return np.argsort(order).astype(order.dtype)


@gives("ReverseV2")
def reverse(node: Node, x: Any, axes: Any) -> Any:
    return eb.structural(lambda a: np.flip(a, axes_of(axes, a.ndim)), x)


@gives("Reverse")
def reverse_v1(node: Node, x: Any, is_reversed: Any) -> Any:
    return reverse(node, x, np.flatnonzero(is_reversed))


@gives("ReverseSequence")
def reverse_sequence(node: Node, x: Any, lengths: Any) -> Any:
    along, batch = node.attributes["seq_dim"], node.attributes.get("batch_dim", 0)
    sizes = shape_of(x)
    ends = np.asarray(ints(lengths)).reshape([-1 if i == batch else 1 for i in range(len(sizes))])
    places = np.arange(sizes[along]).reshape([-1 if i == along else 1 for i in range(len(sizes))])
    index = np.broadcast_to(np.where(places < ends, ends - 1 - places, places), sizes)
    return eb.structural(lambda a: np.take_along_axis(a, index, along), x)


@gives("Roll")
def roll(node: Node, x: Any, shift: Any, axis: Any) -> Any:
    return eb.structural(lambda a: np.roll(a, ints(shift), ints(axis)), x)


# Paddings and blocks


@gives("Pad", "PadV2")
def pad(node: Node, x: Any, widths: Any, number: Any = 0) -> Any:
    around = np.asarray(decided(widths))
    if not eb.is_bounded(x):
        return np.pad(x, around, "constant", constant_values=eb.value_of(number))
    value = np.pad(x.value, around, "constant", constant_values=eb.value_of(number))
    error = np.pad(x.error, around, "constant", constant_values=eb.error_of(number))
    return eb.ErrorBounded(value, error, x.precision)


@gives("MirrorPad")
def mirror_pad(node: Node, x: Any, widths: Any) -> Any:
    mode = node.attributes["mode"].lower()
    return eb.structural(lambda a: np.pad(a, np.asarray(decided(widths)), mode), x)


@gives("MirrorPadGrad")
def mirror_pad_grad(node: Node, gradient: Any, widths: Any) -> Any:
    around = np.asarray(decided(widths))
    sizes = np.array(shape_of(gradient)) - around.sum(1)
    places = np.arange(np.prod(sizes)).reshape(sizes)
    places = np.pad(places, around, node.attributes["mode"].lower())
    flat = eb.structural(np.ravel, gradient)
    return eb.structural(lambda a: a.reshape(sizes), added_rows(flat, places, places.max() + 1))


@gives("SpaceToBatchND")
def space_to_batch(node: Node, x: Any, block: Any, widths: Any) -> Any:
    blocks, rank = ints(block), len(shape_of(x))
    count = len(blocks)
    around = [(0, 0), *np.asarray(widths).tolist(), *[(0, 0)] * (rank - 1 - count)]

    def move(a: np.ndarray) -> np.ndarray:
        a = np.pad(a, around, "constant")
        sizes = [a.shape[0]]
        for length, step in zip(a.shape[1:], blocks):
            sizes += [length // step, step]
        inner = list(range(2, 2 + 2 * count, 2))
        order = [*inner, 0, *range(1, 1 + 2 * count, 2), *range(1 + 2 * count, rank + count)]
        moved = a.reshape(sizes + list(a.shape[1 + count :])).transpose(order)
        return moved.reshape([-1, *sizes[1::2], *a.shape[1 + count :]])

    return eb.structural(move, x)


@gives("BatchToSpaceND")
def batch_to_space(node: Node, x: Any, block: Any, crops: Any) -> Any:
    blocks, rank = ints(block), len(shape_of(x))
    count = len(blocks)

    def move(a: np.ndarray) -> np.ndarray:
        sizes = [*blocks, a.shape[0] // int(np.prod(blocks)), *a.shape[1:]]
        order = [count]
        for i in range(count):
            order += [count + 1 + i, i]
        order += range(1 + 2 * count, rank + count)
        lengths = [n * step for n, step in zip(a.shape[1:], blocks)]
        a = a.reshape(sizes).transpose(order).reshape([-1, *lengths, *a.shape[1 + count :]])
        cut = [slice(first, n - last) for n, (first, last) in zip(lengths, np.asarray(crops))]
        return a[(slice(None), *cut)]

    return eb.structural(move, x)


@gives("SpaceToDepth")
def space_to_depth(node: Node, x: Any) -> Any:
    step = node.attributes["block_size"]

    def move(a: np.ndarray) -> np.ndarray:
        n, height, width, depth = a.shape
        a = a.reshape(n, height // step, step, width // step, step, depth)
        return a.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // step, width // step, -1)

    return eb.structural(move, x)


@gives("DepthToSpace")
def depth_to_space(node: Node, x: Any) -> Any:
    step = node.attributes["block_size"]

    def move(a: np.ndarray) -> np.ndarray:
        n, height, width, depth = a.shape
        a = a.reshape(n, height, width, step, step, depth // step**2)
        return a.transpose(0, 1, 3, 2, 4, 5).reshape(n, height * step, width * step, -1)

    return eb.structural(move, x)
