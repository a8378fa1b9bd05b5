"""Evaluates convolutions and pooling: functions of windows that move over an image.

A convolution is a product of the windows, as a matrix, with the filter. Its gradients are products
too: of the windows with the gradient, and of the gradient with the filter, overlaid on the image.
So each element is a sum of products, and has its bound. Fast algorithms for convolution (Winograd,
FFT), which GPUs use, have other bounds.
"""

from typing import Any, List, NamedTuple, Sequence

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.arithmetic import largest
from tf1_mtl.baseline.operations.table import gives, ints, is_channels_first, shape_of
from tf1_mtl.baseline.recorded_graph import Node


class _Axis(NamedTuple):
    """Describes how windows move along one axis of an image."""

    length: int  #: of the image
    window: int
    stride: int
    dilation: int
    before: int  #: padding
    after: int

    @property
    def steps(self) -> int:
        """Returns the number of windows."""
        last = self.length + self.before + self.after - (self.window - 1) * self.dilation - 1
        return last // self.stride + 1


def _last(node: Node, x: Any) -> Any:
    """Returns a tensor with its channels last."""
    if not is_channels_first(node):
        return x
    return eb.structural(lambda a: np.moveaxis(a, 1, -1), x)


def _back(node: Node, x: Any) -> Any:
    """Returns a tensor with its channels where the node has them."""
    if not is_channels_first(node):
        return x
    return eb.structural(lambda a: np.moveaxis(a, -1, 1), x)


def _spatial(node: Node, values: Sequence[Any]) -> Sequence[Any]:
    """Returns the values of the axes of the image from those of all axes."""
    return values[2:] if is_channels_first(node) else values[1:-1]


