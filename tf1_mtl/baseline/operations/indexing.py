"""Defines functions that take elements by number: gathers, scatters, segments, sorting."""

from typing import Any, Callable, Dict, Sequence, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.arithmetic import turned
from tf1_mtl.baseline.operations.table import gives, integer, ints, moves, refers, shape_of
from tf1_mtl.baseline.recorded_graph import Node


@moves("Gather", "GatherV2")
def gather(node: Node, a: np.ndarray, indices: Any, axis: Any = 0) -> np.ndarray:
    places, batch = eb.decided(indices), node.attributes.get("batch_dims", 0)
    along = integer(axis) % a.ndim
    if not batch:
        return np.take(a, places, along)
    outer = a.shape[: batch % (places.ndim + 1)]
    rows = [np.take(a[i], places[i], along - len(outer)) for i in np.ndindex(*outer)]
    return np.reshape(rows, (*outer, *np.shape(rows[0])))


@moves("GatherNd")
def gather_nd(node: Node, a: np.ndarray, indices: Any) -> np.ndarray:
    return a[tuple(np.moveaxis(eb.decided(indices), -1, 0))]


refers(1, "ResourceGather")(lambda node, variable, at: gather(node, variable.value, at))
refers(1, "ResourceGatherNd")(lambda node, variable, at: gather_nd(node, variable.value, at))


def replaced(x: Any, index: Any, part: Any) -> Any:
    """Returns a tensor with other elements at an index."""

    def replace(parts: Sequence[np.ndarray]) -> np.ndarray:
        result = parts[0].copy()
        result[index] = parts[1]
        return result

    return eb.joined(replace, [x, part])


# Sums at places


def added_rows(x: Any, places: Any, rows: int) -> Any:
    """Returns for each row the sum of the elements of `x` that belong there.

    Args:
      x: [n, ...].
      places: n row numbers in any shape. Elements with a negative number are dropped.
      rows: The number of rows of the result.
    """
    at = np.asarray(places).ravel()
    kept = at >= 0
    most = int(np.max(np.bincount(at[kept]), initial=0)) if at.size else 0

    def add(a: np.ndarray) -> np.ndarray:
        result = np.zeros((rows, *a.shape[1:]), a.dtype)
        np.add.at(result, at[kept], a[kept])
        return result

    return eb.summed(add, x, most)


def _rows(x: Any, places: Any) -> Tuple[Any, np.ndarray]:
    """Returns `x` as rows, one for each place, and the places."""
    at = eb.decided(places)
    inner = shape_of(x)[at.ndim :]
    return x.reshape([at.size, *inner]), at.ravel()


def _segment_number(places: Any, number: Sequence[Any]) -> int:
    return integer(number[0]) if number else int(np.max(places, initial=-1)) + 1


@gives("SegmentSum", "SegmentSumV2", "UnsortedSegmentSum")
def segment_sum(node: Node, x: Any, places: Any, *number: Any) -> Any:
    rows, at = _rows(x, places)
    return added_rows(rows, at, _segment_number(at, number))


@gives("SegmentMean")
def segment_mean(node: Node, x: Any, places: Any) -> Any:
    return segment_sum(node, x, places) / _counts(x, eb.decided(places))


def _counts(x: Any, places: Any, rows: int = 0) -> np.ndarray:
    """Returns how many elements belong to each row, at least 1, to divide a tensor like `x`."""
    counts = np.maximum(np.bincount(np.asarray(places), minlength=rows), 1.0)
    return counts.reshape([-1] + [1] * (len(shape_of(x)) - 1))


def _extreme_of_segments(function: np.ufunc, of_nothing: float) -> Any:
    def reduce(node: Node, x: Any, places: Any, *number: Any) -> Any:
        rows, at = _rows(x, places)
        count, kept = _segment_number(at, number), at >= 0

        def most(a: np.ndarray) -> np.ndarray:
            start = of_nothing if number else 0
            result = np.full((count, *a.shape[1:]), start).astype(a.dtype)
            result[at[kept]] = a[kept]  # any element of the segment, before the extreme
            function.at(result, at[kept], a[kept])
            return result

        return eb.monotonic(most, rows)

    return reduce


