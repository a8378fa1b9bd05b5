"""Mistakes at any operation of a graph are named at their place.

The same function builds the recorded graph and the ports, so that a mistake is one line of it.
"""

import re
from typing import Any, Callable, Dict, NamedTuple, Tuple

import numpy as np
import pytest

from tf1_mtl.baseline import cases_of, check, recording
from tf1_mtl.baseline.diagnosis.model import DoesNotFit, Model
from tf1_mtl.baseline.diagnosis.mutation import graph_mutation
from tf1_mtl.baseline.diagnosis.path_mutations import missing_stops

tf = pytest.importorskip("tensorflow.compat.v1")
STEPS = 8


class Script(NamedTuple):
    """A loss and what it is computed from."""

    loss: Callable[..., Any]
    feeds: Dict[str, Tuple[int, ...]]  # shapes
    weights: Dict[str, Tuple[int, ...]]
    #: Mistakes, with the kind, the operations and the value that are named.
    mistakes: Dict[str, Tuple[Any, ...]]


def pairs(one, two, same, W, b, V, wrong):
    """Returns the contrastive loss of pairs of rows, which are the same or not."""

    def output(x):
        z = tf.matmul(x, W)
        y = tf.matmul(tf.tanh(z if wrong == "no bias" else z + b), V)
        return tf.nn.relu(y) if wrong == "relu" else y

    same = 1 - same if wrong == "labels flipped" else same
    same = tf.ones_like(same) if wrong == "all the same" else same
    first, second = output(one), output(two)
    second = tf.stop_gradient(second) if wrong == "one branch detached" else second
    squares = tf.reduce_sum(tf.square(first - second), 1) + 1e-6
    distance = squares if wrong == "no root" else tf.sqrt(squares)
    distance = distance / 2 if wrong == "half the distance" else distance
    near = squares if wrong == "near counts for all" else same * squares
    margin = (2.0 if wrong == "margin 2" else 1.0) - distance
    far = margin if wrong == "no maximum" else tf.maximum(margin, 0.0)
    return tf.reduce_mean(near + (1 - same) * tf.square(far))


PAIRS = Script(
    pairs,
    {"one": (6, 4), "two": (6, 4), "same": (6,)},
    {"W": (4, 5), "b": (5,), "V": (5, 3)},
    {
        "no bias": ("input left out", {"add", "add_1"}, "b/read"),
        "relu": ("activation added", {"MatMul_1", "MatMul_3"}, "relu"),
        "labels flipped": ("feed flipped", {"same"}, None),
        "all the same": ("feed of ones", {"same"}, None),
        "one branch detached": ("gradient stopped", {"MatMul_3"}, None),
        "half the distance": ("output scaled", {"Sqrt"}, 0.5),
        "no root": ("operation missing", {"Sqrt"}, None),
        "near counts for all": ("input left out", {"mul"}, "same"),
        "margin 2": ("constant", {"sub_1/x"}, 2.0),
        "no maximum": ("operation missing", {"Maximum"}, None),
    },
)


def gates(x, same, labels, W, b, P, Q, V, wrong):
    """Returns the loss of a gated network over three words, with attention and a mask."""
    h, outputs = tf.zeros([6, 5]), []
    for t in range(3):
        both = [h, x[:, t]] if wrong == "state before the input" else [x[:, t], h]
        gates = tf.split(tf.matmul(tf.concat(both, 1), W) + b, 2, 1)
        keep, new = gates[::-1] if wrong == "gates in another order" else gates
        h = tf.sigmoid(keep) * h + tf.tanh(new)
        outputs.append(h)
    seen = tf.stack(outputs, 1)
    scores = tf.reduce_sum(seen * tf.expand_dims(tf.matmul(h, P), 1), 2)
    shares = tf.nn.softmax(scores, 0 if wrong == "softmax over the batch" else -1)
    context = tf.reduce_sum(tf.expand_dims(shares, 2) * seen, 1)
    context = tf.matmul(context, P if wrong == "one projection for both" else Q)
    pool = tf.reduce_mean if wrong == "mean over time" else tf.reduce_max
    logits = tf.matmul(tf.concat([pool(seen, 1), context], 1), V)
    logits = tf.nn.softmax(logits) if wrong == "softmax twice" else logits
    each = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
    count = 6.0 if wrong == "mean over all rows" else tf.reduce_sum(same)
    return tf.reduce_sum(each * same) / count


