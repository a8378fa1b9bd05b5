"""Convolutions, pooling, normalization and losses against TensorFlow, within their bounds."""

import itertools

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from operation_cases import VERSION, Case, Results, selected_cases
from sampling import RUNTIME, one_in

from tf1_mtl.baseline.operations import OPERATIONS
from tf1_mtl.baseline.recorded_graph import Node

RNG = np.random.RandomState(0)


def normal(*shape):
    return RNG.randn(*shape).astype(np.float32)


def convolutions():
    image, weights, deep = normal(2, 7, 6, 3), normal(3, 2, 3, 4), normal(3, 2, 3, 2)
    for padding, strides, dilations in itertools.product(
        ("SAME", "VALID"), ((1, 1), (2, 2), (3, 1)), ((1, 1), (2, 2))
    ):
        # TensorFlow has no gradient of a dilated convolution on CPUs.
        if dilations != (1, 1) and strides != (1, 1):
            continue
        yield Case(
            f"Conv2D_{padding}_{strides[0]}_{dilations[0]}",
            lambda x, w, p=padding, s=strides, d=dilations: tf.nn.conv2d(
                x, w, strides=[1, *s, 1], padding=p, dilations=[1, *d, 1]
            ),
            image,
            weights,
            gradient=dilations == (1, 1),
            loose=True,
        )
        if strides[0] == strides[1]:
            yield Case(
                f"Depthwise_{padding}_{strides[0]}_{dilations[0]}",
                lambda x, w, p=padding, s=strides, d=dilations: tf.nn.depthwise_conv2d(
                    x, w, strides=[1, *s, 1], padding=p, rate=d
                ),
                image,
                deep,
                loose=True,
            )
    yield Case(
        "Conv2D_explicit",
        lambda x, w: tf.nn.conv2d(
            x, w, strides=[1, 2, 1, 1], padding=[[0, 0], [2, 1], [0, 3], [0, 0]]
        ),
        image,
        weights,
        loose=True,
        since=(2, 0),
    )
    yield Case(
        "Conv2D_point",
        lambda x, w: tf.nn.conv2d(x, w, strides=[1, 2, 2, 1], padding="SAME"),
        image,
        normal(1, 1, 3, 5),
        loose=True,
    )
    yield Case(
        "Conv2D_transposed",
        lambda x, w: tf.nn.conv2d_transpose(x, w, [2, 14, 12, 5], [1, 2, 2, 1]),
        image,
        normal(3, 3, 5, 3),
        loose=True,
    )
    yield Case(
        "Conv1D",
        lambda x, w: tf.nn.conv1d(x, w, 2, "SAME"),
        normal(2, 9, 3),
        normal(3, 3, 4),
        loose=True,
    )
    yield Case(
        "Conv3D",
        lambda x, w: tf.nn.conv3d(x, w, [1, 1, 2, 1, 1], "SAME"),
        normal(1, 4, 5, 3, 2),
        normal(2, 3, 2, 2, 3),
        loose=True,
    )
    yield Case(
        "atrous",
        lambda x, w: tf.nn.atrous_conv2d(x, w, 2, "SAME"),
        image,
        weights,
        loose=True,
    )


def pooling():
    image = normal(2, 7, 6, 3)
    for padding, size, strides in itertools.product(
        ("SAME", "VALID"), ((2, 2), (3, 2)), ((1, 1), (2, 2), (2, 3))
    ):
        for name, pool in (("MaxPool", tf.nn.max_pool), ("AvgPool", tf.nn.avg_pool)):
            yield Case(
                f"{name}_{padding}_{size[0]}_{strides[0]}{strides[1]}",
                lambda x, f=pool, k=size, s=strides, p=padding: f(x, [1, *k, 1], [1, *s, 1], p),
                image,
            )
    for name, pool in (("MaxPool", tf.nn.max_pool), ("AvgPool", tf.nn.avg_pool)):
        ties = np.maximum(np.round(normal(1, 6, 6, 2)), 0)
        yield Case(
            name + "_ties",
            lambda x, f=pool: f(x, [1, 3, 3, 1], [1, 2, 2, 1], "SAME"),
            ties,
            ties=name == "MaxPool",
        )
    yield Case(
        "MaxPool3D",
        lambda x: tf.nn.max_pool3d(x, [1, 2, 2, 2, 1], [1, 2, 1, 2, 1], "SAME"),
        normal(1, 4, 5, 3, 2),
    )
    yield Case(
        "AvgPool3D",
        lambda x: tf.nn.avg_pool3d(x, [1, 2, 2, 2, 1], [1, 2, 1, 2, 1], "SAME"),
        normal(1, 4, 5, 3, 2),
    )


