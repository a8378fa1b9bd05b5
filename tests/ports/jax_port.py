"""Ports to JAX: `jax.value_and_grad` with optax, and with the Adam of TensorFlow 1.x by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

HEADS = {"Y1": ("share_Y1",), "Y2": ("share_Y2",), "joint": ("share_Y1", "share_Y2")}


def loss(trained, X, labels):
    """The summed `tf.nn.l2_loss` of the heads in `trained`, a dict of weights."""
    shared_layer = jax.nn.relu(X @ trained["share_W"])
    return sum(
        jnp.sum(jnp.square(jax.nn.relu(shared_layer @ trained[head]) - labels[head])) / 2
        for head in trained
        if head != "share_W"
    )


class Default:
    """`optax.adam(1e-3)` adds epsilon after the bias correction, TensorFlow 1.x before it."""

    def __init__(self, share_W, share_Y1, share_Y2):
        weights = {"share_W": share_W, "share_Y1": share_Y1, "share_Y2": share_Y2}
        self.w = {name: jnp.asarray(value) for name, value in weights.items()}
        self.states = {task: self.start(self.trained(task)) for task in HEADS}

    def trained(self, task):
        return {name: self.w[name] for name in ("share_W", *HEADS[task])}

    def step(self, task, X, Y1, Y2):
        labels = {"share_Y1": Y1, "share_Y2": Y2}
        now, moved, self.states[task] = self.train(self.trained(task), self.states[task], X, labels)
        self.w.update(moved)
        return now

    def weights(self):
        return {name: np.asarray(value) for name, value in self.w.items()}

    @staticmethod
    def start(trained):
        return optax.adam(1e-3).init(trained)

    @staticmethod
    @jax.jit
    def train(trained, state, X, labels):
        now, gradients = jax.value_and_grad(loss)(trained, X, labels)
        updates, state = optax.adam(1e-3).update(gradients, state)
        return now, optax.apply_updates(trained, updates), state


class Conformant(Default):
    """The knob: no `optax.adam` but its parts, with epsilon on the uncorrected square root."""

    @staticmethod
    def start(trained):
        zeros = jax.tree.map(jnp.zeros_like, trained)
        return zeros, zeros, jnp.float32(0.9), jnp.float32(0.999)

    @staticmethod
    @jax.jit
    def train(trained, state, X, labels):
        m, v, beta1_power, beta2_power = state
        now, gradients = jax.value_and_grad(loss)(trained, X, labels)
        m = jax.tree.map(lambda m, g: m + (g - m) * (1 - 0.9), m, gradients)
        v = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - 0.999), v, gradients)
        alpha = 0.001 * jnp.sqrt(1 - beta2_power) / (1 - beta1_power)
        moved = jax.tree.map(lambda w, m, v: w - alpha * m / (jnp.sqrt(v) + 1e-8), trained, m, v)
        return now, moved, (m, v, beta1_power * 0.9, beta2_power * 0.999)