GATES = Script(
    gates,
    {"x": (6, 3, 4), "same": (6,), "labels": (6, 3)},
    {"W": (9, 10), "b": (10,), "P": (5, 5), "Q": (5, 5), "V": (10, 3)},
    {
        "state before the input": ("parts in another order", {"concat", "concat_1", "concat_2"}),
        "gates in another order": ("parts in another order", {"split", "split_1", "split_2"}),
        "softmax over the batch": ("other axis", {"Softmax"}, 0),
        "one projection for both": ("variable of another", {"Q"}, "P"),
        "mean over time": ("other reduction", {"Max"}, "mean"),
        "softmax twice": ("activation added", {"softmax_cross_entropy_with_logits"}, "softmax"),
        "mean over all rows": ("divided by", {"truediv"}, "the number of terms in place of Sum_2"),
    },
)


def images(x, labels, K0, K1, K2, K3, V, wrong):
    """Returns the loss of four convolutions with batch normalization and weight decay."""
    kernels = K0, K1, K2, K3
    for kernel in kernels:
        x = tf.nn.conv2d(x, kernel, [1, 1, 1, 1], "SAME")
        epsilon = 2e-3 if wrong == "epsilon" else 1e-3
        x = tf.nn.relu(tf.nn.fused_batch_norm(x, tf.ones([4]), tf.zeros([4]), epsilon=epsilon)[0])
    logits = tf.matmul(tf.reduce_mean(x, [1, 2]), V)
    each = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
    decay = 0.0 if wrong == "no decay" else 1e-3
    return tf.reduce_mean(each) + decay * tf.add_n([tf.nn.l2_loss(k) for k in kernels])


IMAGES = Script(
    images,
    {"x": (6, 6, 6, 2), "labels": (6, 3)},
    {"K0": (3, 3, 2, 4), **dict.fromkeys(["K1", "K2", "K3"], (3, 3, 4, 4)), "V": (4, 3)},
    {"no decay": ("loss weight in the sum", {"mul"}, 0.0)},
)


def strided(x, labels, K, V, wrong):
    """Returns the loss of a convolution with a stride, of which the labels are smoothed."""
    if wrong == "pads both sides":
        x = tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]])
    padding = "VALID" if wrong == "pads both sides" else "SAME"
    h = tf.nn.relu(tf.nn.conv2d(x, K, [1, 2, 2, 1], padding))
    h = tf.transpose(h, [0, 3, 1, 2]) if wrong == "channels first" else h
    logits = tf.matmul(tf.reshape(h, [6, 27]), V)
    means = tf.reduce_mean(logits, None if wrong == "mean over all" else 1, keepdims=True)
    smooth = labels if wrong == "no smoothing" else labels * 0.9 + 0.1 / 3
    each = tf.nn.softmax_cross_entropy_with_logits_v2(labels=smooth, logits=logits)
    return tf.reduce_mean(each + tf.reduce_sum(tf.square(logits - means), 1))


STRIDED = Script(
    strided,
    {"x": (6, 6, 6, 2), "labels": (6, 3)},
    {"K": (3, 3, 2, 3), "V": (27, 3)},
    {
        "pads both sides": ("padding", {"Conv2D"}, "both sides alike"),
        "channels first": ("channels first", {"Reshape"}, None),
        "mean over all": ("other reduction", {"Mean"}, "mean over all axes"),
        "no smoothing": ("smoothing missing", {"add"}, None),
    },
)


