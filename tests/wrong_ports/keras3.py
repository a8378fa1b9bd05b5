"""Ports in Keras 3 with mistakes of real ones. `Conformant` is right. Others change a line."""

import keras

HEADS = ("Y1", "Y2")


def l2_loss(y_true, y_pred):
    """Return `tf.nn.l2_loss` of the difference."""
    return keras.ops.sum(keras.ops.square(y_pred - y_true)) / 2


class Conformant:
    """Three models of the same layers, each compiled with an optimizer of its own."""

    dense = {"activation": "relu", "use_bias": False}  # noqa: RUF012
    loss = staticmethod(l2_loss)
    joint = {}  # noqa: RUF012  (what the joint model is compiled with otherwise)

    def __init__(self, share_W, share_Y1, share_Y2):
        weights = {"shared": share_W, "Y1": share_Y1, "Y2": share_Y2}
        inputs = keras.Input((share_W.shape[0],))
        self.layers = {name: self.layer(name, w.shape[1]) for name, w in weights.items()}
        hidden = self.layers["shared"](inputs)
        outputs = {head: self.layers[head](hidden) for head in HEADS}
        for name, w in weights.items():
            self.set(name, w)
        self.models = {head: keras.Model(inputs, outputs[head]) for head in HEADS}
        self.models["joint"] = keras.Model(inputs, list(outputs.values()))
        for task, model in self.models.items():
            options = self.joint if task == "joint" else {}
            model.compile(self.optimizer(), **{"loss": self.loss, **options})

    def layer(self, name, units):
        return keras.layers.Dense(units, **self.dense)

    def set(self, name, w):
        self.layers[name].set_weights([w, *self.layers[name].get_weights()[1:]])

    def optimizer(self):
        return keras.optimizers.Adam(epsilon=1e-8)

    def step(self, task, X, Y1, Y2):
        labels = {"Y1": Y1, "Y2": Y2, "joint": [Y1, Y2]}[task]
        loss = self.models[task].train_on_batch(X, labels)
        return loss[0] if isinstance(loss, list) else loss

    def weights(self):
        first = {name: layer.get_weights()[0] for name, layer in self.layers.items()}
        return {"share_W": first["shared"], "share_Y1": first["Y1"], "share_Y2": first["Y2"]}


class Adam(Conformant):
    def optimizer(self):
        return keras.optimizers.Adam()


class Mse(Adam):
    """`loss="mse"`, `Adam()`."""

    loss = "mse"


class Typical(Mse):
    """`Dense(units, "relu")` with its bias, `loss="mse"`, `Adam()`."""

    dense = {"activation": "relu"}  # noqa: RUF012


class LinearHeads(Conformant):
    """`Dense(units)` for the outputs."""

    def layer(self, name, units):
        activation = "relu" if name == "shared" else None
        return keras.layers.Dense(units, activation, use_bias=False)


class LeakyShared(Conformant):
    """`activation="leaky_relu"` in the shared layer: slope 0.2 below zero."""

    def layer(self, name, units):
        activation = "leaky_relu" if name == "shared" else "relu"
        return keras.layers.Dense(units, activation, use_bias=False)


class LossWeights(Conformant):
    joint = {"loss": [l2_loss, l2_loss], "loss_weights": [1.0, 0.3]}  # noqa: RUF012


class FrozenShared(Conformant):
    """`layer.trainable = False`."""

    def layer(self, name, units):
        layer = super().layer(name, units)
        layer.trainable = name != "shared"
        return layer


class ClipNorm(Conformant):
    def optimizer(self):
        return keras.optimizers.Adam(epsilon=1e-8, clipnorm=1.0)


class RegularizedShared(Conformant):
    """`kernel_regularizer=L2(0.01)`: 0.01 times the sum of squares is added to every loss."""

    def layer(self, name, units):
        regularizer = keras.regularizers.L2(0.01) if name == "shared" else None
        return keras.layers.Dense(units, **self.dense, kernel_regularizer=regularizer)


class Nadam(Conformant):
    def optimizer(self):
        return keras.optimizers.Nadam(epsilon=1e-8)


class ForgetsHead2(Conformant):
    """Nobody sets the initial weights of head 2."""

    def set(self, name, w):
        keras.utils.set_random_seed(0)
        if name != "Y2":
            super().set(name, w)


class Decayed(Conformant):
    def optimizer(self):
        rate = keras.optimizers.schedules.ExponentialDecay(1e-3, 1, 0.9)
        return keras.optimizers.Adam(rate, epsilon=1e-8)
