"""Convolutions, pooling, normalization and losses against TensorFlow, within their bounds."""

import itertools
from functools import partial

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from operation_cases import VERSION, Case, Results, normal_numbers, selected_cases
from sampling import RUNTIME, one_in

from tf1_mtl.baseline.operations import OPERATIONS
from tf1_mtl.baseline.recorded_graph import Node

RNG = np.random.RandomState(0)
normal = normal_numbers(RNG)


def convolutions():
    image, weights, deep = normal(2, 7, 6, 3), normal(3, 2, 3, 4), normal(3, 2, 3, 2)
    for padding, strides, dilations in itertools.product(
        ("SAME", "VALID"), ((1, 1), (2, 2), (3, 1)), ((1, 1), (2, 2))
    ):
        # TensorFlow has no gradient of a dilated convolution on CPUs.
        if dilations != (1, 1) and strides != (1, 1):
            continue
        how = f"{padding}_{strides[0]}_{dilations[0]}"
        steps, plain = {"strides": [1, *strides, 1], "padding": padding}, dilations == (1, 1)
        full = partial(tf.nn.conv2d, dilations=[1, *dilations, 1], **steps)
        yield Case(f"Conv2D_{how}", full, image, weights, gradient=plain, loose=True)
        if strides[0] == strides[1]:
            depthwise = partial(tf.nn.depthwise_conv2d, rate=dilations, **steps)
            yield Case(f"Depthwise_{how}", depthwise, image, deep, loose=True)
    explicit = {"strides": [1, 2, 1, 1], "padding": [[0, 0], [2, 1], [0, 3], [0, 0]]}
    point = {"strides": [1, 2, 2, 1], "padding": "SAME"}
    larger = {"output_shape": [2, 14, 12, 5], "strides": [1, 2, 2, 1]}
    line = {"stride": 2, "padding": "SAME"}
    space = {"strides": [1, 1, 2, 1, 1], "padding": "SAME"}
    holes = {"rate": 2, "padding": "SAME"}
    for name, function, how, x, w in (
        ("Conv2D_explicit", tf.nn.conv2d, explicit, image, weights),
        ("Conv2D_point", tf.nn.conv2d, point, image, normal(1, 1, 3, 5)),
        ("Conv2D_transposed", tf.nn.conv2d_transpose, larger, image, normal(3, 3, 5, 3)),
        ("Conv1D", tf.nn.conv1d, line, normal(2, 9, 3), normal(3, 3, 4)),
        ("Conv3D", tf.nn.conv3d, space, normal(1, 4, 5, 3, 2), normal(2, 3, 2, 2, 3)),
        ("atrous", tf.nn.atrous_conv2d, holes, image, weights),
    ):
        since = (2, 0) if how is explicit else (0, 0)
        # The names of the arguments differ between these functions; the first two are the arrays.
        yield Case(
            name, lambda x, w, f=function, k=how: f(x, w, **k), x, w, loose=True, since=since
        )


def pooling():
    image, small = normal(2, 7, 6, 3), normal(1, 4, 5, 3, 2)
    pools = {"MaxPool": tf.nn.max_pool, "AvgPool": tf.nn.avg_pool}
    for padding, size, strides in itertools.product(
        ("SAME", "VALID"), ((2, 2), (3, 2)), ((1, 1), (2, 2), (2, 3))
    ):
        how = {"ksize": [1, *size, 1], "strides": [1, *strides, 1], "padding": padding}
        for name, pool in pools.items():
            case = f"{name}_{padding}_{size[0]}_{strides[0]}{strides[1]}"
            yield Case(case, partial(pool, **how), image)
    how = {"ksize": [1, 3, 3, 1], "strides": [1, 2, 2, 1], "padding": "SAME"}
    for name, pool in pools.items():
        ties = np.maximum(np.round(normal(1, 6, 6, 2)), 0)
        yield Case(name + "_ties", partial(pool, **how), ties, ties=name == "MaxPool")
    how = {"ksize": [1, 2, 2, 2, 1], "strides": [1, 2, 1, 2, 1], "padding": "SAME"}
    yield Case("MaxPool3D", partial(tf.nn.max_pool3d, **how), small)
    yield Case("AvgPool3D", partial(tf.nn.avg_pool3d, **how), small)