def words(x, seen, same, W, wrong):
    """Returns the loss of rows of words, some of which are padding, and the error of their sums."""
    each = tf.square(tf.reshape(tf.matmul(tf.reshape(x, [-1, 4]), W), [-1, 3]))
    mask = tf.cast(seen > 0.5, tf.float32)
    mask = tf.ones_like(mask) if wrong == "padding counts" else mask
    count = tf.reduce_sum(mask)
    count = {"rows": 6.0, "root of the count": tf.sqrt(count)}.get(wrong, count)
    loss = tf.reduce_sum(each * mask) / count
    if wrong == "mean of rows":
        loss = tf.reduce_mean(tf.reduce_sum(each * mask, 1) / tf.reduce_sum(mask, 1))
    total = tf.reduce_sum(each, 1)
    total = total[:, tf.newaxis] if wrong == "rows against rows" else total
    weighted = tf.reduce_mean(same * tf.abs(total - same))
    return loss + (weighted * 6 / tf.reduce_sum(same) if wrong == "sum of weights" else weighted)


WORDS = Script(
    words,
    {"x": (6, 3, 4), "seen": (6, 3), "same": (6,)},
    {"W": (4, 1)},
    {
        "padding counts": ("mask missing", {"Cast"}, None),
        "mean of rows": (
            "divided by",
            {"truediv"},
            "the weights of each row, and the rows in place of Sum",
        ),
        "rows against rows": ("rows broadcast", {"sub"}, None),
        "sum of weights": ("divided by", {"Mean"}, "the sum of weights in place of their number"),
        "rows": ("divided by", {"truediv"}, "the number of rows in place of Sum"),
        "root of the count": ("divided by", {"truediv"}, "its square root in place of Sum"),
    },
)


def networks(x, other, same, wrong, **weights):
    """Returns the loss of a network against the values that a second network gives."""

    def value(x, scope):
        return tf.reduce_max(tf.matmul(tf.tanh(tf.matmul(x, weights[f"{scope}/W"])), V(scope)), 1)

    def V(scope):
        return weights[f"{scope}/V"]

    ahead = value(other, "online" if wrong == "one network for both" else "target")
    return tf.reduce_mean(tf.square(same + 0.9 * tf.stop_gradient(ahead) - value(x, "online")))


NETWORKS = Script(
    networks,
    {"x": (6, 4), "other": (6, 4), "same": (6,)},
    {"online/W": (4, 5), "online/V": (5, 3), "target/W": (4, 5), "target/V": (5, 3)},
    {"one network for both": ("variable of another", {"target"}, "online")},
)


def normalized(x, labels, K, V, mean, variance, wrong):
    """Returns the loss of a convolution with batch normalization, and collect moving averages."""
    h = tf.nn.conv2d(x, K, [1, 1, 1, 1], "VALID" if wrong == "no padding" else "SAME")
    epsilon = {"epsilon of PyTorch": 1e-5, "almost the epsilon": 9e-3}.get(wrong, 1e-2)
    h = tf.nn.relu(h) if wrong == "relu first" else h
    h, now, spread = tf.nn.fused_batch_norm(h, tf.ones([4]), tf.zeros([4]), epsilon=epsilon)
    n = 6 * 6 * 6
    spread = spread * (n - 1) / n if wrong == "variance over n" else spread
    part = 0.9 if wrong == "decay taken for its rest" else 0.1
    for average, value in ((mean, now), (variance, spread)):
        moved = tf.assign_sub(average, (average - value) * part)
        tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, moved)
    h = h if wrong == "relu first" else tf.nn.relu(h)
    logits = tf.matmul(tf.reduce_mean(h, [1, 2]), V)
    each = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
    return tf.reduce_mean(each)


NORMALIZED = Script(
    normalized,
    {"x": (6, 6, 6, 2), "labels": (6, 3)},
    {"K": (3, 3, 2, 4), "V": (4, 3), "mean": (4,), "variance": (4,)},
    {
        "no padding": ("padding", {"Conv2D"}, "nothing (VALID)"),
        "epsilon of PyTorch": ("epsilon", {"FusedBatchNormV3"}, 1e-5),
        "variance over n": ("other variance", {"variance"}, "n"),
        "relu first": ("activation first", {"Relu"}, None),
        "decay taken for its rest": ("moved by a factor", {"mean", "variance"}, 9.0),
    },
)


