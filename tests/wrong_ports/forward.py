"""Ports with wrong layers: activations, slopes, biases, precision."""

import math

import numpy as np

from .base import LINEAR, RELU, Plain
from .entry import HEAD_RELUS, PRODUCTS, RELUS, at, each, edit, mistake, wrong, wrong_class
from .feeds import rounded_to_bfloat16, rounded_to_float16


def activation(kind, value, function, slope):
    """Returns the mistake of another activation, as a function of its places."""
    return lambda places: mistake(kind, places, value, activations=each(places, (function, slope)))


linear = activation("activation missing", None, *LINEAR)

wrong("no-relu-shared", linear("Relu"))
wrong("no-relu-head-1", linear("Relu_1"))
wrong("no-relu-head-2", linear("Relu_2"))
wrong("no-relu-heads", linear(HEAD_RELUS))
wrong("no-relu-at-all", linear(RELUS))
wrong("no-relu-shared-and-head-1", linear(("Relu", "Relu_1")))


def sigmoid_of(z):
    return 1 / (1 + np.exp(-z))


def other(name, function, slope):
    return activation("other activation", name, function, slope)


tanh = other("tanh", np.tanh, lambda z: 1 - np.tanh(z) ** 2)
sigmoid = other("sigmoid", sigmoid_of, lambda z: sigmoid_of(z) * (1 - sigmoid_of(z)))
relu6 = other("relu6", lambda z: np.clip(z, 0, 6), lambda z: ((z > 0) & (z < 6)).astype(z.dtype))
elu = other(
    "elu",
    lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    lambda z: np.where(z > 0, np.float32(1), np.exp(np.minimum(z, 0))),
)
softplus = other("softplus", lambda z: np.logaddexp(z, np.float32(0)), sigmoid_of)
silu = other(  # also called swish
    "silu",
    lambda z: z * sigmoid_of(z),
    lambda z: sigmoid_of(z) * (1 + z * (1 - sigmoid_of(z))),
)
absolute = other("abs", np.abs, np.sign)


def share_below(z):
    """Returns the distribution function of the normal distribution."""
    return (1 + np.vectorize(math.erf, otypes=[z.dtype])(z / math.sqrt(2))) / 2


def slope_of_gelu(z):
    return share_below(z) + z * np.exp(-z * z / 2) / np.float32(math.sqrt(2 * math.pi))


gelu = other("gelu", lambda z: z * share_below(z), slope_of_gelu)  # as PyTorch and Keras have it


def leaky(places, slope):
    slope = np.float32(slope)
    return other(
        f"leaky relu, slope {slope:.3g}",
        lambda z: np.where(z > 0, z, slope * z),
        lambda z: np.where(z > 0, np.float32(1), slope),
    )(places)


wrong("tanh-shared", tanh("Relu"))
wrong("gelu-shared", gelu("Relu"))
wrong("gelu-heads", gelu(HEAD_RELUS))
wrong("sigmoid-head-2", sigmoid("Relu_2"))
wrong("sigmoid-heads", sigmoid(HEAD_RELUS))
wrong("elu-head-1", elu("Relu_1"))
wrong("elu-shared", elu("Relu"))
wrong("elu-heads", elu(HEAD_RELUS))
wrong("elu-everywhere", elu(RELUS))
wrong("softplus-everywhere", softplus(RELUS))
wrong("silu-shared", silu("Relu"))
wrong("relu6-head-1", relu6("Relu_1"))
wrong("relu6-everywhere", relu6(RELUS))
wrong("leaky-shared", leaky("Relu", 0.2))
wrong("leaky-head-2", leaky("Relu_2", 0.01))
wrong("leaky-everywhere-0.07", leaky(RELUS, 0.07))
for name, places in (("shared", "Relu"), ("heads", HEAD_RELUS), ("everywhere", RELUS)):
    for slope in (0.01, 0.0077):
        wrong(f"leaky-{name}-{slope}", leaky(places, slope))
