"""Keras 3: lesson 11, two images through one tower, three losses in one model."""

import keras
import numpy as np


class Default:
    """Three losses of equal weight, and `Adam` with the epsilon of Keras."""

    loss_weights = None
    epsilon = 1e-7

    def __init__(self, weights):
        tower = [
            layer
            for number, filters in ((1, 8), (2, 16))
            for layer in (
                keras.layers.Conv2D(
                    filters, 3, padding="same", activation="relu", name=f"convolution_{number}"
                ),
                keras.layers.MaxPooling2D(2, padding="same"),
            )
        ]
        tower = keras.Sequential([keras.Input((8, 8, 1)), *tower, keras.layers.Flatten()])
        images = [keras.Input((8, 8, 1)) for _ in range(2)]
        seen = [tower(image) for image in images]
        outputs = [
            keras.layers.Dense(10, activation="softmax", name=f"digit_{i + 1}")(seen[i])
            for i in range(2)
        ]
        difference = keras.ops.square(seen[0] - seen[1])
        outputs.append(keras.layers.Dense(1, activation="sigmoid", name="same")(difference))
        self.model = keras.Model(images, outputs)
        layers = [*tower.layers, *self.model.layers]
        self.layers = {layer.name: layer for layer in layers if f"{layer.name}_W" in weights}
        for name, layer in self.layers.items():
            layer.set_weights([weights[f"{name}_W"], weights[f"{name}_b"]])
        categories = "sparse_categorical_crossentropy"
        self.model.compile(
            keras.optimizers.Adam(0.01, epsilon=self.epsilon),
            loss=[categories, categories, "binary_crossentropy"],
            loss_weights=self.loss_weights,
        )

    def step(self, task, feeds):
        labels = [feeds["digit_1"], feeds["digit_2"], feeds["same"][:, np.newaxis]]
        images = [feeds["image_1"], feeds["image_2"]]
        return self.model.train_on_batch(images, labels)[0]  # the sum; each loss follows

    def weights(self):
        return {
            f"{name}_{kind}": array
            for name, layer in self.layers.items()
            for kind, array in zip("Wb", layer.get_weights())
        }


class Conformant(Default):
    """The settings: `loss_weights`, and `Adam(epsilon=1e-8)`."""

    loss_weights = (1.0, 1.0, 0.5)
    epsilon = 1e-8