def latent(x, other, M, S, D, wrong):
    """Returns the loss of a variational autoencoder with weight decay."""
    mean, log_variance = tf.matmul(x, M), tf.matmul(x, S)
    z = mean + tf.exp(log_variance / 2) * other
    each = tf.reduce_sum(tf.square(tf.matmul(z, D) - x), 1)
    divergence = -0.5 * (1 + log_variance - tf.square(mean) - tf.exp(log_variance))
    pool = tf.reduce_mean if wrong == "mean of the divergence" else tf.reduce_sum
    decay = tf.add_n([tf.nn.l2_loss(w) for w in (M, S, D)], name="decay")
    divergence = tf.multiply(pool(divergence, 1), 0.7, name="divergence")
    rows = tf.reduce_sum if wrong == "sum over the rows" else tf.reduce_mean
    return tf.reduce_mean(each) + rows(divergence) + 1e-3 * decay


LATENT = Script(
    latent,
    {"x": (6, 4), "other": (6, 3)},
    {"M": (4, 3), "S": (4, 3), "D": (3, 4)},
    {
        "mean of the divergence": ("loss weight in the sum", {"Mean_1"}, pytest.approx(1 / 3)),
        "sum over the rows": ("other reduction", {"Mean_1"}, "sum"),
    },
)


def actor(x, labels, same, W, V, P, wrong):
    """Returns the loss of an actor and a critic on one layer."""
    h = tf.tanh(tf.matmul(x, W))
    value = tf.squeeze(tf.matmul(h, V), 1)
    error = same - value
    ahead, bonus = error * error - 2.0 * error, value * value
    if wrong not in ("advantage not stopped", "nothing stopped"):
        ahead = tf.stop_gradient(ahead)
    bonus = bonus if wrong == "nothing stopped" else tf.stop_gradient(bonus)
    scores = tf.reduce_sum(tf.nn.log_softmax(tf.matmul(h, P)) * labels, 1)
    advantage = ahead - 0.5 + 0.1 * bonus
    return tf.reduce_mean(tf.square(same - value)) - tf.reduce_mean(scores * advantage)


ACTOR = Script(
    actor,
    {"x": (6, 4), "labels": (6, 3), "same": (6,)},
    {"W": (4, 5), "V": (5, 1), "P": (5, 3)},
    {
        "advantage not stopped": ("stop missing", {"StopGradient"}, None),
        "nothing stopped": ("stop missing", {"StopGradient", "StopGradient_1"}, None),
    },
)


def shared(x, labels, same, W, U, V, P, wrong):
    """Returns the sum of two losses on two layers, the first one normalized."""
    before = tf.matmul(x, W)
    if wrong == "tanh first":
        before = tf.tanh(before)
    moments = tf.nn.moments(before, [0])
    if wrong == "moments detached":
        moments = [tf.stop_gradient(x) for x in moments]
    before = tf.nn.batch_normalization(before, *moments, None, None, 1e-3)
    first = before if wrong == "tanh first" else tf.tanh(before)
    second = tf.sigmoid(tf.matmul(first, U))
    taken = {"no activation for one": before, "the second layer for one": second}
    value = tf.squeeze(tf.matmul(taken.get(wrong, first), V), 1)
    scores = tf.matmul(first if wrong == "the first layer for one" else second, P)
    entropy = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=scores)
    return tf.reduce_mean(tf.square(same - value)) + tf.reduce_mean(entropy)


SHARED = Script(
    shared,
    {"x": (6, 4), "labels": (6, 3), "same": (6,)},
    {"W": (4, 5), "U": (5, 5), "V": (5, 1), "P": (5, 3)},
    {
        "moments detached": ("moments detached", {"moments/mean"}, None),
        "tanh first": ("activation first", {"Tanh"}, None),
        "no activation for one": ("other tensor", {"MatMul_2"}, "batchnorm/add_1 in place of Tanh"),
        "the second layer for one": ("other tensor", {"MatMul_2"}, "Sigmoid in place of Tanh"),
        "the first layer for one": ("other tensor", {"MatMul_3"}, "Tanh in place of Sigmoid"),
    },
)


