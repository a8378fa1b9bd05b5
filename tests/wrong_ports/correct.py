"""Ports that conform: equal formulas, written as people write them."""

import numpy as np

from .base import HEADS, RELU, Plain
from .base import OPTIMIZERS as OPTIMIZER_OF
from .entry import RELUS, each, right, right_class

right("plain")


def loss_of(value):
    """Returns a `loss` whose value is another formula of half the sum of squares."""
    return lambda self, name, output, label: (value(output - label), output - label)


right("einsum-loss", loss=loss_of(lambda e: np.einsum("ij,ij->", e, e) / 2))
right("dot-loss", loss=loss_of(lambda e: np.vdot(e, e) / 2))
right("trace-loss", loss=loss_of(lambda e: np.trace(e @ e.T) / 2))
right("halves-inside", loss=loss_of(lambda e: np.sum(np.float32(0.5) * e**2)))
right("rows-first", loss=loss_of(lambda e: np.sum(np.sum(e * e, axis=1) / 2)))
right("double-loss", loss=loss_of(lambda e: np.sum(np.square(e.astype(float))) / 2))
right("python-float", reported=lambda self, task, loss: float(loss))


def mean_times_size(self, name, output, label):
    """`mse * numel / 2`: the gradient is a mean too, multiplied by the size afterwards."""
    error, size = output - label, np.float32(output.size)
    return np.mean(error * error) * size / 2, (2 * error / size) * (size / 2)


def squared_norm(self, name, output, label):
    """`torch.norm(e) ** 2 / 2`, with the gradient of a norm."""
    error = output - label
    norm = np.sqrt(np.sum(error * error))
    direction = error / norm if norm else error
    return norm**2 / 2, direction * norm


def label_first(self, name, output, label):
    """`l2_loss(Y - layer)`: the gradient is negated twice."""
    error = label - output
    return np.sum(np.square(error)) / 2, -error


right("label-first", loss=label_first)
right("squared-norm", loss=squared_norm)
right("mean-times-size", loss=mean_times_size)


def double_products(self, name, a, b):
    return (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)


def einsum_products(self, name, a, b):
    return np.einsum("ij,jk->ik", a, b)


def sums_in_blocks(self, name, a, b):
    """Adds the products of blocks of the inner dimension, as a tiled kernel does."""
    return sum(a[:, k : k + 3] @ b[k : k + 3] for k in range(0, a.shape[1], 3))


right("double-products", product=double_products)
right("einsum-products", product=einsum_products)
right("sums-in-blocks", product=sums_in_blocks)


def textbook(self, optimizer, name, g):
    """Returns the step of algorithm 1 of Kingma and Ba, with the epsilon of TensorFlow."""
    beta1, beta2 = self.of("beta1", optimizer), self.of("beta2", optimizer)
    slots = self.slots_for(optimizer, name)
    slots["m"] = beta1 * slots.get("m", np.float32(0)) + (1 - beta1) * g
    slots["v"] = beta2 * slots.get("v", np.float32(0)) + (1 - beta2) * g**2
    powers = self.powers_for(optimizer)
    m_hat = slots["m"] / (1 - powers[0])
    v_hat = slots["v"] / (1 - powers[1])
    epsilon_hat = np.float32(1e-8) / np.sqrt(1 - powers[1])
    return np.float32(0.001) * m_hat / (np.sqrt(v_hat) + epsilon_hat)


def rate_last(self, optimizer, name, g):
    """Divide first, multiply by the rate last."""
    m = self.average(optimizer, name, "m", g, np.float32(0.9))
    v = self.average(optimizer, name, "v", g * g, np.float32(0.999))
    powers = self.powers_for(optimizer)
    direction = m / (np.sqrt(v) + np.float32(1e-8))
    return direction * np.float32(0.001) * (np.sqrt(1 - powers[1]) / (1 - powers[0]))


def python_numbers(self, optimizer, name, g):
    """Hyperparameters are Python floats, and t is an integer. That is a note, not a deviation."""
    slots = self.slots_for(optimizer, name)
    t = slots["t"] = slots.get("t", 0) + 1
    slots["m"] = 0.9 * slots.get("m", np.zeros_like(g)) + (1 - 0.9) * g
    slots["v"] = 0.999 * slots.get("v", np.zeros_like(g)) + (1 - 0.999) * g * g
    alpha = 0.001 * float(np.sqrt(1 - 0.999**t)) / (1 - 0.9**t)
    return (alpha * slots["m"] / (np.sqrt(slots["v"]) + 1e-8)).astype(np.float32)


right("textbook-adam", rule=textbook)
right("rate-last", rule=rate_last)
right("python-numbers", rule=python_numbers)


for id, relu in (
    ("mask", lambda z: z * (z > 0)),
    ("where", lambda z: np.where(z > 0, z, np.float32(0))),
    ("absolute", lambda z: (z + np.abs(z)) / 2),
):
    right(id, activations=each(RELUS, (relu, RELU[1])))