gives("SegmentMax", "UnsortedSegmentMax")(_extreme_of_segments(np.maximum, -eb.SINGLE.largest))
gives("SegmentMin", "UnsortedSegmentMin")(_extreme_of_segments(np.minimum, eb.SINGLE.largest))


@gives("SparseSegmentSum", "SparseSegmentMean", "SparseSegmentSqrtN")
@gives("SparseSegmentSumWithNumSegments", "SparseSegmentMeanWithNumSegments")
@gives("SparseSegmentSqrtNWithNumSegments")
def sparse_segment(node: Node, x: Any, indices: Any, places: Any, *number: Any) -> Any:
    rows, at = gather(node, x, indices), eb.decided(places)
    count = _segment_number(at, number)
    return _over_count(node, added_rows(rows, at, count), _counts(x, at, count))


def _over_count(node: Node, x: Any, counts: np.ndarray) -> Any:
    if "Sum" in node.op:
        return x
    return x / counts if "Mean" in node.op else x / eb.sqrt(eb.ErrorBounded(counts))


@gives("SparseSegmentSumGrad", "SparseSegmentMeanGrad", "SparseSegmentSqrtNGrad")
def sparse_segment_grad(node: Node, gradient: Any, indices: Any, places: Any, rows: Any) -> Any:
    counts = _counts(gradient, eb.decided(places), shape_of(gradient)[0])
    each = gather(node, _over_count(node, gradient, counts), places)
    return added_rows(each, eb.decided(indices), integer(rows))


@gives("ScatterNd")
def scatter_nd(node: Node, indices: Any, x: Any, sizes: Any) -> Any:
    lengths = ints(sizes)
    at, outer = row_numbers(indices, lengths)
    rows = x.reshape([at.size, *lengths[len(outer) :]])
    return added_rows(rows, at, int(np.prod(outer))).reshape(lengths)


def row_numbers(indices: Any, sizes: Sequence[int]) -> Tuple[np.ndarray, Sequence[int]]:
    """Returns the numbers of the rows that index vectors mean, and the axes that they index."""
    vectors = eb.decided(indices)
    outer = sizes[: vectors.shape[-1]]
    strides = [int(np.prod(outer[i + 1 :])) for i in range(len(outer))]
    return (vectors @ np.array(strides, int)).ravel().astype(np.int64), outer


# Joins and parts by number


@gives("DynamicStitch", "ParallelDynamicStitch")
def dynamic_stitch(node: Node, *inputs: Any) -> Any:
    half = len(inputs) // 2
    places = [eb.decided(at) for at in inputs[:half]]
    rows = max((int(at.max(initial=-1)) for at in places), default=-1) + 1

    def stitch(parts: Sequence[np.ndarray]) -> np.ndarray:
        result = np.zeros((rows, *parts[0].shape[places[0].ndim :]), parts[0].dtype)
        for at, part in zip(places, parts):
            result[at] = part
        return result

    return eb.joined(stitch, inputs[half:])


@moves("DynamicPartition")
def dynamic_partition(node: Node, a: np.ndarray, parts: Any) -> Any:
    at = eb.decided(parts)
    return tuple(a[at == i] for i in range(node.attributes["num_partitions"]))