def summed(x, same, W, b, V, wrong):
    """Returns a sum of losses and of squares of weights, with several mistakes."""
    h = tf.matmul(x, W) + b
    value = tf.squeeze(tf.matmul(tf.nn.relu(h) if "relu" in wrong else tf.tanh(h), V), 1)
    error = tf.reduce_mean(tf.square(same - value)) / (2 if "half the error" in wrong else 1)
    large = tf.square(h) + 1.0
    spread = tf.reduce_mean(large if "no root" in wrong else tf.sqrt(large))
    squares = 0.0 if "no squares of W" in wrong else tf.nn.l2_loss(W)
    squares = squares + tf.nn.l2_loss(V)
    if "squares of b" in wrong:
        squares = squares + tf.nn.l2_loss(b)
    return error + 0.3 * spread + 0.05 * squares


def unrolled(x, c, h, labels, W, V, wrong):
    """Returns the loss of an LSTM over four words with a dropout and smoothed labels."""
    c, h = (h, c) if wrong == "states swapped" else (c, h)
    if wrong == "states of zero":
        c, h = tf.zeros_like(c), tf.zeros_like(h)
    for t in range(4):
        i, j, f, o = tf.split(tf.matmul(tf.concat([x[:, t], h], 1), W), 4, 1)
        c = c * tf.sigmoid(f + 1.0) + tf.sigmoid(i) * tf.tanh(j)
        h = (c if wrong == "no tanh of the state" else tf.tanh(c)) * tf.sigmoid(o)
    drawn = tf.random_uniform([6, 3], seed=1)
    keep = 0.2 if wrong == "kept and dropped" else 0.8
    mask = tf.cast(drawn < keep, tf.float32) if wrong == "small is kept" else tf.floor(keep + drawn)
    rest = (1 - labels) / 2 if wrong == "smoothed to the wrong" else 1 / 3
    smooth = labels * 0.9 + 0.1 * rest
    logits = tf.matmul(h / keep * mask, V)
    each = tf.nn.softmax_cross_entropy_with_logits_v2(labels=smooth, logits=logits)
    return tf.reduce_mean(each)


UNROLLED = Script(
    unrolled,
    {"x": (6, 4, 4), "c": (6, 3), "h": (6, 3), "labels": (6, 3)},
    {"W": (7, 12), "V": (3, 3)},
    {
        "states swapped": ("feeds swapped", {"c", "h"}, None),
        "states of zero": ("feed always", {"c", "h"}, 0),
        "no tanh of the state": (
            "activation missing",
            {"Tanh_1", "Tanh_3", "Tanh_5", "Tanh_7"},
            None,
        ),
        "kept and dropped": ("dropout probability", {"mul_13"}, None),
        "small is kept": ("dropout mask", {"mul_13"}, None),
        "smoothed to the wrong": ("smoothing of others", {"add_9"}, None),
    },
)


def mixed(x, same, W, U, V, s, wrong):
    """Returns the error of a gated layer, weighed by its uncertainty, and that of what is no."""
    gate = tf.sigmoid(tf.matmul(x, W))
    rest = 1.0 - gate
    gate, rest = (rest, gate) if wrong == "gate inverted" else (gate, rest)
    h = gate * tf.tanh(tf.matmul(x, U)) + rest * x
    value = tf.squeeze(tf.matmul(tf.maximum(h, (0.01 if "slope" in wrong else 0.2) * h), V), 1)
    no = tf.zeros_like(value) + 0.1 if wrong == "no is 0.1" else tf.zeros_like(value)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=no, logits=value)
    spread = tf.square(same - value)
    error = tf.reduce_mean(tf.abs(same - value) if "absolute" in wrong else spread)
    error = tf.sqrt(error) if "root" in wrong else error
    precision = tf.exp(-2.0 * s if wrong == "twice the exponent" else -s)
    return tf.reduce_sum(precision * error + 0.5 * s) + 0.1 * tf.reduce_mean(entropy)


