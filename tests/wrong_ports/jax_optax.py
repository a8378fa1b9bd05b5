"""Ports in JAX with the mistakes of real ones. `Conformant` is right. The others change a line."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .base import changed_port

HEADS = {"Y1": ("share_Y1",), "Y2": ("share_Y2",), "joint": ("share_Y1", "share_Y2")}
COMPILED = {}


def hat_adam(rate=1e-3, beta1=0.9, beta2=0.999, epsilon=1e-8):
    """The Adam of TensorFlow 1 as an `optax.GradientTransformation`."""
    beta1, beta2 = jnp.float32(beta1), jnp.float32(beta2)

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return zeros, zeros, beta1, beta2

    def update(g, state, params=None):
        m, v, power1, power2 = state
        m = jax.tree.map(lambda m, g: m + (g - m) * (1 - beta1), m, g)
        v = jax.tree.map(lambda v, g: v + (g * g - v) * (1 - beta2), v, g)
        alpha = rate * jnp.sqrt(1 - power2) / (1 - power1)
        step = jax.tree.map(lambda m, v: -alpha * m / (jnp.sqrt(v) + epsilon), m, v)
        return step, (m, v, power1 * beta1, power2 * beta2)

    return optax.GradientTransformation(init, update)


class Conformant:
    """A dict of weights, `jax.value_and_grad`, an optimizer state for each task."""

    optimizer = hat_adam()

    def __init__(self, share_W, share_Y1, share_Y2):
        self.w = {"share_W": share_W, "share_Y1": share_Y1, "share_Y2": share_Y2}
        self.w = {name: jnp.asarray(value) for name, value in self.w.items()}
        self.states = {task: self.optimizer.init(self.trained(task)) for task in HEADS}
        # `train` reads no weights of its object, so the objects of a class share what is compiled.
        self.compiled = COMPILED.setdefault(type(self), jax.jit(self.train, static_argnums=0))

    def trained(self, task):
        return {name: self.w[name] for name in ("share_W", *HEADS[task])}

    def step(self, task, X, Y1, Y2):
        labels = {"share_Y1": Y1, "share_Y2": Y2}
        given = self.trained(task), self.states[task], X, labels
        loss, moved, self.states[task] = self.compiled(task, *given)
        self.w.update(moved)
        return loss

    def train(self, task, params, state, X, labels):
        loss, gradients = jax.value_and_grad(self.loss)(params, task, X, labels)
        updates, state = self.optimizer.update(gradients, state, params)
        return loss, optax.apply_updates(params, updates), state

    def loss(self, params, task, X, labels):
        hidden = self.relu(X @ params["share_W"])
        outputs = {head: self.relu(self.head(head, hidden) @ params[head]) for head in HEADS[task]}
        return sum(self.criterion(outputs[head], labels[head]) for head in outputs)

    def relu(self, z):
        return jax.nn.relu(z)

    def head(self, name, hidden):
        return hidden

    def criterion(self, output, label):
        return jnp.sum((output - label) ** 2) / 2

    def weights(self):
        return {name: np.asarray(value) for name, value in self.w.items()}


# Correct ones


class PerExample(Conformant):
    """The loss of one example, under `vmap`."""

    def loss(self, params, task, X, labels):
        def one(x, *targets):
            hidden = jax.nn.relu(params["share_W"].T @ x)
            errors = [
                jax.nn.relu(params[head].T @ hidden) - target
                for head, target in zip(HEADS[task], targets)
            ]
            return sum(error @ error / 2 for error in errors)

        return jnp.sum(jax.vmap(one)(X, *(labels[head] for head in HEADS[task])))


class AllParameters(Conformant):
    """Each state has slots for all weights: a zero gradient leaves zero slots at rest."""

    def trained(self, task):
        return dict(self.w)


class OptaxL2(Conformant):
    """`optax.l2_loss` has the half already."""

    def criterion(self, output, label):
        return optax.l2_loss(output, label).sum()


# Wrong ones


Adam = changed_port(Conformant, optimizer=optax.adam(1e-3))


class AdamMean(Adam):
    def criterion(self, output, label):
        return jnp.mean((output - label) ** 2)


class AdamL2Mean(Adam):
    """`optax.l2_loss(...).mean()`."""

    def criterion(self, output, label):
        return optax.l2_loss(output, label).mean()


CLIPPED = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
DECAY = optax.exponential_decay(1e-3, transition_steps=1, decay_rate=0.9)

AdamW = changed_port(Conformant, optimizer=optax.adamw(1e-3, weight_decay=0.01))
ClippedAdam = changed_port(Conformant, optimizer=CLIPPED)
EpsilonInRoot = changed_port(Conformant, optimizer=optax.adam(1e-3, eps=0.0, eps_root=1e-8))
Nesterov = changed_port(Conformant, optimizer=optax.nadam(1e-3))
Decayed = changed_port(Conformant, optimizer=optax.adam(DECAY))
WarmUp = changed_port(Conformant, optimizer=optax.adam(optax.linear_schedule(0.0, 1e-3, 4)))
Momentum = changed_port(Conformant, optimizer=optax.sgd(1e-6, momentum=0.9))


class Huber(Conformant):
    def criterion(self, output, label):
        return optax.huber_loss(output, label).sum()


class JnpMaximum(Conformant):
    """`jnp.maximum(z, 0)` has the gradient 0.5 at zero."""

    def relu(self, z):
        return jnp.maximum(z, 0)


JnpMaximumAdam = changed_port(JnpMaximum, optimizer=optax.adam(1e-3))


class StopGradient(Conformant):
    """Head 1 sees `lax.stop_gradient(hidden)`."""

    def head(self, name, hidden):
        return jax.lax.stop_gradient(hidden) if name == "share_Y1" else hidden


class Bfloat16(Conformant):
    """Inputs and weights of the products are bfloat16."""

    def loss(self, params, task, X, labels):
        half = jax.tree.map(lambda w: w.astype(jnp.bfloat16), params)
        return super().loss(half, task, X.astype(jnp.bfloat16), labels)

    def criterion(self, output, label):
        return super().criterion(output.astype(jnp.float32), label)


class FirstArgument(Conformant):
    """`jax.grad` differentiates by its first argument only: the heads rest."""

    def train(self, task, params, state, X, labels):
        def loss(shared, heads):
            return self.loss({**heads, "share_W": shared}, task, X, labels)

        value, gradient = jax.value_and_grad(loss)(params["share_W"], params)
        gradients = {name: jnp.zeros_like(w) for name, w in params.items()}
        gradients["share_W"] = gradient
        updates, state = self.optimizer.update(gradients, state, params)
        return value, optax.apply_updates(params, updates), state


class LossOfNewParams(Conformant):
    """The loss is computed with what `apply_updates` returned."""

    optimizer = optax.adam(1e-3)

    def train(self, task, params, state, X, labels):
        _, params, state = super().train(task, params, state, X, labels)
        return self.loss(params, task, X, labels), params, state


class OneState(AllParameters):
    """One state for all three runs, and zero gradients for the resting head."""

    optimizer = optax.adam(1e-3)

    def step(self, task, *given):
        loss = super().step(task, *given)
        self.states = dict.fromkeys(HEADS, self.states[task])
        return loss


class BiasedMean(AdamMean):
    """Biases in the tree of parameters, a mean of squares, `optax.adam`."""

    def __init__(self, *weights):
        super().__init__(*weights)
        for name, w in list(self.w.items()):
            self.w["bias of " + name] = jnp.zeros(w.shape[1])
        self.states = {task: self.optimizer.init(self.trained(task)) for task in HEADS}

    def trained(self, task):
        names = ("share_W", *HEADS[task])
        biases = {"bias of " + name: self.w.get("bias of " + name) for name in names}
        return {**super().trained(task), **biases}

    def loss(self, params, task, X, labels):
        layer = functools.partial(self.layer, params)
        hidden = layer("share_W", X)
        return sum(self.criterion(layer(head, hidden), labels[head]) for head in HEADS[task])

    def layer(self, params, name, x):
        return jax.nn.relu(x @ params[name] + params["bias of " + name])

    def weights(self):
        return {name: w for name, w in super().weights().items() if "bias" not in name}
