"""Ports to Keras 3: a functional model with two heads, trained by `train_on_batch`.

A task is trained alone through a model of its output. The layers are the same objects. Each model
has an optimizer of its own, as each op of the article has.
"""

import keras


def l2_loss(y_true, y_pred):
    """`tf.nn.l2_loss`."""
    return keras.ops.sum(keras.ops.square(y_pred - y_true)) / 2


class Default:
    """`loss="mse"` is a mean over all outputs. `Adam()` has epsilon 1e-7."""

    loss = "mse"
    epsilon = 1e-7

    def __init__(self, share_W, share_Y1, share_Y2):
        def layer(weights):
            return keras.layers.Dense(weights.shape[1], activation="relu", use_bias=False)

        inputs = keras.Input((share_W.shape[0],))
        self.layers = {"share_W": layer(share_W), "share_Y1": layer(share_Y1)}
        self.layers["share_Y2"] = layer(share_Y2)
        shared_layer = self.layers["share_W"](inputs)
        Y1, Y2 = (self.layers[head](shared_layer) for head in ("share_Y1", "share_Y2"))
        for name, weights in zip(self.layers, (share_W, share_Y1, share_Y2)):
            self.layers[name].set_weights([weights])
        self.models = {
            task: keras.Model(inputs, outputs)
            for task, outputs in (("Y1", [Y1]), ("Y2", [Y2]), ("joint", [Y1, Y2]))
        }
        for model in self.models.values():
            model.compile(keras.optimizers.Adam(epsilon=self.epsilon), loss=self.loss)

    def step(self, task, X, Y1, Y2):
        labels = {"Y1": [Y1], "Y2": [Y2], "joint": [Y1, Y2]}
        loss = self.models[task].train_on_batch(X, labels[task])
        return loss[0] if isinstance(loss, list) else loss  # joint: the sum, then each

    def weights(self):
        return {name: layer.get_weights()[0] for name, layer in self.layers.items()}


class Conformant(Default):
    """The settings: the loss `l2_loss`, and `Adam(epsilon=1e-8)`."""

    loss = staticmethod(l2_loss)
    epsilon = 1e-8
