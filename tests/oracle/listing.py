"""Runs the joint listing of the article on a real TensorFlow 1.x, without tf1_mtl.

Python 3.6 syntax, since TensorFlow 0.12.1 needs it.
"""

import logging
import os
import warnings

import numpy as np

from tf1_mtl.baseline.graph_def import recorded_graph
from tf1_mtl.baseline.recordings import Variable

from .cases import WEIGHTS, Recorded
from .goldens import Described

# What a runtime of 2017 has to say about NumPy, its CPU and its successor's names is no news.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow as tf
logging.getLogger("tensorflow").setLevel(logging.ERROR)

#: The optimizer of the step of each task.
OPTIMIZERS = {"joint": "Optimiser", "Y1": "Y1_op", "Y2": "Y2_op"}


class Listing:
    """The published graph, built from given initial weights, in a `tf.Graph` of its own."""

    def __init__(self, weights, batch):
        """
        Args:
          weights: "share_W", "share_Y1", "share_Y2". They give the sizes of the layers.
          batch: Rows of the placeholders. None leaves the number open.
        """
        initial_W, initial_Y1, initial_Y2 = (weights[name] for name in WEIGHTS)
        self.graph = tf.Graph()
        with self.graph.as_default():
            X = tf.placeholder("float", [batch, initial_W.shape[0]], name="X")
            Y1 = tf.placeholder("float", [batch, initial_Y1.shape[1]], name="Y1")
            Y2 = tf.placeholder("float", [batch, initial_Y2.shape[1]], name="Y2")

            shared_layer_weights = tf.Variable(initial_W, name="share_W", dtype="float32")
            Y1_layer_weights = tf.Variable(initial_Y1, name="share_Y1", dtype="float32")
            Y2_layer_weights = tf.Variable(initial_Y2, name="share_Y2", dtype="float32")

            shared_layer = tf.nn.relu(tf.matmul(X, shared_layer_weights))
            Y1_layer = tf.nn.relu(tf.matmul(shared_layer, Y1_layer_weights))
            Y2_layer = tf.nn.relu(tf.matmul(shared_layer, Y2_layer_weights))

            Y1_Loss = tf.nn.l2_loss(Y1 - Y1_layer)
            Y2_Loss = tf.nn.l2_loss(Y2 - Y2_layer)
            Joint_Loss = Y1_Loss + Y2_Loss

            # The optimizer objects are kept, since only they know which slot is whose.
            adams = [tf.train.AdamOptimizer() for _ in range(3)]
            Optimiser = adams[0].minimize(Joint_Loss)
            Y1_op = adams[1].minimize(Y1_Loss)
            Y2_op = adams[2].minimize(Y2_Loss)

            self.init = tf.global_variables_initializer()  # initialize_all_variables, renamed
            self.all_variables = tf.global_variables()

        self.placeholders = {"X": X, "Y1": Y1, "Y2": Y2}
        self.fetches = {
            "joint": [Optimiser, Joint_Loss],
            "Y1": [Y1_op, Y1_Loss],
            "Y2": [Y2_op, Y2_Loss],
        }
        self.weights = dict(
            zip(WEIGHTS, (shared_layer_weights, Y1_layer_weights, Y2_layer_weights))
        )
        with self.graph.as_default():  # the optimizers look their slots up by graph
            self.slots = self._slots(adams)

    def _slots(self, adams):
        """Returns {(optimizer, variable, slot): variable}. Beta powers have "" as variable."""
        slots = {}
        trained = {"joint": WEIGHTS, "Y1": WEIGHTS[:2], "Y2": WEIGHTS[::2]}
        for task, adam in zip(("joint", "Y1", "Y2"), adams):
            optimizer = OPTIMIZERS[task]
            for name in trained[task]:
                for slot in ("m", "v"):
                    slots[optimizer, name, slot] = adam.get_slot(self.weights[name], slot)
            for slot, variable in zip(("beta1_power", "beta2_power"), _beta_powers(adam)):
                slots[optimizer, "", slot] = variable
        return slots

    def step(self, session, task, X, Y1, Y2):
        """Makes one training run. A label of None is not fed."""
        feeds = {"X": X, "Y1": Y1, "Y2": Y2}
        feed_dict = {
            self.placeholders[name]: array for name, array in feeds.items() if array is not None
        }
        _, loss = session.run(self.fetches[task], feed_dict=feed_dict)
        return loss

    def variables(self):
        """Returns all variables, {key: variable}, the key of a slot with slashes."""
        slots = {"/".join(key): variable for key, variable in self.slots.items()}
        return {**self.weights, **slots}

    def variable_names(self):
        """Returns the name that TensorFlow gave each variable, by key."""
        return {key: variable.op.name for key, variable in self.variables().items()}

    def described(self):
        """Returns the graph and its names, for a recording."""
        with self.graph.as_default():
            trainable = {variable.op.name for variable in tf.trainable_variables()}
        kinds = [(variable.op.name, "ref") for variable in self.all_variables]
        article = {name: tensor.op.name for name, tensor in self.placeholders.items()}
        article.update((name, variable.op.name) for name, variable in self.weights.items())
        losses = {"Y1": "Y1_Loss", "Y2": "Y2_Loss", "joint": "Joint_Loss"}
        fetches = {}
        for task, (train_op, loss) in self.fetches.items():
            article[losses[task]] = loss.op.name
            fetches[task] = (train_op.name, loss.op.name)
        return Described(
            recorded_graph(self.graph, tf),
            tuple(Variable(name, kind, name in trainable) for name, kind in kinds),
            self.variable_names(),
            article,
            fetches,
        )


def run(case):
    """Trains as published, one `session.run([op, loss])` a batch.

    Returns:
      A `Recorded` of what TensorFlow gave.
    """
    listing = Listing(case.weights, case.batch)
    losses, kept = [], {}
    variables = listing.variables()
    with tf.Session(graph=listing.graph) as session:
        session.run(listing.init)
        initial = session.run(variables)
        for step, (task, X, Y1, Y2) in enumerate(case.batches):
            losses.append(listing.step(session, task, X, Y1, Y2))
            if step in case.kept():
                kept[step] = session.run(variables)
    return Recorded(np.array(losses, np.float32), initial, kept)


def _beta_powers(adam):
    if hasattr(adam, "_get_beta_accumulators"):  # from 1.5 on
        return adam._get_beta_accumulators()
    return adam._beta1_power, adam._beta2_power
