"""Defines functions that move elements: joins, slices, transpositions, paddings, blocks."""

from typing import Any, List, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.indexing import added_rows
from tf1_mtl.baseline.operations.table import axes_of, gives, integer, ints, moves, shape_of
from tf1_mtl.baseline.recorded_graph import Node

# Joins and slices


@gives("Pack")
def pack(node: Node, *x: Any) -> Any:
    return eb.joined(lambda parts: np.stack(parts, node.attributes.get("axis", 0)), x)


@moves("Unpack")
def unpack(node: Node, a: np.ndarray) -> Any:
    axis = node.attributes.get("axis", 0)
    return tuple(np.take(a, i, axis) for i in range(a.shape[axis]))


gives("Concat")(lambda node, axis, *x: _concatenated(axis, x))
gives("ConcatV2")(lambda node, *x: _concatenated(x[-1], x[:-1]))


def _concatenated(axis: Any, parts: Sequence[Any]) -> Any:
    return eb.joined(lambda arrays: np.concatenate(arrays, integer(axis)), parts)


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


def split(x: Any, lengths: Any, axis: Any) -> Any:
    """Returns parts of a tensor. A negative length stands for what the others leave."""
    at, sizes = integer(axis), ints(lengths)
    rest = shape_of(x)[at] - sum(n for n in sizes if n >= 0)
    ends = np.cumsum([n if n >= 0 else rest for n in sizes])[:-1]
    return eb.structural(lambda a: tuple(np.split(a, ends, at)), x)


gives("SplitV")(lambda node, x, lengths, axis: split(x, lengths, axis))


@gives("Split")
def split_evenly(node: Node, axis: Any, x: Any) -> Any:
    count = node.attributes["num_split"]
    return split(x, [shape_of(x)[integer(axis)] // count] * count, axis)


@moves("Slice")
def slice_(node: Node, a: np.ndarray, begin: Any, sizes: Any) -> np.ndarray:
    bounds = zip(ints(begin), ints(sizes))
    return a[tuple(slice(start, None if n == -1 else start + n) for start, n in bounds)]


@moves("StridedSlice")
def strided_slice(node: Node, a: np.ndarray, begin: Any, end: Any, strides: Any) -> np.ndarray:
    return a[strided_index(node, begin, end, strides)]


@gives("StridedSliceGrad")
def strided_slice_grad(
    node: Node, sizes: Any, begin: Any, end: Any, strides: Any, gradient: Any
) -> Any:
    def spread(a: np.ndarray) -> np.ndarray:
        result = np.zeros(ints(sizes), a.dtype)
        result[strided_index(node, begin, end, strides)] = a
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


moves("Tile")(lambda node, a, multiples: np.tile(a, ints(multiples)))
moves("Transpose", "ConjugateTranspose")(lambda node, a, order: np.transpose(a, ints(order)))
moves("Reverse")(lambda node, a, is_reversed: np.flip(a, tuple(np.flatnonzero(is_reversed))))
moves("ReverseV2")(lambda node, a, axes: np.flip(a, axes_of(axes, a.ndim)))
moves("Roll")(lambda node, a, shift, axis: np.roll(a, ints(shift), ints(axis)))
gives("InvertPermutation")(lambda node, order: np.argsort(order).astype(order.dtype))


@moves("ReverseSequence")
def reverse_sequence(node: Node, a: np.ndarray, lengths: Any) -> np.ndarray:
    along, batch = node.attributes["seq_dim"], node.attributes.get("batch_dim", 0)
    ends = np.asarray(ints(lengths)).reshape([-1 if i == batch else 1 for i in range(a.ndim)])
    places = np.arange(a.shape[along]).reshape([-1 if i == along else 1 for i in range(a.ndim)])
    index = np.broadcast_to(np.where(places < ends, ends - 1 - places, places), a.shape)
    return np.take_along_axis(a, index, along)


# Paddings and blocks


@gives("Pad", "PadV2")
def pad(node: Node, x: Any, widths: Any, number: Any = 0) -> Any:
    around = eb.decided(widths)
    return eb.joined(
        lambda parts: np.pad(parts[0], around, "constant", constant_values=parts[1]), [x, number]
    )


@moves("MirrorPad")
def mirror_pad(node: Node, a: np.ndarray, widths: Any) -> np.ndarray:
    return np.pad(a, eb.decided(widths), node.attributes["mode"].lower())


@gives("MirrorPadGrad")
def mirror_pad_grad(node: Node, gradient: Any, widths: Any) -> Any:
    sizes = np.array(shape_of(gradient)) - eb.decided(widths).sum(1)
    places = mirror_pad(node, np.arange(np.prod(sizes)).reshape(sizes), widths)
    return added_rows(gradient.reshape([-1]), places, places.max() + 1).reshape(sizes)


@moves("SpaceToBatchND")
def space_to_batch(node: Node, a: np.ndarray, block: Any, widths: Any) -> np.ndarray:
    blocks, inner = ints(block), a.shape[1 + np.size(block) :]
    count = len(blocks)
    a = np.pad(a, [(0, 0), *np.asarray(widths).tolist(), *[(0, 0)] * len(inner)], "constant")
    sizes = [a.shape[0]]
    for length, step in zip(a.shape[1:], blocks):
        sizes += [length // step, step]
    order = [*range(2, 2 + 2 * count, 2), 0, *range(1, 1 + 2 * count, 2)]
    order += range(1 + 2 * count, a.ndim + count)
    return a.reshape([*sizes, *inner]).transpose(order).reshape([-1, *sizes[1::2], *inner])


@moves("BatchToSpaceND")
def batch_to_space(node: Node, a: np.ndarray, block: Any, crops: Any) -> np.ndarray:
    blocks, inner = ints(block), a.shape[1 + np.size(block) :]
    count = len(blocks)
    order = [count]
    for i in range(count):
        order += [count + 1 + i, i]
    order += range(1 + 2 * count, a.ndim + count)
    lengths = [n * step for n, step in zip(a.shape[1:], blocks)]
    a = a.reshape([*blocks, a.shape[0] // int(np.prod(blocks)), *a.shape[1:]])
    a = a.transpose(order).reshape([-1, *lengths, *inner])
    cut = [slice(first, n - last) for n, (first, last) in zip(lengths, np.asarray(crops))]
    return a[(slice(None), *cut)]


@moves("SpaceToDepth")
def space_to_depth(node: Node, a: np.ndarray) -> np.ndarray:
    (n, height, width, depth), step = a.shape, node.attributes["block_size"]
    a = a.reshape(n, height // step, step, width // step, step, depth)
    return a.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // step, width // step, -1)


@moves("DepthToSpace")
def depth_to_space(node: Node, a: np.ndarray) -> np.ndarray:
    (n, height, width, depth), step = a.shape, node.attributes["block_size"]
    a = a.reshape(n, height, width, step, step, depth // step**2)
    return a.transpose(0, 1, 3, 2, 4, 5).reshape(n, height * step, width * step, -1)
