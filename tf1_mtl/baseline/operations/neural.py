"""Defines biases, softmax and cross entropy, normalization."""

from typing import Any, Tuple

import numpy as np

from tf1_mtl.baseline import error_bounds as eb
from tf1_mtl.baseline.operations.arithmetic import mean, square, zero_where_zero
from tf1_mtl.baseline.operations.functions import applied, exponential
from tf1_mtl.baseline.operations.table import gives, is_channels_first, shape_of
from tf1_mtl.baseline.recorded_graph import Node


def _along_channels(node: Node, x: Any, rank: int) -> Any:
    """Returns a vector of channels in the shape in which it goes over a tensor of that rank."""
    if not is_channels_first(node) or rank < 3:
        return x
    return x.reshape([-1] + [1] * (rank - 2))


def _all_but_channels(node: Node, x: Any) -> Tuple[int, ...]:
    rank = len(shape_of(x))
    channels = 1 if is_channels_first(node) and rank > 2 else rank - 1
    return tuple(i for i in range(rank) if i != channels)


gives("BiasAdd", "BiasAddV1")(
    lambda node, x, bias: x + _along_channels(node, bias, len(shape_of(x)))
)
gives("BiasAddGrad")(lambda node, gradient: eb.total(gradient, _all_but_channels(node, gradient)))


# Softmax


def _shifted(x: Any) -> Any:
    """Returns logits minus the largest of their row, which counts as exact: any shift would do."""
    return x - np.max(eb.value_of(x), -1, keepdims=True, initial=-np.inf)


def _sum_of_row(x: Any) -> Any:
    return eb.total(x, len(shape_of(x)) - 1, True)


@gives("Softmax")
def softmax(node: Node, x: Any) -> Any:
    powers = exponential(_shifted(x))
    return powers / _sum_of_row(powers)


@gives("LogSoftmax")
def log_softmax(node: Node, x: Any) -> Any:
    shifted = _shifted(x)
    return shifted - applied("Log", _sum_of_row(exponential(shifted)))


@gives("SoftmaxCrossEntropyWithLogits")
def softmax_cross_entropy(node: Node, logits: Any, labels: Any) -> Any:
    shape = np.broadcast(np.empty(shape_of(logits)), np.empty(shape_of(labels))).shape
    logits, labels = (
        eb.structural(lambda a: np.broadcast_to(a, shape), x) for x in (logits, labels)
    )
    each = labels * -log_softmax(node, logits)
    loss = eb.total(zero_where_zero(labels, each), len(shape) - 1)
    return loss, softmax(node, logits) - labels


@gives("SparseSoftmaxCrossEntropyWithLogits")
def sparse_softmax_cross_entropy(node: Node, logits: Any, labels: Any) -> Any:
    at = eb.decided(labels)[:, None]
    loss = eb.structural(lambda a: np.take_along_axis(a, at, 1)[:, 0], log_softmax(node, logits))
    hot = (np.arange(shape_of(logits)[1]) == at).astype(np.float64)
    return -loss, softmax(node, logits) - hot


# Normalization


def _number(node: Node, attribute: str, default: float) -> Any:
    return eb.decimal(node.attributes.get(attribute, default))


@gives("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
def fused_batch_norm(
    node: Node, x: Any, scale: Any, offset: Any, old_mean: Any, old_variance: Any
) -> Any:
    """Gives the outputs, mean and variance, and what the gradient needs, as the CPU kernel does."""
    axes, rank = _all_but_channels(node, x), len(shape_of(x))
    count = int(np.prod([shape_of(x)[axis] for axis in axes]))
    if node.attributes.get("is_training", True):
        average = mean(x, axes)
        variance = mean(square(x - _along_channels(node, average, rank)), axes)
        unbiased = variance * (count / max(count - 1, 1))
        factor = node.attributes.get("exponential_avg_factor", 1.0)
        new_mean, new_variance = average, unbiased
        if factor != 1:
            new_mean = eb.average(old_mean, average, eb.decimal(factor))
            new_variance = eb.average(old_variance, unbiased, eb.decimal(factor))
    else:
        average, variance = new_mean, new_variance = old_mean, old_variance
    factors = scale / eb.sqrt(variance + _number(node, "epsilon", 1e-4))
    centered = x - _along_channels(node, average, rank)
    y = centered * _along_channels(node, factors, rank) + _along_channels(node, offset, rank)
    extra = (np.zeros(0),) if node.op.endswith("V3") else ()
    return (y, new_mean, new_variance, average, variance, *extra)


@gives("FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3")
def fused_batch_norm_grad(
    node: Node, gradient: Any, x: Any, scale: Any, average: Any, variance: Any, *_: Any
) -> Any:
    """Gives the gradients of the input, scale and offset."""
    axes, rank = _all_but_channels(node, x), len(shape_of(x))

    def wide(a: Any) -> Any:
        return _along_channels(node, a, rank)

    centered = x - wide(average)
    inverse = 1.0 / eb.sqrt(variance + _number(node, "epsilon", 1e-4))
    product = gradient * centered
    of_offset, of_scale = eb.total(gradient, axes), eb.total(product, axes) * inverse
    if node.attributes.get("is_training", True):
        slope = mean(product, axes) * (inverse * inverse)
        rest = gradient - wide(mean(gradient, axes)) - centered * wide(slope)
    else:
        rest = gradient
    empty = (np.zeros(0), np.zeros(0))
    return (rest * wide(scale * inverse), of_scale, of_offset, *empty)


def _norms(node: Node, x: Any) -> Tuple[Any, Any]:
    """Returns bias + alpha * the sum of squares of near channels, and the sums as a matrix."""
    radius = node.attributes.get("depth_radius", 5)
    alpha, bias = _number(node, "alpha", 1.0), _number(node, "bias", 1.0)
    channels = np.arange(shape_of(x)[-1])
    near = (np.abs(channels[:, None] - channels) <= radius).astype(np.float64)
    return eb.matmul(square(x), near) * alpha + bias, near


def _to_power(x: Any, exponent: Any) -> Any:
    """Returns a positive number to a power, as exp(exponent * log(x)) may compute it."""
    return exponential(applied("Log", x) * exponent)


@gives("LRN")
def local_response_normalization(node: Node, x: Any) -> Any:
    norms, _ = _norms(node, x)
    return x * _to_power(norms, -_number(node, "beta", 0.5))


@gives("LRNGrad")
def local_response_normalization_grad(node: Node, gradient: Any, x: Any, y: Any) -> Any:
    norms, near = _norms(node, x)
    alpha, beta = _number(node, "alpha", 1.0), _number(node, "beta", 0.5)
    inner = gradient * y / norms
    spread = eb.matmul(inner, near) * x * (alpha * beta * 2.0)
    return gradient * _to_power(norms, -beta) - spread