def losses():
    logits, labels = 3 * normal(4, 5), np.abs(normal(4, 5))
    labels /= labels.sum(1, keepdims=True)
    zeros = np.eye(5, dtype=np.float32)[[0, 3, 3, 1]]
    classes = np.array([0, 4, 2, 2], np.int32)
    yield Case("Softmax", tf.nn.softmax, logits)
    yield Case("Softmax_3d", tf.nn.softmax, normal(2, 3, 4))
    yield Case("Softmax_far", tf.nn.softmax, [[100, 0, -100], [0, 0, 0]], loose=True)
    yield Case("LogSoftmax", tf.nn.log_softmax, logits)
    for name, y in (("", labels), ("_one_hot", zeros), ("_zeros", np.zeros((4, 5), np.float32))):
        yield Case(
            "SoftmaxCrossEntropy" + name,
            lambda x, y: tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=x),
            logits,
            y,
            loose=True,
        )
    yield Case(
        "SparseSoftmaxCrossEntropy",
        lambda x, y: tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=x),
        logits,
        classes,
        loose=True,
    )
    yield Case(
        "SigmoidCrossEntropy",
        lambda x, y: tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x),
        logits,
        labels,
    )
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
    yield Case(
        "losses_weighted",
        lambda y, x, w: tf.losses.mean_squared_error(y, x, weights=w),
        zeros,
        logits,
        np.array([[1], [0], [2], [0.5]], np.float32),
        ties=True,
    )


def normalization():
    image = normal(3, 4, 2, 5)
    scale, offset, mean, variance = normal(5), normal(5), normal(5), np.abs(normal(5)) + 0.1
    for name, is_training in (("training", True), ("inference", False)):
        yield Case(
            "FusedBatchNorm_" + name,
            lambda x, s, o, m, v, t=is_training: tf.nn.fused_batch_norm(
                x, s, o, *(() if t else (m, v)), epsilon=1e-3, is_training=t
            )[: 3 if t else 1],
            image,
            scale,
            offset,
            mean,
            variance.astype(np.float32),
            loose=True,
        )
    yield Case(
        "batch_normalization",
        lambda x, s, o: tf.nn.batch_normalization(x, *tf.nn.moments(x, [0, 1, 2]), o, s, 1e-3),
        image,
        scale,
        offset,
        loose=True,
    )
    yield Case("LRN", lambda x: tf.nn.lrn(x, 2, 1.0, 0.5, 0.75), normal(2, 3, 2, 6), loose=True)
    yield Case(
        "layer_norm",
        lambda x: (
            (x - tf.reduce_mean(x, -1, keepdims=True))
            * tf.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6)
        ),
        normal(3, 6),
        loose=True,
    )


def other_precisions():
    for name, dtype in (("half", np.float16), ("double", np.float64)):
        yield Case(
            "dense_" + name,
            lambda x, w: tf.nn.softmax(tf.nn.relu(tf.matmul(x, w)) + 0.1),
            normal(3, 4).astype(dtype),
            normal(4, 5).astype(dtype),
            loose=True,
        )
        yield Case(
            "functions_" + name,
            lambda x: [tf.tanh(x), tf.exp(x), tf.sigmoid(x), tf.reduce_mean(x * x, 0), tf.sqrt(x)],
            (np.abs(normal(4, 5)) + 0.1).astype(dtype),
            loose=True,
        )
        yield Case(
            "cast_" + name,
            lambda x, d=dtype: tf.cast(tf.matmul(tf.cast(x, d), tf.cast(x, d)), tf.float32),
            normal(4, 4),
            loose=True,
        )


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
    image = normal(2, 6, 5, 3)
    first = [image.transpose(0, 3, 1, 2)]
    last = [image]
    if op in ("Conv2D", "BiasAdd"):
        more = normal(2, 2, 3, 4) if op == "Conv2D" else normal(3)
        first.append(more)
        last.append(more)
    attributes = {"padding": "SAME", "strides": [1, 2, 1, 1], "ksize": [1, 3, 2, 1]}
    turned = {"data_format": "NCHW", "padding": "SAME"}
    turned.update(strides=[1, 1, 2, 1], ksize=[1, 1, 3, 2])
    function = OPERATIONS[op].function
    expected = function(Node("a", op, (), attributes), *(x.astype(np.float64) for x in last))
    obtained = function(Node("b", op, (), turned), *(x.astype(np.float64) for x in first))
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