MIXED = Script(
    mixed,
    {"x": (6, 4), "same": (6,)},
    {"W": (4, 4), "U": (4, 4), "V": (4, 1), "s": (1,)},
    {
        "gate inverted": ("complement", {"Sigmoid"}, None),
        "slope": ("constant", {"mul_2/x"}, 0.01),
        "no is 0.1": ("constant", {"zeros_like"}, 0.1),
        "absolute": ("other function", {"Square"}, "the absolute value"),
        "root": ("activation added", {"Mean"}, "the square root"),
        "twice the exponent": ("output scaled", {"Neg"}, 2.0),
    },
)


def looked_up(seen, same, E, T, V, wrong):
    """Returns the error of tables of which some rows are summed, and of a transposed product."""
    ids = tf.cast(seen, tf.int32)
    rows = tf.gather(E, ids if wrong == "no offsets" else ids + tf.constant([0, 2, 4]))
    mask = tf.cast(seen > 0.5, tf.float32)
    found = tf.reduce_sum(rows * mask[:, :, tf.newaxis], 1)
    if wrong == "mean of what is seen":
        found = found / tf.reduce_sum(mask, 1, keepdims=True)
    pool = tf.sparse_segment_sqrt_n if wrong == "root of the number" else tf.sparse_segment_mean
    segments = pool(T, [0, 1, 2, 3, 4, 5, 5, 4, 3], [0, 0, 1, 1, 1, 2, 3, 4, 5])
    scores = tf.squeeze(tf.matmul(found * segments, V), 1)
    found, segments = tf.nn.l2_normalize(found, 1), tf.nn.l2_normalize(segments, 1)
    other = found if wrong == "found against itself" else segments
    scores += tf.reduce_sum(found * other, 1)
    return tf.reduce_mean(tf.square(same - scores))


LOOKED_UP = Script(
    looked_up,
    {"seen": (6, 3), "same": (6,)},
    {"E": (6, 4), "T": (6, 4), "V": (4, 1)},
    {
        "no offsets": ("input left out", {"add"}, "Const"),
        "mean of what is seen": ("other reduction", {"Sum"}, "mean weighted by strided_slice"),
        "root of the number": (
            "other reduction",
            {"SparseSegmentMean"},
            "sum over the root of the number",
        ),
        "found against itself": (
            "other tensor",
            {"mul_2"},
            "l2_normalize in place of l2_normalize_1",
        ),
    },
)


def informed(x, labels, same, W, P, V, wrong):
    """Returns the loss of two heads, of which the second one knows what the first one says."""
    h = tf.tanh(tf.matmul(x, W))
    logits = tf.matmul(h, P)
    says = tf.nn.softmax(logits)
    says = says if wrong == "what is said is trained" else tf.stop_gradient(says)
    value = tf.squeeze(tf.matmul(tf.concat([h, says], 1), V), 1)
    each = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
    return tf.reduce_mean(each) + tf.reduce_mean(tf.square(value - same))


INFORMED = Script(
    informed,
    {"x": (6, 4), "labels": (6, 3), "same": (6,)},
    {"W": (4, 5), "P": (5, 3), "V": (8, 1)},
    {"what is said is trained": ("stop missing", {"StopGradient"}, None)},
)


def enlarged(x, K, wrong):
    """Returns the loss of a transposed convolution, and means of its windows."""
    if wrong == "cropped as PyTorch does":
        y = tf.nn.conv2d_transpose(x, K, [6, 9, 9, 3], [1, 2, 2, 1], "VALID")[:, 2:8, 2:8]
    else:
        y = tf.nn.conv2d_transpose(x, K, [6, 6, 6, 3], [1, 2, 2, 1], "SAME")
    if wrong == "zeros count":
        y = tf.nn.avg_pool(tf.pad(y, [[0, 0], [0, 1], [0, 1], [0, 0]]), 3, 2, "VALID")
    else:
        y = tf.nn.avg_pool(y, 3, 2, "SAME")
    return tf.reduce_mean(tf.square(y[:, 1:, 1:] - y[:, :-1, :-1] + y[:, :1, :1]))


ENLARGED = Script(
    enlarged,
    {"x": (6, 3, 3, 2)},
    {"K": (5, 5, 3, 2)},
    {
        "cropped as PyTorch does": (
            "padding",
            {"conv2d_transpose"},
            "the start more than the end",
        ),
        "zeros count": ("padding", {"AvgPool"}, "zeros that count in the mean"),
    },
)


