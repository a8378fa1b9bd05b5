"""Ports with wrong layers: activations, slopes, biases, precision."""

import numpy as np

from .base import LINEAR, Plain
from .entry import HEAD_RELUS, PRODUCTS, RELUS, edit, wrong
from .feeds import rounded_to_bfloat16, rounded_to_float16

TANH = (np.tanh, lambda z: 1 - np.tanh(z) ** 2)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


SIGMOID = (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z)))
RELU6 = (lambda z: np.clip(z, 0, 6), lambda z: ((z > 0) & (z < 6)).astype(z.dtype))
ELU = (
    lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
    lambda z: np.where(z > 0, np.float32(1), np.exp(np.minimum(z, 0))),
)
SOFTPLUS = (lambda z: np.logaddexp(z, np.float32(0)), sigmoid)
SILU = (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z))))
ABSOLUTE = (np.abs, np.sign)


def leaky(slope):
    slope = np.float32(slope)
    return (
        lambda z: np.where(z > 0, z, slope * z),
        lambda z: np.where(z > 0, np.float32(1), slope),
    )


def at_zero(slope):
    """Return the ReLU with another gradient at exactly zero."""
    return (
        lambda z: np.maximum(z, 0),
        lambda z: np.where(z == 0, np.float32(slope), (z > 0).astype(z.dtype)),
    )


STRAIGHT_THROUGH = (lambda z: np.maximum(z, 0), np.ones_like)


def everywhere(activation):
    return dict.fromkeys(RELUS, activation)


def rounded_to_tf32(x):
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    bits = bits + np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


def products(rounding, places=PRODUCTS):
    """Return a `product` that rounds its operands at these places."""

    def product(self, name, a, b):
        return rounding(a) @ rounding(b) if name in places else a @ b

    return product


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