@gives("Unique", "UniqueWithCounts")
def unique(node: Node, x: Any) -> Any:
    """Gives the values in the order in which they first occur, and which of them each one is."""
    array = eb.decided(x)
    _, first, inverse, counts = np.unique(
        array, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(first)
    dtype = node.attributes.get("out_idx", "int32")
    index = np.argsort(order)[inverse.ravel()].astype(dtype)
    outputs = array[first[order]], index, counts[order].astype(dtype)
    return outputs if node.op == "UniqueWithCounts" else outputs[:2]


@gives("ListDiff")
def list_diff(node: Node, x: Any, y: Any) -> Any:
    kept = ~np.isin(eb.decided(x), eb.decided(y))
    return x[kept], np.flatnonzero(kept).astype(node.attributes.get("out_idx", "int32"))


gives("Where")(lambda node, condition: np.argwhere(eb.decided(condition)).astype(np.int64))


@gives("SparseToDense")
def sparse_to_dense(node: Node, indices: Any, sizes: Any, values: Any, default: Any) -> Any:
    lengths = ints(sizes)
    index = tuple(np.transpose(eb.decided(indices).reshape([-1, len(lengths)])))
    return replaced(eb.structural(lambda a: np.full(lengths, a), default), index, values)


@gives("SparseTensorDenseAdd")
def sparse_add(node: Node, indices: Any, x: Any, sizes: Any, dense: Any) -> Any:
    return scatter_nd(node, indices, x, sizes) + dense


@gives("SparseTensorDenseMatMul")
def sparse_mat_mul(node: Node, indices: Any, x: Any, sizes: Any, b: Any) -> Any:
    a = turned(node, scatter_nd(node, indices, x, sizes), "adjoint_a")
    return eb.matmul(a, turned(node, b, "adjoint_b"))


# Sets


@gives("DenseToDenseSetOperation")
def set_operation(node: Node, x: Any, y: Any) -> Any:
    """Gives a sparse tensor: of each row, the sorted set that two rows make."""
    a, b = eb.decided(x), eb.decided(y)
    make = _SETS[str(node.attributes["set_operation"])]
    outer = a.shape[:-1]
    sets = {row: make(a[row], b[row]) for row in np.ndindex(*outer)}
    indices = [(*row, column) for row, found in sets.items() for column in range(len(found))]
    longest = max(map(len, sets.values()), default=0)
    return (
        np.array(indices, np.int64).reshape([-1, a.ndim]),
        np.concatenate([a[:0].ravel(), *sets.values()]),
        np.array([*outer, longest], np.int64),
    )


_SETS: Dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "a-b": np.setdiff1d,
    "b-a": lambda a, b: np.setdiff1d(b, a),
    "intersection": np.intersect1d,
    "union": np.union1d,
}


@gives("ComputeAccidentalHits")
def accidental_hits(node: Node, classes: Any, sampled: Any) -> Any:
    """Gives which true classes were sampled too: the row, the place, and the lowest float."""
    hits = eb.decided(classes)[:, :, None] == eb.decided(sampled)
    rows, _, places = np.nonzero(hits)
    lowest = eb.ErrorBounded(np.full(len(rows), -eb.SINGLE.largest))
    return rows.astype(np.int32), places.astype(np.int64), lowest


# Order


@gives("TopK", "TopKV2")
def top_k(node: Node, x: Any, *number: Any) -> Any:
    """Returns the largest elements. Of equal ones, the first comes first."""
    k = integer(number[0]) if number else node.attributes["k"]
    index = np.argsort(-eb.value_of(x), axis=-1, kind="stable")[..., : k + 1]
    highest = eb.monotonic(lambda a: np.sort(a, -1)[..., ::-1][..., :k], x)
    if not eb.is_bounded(x):
        return highest, index[..., :k].astype(np.int32)
    value = np.take_along_axis(x.value, index, -1)
    reach = np.take_along_axis(x.error, index, -1)
    pair = reach[..., :-1] + reach[..., 1:]
    touches = ~(value[..., :-1] - value[..., 1:] > pair) & (pair != 0)
    unsure = np.zeros(index.shape, bool)
    unsure[..., :-1] |= touches
    unsure[..., 1:] |= touches
    places: Any = index[..., :k].astype(np.int32)
    if unsure[..., :k].any():
        places = eb.ErrorBounded(places, np.where(unsure[..., :k], np.inf, 0), eb.WHOLE)
    return highest, places


@gives("InTopK", "InTopKV2")
def in_top_k(node: Node, predictions: Any, targets: Any, *number: Any) -> Any:
    k = integer(number[0]) if number else node.attributes["k"]
    at = eb.decided(targets)[:, None]
    value, error = eb.value_of(predictions), eb.error_of(predictions)
    of_target, reach = np.take_along_axis(value, at, 1), np.take_along_axis(error, at, 1)

    def is_in(sign: float) -> np.ndarray:
        others = value + sign * error > of_target - sign * reach
        np.put_along_axis(others, at, False, 1)
        return others.sum(1) < k

    return eb.whole(is_in(0), is_in(1) != is_in(-1), "bool")