def losses():
    logits, labels = 3 * normal(4, 5), np.abs(normal(4, 5))
    labels /= labels.sum(1, keepdims=True)
    zeros = np.eye(5, dtype=np.float32)[[0, 3, 3, 1]]
    classes = np.array([0, 4, 2, 2], np.int32)
    yield Case("Softmax", tf.nn.softmax, logits)
    yield Case("Softmax_3d", tf.nn.softmax, normal(2, 3, 4))
    yield Case("Softmax_far", tf.nn.softmax, [[100, 0, -100], [0, 0, 0]], loose=True)
    yield Case("LogSoftmax", tf.nn.log_softmax, logits)
    sigmoid = tf.nn.sigmoid_cross_entropy_with_logits
    softmax = tf.nn.softmax_cross_entropy_with_logits_v2
    of_classes = tf.nn.sparse_softmax_cross_entropy_with_logits

    def cross_entropy(function, x, y):
        return function(labels=y, logits=x)

    for name, function, y in (
        ("SoftmaxCrossEntropy", softmax, labels),
        ("SoftmaxCrossEntropy_one_hot", softmax, zeros),
        ("SoftmaxCrossEntropy_zeros", softmax, np.zeros((4, 5), np.float32)),
        ("SparseSoftmaxCrossEntropy", of_classes, classes),
        ("SigmoidCrossEntropy", sigmoid, labels),
    ):
        loose = function is not sigmoid
        yield Case(name, partial(cross_entropy, function), logits, y, loose=loose)
    for name, loss in {
        "mean_squared_error": tf.losses.mean_squared_error,
        "huber": tf.losses.huber_loss,
        "log_loss": lambda y, x: tf.losses.log_loss(y, tf.sigmoid(x)),
        "absolute_difference": tf.losses.absolute_difference,
        "hinge": tf.losses.hinge_loss,
        "cosine": lambda y, x: tf.losses.cosine_distance(y, x, axis=1),
        "softmax": tf.losses.softmax_cross_entropy,
    }.items():
        yield Case("losses_" + name, loss, zeros, logits, loose=True)
    weights = np.array([[1], [0], [2], [0.5]], np.float32)
    yield Case("losses_weighted", tf.losses.mean_squared_error, zeros, logits, weights, ties=True)


def normalization():
    image = normal(3, 4, 2, 5)
    scale, offset, mean, variance = normal(5), normal(5), normal(5), np.abs(normal(5)) + 0.1

    def in_training(x, s, o, m, v):
        return tf.nn.fused_batch_norm(x, s, o, epsilon=1e-3, is_training=True)

    def in_inference(x, s, o, m, v):
        return tf.nn.fused_batch_norm(x, s, o, m, v, epsilon=1e-3, is_training=False)[:1]

    def by_moments(x, s, o):
        return tf.nn.batch_normalization(x, *tf.nn.moments(x, [0, 1, 2]), o, s, 1e-3)

    def of_layer(x):
        squares = tf.reduce_mean(tf.square(x), -1, keepdims=True)
        return (x - tf.reduce_mean(x, -1, keepdims=True)) * tf.rsqrt(squares + 1e-6)

    given = image, scale, offset, mean, variance.astype(np.float32)
    yield Case("FusedBatchNorm_training", in_training, *given, loose=True)
    yield Case("FusedBatchNorm_inference", in_inference, *given, loose=True)
    yield Case("batch_normalization", by_moments, *given[:3], loose=True)
    yield Case("LRN", lambda x: tf.nn.lrn(x, 2, 1.0, 0.5, 0.75), normal(2, 3, 2, 6), loose=True)
    yield Case("layer_norm", of_layer, normal(3, 6), loose=True)


def other_precisions():
    def dense(x, w):
        return tf.nn.softmax(tf.nn.relu(tf.matmul(x, w)) + 0.1)

    def functions(x):
        return [tf.tanh(x), tf.exp(x), tf.sigmoid(x), tf.reduce_mean(x * x, 0), tf.sqrt(x)]

    def cast(dtype, x):
        return tf.cast(tf.matmul(tf.cast(x, dtype), tf.cast(x, dtype)), tf.float32)

    for name, dtype in (("half", np.float16), ("double", np.float64)):
        weights, numbers = normal(4, 5).astype(dtype), (np.abs(normal(4, 5)) + 0.1).astype(dtype)
        yield Case("dense_" + name, dense, normal(3, 4).astype(dtype), weights, loose=True)
        yield Case("functions_" + name, functions, numbers, loose=True)
        yield Case("cast_" + name, partial(cast, dtype), normal(4, 4), loose=True)


