"""Ports in TensorFlow 2 with the mistakes of real ones. `Conformant` is right."""

import tensorflow as tf

from .base import changed_port

HEADS = {"Y1": ["share_Y1"], "Y2": ["share_Y2"], "joint": ["share_Y1", "share_Y2"]}


class Conformant:
    """A custom training loop with `tf.GradientTape`, run eagerly."""

    epsilon = 1e-8

    def __init__(self, share_W, share_Y1, share_Y2):
        weights = {"share_W": share_W, "share_Y1": share_Y1, "share_Y2": share_Y2}
        self.w = {name: tf.Variable(w) for name, w in weights.items()}
        self.build()

    def build(self):
        self.optimizers = {task: self.optimizer(self.trained(task)) for task in HEADS}

    def optimizer(self, variables):
        adam = tf.keras.optimizers.Adam(epsilon=self.epsilon)
        adam.build(variables)  # a tf.function may not make its slots later
        return adam

    def trained(self, task):
        return [self.w[name] for name in ("share_W", *HEADS[task])]

    def step(self, task, X, Y1, Y2):
        return self.train(task, tf.constant(X), tf.constant(Y1), tf.constant(Y2))

    def train(self, task, X, Y1, Y2):
        with tf.GradientTape() as tape:
            loss = self.loss(task, X, {"share_Y1": Y1, "share_Y2": Y2})
        variables = self.trained(task)
        self.apply(self.optimizers[task], tape.gradient(loss, variables), variables)
        return loss

    def apply(self, optimizer, gradients, variables):
        optimizer.apply_gradients(zip(gradients, variables))

    def loss(self, task, X, labels):
        hidden = tf.nn.relu(X @ self.w["share_W"])
        losses = [
            self.criterion(tf.nn.relu(self.head(head, hidden) @ self.w[head]), labels[head])
            for head in HEADS[task]
        ]
        return tf.add_n(losses)

    def head(self, name, hidden):
        return hidden

    def criterion(self, output, label):
        return tf.nn.l2_loss(output - label)

    def weights(self):
        return {name: variable.numpy() for name, variable in self.w.items()}


class Function(Conformant):
    """The same in a `tf.function`: traced once for each task and batch size."""

    def __init__(self, *weights):
        super().__init__(*weights)
        self.train = tf.function(self.train, reduce_retracing=True)


# Wrong ones


Adam = changed_port(Conformant, epsilon=1e-7)
AdamFunction = changed_port(Function, epsilon=1e-7)


class ReduceMean(Adam):
    def criterion(self, output, label):
        return tf.reduce_mean(tf.square(output - label))


class KerasMse(Conformant):
    """`keras.losses.mse` is a mean over each row. The tape sums the rows, the log averages them."""

    def criterion(self, output, label):
        return tf.reduce_mean(tf.square(output - label), axis=1)

    def train(self, *given):
        return tf.reduce_mean(super().train(*given))


class OneAdam(Conformant):
    """One `Adam()` for the three training functions."""

    epsilon = 1e-7

    def build(self):
        self.optimizers = dict.fromkeys(HEADS, self.optimizer(list(self.w.values())))


class OneAdamFunction(OneAdam, Function):
    epsilon = 1e-8


class JointTape(Conformant):
    """The tape records both losses in every run, and all variables are trained."""

    def trained(self, task):
        return list(self.w.values())

    def loss(self, task, X, labels):
        return super().loss("joint", X, labels)


class StopGradient(Conformant):
    def head(self, name, hidden):
        return tf.stop_gradient(hidden) if name == "share_Y2" else hidden


class TwoApplications(Conformant):
    """The joint run applies the gradients of each loss on its own, both taken before."""

    def train(self, task, X, Y1, Y2):
        labels = {"share_Y1": Y1, "share_Y2": Y2}
        with tf.GradientTape(persistent=True) as tape:
            losses = {one: self.loss(one, X, labels) for one in (HEADS if task == "joint" else [])}
            losses = losses or {task: self.loss(task, X, labels)}
        total = losses.pop("joint", None)
        gradients = {one: tape.gradient(loss, self.trained(one)) for one, loss in losses.items()}
        for one in losses:
            self.apply(self.optimizers[one], gradients[one], self.trained(one))
        return losses[task] if total is None else total


class ClippedByNorm(Conformant):
    def apply(self, optimizer, gradients, variables):
        clipped = [tf.clip_by_norm(g, 5.0) for g in gradients]
        super().apply(optimizer, clipped, variables)


class LossAfter(Function):
    """The loss that a `tf.function` returns is computed after `apply_gradients`."""

    epsilon = 1e-7

    def train(self, task, X, Y1, Y2):
        super().train(task, X, Y1, Y2)
        return self.loss(task, X, {"share_Y1": Y1, "share_Y2": Y2})


class Float16(Conformant):
    """Products in float16, as under a mixed precision policy."""

    def loss(self, task, X, labels):
        half = {name: tf.cast(w, tf.float16) for name, w in self.w.items()}
        hidden = tf.nn.relu(tf.cast(X, tf.float16) @ half["share_W"])
        outputs = {head: tf.nn.relu(hidden @ half[head]) for head in HEADS[task]}
        return tf.add_n(
            [self.criterion(tf.cast(outputs[h], tf.float32), labels[h]) for h in outputs]
        )