@right_class("fortran-order")
class FortranOrder(Plain):
    """Weights are stored column by column."""

    def __init__(self, *weights):
        super().__init__(*(np.asfortranarray(w) for w in weights))

    def apply(self, optimizer, gradients):
        super().apply(optimizer, gradients)
        self.w = {name: np.asfortranarray(w) for name, w in self.w.items()}


@right_class("stored-transposed")
class StoredTransposed(Plain):
    """Weights are stored [outputs, inputs], contiguous, and returned as views."""

    def __init__(self, *weights):
        super().__init__(*weights)
        self.store()

    def store(self):
        self.stored = {name: np.ascontiguousarray(w.T) for name, w in self.w.items()}

    def apply(self, optimizer, gradients):
        super().apply(optimizer, gradients)
        self.store()

    def weights(self):
        return {name: w.T for name, w in self.stored.items()}


@right_class("double-inside")
class DoubleInside(Plain):
    """A step is computed in float64, from weights that are kept in float32."""

    def feed(self, name, x):
        return x.astype(float)

    def apply(self, optimizer, gradients):
        super().apply(optimizer, gradients)
        self.w = {name: w.astype(np.float32) for name, w in self.w.items()}


@right_class("micro-batches")
class MicroBatches(Plain):
    """A batch is split into rows and the gradients are added before one update."""

    def loss_and_gradients(self, task, X, labels):
        loss, total = np.float32(0), {}
        for row in range(len(X)):
            one = {name: label[row : row + 1] for name, label in labels.items()}
            part, gradients = super().loss_and_gradients(task, X[row : row + 1], one)
            loss = loss + part
            total = {name: total.get(name, np.float32(0)) + g for name, g in gradients.items()}
        return loss, total


@right_class("two-backwards")
class TwoBackwards(Plain):
    """The joint gradient is the sum of the gradients of both tasks."""

    def loss_and_gradients(self, task, X, labels):
        loss, total = np.float32(0), {}
        for one in self.trained_heads(task):
            part, gradients = super().loss_and_gradients(one, X, labels)
            loss = loss + part
            for name, g in gradients.items():
                total[name] = total.get(name, np.float32(0)) + g
        return loss, total


@right_class("one-product")
class OneProductForBothHeads(Plain):
    """The heads of a joint run are one matrix, split after the product."""

    def loss_and_gradients(self, task, X, labels):
        if task != "joint":
            return super().loss_and_gradients(task, X, labels)
        heads = np.concatenate([self.w[head.weights] for head in HEADS.values()], axis=1)
        label = np.concatenate([labels[name] for name in HEADS], axis=1)
        hidden = np.maximum(X @ self.w["share_W"], 0)
        output = np.maximum(hidden @ heads, 0)
        error = output - label
        into_z = error * (output > 0)
        split = self.w["share_Y1"].shape[1]
        to_heads = hidden.T @ into_z
        gradients = {"share_W": X.T @ ((into_z @ heads.T) * (hidden > 0))}
        gradients["share_Y1"], gradients["share_Y2"] = to_heads[:, :split], to_heads[:, split:]
        return np.sum(error * error) / 2, gradients


@right_class("in-place")
class InPlace(Plain):
    """Adam writes into arrays of its own."""

    def __init__(self, *weights):
        super().__init__(*(w.copy() for w in weights))

    def apply(self, optimizer, gradients):
        powers = self.powers_for(optimizer)
        alpha = np.float32(0.001) * np.sqrt(1 - powers[1]) / (1 - powers[0])
        for name, g in gradients.items():
            slots = self.slots_for(optimizer, name)
            m = slots.setdefault("m", np.zeros_like(g))
            v = slots.setdefault("v", np.zeros_like(g))
            m += (g - m) * (1 - self.of("beta1", optimizer))
            v += (g * g - v) * (1 - self.of("beta2", optimizer))
            below = np.sqrt(v)
            below += np.float32(1e-8)
            self.w[name] -= alpha * m / below
        powers *= [self.of("beta1", optimizer), self.of("beta2", optimizer)]


@right_class("flat-vector")
class FlatVector(Plain):
    """All variables of an optimizer are one vector to it."""

    def apply(self, optimizer, gradients):
        names = list(gradients)
        flat = np.concatenate([gradients[name].ravel() for name in names])
        step = self.rule(optimizer, "flat", flat)
        parts = np.split(step, np.cumsum([gradients[name].size for name in names])[:-1])
        for name, part in zip(names, parts):
            self.w[name] = self.w[name] - part.reshape(self.w[name].shape)
        super().apply(optimizer, {})


@right_class("slots-for-all")
class SlotsMadeForAll(Plain):
    """Every optimizer has slots for all weights and is given only the gradients that exist."""

    def __init__(self, *weights):
        super().__init__(*weights)
        for optimizer in OPTIMIZER_OF.values():
            for name, w in self.w.items():
                self.slots_for(optimizer, name).update(m=np.zeros_like(w), v=np.zeros_like(w))
