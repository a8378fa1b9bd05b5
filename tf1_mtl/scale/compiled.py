"""Makes steps compiled by XLA: a whole loop of steps becomes one machine-code function.

The other step modes run the kernels of TensorFlow one by one, about 50 a step. XLA fuses a step
into a few sweeps over memory, and keeps weights and slots there between steps. To leave it little
to do, the step is written a second time, for all three tasks at once:

  - All weights are one flat vector, and so are their slots. So Adam is one sweep.
  - Both task layers lie side by side in one matrix. So there is one product forward, two backward.
  - The mask of a task zeroes the residuals of the other task. So the gradient of the other layer is
    exactly 0, and Adam does not move it.
  - The slots of the three optimizers are three rows. A step changes one of them.

Variables are read before a chunk and written after it. XLA adds in another order than the kernels
of TensorFlow, so the last bits of a loss differ. tests/test_stepping.py bounds the difference.
"""

import functools
from typing import Iterable, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import tensorflow.compat.v1 as tf

from tf1_mtl.errors import InputError
from tf1_mtl.feeds import Batch
from tf1_mtl.graph import MultiTaskGraph
from tf1_mtl.graph_reader import needed, variable_read
from tf1_mtl.scale import in_graph
from tf1_mtl.scale.additions import is_built
from tf1_mtl.scale.chunks import Chunk, ChunkRun, chunk_length, in_chunks, run_ahead
from tf1_mtl.training import Step, fetches

#: The tasks, in the order of the rows of their optimizers.
_TASKS = ("joint", "Y1", "Y2")

#: Layers of width 192 have fewer weights, and `compiled` makes a step in two thirds of the time of
#: `in_graph`. Layers of width 256 have more, and it takes longer: the compiled loop sweeps over the
#: slots of three optimizers in each step.
MOST_WEIGHTS = 150_000


#: The settings for `open_session` are those of `in_graph`, which makes the steps of wide layers.
config = in_graph.config


def steps(net: MultiTaskGraph, session: tf.Session, batches: Iterable[Batch]) -> Iterator[Step]:
    """Trains on one batch after the other, as `tf1_mtl.training.train` does.

    A whole chunk has been trained, and the next one drawn, when the first of its steps is yielded.
    The first chunk of each size of batch is compiled, which takes about a second. With more than
    MOST_WEIGHTS weights `in_graph` makes the steps.

    Raises:
      InputError: This TensorFlow has no `tf.xla.experimental.compile` (before 1.14).
    """
    if not hasattr(tf, "xla"):
        raise InputError(
            f"compiled: TensorFlow {tf.__version__} has no XLA to call, but should be 1.14 or "
            "newer. Step by 'prepared' or 'in-graph'."
        )
    if sum(weights.shape.num_elements() for weights in net.weights.values()) > MOST_WEIGHTS:
        yield from in_graph.steps(net, session, batches)
    else:
        yield from run_ahead(session, (chunk_run(net, chunk) for chunk in in_chunks(net, batches)))


def chunk_run(net: MultiTaskGraph, chunk: Chunk) -> ChunkRun:
    """Returns what to run for a chunk; adds the loop to the graph if it is not there."""
    rows = max(arrays["X"].shape[1] for arrays in chunk.arrays.values())
    length = chunk_length(net, rows)
    scope = f"compiled_{length}_by_{rows}"
    if not is_built(net.graph, f"{scope}/losses"):
        _build(net, length, rows, scope)
    tasks = [_TASKS.index(task) for task in chunk.tasks]
    feed_dict = {
        f"{scope}/count:0": len(tasks),
        f"{scope}/task:0": tasks + [0] * (length - len(tasks)),
        f"{scope}/X:0": _side_by_side(chunk, ("X",), length, rows, net),
        f"{scope}/Y:0": _side_by_side(chunk, ("Y1", "Y2"), length, rows, net),
    }
    return ChunkRun(chunk.tasks, f"{scope}/losses:0", feed_dict)


def _side_by_side(
    chunk: Chunk, names: Tuple[str, ...], length: int, rows: int, net: MultiTaskGraph
) -> np.ndarray:
    """Returns the named arrays of every step in one array, [length, rows, columns].

    XLA compiles for fixed sizes, so missing rows are filled with zeros. In a model without biases
    they add nothing to loss and gradient.
    """
    widths = [net.shapes[name][1] for name in names]
    joined = np.zeros((length, rows, sum(widths)), np.float32)
    tasks = np.array(chunk.tasks)
    for task, arrays in chunk.arrays.items():
        at = np.flatnonzero(tasks == task)
        for name, width, left in zip(names, widths, np.cumsum([0, *widths])):
            if name in arrays:
                joined[at, : arrays[name].shape[1], left : left + width] = arrays[name]
    return joined


