"""Builds the graph of the article: one shared layer, two task layers, three minimize ops.

`build_graph` reads top to bottom like the published listing and uses its names. It builds in a
`tf.Graph` of its own and sets no global switch, so that eager code in the same process still works.
"""

import numbers
from typing import Any, Dict, NamedTuple, Optional, Sequence, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.data import LARGEST_RATE, SMALLEST_RATE, is_whole
from tf1_mtl.errors import InputError

_LARGEST_SIZE = 2**31 - 1  # beyond it NumPy and TensorFlow raise errors of many kinds


class MultiTaskGraph(NamedTuple):
    """The handles of the graph of the article, under its names."""

    graph: tf.Graph
    X: tf.Tensor  #: placeholder, float32 [batch, inputs]
    Y1: tf.Tensor  #: placeholder, float32 [batch, tasks[0]]
    Y2: tf.Tensor  #: placeholder, float32 [batch, tasks[1]]
    shared_layer_weights: tf.Variable  #: "share_W", float32 [inputs, shared]
    Y1_layer_weights: tf.Variable  #: "share_Y1", float32 [shared, tasks[0]]: of task 1 alone
    Y2_layer_weights: tf.Variable  #: "share_Y2", float32 [shared, tasks[1]]: of task 2 alone
    shared_layer: tf.Tensor  #: float32 [batch, shared]
    Y1_layer: tf.Tensor  #: float32 [batch, tasks[0]]
    Y2_layer: tf.Tensor  #: float32 [batch, tasks[1]]
    Y1_Loss: tf.Tensor  #: float32 scalar, sum of squares / 2
    Y2_Loss: tf.Tensor  #: float32 scalar, sum of squares / 2
    Joint_Loss: tf.Tensor  #: float32 scalar, Y1_Loss + Y2_Loss
    Optimiser: tf.Operation  #: one Adam step on Joint_Loss ("Adam")
    Y1_op: tf.Operation  #: one Adam step on Y1_Loss ("Adam_1")
    Y2_op: tf.Operation  #: one Adam step on Y2_Loss ("Adam_2")
    init: tf.Operation  #: the initializer of all 23 variables

    @property
    def weights(self) -> Dict[str, tf.Variable]:
        """Returns the three weights by their names in the graph."""
        return {
            "share_W": self.shared_layer_weights,
            "share_Y1": self.Y1_layer_weights,
            "share_Y2": self.Y2_layer_weights,
        }

    @property
    def shapes(self) -> Dict[str, Tuple[Optional[int], int]]:
        """Returns the shapes of the placeholders by name; None stands for any number of rows."""
        placeholders = {"X": self.X, "Y1": self.Y1, "Y2": self.Y2}
        return {name: tuple(tensor.shape.as_list()) for name, tensor in placeholders.items()}