SUMMED = Script(summed, {"x": (6, 4), "same": (6,)}, {"W": (4, 5), "b": (5,), "V": (5, 1)}, {})
RELU = ("other activation", {"Tanh"}, "relu")
SEVERAL = {
    "relu, half the error": [RELU, ("loss weight in the sum", {"truediv"}, 0.5)],
    "relu, half the error, no squares of W": [
        RELU,
        ("loss weight in the sum", {"truediv"}, 0.5),
        ("loss weight in the sum", {"L2Loss"}, 0.0),
    ],
    "relu, squares of b": [RELU, ("penalty in the loss", {"b"}, 0.05)],
    "relu, no root": [("operation missing", {"Sqrt"}, None), RELU],
}


SCRIPTS = (
    PAIRS,
    GATES,
    IMAGES,
    STRIDED,
    WORDS,
    NETWORKS,
    NORMALIZED,
    LATENT,
    ACTOR,
    SHARED,
    UNROLLED,
    MIXED,
    LOOKED_UP,
    INFORMED,
    ENLARGED,
    SUMMED,
)


def trained(script, weights, wrong=""):
    """Returns placeholders, variables, and what a step fetches, in the graph that is current."""
    feeds = {
        name: tf.placeholder(tf.float32, (None, *inner), name)
        for name, (_, *inner) in script.feeds.items()
    }
    variables = {n: tf.Variable(x, name=n, use_resource=False) for n, x in weights.items()}
    loss = script.loss(**feeds, **variables, wrong=wrong)
    with tf.control_dependencies([loss, *tf.get_collection(tf.GraphKeys.UPDATE_OPS)]):
        train = tf.train.GradientDescentOptimizer(0.05).minimize(loss, name="train")
    return feeds, variables, [loss, train]


def batch(script, rng):
    """Returns what a step feeds: numbers, rows that are the same or not, labels of one class."""
    given = {name: rng.randn(*size) for name, size in script.feeds.items()}
    if "same" in given:
        given["same"] = rng.permutation([0, 0, 0, 1, 1, 1])
        given["same"][0] = rng.randint(2)
    if "seen" in given:
        given["seen"] = np.arange(3) < rng.randint(1, 4, (6, 1))
    if script is LATENT:  # steps of three to six rows
        rows = rng.randint(3, 7)
        given = {name: x[:rows] for name, x in given.items()}
    if "labels" in given:
        given["labels"] = np.eye(3)[rng.randint(3, size=6)]
    return given


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    """Returns a function that records a script once."""
    recorded = {}

    def record(script):
        if script.loss not in recorded:
            path = recorded[script.loss] = str(tmp_path_factory.mktemp("scripts") / "script.npz")
            rng = np.random.RandomState(0)
            weights = {n: (rng.randn(*x) / 2).astype("float32") for n, x in script.weights.items()}
            with tf.Graph().as_default(), recording(path), tf.Session() as session:
                feeds, _, fetches = trained(script, weights)
                session.run(tf.global_variables_initializer())
                for _ in range(STEPS):
                    given = batch(script, rng)
                    session.run(fetches, {feeds[name]: x for name, x in given.items()})
        return recorded[script.loss]

    return record


def port(script, wrong):
    """Returns a port with a mistake."""

    class Port:
        def __init__(self, weights):
            with tf.Graph().as_default() as graph:
                self.feeds, self.variables, self.fetches = trained(script, weights, wrong)
                self.session = tf.Session(graph=graph)
                self.session.run(tf.global_variables_initializer())

        def step(self, task, feeds):
            # Random numbers are fed by the names of the operations that drew them.
            graph, known = self.session.graph, self.feeds
            given = {
                known[name] if name in known else graph.get_tensor_by_name(f"{name}:0"): x
                for name, x in feeds.items()
            }
            return self.session.run(self.fetches, given)[0]

        def weights(self):
            return self.session.run(self.variables)

    return Port


