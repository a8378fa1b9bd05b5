"""Ports in Keras 3 with mistakes of real ones. `Conformant` is right. Others change a line."""

from typing import Any, ClassVar

import keras

from .base import changed_port

HEADS = ("Y1", "Y2")


def l2_loss(y_true, y_pred):
    """Returns `tf.nn.l2_loss` of the difference."""
    return keras.ops.sum(keras.ops.square(y_pred - y_true)) / 2


class Conformant:
    """Three models of the same layers, each compiled with an optimizer of its own."""

    dense: ClassVar[Any] = {"activation": "relu", "use_bias": False}
    special: ClassVar[Any] = {}  # what a layer has otherwise: {"shared": {"trainable": False}}
    optimizer = keras.optimizers.Adam
    options: ClassVar[Any] = {"epsilon": 1e-8}
    loss = staticmethod(l2_loss)
    joint: ClassVar[Any] = {}  # what the joint model is compiled with otherwise

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
            optimizer = self.optimizer(**self.options)
            model.compile(optimizer, **{"loss": self.loss, **options})

    def layer(self, name, units):
        return keras.layers.Dense(units, **{**self.dense, **self.special.get(name, {})})

    def set(self, name, w):
        self.layers[name].set_weights([w, *self.layers[name].get_weights()[1:]])

    def step(self, task, X, Y1, Y2):
        labels = {"Y1": Y1, "Y2": Y2, "joint": [Y1, Y2]}[task]
        loss = self.models[task].train_on_batch(X, labels)
        return loss[0] if isinstance(loss, list) else loss

    def weights(self):
        first = {name: layer.get_weights()[0] for name, layer in self.layers.items()}
        return {"share_W": first["shared"], "share_Y1": first["Y1"], "share_Y2": first["Y2"]}


# The defaults of Keras: `Adam()`, then `loss="mse"` too, then layers with their bias
Adam = changed_port(Conformant, options={})
Mse = changed_port(Adam, loss="mse")
Typical = changed_port(Mse, dense={"activation": "relu"})

LINEAR = {head: {"activation": None} for head in HEADS}
LinearHeads = changed_port(Conformant, special=LINEAR)
LeakyShared = changed_port(Conformant, special={"shared": {"activation": "leaky_relu"}})
FrozenShared = changed_port(Conformant, special={"shared": {"trainable": False}})
#: 0.01 times the sum of squares is added to every loss.
L2 = {"kernel_regularizer": keras.regularizers.L2(0.01)}
RegularizedShared = changed_port(Conformant, special={"shared": L2})

WEIGHTED = {"loss": [l2_loss, l2_loss], "loss_weights": [1.0, 0.3]}
LossWeights = changed_port(Conformant, joint=WEIGHTED)

ClipNorm = changed_port(Conformant, options={"epsilon": 1e-8, "clipnorm": 1.0})
Nadam = changed_port(Conformant, optimizer=keras.optimizers.Nadam)
DECAY = keras.optimizers.schedules.ExponentialDecay(1e-3, 1, 0.9)
Decayed = changed_port(Conformant, options={"epsilon": 1e-8, "learning_rate": DECAY})


class ForgetsHead2(Conformant):
    """Nobody sets the initial weights of head 2."""

    def set(self, name, w):
        keras.utils.set_random_seed(0)
        if name != "Y2":
            super().set(name, w)