def build_graph(
    rng: Optional[np.random.RandomState] = None,
    batch: Optional[int] = 10,
    inputs: int = 10,
    shared: int = 20,
    tasks: Sequence[int] = (20, 20),
    variables: str = "ref",
    learning_rate: float = 0.001,
) -> MultiTaskGraph:
    """Builds the graph of the article; nothing runs yet.

    Args:
      rng: Draws the initial weights, share_W, share_Y1, share_Y2 in this order, uniform on
        [0, 1). None takes the global stream of NumPy, as the article does.
      batch: Rows of X, Y1 and Y2; None leaves the number open.
      inputs: Columns of X.
      shared: Units of the shared layer.
      tasks: Columns of Y1 and of Y2.
      variables: "ref" for variables of TensorFlow 1, "resource" for those of TensorFlow 2.
      learning_rate: Of all three Adam optimizers.

    Returns:
      The handles. With the defaults the graph is the one that TensorFlow 1.15.5 builds from the
      published joint listing: 216 nodes, the initializer included.

    Raises:
      InputError: An argument is not what is described above.
    """
    _check(rng, batch, inputs, shared, tasks, variables, learning_rate)
    rand = np.random.rand if rng is None else rng.rand
    use_resource = variables == "resource"

    with tf.Graph().as_default() as graph:
        # Placeholders: what a run is fed with.
        X = tf.placeholder("float", [batch, inputs], name="X")
        Y1 = tf.placeholder("float", [batch, tasks[0]], name="Y1")
        Y2 = tf.placeholder("float", [batch, tasks[1]], name="Y2")

        # Initial weights: drawn here, by NumPy, and kept in the graph as constants.
        initial_shared_layer_weights = rand(inputs, shared)
        initial_Y1_layer_weights = rand(shared, tasks[0])
        initial_Y2_layer_weights = rand(shared, tasks[1])

        # The variables. "share_Y1" and "share_Y2" are not shared, although their names say so.
        shared_layer_weights = tf.Variable(
            initial_shared_layer_weights, name="share_W", dtype="float32", use_resource=use_resource
        )
        Y1_layer_weights = tf.Variable(
            initial_Y1_layer_weights, name="share_Y1", dtype="float32", use_resource=use_resource
        )
        Y2_layer_weights = tf.Variable(
            initial_Y2_layer_weights, name="share_Y2", dtype="float32", use_resource=use_resource
        )

        # The layers: no biases.
        shared_layer = tf.nn.relu(tf.matmul(X, shared_layer_weights))
        Y1_layer = tf.nn.relu(tf.matmul(shared_layer, Y1_layer_weights))
        Y2_layer = tf.nn.relu(tf.matmul(shared_layer, Y2_layer_weights))

        # The losses: l2_loss is the sum of squares / 2, not a mean.
        Y1_Loss = tf.nn.l2_loss(Y1 - Y1_layer)
        Y2_Loss = tf.nn.l2_loss(Y2 - Y2_layer)
        Joint_Loss = Y1_Loss + Y2_Loss

        # The optimizers: three of them, each with slots and beta powers of its own.
        Optimiser = tf.train.AdamOptimizer(learning_rate).minimize(Joint_Loss)
        Y1_op = tf.train.AdamOptimizer(learning_rate).minimize(Y1_Loss)
        Y2_op = tf.train.AdamOptimizer(learning_rate).minimize(Y2_Loss)

        # The article makes the initializer in its session code; it is the last node of the graph.
        init = tf.global_variables_initializer()

    return MultiTaskGraph(
        graph=graph,
        X=X,
        Y1=Y1,
        Y2=Y2,
        shared_layer_weights=shared_layer_weights,
        Y1_layer_weights=Y1_layer_weights,
        Y2_layer_weights=Y2_layer_weights,
        shared_layer=shared_layer,
        Y1_layer=Y1_layer,
        Y2_layer=Y2_layer,
        Y1_Loss=Y1_Loss,
        Y2_Loss=Y2_Loss,
        Joint_Loss=Joint_Loss,
        Optimiser=Optimiser,
        Y1_op=Y1_op,
        Y2_op=Y2_op,
        init=init,
    )


def _check(
    rng: Any,
    batch: Any,
    inputs: Any,
    shared: Any,
    tasks: Any,
    variables: Any,
    learning_rate: Any,
) -> None:
    if rng is not None and not isinstance(rng, np.random.RandomState):
        raise InputError(
            f"build_graph: rng is a {type(rng).__name__}, but should be a numpy.random.RandomState "
            "(the article's stream) or None. Pass numpy.random.RandomState(seed)."
        )
    if isinstance(tasks, (str, bytes)) or not hasattr(tasks, "__len__") or len(tasks) != 2:
        raise InputError(
            f"build_graph: tasks is {tasks!r}, but should be two sizes, the columns of Y1 and of "
            "Y2. Pass for example tasks=(20, 20)."
        )
    sizes: Tuple[Tuple[str, Any], ...] = (
        ("inputs", inputs),
        ("shared", shared),
        ("tasks[0]", tasks[0]),
        ("tasks[1]", tasks[1]),
    )
    if batch is not None:
        sizes += (("batch", batch),)
    for name, size in sizes:
        if not is_whole(size) or not 1 <= size <= _LARGEST_SIZE:
            raise InputError(
                f"build_graph: {name} is {size!r}, but should be a whole number of at least 1 and "
                f"at most {_LARGEST_SIZE}."
            )
    if variables not in ("ref", "resource"):
        raise InputError(
            f"build_graph: variables is {variables!r}, but should be 'ref' (TensorFlow 1's own) "
            "or 'resource' (TensorFlow 2's)."
        )
    is_number = isinstance(learning_rate, numbers.Real) and not isinstance(learning_rate, bool)
    if not is_number or not SMALLEST_RATE <= learning_rate <= LARGEST_RATE:
        raise InputError(
            f"build_graph: learning_rate is {learning_rate!r}, but should be a number above 0 that "
            "float32 holds; the article's is Adam's default, 0.001."
        )