wrong("tanh-shared-no-relu-head-1", tanh("Relu"), linear("Relu_1"))
wrong("absolute-head-2", absolute("Relu_2"), also=[[edit("unlisted", "Relu_2")]])


@wrong_class("softmax-after-head-1", edit("unlisted", "Relu_1"))
class SoftmaxOnHead1(Plain):
    """Softmax over the outputs of head 1, after its ReLU, as in a classifier."""

    def activation(self, relu, z):
        output = super().activation(relu, z)
        if relu == "Relu_1":
            exponentials = np.exp(output - output.max(axis=1, keepdims=True))
            output = self.softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
        return output

    def slope(self, relu, z, from_above):
        if relu == "Relu_1":
            p = self.softmax
            from_above = p * (from_above - (p * from_above).sum(axis=1, keepdims=True))
        return super().slope(relu, z, from_above)


def at_zero(places, slope):
    """Returns the mistake of another gradient at exactly zero."""

    def slope_of(z):
        return np.where(z == 0, np.float32(slope), (z > 0).astype(z.dtype))

    return activation("slope at zero", slope, RELU[0], slope_of)(places)


wrong("slope-1-at-zero", at_zero(RELUS, 1.0))
wrong("slope-1-at-zero-heads", at_zero(HEAD_RELUS, 1.0))
wrong("slope-1-at-zero-head-2", at_zero("Relu_2", 1.0))
wrong("slope-half-at-zero", at_zero(RELUS, 0.5))  # as jnp.maximum
wrong("slope-half-at-zero-shared", at_zero("Relu", 0.5))

#: The backward pass forgets the ReLU.
straight_through = activation("slope ignored", None, RELU[0], np.ones_like)

wrong("straight-through-shared", straight_through("Relu"))
wrong("straight-through-head-1", straight_through("Relu_1"))
wrong("straight-through-heads", straight_through(HEAD_RELUS))
wrong("straight-through-everywhere", straight_through(RELUS))


def bias(places, initial=0.0):
    """Returns the mistake of a bias that is trained."""
    return mistake("bias added", places, biases=each(places, initial))


wrong("bias-everywhere", bias(RELUS))
wrong("bias-shared", bias("Relu"))
wrong("bias-head-1", bias("Relu_1"))
wrong("bias-heads", bias(HEAD_RELUS))
wrong("bias-tenth-head-2", bias("Relu_2", 0.1))
wrong("bias-tenth-everywhere", bias(RELUS, 0.1))


def rounded_to_tf32(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = bits + np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


def cut_off(bits):
    """Returns a function that cuts off the last bits, in place of rounding them."""
    mask = np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)
    return lambda x: (np.ascontiguousarray(x, np.float32).view(np.uint32) & mask).view(np.float32)


def precision(places, name, rounding, of_result=lambda x: x):
    """Returns the mistake of products whose operands, and perhaps results, are rounded."""

    def product(self, place, a, b):
        return of_result(rounding(a) @ rounding(b))

    return mistake("precision of products", places, name, product=at(places, product))


wrong("products-tf32", precision(PRODUCTS, "tf32", rounded_to_tf32))
wrong("products-bfloat16", precision(PRODUCTS, "bfloat16", rounded_to_bfloat16))
wrong("products-tf32-cut-off", precision(PRODUCTS, "tf32, cut off", cut_off(13)))
wrong("products-bfloat16-cut-off", precision(PRODUCTS, "bfloat16, cut off", cut_off(16)))
wrong(
    "products-bfloat16-with-results",
    precision(PRODUCTS, "bfloat16 with bfloat16 results", rounded_to_bfloat16, rounded_to_bfloat16),
)
wrong(
    "products-float16-with-results",
    precision(PRODUCTS, "float16 with float16 results", rounded_to_float16, rounded_to_float16),
)
wrong("product-bfloat16-head-1", precision("MatMul_1", "bfloat16", rounded_to_bfloat16))
wrong("product-float16-shared", precision("MatMul", "float16", rounded_to_float16))