ENTRIES = (
    wrong(
        "no-relu-shared",
        "the shared layer has no ReLU",
        edit("activation missing", "Relu"),
        activations={"Relu": LINEAR},
    ),
    wrong(
        "no-relu-head-1",
        "head 1 has no ReLU",
        edit("activation missing", "Relu_1"),
        activations={"Relu_1": LINEAR},
    ),
    wrong(
        "no-relu-head-2",
        "head 2 has no ReLU",
        edit("activation missing", "Relu_2"),
        activations={"Relu_2": LINEAR},
    ),
    wrong(
        "no-relu-heads",
        "neither head has a ReLU",
        edit("activation missing", HEAD_RELUS),
        activations=dict.fromkeys(HEAD_RELUS, LINEAR),
    ),
    wrong(
        "no-relu-at-all",
        "no layer has a ReLU",
        edit("activation missing", RELUS),
        activations=everywhere(LINEAR),
    ),
    wrong(
        "no-relu-shared-and-head-1",
        "the shared layer and head 1 have no ReLU",
        edit("activation missing", ("Relu", "Relu_1")),
        activations={"Relu": LINEAR, "Relu_1": LINEAR},
    ),
    wrong(
        "tanh-shared",
        "the shared layer has tanh",
        edit("other activation", "Relu", "tanh"),
        activations={"Relu": TANH},
    ),
    wrong(
        "sigmoid-head-2",
        "head 2 has a sigmoid",
        edit("other activation", "Relu_2", "sigmoid"),
        activations={"Relu_2": SIGMOID},
    ),
    wrong(
        "sigmoid-heads",
        "both heads have a sigmoid",
        edit("other activation", HEAD_RELUS, "sigmoid"),
        activations=dict.fromkeys(HEAD_RELUS, SIGMOID),
    ),
    wrong(
        "elu-head-1",
        "head 1 has ELU",
        edit("other activation", "Relu_1", "elu"),
        activations={"Relu_1": ELU},
    ),
    wrong(
        "softplus-everywhere",
        "every layer has softplus",
        edit("other activation", RELUS, "softplus"),
        activations=everywhere(SOFTPLUS),
    ),
    wrong(
        "silu-shared",
        "the shared layer has SiLU (swish)",
        edit("other activation", "Relu", "silu"),
        activations={"Relu": SILU},
    ),
    wrong(
        "relu6-head-1",
        "head 1 has ReLU6",
        edit("other activation", "Relu_1", "relu6"),
        activations={"Relu_1": RELU6},
    ),
    wrong(
        "relu6-everywhere",
        "every layer has ReLU6",
        edit("other activation", RELUS, "relu6"),
        activations=everywhere(RELU6),
    ),
    wrong(
        "leaky-shared",
        "the shared layer has a leaky ReLU of slope 0.2",
        edit("other activation", "Relu", "leaky relu"),
        activations={"Relu": leaky(0.2)},
    ),
    wrong(
        "leaky-head-2",
        "head 2 has a leaky ReLU of slope 0.01",
        edit("other activation", "Relu_2", "leaky relu"),
        activations={"Relu_2": leaky(0.01)},
    ),
    wrong(
        "leaky-everywhere-0.07",
        "every layer has a leaky ReLU of slope 0.07",
        edit("other activation", RELUS, "leaky relu"),
        activations=everywhere(leaky(0.07)),
    ),
    wrong(
        "tanh-shared-no-relu-head-1",
        "the shared layer has tanh, head 1 has no ReLU",
        edit("other activation", "Relu", "tanh"),
        edit("activation missing", "Relu_1"),
        activations={"Relu": TANH, "Relu_1": LINEAR},
    ),
    wrong(
        "absolute-head-2",
        "head 2 takes the absolute value",
        edit("other activation", "Relu_2", "abs"),
        also=[[edit("unlisted", "Relu_2")]],
        activations={"Relu_2": ABSOLUTE},
    ),
    wrong(
        "softmax-after-head-1",
        "a softmax follows the ReLU of head 1",
        edit("unlisted", "Relu_1"),
        base=SoftmaxOnHead1,
    ),
    wrong(
        "slope-1-at-zero-heads",
        "the gradient of both head ReLUs at exactly 0 is 1",
        edit("slope at zero", HEAD_RELUS, 1.0),
        activations=dict.fromkeys(HEAD_RELUS, at_zero(1)),
    ),
    wrong(
        "slope-1-at-zero-head-2",
        "the gradient of the ReLU of head 2 at exactly 0 is 1",
        edit("slope at zero", "Relu_2", 1.0),
        activations={"Relu_2": at_zero(1)},
    ),
    wrong(
        "slope-half-at-zero",
        "the gradient of every ReLU at exactly 0 is 0.5 (jnp.maximum)",
        edit("slope at zero", RELUS, 0.5),
        activations=everywhere(at_zero(0.5)),
    ),
    wrong(
        "slope-half-at-zero-shared",
        "the gradient of the shared ReLU at exactly 0 is 0.5",
        edit("slope at zero", "Relu", 0.5),
        activations={"Relu": at_zero(0.5)},
    ),
    wrong(
        "straight-through-shared",
        "the backward pass forgets the ReLU of the shared layer",
        edit("slope ignored", "Relu"),
        activations={"Relu": STRAIGHT_THROUGH},
    ),
    wrong(
        "straight-through-head-1",
        "the backward pass forgets the ReLU of head 1",
        edit("slope ignored", "Relu_1"),
        activations={"Relu_1": STRAIGHT_THROUGH},
    ),
    wrong(
        "straight-through-heads",
        "the backward pass forgets the ReLU of both heads",
        edit("slope ignored", HEAD_RELUS),
        activations=dict.fromkeys(HEAD_RELUS, STRAIGHT_THROUGH),
    ),
    wrong(
        "bias-everywhere",
        "every layer has a bias that starts at 0 and is trained",
        edit("bias added", RELUS),
        biases=dict.fromkeys(RELUS, 0.0),
    ),
    wrong(
        "bias-shared",
        "the shared layer has a bias that starts at 0 and is trained",
        edit("bias added", "Relu"),
        biases={"Relu": 0.0},
    ),
    wrong(
        "bias-head-1",
        "head 1 has a bias that starts at 0 and is trained",
        edit("bias added", "Relu_1"),
        biases={"Relu_1": 0.0},
    ),
    wrong(
        "bias-heads",
        "both heads have a bias that starts at 0 and is trained",
        edit("bias added", HEAD_RELUS),
        biases=dict.fromkeys(HEAD_RELUS, 0.0),
    ),
    wrong(
        "bias-tenth-head-2",
        "head 2 has a bias that starts at 0.1 and is trained",
        edit("bias added", "Relu_2"),
        biases={"Relu_2": 0.1},
    ),
    wrong(
        "bias-tenth-everywhere",
        "every layer has a bias that starts at 0.1 and is trained",
        edit("bias added", RELUS),
        biases=dict.fromkeys(RELUS, 0.1),
    ),
    wrong(
        "products-tf32",
        "every product is multiplied in TF32",
        edit("precision of products", PRODUCTS, "tf32"),
        product=products(rounded_to_tf32),
    ),
    wrong(
        "products-bfloat16",
        "every product is multiplied in bfloat16",
        edit("precision of products", PRODUCTS, "bfloat16"),
        product=products(rounded_to_bfloat16),
    ),
    wrong(
        "product-bfloat16-head-1",
        "the products of head 1 are multiplied in bfloat16",
        edit("precision of products", "MatMul_1", "bfloat16"),
        product=products(rounded_to_bfloat16, ("MatMul_1",)),
    ),
    wrong(
        "product-float16-shared",
        "the products of the shared layer are multiplied in float16",
        edit("precision of products", "MatMul", "float16"),
        product=products(rounded_to_float16, ("MatMul",)),
    ),
)