def _build(net: MultiTaskGraph, length: int, rows: int, scope: str) -> None:
    """Adds the compiled loop over a chunk.

    Args:
      net: The graph of the article.
      length: The number of steps of the chunk.
      rows: The number of rows of a batch.
      scope: The name scope of the new nodes.
    """
    inputs, *widths = (columns for _, columns in net.shapes.values())
    with net.graph.as_default(), tf.name_scope(f"{scope}/"):
        count = tf.placeholder(tf.int32, [], "count")
        task = tf.placeholder(tf.int32, [length], "task")
        X = tf.placeholder(tf.float32, [length, rows, inputs], "X")
        Y = tf.placeholder(tf.float32, [length, rows, sum(widths)], "Y")
        of_tasks = np.array([[1, 1], [1, 0], [0, 1]], np.float32)  # by row of _TASKS
        masks = of_tasks.repeat(widths, axis=1)

        weights = list(net.weights.values())
        adams = [_adam_of(net, task) for task in _TASKS]
        shapes = [variable.shape.as_list() for variable in weights]
        losses, *state = tf.xla.experimental.compile(
            functools.partial(_train_chunk, shapes[0], masks),
            [
                count,
                task,
                X,
                Y,
                adams[0].hyper,
                _pack([variable.read_value() for variable in weights]),
                tf.stack([_pack(_read(adam.m, shapes)) for adam in adams]),
                tf.stack([_pack(_read(adam.v, shapes)) for adam in adams]),
                tf.stack([tf.stack(_read(adam.powers, [[], []])) for adam in adams]),
            ],
        )
        writes = _writes(weights, _unpack(state[0], shapes))
        for row, adam in enumerate(adams):
            writes += _writes(adam.m, _unpack(state[1][row], shapes))
            writes += _writes(adam.v, _unpack(state[2][row], shapes))
            writes += _writes(adam.powers, tf.unstack(state[3][row]))
        with tf.control_dependencies(writes):
            tf.identity(losses, name="losses")


def _train_chunk(  # type: ignore
    shape, masks, count, task, X, Y, hyper, weights, m, v, powers
):
    """Runs the loop that is compiled. `shape` is that of share_W, and `_build` makes the rest."""
    split = shape[0] * shape[1]
    rate, betas, epsilon = hyper[0], hyper[1:3], hyper[3]

    def body(step, losses, weights, m, v, powers):  # type: ignore
        own = tf.gather(task, step)
        x, y, mask = tf.gather(X, step), tf.gather(Y, step), tf.gather(masks, own)
        shared_W = tf.reshape(weights[:split], shape)
        heads_W = tf.reshape(weights[split:], [shape[1], -1])

        shared = tf.nn.relu(tf.matmul(x, shared_W))
        heads = tf.nn.relu(tf.matmul(shared, heads_W))
        residual = (heads - y) * mask
        losses = losses.write(step, tf.reduce_sum(residual * residual) / 2)

        d_heads = residual * tf.cast(heads > 0, tf.float32)
        d_shared = tf.matmul(d_heads, heads_W, transpose_b=True) * tf.cast(shared > 0, tf.float32)
        d_shared_W = tf.matmul(x, d_shared, transpose_a=True)
        d_heads_W = tf.matmul(shared, d_heads, transpose_a=True)
        gradient = tf.concat([tf.reshape(d_shared_W, [-1]), tf.reshape(d_heads_W, [-1])], 0)

        chosen = tf.reshape(tf.one_hot(own, len(_TASKS)), [-1, 1])
        m += chosen * ((gradient - m) * (1 - betas[0]))
        v += chosen * ((gradient * gradient - v) * (1 - betas[1]))
        power = tf.gather(powers, own)
        alpha = rate * tf.sqrt(1 - power[1]) / (1 - power[0])
        weights -= alpha * tf.gather(m, own) / (tf.sqrt(tf.gather(v, own)) + epsilon)
        powers *= chosen * betas + (1 - chosen)
        return step + 1, losses, weights, m, v, powers

    losses = tf.TensorArray(tf.float32, size=X.shape.as_list()[0])
    _, losses, *state = tf.while_loop(
        lambda step, *_: step < count, body, [0, losses, weights, m, v, powers]
    )
    return [losses.stack(), *state]


class _Adam(NamedTuple):
    """Holds the variables of one optimizer, or None where it does not train a weight."""

    m: List[Optional[tf.Variable]]  # of share_W, share_Y1, share_Y2
    v: List[Optional[tf.Variable]]
    powers: List[tf.Variable]  # of beta1 and beta2
    hyper: tf.Tensor  # float32 [4]: learning rate, beta1, beta2, epsilon


def _adam_of(net: MultiTaskGraph, task: str) -> _Adam:
    variables = {v.op: v for v in net.graph.get_collection(tf.GraphKeys.GLOBAL_VARIABLES)}
    updates = {}
    for node in needed([fetches(net)[task][0]]):
        if node.type in ("ApplyAdam", "ResourceApplyAdam"):
            # Inputs: variable, m, v, both powers, learning rate, beta1, beta2, epsilon, gradient.
            updates[node.inputs[0].op.name] = list(node.inputs)
    own = [updates.get(name) for name in net.weights]
    (first, *_) = updates.values()
    return _Adam(
        m=[inputs and variables[inputs[1].op] for inputs in own],
        v=[inputs and variables[inputs[2].op] for inputs in own],
        powers=[variables[variable_read(power)] for power in first[3:5]],
        hyper=tf.stack(first[5:9]),
    )


def _read(variables: List[Optional[tf.Variable]], shapes: List[List[int]]) -> List[tf.Tensor]:
    return [
        tf.zeros(shape) if variable is None else variable.read_value()
        for variable, shape in zip(variables, shapes)
    ]


def _writes(variables: List[Optional[tf.Variable]], values: List[tf.Tensor]) -> List[tf.Tensor]:
    return [
        tf.assign(variable, value)
        for variable, value in zip(variables, values)
        if variable is not None
    ]


def _pack(arrays: List[tf.Tensor]) -> tf.Tensor:
    """Returns share_W, then both task layers side by side, as one flat array."""
    heads = tf.concat(arrays[1:], axis=1)
    return tf.concat([tf.reshape(arrays[0], [-1]), tf.reshape(heads, [-1])], axis=0)


def _unpack(flat: tf.Tensor, shapes: List[List[int]]) -> List[tf.Tensor]:
    split = shapes[0][0] * shapes[0][1]
    heads = tf.reshape(flat[split:], [shapes[0][1], -1])
    left = shapes[1][1]
    return [tf.reshape(flat[:split], shapes[0]), heads[:, :left], heads[:, left:]]