CASES = [
    case
    for group in (convolutions, pooling, losses, normalization, other_precisions)
    for case in group()
    if case.since <= VERSION
]
IN_DOUBLE = [case for case in CASES if case.name in ("dense_double", "functions_double")]


@pytest.fixture(scope="module")
def results(request):
    """Evaluates the cases that this run tests."""
    return Results(selected_cases(request))


@pytest.mark.parametrize("case", one_in(3, CASES, RUNTIME), ids=lambda case: case.name)
def test_an_operation_agrees_with_tensorflow(results, case):
    results.check(case)


@pytest.mark.parametrize("case", IN_DOUBLE, ids=lambda case: case.name)
def test_a_graph_of_float64_has_bounds_of_float64(results, case):
    """They are far below those of float32."""
    for tensor in results.tensors(case.name):
        evaluated = results.evaluated[tensor]
        assert np.all(evaluated.error <= 1e-12 * np.max(np.abs(evaluated.value)))


@pytest.mark.parametrize("op", ["Conv2D", "MaxPool", "AvgPool", "BiasAdd"])
def test_channels_may_come_first(op):
    """TensorFlow lacks such kernels on CPUs. The result is that of channels last, transposed."""
    image = normal(2, 6, 5, 3).astype(np.float64)
    weights = {"Conv2D": [normal(2, 2, 3, 4)], "BiasAdd": [normal(3)]}
    more = [array.astype(np.float64) for array in weights.get(op, ())]
    attributes = {"padding": "SAME", "strides": [1, 2, 1, 1], "ksize": [1, 3, 2, 1]}
    turned = {"padding": "SAME", "strides": [1, 1, 2, 1], "ksize": [1, 1, 3, 2]}
    turned["data_format"] = "NCHW"
    function = OPERATIONS[op].function
    expected = function(Node("a", op, (), attributes), image, *more)
    obtained = function(Node("b", op, (), turned), image.transpose(0, 3, 1, 2), *more)
    np.testing.assert_allclose(obtained.transpose(0, 2, 3, 1), expected, rtol=1e-12)


@pytest.mark.parametrize("data_format", ["NHWC", "NCHW"])
@pytest.mark.parametrize("padding", ["SAME", "VALID", "EXPLICIT"])
@pytest.mark.parametrize("kind", ["Conv2D", "DepthwiseConv2dNative"])
def test_gradients_of_dilated_convolutions(kind, padding, data_format):
    """A convolution is linear in both arguments, so its gradients are the adjoint functions."""
    image, weights = normal(2, 9, 8, 3).astype(np.float64), normal(2, 3, 3, 2).astype(np.float64)
    strides, dilations, explicit = [1, 2, 1, 1], [1, 2, 3, 1], [0, 0, 1, 2, 4, 0, 0, 0]
    if data_format == "NCHW":
        image = image.transpose(0, 3, 1, 2)
        strides, dilations = [1, 1, 2, 1], [1, 1, 2, 3]
        explicit = [0, 0, 0, 0, 1, 2, 4, 0]
    attributes = {
        "padding": padding,
        "strides": strides,
        "dilations": dilations,
        "data_format": data_format,
        "explicit_paddings": explicit if padding == "EXPLICIT" else [],
    }

    def apply(suffix, *inputs):
        return OPERATIONS[kind + suffix].function(Node("n", kind + suffix, (), attributes), *inputs)

    output = apply("", image, weights)
    gradient = RNG.randn(*output.shape)
    of_image = apply("BackpropInput", np.array(image.shape), weights, gradient)
    of_weights = apply("BackpropFilter", image, np.array(weights.shape), gradient)
    assert of_image.shape == image.shape
    assert of_weights.shape == weights.shape
    total = np.sum(output * gradient)
    assert np.sum(of_image * image) == pytest.approx(total, rel=1e-10)
    assert np.sum(of_weights * weights) == pytest.approx(total, rel=1e-10)