def _axes(node: Node, sizes: Sequence[int], windows: Sequence[int]) -> List[_Axis]:
    """Returns the axes of an image from all its sizes, in the order of the node."""
    lengths, count = _spatial(node, sizes), len(windows)
    strides = _spatial(node, node.attributes["strides"])
    dilations = _spatial(node, node.attributes.get("dilations") or [1] * (count + 2))
    explicit = node.attributes.get("explicit_paddings") or [0] * (2 * count + 4)
    pairs = _spatial(node, list(zip(explicit[::2], explicit[1::2])))
    axes = []
    for length, window, stride, dilation, pair in zip(lengths, windows, strides, dilations, pairs):
        if node.attributes["padding"] == "SAME":
            steps = -(-length // stride)
            needed = max((steps - 1) * stride + (window - 1) * dilation + 1 - length, 0)
            pair = (needed // 2, needed - needed // 2)
        axes.append(_Axis(length, window, stride, dilation, *pair))
    return axes


def _windows(a: np.ndarray, axes: Sequence[_Axis], filling: float = 0.0) -> np.ndarray:
    """Returns the windows of images.

    Args:
      a: [n, *lengths, channels].
      axes: One for each length.
      filling: What is outside of the image.

    Returns:
      [n, *steps, *windows, channels], not to be written.
    """
    around = [(0, 0), *((axis.before, axis.after) for axis in axes), (0, 0)]
    if any(map(any, around)):
        a = np.pad(a, around, "constant", constant_values=filling)
    strides = a.strides[1:-1]
    return np.lib.stride_tricks.as_strided(
        a,
        [a.shape[0], *(x.steps for x in axes), *(x.window for x in axes), a.shape[-1]],
        [
            a.strides[0],
            *(stride * x.stride for stride, x in zip(strides, axes)),
            *(stride * x.dilation for stride, x in zip(strides, axes)),
            a.strides[-1],
        ],
        writeable=False,
    )


def _overlaid(cells: np.ndarray, axes: Sequence[_Axis]) -> np.ndarray:
    """Returns images of which each element is the sum of what the windows hold there.

    Args:
      cells: [n, *steps, *windows, channels], as `_windows` gives them.
      axes: One for each axis of the image.
    """
    lengths = [x.length + x.before + x.after for x in axes]
    image = np.zeros([cells.shape[0], *lengths, cells.shape[-1]])
    for place in np.ndindex(*(x.window for x in axes)):
        target = [
            slice(i * x.dilation, i * x.dilation + (x.steps - 1) * x.stride + 1, x.stride)
            for i, x in zip(place, axes)
        ]
        source = (slice(None),) * (1 + len(axes)) + place
        image[(slice(None), *target)] += cells[source]
    inside = [slice(x.before, x.before + x.length) for x in axes]
    return image[(slice(None), *inside)]


# Convolutions


def _split(a: np.ndarray, groups: int) -> np.ndarray:
    """Returns outputs [n, *steps, outputs] as matrices: [groups, n * steps, outputs of a group]."""
    return a.reshape([-1, groups, a.shape[-1] // groups]).transpose(1, 0, 2)


def _window_matrices(a: np.ndarray, axes: Sequence[_Axis], groups: int) -> np.ndarray:
    """Returns the windows as matrices: [groups, n * steps, windows * channels of a group]."""
    cells = _windows(a, axes)
    rows = int(np.prod(cells.shape[: 1 + len(axes)]))
    cells = cells.reshape([rows, -1, groups, a.shape[-1] // groups])
    return cells.transpose(2, 0, 1, 3).reshape(groups, rows, -1)


def _filter_matrices(weights: np.ndarray, groups: int) -> np.ndarray:
    """Returns a filter as matrices: [groups, windows * channels of a group, outputs of a group]."""
    rows = int(np.prod(weights.shape[:-1]))
    return weights.reshape(rows, groups, -1).transpose(1, 0, 2)


def _filter(node: Node, weights: Any) -> Any:
    """Returns a filter [*windows, channels of a group, outputs]; a depthwise one has many groups.

    TensorFlow keeps a depthwise filter as [*windows, channels, multiples].
    """
    if not node.op.startswith("Depthwise"):
        return weights
    sizes = shape_of(weights)
    return weights.reshape([*sizes[:-2], 1, sizes[-2] * sizes[-1]])


def _groups(channels: int, channels_of_a_group: int) -> int:
    return channels // max(channels_of_a_group, 1)


@gives("Conv2D", "Conv3D", "DepthwiseConv2dNative")
def convolution(node: Node, x: Any, weights: Any) -> Any:
    image, weights = _last(node, x), _filter(node, weights)
    *sizes, channels, _ = shape_of(weights)
    axes = _axes(node, shape_of(x), sizes)
    groups = _groups(shape_of(image)[-1], channels)

    def product(a: np.ndarray, w: np.ndarray) -> np.ndarray:
        result = _window_matrices(a, axes, groups) @ _filter_matrices(w, groups)
        return result.transpose(1, 0, 2).reshape([len(a), *(x.steps for x in axes), w.shape[-1]])

    return _back(node, eb.bilinear(product, image, weights, int(np.prod([*sizes, channels]))))


@gives("Conv2DBackpropInput", "Conv3DBackpropInputV2", "DepthwiseConv2dNativeBackpropInput")
def convolution_input_gradient(node: Node, shape: Any, weights: Any, gradient: Any) -> Any:
    lengths, weights = ints(shape), _filter(node, weights)
    *sizes, channels, outputs = shape_of(weights)
    axes = _axes(node, lengths, sizes)
    groups = _groups(lengths[1] if is_channels_first(node) else lengths[-1], channels)
    steps = [x.steps for x in axes]

    def product(w: np.ndarray, g: np.ndarray) -> np.ndarray:
        cells = _split(g, groups) @ _filter_matrices(w, groups).transpose(0, 2, 1)
        cells = np.moveaxis(cells.reshape([groups, len(g), *steps, *sizes, channels]), 0, -2)
        return _overlaid(cells.reshape([len(g), *steps, *sizes, -1]), axes)

    terms = int(np.prod(sizes)) * outputs // groups
    return _back(node, eb.bilinear(product, weights, _last(node, gradient), terms))


@gives("Conv2DBackpropFilter", "Conv3DBackpropFilterV2", "DepthwiseConv2dNativeBackpropFilter")
def convolution_filter_gradient(node: Node, x: Any, shape: Any, gradient: Any) -> Any:
    image, gradient, sizes = _last(node, x), _last(node, gradient), ints(shape)
    axes = _axes(node, shape_of(x), sizes[:-2])
    channels = shape_of(image)[-1]
    groups = channels if node.op.startswith("Depthwise") else _groups(channels, sizes[-2])

    def product(a: np.ndarray, g: np.ndarray) -> np.ndarray:
        result = _window_matrices(a, axes, groups).transpose(0, 2, 1) @ _split(g, groups)
        return result.transpose(1, 0, 2).reshape(sizes)

    return eb.bilinear(product, image, gradient, int(np.prod(shape_of(gradient)[:-1])))


# Pooling


def _pooling(node: Node, sizes: Sequence[int]) -> List[_Axis]:
    return _axes(node, sizes, _spatial(node, node.attributes["ksize"]))


def _cells(x: Any, axes: Sequence[_Axis], filling: float) -> Any:
    """Returns the windows, the places of each in one axis: [n, *steps, places, channels]."""

    def move(parts: Sequence[Any]) -> np.ndarray:
        cells = _windows(parts[0], axes, parts[1])
        return cells.reshape([*cells.shape[: 1 + len(axes)], -1, cells.shape[-1]])

    return eb.joined(move, [x, filling])


def _given(a: np.ndarray, where: np.ndarray, axes: Sequence[_Axis]) -> np.ndarray:
    """Returns images to which each window gives its element of `a`, at some of its places.

    Args:
      a: [n, *steps, channels].
      where: 1 at these places and 0 elsewhere, [n, *steps, places, channels] or broadcast to it.
      axes: One for each axis of the image.
    """
    windows = [axis.window for axis in axes]
    given = np.expand_dims(a, -2) * where
    return _overlaid(given.reshape([*a.shape[:-1], *windows, a.shape[-1]]), axes)


@gives("MaxPool", "MaxPool3D")
def max_pool(node: Node, x: Any) -> Any:
    cells = _cells(_last(node, x), _pooling(node, shape_of(x)), -np.inf)
    return _back(node, largest(cells, (len(shape_of(cells)) - 2,), False))


@gives("MaxPoolGrad", "MaxPool3DGrad")
def max_pool_grad(node: Node, x: Any, pooled: Any, gradient: Any) -> Any:
    """Gives each gradient to the first largest place of its window.

    Where other places are within reach of its error, any of them may get it.
    """
    axes, gradient = _pooling(node, shape_of(x)), _last(node, gradient)
    cells = _cells(_last(node, x), axes, -np.inf)
    value, error = eb.value_of(cells), eb.error_of(cells)
    places = np.arange(value.shape[-2])[:, None]
    chosen = places == np.expand_dims(np.argmax(value, -2), -2)
    least = np.max(value - error, -2, keepdims=True)
    possible = ~(value + error < least)
    unsure = possible & (np.sum(possible, -2, keepdims=True) > 1) & np.any(error, -2, keepdims=True)

    result = eb.summed(lambda a: _given(a, chosen, axes), gradient, len(places))
    if isinstance(result, eb.ErrorBounded) and unsure.any():
        either = np.abs(eb.value_of(gradient)) + eb.error_of(gradient)
        error = result.error + _given(either, unsure, axes)
        result = eb.ErrorBounded(result.value, error, result.precision)
    return _back(node, result)


@gives("AvgPool", "AvgPool3D")
def avg_pool(node: Node, x: Any) -> Any:
    axes = _pooling(node, shape_of(x))
    cells = _cells(_last(node, x), axes, 0.0)
    return _back(node, eb.total(cells, len(shape_of(cells)) - 2) / _covered(axes))


def _covered(axes: Sequence[_Axis]) -> np.ndarray:
    """Returns how many places of each window lie in the image: [1, *steps, 1]."""
    ones = _windows(np.ones([1, *(axis.length for axis in axes), 1]), axes)
    return ones.sum(tuple(range(1 + len(axes), 1 + 2 * len(axes))))


@gives("AvgPoolGrad", "AvgPool3DGrad")
def avg_pool_grad(node: Node, sizes: Any, gradient: Any) -> Any:
    axes = _pooling(node, ints(sizes))
    everywhere = np.ones([int(np.prod([axis.window for axis in axes])), 1])
    each = _last(node, gradient) / _covered(axes)
    return _back(node, eb.summed(lambda a: _given(a, everywhere, axes), each, len(everywhere)))
