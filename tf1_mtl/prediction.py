"""Gives what a trained model predicts, for any number of rows."""

from typing import Any, Dict, Union

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.data import Data, Rows, need_columns
from tf1_mtl.errors import InputError, reason_of
from tf1_mtl.files import new_folder
from tf1_mtl.graph import MultiTaskGraph, build_graph
from tf1_mtl.session import initialize, open_session
from tf1_mtl.weights import NAMES, Weights


def weights_of(net: MultiTaskGraph, session: tf.Session) -> Weights:
    """Returns the weights that a session holds now."""
    return Weights(*session.run([net.weights[name] for name in NAMES]))


class Model:
    """The layers and losses of the article on given weights; use it in a `with` block.

    It has a graph and a session of its own. Training in another session is not touched, and this
    graph takes any number of rows.

    Args:
      weights: Of any model of these sizes.
      device: See `open_session`.
    """

    def __init__(self, weights: Weights, device: str = "auto") -> None:
        rng = np.random.RandomState(0)  # not the global stream, which a training may draw from
        self._net = build_graph(rng, batch=None, **weights.sizes)
        self.session = open_session(self._net, device)
        self.take(weights)

    def __enter__(self) -> "Model":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.session.close()

    def take(self, weights: Weights) -> None:
        """Replaces the weights by others of the same sizes."""
        self.weights = weights
        values = [(self._net.weights[name], getattr(weights, name)) for name in NAMES]
        initialize(self._net, self.session, values)

    def predict(self, rows: Union[Rows, Data], where: str = "predict") -> Dict[str, Any]:
        """Returns the outputs of both tasks, and the losses of those that have labels.

        Args:
          rows: From `data.load_rows` or `data.load_data`.
          where: Opens the error message.

        Returns:
          By the names of the article: Y1_layer, Y2_layer, float32 [rows, columns of the task];
          Y1_Loss, Y2_Loss and, where all rows have both labels, Joint_Loss, float32, the sum of
          squares / 2.

        Raises:
          InputError: The columns of an array are not those of the weights.
        """
        need_columns(rows, self.weights.inputs, self.weights.tasks, where, "the weights have")
        net, found = self._net, {}
        for X, layer, Y, labels, loss in (
            (rows.X1, net.Y1_layer, net.Y1, rows.Y1, net.Y1_Loss),
            (rows.X2, net.Y2_layer, net.Y2, rows.Y2, net.Y2_Loss),
        ):
            task = Y.op.name
            fetches, feeds = {f"{task}_layer": layer}, {net.X: X}
            if labels is not None:
                fetches[f"{task}_Loss"], feeds[Y] = loss, labels
            found.update(self.session.run(fetches, feeds))
        if rows.X1 is rows.X2 and rows.Y1 is not None and rows.Y2 is not None:
            found["Joint_Loss"] = found["Y1_Loss"] + found["Y2_Loss"]
        return found

    def export(self, path: str) -> None:
        """Writes a SavedModel, all of it or nothing, that TensorFlow 1 and 2 load.

        Its signature "serving_default" takes X, float32 [rows, inputs], and gives Y1_layer and
        Y2_layer. The graph in it ends with these layers. The weights are constants of their names,
        so that no kind of variable and no saver of one version of TensorFlow is needed to load it.

        Args:
          path: A folder that is not there, or is empty.

        Raises:
          InputError: There is something already, or it cannot be written.
        """
        net = self._net
        outputs = {"Y1_layer": net.Y1_layer, "Y2_layer": net.Y2_layer}
        frozen = tf.graph_util.convert_variables_to_constants(
            self.session, net.graph.as_graph_def(), [tensor.op.name for tensor in outputs.values()]
        )
        with tf.Graph().as_default() as graph, tf.Session(graph=graph) as session:
            tf.import_graph_def(frozen, name="")
            signature = tf.saved_model.predict_signature_def(
                {"X": graph.get_tensor_by_name(net.X.name)},
                {name: graph.get_tensor_by_name(tensor.name) for name, tensor in outputs.items()},
            )
            with new_folder(path) as folder:
                try:
                    builder = tf.saved_model.Builder(folder)
                    # Attributes at their defaults are left out: older versions may not know them.
                    builder.add_meta_graph_and_variables(
                        session, ["serve"], {"serving_default": signature}, strip_default_attrs=True
                    )
                    builder.save()
                except (tf.errors.OpError, IndexError, RuntimeError) as error:
                    raise InputError(
                        f"{path}: cannot be written ({reason_of(error)}). Free space, or choose "
                        "another place."
                    ) from error
