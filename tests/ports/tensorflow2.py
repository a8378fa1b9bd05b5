"""Ports to TensorFlow 2, eager and in a `tf.function`, with the Adam of Keras."""

import tensorflow as tf


class Default:
    """One `Adam()` for each task. The epsilon of Keras is 1e-7."""

    epsilon = 1e-7

    def __init__(self, share_W, share_Y1, share_Y2):
        self.w = {
            "share_W": tf.Variable(share_W),
            "share_Y1": tf.Variable(share_Y1),
            "share_Y2": tf.Variable(share_Y2),
        }
        heads = {"joint": ("share_Y1", "share_Y2"), "Y1": ("share_Y1",), "Y2": ("share_Y2",)}
        self.trained = {
            task: [self.w["share_W"], *(self.w[head] for head in heads[task])] for task in heads
        }
        self.adam = {task: tf.keras.optimizers.Adam(epsilon=self.epsilon) for task in heads}
        for task, optimizer in self.adam.items():
            optimizer.build(self.trained[task])  # a tf.function must make no variables later

    def step(self, task, X, Y1, Y2):
        return self.train(task, tf.constant(X), tf.constant(Y1), tf.constant(Y2))

    def train(self, task, X, Y1, Y2):
        with tf.GradientTape() as tape:
            shared_layer = tf.nn.relu(X @ self.w["share_W"])
            loss = tf.constant(0.0)
            if task in ("Y1", "joint"):
                loss += tf.nn.l2_loss(tf.nn.relu(shared_layer @ self.w["share_Y1"]) - Y1)
            if task in ("Y2", "joint"):
                loss += tf.nn.l2_loss(tf.nn.relu(shared_layer @ self.w["share_Y2"]) - Y2)
        gradients = tape.gradient(loss, self.trained[task])
        self.adam[task].apply_gradients(zip(gradients, self.trained[task]))
        return loss

    def weights(self):
        return {name: variable.numpy() for name, variable in self.w.items()}


class Conformant(Default):
    """The knob: `Adam(epsilon=1e-8)`."""

    epsilon = 1e-8


class DefaultFunction(Default):
    """The same in a graph: `tf.function` traces `train` once a task and batch size."""

    def __init__(self, share_W, share_Y1, share_Y2):
        super().__init__(share_W, share_Y1, share_Y2)
        self.train = tf.function(self.train, reduce_retracing=True)


class ConformantFunction(DefaultFunction):
    """The knob: `Adam(epsilon=1e-8)`."""

    epsilon = 1e-8
