"""Defines the model of the article in NumPy, to be read as a specification.

Read `Reference` from top to bottom: forward pass, loss, gradients, Adam. It runs in float32, as
TensorFlow does, or in float64. In float32 it gives the slots and beta powers of TensorFlow bit for
bit, if the gradients are the same. The weights too are the same bit for bit, if the square root of
v is. TensorFlow before 2.9 takes it up to 4 ulp off. The forward pass and the gradients are sums.
Their last bits depend on the order of summation.

Each rule is a small method, so that a test can change one rule at a time. The arithmetic is at the
end, so that a test can run the same lines on numbers that carry their rounding error.
"""

from typing import Any, Callable, Dict, Tuple

import numpy as np

WEIGHTS = ("share_W", "share_Y1", "share_Y2")
# The article builds three optimizers: each has slots and beta powers of its own.
OPTIMIZERS = {"joint": "Optimiser", "Y1": "Y1_op", "Y2": "Y2_op"}
TRAINS = {"joint": ("Y1", "Y2"), "Y1": ("Y1",), "Y2": ("Y2",)}
SlotKey = Tuple[str, str, str]
Layers = Dict[str, Tuple[Any, Any, Any]]


class Reference:
    """Is the network of the article with its three Adam optimizers. It is a port too.

    Args:
      share_W: float32 [inputs, shared], the initial weights of the shared layer.
      share_Y1: float32 [shared, outputs of task 1], those of the layer of task 1.
      share_Y2: float32 [shared, outputs of task 2], those of the layer of task 2.
      dtype: np.float32 or np.float64, what is computed and kept. `weights()` gives float32.
      learning_rate, beta1, beta2, epsilon: By default those of `tf.train.AdamOptimizer`.
    """

    def __init__(
        self,
        share_W: np.ndarray,
        share_Y1: np.ndarray,
        share_Y2: np.ndarray,
        dtype: Any = np.float32,
        learning_rate: float = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.dtype = dtype
        self.learning_rate = self.number(learning_rate)
        self.beta1 = self.number(beta1)
        self.beta2 = self.number(beta2)
        self.epsilon = self.number(epsilon)
        self.variables: Dict[str, Any] = {
            name: self.array(value) for name, value in zip(WEIGHTS, (share_W, share_Y1, share_Y2))
        }
        self.slots: Dict[SlotKey, Any] = {}
        for task, optimizer in OPTIMIZERS.items():
            self.slots[optimizer, "", "beta1_power"] = self.beta1
            self.slots[optimizer, "", "beta2_power"] = self.beta2
            for variable in ("share_W", *("share_" + head for head in TRAINS[task])):
                zero = self.variables[variable] * self.number(0)
                self.slots[optimizer, variable, "m"] = self.slots[optimizer, variable, "v"] = zero

    def step(self, task: str, X: np.ndarray, Y1: np.ndarray, Y2: np.ndarray) -> Any:
        """Computes what `session.run([op, loss])` does.

        Args:
          task: "Y1", "Y2" or "joint".
          X: float32 [batch, inputs].
          Y1, Y2: float32 [batch, outputs]. A label that the task does not use is not read.

        Returns:
          The loss before this update: sum of squares / 2. For "joint" it is that of both tasks.
        """
        layers = self.forward(TRAINS[task], X)
        loss, from_loss = self.loss(layers, {"Y1": Y1, "Y2": Y2})
        self.update(OPTIMIZERS[task], self.gradients(layers, from_loss))
        return loss

    def weights(self) -> Dict[str, np.ndarray]:
        """Returns copies of the three weight matrices, float32."""
        return {name: np.array(value, np.float32) for name, value in self.variables.items()}

    def forward(self, tasks: Tuple[str, ...], X: np.ndarray) -> Layers:
        """Returns {layer: (input, pre-activation, output)}, for the shared layer and the tasks."""
        layers = {"shared": self.layer("shared", self.array(X), self.variables["share_W"])}
        for task in tasks:
            shared_layer = layers["shared"][2]
            layers[task] = self.layer(task, shared_layer, self.variables["share_" + task])
        return layers

    def layer(self, name: str, x: Any, weights: Any) -> Tuple[Any, Any, Any]:
        z = self.matmul(x, weights)
        return x, z, self.activation(name, z)

    def activation(self, layer: str, z: Any) -> Any:
        """Computes `tf.nn.relu`."""
        return self.pointwise(lambda z: np.maximum(z, 0), z)

    def slope(self, layer: str, z: Any) -> Any:
        """Returns the gradient of `tf.nn.relu`: 1 above zero, 0 below and at zero."""
        return self.pointwise(lambda z: z > 0, z)

    def loss(self, layers: Layers, labels: Dict[str, Any]) -> Tuple[Any, Dict[str, Any]]:
        """Returns the sum of the losses, and its gradient by the layer of each task."""
        loss, from_loss = self.number(0), {}
        for task in TRAINS["joint"]:
            if task in layers:
                difference = layers[task][2] - self.array(labels[task])
                task_loss, from_loss[task] = self.task_loss(task, difference)
                loss = loss + task_loss
        return loss, from_loss

    def task_loss(self, task: str, difference: Any) -> Tuple[Any, Any]:
        """Returns `tf.nn.l2_loss`, the sum of squares / 2, and its gradient, the difference."""
        return self.total(difference * difference) * self.number(0.5), difference

    def gradients(self, layers: Layers, from_loss: Dict[str, Any]) -> Dict[str, Any]:
        """Returns the gradients of the weights. Those of the tasks add up in the shared layer."""
        gradients = {}
        into_shared_layer = self.number(0)
        for task, from_above in from_loss.items():
            shared_layer, z, _ = layers[task]
            into_z = self.through(task, z, from_above)
            gradients["share_" + task] = self.matmul(self.transposed(shared_layer), into_z)
            into_x = self.matmul(into_z, self.transposed(self.variables["share_" + task]))
            into_shared_layer = into_shared_layer + into_x
        X, z, _ = layers["shared"]
        into_z = self.through("shared", z, into_shared_layer)
        gradients["share_W"] = self.matmul(self.transposed(X), into_z)
        return gradients

    def through(self, layer: str, z: Any, from_above: Any) -> Any:
        """Returns the gradient of the pre-activation of a layer."""
        return from_above * self.slope(layer, z)

    def update(self, optimizer: str, gradients: Dict[str, Any]) -> None:
        """Updates every variable that has a gradient, as `ApplyAdam` of TensorFlow 1.x does.

        As at the end of section 2 of Kingma and Ba (2015), the bias corrections are part of the
        step size. So epsilon is added to the uncorrected square root ("epsilon hat").
        """
        self.apply(optimizer, gradients)
        self.advance(optimizer)

    def apply(self, optimizer: str, gradients: Dict[str, Any]) -> None:
        alpha = self.alpha(optimizer)
        for variable, g in gradients.items():
            step = self.adam(optimizer, variable, g, alpha)
            self.variables[variable] = self.variables[variable] - step

    def advance(self, optimizer: str) -> None:
        """Multiplies the beta powers, which are variables too, once a step, after the updates."""
        for power, beta in (("beta1_power", self.beta1), ("beta2_power", self.beta2)):
            self.slots[optimizer, "", power] = self.slots[optimizer, "", power] * beta

    def alpha(self, optimizer: str) -> Any:
        """Returns the step size with both bias corrections in it."""
        one = self.number(1)
        beta1_power = self.slots[optimizer, "", "beta1_power"]
        beta2_power = self.slots[optimizer, "", "beta2_power"]
        return self.learning_rate * self.sqrt(one - beta2_power) / (one - beta1_power)

    def adam(self, optimizer: str, variable: str, g: Any, alpha: Any) -> Any:
        """Moves the slots towards the gradient and its square. Returns what to subtract."""
        one = self.number(1)
        m = self.average(self.slots[optimizer, variable, "m"], g, one - self.beta1)
        v = self.average(self.slots[optimizer, variable, "v"], g * g, one - self.beta2)
        self.slots[optimizer, variable, "m"] = m
        self.slots[optimizer, variable, "v"] = v
        return m * alpha / self.denominator(optimizer, v)

    def denominator(self, optimizer: str, v: Any) -> Any:
        return self.sqrt(v) + self.epsilon

    # The arithmetic, in one place.

    def array(self, value: Any) -> Any:
        return np.array(value, self.dtype)

    def number(self, value: float) -> Any:
        return self.dtype(value)

    def matmul(self, a: Any, b: Any) -> Any:
        return a @ b

    def transposed(self, a: Any) -> Any:
        return a.T

    def total(self, x: Any) -> Any:
        return x.sum()

    def sqrt(self, x: Any) -> Any:
        return np.sqrt(x)

    def average(self, old: Any, new: Any, weight: Any) -> Any:
        return old + (new - old) * weight

    def pointwise(self, function: Callable[[np.ndarray], np.ndarray], x: Any, ulps: int = 0) -> Any:
        """Applies a function to each element. `ulps` is how far its result may be off."""
        return function(x).astype(x.dtype)
