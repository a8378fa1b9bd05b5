"""Implements the model of the article and its three Adam optimizers in NumPy, to be made wrong.

`Plain` itself conforms. `changed_port` returns a subclass with other attributes: a setting, or a
function in place of a method. Both hold everywhere, or by place: `epsilon={"Y2_op": 1e-7}`,
`rate={"share_W": 0.01}`, `l2={"Optimiser/share_Y1": 0.1}`, `rule={"Y1_op": amsgrad}`.

Places have the names of the graph of the article on TensorFlow 1.15.5.
"""

from typing import Any, ClassVar, Dict, NamedTuple

import numpy as np


class Head(NamedTuple):
    """The names of one task in the graph."""

    weights: str
    product: str
    relu: str
    loss: str


HEADS = {
    "Y1": Head("share_Y1", "MatMul_1", "Relu_1", "L2Loss"),
    "Y2": Head("share_Y2", "MatMul_2", "Relu_2", "L2Loss_1"),
}
WEIGHTS = ("share_W", "share_Y1", "share_Y2")
OPTIMIZERS = {"joint": "Optimiser", "Y1": "Y1_op", "Y2": "Y2_op"}

RELU = (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype))
LINEAR = (lambda z: z, np.ones_like)


class Plain:
    """The network of the article. Each method is one line of it that a port may get wrong."""

    rate, beta1, beta2, epsilon = 0.001, 0.9, 0.999, 1e-8
    gradient_factor = 1.0  # of a gradient before the optimizer sees it
    l2 = 0.0  # times the weight, added to its gradient
    decay = 0.0  # times the rate and the weight, subtracted (AdamW)
    # of the loss of a task: {"L2Loss": 0.5}, in one run only {"joint/L2Loss": 0.5}
    loss_weight = 1.0
    frozen = ()  # variables, or "Y1_op/share_W" for a variable in one optimizer
    activations: ClassVar[Dict[str, Any]] = {}  # {"Relu_1": (function, slope)}
    biases: ClassVar[Dict[str, Any]] = {}  # {"Relu_1": initial value of a bias that is trained}
    slots_of: ClassVar[Dict[str, Any]] = {}  # {optimizer: the optimizer whose m and v it uses}
    powers_of: ClassVar[Dict[str, Any]] = {}  # {optimizer: the optimizer whose beta powers it uses}

    def __init__(self, share_W, share_Y1, share_Y2):
        self.w = dict(zip(WEIGHTS, (share_W, share_Y1, share_Y2)))
        columns = dict(zip(("Relu", "Relu_1", "Relu_2"), (w.shape[1] for w in self.w.values())))
        for layer, initial in self.biases.items():
            self.w["bias of " + layer] = np.full((1, columns[layer]), initial, np.float32)
        self.done = 0
        self.kept = {}  # what a wrong port carries from step to step
        self.forget()

    def forget(self):
        """Starts all optimizers afresh."""
        self.slots, self.powers = {}, {}

    def weights(self):
        """Returns the three matrices."""
        return {name: self.w[name] for name in WEIGHTS}

    def step(self, task, X, Y1, Y2):
        """Trains once and returns the loss before the update."""
        X, labels = self.fed(X, {"Y1": Y1, "Y2": Y2})
        loss, gradients = self.loss_and_gradients(task, X, labels)
        gradients = self.changed(OPTIMIZERS[task], gradients)
        self.apply(OPTIMIZERS[task], gradients)
        self.done += 1
        return self.reported(task, loss)

    def fed(self, X, labels):
        """Returns what is fed."""
        return self.feed("X", X), {name: self.feed(name, label) for name, label in labels.items()}

    def feed(self, name, x):
        """Returns what is fed to one placeholder."""
        return x

    def trained_heads(self, task):
        """Returns the tasks whose losses a run sums."""
        return tuple(HEADS) if task == "joint" else (task,)

    # The network

    def loss_and_gradients(self, task, X, labels):
        """Returns the loss of a run and the gradients by variable."""
        loss, gradients, into_hidden = np.float32(0), {}, np.float32(0)
        z = self.layer("MatMul", "Relu", X, self.w["share_W"])
        hidden = self.activation("Relu", z)
        for name in self.trained_heads(task):
            head = HEADS[name]
            z_head = self.layer(head.product, head.relu, hidden, self.w[head.weights])
            output = self.activation(head.relu, z_head)
            head_loss, into_output = self.loss(head.loss, output, labels[name])
            weight = np.float32(self.at("loss_weight", f"{task}/{head.loss}", head.loss))
            loss = loss + head_loss * weight
            into_z = self.slope(head.relu, z_head, into_output * weight)
            gradients[head.weights] = self.product(head.product, hidden.T, into_z)
            if head.relu in self.biases:
                gradients["bias of " + head.relu] = into_z.sum(axis=0, keepdims=True)
            into_x = self.product(head.product, into_z, self.w[head.weights].T)
            into_hidden = into_hidden + self.into_shared(task, name, into_x)
        into_z = self.slope("Relu", z, into_hidden)
        gradients["share_W"] = self.product("MatMul", X.T, into_z)
        if "Relu" in self.biases:
            gradients["bias of Relu"] = into_z.sum(axis=0, keepdims=True)
        return loss, gradients

    def layer(self, product, relu, x, weights):
        """Returns the input of an activation."""
        return self.product(product, x, weights) + self.w.get("bias of " + relu, np.float32(0))

    def product(self, name, a, b):
        """Multiply two matrices, forward or backward."""
        return a @ b

    def activation(self, relu, z):
        """Returns the output of a layer."""
        return self.activations.get(relu, RELU)[0](z)

    def slope(self, relu, z, from_above):
        """Returns the gradient below an activation."""
        return from_above * self.activations.get(relu, RELU)[1](z)

    def loss(self, name, output, label):
        """Returns `tf.nn.l2_loss` of the difference, and its gradient by the output."""
        error = output - label
        return np.sum(error * error) / np.float32(2), error

    def into_shared(self, task, head, gradient):
        """Returns the part of the gradient of a head that reaches the shared layer."""
        return gradient

    def changed(self, optimizer, gradients):
        """Returns the gradients as an optimizer gets them."""
        return gradients

    def reported(self, task, loss):
        """Returns the loss as the port returns it."""
        return loss

    # The optimizers

    def apply(self, optimizer, gradients):
        """Update every variable that has a gradient, then the beta powers."""
        for name, g in gradients.items():
            if name in self.frozen or f"{optimizer}/{name}" in self.frozen:
                continue
            w = self.w[name]
            g = g * self.of("gradient_factor", optimizer, name)
            g = g + self.of("l2", optimizer, name) * w
            decay = self.of("rate", optimizer, name) * self.of("decay", optimizer, name) * w
            self.w[name] = w - self.rule(optimizer, name, g) - decay
        powers = self.powers_for(optimizer)
        powers[:] = powers * [self.of("beta1", optimizer), self.of("beta2", optimizer)]

    def rule(self, optimizer, name, g):
        """Returns what Adam subtracts from a variable."""
        beta1, beta2 = self.of("beta1", optimizer, name), self.of("beta2", optimizer, name)
        m = self.average(optimizer, name, "m", g, beta1)
        v = self.average(optimizer, name, "v", g * g, beta2)
        powers = self.powers_for(optimizer)
        alpha = self.of("rate", optimizer, name) * self.correction(optimizer, powers)
        epsilon = self.of("epsilon", optimizer, name)
        return alpha * m / self.denominator(optimizer, v, epsilon, powers)

    def correction(self, optimizer, powers):
        """Returns the factor that corrects the bias of both moments."""
        return np.sqrt(1 - powers[1]) / (1 - powers[0])

    def denominator(self, optimizer, v, epsilon, powers):
        """Returns what Adam divides by: epsilon is added to the uncorrected root."""
        return np.sqrt(v) + epsilon

    def average(self, optimizer, name, slot, new, beta):
        """Move a slot, which starts at zero, towards a new value."""
        slots = self.slots_for(optimizer, name)
        old = slots.get(slot, np.zeros_like(new))
        slots[slot] = old + (new - old) * (1 - beta)
        return slots[slot]

    def slots_for(self, optimizer, name):
        """Returns the slots of a variable in an optimizer, by name of the slot."""
        return self.slots.setdefault((self.slots_of.get(optimizer, optimizer), name), {})

    def powers_for(self, optimizer):
        """Returns beta1^t and beta2^t of an optimizer, a float32 array."""
        start = np.array([self.of("beta1", optimizer), self.of("beta2", optimizer)], np.float32)
        return self.powers.setdefault(self.powers_of.get(optimizer, optimizer), start)

    def of(self, setting, optimizer, variable=""):
        """Returns a setting of an optimizer for a variable, float32."""
        return np.float32(self.at(setting, f"{optimizer}/{variable}", optimizer, variable))

    def at(self, setting, *places):
        """Returns the setting of the first place that has one, or the right one."""
        value = getattr(self, setting)
        if not isinstance(value, dict):
            return value
        given = [value[place] for place in places if place in value]
        return given[0] if given else getattr(Plain, setting)


def changed_port(base=Plain, **changes):
    """Returns a port class that differs from the base in these attributes."""
    assert all(hasattr(base, name) for name in changes), changes
    for name, change in changes.items():
        if callable(getattr(base, name)) and isinstance(change, dict):
            changes[name] = by_place(getattr(base, name), change)
    return type("Changed", (base,), changes)


def by_place(right, others):
    """Returns a method that is another one where a place among its arguments has one."""

    def method(self, *given):
        places = [x for x in given if isinstance(x, str) and x in others]
        return (others[places[0]] if places else right)(self, *given)

    return method