@pytest.mark.parametrize(
    "script",
    [PAIRS, *(pytest.param(script, marks=pytest.mark.slow) for script in SCRIPTS[1:])],
    ids=[script.loss.__name__ for script in SCRIPTS],
)
def test_the_port_without_a_mistake_conforms(golden, script):
    report = check(port(script, ""), goldens=[golden(script)])
    assert report.passed, report


@pytest.mark.slow
def test_a_small_mistake_in_a_deep_network_deviates(golden):
    """Bounds on the worst case say nothing behind four batch normalizations."""
    report = check(port(IMAGES, "epsilon"), goldens=[golden(IMAGES)], seconds=0.1)
    assert not report.passed
    assert report.first.tolerance < 0.01 * abs(report.first.expected)
    assert "drawn rounding errors" in report.first.reason
    assert "the limit of 0.1 s ended the search" in str(report)


@pytest.mark.slow
def test_what_is_off_by_too_little_to_compare_gets_no_name(golden):
    report = check(port(NORMALIZED, "almost the epsilon"), goldens=[golden(NORMALIZED)])
    assert not report.passed and not report.diagnosis.edits, report


QUICK = ("no bias",)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "script, wrong",
    [
        pytest.param(script, wrong, id=wrong, marks=[] if wrong in QUICK else pytest.mark.slow)
        for script in SCRIPTS
        for wrong in script.mistakes
    ],
)
def test_a_mistake_is_named_at_its_place(golden, script, wrong):
    kind, places, *value = script.mistakes[wrong]
    report = check(port(script, wrong), goldens=[golden(script)])
    assert not report.passed
    (edit,) = report.diagnosis.edits
    assert (edit.kind, set(edit.places)) == (kind, places)
    assert value in ([], [edit.value])


@pytest.mark.slow
def test_the_lines_of_the_script_stand_behind_its_nodes(golden):
    report = check(port(PAIRS, "no maximum"), goldens=[golden(PAIRS)])
    (edit,) = report.diagnosis.edits
    assert re.fullmatch(r"test_node_mistakes.py:\d+ -> test_node_mistakes.py:\d+", *edit.lines)
    assert str(edit).endswith(f" ({edit.lines[0]})")
    report = check(port(PAIRS, "all the same"), goldens=[golden(PAIRS)])
    assert [edit.lines for edit in report.diagnosis.edits] == [()], "a feed has its own name"


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
def test_two_mistakes_one_behind_the_other_are_named(golden):
    report = check(port(MIXED, "absolute, root"), goldens=[golden(MIXED)])
    named = sorted((edit.kind, *edit.places) for edit in report.diagnosis.edits)
    assert named == [("activation added", "Mean"), ("other function", "Square")], report


@pytest.mark.slow
@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("wrong", SEVERAL)
def test_several_mistakes_in_a_sum_are_named(golden, wrong):
    report = check(port(SUMMED, wrong), goldens=[golden(SUMMED)])
    named = [(edit.kind, {*edit.places}, edit.value) for edit in report.diagnosis.edits]
    assert sorted(named, key=str) == sorted(SEVERAL[wrong], key=str), report


@pytest.mark.parametrize("error", [KeyError("value"), ValueError("shape"), IndexError()])
def test_an_edit_that_does_not_fit_a_graph_ends_no_check(error):
    def change(graph, name):
        raise error

    (case,) = cases_of("alternate")
    with pytest.raises(DoesNotFit):
        graph_mutation("padding", ("MatMul",), None, change).made_in(Model(case))


@pytest.mark.parametrize(
    "passes", [tf.cumsum, lambda x: tf.reverse(x, [0])], ids=["cumsum", "reverse"]
)
def test_a_gradient_that_cannot_be_put_together_is_not_tried(path, passes):
    with tf.Graph().as_default(), recording(path), tf.Session() as session:
        W = tf.Variable(np.eye(3, dtype="float32"), name="W")
        loss = tf.reduce_sum(W * passes(tf.stop_gradient(W * 2.0)))
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(tf.global_variables_initializer())
        session.run([loss, train])
    (case,) = cases_of(path)
    (mutation,) = missing_stops(case)
    with pytest.raises(DoesNotFit):
        mutation.made_in(Model(case))
