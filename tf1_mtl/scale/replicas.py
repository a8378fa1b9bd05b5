"""Splits the rows of each joint step over the workers of a cluster, and adds their gradients.

`l2_loss` is a sum over rows. So the gradient of a batch is the sum of the gradients of its parts,
and a step on the parts is the step on the batch, but for the order in which float32 numbers are
added. The nodes of the article are copied, so no formula is written a second time: the loss and
the gradients once for each worker, the updates of Adam once. Variables and slots are not copied.
So a checkpoint restores with replicas or without.
"""

from typing import Any, Dict, List, Sequence, Tuple

import tensorflow.compat.v1 as tf

from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.graph_reader import VARIABLES, needed
from tf1_mtl.scale.additions import copy_nodes


def replicate(net: MultiTaskGraph, number: int) -> MultiTaskGraph:
    """Adds a replica of the joint step on each of several workers.

    Args:
      net: The graph of the article, built with `batch=None` and placed by `cluster.place`. So the
        weights and slots are on three servers, and no single one sends all of them.
      number: Of replicas. Replica i is on `/job:worker/task:i`, and gets each i-th part of X, Y1
        and Y2. The parts have as many rows, or one more.

    Returns:
      The graph whose `Optimiser` is the step over all replicas, and whose `Joint_Loss` is the sum
      of the losses of the replicas.
    """
    updates = [op for op in needed([net.Optimiser]) if op.type.endswith("ApplyAdam")]
    updates.sort(key=lambda op: op.name)
    gradients = [op.inputs[len(op.inputs) - 1] for op in updates]
    with net.graph.as_default(), tf.device(net.X.device):
        parts = [
            _replica(net, gradients, worker, _rows(net, worker, number)) for worker in range(number)
        ]
        owners = [*updates, net.Joint_Loss]
        # No weight is updated before all replicas have read all weights.
        *sums, loss = tf.tuple([_sum(*each) for each in zip(owners, zip(*parts))])
        stand_ins = {gradient.name: total for gradient, total in zip(gradients, sums)}
        (step,) = copy_nodes(net, [net.Optimiser], stand_ins, "replicas/step")
    return net._replace(Optimiser=step, Joint_Loss=loss)


def _sum(owner: Any, parts: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns a sum, which is where its owner is."""
    with tf.device(owner.device):
        return tf.add_n(parts)


def _rows(net: MultiTaskGraph, worker: int, number: int) -> Dict[str, tf.Tensor]:
    """Returns the rows of each placeholder for one worker, cut where the client feeds them.

    So a worker gets no other rows.
    """
    with tf.name_scope("replicas/rows/"):
        rows = tf.shape(net.X)[0]
        first, end = rows * worker // number, rows * (worker + 1) // number
        return {
            x.name: tf.strided_slice(x, [first], [end], name=f"{x.op.name}_{worker}")
            for x in (net.X, net.Y1, net.Y2)
        }


def _replica(
    net: MultiTaskGraph, gradients: List[tf.Tensor], worker: int, rows: Dict[str, tf.Tensor]
) -> Tuple[Any, ...]:
    """Returns the gradients and the loss of the rows of one worker."""
    # The weights are read on the server that has them, and sent once.
    read = {
        op.outputs[0].name: op.outputs[0]
        for op in needed(gradients)
        if op.type in ("Identity", "ReadVariableOp") and op.inputs[0].op.type in VARIABLES
    }
    name, device = f"replicas/{worker}", f"/job:worker/task:{worker}"
    return copy_nodes(net, [*gradients, net.Joint_Loss], {**rows, **read}, name, device)
